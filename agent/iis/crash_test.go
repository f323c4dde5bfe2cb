package iis

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"mitigation.dev/ems/agent/iis/control"
	"mitigation.dev/ems/agent/journal/durable"
	"mitigation.dev/ems/test/iistree"
)

// wantCrashes is how many crash points TestCrashAnywhere has to reach at least.
const wantCrashes = 1000

// crashCase is a change from one list of mitigations to another.
type crashCase struct{ before, after []Mitigation }

func crashCases() map[string]crashCase {
	one := mitigation("M1", 1, rewrite("M1.1", "a"), pool("M1.2", owaPool))
	two := mitigation("M1", 2, rewrite("M1.1", "b"), pool("M1.2", ecpPool))
	other := mitigation("M2", 1, rewrite("M2.1", "c"))
	ping := mitigation("PING1", 1, Action{ID: "PING1.1", Type: ActionDoNothing})
	everything := mitigation("M3", 1, whole("M3.1", site), forServer("M3.2"), pool("M3.3", owaPool), service("M3.4", "MSExchangeUM"))
	spread := inWebConfig(mitigation("M4", 1, whole("M4.1", backEnd+"/owa"), rewriteAt("M4.2", backEnd, "d")))
	return map[string]crashCase{
		"first installation":                     {nil, []Mitigation{one, other, ping}},
		"next revision":                          {[]Mitigation{one, other}, []Mitigation{two, other}},
		"removal of all":                         {[]Mitigation{one, other, ping}, nil},
		"all content, in three files":            {nil, []Mitigation{everything, spread}},
		"removal from three files":               {[]Mitigation{everything, spread}, nil},
		"from web.configs to applicationHost":    {[]Mitigation{spread}, []Mitigation{notInWebConfig(spread)}},
		"from applicationHost to web.configs":    {[]Mitigation{notInWebConfig(spread), one}, []Mitigation{spread, one}},
		"next revisions in three files":          {[]Mitigation{everything, spread}, []Mitigation{next(everything), next(spread)}},
		"one goes while another comes elsewhere": {[]Mitigation{spread, other}, []Mitigation{two, everything}},
	}
}

// next is the next revision, whose inbound rules match something else.
func next(m Mitigation) Mitigation {
	m.Revision++
	m.Actions = slices.Clone(m.Actions)
	for i := range m.Actions {
		m.Actions[i].Rewrite = bytes.ReplaceAll(m.Actions[i].Rewrite, []byte(`<match url="`), []byte(`<match url="next`))
	}
	return m
}

func notInWebConfig(m Mitigation) Mitigation {
	m.Placement = ""
	return m
}

// newCrashLab is a server with a folder for a web.config that has to be made, and with services.
func newCrashLab(t *testing.T) *lab {
	t.Helper()
	l := newLab(t, iistree.Options{CRLF: true})
	if err := os.MkdirAll(l.file("inetpub/wwwroot/owa"), 0o755); err != nil {
		t.Fatal(err)
	}
	l.setServices(exchangeServices())
	return l
}

// TestCrashAnywhere stops the agent before, in and after every single step of a change, and starts it again. Then every
// file must be the old or the new one, the journal must agree with them, going on must work, and undoing everything must
// give the original bytes and run pools and services as before.
func TestCrashAnywhere(t *testing.T) {
	var total atomic.Int64
	t.Run("of", func(t *testing.T) { // which ends when all in it have
		for name, tc := range crashCases() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				crashEverywhere(t, tc, &total)
			})
		}
	})
	if n := total.Load(); n < wantCrashes && !t.Failed() {
		t.Errorf("%d crash points, want at least %d", n, wantCrashes)
	}
}

func crashEverywhere(t *testing.T, tc crashCase, total *atomic.Int64) {
	t.Helper()
	l := newCrashLab(t)
	lab := crashLab{lab: l, pools: l.pools, services: l.services, original: l.tree()}
	l.reconcile(tc.before...)
	lab.old, lab.before = l.tree(), l.everything()
	counter := &crasher{FS: quickFS{}, pools: l.pools}
	l.crashWith(counter)
	l.reconcile(tc.after...)
	lab.finished = l.tree()
	if counter.count < 6 || maps.Equal(lab.old, lab.finished) {
		t.Fatalf("only %d steps: %v", counter.count, counter.calls)
	}
	for at := 1; at <= counter.count; at++ {
		for _, when := range []string{"before", "torn", "after"} {
			if when == "torn" && !strings.HasPrefix(counter.calls[at-1], "write ") {
				continue
			}
			if n := total.Add(1); testing.Short() && n%int64(sparser(9)) != 0 {
				continue
			}
			name := fmt.Sprintf("%d %s %s", at, when, counter.calls[at-1])
			c := &crasher{FS: quickFS{}, at: at, after: when == "after", torn: when == "torn"}
			if !t.Run(name, func(t *testing.T) { lab.crash(t, tc, c) }) {
				return // the others would most likely fail alike
			}
		}
	}
}

func (l *lab) crashWith(c *crasher) {
	l.t.Helper()
	l.pools, l.fs, l.services = c, c, crashServices{c, l.services}
	l.open()
}

// crashLab is a lab that is put back, before each crash, to where the change begins: installing everything anew for each of
// a thousand crashes took most of the time.
type crashLab struct {
	*lab

	pools                   PoolController
	services                control.ServiceController
	before                  map[string]string // every file, by path
	original, old, finished map[string]string // trees
}

func (l *crashLab) crash(t *testing.T, tc crashCase, c *crasher) {
	t.Helper()
	l.t = t
	l.restore(l.before)
	c.pools = l.pools
	l.lab.pools, l.lab.services = l.pools, l.services
	l.crashWith(c)
	if _, err := l.server.Reconcile(t.Context(), tc.after); err == nil && !c.dead() {
		t.Fatal("there was no crash")
	}
	now := l.tree()
	for name, text := range now {
		if wasOld, isNew := text == l.old[name], text == l.finished[name]; !wasOld && !isNew && !strings.HasSuffix(name, durable.TempSuffix) {
			t.Fatalf("%s is neither old nor new:\n%s", name, text)
		}
	}

	l.lab.pools, l.lab.services, l.fs = l.pools, l.services, quickFS{}
	l.open()
	applied, err := l.server.Applied()
	if err != nil {
		t.Fatal(err)
	}
	unchanged := maps.Equal(now, l.old)
	for _, m := range applied {
		if unchanged && !l.present(m) {
			t.Errorf("%s revision %d is said to be applied and is not in the files", m.ID, m.Revision)
		}
	}
	for _, m := range tc.before {
		if unchanged && !contains(applied, m) {
			t.Errorf("%s revision %d is in the files and not said to be applied", m.ID, m.Revision)
		}
	}

	for _, o := range l.reconcile(tc.after...) {
		if o.State == Failed {
			t.Errorf("going on after the crash: %+v", o)
		}
	}
	l.wantTree(l.finished)
	off := map[string]bool{}
	for _, m := range tc.after {
		for _, a := range m.Actions {
			off[a.Pool] = off[a.Pool] || a.Type == ActionAppPool
		}
	}
	for _, p := range []string{owaPool, ecpPool} {
		want := PoolStarted
		if off[p] {
			want = PoolStopped
		}
		l.wantPool(p, want)
	}
	l.reconcile()
	l.wantTree(l.original)
	l.wantApplied()
	l.wantPool(owaPool, PoolStarted)
	l.wantPool(ecpPool, PoolStarted)
	l.wantServices(exchangeServices())
}

// everything gives the files of the server and of the agent.
func (l *lab) everything() map[string]string {
	l.t.Helper()
	files := map[string]string{}
	for _, dir := range []string{l.root, l.state} {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			files[path] = string(data)
			return err
		})
		if err != nil {
			l.t.Fatal(err)
		}
	}
	return files
}

// restore brings the files back to what they were.
func (l *lab) restore(files map[string]string) {
	l.t.Helper()
	now := l.everything()
	for path := range now {
		if _, ok := files[path]; !ok {
			if err := os.Remove(path); err != nil {
				l.t.Fatal(err)
			}
		}
	}
	for path, text := range files {
		if have, ok := now[path]; ok && have == text {
			continue
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			l.t.Fatal(err)
		}
	}
}

func contains(list []Mitigation, m Mitigation) bool {
	for _, x := range list {
		if same(x, m) {
			return true
		}
	}
	return false
}

// sparser says that a short run takes every how manyth of many points: of as many as elsewhere, Windows gets a fifth, because its
// files are slow where there is only an imitation of it.
func sparser(of int) int {
	if runtime.GOOS == "windows" {
		return 5 * of
	}
	return of
}
