package iis

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"mitigation.dev/ems/agent/iis/apphost"
	"mitigation.dev/ems/agent/journal/durable"
	"mitigation.dev/ems/test/iistree"
)

var counterOf = regexp.MustCompile(`queueLength="(\d+)"`)

// foreignWriter is another program that counts in the file, as administration tools write: it reads, and puts the new file
// in place of the old one only if that has not changed meanwhile. Nobody else writes its counter, so a lower one than it
// wrote last is a change that was lost.
type foreignWriter struct {
	path    string
	written int
	fs      durable.Exchanger
}

func (w *foreignWriter) round() error {
	data, err := w.read()
	if err != nil {
		return err
	}
	next := counterOf.ReplaceAll(data, fmt.Appendf(nil, `queueLength="%d"`, w.written+1))
	temp := w.path + ".foreign"
	if err := os.WriteFile(temp, next, 0o644); err != nil {
		return err
	}
	// Commit only over what was read: as long as something else is replaced, put that back.
	if err := w.exchange(temp); err != nil {
		return err
	}
	for expect, done := data, false; !done; expect = next {
		replaced, err := os.ReadFile(temp)
		if err != nil {
			return err
		}
		if done = bytes.Equal(replaced, expect); done && bytes.Equal(expect, data) {
			w.written++
		} else if !done {
			if err := w.exchange(temp); err != nil {
				return err
			}
		}
	}
	return os.Remove(temp)
}

// exchange puts a file in place of the target and the other way round. While somebody else reads the target, Windows refuses
// that, so it is tried again, as every program there has to.
func (w *foreignWriter) exchange(temp string) error {
	for {
		err := w.fs.Exchange(temp, w.path)
		if !isSharingViolation(err) {
			return err
		}
		runtime.Gosched()
	}
}

// read gives the file with the counter that was written last. Whoever exchanges files on a change that came in between has the
// wrong one in place until it has changed them back, so another counter is a change that was lost only if it stays.
func (w *foreignWriter) read() (data []byte, err error) {
	counter := 0
	for range 1000 {
		if data, err = os.ReadFile(w.path); err != nil {
			return nil, err
		}
		if _, err := apphost.Parse(data); err != nil {
			return nil, fmt.Errorf("malformed: %w", err)
		}
		found := counterOf.FindSubmatch(data)
		if found == nil {
			return nil, fmt.Errorf("the counter is gone:\n%s", data)
		}
		if counter, err = strconv.Atoi(string(found[1])); err != nil || counter == w.written {
			return data, err
		}
	}
	return nil, fmt.Errorf("the counter is %d, written was %d", counter, w.written)
}

// TestTwoAgentsAndAForeignWriter lets two agents apply and remove on one file while another program writes it: no change of
// the other is lost, and no reader ever finds a malformed file.
func TestTwoAgentsAndAForeignWriter(t *testing.T) {
	exchanger, ok := any(durable.OS{}).(durable.Exchanger)
	if !ok {
		t.Skip("this system cannot exchange two files, so the last moment before a swap is not watched")
	}
	if os.Getenv("EMS_TEST_WINE") != "" {
		t.Skip("Wine replaces a file in two steps, between which there is none: the other program would have to wait for it as well")
	}
	const (
		roundsPerTurn = 10
		turnsPerRest  = 20
	)
	turns, failed := make(chan struct{}, 1), make(chan struct{})
	fail := sync.OnceFunc(func() { close(failed) })
	rounds := 10_000
	if testing.Short() {
		rounds = 500
	}
	l := newLab(t, iistree.Options{})
	l.edit(`<add name="`+owaPool+`"`, `<add name="`+owaPool+`" queueLength="1000"`)
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	wanted := [][]Mitigation{{mitigation("M1", 1, rewrite("M1.1", "a"))}, nil, {mitigation("M1", 2, rewrite("M1.1", "b")), mitigation("M2", 1, rewrite("M2.1", "c"))}}
	var done atomic.Bool
	var changed atomic.Int64
	var wg sync.WaitGroup
	for range 2 {
		server, err := New(Options{Root: l.root, StateDir: l.state, Pools: l.pools, Services: l.services, FS: quickFS{}, Clock: hastyClock{clocktesting.NewFakeClock(start)}})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for n := 0; !done.Load(); n++ {
				out, err := server.Reconcile(t.Context(), wanted[n%len(wanted)])
				select {
				case turns <- struct{}{}:
				default:
				}
				if err != nil {
					t.Error(err)
					fail()
					return
				}
				for _, o := range out {
					if o.State == Failed && o.Reason != ConfigurationBusy {
						t.Errorf("outcome %+v", o)
						fail()
						return
					}
					if o.Changed {
						changed.Add(1)
					}
				}
			}
		})
	}
	w := &foreignWriter{path: l.configPath(), written: 1000, fs: exchanger}
	for n := range rounds {
		if n%roundsPerTurn == 0 {
			// The other program is much quicker than an agent, which writes its journal in between. It rests at times: of four turns, one is
			// waiting already, and at least one of the others began and ended while nobody else wrote.
			awaited := 1
			if n%(roundsPerTurn*turnsPerRest) == 0 {
				awaited = 4
			}
			for range awaited {
				select {
				case <-turns:
				case <-failed:
				}
			}
		}
		if err := w.round(); err != nil {
			t.Errorf("round %d: %v", n, err)
			break
		}
	}
	done.Store(true)
	wg.Wait()
	l.open()
	l.reconcile()
	if want := bytes.Replace(l.original, []byte(`<add name="`+owaPool+`"`), fmt.Appendf(nil, `<add name="%s" queueLength="%d"`, owaPool, w.written), 1); !bytes.Equal(l.read(), want) {
		t.Errorf("after everything was removed the file is\n%s", l.read())
	}
	if w.written == 1000 || changed.Load() == 0 {
		t.Errorf("the other program wrote %d times, the agents %d times", w.written-1000, changed.Load())
	}
	t.Logf("in %d rounds the other program wrote %d times and the agents %d times", rounds, w.written-1000, changed.Load())
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(l.configPath()), "*"+durable.TempSuffix)); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, error %v", left, err)
	}
}

// lateFS lets another program write in the last moment, after the file was looked at and before it is swapped.
type lateFS struct {
	quickFS
	late func()
	dies bool // the process ends right after the swap
	dead bool
}

func (f *lateFS) Exchange(temp, target string) error {
	if late := f.late; late != nil {
		f.late = nil
		late()
		f.dead = f.dies
	}
	return any(f.quickFS).(durable.Exchanger).Exchange(temp, target)
}

func (f *lateFS) Same(name string, data []byte) (bool, error) {
	if f.dead {
		return false, errCrash
	}
	return f.quickFS.Same(name, data)
}

func (f *lateFS) Read(name string, limit int64) ([]byte, error) {
	if f.dead {
		return nil, errCrash
	}
	return f.quickFS.Read(name, limit)
}

func (f *lateFS) WriteTemp(target string, data []byte) (string, error) {
	if f.dead {
		return "", errCrash
	}
	return f.quickFS.WriteTemp(target, data)
}

func (f *lateFS) Remove(name string) error {
	if f.dead {
		return errCrash
	}
	return f.quickFS.Remove(name)
}

func TestAChangeInTheLastMomentIsKept(t *testing.T) {
	if _, ok := any(durable.OS{}).(durable.Exchanger); !ok {
		t.Skip("this system cannot exchange two files")
	}
	m := mitigation("M1", 1, rewrite("M1.1", "a"))
	for name, dies := range map[string]bool{"the agent notices": false, "the agent dies before it can notice": true} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, iistree.Options{})
			l.fs = &lateFS{dies: dies, late: func() { l.edit("<webLimits />", "<webLimits connectionTimeout=\"00:01:00\" />") }}
			l.open()
			out, err := l.server.Reconcile(t.Context(), []Mitigation{m})
			if dies {
				if err == nil && out[0].State == Applied {
					t.Fatalf("outcomes %v", out)
				}
				l.wantInFile("connectionTimeout", 0) // it is in the file beside
				l.fs = quickFS{}
				l.open()
				l.wantInFile("connectionTimeout", 1)
				l.reconcile(m)
			} else if err != nil || out[0].State != Applied {
				t.Fatalf("outcomes %v, error %v", out, err)
			}
			l.wantInFile("connectionTimeout", 1)
			l.wantInFile("EMS M1.1", 1)
			l.reconcile()
			l.edit("<webLimits connectionTimeout=\"00:01:00\" />", "<webLimits />")
			l.wantOriginal()
			if _, err := os.Stat(l.configPath() + durable.TempSuffix); !os.IsNotExist(err) {
				t.Errorf("a temporary file is left: %v", err)
			}
		})
	}
}
