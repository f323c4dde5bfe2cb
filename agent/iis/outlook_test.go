package iis

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/test/iistree"
)

func TestSwitchedOffNamesWhatHasToBeOffForItsSakeToo(t *testing.T) {
	pools, services := SwitchedOff([]Mitigation{
		mitigation("M1", 1, rewrite("M1.1", "a"), pool("M1.2", owaPool)), mitigation("M2", 1, pool("M2.1", owaPool), service("M2.2", "MSExchangeUM")),
	})
	if diff := cmp.Diff([]string{owaPool}, pools); diff != "" {
		t.Errorf("pools differ (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"MSExchangeHMRecovery", "MSExchangeHM", "MSExchangeUM"}, services); diff != "" {
		t.Errorf("services differ (-want +got):\n%s", diff)
	}
}

func TestEffectsAreForPeople(t *testing.T) {
	m := mitigation("M1", 1, rewrite("M1.1", "a"), forServer("M1.2"), pool("M1.3", owaPool), service("M1.4", "MSExchangeUM"))
	got := strings.Join(m.Effects(), "; ")
	for _, want := range []string{`rules "EMS M1.1 block" at "Default Web Site"`, `rules "EMS M1.2 everywhere" for the whole server`, owaPool, "MSExchangeUM"} {
		if !strings.Contains(got, want) {
			t.Errorf("effects = %q, want %q among them", got, want)
		}
	}
	if got := mitigation("M1", 1, Action{ID: "M1.1", Type: "Registry"}).Effects(); got != nil {
		t.Errorf("effects of what cannot be installed = %q", got)
	}
}

func TestAccessLogsAreThoseOfTheSites(t *testing.T) {
	l := newLab(t, iistree.Options{})
	logs := func(m Mitigation) []string {
		folders, err := l.server.AccessLogs(m)
		if err != nil {
			t.Fatal(err)
		}
		for i := range folders {
			folders[i] = strings.ToLower(filepath.Base(folders[i]))
		}
		return folders
	}
	if none := logs(mitigation("M1", 1, rewrite("M1.1", "a"))); len(none) != 0 {
		t.Errorf("logs of a site that has none: %q", none)
	}
	for _, name := range []string{"W3SVC1", "W3SVC2"} {
		if err := os.MkdirAll(l.file("inetpub/logs/LogFiles/"+name), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"w3svc1"}, logs(mitigation("M1", 1, rewrite("M1.1", "a")))); diff != "" {
		t.Errorf("logs of one site differ (-want +got):\n%s", diff)
	}
	if all := logs(mitigation("M1", 1, rewrite("M1.1", "a"), forServer("M1.2"))); len(all) < 2 {
		t.Errorf("logs for the whole server = %q, want those of every site", all)
	}
	l.edit("</configuration>", "")
	if _, err := l.server.AccessLogs(mitigation("M1", 1)); err == nil {
		t.Error("a broken configuration has logs")
	}
}

func TestForgettingGivesARevisionThatEndedTheAgentAnotherChance(t *testing.T) {
	m := mitigation("M1", 1, pool("M1.1", ecpPool))
	l := newLab(t, iistree.Options{})
	l.die(m)
	l.die(m)
	l.wantState(l.reconcile(m)["M1"], Failed, CrashLoop, false)
	if err := l.server.Forget(); err != nil {
		t.Fatal(err)
	}
	l.wantState(l.reconcile(m)["M1"], Applied, "", true)
	if err := l.server.Forget(); err != nil {
		t.Fatal(err)
	}
	l.wantState(l.reconcile(m)["M1"], Applied, "", false)
}

func TestForgettingEndsAFight(t *testing.T) {
	m := mitigation("M1", 1, pool("M1.1", ecpPool))
	l := newLab(t, iistree.Options{})
	l.reconcile(m)
	for range 2 {
		if err := l.look.Start(t.Context(), ecpPool); err != nil {
			t.Fatal(err)
		}
		l.reconcile(m)
	}
	if got := l.reconcile(m)["M1"]; got.Reason != StateContested {
		t.Fatalf("outcome = %+v, want a fight", got)
	}
	if err := l.server.Forget(); err != nil {
		t.Fatal(err)
	}
	l.wantState(l.reconcile(m)["M1"], Applied, "", true)
	l.wantPool(ecpPool, PoolStopped)
}
