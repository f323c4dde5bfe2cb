package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"mitigation.dev/ems/agent/enforce"
)

func TestPausesGrowWhileTheAPIServerIsOverloaded(t *testing.T) {
	now := time.Unix(1_900_000_000, 0)
	busy := apierrors.NewTooManyRequests("later", 1)
	var o overload
	for i, want := range []int{2, 4, 8, 16, 32, 60, 60, 60} {
		o.tried(busy, now, 1)
		if got := o.pause(now, false).Sub(now).Seconds(); got != float64(want) {
			t.Errorf("pause after %d refusals = %v s, want %d", i+1, got, want)
		}
	}
	if got := o.pause(now.Add(longestPause), false); !got.IsZero() {
		t.Errorf("the pause goes on after its end, until %s", got)
	}
	if got := o.pause(now.Add(-time.Hour), false); !got.IsZero() {
		t.Errorf("a clock that was set back keeps the server from reporting until %s", got)
	}
	if got := o.pause(now, true).Sub(now); got != firstPause {
		t.Errorf("a failure waits for %s, want %s", got, firstPause)
	}
	if got := o.pause(now.Add(firstPause), true); !got.IsZero() {
		t.Errorf("a failure waits again, until %s", got)
	}
	o.tried(nil, now, 1)
	o.tried(busy, now, 0.5)
	if got := o.pause(now, false).Sub(now); got != time.Second {
		t.Errorf("pause after the first refusal since a success = %s, want half of the longest, %s", got, time.Second)
	}
}

func TestOverloaded(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want bool
	}{
		"success":                        {nil, false},
		"too many requests":              {apierrors.NewTooManyRequests("later", 1), true},
		"a request that took too long":   {apierrors.NewTimeoutError("slow", 1), true},
		"a server that took too long":    {apierrors.NewServerTimeout(schema.GroupResource{}, "patch", 1), true},
		"an API server that has no etcd": {apierrors.NewServiceUnavailable("etcd"), true},
		"an agent that waited too long":  {fmt.Errorf("patch: %w", context.DeadlineExceeded), true},
		"an API server that is away":     {errors.New("connection refused"), false},
		"no right to it":                 {apierrors.NewForbidden(schema.GroupResource{}, "fe01", errors.New("no")), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := overloaded(tc.err); got != tc.want {
				t.Errorf("overloaded(%v) = %t, want %t", tc.err, got, tc.want)
			}
		})
	}
}

func TestReportsWaitForAnOverloadedAPIServer(t *testing.T) {
	a := newAPI(t, poolServer())
	now := time.Unix(1_900_000_000, 0)
	a.cluster.Now, a.cluster.Random = func() time.Time { return now }, func() float64 { return 0.5 }
	a.start()
	report := Report{PlanGeneration: 3, Results: []enforce.Result{}}
	send := func() error { return a.cluster.Report(t.Context(), report) }
	if err := send(); err != nil {
		t.Fatal(err)
	}
	a.seen()
	report.Results = []enforce.Result{inPlace("M1")}
	a.refuse = apierrors.NewTooManyRequests("later", 1)
	if err := send(); !apierrors.IsTooManyRequests(err) {
		t.Fatalf("Report() = %v, want the refusal", err)
	}
	err := send()
	held, ok := errors.AsType[*HeldError](err)
	if !ok || !apierrors.IsTooManyRequests(err) || a.applies != 2 {
		t.Fatalf("Report() = %v after %d writes, want that it waits because of the refusal", err, a.applies)
	}
	a.refuse = nil
	now = held.Until
	if err := send(); err != nil || a.server().Status.Summary.Applied != "M1" {
		t.Fatalf("Report() = %v, status %+v", err, a.server().Status)
	}
	a.seen()
	a.refuse = apierrors.NewServiceUnavailable("etcd")
	report.Results = []enforce.Result{}
	if err := send(); err == nil {
		t.Fatal("Report() succeeded")
	}
	a.refuse = nil
	a.cluster.servers.tried(t.Context(), errors.New("connection refused"))
	a.cluster.servers.tried(t.Context(), nil)
	if err := send(); err != nil {
		t.Fatalf("Report() = %v, want that it waits no longer: the API server is back", err)
	}
}
