package rolloutcmd

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/terminal"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/policy/fromapi"
	"mitigation.dev/ems/internal/rollout"
)

// managed is a pool of servers that the planner itself plans for: its words are those that operators see.
type managed struct {
	now      time.Time
	settings rollout.Settings
	servers  []rollout.Server
	revision int64
	before   map[string]rollout.Entry
	history  []emsv1.PoolHistoryEntry
	entry    rollout.Entry
}

func newManaged(servers int) *managed {
	f := &managed{now: night, revision: 3, before: map[string]rollout.Entry{}}
	for i := range servers {
		f.servers = append(f.servers, rollout.Server{Name: fmt.Sprintf("web%02d", i+1), Gates: map[string]rollout.Gate{}})
	}
	return f
}

// plan does what the manager does, until nothing changes any more.
func (f *managed) plan() {
	for range 10 {
		made := rollout.Make(rollout.Input{
			Mitigations: []rollout.Mitigation{{
				Mitigation: policy.Mitigation{ID: "M1", Lifecycle: policy.LifecycleActive}, Revision: f.revision, Severity: "Critical", FeedName: "contoso",
				BundleName: "contoso-7", DocumentDigest: strings.Repeat("5e", 32), Content: strings.Repeat("c0", 32),
			}},
			Pool: policy.Pool{Name: "frontends/web"}, Settings: f.settings, Servers: f.servers, Before: f.before, Now: f.now,
		})
		f.entry = made.Entries[0]
		t := f.entry.Transition
		if last := f.before["m1"].Transition; t == last {
			return
		}
		f.before["m1"] = f.entry
		f.history = append(f.history, emsv1.PoolHistoryEntry{
			Time: &metav1.Time{Time: t.Time}, ID: "M1", Revision: f.entry.Revision, Attempt: int32(f.entry.Rollout.Attempt), Action: string(t.Action), By: t.By, Message: t.Message,
		})
	}
}

// report lets released servers say how they fare.
func (f *managed) report(verdict rollout.Verdict, message string, names ...string) {
	for i := range f.servers {
		s := &f.servers[i]
		chosen := len(names) == 0 && f.entry.Release.Includes(s.Name, "m1")
		for _, name := range names {
			chosen = chosen || s.Name == name
		}
		if chosen {
			s.Gates["m1"] = rollout.Gate{Rollout: f.entry.Rollout.ID, Verdict: verdict, Message: message}
		}
	}
}

func (f *managed) released() []string {
	var names []string
	for _, s := range f.servers {
		if f.entry.Release.Includes(s.Name, "m1") {
			names = append(names, s.Name)
		}
	}
	return names
}

// order does what one of the verbs does.
func (f *managed) order(t *testing.T, w wish) emsv1.RolloutOrder {
	t.Helper()
	w.id = "M1"
	planned := fromapi.Planned(&f.entry)
	made, err := decide(w, "pool frontends/web", []standing{{pool: "frontends/web", entry: &planned}})
	if err != nil {
		t.Fatal(err)
	}
	settings, err := fromapi.Settings(&emsv1.RolloutSpec{Orders: []emsv1.RolloutOrder{made.order}})
	if err != nil {
		t.Fatal(err)
	}
	f.settings.Orders = settings.Orders
	return made.order
}

// input is what the API has of the pool.
func (f *managed) input() *input {
	p := newPool("frontends", "web", int32(len(f.servers)))
	progress := rollout.ProgressOf(f.entry, f.servers)
	p.plan.Spec.Mitigations = []emsv1.PlannedMitigation{fromapi.Planned(&f.entry)}
	p.entry = &p.plan.Spec.Mitigations[0]
	p.told.Rollout.Attempt, p.told.Failing = p.entry.Rollout.Attempt, progress.Failing
	p.counts(int32(progress.Released), int32(progress.Passed), int32(progress.Failed))
	p.pool.Status.History = f.history
	in := inputOf(nil, p)
	in.now = f.now
	for _, s := range f.servers {
		if gate := s.Gates["m1"]; gate.Message != "" {
			in.gates[serverKey{"frontends", s.Name, "m1", f.entry.Rollout.ID}] = gate.Message
		}
	}
	return in
}

func (f *managed) status(id string) (string, verdict) {
	in := f.input()
	in.id = id
	status := look(in)
	return text(render(status, layout{style: terminal.Plain(100), limit: defaultLimit, quiet: id != ""})), judge(status)
}

// asGit is what a repository has to say for an order.
func asGit(t *testing.T, order emsv1.RolloutOrder) string {
	t.Helper()
	content, err := yaml.Marshal(map[string]any{"spec": map[string]any{"rollout": map[string]any{"orders": []emsv1.RolloutOrder{order}}}})
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// TestABadNight plays what the guide tells, with the planner.
func TestABadNight(t *testing.T) {
	f := newManaged(40)
	want := func(what verdict, name string) {
		t.Helper()
		picture, verdict := f.status("M1")
		golden(t, "night-"+name, picture)
		if verdict != what {
			t.Errorf("%s: verdict %d, want %d", name, verdict, what)
		}
	}
	f.plan()
	f.report(rollout.GateBaking, "")
	f.now = f.now.Add(25 * time.Second)
	f.plan()
	want(moving, "1-first-stage")

	f.report(rollout.GateFailed, `http check "owa": status 500, was 200`)
	f.now = f.now.Add(time.Second)
	f.plan()
	want(failed, "2-halted")

	f.now = f.now.Add(20 * time.Minute)
	order := f.order(t, wish{verb: retryVerb, reason: "the disk of the first server was full", owner: "night shift"})
	golden(t, "night-3-retry-git", asGit(t, order))
	f.plan()
	f.report(rollout.GatePassed, "")
	f.now = f.now.Add(2 * time.Minute)
	f.plan()
	silent := f.released()[len(f.released())-1]
	f.report(rollout.GatePassed, "")
	f.report("", "", silent)
	f.now = f.now.Add(20 * time.Minute)
	f.plan()
	want(moving, "4-stuck")

	order = f.order(t, wish{verb: promoteVerb, reason: silent + " is switched off for repair", owner: "night shift"})
	golden(t, "night-5-promote-git", asGit(t, order))
	f.plan()
	for range 3 {
		f.report(rollout.GatePassed, "")
		f.now = f.now.Add(6 * time.Minute)
		f.plan()
	}
	want(done, "6-complete")

	f.now = f.now.Add(3 * time.Hour)
	order = f.order(t, wish{verb: undoVerb, reason: "customers cannot log in since the rollout", owner: "day shift"})
	golden(t, "night-7-undo-git", asGit(t, order))
	f.plan()
	want(failed, "8-undone")
	golden(t, "night-9-history", text(table(merge(f.input()), 0, terminal.Plain(140))))
}

// TestApprovalsAreFoundInThePlannersWords holds the proposed commands against what the planner says.
func TestApprovalsAreFoundInThePlannersWords(t *testing.T) {
	f := newManaged(40)
	f.settings.Profile = rollout.Manual
	f.plan()
	picture, _ := f.status("M1")
	if want := "kubectl mitigation approve M1 --revision 3 --stage first --pool frontends/web --reason '...'"; !strings.Contains(picture, want) {
		t.Errorf("no %q in\n%s", want, picture)
	}
	mitigation := rollout.Mitigation{Mitigation: policy.Mitigation{ID: "M1"}, Revision: 3, DocumentDigest: strings.Repeat("5e", 32)}
	verdict := rollout.JudgeRings(rollout.RingInput{
		Rings: []rollout.Ring{{Name: "the broad one", Approval: rollout.ApprovalBefore, Selects: func(map[string]string) bool { return true }}},
		Own:   rollout.RingPool{Name: "frontends/web"}, Mitigations: []rollout.Mitigation{mitigation}, Now: night,
	})["m1"]
	p := newPool("frontends", "web", 40).stage(0, "", 0).is(emsv1.RolloutWaiting, string(verdict.Reason), verdict.Message)
	hints := Next(p.pool, p.plan, nil, "m1", night)
	if want := "kubectl mitigation approve M1 --revision 3 --stage 'the broad one' --organization --reason '...'"; len(hints) == 0 || hints[0].Command != want {
		t.Errorf("got %v, want %q", hints, want)
	}
	if hints := Next(p.pool, nil, nil, "M1", night); hints != nil {
		t.Errorf("without a plan: %v", hints)
	}
	if hints := Next(p.pool, &emsv1.MitigationPlan{}, nil, "M1", night); hints != nil {
		t.Errorf("without an entry: %v", hints)
	}
}
