package cluster

import (
	"errors"
	"testing"
	"time"

	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/agent/gate"
	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/rollout"
)

// windowed reports to a pool with a window of a minute, in which this server's moment is the middle: a quarter of what the lead leaves.
func windowed(t *testing.T, below int64) (send func(wantWritten bool, change func(*Report)), a *api, now *time.Time) {
	t.Helper()
	a = newAPI(t, poolServer())
	clock := time.Unix(1_900_000_000, 0)
	a.cluster.Now, a.cluster.Random = func() time.Time { return clock }, func() float64 { return 0.25 }
	a.start()
	plan := &enforce.Plan{
		Reporting: enforce.Reporting{Window: time.Minute}, Entries: []enforce.Entry{{ID: "M1", Release: rollout.Release{Below: below}}},
	}
	report := Report{PlanGeneration: 3, Results: []enforce.Result{}, Window: WindowOf(plan)}
	send = func(wantWritten bool, change func(*Report)) {
		t.Helper()
		change(&report)
		before := a.applies
		err := a.cluster.Report(t.Context(), report)
		var held *HeldError
		if errors.As(err, &held) == wantWritten || (a.applies > before) != wantWritten || err != nil && held == nil {
			t.Fatalf("Report() = %v after %d writes, want written = %t", err, a.applies-before, wantWritten)
		}
		if held != nil && !held.Until.After(clock) {
			t.Fatalf("held back until %v, which is over", held.Until)
		}
		if wantWritten {
			a.seen()
		}
	}
	send(true, func(*Report) {}) // the first report of a server waits for nothing
	return send, a, &clock
}

func TestSuccessWaitsForItsMoment(t *testing.T) {
	send, a, now := windowed(t, rollout.Everything)
	send(false, func(r *Report) { r.Results = []enforce.Result{inPlace("M1")} })
	*now = now.Add(29 * time.Second)
	send(false, func(r *Report) { r.PlanGeneration = 4 })
	*now = now.Add(time.Second)
	send(true, func(*Report) {}) // both with one write
	if got := a.server().Status; got.ObservedPlanGeneration != 4 || got.Summary.Applied != "M1" || a.applies != 2 {
		t.Errorf("status = %+v after %d writes", got, a.applies)
	}
	send(false, func(r *Report) { r.PlanGeneration = 5 }) // each has a moment of its own
}

func TestNobodyReportsWhileOthersHear(t *testing.T) {
	send, a, now := windowed(t, rollout.Everything)
	a.cluster.Random = func() float64 { return 0 }
	send(false, func(r *Report) { r.Results = []enforce.Result{inPlace("M1")} })
	*now = now.Add(19 * time.Second)
	send(false, func(*Report) {})
	*now = now.Add(time.Second) // a third of the window
	send(true, func(*Report) {})
}

func TestFailuresWaitForNothing(t *testing.T) {
	failed := enforce.Result{ID: "M1", State: enforce.Failed, Reason: "SiteNotFound", Message: "no such site"}
	gated := inPlace("M1")
	gated.Gate = enforce.Gate{Rollout: "r1-a1-0", Verdict: gate.Failed, Message: "worse"}
	for name, change := range map[string]func(*Report){
		"a mitigation that failed": func(r *Report) { r.Results = []enforce.Result{failed} },
		"a gate that failed":       func(r *Report) { r.Results = []enforce.Result{gated} },
		"one that IIS does not run": func(r *Report) {
			m := inPlace("M1")
			m.Effective = string(emsv1.EffectiveFalse)
			r.Results = []enforce.Result{m}
		},
		"an agent that cannot do its work": func(r *Report) { r.Problem = &Problem{Reason: "JournalFailed", Message: "disk"} },
		"a plan without a window":          func(r *Report) { r.PlanGeneration, r.Window = 4, Window{} },
	} {
		t.Run(name, func(t *testing.T) {
			send, _, _ := windowed(t, rollout.Everything)
			send(false, func(r *Report) { r.Results = []enforce.Result{inPlace("M2")} })
			send(true, change)
			send(true, func(r *Report) { r.PlanGeneration, r.Window = 9, Window{} })
		})
	}
}

func TestSmallStagesWaitLess(t *testing.T) {
	send, a, now := windowed(t, rollout.Everything/10)
	send(false, func(r *Report) { r.Results, r.PlanGeneration = []enforce.Result{inPlace("M1")}, 4 })
	*now = now.Add(1500 * time.Millisecond) // half of half a tenth of a minute
	send(true, func(*Report) {})
	if a.applies != 2 {
		t.Errorf("%d writes, want 2", a.applies)
	}
	send, _, _ = windowed(t, 0) // servers that the stage names
	send(true, func(r *Report) { r.Results, r.PlanGeneration = []enforce.Result{inPlace("M1")}, 4 })
}

func TestClockThatIsSetBackHoldsNothing(t *testing.T) {
	send, _, now := windowed(t, rollout.Everything)
	send(false, func(r *Report) { r.PlanGeneration = 4 })
	*now = now.Add(-time.Hour)
	send(true, func(*Report) {})
}

func TestWhatNobodyWaitsForIsQuiet(t *testing.T) {
	pending := enforce.Result{ID: "M1", State: enforce.Pending, Reason: "AwaitingStage", Message: "another stage comes first"}
	send, a, now := windowed(t, rollout.Everything)
	send(false, func(r *Report) { r.PlanGeneration, r.Results = 4, []enforce.Result{pending} })
	for generation := range int64(5) { // a plan for each stage, and for what else is decided
		*now = now.Add(11 * time.Second)
		send(false, func(r *Report) { r.PlanGeneration = 5 + generation })
	}
	*now = now.Add(35 * time.Second) // a minute and a quarter are over
	send(true, func(*Report) {})
	if got := a.server().Status; got.ObservedPlanGeneration != 9 || a.applies != 2 {
		t.Errorf("status = %+v after %d writes", got, a.applies)
	}
}

func TestWhatSomebodyWaitsForDoesNotWaitForTheQuiet(t *testing.T) {
	gated := inPlace("M1")
	gated.Gate = enforce.Gate{Rollout: "r1-a1-0", Verdict: gate.Passed}
	for name, change := range map[string]func(*Report){
		"a mitigation that is in place": func(r *Report) { r.Results = []enforce.Result{inPlace("M1")} },
		"another revision in place": func(r *Report) {
			m := inPlace("M0")
			m.Revision++
			r.Results = []enforce.Result{m}
		},
		"a verdict":                   func(r *Report) { r.Results = []enforce.Result{gated} },
		"one that is gone":            func(r *Report) { r.Results = []enforce.Result{} },
		"one that IIS may not run":    func(r *Report) { r.Results[0].Effective = string(emsv1.EffectiveUnknown) },
		"work that is not at its end": func(r *Report) { r.PlanGeneration = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			send, a, now := windowed(t, rollout.Everything)
			send(false, func(r *Report) { r.Results = []enforce.Result{inPlace("M0")} })
			*now = now.Add(30 * time.Second)
			send(true, func(*Report) {})
			send(false, func(r *Report) { r.PlanGeneration = 4 })
			send(false, change)
			*now = now.Add(30 * time.Second) // half of the window: the quiet would last twice as long again
			send(true, func(*Report) {})
			if a.applies != 3 {
				t.Errorf("%d writes, want 3", a.applies)
			}
		})
	}
}

func TestQuietDoesNotPutOffWhatSomebodyWaitsFor(t *testing.T) {
	send, _, now := windowed(t, rollout.Everything)
	send(false, func(r *Report) { r.Results = []enforce.Result{inPlace("M1")} })
	*now = now.Add(29 * time.Second)
	send(false, func(r *Report) { r.PlanGeneration = 4 })
	*now = now.Add(time.Second)
	send(true, func(*Report) {})
}

func TestLargeFleetsSendNoEventForEachSuccess(t *testing.T) {
	changes := []Change{{MitigationApplied, "M1", 1}, {MitigationRemoved, "M2", 0}, {DriftRepaired, "M3", 1}, {MitigationReverted, "M4", 1}}
	if got := eventful(changes, Window{Length: time.Second}); len(got) != 4 {
		t.Errorf("events of a small fleet: %v, want all", got)
	}
	got := eventful(changes, Window{Length: 2 * time.Second})
	if len(got) != 2 || got[0].Kind != DriftRepaired || got[1].Kind != MitigationReverted || len(changes) != 4 || changes[0].Kind != MitigationApplied {
		t.Errorf("events of a large fleet: %v, want what did not go by itself", got)
	}
}

func TestReportOfALargeFleetSendsWhatDidNotGoByItself(t *testing.T) {
	for window, want := range map[time.Duration]int{0: 2, time.Minute: 1} {
		a := newAPI(t, poolServer())
		a.start()
		report := Report{
			PlanGeneration: 3, Results: []enforce.Result{inPlace("M1")}, Window: Window{Length: window},
			Changes: []Change{{MitigationApplied, "M1", 1}, {DriftRepaired, "M2", 1}},
		}
		if err := a.cluster.Report(t.Context(), report); err != nil { // the first report waits for no window
			t.Fatal(err)
		}
		if got := len(a.recorder.Events); got != want {
			t.Errorf("%d events within a window of %s, want %d", got, window, want)
		}
	}
}
