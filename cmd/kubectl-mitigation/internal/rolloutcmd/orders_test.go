package rolloutcmd

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

func at(p *poolOf) standing {
	return standing{pool: p.key().String(), entry: p.entry, stages: []string{"first", "tenth", "half", "all"}}
}

func TestWhatIsOrdered(t *testing.T) {
	running := func() *poolOf { return newPool("frontends", "web", 40) }
	halted := func() *poolOf { return newPool("frontends", "web", 40).halted("web01") }
	complete := func() *poolOf { return newPool("pilots", "lab", 3).complete(0) }
	blocked := func() *poolOf {
		p := running()
		p.entry.Desired, p.entry.Reason = emsv1.DesiredRemove, "BlockedByPool"
		return p
	}
	older := func() *poolOf { p := newPool("edges", "proxy", 2); p.entry.Revision = 2; return p }
	attempt := func(p *poolOf, n int32) *poolOf { p.entry.Rollout.Attempt = n; return p }
	first := func() *poolOf {
		return newPool("edges", "proxy", 2).stage(0, "", 0).is(emsv1.RolloutWaiting, "AwaitingWindow", "")
	}
	memoryless := func() *poolOf { p := running(); p.entry.Rollout = emsv1.PlanRollout{}; return p }
	order := func(action emsv1.RolloutOrderAction, stage string, attempt int32) emsv1.RolloutOrder {
		return emsv1.RolloutOrder{ID: "M1", Revision: 3, Action: action, Stage: stage, Attempt: attempt, Reason: "because", Owner: "night shift"}
	}
	for name, test := range map[string]struct {
		wish  wish
		pools []*poolOf
		want  emsv1.RolloutOrder
		note  string
		wrong string
	}{
		"a running rollout is paused":                  {wish: wish{verb: pauseVerb}, pools: []*poolOf{running()}, want: order(emsv1.OrderPause, "", 0)},
		"a complete one is not":                        {wish: wish{verb: pauseVerb}, pools: []*poolOf{complete()}, wrong: "M1: revision 3 is Complete: there is nothing to pause"},
		"promote passes the released stage":            {wish: wish{verb: promoteVerb}, pools: []*poolOf{running()}, want: order(emsv1.OrderPromote, "first", 1)},
		"promote goes on behind a halt":                {wish: wish{verb: promoteVerb}, pools: []*poolOf{halted()}, want: order(emsv1.OrderPromote, "tenth", 1)},
		"promote to a stage":                           {wish: wish{verb: promoteVerb, stage: "half"}, pools: []*poolOf{running()}, want: order(emsv1.OrderPromote, "half", 1)},
		"a stage that is not there":                    {wish: wish{verb: promoteVerb, stage: "helf"}, pools: []*poolOf{running()}, wrong: `pool frontends/web has no stage "helf", but first, tenth, half, all`},
		"promote to all":                               {wish: wish{verb: promoteVerb, full: true}, pools: []*poolOf{halted()}, want: order(emsv1.OrderPromote, "", 1)},
		"promote before the first stage":               {wish: wish{verb: promoteVerb}, pools: []*poolOf{first()}, wrong: "no stage is released yet: say which one is passed with --stage, or all with --full"},
		"promote of pools in different stages":         {wish: wish{verb: promoteVerb}, pools: []*poolOf{running(), halted()}, wrong: "pools are in different stages, first, tenth: say which one"},
		"promote passes over complete pools":           {wish: wish{verb: promoteVerb}, pools: []*poolOf{running(), complete()}, want: order(emsv1.OrderPromote, "first", 1)},
		"promote of what is complete":                  {wish: wish{verb: promoteVerb, full: true}, pools: []*poolOf{complete()}, wrong: "revision 3 is Complete: only a rollout that runs"},
		"a halted rollout is tried again":              {wish: wish{verb: retryVerb}, pools: []*poolOf{halted()}, want: order(emsv1.OrderRetry, "", 2)},
		"the attempt is one more than any":             {wish: wish{verb: retryVerb}, pools: []*poolOf{halted(), attempt(running(), 6)}, want: order(emsv1.OrderRetry, "", 7)},
		"complete pools begin again, too":              {wish: wish{verb: retryVerb}, pools: []*poolOf{halted(), complete()}, want: order(emsv1.OrderRetry, "", 2), note: "1 pool where revision 3 is complete begin"},
		"a running one is not tried again":             {wish: wish{verb: retryVerb}, pools: []*poolOf{running()}, wrong: "revision 3 is Progressing: only a rollout that is halted or aborted"},
		"a running rollout is aborted":                 {wish: wish{verb: abortVerb}, pools: []*poolOf{running()}, want: order(emsv1.OrderAbort, "", 0)},
		"abort spares what is complete":                {wish: wish{verb: abortVerb}, pools: []*poolOf{running(), complete()}, wrong: "revision 3 is complete in pilots/lab, which would lose it too: rollout undo"},
		"abort of what is complete":                    {wish: wish{verb: abortVerb}, pools: []*poolOf{complete()}, wrong: "rollout undo takes back what is complete"},
		"undo takes back what is complete":             {wish: wish{verb: undoVerb}, pools: []*poolOf{running(), complete()}, want: order(emsv1.OrderAbort, "", 0)},
		"undo of an older manager's plan":              {wish: wish{verb: undoVerb}, pools: []*poolOf{memoryless()}, want: order(emsv1.OrderAbort, "", 0)},
		"undo twice":                                   {wish: wish{verb: undoVerb}, pools: []*poolOf{running().is(emsv1.RolloutAborted, "RolloutAborted", "")}, wrong: "is Aborted: it is taken back already"},
		"what is blocked is not rolled out":            {wish: wish{verb: abortVerb}, pools: []*poolOf{blocked()}, wrong: "M1: is not rolled out: the plan says Remove (BlockedByPool)"},
		"blocked in one pool, running in another":      {wish: wish{verb: abortVerb}, pools: []*poolOf{blocked(), running()}, want: order(emsv1.OrderAbort, "", 0)},
		"pools with different revisions":               {wish: wish{verb: pauseVerb}, pools: []*poolOf{running(), older()}, wrong: "pools plan different revisions, 2, 3: say which with --revision"},
		"the revision chooses the pools":               {wish: wish{verb: pauseVerb, revision: 3}, pools: []*poolOf{running(), older()}, want: order(emsv1.OrderPause, "", 0)},
		"an order for a revision to come":              {wish: wish{verb: pauseVerb, revision: 3}, pools: []*poolOf{older()}, want: order(emsv1.OrderPause, "", 0), note: "revision 3 is not planned, but 2: the order counts as soon as it is"},
		"a retry of a revision to come has no attempt": {wish: wish{verb: retryVerb, revision: 3}, pools: []*poolOf{older()}, wrong: "revision 3 is not planned, but 2"},
		"the pool's spelling of the id counts":         {wish: wish{verb: pauseVerb, id: "m1"}, pools: []*poolOf{running()}, want: order(emsv1.OrderPause, "", 0)},
		"a mitigation that nobody has":                 {wish: wish{verb: pauseVerb}, wrong: "M1: no plan has this mitigation"},
	} {
		t.Run(name, func(t *testing.T) {
			w := test.wish
			w.reason, w.owner = "because", "night shift"
			if w.id == "" {
				w.id = "M1"
			}
			standings := []standing{{pool: "empty/pool"}}
			for _, p := range test.pools {
				standings = append(standings, at(p))
			}
			got, err := decide(w, "pool", standings)
			if test.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), test.wrong) {
					t.Fatalf("got %v, %v, want an error with %q", got.order, err, test.wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got.order); diff != "" {
				t.Error(diff)
			}
			if notes := strings.Join(got.notes, "\n"); test.note == "" && notes != "" || !strings.Contains(notes, test.note) {
				t.Errorf("notes %q, want %q", notes, test.note)
			}
		})
	}
}

func TestAnOrderOfAPoolIsMentioned(t *testing.T) {
	own := at(newPool("frontends", "web", 40))
	own.own = &emsv1.RolloutOrder{ID: "M1", Revision: 2, Action: emsv1.OrderPause}
	got, err := decide(wish{verb: undoVerb, id: "M1"}, "the organisation", []standing{own, at(newPool("edges", "proxy", 2).complete(0))})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"pool frontends/web has an order of its own, Pause revision 2, which counts there instead"}, got.notes); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff("Complete in 1 pool, Progressing in 1 pool", counted(got.affected)); diff != "" {
		t.Error(diff)
	}
}

func TestStagesOfAPool(t *testing.T) {
	own := &emsv1.PoolMitigationConfig{Spec: emsv1.PoolMitigationConfigSpec{Rollout: emsv1.RolloutSpec{Stages: []emsv1.RolloutStage{{Name: "canary", ServerNames: []string{"a"}}}}}}
	none := &emsv1.PoolMitigationConfig{}
	global := &emsv1.MitigationConfiguration{Spec: emsv1.MitigationConfigurationSpec{Rollout: emsv1.RolloutSpec{Stages: []emsv1.RolloutStage{{Name: "night", ServerNames: []string{"a"}}}}}}
	global.Name = emsv1.GlobalConfigurationName
	for name, test := range map[string]struct {
		pool    *emsv1.PoolMitigationConfig
		global  *emsv1.MitigationConfiguration
		profile emsv1.RolloutProfile
		want    []string
	}{
		"of the profile":        {pool: none, profile: emsv1.ProfileEmergency, want: []string{"first", "tenth", "all"}},
		"of the pool":           {pool: own, global: global, want: []string{"canary", "rest"}},
		"of the organisation":   {pool: none, global: global, want: []string{"night", "rest"}},
		"of nobody who is read": {pool: none},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, stagesOf(test.pool, test.global, test.profile)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
