package appcmd

import (
	"context"
	"errors"
	"strings"
	"testing"

	"mitigation.dev/ems/agent/iis/control"
	"mitigation.dev/ems/agent/iis/lossless"
)

func listing(name, state string) string {
	return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<appcmd>\r\n    <APPPOOL APPPOOL.NAME=\"" + name +
		"\" PipelineMode=\"Integrated\" RuntimeVersion=\"v4.0\" state=\"" + state + "\" />\r\n</appcmd>\r\n"
}

func TestTheDriverJudgesByExitCodes(t *testing.T) {
	tests := map[string]struct {
		verb, output string
		code         int
		wantState    control.PoolState
		wantErr      error
		wantText     string
	}{
		"a started pool":                      {verb: "list", output: listing("P", "Started"), wantState: control.PoolStarted},
		"a pool spelled otherwise":            {verb: "list", output: listing("p", "Stopped"), wantState: control.PoolStopped},
		"a state that is not known":           {verb: "list", output: listing("P", "Unknown"), wantState: control.PoolUnknown},
		"a listing without the pool":          {verb: "list", output: listing("Q", "Started"), wantState: control.PoolUnknown, wantErr: control.ErrPoolNotFound},
		"a listing of an unknown pool":        {verb: "list", code: 1, wantState: control.PoolUnknown, wantErr: control.ErrPoolNotFound},
		"a listing that is no XML":            {verb: "list", output: "APPPOOL", wantState: control.PoolUnknown, wantText: "output"},
		"a listing of something else":         {verb: "list", output: "<appcmd><SITE /></appcmd>", wantState: control.PoolUnknown, wantText: "SITE"},
		"a listing without the service":       {verb: "list", code: 50, wantState: control.PoolUnknown, wantErr: control.ErrPoolsUnavailable},
		"a stop of an unknown pool":           {verb: "stop", code: 1168, wantErr: control.ErrPoolNotFound},
		"a stop of a stopped pool":            {verb: "stop", code: 1062, output: `<appcmd><ERROR message="Die Anwendung ist nicht aktiv" /></appcmd>`, wantErr: control.ErrPoolNotRunning},
		"an hresult for an exit code":         {verb: "stop", code: 0x80070426, wantErr: control.ErrPoolNotRunning},
		"an hresult beside exit code 1":       {verb: "stop", code: 1, output: "ERROR ( hresult:80070490, message:x )", wantErr: control.ErrPoolNotFound},
		"an hresult beside another exit code": {verb: "stop", code: 1062, output: "ERROR ( hresult:80070490, message:x )", wantErr: control.ErrPoolNotRunning},
		"a stop that succeeds":                {verb: "stop", output: `<appcmd><STATUS message="ok" /></appcmd>`},
		"a start of a running pool":           {verb: "start", code: 1056, wantErr: control.ErrPoolRunning},
		"a start without rights":              {verb: "start", code: 50, wantErr: control.ErrPoolsUnavailable},
		"help, which start never should give": {verb: "start", code: 1, wantText: "exit code 1"},
		"anything else":                       {verb: "start", code: 1726, output: "ERROR (\r\n  x )", wantText: `exit code 1726: "ERROR ( x )"`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			d := &Driver{path: "appcmd.exe", run: func(_ context.Context, path string, args []string) ([]byte, int, error) {
				if want := tc.verb + " apppool P /xml"; path != "appcmd.exe" || strings.Join(args, " ") != want {
					t.Errorf("call %s %v", path, args)
				}
				return []byte(tc.output), tc.code, nil
			}}
			var err error
			var state control.PoolState
			switch tc.verb {
			case "list":
				state, err = d.State(t.Context(), "P")
			case "start":
				err = d.Start(t.Context(), "P")
			case "stop":
				err = d.Stop(t.Context(), "P")
			}
			if state != tc.wantState {
				t.Errorf("state %q, want %q", state, tc.wantState)
			}
			if (err != nil) != (tc.wantErr != nil || tc.wantText != "") || (tc.wantErr != nil && !errors.Is(err, tc.wantErr)) {
				t.Fatalf("error %v, want %v", err, tc.wantErr)
			}
			if err != nil && !strings.Contains(err.Error(), tc.wantText) {
				t.Errorf("error %q does not say %q", err, tc.wantText)
			}
		})
	}
}

func TestNoOptionIsPassedForAName(t *testing.T) {
	d := &Driver{run: func(context.Context, string, []string) ([]byte, int, error) {
		t.Error("the program was started")
		return nil, 0, nil
	}}
	for _, name := range []string{"", "/xml", `a" /b`, `\\share`, "*"} {
		if err := d.Stop(t.Context(), name); !errors.Is(err, control.ErrPoolNotFound) {
			t.Errorf("%q: error %v", name, err)
		}
		if _, err := d.State(t.Context(), name); !errors.Is(err, control.ErrPoolNotFound) {
			t.Errorf("%q: error %v", name, err)
		}
	}
}

func TestOutputIsLimited(t *testing.T) {
	var b limitedBuffer
	for range 3 {
		if n, err := b.Write(make([]byte, maxOutput/2+1)); n != maxOutput/2+1 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	if b.Len() != maxOutput || !b.cut {
		t.Errorf("%d bytes kept, cut %v", b.Len(), b.cut)
	}
}

func TestOutputsThatAreNoSectionAreRefused(t *testing.T) {
	for name, output := range map[string]string{
		"nothing":                "",
		"no XML":                 "CONFIG",
		"another root":           "<configuration />",
		"no section":             "<appcmd></appcmd>",
		"two sections":           "<appcmd>" + rulesOutput + rulesOutput + "</appcmd>",
		"an error":               `<appcmd><ERROR message="x" /></appcmd>`,
		"a section without it":   `<appcmd><CONFIG CONFIG.SECTION="a/b" /></appcmd>`,
		"an element not its own": `<appcmd><CONFIG CONFIG.SECTION="a/b"><c /></CONFIG></appcmd>`,
		"a section without name": `<appcmd><CONFIG><c /></CONFIG></appcmd>`,
	} {
		if s, err := ParseSection([]byte(output)); err == nil {
			t.Errorf("%s: read as %+v", name, s)
		}
	}
}

// FuzzOutput looks for outputs that the parsers cannot bear, and for sections that are not what they say.
func FuzzOutput(f *testing.F) {
	for _, seed := range []string{
		"<appcmd>" + rulesOutput + "</appcmd>", listing("R&amp;D", "Stopping"), `<appcmd><ERROR message="x" /></appcmd>`,
		`<appcmd><SITE SITE.NAME="a" SITE.ID="1" bindings="http/*:80:,x" state="Started" /></appcmd>`,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<appcmd>\r\n</appcmd>\r\n", "<appcmd", "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, output []byte) {
		if pools, err := parsePools(output); err == nil {
			for _, p := range pools {
				switch p.State {
				case control.PoolStarted, control.PoolStopped, control.PoolStarting, control.PoolStopping, control.PoolUnknown:
				default:
					t.Errorf("pool %q is in state %q", p.Name, p.State)
				}
			}
		}
		if sites, err := parseSites(output); err == nil {
			for _, s := range sites {
				switch s.State {
				case control.SiteStarted, control.SiteStopped, control.SiteStarting, control.SiteStopping, control.SiteUnknown:
				default:
					t.Errorf("site %q is in state %q", s.Name, s.State)
				}
			}
		}
		s, err := ParseSection(output)
		if err != nil {
			return
		}
		doc, err := lossless.Parse(s.Content)
		if err != nil {
			t.Fatalf("content %q: %v", s.Content, err)
		}
		if doc.Root.Name != strings.ReplaceAll(s.Name, "/", "-") {
			t.Errorf("section %q has the element %q", s.Name, doc.Root.Name)
		}
	})
}
