package iis

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"mitigation.dev/ems/test/iistree"
)

// TestCrashAnywhere stops the agent before, in and after every single step of a change, and starts it again. Then the
// file must be the old or the new one, the journal must agree with it, going on must work, and undoing everything must
// give the original bytes and run the pools as before.
func TestCrashAnywhere(t *testing.T) {
	one := mitigation("M1", 1, rewrite("M1.1", "a"), pool("M1.2", owaPool))
	two := mitigation("M1", 2, rewrite("M1.1", "b"), pool("M1.2", ecpPool))
	other := mitigation("M2", 1, rewrite("M2.1", "c"))
	ping := mitigation("PING1", 1, Action{ID: "PING1.1", Type: ActionDoNothing})
	tests := map[string]struct{ before, after []Mitigation }{
		"first installation": {nil, []Mitigation{one, other, ping}},
		"next revision":      {[]Mitigation{one, other}, []Mitigation{two, other}},
		"removal of all":     {[]Mitigation{one, other, ping}, nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			probe := newLab(t, iistree.Options{CRLF: true})
			probe.reconcile(tc.before...)
			old := probe.read()
			counter := &crasher{FS: quickFS{}, pools: probe.pools}
			probe.pools, probe.fs = counter, counter
			probe.open()
			probe.reconcile(tc.after...)
			finished := probe.read()
			if counter.count < 6 || bytes.Equal(old, finished) {
				t.Fatalf("only %d steps: %v", counter.count, counter.calls)
			}
			for at := 1; at <= counter.count; at++ {
				for _, when := range []string{"before", "torn", "after"} {
					if when == "torn" && !strings.HasPrefix(counter.calls[at-1], "write ") {
						continue
					}
					t.Run(fmt.Sprintf("%d %s %s", at, when, counter.calls[at-1]), func(t *testing.T) {
						crashOnce(t, tc.before, tc.after, &crasher{FS: quickFS{}, at: at, after: when == "after", torn: when == "torn"}, old, finished)
					})
				}
			}
		})
	}
}

func crashOnce(t *testing.T, before, after []Mitigation, c *crasher, old, finished []byte) {
	t.Helper()
	l := newLab(t, iistree.Options{CRLF: true})
	l.reconcile(before...)
	pools := l.pools
	c.pools = pools
	l.pools, l.fs = c, c
	l.open()
	if _, err := l.server.Reconcile(t.Context(), after); err == nil && !c.dead() {
		t.Fatal("there was no crash")
	}
	now := l.read()
	if !bytes.Equal(now, old) && !bytes.Equal(now, finished) {
		t.Fatalf("the file is neither old nor new:\n%s", now)
	}

	l.pools, l.fs = pools, quickFS{}
	l.open()
	applied, err := l.server.Applied()
	if err != nil {
		t.Fatal(err)
	}
	content, err := l.server.readConfig()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range applied {
		if !present(&m, content) {
			t.Errorf("%s revision %d is said to be applied and is not in the file", m.ID, m.Revision)
		}
	}
	if bytes.Equal(now, old) && !bytes.Equal(old, finished) {
		for _, m := range before {
			if len(applied) == 0 || !contains(applied, m) {
				t.Errorf("%s revision %d is in the file and not said to be applied", m.ID, m.Revision)
			}
		}
	}

	for _, o := range l.reconcile(after...) {
		if o.State == Failed {
			t.Errorf("going on after the crash: %+v", o)
		}
	}
	if !bytes.Equal(l.read(), finished) {
		t.Errorf("going on after the crash does not give the new file")
	}
	off := map[string]bool{}
	for _, m := range after {
		for _, a := range m.Actions {
			off[a.Pool] = a.Type == ActionAppPool
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
	l.wantOriginal()
	l.wantApplied()
	l.wantPool(owaPool, PoolStarted)
	l.wantPool(ecpPool, PoolStarted)
}

func contains(list []Mitigation, m Mitigation) bool {
	for _, x := range list {
		if same(x, m) {
			return true
		}
	}
	return false
}
