package metricsfile

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/onsi/gomega"
	clocktesting "k8s.io/utils/clock/testing"

	"mitigation.dev/ems/test/promtool"
)

var now = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

func newFile(t *testing.T) (*File, *clocktesting.FakeClock) {
	t.Helper()
	clock := clocktesting.NewFakeClock(now)
	return New(Options{
		Path: filepath.Join(t.TempDir(), "ems-agent.prom"), Clock: clock, CredentialExpiry: func() time.Time { return now.Add(time.Hour) },
	}), clock
}

func pass(mitigations []Mitigation, changes ...Change) Pass {
	return Pass{At: now, PlanGeneration: 7, TrustExpiry: now.Add(24 * time.Hour), Mitigations: mitigations, Changes: changes}
}

// lines are those of the text without the comments and without what depends on the build.
func lines(text string) map[string]bool {
	all := map[string]bool{}
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			all[strings.TrimSuffix(line, "\n")] = true
		}
	}
	return all
}

func TestMetricsSayWhatPassesDid(t *testing.T) {
	f, _ := newFile(t)
	f.Contact(now.Add(-time.Second))
	fails := []Mitigation{{ID: "M1", State: "Applied", Revision: 2, Effective: "True"}, {ID: "M2", State: failed}}
	f.Pass(pass(fails, Applied, Applied, Reverted))
	f.Pass(pass(fails, Repaired))
	f.Pass(pass([]Mitigation{{ID: "M1", State: "Applied", Revision: 2, Effective: "True"}, {ID: "M2", State: "Removed"}}, Removed))
	f.Pass(pass(fails))
	got := lines(f.text())
	for _, want := range []string{
		"ems_agent_last_pass_timestamp_seconds 1772438400",
		"ems_agent_last_contact_timestamp_seconds 1772438399",
		"ems_agent_credential_expiry_timestamp_seconds 1772442000",
		"ems_agent_trust_anchor_expiry_timestamp_seconds 1772524800",
		"ems_agent_plan_generation 7",
		"ems_agent_impeded 0",
		"ems_agent_kill_switch 0",
		`ems_agent_mitigations{state="Applied"} 1`,
		`ems_agent_mitigations{state="Failed"} 1`,
		`ems_agent_mitigations{state="Held"} 0`,
		`ems_agent_mitigation_info{mitigation="M1",revision="2",state="Applied",effective="True"} 1`,
		"ems_agent_mitigations_applied_total 2",
		"ems_agent_mitigations_removed_total 1",
		"ems_agent_mitigation_failures_total 2",
		"ems_agent_rollbacks_total 1",
		"ems_agent_drift_repairs_total 1",
	} {
		if !got[want] {
			t.Errorf("missing: %s", want)
		}
	}
	if t.Failed() {
		t.Log(f.text())
	}
}

func TestPromtoolAcceptsTheMetrics(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("promtool is built for the system that builds")
	}
	f, _ := newFile(t)
	promtool.CheckMetrics(t, f.text())
	f.Contact(now)
	hostile := []Mitigation{{ID: "M1\"} 1\nems_forged 1\\", State: "Applied", Effective: "\xff"}}
	for i := range 300 {
		hostile = append(hostile, Mitigation{ID: fmt.Sprintf("M%d", i+2), State: "Held"})
	}
	f.Pass(pass(hostile, Applied))
	promtool.CheckMetrics(t, f.text())
	if strings.Contains(f.text(), "\nems_forged") {
		t.Error("a value of a label ends its line")
	}
	if n := strings.Count(f.text(), "\nems_agent_mitigation_info{"); n != maxMitigations {
		t.Errorf("%d mitigations, want %d", n, maxMitigations)
	}
}

func TestEveryMetricOfTheAgentIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/reference/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	f, _ := newFile(t)
	f.Contact(now)
	f.Pass(pass([]Mitigation{{ID: "M1"}}))
	names := 0
	for line := range strings.Lines(f.text()) {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			names++
			name, _, _ = strings.Cut(name, " ")
			if !strings.Contains(string(page), "\n| `"+name+"` |") {
				t.Errorf("docs/reference/metrics.md has no row for %s", name)
			}
		}
	}
	if rows := strings.Count(string(page), "\n| `ems_agent_"); rows != names {
		t.Errorf("docs/reference/metrics.md has %d rows of the agent, and there are %d metrics", rows, names)
	}
}

func TestTheFileIsWrittenAtMostEveryFifteenSeconds(t *testing.T) {
	f, clock := newFile(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { f.Run(ctx); close(done) }()
	// It waits after each write. Reading meanwhile could keep the file from being exchanged on Windows.
	await := func() {
		t.Helper()
		gomega.NewWithT(t).Eventually(clock.HasWaiters).WithTimeout(10 * time.Second).WithPolling(time.Millisecond).Should(gomega.BeTrue())
	}
	has := func(line string) bool {
		data, err := os.ReadFile(f.Path)
		return err == nil && lines(string(data))[line]
	}
	f.Pass(pass(nil, Applied))
	await()
	if !has("ems_agent_mitigations_applied_total 1") {
		t.Error("not written after the first pass")
	}
	f.Pass(pass(nil, Applied))
	clock.Step(minInterval - time.Second)
	if has("ems_agent_mitigations_applied_total 2") {
		t.Error("written again before 15 seconds had gone by")
	}
	clock.Step(time.Second)
	await()
	if !has("ems_agent_mitigations_applied_total 2") {
		t.Error("not written after 15 seconds")
	}
	f.Pass(pass(nil, Applied))
	stop()
	<-done
	if !has("ems_agent_mitigations_applied_total 3") {
		t.Error("what came last is not written at the end")
	}
	if info, err := os.Stat(f.Path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != mode {
		t.Errorf("mode %v, %v: the collector runs as somebody else", info.Mode(), err)
	}
}

func TestTheFileIsExchangedUnderAReader(t *testing.T) {
	f, _ := newFile(t)
	f.Pass(pass(nil, Applied))
	if !f.write() {
		t.Fatal(f.problem)
	}
	before := f.text()
	reader, err := os.Open(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	f.Pass(pass(nil, Applied))
	exchanged := f.write()
	if !exchanged && runtime.GOOS != "windows" {
		t.Fatal(f.problem)
	}
	got, err := io.ReadAll(reader)
	if err != nil || string(got) != before {
		t.Errorf("the reader got another text than the one that it opened (%v):\n%s", err, got)
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	if !f.write() {
		t.Fatalf("the file cannot be exchanged although nobody reads it: %s", f.problem)
	}
	if data, err := os.ReadFile(f.Path); err != nil || string(data) != f.text() {
		t.Errorf("the file has another text than the last one (%v):\n%s", err, data)
	}
}

func TestAProblemIsToldOnceAndPasses(t *testing.T) {
	var told []string
	folder := filepath.Join(t.TempDir(), "collector")
	f := New(Options{
		Path: filepath.Join(folder, "ems-agent.prom"), Clock: clocktesting.NewFakeClock(now),
		Log: funcr.New(func(_, args string) { told = append(told, args) }, funcr.Options{}),
	})
	for range 2 {
		if f.write() {
			t.Fatal("written into a folder that is not there")
		}
	}
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if !f.write() {
		t.Fatal(f.problem)
	}
	if len(told) != 2 || !strings.Contains(told[0], "cannot be written") || !strings.Contains(told[1], "again") {
		t.Errorf("told %q, want the problem and its end", told)
	}
}

func TestWithoutAFileNothingHappens(t *testing.T) {
	var f *File
	f.Pass(Pass{})
	f.Contact(now)
	f.Run(t.Context())
}
