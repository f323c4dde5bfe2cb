package iis

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"mitigation.dev/ems/agent/iis/refusal"
	"mitigation.dev/ems/agent/iis/standin"
	"mitigation.dev/ems/test/iistree"
)

func TestInstallUpdateRemove(t *testing.T) {
	for name, o := range map[string]iistree.Options{"LF": {}, "CRLF": {CRLF: true}} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, o)
			m := mitigation("M1", 1, rewrite("M1.1", "a"), pool("M1.2", owaPool))
			l.wantState(l.reconcile(m)["M1"], Applied, "", true)
			l.wantInFile(`<rule name="EMS M1.1 block" stopProcessing="true">`, 1)
			l.wantInFile(`<add name="`+owaPool+`" autoStart="false"`, 1)
			l.wantPool(owaPool, PoolStopped)
			l.wantApplied("M1/1")

			next := mitigation("M1", 2, rewrite("M1.1", "b"))
			l.wantState(l.reconcile(next)["M1"], Applied, "", true)
			l.wantInFile(`<match url="b" />`, 1)
			l.wantInFile(`autoStart="false"`, 0)
			l.wantPool(owaPool, PoolStarted)
			l.wantApplied("M1/2")

			l.wantState(l.reconcile()["M1"], Removed, "", true)
			l.wantOriginal()
			l.wantApplied()
			if out := l.reconcile(); len(out) != 0 {
				t.Errorf("a second removal gives %v", out)
			}
		})
	}
}

func TestNothingIsWrittenWhenNothingDiffers(t *testing.T) {
	l := newLab(t, iistree.Options{})
	wanted := []Mitigation{mitigation("M1", 1, rewrite("M1.1", "a"), pool("M1.2", ecpPool)), mitigation("M2", 1, rewrite("M2.1", "b")),
		mitigation("PING1", 1, Action{ID: "PING1.1", Type: ActionDoNothing})}
	l.reconcile(wanted...)
	counter := &crasher{FS: quickFS{}, pools: l.pools}
	l.fs, l.pools = counter, counter
	l.open()
	for _, o := range l.reconcile(wanted[2], wanted[1], wanted[0]) {
		l.wantState(o, Applied, "", false)
	}
	if len(counter.calls) > 0 {
		t.Errorf("calls %v", counter.calls)
	}
}

func TestANewerDocumentWithTheSameContentIsOnlyRecorded(t *testing.T) {
	l := newLab(t, iistree.Options{})
	wanted := []Mitigation{mitigation("ECP1", 1, pool("ECP1.1", ecpPool)), mitigation("M1", 1, rewrite("M1.1", "a")),
		mitigation("PING1", 1, Action{ID: "PING1.1", Type: ActionDoNothing})}
	l.reconcile(wanted...)
	for i := range wanted {
		wanted[i].Digest = "of the newer document"
	}
	for _, o := range l.reconcile(wanted...) {
		l.wantState(o, Applied, "", false)
	}
	applied, err := l.server.Applied()
	if err != nil || len(applied) != len(wanted) {
		t.Fatalf("applied %v, %v", applied, err)
	}
	for _, m := range applied {
		if m.Digest != "of the newer document" {
			t.Errorf("%s is recorded with the digest %q", m.ID, m.Digest)
		}
	}
}

func TestTheOrderOfComingAndGoingDoesNotMatter(t *testing.T) {
	a, b, c := mitigation("M1", 1, rewrite("M1.1", "a")), mitigation("M2", 1, rewrite("M2.1", "b"), pool("M2.2", ecpPool)), mitigation("M3", 1, pool("M3.1", ecpPool))
	l := newLab(t, iistree.Options{})
	l.reconcile(a, b)
	want := l.read()
	other := newLab(t, iistree.Options{})
	for _, step := range [][]Mitigation{{b}, {b, c}, {c, b, a}, {b, a}} {
		other.reconcile(step...)
	}
	if !bytes.Equal(other.read(), want) {
		t.Errorf("the files differ:\n%s", other.read())
	}
	other.reconcile(c)
	other.wantPool(ecpPool, PoolStopped) // M3 still needs it
	other.reconcile()
	other.wantPool(ecpPool, PoolStarted)
	other.wantOriginal()
}

func TestPoolsComeBackAsTheyWere(t *testing.T) {
	l := newLab(t, iistree.Options{})
	if err := l.pools.Stop(t.Context(), ecpPool); err != nil {
		t.Fatal(err)
	}
	l.edit(`<add name="MSExchangeOABAppPool"`, `<add name="MSExchangeOABAppPool" autoStart="false"`)
	l.original = l.read()
	l.reconcile(mitigation("M1", 1, pool("M1.1", ecpPool), pool("M1.2", owaPool), pool("M1.3", "MSExchangeOABAppPool"), pool("M1.4", "MSExchangeRestAppPool")))
	for _, p := range []string{ecpPool, owaPool, "MSExchangeOABAppPool", "MSExchangeRestAppPool"} {
		l.wantPool(p, PoolStopped)
	}
	l.reconcile()
	l.wantOriginal()
	l.wantPool(ecpPool, PoolStopped)
	l.wantPool(owaPool, PoolStarted)
	l.wantPool("MSExchangeOABAppPool", PoolStopped)
	l.wantPool("MSExchangeRestAppPool", PoolStarted)
}

func TestDriftIsRepaired(t *testing.T) {
	tests := map[string]struct {
		drift       func(*lab)
		wantM1      bool // whether M1 reports a change
		wantM2      bool
		notOriginal bool
	}{
		"a rule that was renamed is installed again, the renamed one stays": {func(l *lab) { l.edit("EMS M1.1 block", "theirs") }, true, false, true},
		"a rule that was altered":             {func(l *lab) { l.edit(`<match url="a" />`, `<match url="x" />`) }, true, false, false},
		"a rule that was switched off":        {func(l *lab) { l.edit(`name="EMS M1.1 block"`, `name="EMS M1.1 block" enabled="false"`) }, true, false, false},
		"a pool that was started":             {func(l *lab) { _ = l.pools.Start(l.t.Context(), ecpPool) }, false, true, false},
		"a pool that starts by itself":        {func(l *lab) { l.edit(` autoStart="false"`, ``) }, false, true, false},
		"a foreign rule in front":             {func(l *lab) { l.edit("<rules>", "<rules>\n<rule name=\"z\" />") }, true, true, true},
		"everything put back to the original": {func(l *lab) { _ = os.WriteFile(l.configPath(), l.original, 0o644) }, true, true, false},
		"everything put on one line, as by tools": {func(l *lab) {
			_ = os.WriteFile(l.configPath(), bytes.ReplaceAll(l.read(), []byte("\n"), []byte(" ")), 0o644)
		}, true, true, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, iistree.Options{})
			wanted := []Mitigation{mitigation("M1", 1, rewrite("M1.1", "a")), mitigation("M2", 1, rewrite("M2.1", "b"), pool("M2.2", ecpPool))}
			l.reconcile(wanted...)
			tc.drift(l)
			out := l.reconcile(wanted...)
			l.wantState(out["M1"], Applied, "", tc.wantM1)
			l.wantState(out["M2"], Applied, "", tc.wantM2)
			l.wantPool(ecpPool, PoolStopped)
			for _, m := range wanted {
				if !l.present(m) {
					t.Errorf("%s is not in the file:\n%s", m.ID, l.read())
				}
			}
			l.reconcile()
			l.wantInFile("EMS M", 0)
			l.wantInFile(`autoStart="false"`, 0)
			if !tc.notOriginal {
				l.wantOriginal()
			}
		})
	}
}

func TestOneFailsAlone(t *testing.T) {
	bad := rewrite("M1.1", "a")
	bad.Site = "Intranet"
	global := rewrite("M1.1", "a")
	global.Rewrite = bytes.ReplaceAll(global.Rewrite, []byte("rules>"), []byte("globalRules>"))
	tests := map[string]struct {
		options    iistree.Options
		prepare    func(*lab)
		actions    []Action
		wantReason string
		wantText   string
		otherFails bool
	}{
		"a site that is not there":   {actions: []Action{bad}, wantReason: SiteNotFound, wantText: "Intranet"},
		"a pool that is not there":   {actions: []Action{pool("M1.1", "Nope")}, wantReason: PoolNotFound, wantText: "Nope"},
		"one of two actions":         {actions: []Action{rewrite("M1.1", "a"), pool("M1.2", "Nope")}, wantReason: PoolNotFound},
		"content of a later version": {actions: []Action{global}, wantReason: UnsupportedContent, wantText: "globalRules"},
		"a type of a later version":  {actions: []Action{{ID: "M1.1", Type: "Registry"}}, wantReason: UnsupportedContent, wantText: "Registry"},
		"no service named":           {actions: []Action{{ID: "M1.1", Type: ActionService}}, wantReason: UnsupportedContent},
		"no site named":              {actions: []Action{{ID: "M1.1", Type: ActionUrlRewrite, Rewrite: global.Rewrite}}, wantReason: UnsupportedContent},
		"no pool named":              {actions: []Action{{ID: "M1.1", Type: ActionAppPool}}, wantReason: UnsupportedContent},
		"a rule of that name by somebody": {prepare: func(l *lab) {
			l.edit("            <security>", "            <rewrite><rules><rule name=\"EMS M1.1 block\" /></rules></rewrite>\n            <security>")
		}, actions: []Action{rewrite("M1.1", "a")}, wantReason: NameCollision},
		"the name that another one has":       {actions: []Action{rewrite("M0.1", "a")}, wantReason: NameCollision, wantText: "another mitigation"},
		"a server without URL Rewrite":        {options: iistree.Options{NoRewrite: true}, actions: []Action{rewrite("M1.1", "a")}, wantReason: RewriteSectionMissing, wantText: "install", otherFails: true},
		"a server whose module was taken out": {prepare: func(l *lab) { l.edit(`<add name="RewriteModule" image`, `<add name="X" image`) }, actions: []Action{rewrite("M1.1", "a")}, wantReason: RewriteModuleMissing, otherFails: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, tc.options)
			if tc.prepare != nil {
				tc.prepare(l)
				l.original = l.read()
			}
			out := l.reconcile(mitigation("M1", 1, tc.actions...), mitigation("M0", 1, rewrite("M0.1", "b")))
			l.wantState(out["M1"], Failed, tc.wantReason, false)
			if !strings.Contains(out["M1"].Message, tc.wantText) {
				t.Errorf("message %q does not say %q", out["M1"].Message, tc.wantText)
			}
			if tc.otherFails {
				l.wantApplied()
				l.wantOriginal()
				return
			}
			l.wantState(out["M0"], Applied, "", true)
			l.wantApplied("M0/1")
			l.wantInFile("EMS M0.1", 1)
			l.reconcile()
			l.wantOriginal()
		})
	}
}

func TestThePreviousRevisionStaysWhenTheNextCannotBeInstalled(t *testing.T) {
	l := newLab(t, iistree.Options{})
	one := mitigation("M1", 1, rewrite("M1.1", "a"), pool("M1.2", owaPool))
	l.reconcile(one)
	installed := l.read()
	out := l.reconcile(mitigation("M1", 2, rewrite("M1.1", "b"), pool("M1.2", "Nope")))
	l.wantState(out["M1"], Failed, PoolNotFound, false)
	if out["M1"].Revision != 2 || !strings.Contains(out["M1"].Message, "revision 1 stays") {
		t.Errorf("outcome %+v", out["M1"])
	}
	if !bytes.Equal(l.read(), installed) {
		t.Error("the file was changed")
	}
	l.wantApplied("M1/1")
	l.wantPool(owaPool, PoolStopped)
	l.reconcile()
	l.wantOriginal()
	l.wantPool(owaPool, PoolStarted)
}

// stubborn is a controller with pools that do not stop, or do not start.
type stubborn struct {
	PoolController
	noStop, noStart, comesBack string
}

func (s *stubborn) Stop(ctx context.Context, pool string) error {
	if pool == s.noStop {
		return ErrPoolsUnavailable
	}
	err := s.PoolController.Stop(ctx, pool)
	if err == nil && pool == s.comesBack {
		err = s.PoolController.Start(ctx, pool)
	}
	return err
}

func (s *stubborn) Start(ctx context.Context, pool string) error {
	if pool == s.noStart {
		return ErrPoolsUnavailable
	}
	return s.PoolController.Start(ctx, pool)
}

func TestAPoolThatDoesNotStop(t *testing.T) {
	for name, pools := range map[string]stubborn{"an error": {noStop: ecpPool}, "it comes back at once": {comesBack: ecpPool}} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, iistree.Options{})
			one := mitigation("M1", 1, rewrite("M1.1", "a"), pool("M1.2", owaPool))
			other := mitigation("M2", 1, rewrite("M2.1", "c"))
			l.reconcile(one, other)
			before := l.read()
			pools.PoolController = standin.NewPools(l.root, nil)
			l.pools = &pools
			l.open()
			out := l.reconcile(mitigation("M1", 2, rewrite("M1.1", "b"), pool("M1.2", ecpPool)), other)
			l.wantState(out["M1"], Failed, PoolStopFailed, false)
			l.wantState(out["M2"], Applied, "", false)
			if !bytes.Equal(l.read(), before) {
				t.Error("the file was changed")
			}
			l.wantApplied("M1/1", "M2/1")
			l.wantPool(ecpPool, PoolStarted)
			l.wantPool(owaPool, PoolStopped)
		})
	}
}

func TestAnInstalledMitigationStaysWhenItsPoolIsRestartedAndDoesNotStop(t *testing.T) {
	l := newLab(t, iistree.Options{})
	one := mitigation("M1", 1, rewrite("M1.1", "a"), pool("M1.2", owaPool))
	l.reconcile(one)
	if err := l.pools.Start(t.Context(), owaPool); err != nil {
		t.Fatal(err)
	}
	l.pools = &stubborn{PoolController: l.pools, noStop: owaPool}
	l.open()
	l.wantState(l.reconcile(one)["M1"], Failed, PoolStopFailed, false)
	l.wantApplied("M1/1")
	l.wantInFile("EMS M1.1", 1)
}

func TestAPoolThatDoesNotStartAgainIsReportedUntilItDoes(t *testing.T) {
	l := newLab(t, iistree.Options{})
	l.reconcile(mitigation("M1", 1, pool("M1.1", owaPool)))
	pools := &stubborn{PoolController: l.pools, noStart: owaPool}
	l.pools = pools
	l.open()
	for range 2 {
		l.wantState(l.reconcile()["M1"], Failed, PoolStartFailed, true)
		l.wantOriginal()
		l.wantApplied()
	}
	pools.noStart = ""
	l.wantState(l.reconcile()["M1"], Removed, "", true)
	l.wantPool(owaPool, PoolStarted)
	if out := l.reconcile(); len(out) != 0 {
		t.Errorf("outcomes %v", out)
	}
}

// slowPools takes some looks to stop a pool.
type slowPools struct {
	PoolController
	looks int
	state PoolState
}

func (s *slowPools) State(ctx context.Context, pool string) (PoolState, error) {
	if s.state == PoolStopping {
		if s.looks--; s.looks > 0 {
			return PoolStopping, nil
		}
		s.state = PoolStopped
	}
	return s.PoolController.State(ctx, pool)
}

func (s *slowPools) Stop(ctx context.Context, pool string) error {
	s.state = PoolStopping
	return s.PoolController.Stop(ctx, pool)
}

// hastyClock lets every wait pass at once.
type hastyClock struct{ *clocktesting.FakeClock }

func (c hastyClock) After(d time.Duration) <-chan time.Time {
	c.Step(d)
	ch := make(chan time.Time, 1)
	ch <- c.Now()
	return ch
}

func TestWaitsForAPoolToStop(t *testing.T) {
	for name, tc := range map[string]struct {
		looks      int
		wantState  State
		wantReason string
	}{
		"within the time": {looks: 90, wantState: Applied},
		"too slow":        {looks: 1000, wantState: Failed, wantReason: PoolStopFailed},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, iistree.Options{})
			clock := hastyClock{clocktesting.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))}
			server, err := New(Options{Root: l.root, StateDir: l.state, Clock: clock, Pools: &slowPools{PoolController: l.pools, looks: tc.looks}, Services: l.services})
			if err != nil {
				t.Fatal(err)
			}
			l.server = server
			l.wantState(l.reconcile(mitigation("M1", 1, pool("M1.1", owaPool)))["M1"], tc.wantState, tc.wantReason, tc.wantState == Applied)
		})
	}
}

func TestASiteThatIsDeletedTakesItsMitigationAlong(t *testing.T) {
	l := newLab(t, iistree.Options{Sites: []iistree.Site{{Name: site, Port: 80, Pool: "DefaultAppPool"}, {Name: "Old", Port: 81, Pool: "DefaultAppPool"}}})
	a := rewrite("M1.1", "a")
	a.Site = "Old"
	m := mitigation("M1", 1, a)
	l.reconcile(m)
	l.edit(`<site name="Old"`, `<site name="New"`)
	l.wantState(l.reconcile(m)["M1"], Failed, SiteNotFound, false)
	l.wantInFile("EMS", 0)
	l.wantApplied()
	l.edit(`<site name="New"`, `<site name="Old"`)
	l.wantOriginal()
	l.wantState(l.reconcile(m)["M1"], Applied, "", true)
}

func TestFactsOfTheServer(t *testing.T) {
	l := newLab(t, iistree.Options{})
	f, err := l.server.Facts()
	if err != nil {
		t.Fatal(err)
	}
	if f.ConfigPath != l.configPath() || !f.RewriteModule || !f.RewriteSection || len(f.Sites) != 2 || f.Sites[1].Name != backEnd || len(f.Pools) != 5 {
		t.Errorf("facts %+v", f)
	}
	if err := os.Remove(l.configPath()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.server.Facts(); refusal.Of(err, "") != ConfigurationMissing {
		t.Errorf("error %v", err)
	}
}

func TestNamesInLowerCaseAreFound(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, "windows", "system32", "INETSRV", "config", "applicationhost.config")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, iistree.Config(iistree.Options{}), 0o644); err != nil {
		t.Fatal(err)
	}
	server, err := New(Options{Root: root, StateDir: t.TempDir(), Pools: standin.NewPools(root, nil), Services: standin.NewServices(root, nil)})
	if err != nil {
		t.Fatal(err)
	}
	out, err := server.Reconcile(t.Context(), []Mitigation{mitigation("M1", 1, rewrite("M1.1", "a"), pool("M1.2", owaPool))})
	if err != nil || out[0].State != Applied {
		t.Errorf("outcomes %v, error %v", out, err)
	}
}
