package rolloutcmd

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/steer"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/terminal"
)

func TestWhatAffectsEveryPoolIsAsked(t *testing.T) {
	pool := steer.Target{Namespace: "frontends", Name: "web"}
	for name, test := range map[string]struct {
		target    steer.Target
		answer    string
		arguments []string
		nobody    bool
		asked, ok bool
	}{
		"yes":                       {target: steer.Global, answer: "y\n", asked: true, ok: true},
		"in full, without line":     {target: steer.Global, answer: "YES", asked: true, ok: true},
		"no":                        {target: steer.Global, answer: "no\n", asked: true},
		"only return":               {target: steer.Global, answer: "\n", asked: true},
		"the input ends":            {target: steer.Global, asked: true},
		"one pool":                  {target: pool, ok: true},
		"the flag has said it":      {target: steer.Global, arguments: []string{"--yes"}, ok: true},
		"nothing is written":        {target: steer.Global, arguments: []string{"--dry-run=server"}, ok: true},
		"nobody is there to answer": {target: steer.Global, nobody: true, ok: true},
	} {
		t.Run(name, func(t *testing.T) {
			var errs bytes.Buffer
			flags := pflag.NewFlagSet("", pflag.ContinueOnError)
			c := bindOrder(cli.World{Stderr: &errs, Stdin: strings.NewReader(test.answer)}, flags, steer.Has{Targets: true})
			if err := flags.Parse(test.arguments); err != nil {
				t.Fatal(err)
			}
			if c.asks {
				t.Error("a buffer is no person")
			}
			c.asks = !test.nobody
			err := c.confirm([]steer.Target{test.target}, "This is about M1 revision 3 in every pool.")
			if (err == nil) != test.ok {
				t.Errorf("got %v, want ok %v", err, test.ok)
			}
			if asked := strings.Contains(errs.String(), "in every pool.\nGo on? [y/N] "); asked != test.asked {
				t.Errorf("asked %v: %q", asked, errs.String())
			}
		})
	}
}

// TestLiveView draws one status over the other, and tells of a lost connection below.
func TestLiveView(t *testing.T) {
	var out bytes.Buffer
	command := &statusCommand{world: cli.World{Stdout: &out, Getenv: func(string) string { return "" }}, output: "table", id: "M1"}
	v := &view{command: command, screen: terminal.NewScreen(&out)}
	p := newPool("frontends", "web", 40)
	if err := v.show(look(inputOf(nil, p)), nil); err != nil {
		t.Fatal(err)
	}
	first := out.Len()
	p.stage(2, "tenth", time.Second).counts(4, 1, 0)
	if err := v.show(look(inputOf(nil, p)), cli.ExitError{Code: 7}); err != nil {
		t.Fatal(err)
	}
	if err := v.close(); err != nil {
		t.Fatal(err)
	}
	second := out.String()[first:]
	if !strings.HasPrefix(second, "\x1b[10A\r") || !strings.Contains(second, "stage 2 of 4, tenth") || !strings.HasSuffix(second, "\x1b[J\x1b[?25h") {
		t.Errorf("second picture: %q", second)
	}
	if !strings.Contains(second, "The connection is lost, and tried again: exit code 7\x1b[K\n") {
		t.Errorf("no word on the connection: %q", second)
	}
}
