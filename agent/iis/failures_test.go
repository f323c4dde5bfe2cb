package iis

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mitigation.dev/ems/agent/journal/durable"
	"mitigation.dev/ems/test/iistree"
)

func TestAFileThatCannotBeUsedIsLeftAlone(t *testing.T) {
	redirect := func(l *lab) {
		path := filepath.Join(l.root, filepath.FromSlash(iistree.Redirection))
		data, err := os.ReadFile(path)
		if err != nil {
			l.t.Fatal(err)
		}
		data = bytes.Replace(data, []byte("<configurationRedirection />"), []byte(`<configurationRedirection enabled="True" path="\\share\iis" />`), 1)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			l.t.Fatal(err)
		}
	}
	tests := map[string]struct {
		harm       func(*lab)
		wantReason string
		wantText   string
	}{
		"malformed":     {func(l *lab) { l.edit("</configuration>", "<configuration>") }, ConfigurationMalformed, "line "},
		"UTF-16":        {func(l *lab) { _ = os.WriteFile(l.configPath(), []byte("\xFF\xFE<\x00"), 0o644) }, ConfigurationMalformed, "UTF-16"},
		"another file":  {func(l *lab) { _ = os.WriteFile(l.configPath(), []byte("<web/>"), 0o644) }, ConfigurationMalformed, "not an IIS configuration"},
		"missing":       {func(l *lab) { _ = os.Remove(l.configPath()) }, ConfigurationMissing, "is IIS installed"},
		"no IIS at all": {func(l *lab) { _ = os.RemoveAll(filepath.Join(l.root, "Windows")) }, ConfigurationMissing, ""},
		"read-only":     {func(l *lab) { _ = os.Chmod(l.configPath(), 0o444) }, ConfigurationReadOnly, "read-only"},
		"redirected":    {redirect, ConfigurationRedirected, "share"},
		"redirection.config malformed": {func(l *lab) {
			_ = os.WriteFile(filepath.Join(l.root, filepath.FromSlash(iistree.Redirection)), []byte("<"), 0o644)
		}, ConfigurationMalformed, "redirect"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, iistree.Options{})
			l.pools = &memoryPools{}
			l.open()
			l.reconcile(mitigation("M1", 1, rewrite("M1.1", "a")), mitigation("PING0", 1, Action{Type: ActionDoNothing}))
			tc.harm(l)
			before, _ := os.ReadFile(l.configPath())
			out := l.reconcile(mitigation("M2", 1, rewrite("M2.1", "b"), pool("M2.2", owaPool)), mitigation("PING1", 1, Action{Type: ActionDoNothing}))
			l.wantState(out["M1"], Failed, tc.wantReason, false) // cannot be removed
			l.wantState(out["M2"], Failed, tc.wantReason, false)
			l.wantState(out["PING1"], Applied, "", true)
			l.wantState(out["PING0"], Removed, "", true)
			if !strings.Contains(out["M2"].Message, tc.wantText) {
				t.Errorf("message %q does not say %q", out["M2"].Message, tc.wantText)
			}
			if after, _ := os.ReadFile(l.configPath()); !bytes.Equal(before, after) {
				t.Error("the file was changed")
			}
			l.open()
			l.wantApplied("M1/1", "PING1/1")
			if s, err := l.pools.State(t.Context(), owaPool); err != nil || s != PoolStarted {
				t.Errorf("pool is %s, error %v", s, err)
			}
		})
	}
}

// memoryPools has every pool.
type memoryPools struct{ stopped map[string]bool }

func (m *memoryPools) State(_ context.Context, pool string) (PoolState, error) {
	if m.stopped[pool] {
		return PoolStopped, nil
	}
	return PoolStarted, nil
}

func (m *memoryPools) Start(_ context.Context, pool string) error {
	delete(m.stopped, pool)
	return nil
}

func (m *memoryPools) Stop(_ context.Context, pool string) error {
	if m.stopped == nil {
		m.stopped = map[string]bool{}
	}
	m.stopped[pool] = true
	return nil
}

// failingFS fails one kind of call on files whose name ends so, and may do something just before.
type failingFS struct {
	durable.FS
	suffix            string
	writeErr, swapErr error
	onWrite           func()
}

func (f *failingFS) WriteTemp(target string, data []byte) (string, error) {
	if strings.HasSuffix(target, f.suffix) {
		if f.writeErr != nil {
			return "", f.writeErr
		}
		if f.onWrite != nil {
			f.onWrite()
		}
	}
	return f.FS.WriteTemp(target, data)
}

func (f *failingFS) Replace(temp, target string) error {
	if strings.HasSuffix(target, f.suffix) && f.swapErr != nil {
		return f.swapErr
	}
	return f.FS.Replace(temp, target)
}

func TestErrorsOfTheFileSystemLoseNothing(t *testing.T) {
	tests := map[string]struct {
		fs         failingFS
		wantReason string
	}{
		"disk full at the configuration": {failingFS{suffix: "applicationHost.config", writeErr: syscall.ENOSPC}, ConfigurationWriteFailed},
		"folder that may not be written": {failingFS{suffix: "applicationHost.config", writeErr: os.ErrPermission}, ConfigurationReadOnly},
		"file that may not be replaced":  {failingFS{suffix: "applicationHost.config", swapErr: os.ErrPermission}, ConfigurationReadOnly},
		"read-only file system":          {failingFS{suffix: "applicationHost.config", writeErr: &os.PathError{Op: "open", Err: syscall.EROFS}}, ConfigurationReadOnly},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, iistree.Options{})
			one, two := mitigation("M1", 1, rewrite("M1.1", "a")), mitigation("M2", 1, rewrite("M2.1", "b"), pool("M2.2", owaPool))
			l.reconcile(one)
			before := l.read()
			tc.fs.FS = quickFS{}
			l.fs = &tc.fs
			l.open()
			out := l.reconcile(one, two)
			l.wantState(out["M1"], Failed, tc.wantReason, false)
			l.wantState(out["M2"], Failed, tc.wantReason, false)
			if !bytes.Equal(l.read(), before) {
				t.Error("the file was changed")
			}
			l.wantApplied("M1/1")
			l.wantPool(owaPool, PoolStarted)
			if _, err := os.Stat(l.configPath() + durable.TempSuffix); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a temporary file is left: %v", err)
			}
			l.fs = quickFS{}
			l.open()
			for _, o := range l.reconcile(one, two) {
				l.wantState(o, Applied, "", o.ID == "M2")
			}
			l.reconcile()
			l.wantOriginal()
		})
	}
}

func TestAJournalThatCannotBeWrittenStopsTheChange(t *testing.T) {
	l := newLab(t, iistree.Options{})
	l.fs = &failingFS{FS: quickFS{}, suffix: ".json", writeErr: syscall.ENOSPC}
	l.pools = &memoryPools{}
	l.open()
	out, err := l.server.Reconcile(t.Context(), []Mitigation{mitigation("M1", 1, rewrite("M1.1", "a"))})
	if !errors.Is(err, syscall.ENOSPC) || len(out) != 1 || out[0].State != Failed || out[0].Reason != JournalFailed {
		t.Errorf("outcomes %v, error %v", out, err)
	}
	l.wantOriginal()
}

func TestAnotherProgramWritesTheFile(t *testing.T) {
	m := mitigation("M1", 1, rewrite("M1.1", "a"), pool("M1.2", owaPool))
	t.Run("once, and its change is kept", func(t *testing.T) {
		l := newLab(t, iistree.Options{})
		fs := &failingFS{FS: quickFS{}, suffix: "applicationHost.config"}
		fs.onWrite = func() { l.edit("<webLimits />", "<webLimits connectionTimeout=\"00:01:00\" />"); fs.onWrite = nil }
		l.fs = fs
		l.open()
		l.wantState(l.reconcile(m)["M1"], Applied, "", true)
		l.wantInFile("connectionTimeout", 1)
		l.reconcile()
		l.edit("<webLimits connectionTimeout=\"00:01:00\" />", "<webLimits />")
		l.wantOriginal()
	})
	t.Run("again and again, and we give up", func(t *testing.T) {
		l := newLab(t, iistree.Options{})
		n := 0
		fs := &failingFS{FS: quickFS{}, suffix: "applicationHost.config"}
		fs.onWrite = func() { n++; l.edit("<webLimits />", "<webLimits />\n") }
		l.fs = fs
		l.open()
		l.wantState(l.reconcile(m)["M1"], Failed, ConfigurationBusy, false)
		if n != attempts {
			t.Errorf("%d attempts", n)
		}
		l.wantInFile("EMS", 0)
		l.wantApplied()
		fs.onWrite = nil
		l.wantState(l.reconcile(m)["M1"], Applied, "", true)
	})
}

func TestASecondAgentIsBusy(t *testing.T) {
	l := newLab(t, iistree.Options{})
	unlock, err := durable.Lock(filepath.Join(l.state, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	l.open()
	l.wantState(l.reconcile(mitigation("M1", 1, rewrite("M1.1", "a")))["M1"], Failed, ConfigurationBusy, false)
	l.wantOriginal()
	unlock()
	l.wantState(l.reconcile(mitigation("M1", 1, rewrite("M1.1", "a")))["M1"], Applied, "", true)
}

func TestInvalidListsAreRefused(t *testing.T) {
	l := newLab(t, iistree.Options{})
	for name, list := range map[string][]Mitigation{"twice": {mitigation("M1", 1), mitigation("m1", 2)}, "no id": {mitigation("", 1)}} {
		if _, err := l.server.Reconcile(t.Context(), list); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := New(Options{}); err == nil {
		t.Error("empty options were accepted")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.server.Reconcile(ctx, []Mitigation{mitigation("M1", 1)}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled context gives %v", err)
	}
}

func TestDamagedRecords(t *testing.T) {
	m1, m2 := mitigation("M1", 1, rewrite("M1.1", "a")), mitigation("M2", 1, rewrite("M2.1", "b"), pool("M2.2", owaPool))
	damage := func(l *lab, name string) {
		path := filepath.Join(l.state, "journal", name)
		data, err := os.ReadFile(path)
		if err != nil {
			l.t.Fatal(err)
		}
		if err := os.WriteFile(path, data[:len(data)-10], 0o600); err != nil {
			l.t.Fatal(err)
		}
		l.open()
	}
	t.Run("of a mitigation: it stays until it is wanted again", func(t *testing.T) {
		l := newLab(t, iistree.Options{})
		l.reconcile(m1, m2)
		before := l.read()
		damage(l, "mitigation-m1.json")
		for range 2 {
			out := l.reconcile(m2)
			l.wantState(out["M1"], Failed, JournalCorrupt, false)
			l.wantState(out["M2"], Applied, "", false)
		}
		if !bytes.Equal(l.read(), before) {
			t.Error("the protection was changed")
		}
		if f, err := l.server.Facts(); err != nil || len(f.Damaged) != 1 || f.Damaged[0] != "mitigation m1" {
			t.Errorf("facts %v, error %v", f.Damaged, err)
		}
		l.wantState(l.reconcile(m1, m2)["M1"], Applied, "", true)
		l.wantState(l.reconcile(m2)["M1"], Removed, "", true)
		l.wantInFile("EMS M1", 0)
		l.reconcile()
		l.wantOriginal()
	})
	t.Run("of a mitigation: deleting the damaged file gives it up", func(t *testing.T) {
		l := newLab(t, iistree.Options{})
		l.reconcile(m1, m2)
		damage(l, "mitigation-m2.json")
		l.reconcile(m1)
		l.wantPool(owaPool, PoolStopped)
		if err := os.Remove(filepath.Join(l.state, "journal", "mitigation-m2.json.corrupt")); err != nil {
			t.Fatal(err)
		}
		l.reconcile()
		l.wantOriginal()
		l.wantPool(owaPool, PoolStarted)
	})
	t.Run("of the file: rules are still found by their names", func(t *testing.T) {
		l := newLab(t, iistree.Options{})
		l.reconcile(m1, m2)
		before := l.read()
		damage(l, "file-applicationhost.config.json")
		l.reconcile(m1, m2)
		if !bytes.Equal(l.read(), before) {
			t.Errorf("the file was changed:\n%s", l.read())
		}
		l.reconcile()
		l.wantInFile("EMS", 0)
		l.wantInFile("autoStart=\"false\"", 0)
		l.wantPool(owaPool, PoolStarted)
	})
	t.Run("of a pool: it is started again", func(t *testing.T) {
		l := newLab(t, iistree.Options{})
		l.reconcile(m1, m2)
		damage(l, "pool-msexchangeowaapppool.json")
		l.reconcile(m1, m2)
		l.wantPool(owaPool, PoolStopped)
		l.reconcile()
		l.wantOriginal()
		l.wantPool(owaPool, PoolStarted)
		if f, err := l.server.Facts(); err != nil || len(f.Damaged) != 0 {
			t.Errorf("facts %v, error %v", f.Damaged, err)
		}
	})
	t.Run("of a newer version: nothing is done", func(t *testing.T) {
		l := newLab(t, iistree.Options{})
		l.reconcile(m1)
		before := l.read()
		path := filepath.Join(l.state, "journal", "mitigation-m1.json")
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, bytes.Replace(data, []byte(`"version":1`), []byte(`"version":2`), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := l.server.Reconcile(t.Context(), []Mitigation{m2})
		if err == nil || len(out) != 1 || out[0].Reason != JournalFailed || !bytes.Equal(l.read(), before) {
			t.Errorf("outcomes %v, error %v", out, err)
		}
	})
}
