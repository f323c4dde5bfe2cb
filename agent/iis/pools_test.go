package iis

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"mitigation.dev/ems/test/iistree"
)

// TestMain lets the test program stand in for appcmd.exe when it is started with this variable.
func TestMain(m *testing.M) {
	if os.Getenv("EMS_TEST_APPCMD") == "" {
		os.Exit(m.Run())
	}
	if got := strings.Join(os.Args[1:], "|"); got != "list|apppool|R D's pool|/xml" {
		fmt.Fprintf(os.Stderr, "arguments %q", got)
		os.Exit(87)
	}
	fmt.Println(listing("R D&apos;s pool", "Stopping"))
}

func listing(name, state string) string {
	return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<appcmd>\r\n    <APPPOOL APPPOOL.NAME=\"" + name +
		"\" PipelineMode=\"Integrated\" RuntimeVersion=\"v4.0\" state=\"" + state + "\" />\r\n</appcmd>\r\n"
}

func TestAppCmdRunsTheProgram(t *testing.T) {
	t.Setenv("EMS_TEST_APPCMD", "1")
	a := NewAppCmd(os.Args[0])
	state, err := a.State(t.Context(), "R D's pool")
	if err != nil || state != PoolStopping {
		t.Errorf("state %s, error %v", state, err)
	}
	if err := a.Stop(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "exit code 87") || !strings.Contains(err.Error(), "stop|apppool|x|/xml") {
		t.Errorf("error %v", err)
	}
	if err := NewAppCmd(os.Args[0]+".none").Stop(t.Context(), "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.State(ctx, "R D's pool"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestAppCmdJudgesByExitCodes(t *testing.T) {
	tests := map[string]struct {
		verb, output string
		code         int
		wantState    PoolState
		wantErr      error
		wantText     string
	}{
		"a started pool":                      {verb: "list", output: listing("P", "Started"), wantState: PoolStarted},
		"a pool spelled otherwise":            {verb: "list", output: listing("p", "Stopped"), wantState: PoolStopped},
		"a state that is not known":           {verb: "list", output: listing("P", "Unknown"), wantState: PoolUnknown},
		"a listing without the pool":          {verb: "list", output: listing("Q", "Started"), wantState: PoolUnknown, wantErr: ErrPoolNotFound},
		"a listing of an unknown pool":        {verb: "list", code: 1, wantState: PoolUnknown, wantErr: ErrPoolNotFound},
		"a listing that is no XML":            {verb: "list", output: "APPPOOL", wantState: PoolUnknown, wantText: "output"},
		"a listing without the service":       {verb: "list", code: 50, wantState: PoolUnknown, wantErr: ErrPoolsUnavailable},
		"a stop of an unknown pool":           {verb: "stop", code: 1168, wantErr: ErrPoolNotFound},
		"a stop of a stopped pool":            {verb: "stop", code: 1062, output: `<appcmd><ERROR message="Die Anwendung ist nicht aktiv" /></appcmd>`, wantErr: ErrPoolNotRunning},
		"a stop that succeeds":                {verb: "stop", output: `<appcmd><STATUS message="ok" /></appcmd>`},
		"a start of a running pool":           {verb: "start", code: 1056, wantErr: ErrPoolRunning},
		"a start without rights":              {verb: "start", code: 50, wantErr: ErrPoolsUnavailable},
		"help, which start never should give": {verb: "start", code: 1, wantText: "exit code 1"},
		"anything else":                       {verb: "start", code: 1726, output: "ERROR (\r\n  x )", wantText: `exit code 1726: "ERROR ( x )"`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			a := &AppCmd{path: "appcmd.exe", run: func(_ context.Context, path string, args []string) ([]byte, int, error) {
				if want := []string{tc.verb, "apppool", "P", "/xml"}; path != "appcmd.exe" || strings.Join(args, " ") != strings.Join(want, " ") {
					t.Errorf("call %s %v", path, args)
				}
				return []byte(tc.output), tc.code, nil
			}}
			var err error
			var state PoolState
			switch tc.verb {
			case "list":
				state, err = a.State(t.Context(), "P")
			case "start":
				err = a.Start(t.Context(), "P")
			case "stop":
				err = a.Stop(t.Context(), "P")
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

func TestAppCmdNeverPassesAnOptionForAName(t *testing.T) {
	a := &AppCmd{run: func(context.Context, string, []string) ([]byte, int, error) {
		t.Error("the program was started")
		return nil, 0, nil
	}}
	for _, name := range []string{"", "/xml", `a" /b`, `\\share`, "*"} {
		if err := a.Stop(t.Context(), name); !errors.Is(err, ErrPoolNotFound) {
			t.Errorf("%q: error %v", name, err)
		}
	}
}

func TestOutputIsLimited(t *testing.T) {
	var b limitedBuffer
	for range 3 {
		if n, err := b.Write(make([]byte, maxAppcmdOutput/2+1)); n != maxAppcmdOutput/2+1 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	if b.Len() != maxAppcmdOutput {
		t.Errorf("%d bytes kept", b.Len())
	}
}

func TestFilePools(t *testing.T) {
	root := t.TempDir()
	if err := iistree.Write(root, iistree.Options{}); err != nil {
		t.Fatal(err)
	}
	p := NewFilePools(root)
	ctx := t.Context()
	if _, err := p.State(ctx, "Nope"); !errors.Is(err, ErrPoolNotFound) {
		t.Errorf("state of an unknown pool: %v", err)
	}
	if err := p.Stop(ctx, "Nope"); !errors.Is(err, ErrPoolNotFound) {
		t.Errorf("stop of an unknown pool: %v", err)
	}
	if err := p.Start(ctx, owaPool); !errors.Is(err, ErrPoolRunning) {
		t.Errorf("start of a started pool: %v", err)
	}
	if err := p.Stop(ctx, strings.ToUpper(owaPool)); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(ctx, owaPool); !errors.Is(err, ErrPoolNotRunning) {
		t.Errorf("stop of a stopped pool: %v", err)
	}
	if s, err := NewFilePools(root).State(ctx, owaPool); err != nil || s != PoolStopped {
		t.Errorf("state %s, error %v", s, err)
	}
	if err := p.Start(ctx, owaPool); err != nil {
		t.Fatal(err)
	}
	path, err := p.StatePath()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := p.State(ctx, owaPool); err == nil {
		t.Error("a damaged file of states was accepted")
	}
	if _, err := NewFilePools(t.TempDir()).State(ctx, owaPool); err == nil {
		t.Error("a tree without IIS has pools")
	}
}
