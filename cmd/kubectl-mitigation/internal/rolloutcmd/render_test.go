package rolloutcmd

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/terminal"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs; run the test with -update if it should:\n%s", file, diff)
	}
}

func text(lines []string) string { return strings.Join(lines, "\n") + "\n" }

func TestPictures(t *testing.T) {
	one := func(p *poolOf) *input { return inputOf(nil, p) }
	audit := newPool("frontends", "web", 40).counts(1, 0, 0)
	audit.plan.Spec.Mode = emsv1.ModeAudit
	retried := newPool("frontends", "web", 40).counts(1, 0, 0)
	retried.entry.Rollout.Attempt, retried.told.Rollout.Attempt = 2, 2
	retried.entry.Rollout.Fallback.Revision = 2
	blocked := newPool("frontends", "web", 40)
	blocked.entry.Desired, blocked.entry.Reason, blocked.entry.Message = emsv1.DesiredRemove, "BlockedByPool", "blocked by pool frontends/web: breaks the shop"
	blocked.told.Servers.Pending = new(int32(4))
	disabled := newPool("frontends", "web", 40)
	disabled.entry.Desired, disabled.entry.Reason, disabled.entry.Message = emsv1.DesiredHold, "MitigationsDisabled", "mitigations are disabled in pool frontends/web"
	for name, test := range map[string]struct {
		in    *input
		style terminal.Style
		limit int
		all   bool
	}{
		"bad-night":            {in: aBadNight(), style: terminal.Style{Width: 100}, all: true},
		"bad-night-40":         {in: aBadNight(), style: terminal.Style{Width: 40}, all: true},
		"bad-night-200-color":  {in: aBadNight(), style: terminal.Style{Width: 200, Color: true, Unicode: true}, all: true},
		"thousand-pools":       {in: aThousandPools(), style: terminal.Style{Width: 100}, limit: 20},
		"progressing":          {in: one(newPool("frontends", "web", 40)), style: terminal.Style{Width: 100, Unicode: true}, limit: 20},
		"stuck":                {in: one(newPool("frontends", "web", 40).stage(2, "tenth", 20*time.Minute).is(emsv1.RolloutPaused, "RolloutStuck", `no verdict within 12m0s of stage "tenth" from web07`).counts(4, 3, 0)), style: terminal.Style{Width: 100}},
		"awaiting-approval":    {in: one(newPool("frontends", "web", 40).stage(1, "first", 20*time.Minute).is(emsv1.RolloutWaiting, "AwaitingApproval", `stage "tenth" asks for an approval`).counts(1, 1, 0)), style: terminal.Style{Width: 100}},
		"awaiting-ring-assent": {in: one(newPool("frontends", "web", 40).stage(0, "", 0).is(emsv1.RolloutWaiting, "AwaitingApproval", `ring "broad" asks for an approval`).counts(0, 0, 0)), style: terminal.Style{Width: 100}},
		"awaiting-window":      {in: one(newPool("frontends", "web", 40).stage(0, "", 0).is(emsv1.RolloutWaiting, "AwaitingWindow", "no window is open").counts(0, 0, 0)), style: terminal.Style{Width: 100}},
		"aborted":              {in: one(newPool("frontends", "web", 40).is(emsv1.RolloutAborted, "RolloutAborted", "night shift: the shop is down").counts(0, 0, 0)), style: terminal.Style{Width: 100}},
		"complete":             {in: one(newPool("frontends", "web", 40).complete(time.Hour)), style: terminal.Style{Width: 100}, all: true},
		"complete-not-asked":   {in: one(newPool("frontends", "web", 40).complete(time.Hour)), style: terminal.Style{Width: 100}},
		"late-failure": {in: one(func() *poolOf {
			p := newPool("frontends", "web", 40).complete(time.Hour).counts(40, 39, 1)
			p.told.Failing = []string{"web40"}
			return p
		}()), style: terminal.Style{Width: 100}},
		"audit":          {in: one(audit), style: terminal.Style{Width: 100}},
		"second-attempt": {in: one(retried), style: terminal.Style{Width: 100}},
		"blocked":        {in: one(blocked), style: terminal.Style{Width: 100}},
		"disabled":       {in: one(disabled), style: terminal.Style{Width: 100}, all: true},
		"two-revisions": {in: inputOf(nil, newPool("frontends", "web", 40), func() *poolOf {
			p := newPool("edges", "proxy", 4).complete(48 * time.Hour)
			p.entry.Revision, p.told.Revision = 2, 2
			return p
		}()), style: terminal.Style{Width: 100}, all: true},
		"no-mitigations": {in: inputOf(nil), style: terminal.Style{Width: 100}},
	} {
		t.Run(name, func(t *testing.T) {
			lines := render(look(test.in), layout{style: test.style, limit: test.limit, quiet: test.all})
			golden(t, "status-"+name, text(lines))
			for _, line := range lines {
				if n := utf8.RuneCountInString(line); n > test.style.Width && !test.style.Color && !strings.Contains(line, "kubectl ") {
					t.Errorf("%d columns in a window of %d: %q", n, test.style.Width, line)
				}
				if !test.style.Unicode && strings.ContainsFunc(line, func(r rune) bool { return r > '~' }) {
					t.Errorf("not ASCII: %q", line)
				}
				if !test.style.Color && strings.Contains(line, "\x1b") {
					t.Errorf("colour: %q", line)
				}
			}
		})
	}
}

func TestTheSameForPrograms(t *testing.T) {
	for _, form := range []string{"json", "yaml"} {
		var out bytes.Buffer
		if err := write(&out, form, look(aBadNight()), nil); err != nil {
			t.Fatal(err)
		}
		golden(t, "status-bad-night-"+form, out.String())
	}
}

func TestLinesForLogs(t *testing.T) {
	status := look(aBadNight())
	var lines []string
	for i := range status.Rollouts {
		lines = append(lines, line(&status.Rollouts[i], night))
	}
	golden(t, "lines-bad-night", text(lines))
}

func TestWhatServersSayDoesNotReachTheTerminal(t *testing.T) {
	in := aBadNight()
	const evil = "\x1b[2J\x1b]0;owned\x07 all is well"
	in.gates[serverKey{"frontends", "web01", "m1", "r3-a1-0123abcd"}] = evil
	in.plans[named("frontends", "web")].Spec.Mitigations[0].Rollout.Message = evil
	in.plans[named("backends", "mail")].Spec.Mitigations[0].Rollout.Stage = evil
	in.pools[2].Spec.Rollout.Orders[0].Reason = evil
	status := look(in)
	out := text(render(status, layout{style: terminal.Style{Width: 60}, quiet: true}))
	for i := range status.Rollouts {
		out += line(&status.Rollouts[i], night)
	}
	if strings.ContainsAny(out, "\x1b\x07") {
		t.Errorf("control characters in %q", out)
	}
	if strings.Count(out, "all is well") < 4 {
		t.Errorf("the words are gone: %q", out)
	}
}

func TestWhatTheReasonSaysIsNotSaidTwice(t *testing.T) {
	const message = `2 servers failed: web14 (http check "owa": status 500), web2.contoso.com`
	for name, test := range map[string]struct {
		server FailingServer
		want   bool
	}{
		"name and words":            {FailingServer{"web14", `http check "owa": status 500`}, true},
		"name alone":                {FailingServer{"web2.contoso.com", ""}, true},
		"other words":               {FailingServer{"web14", "no answer"}, false},
		"the beginning of a name":   {FailingServer{"web1", ""}, false},
		"the end of a name":         {FailingServer{"contoso.com", ""}, false},
		"another server altogether": {FailingServer{"web3", ""}, false},
	} {
		if got := told(message, test.server); got != test.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

// TestAnyWidth: no window breaks the drawing.
func TestAnyWidth(t *testing.T) {
	status := look(aBadNight())
	for width := 1; width <= 220; width += 3 {
		for _, line := range render(status, layout{style: terminal.Style{Width: width}, quiet: true}) {
			if n := utf8.RuneCountInString(line); n > max(width, 12) && !strings.Contains(line, "kubectl ") {
				t.Fatalf("%d columns in a window of %d: %q", n, width, line)
			}
		}
	}
}

func BenchmarkThousandPools(b *testing.B) {
	in := aThousandPools()
	for b.Loop() {
		render(look(in), layout{style: terminal.Style{Width: 100}, limit: 20})
	}
}

// TestManagerThatIsAway: only the manager moves a rollout, so one that should have moved long ago asks for it.
func TestManagerThatIsAway(t *testing.T) {
	patient := rings()
	patient.Spec.Rollout.ProgressDeadlineSeconds = 3600
	for name, tc := range map[string]struct {
		since  time.Duration
		global *emsv1.MitigationConfiguration
		want   bool
	}{
		"the stage may still become stuck":  {since: 12 * time.Minute},
		"it should have":                    {since: 14 * time.Minute, want: true},
		"the organisation is patient":       {since: 14 * time.Minute, global: patient},
		"the organisation's patience ended": {since: 64 * time.Minute, global: patient, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool("frontends", "web", 40).stage(1, "first", tc.since)
			hints := look(inputOf(tc.global, p)).Rollouts[0].Next
			if got := strings.Contains(hints[len(hints)-1].When, "the manager should have gone on"); got != tc.want {
				t.Errorf("hints %+v: tell of the manager: %t, want %t", hints, got, tc.want)
			}
		})
	}
}

func TestTheSameContentIsNoWayBackFromItself(t *testing.T) {
	p := newPool("frontends", "web", 40)
	p.entry.Rollout.ID = "r3-a3-0123abcd"
	for before, want := range map[string]int64{"r3-a1-0123abcd": 0, "r3-a1-4567cdef": 3, "r2-a1-0123abcd": 2} {
		p.entry.Rollout.Fallback = emsv1.PlanFallback{Rollout: before, Revision: max(2, want)}
		if got := look(inputOf(nil, p)).Rollouts[0].Fallback; got != want {
			t.Errorf("after %s: revision %d comes back, want %d", before, got, want)
		}
	}
}
