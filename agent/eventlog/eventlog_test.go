package eventlog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"

	"mitigation.dev/ems/agent/logfile"
)

const reference = "../../docs/reference/events.md"

// TestTheReferenceListsEveryEvent: what watches for numbers relies on the page.
func TestTheReferenceListsEveryEvent(t *testing.T) {
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, d := range Table() {
		fmt.Fprintf(&want, "| %d | %s | %s | %s |\n", d.ID, d.Name, d.Severity, d.Meaning)
	}
	rows := regexp.MustCompile(`(?m)^\| \d+ \|.*\|$`).FindAllString(strings.ReplaceAll(string(text), "\r", ""), -1)
	if diff := cmp.Diff(want.String(), strings.Join(rows, "\n")+"\n"); diff != "" {
		t.Errorf("%s (-want +got):\n%s", reference, diff)
	}
}

func TestNumbersAreGivenOnce(t *testing.T) {
	numbers, names := map[ID]bool{}, map[string]bool{}
	for _, d := range Table() {
		if numbers[d.ID] || names[d.Name] || d.ID < 1000 || d.ID > 1999 || levels[d.Severity] == "" || d.Meaning == "" {
			t.Errorf("event %+v", d)
		}
		numbers[d.ID], names[d.Name] = true, true
	}
	// These are the numbers of the emergency mitigation service of Exchange.
	for id, want := range map[ID]Severity{1005: Information, 1006: Information, 1008: Error} {
		if got := definition(id).Severity; got != want {
			t.Errorf("event %d is shown as %s, want %s", id, got, want)
		}
	}
	if d := definition(7); d.Severity != Error {
		t.Errorf("an event that is not in the table: %+v", d)
	}
}

func TestObserver(t *testing.T) {
	m1 := Mitigation{ID: "M1", State: "Applied", Reason: "Enabled", Revision: 1}
	with := func(m Mitigation, change func(*Mitigation)) Mitigation {
		change(&m)
		return m
	}
	failed := Mitigation{ID: "M1", State: "Failed", Reason: "PoolStopFailed", Message: "no"}
	blocked := Mitigation{ID: "M1", State: "Removed", Reason: "BlockedByPool", Message: "By the pool."}
	ineffective := with(m1, func(m *Mitigation) { m.NotInEffect, m.Reason = true, "Cleared" })
	for name, tc := range map[string]struct {
		passes []Pass
		want   []ID // of the last pass
		text   string
	}{
		"a mitigation is applied": {[]Pass{{}, {Mitigations: []Mitigation{m1}, Changes: []Change{{Applied, "M1", 1}}}}, []ID{1005}, "Revision 1 of mitigation M1 is in place"},
		"it stays":                {[]Pass{{Mitigations: []Mitigation{m1}, Changes: []Change{{Applied, "M1", 1}}}, {Mitigations: []Mitigation{m1}}}, nil, ""},
		"the agent starts again":  {[]Pass{{Mitigations: []Mitigation{m1}}}, nil, ""},
		"another revision": {[]Pass{{Mitigations: []Mitigation{m1}}, {Mitigations: []Mitigation{with(m1, func(m *Mitigation) { m.Revision = 2 })},
			Changes: []Change{{Applied, "m1", 2}}}}, []ID{1006}, "instead of revision 1"},
		"another revision, after it failed at first": {[]Pass{{Mitigations: []Mitigation{with(failed, func(m *Mitigation) { m.Revision = 1 })}},
			{Mitigations: []Mitigation{with(m1, func(m *Mitigation) { m.Revision = 2 })}, Changes: []Change{{Applied, "M1", 2}}}}, []ID{1006}, "instead of revision 1"},
		"it is removed":       {[]Pass{{Mitigations: []Mitigation{m1}}, {Changes: []Change{{Removed, "M1", 0}}}}, []ID{1007}, "M1 was removed"},
		"it is repaired":      {[]Pass{{Mitigations: []Mitigation{m1}}, {Mitigations: []Mitigation{m1}, Changes: []Change{{Repaired, "M1", 1}}}}, []ID{1012}, "Revision 1 was restored"},
		"it is taken back":    {[]Pass{{Mitigations: []Mitigation{m1}}, {Changes: []Change{{Reverted, "M1", 1}}}}, []ID{1011}, "M1 was taken back"},
		"it fails":            {[]Pass{{}, {Mitigations: []Mitigation{failed}}}, []ID{1008}, "M1 failed (PoolStopFailed): no"},
		"it fails on":         {[]Pass{{Mitigations: []Mitigation{failed}}, {Mitigations: []Mitigation{failed}}}, nil, ""},
		"it fails otherwise":  {[]Pass{{Mitigations: []Mitigation{failed}}, {Mitigations: []Mitigation{with(failed, func(m *Mitigation) { m.Reason = "Untrusted" })}}}, []ID{1008}, "Untrusted"},
		"it is blocked":       {[]Pass{{Mitigations: []Mitigation{m1}}, {Mitigations: []Mitigation{blocked}, Changes: []Change{{Removed, "M1", 0}}}}, []ID{1007, 1009}, "blocked (BlockedByPool)"},
		"it stays blocked":    {[]Pass{{Mitigations: []Mitigation{blocked}}, {Mitigations: []Mitigation{blocked}}}, nil, ""},
		"it is released":      {[]Pass{{Mitigations: []Mitigation{blocked}}, {Mitigations: []Mitigation{m1}, Changes: []Change{{Applied, "M1", 1}}}}, []ID{1005, 1020}, "blocked no longer"},
		"its rollout halts":   {[]Pass{{}, {Mitigations: []Mitigation{{ID: "M1", State: "Pending", Reason: "RolloutHalted"}}}}, []ID{1010}, "it is pending on this server"},
		"IIS does not run it": {[]Pass{{Mitigations: []Mitigation{m1}}, {Mitigations: []Mitigation{ineffective}}}, []ID{1013}, "(Cleared)"},
		"IIS still does not":  {[]Pass{{Mitigations: []Mitigation{ineffective}}, {Mitigations: []Mitigation{ineffective}}}, nil, ""},
		"a problem begins":    {[]Pass{{}, {Problem: "ServerFailed: disk"}}, []ID{1008}, "ServerFailed: disk"},
		"a problem goes on":   {[]Pass{{Problem: "x"}, {Problem: "x"}}, nil, ""},
		"a problem ends":      {[]Pass{{Problem: "x"}, {}}, []ID{1021}, "over: x"},
		"a problem hides what is in place, which is then still the same": {[]Pass{{Mitigations: []Mitigation{blocked}}, {Problem: "x"}, {Mitigations: []Mitigation{blocked}}}, []ID{1021}, "x"},
	} {
		t.Run(name, func(t *testing.T) {
			var o Observer
			var events []Event
			for _, p := range tc.passes {
				events = o.Observe(p)
			}
			var got []ID
			text := ""
			for _, e := range events {
				got = append(got, e.ID)
				text += e.Message + "\n"
			}
			if diff := cmp.Diff(tc.want, got); diff != "" || !strings.Contains(text, tc.text) {
				t.Errorf("events (-want +got):\n%s%s", diff, text)
			}
		})
	}
}

// book is an event log of a system.
type book struct {
	err     error
	entries []string
}

func (b *book) report(d Definition, message string) error {
	b.entries = append(b.entries, fmt.Sprintf("%d %s %s", d.ID, d.Severity, message))
	return b.err
}

func (b *book) close() error { return b.err }

func TestLogWritesBoth(t *testing.T) {
	dir := t.TempDir()
	mirror, err := logfile.Open(logfile.Options{Dir: dir, Name: "events", Clock: clocktesting.NewFakeClock(time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC))})
	if err != nil {
		t.Fatal(err)
	}
	b := &book{}
	l := &Log{mirror: mirror, system: b}
	l.Write(MitigationApplied, "Revision 1 of mitigation M1 is in place.")
	b.err = errors.New("the log is full")
	l.Write(DriftRepaired, "M1\x00;\r\nforged")
	l.Write(Failure, strings.Repeat("ä", maxMessage))
	l.Close()
	l.Write(ServiceStopped, "Only in the file.")
	mirror.Close()
	want := []string{"1005 Information Revision 1 of mitigation M1 is in place.", "1012 Warning M1\ufffd;\r\nforged", "1008 Error " + strings.Repeat("ä", maxMessage/2) + " ... (cut)"}
	if diff := cmp.Diff(want, b.entries); diff != "" {
		t.Errorf("event log (-want +got):\n%s", diff)
	}
	text, err := os.ReadFile(filepath.Join(dir, "events-20260514-1.log"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\r\n"), "\r\n")
	const at = "2026-05-14T16:00:00.000Z,event,S:LogLevel="
	for i, want := range []string{
		at + "Information;S:Message=Revision 1 of mitigation M1 is in place.;S:EventId=1005;S:Event=MitigationApplied",
		at + `Warning;S:Message=M1` + "\ufffd" + `\;\r\nforged;S:EventId=1012;S:Event=DriftRepaired`,
		at + "Warning;S:Message=The event log does not take events;S:error=the log is full",
		"", // the long one
		at + "Information;S:Message=Only in the file.;S:EventId=1001;S:Event=ServiceStopped",
	} {
		if len(lines) != 5 || want != "" && lines[i] != want {
			t.Fatalf("line %d of %d, want %q:\n%s", i, len(lines), want, text)
		}
	}
}

func TestWithoutAMirror(t *testing.T) {
	b := &book{}
	l := &Log{system: b}
	l.Write(ServiceStarted, "Starts.")
	if diff := cmp.Diff([]string{"1000 Information Starts."}, b.entries); diff != "" {
		t.Errorf("event log (-want +got):\n%s", diff)
	}
}
