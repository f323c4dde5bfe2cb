package iis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/utils/clock"

	"mitigation.dev/ems/agent/iis/control"
	"mitigation.dev/ems/agent/iis/standin"
	"mitigation.dev/ems/agent/journal/durable"
	"mitigation.dev/ems/test/iistree"
)

const (
	site    = "Default Web Site"
	backEnd = "Exchange Back End"
	owaPool = "MSExchangeOWAAppPool"
	ecpPool = "MSExchangeECPAppPool"
)

func rewrite(id, url string) Action {
	return Action{ID: id, Type: ActionUrlRewrite, Site: site, Rewrite: []byte(
		`<rewrite><rules><rule name="block" stopProcessing="true"><match url="` + url + `"></match><action type="AbortRequest"></action></rule></rules></rewrite>`)}
}

func pool(id, name string) Action { return Action{ID: id, Type: ActionAppPool, Pool: name} }

func mitigation(id string, revision int64, actions ...Action) Mitigation {
	return Mitigation{ID: id, Revision: revision, Digest: "d1", Actions: actions}
}

// lab is a server in a temporary folder.
type lab struct {
	t        *testing.T
	root     string
	state    string
	pools    PoolController
	services control.ServiceController
	clock    clock.Clock
	fs       durable.FS
	original []byte
	server   *Server
	look     *standin.Pools // at what runs, whoever changes it
}

func newLab(t *testing.T, o iistree.Options) *lab {
	t.Helper()
	l := &lab{t: t, root: t.TempDir(), state: filepath.Join(t.TempDir(), "state"), fs: quickFS{}}
	if err := iistree.Write(l.root, o); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(l.state, 0o700); err != nil {
		t.Fatal(err)
	}
	l.look, l.services = standin.NewPools(l.root, quickFS{}), standin.NewServices(l.root, quickFS{})
	l.pools = l.look
	l.original = l.read()
	l.open()
	return l
}

func (l *lab) configPath() string {
	return filepath.Join(l.root, filepath.FromSlash(iistree.ConfigFile))
}

func (l *lab) read() []byte {
	l.t.Helper()
	data, err := os.ReadFile(l.configPath())
	if err != nil {
		l.t.Fatal(err)
	}
	return data
}

// edit changes the configuration as another program would.
func (l *lab) edit(from, to string) {
	l.t.Helper()
	data := string(l.read())
	changed := strings.Replace(data, from, to, 1)
	if changed == data {
		l.t.Fatalf("%q does not stand in the file", from)
	}
	if err := os.WriteFile(l.configPath(), []byte(changed), 0o644); err != nil {
		l.t.Fatal(err)
	}
}

// open starts the agent, as after a crash.
func (l *lab) open() {
	l.t.Helper()
	var err error
	if l.server, err = New(Options{Root: l.root, StateDir: l.state, Pools: l.pools, Services: l.services, Clock: l.clock, FS: l.fs}); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) reconcile(wanted ...Mitigation) map[string]Outcome {
	l.t.Helper()
	outcomes, err := l.server.Reconcile(l.t.Context(), wanted)
	if err != nil {
		l.t.Fatal(err)
	}
	if !slices.IsSortedFunc(outcomes, func(a, b Outcome) int { return strings.Compare(key(a.ID), key(b.ID)) }) {
		l.t.Errorf("outcomes are not sorted: %v", outcomes)
	}
	byID := map[string]Outcome{}
	for _, o := range outcomes {
		if (o.State == Failed) != (o.Reason != "" && o.Message != "") {
			l.t.Errorf("outcome %+v: reason and message belong to failures only", o)
		}
		byID[o.ID] = o
	}
	return byID
}

func (l *lab) wantState(o Outcome, state State, reason string, changed bool) {
	l.t.Helper()
	if o.State != state || o.Reason != reason || o.Changed != changed {
		l.t.Errorf("outcome %+v, want %s %q changed %v", o, state, reason, changed)
	}
}

func (l *lab) wantApplied(want ...string) {
	l.t.Helper()
	applied, err := l.server.Applied()
	if err != nil {
		l.t.Fatal(err)
	}
	got := make([]string, 0, len(applied))
	for _, m := range applied {
		got = append(got, fmt.Sprintf("%s/%d", m.ID, m.Revision))
	}
	if !slices.Equal(got, want) {
		l.t.Errorf("applied %v, want %v", got, want)
	}
}

func (l *lab) wantOriginal() {
	l.t.Helper()
	if !bytes.Equal(l.read(), l.original) {
		l.t.Errorf("the file is not the original:\n%s", l.read())
	}
}

func (l *lab) wantPool(name string, want PoolState) {
	l.t.Helper()
	got, err := l.look.State(l.t.Context(), name)
	if err != nil || got != want {
		l.t.Errorf("pool %q is %s, want %s (error %v)", name, got, want, err)
	}
}

// present reports whether all of a mitigation stands in the files.
func (l *lab) present(m Mitigation) bool {
	l.t.Helper()
	led, err := l.server.loadLedger()
	if err != nil {
		l.t.Fatal(err)
	}
	set, err := l.server.openFiles(led, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	return set.present(&m)
}

func (l *lab) wantInFile(text string, count int) {
	l.t.Helper()
	if got := bytes.Count(l.read(), []byte(text)); got != count {
		l.t.Errorf("%q stands %d times in the file, want %d", text, got, count)
	}
}

// quickFS is the real file system without the flushing, which takes most of the time of these tests; package durable
// tests the real one.
type quickFS struct{ durable.OS }

func (quickFS) WriteTemp(target string, data []byte) (string, error) {
	temp := target + durable.TempSuffix
	return temp, os.WriteFile(temp, data, 0o644)
}

func (quickFS) SyncDir(string) error { return nil }

var errCrash = errors.New("the machine stopped")

// crasher stops the world at one of the calls that change something. The call itself is done or not, and nothing works
// any more afterwards, as if the process had ended.
type crasher struct {
	durable.FS
	pools PoolController
	at    int  // number of the call; 0 for never
	after bool // do the call first
	torn  bool // for WriteTemp: leave half of the file behind
	count int
	calls []string
}

func (c *crasher) step(name string, do func() error) error {
	if c.at > 0 && c.count >= c.at {
		return errCrash
	}
	c.count++
	c.calls = append(c.calls, name)
	if c.count == c.at {
		if c.after {
			if err := do(); err != nil {
				return err
			}
		}
		return errCrash
	}
	return do()
}

func (c *crasher) dead() bool { return c.at > 0 && c.count >= c.at }

func (c *crasher) Read(name string, limit int64) ([]byte, error) {
	if c.dead() {
		return nil, errCrash
	}
	return c.FS.Read(name, limit)
}

func (c *crasher) WriteTemp(target string, data []byte) (temp string, err error) {
	tearing := c.torn && c.count+1 == c.at && !c.after
	err = c.step("write "+filepath.Base(target), func() (err error) {
		temp, err = c.FS.WriteTemp(target, data)
		return err
	})
	if tearing {
		if _, err := c.FS.WriteTemp(target, data[:len(data)/2]); err != nil {
			return "", err
		}
	}
	return temp, err
}

func (c *crasher) Replace(temp, target string) error {
	return c.step("replace "+filepath.Base(target), func() error { return c.FS.Replace(temp, target) })
}

func (c *crasher) Exchange(temp, target string) error {
	return c.step("exchange "+filepath.Base(target), func() error { return c.FS.(durable.Exchanger).Exchange(temp, target) })
}

func (c *crasher) SyncDir(dir string) error {
	return c.step("sync "+filepath.Base(dir), func() error { return c.FS.SyncDir(dir) })
}

func (c *crasher) Remove(name string) error {
	return c.step("remove "+filepath.Base(name), func() error { return c.FS.Remove(name) })
}

func (c *crasher) State(ctx context.Context, pool string) (PoolState, error) {
	if c.dead() {
		return PoolUnknown, errCrash
	}
	return c.pools.State(ctx, pool)
}

func (c *crasher) Start(ctx context.Context, pool string) error {
	return c.step("start "+pool, func() error { return c.pools.Start(ctx, pool) })
}

func (c *crasher) Stop(ctx context.Context, pool string) error {
	return c.step("stop "+pool, func() error { return c.pools.Stop(ctx, pool) })
}
