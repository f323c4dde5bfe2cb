package fetch

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// drip sends pieces of the given size, each after a pause, and breaks off when the request is canceled, as the transport does.
type drip struct {
	ctx    context.Context
	size   int
	pause  time.Duration
	pieces int
}

func (d *drip) Read(p []byte) (int, error) {
	if d.pieces == 0 {
		return 0, io.EOF
	}
	d.pieces--
	select {
	case <-d.ctx.Done():
		return 0, context.Cause(d.ctx)
	case <-time.After(d.pause):
		return min(d.size, len(p)), nil
	}
}

func TestASlowBodyIsCut(t *testing.T) {
	for name, tc := range map[string]struct {
		size, pieces int
		pause        time.Duration
		// wantCutAfter is when it is cut; zero if it may end.
		wantCutAfter time.Duration
	}{
		"a body that comes at once ends":                       {size: 400, pieces: 50},
		"a body above the lowest rate ends":                    {size: 150, pieces: 50, pause: time.Second},
		"a slow body that ends within the grace period ends":   {size: 1, pieces: 9, pause: time.Second},
		"a byte a second is cut when the grace period is over": {size: 1, pieces: 1000, pause: time.Second, wantCutAfter: 10 * time.Second},
		"nothing at all is cut when the grace period is over":  {size: 1, pieces: 1, pause: time.Hour, wantCutAfter: 10 * time.Second},
		"just under the lowest rate is cut after the grace":    {size: 99, pieces: 1000, pause: time.Second, wantCutAfter: 10 * time.Second},
		"what came late in the grace period earns no more":     {size: 400, pieces: 9, pause: 9 * time.Second, wantCutAfter: 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				start := time.Now()
				reader := newPacedReader(&drip{ctx: ctx, size: tc.size, pause: tc.pause, pieces: tc.pieces}, 100, 10*time.Second, cancel)
				_, err := io.Copy(io.Discard, reader)
				reader.stop()
				if tc.wantCutAfter == 0 {
					if err != nil {
						t.Fatalf("error %v after %s, want the whole body", err, time.Since(start))
					}
					return
				}
				var cut *Error
				if !errors.As(err, &cut) || cut.Class != TimedOut {
					t.Fatalf("error %v, want one of class TimedOut", err)
				}
				if took := time.Since(start); took != tc.wantCutAfter {
					t.Errorf("cut after %s, want %s", took, tc.wantCutAfter)
				}
			})
		})
	}
}

func TestABurstEarnsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		reader := newPacedReader(&drip{ctx: ctx, size: 2500, pieces: 1}, 100, 10*time.Second, cancel)
		if _, err := reader.Read(make([]byte, 4000)); err != nil {
			t.Fatal(err)
		}
		<-time.After(24 * time.Second)
		synctest.Wait()
		if ctx.Err() != nil {
			t.Error("cut within the time that 2500 bytes at 100 bytes a second take")
		}
		<-time.After(2 * time.Second)
		synctest.Wait()
		if _, ok := context.Cause(ctx).(*Error); !ok { //nolint:errorlint // the cause itself is looked at
			t.Errorf("cause %v, want the request cut after 25 s", context.Cause(ctx))
		}
	})
}

func FuzzAppliedWait(f *testing.F) {
	for _, seed := range []string{"wait=50", `respond-async, Wait = "10"`, "wait", "wait=", "wait=-1", ",,,,,,,,,,,,,,,,,wait=1", "wait=99999999999999999999"} {
		f.Add(seed, "")
		f.Add("", seed)
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		got := appliedWait([]string{first, second})
		if got != appliedWait([]string{first + "," + second}) {
			t.Error("several fields mean something else than one with all values (RFC 9110, section 5.3)")
		}
		if got && !appliedWait([]string{first}) && !appliedWait([]string{second}) {
			t.Error("a wait applied that no field names")
		}
	})
}
