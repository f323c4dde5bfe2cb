package explain

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the table asks for zones whatever the machine has

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/build"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/policy/fromapi"
	"mitigation.dev/ems/internal/policy/policytest"
	"mitigation.dev/ems/internal/rollout"
)

var update = flag.Bool("update", false, "write testdata/*.golden")

// manage makes the plan as the manager does, at a time.
func manage(o *Objects, at time.Time) {
	o.Now = at
	plan := rollout.Make(o.Input())
	spec := emsv1.MitigationPlanSpec{Mode: o.Pool.Spec.GetMode()}
	for i := range plan.Entries {
		spec.Mitigations = append(spec.Mitigations, fromapi.Planned(&plan.Entries[i]))
	}
	for i := range o.Configurations {
		spec.FixedBuilds = append(spec.FixedBuilds, o.Configurations[i].Spec.FixedBuilds...)
	}
	generation := int64(1)
	if o.Plan != nil {
		generation = o.Plan.Generation + 1
	}
	o.Plan = &emsv1.MitigationPlan{ObjectMeta: metav1.ObjectMeta{Namespace: o.Pool.Namespace, Name: o.Pool.Name, Generation: generation}, Spec: spec}
	o.made = nil
}

// ofTable makes the objects of a case of the table shared by manager, agent, plugin and metrics.
func ofTable(c policytest.Case) *Objects {
	table := c.Objects()
	m := *table.Mitigation
	m.Spec.FeedName, m.Spec.BundleName, m.Spec.DocumentDigest = "feed", "bundle", strings.Repeat("0", 64)
	for _, p := range c.Products {
		product := emsv1.AffectedProduct{Name: emsv1.Product(p.Name), Role: p.Role}
		for _, b := range p.Branches {
			product.Branches = append(product.Branches, emsv1.AffectedBranch{From: text(b.From), FixedIn: text(b.FixedIn)})
		}
		m.Spec.Applicability = append(m.Spec.Applicability, product)
	}
	return &Objects{
		Sight: fromapi.Sight{Pool: table.Pool, Configurations: table.Configurations, Mitigations: []emsv1.Mitigation{m}},
		Server: &emsv1.PoolServer{ObjectMeta: metav1.ObjectMeta{Namespace: table.Pool.Namespace, Name: "fe01"}, Status: emsv1.PoolServerStatus{
			Facts: emsv1.ServerFacts{Product: emsv1.Product(c.Facts.Product), Role: c.Facts.Role, Build: text(c.Facts.Build)},
		}},
		Products: map[string]string{"feed": c.FeedProduct},
	}
}

func text(n build.Number) string {
	if n == (build.Number{}) {
		return ""
	}
	return n.String()
}

// release says whom the plan is for, in place of a rollout that has come that far.
func release(o *Objects, reached bool) {
	below := int64(0)
	if reached {
		below = emsv1.ReleaseAll
	}
	for i := range o.Plan.Spec.Mitigations {
		m := &o.Plan.Spec.Mitigations[i]
		m.Release.Below = new(below)
		if m.Rollout.ID != "" {
			m.Rollout.Reason = emsv1.AwaitingApprovalReason
		}
	}
}

// TestExplanationsAnswerAsTheTableSays goes through the table of package policytest.
func TestExplanationsAnswerAsTheTableSays(t *testing.T) {
	for _, c := range policytest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			for _, m := range c.Moments {
				ask := func(what string, planned time.Time, server, reached bool, want policytest.Answer) {
					t.Helper()
					o := ofTable(c)
					manage(o, planned)
					release(o, reached)
					if o.Now = m.At; !server {
						o.Server = nil
					}
					x, ok := One(o, strings.ToLower(c.Mitigation.ID))
					if !ok {
						t.Fatal("nothing is said")
					}
					if got := (policytest.Answer{Desired: policy.Desired(x.Desired), Reason: policy.Reason(x.Reason)}); got != want {
						t.Errorf("%s: %s = %v, want %v", m.At.Format(time.RFC3339), what, got, want)
					}
					if n := len(x.Steps); n == 0 || x.Steps[n-1].Decisive != (want.Desired != policy.Apply) {
						t.Errorf("%s: %s: the last of %d steps is not decisive just if something stands against it", m.At.Format(time.RFC3339), what, n)
					}
				}
				ask("pool", m.At, false, true, m.Pool)
				ask("server", m.At, true, true, m.Server)
				ask("server that the rollout has not reached", m.At, true, false, m.Waiting)
				ask("server with the first plan", c.Moments[0].At, true, true, m.Stale)
			}
		})
	}
}

var evening = time.Date(2026, 5, 14, 20, 0, 0, 0, time.UTC)

// fleetOf is a pool of servers, in the second of two rings, with windows, at an evening on which no stage may begin.
func fleetOf(servers ...string) *Objects {
	o := &Objects{Products: map[string]string{"contoso": "ExchangeServer"}}
	o.Pool = &emsv1.PoolMitigationConfig{
		ObjectMeta: metav1.ObjectMeta{Namespace: "frontends", Name: "mail", Labels: map[string]string{"ring": "late"}},
		Spec:       emsv1.PoolMitigationConfigSpec{Mode: emsv1.ModeEnforce, Rollout: emsv1.RolloutSpec{Profile: emsv1.ProfileManual}},
	}
	ring := func(name string) emsv1.Ring {
		return emsv1.Ring{Name: name, PoolSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"ring": name}}}
	}
	o.Configurations = []emsv1.MitigationConfiguration{{ObjectMeta: metav1.ObjectMeta{Name: "global"}, Spec: emsv1.MitigationConfigurationSpec{
		Rings: []emsv1.Ring{ring("early"), ring("late")},
	}}}
	o.Mitigations = []emsv1.Mitigation{{ObjectMeta: metav1.ObjectMeta{Name: "m1"}, Spec: emsv1.MitigationSpec{
		ID: "M1", Revision: 3, Severity: "High", Lifecycle: emsv1.LifecycleActive, FeedName: "contoso", BundleName: "contoso-1",
		DocumentDigest: strings.Repeat("0", 64), ContentDigest: strings.Repeat("ab", 32),
		Actions: []emsv1.MitigationAction{{ID: "M1.1"}, {ID: "M1.2"}},
	}}}
	for _, name := range servers {
		o.Servers = append(o.Servers, emsv1.PoolServer{
			ObjectMeta: metav1.ObjectMeta{Namespace: "frontends", Name: name}, Spec: emsv1.PoolServerSpec{PoolName: "mail"},
			Status: emsv1.PoolServerStatus{Facts: emsv1.ServerFacts{Product: "ExchangeServer", Role: "Mailbox", Build: "15.2.1748.10"}},
		})
	}
	return o
}

// of makes it an explanation of a server, which has followed the plan.
func (o *Objects) of(name string) *Objects {
	for i := range o.Servers {
		if o.Servers[i].Name == name {
			o.Server = &o.Servers[i]
			o.Server.Status.ObservedPlanGeneration = o.Plan.Generation
		}
	}
	return o
}

// report makes released servers say how they fare.
func (o *Objects) report(verdict emsv1.GateVerdict, message string) {
	planned := &o.Plan.Spec.Mitigations[0]
	entry := fromapi.Entry(planned)
	for i := range o.Servers {
		if s := &o.Servers[i]; entry.Release.Includes(s.Name, "M1") {
			m := emsv1.ServerMitigation{ID: "M1", State: emsv1.StateApplied, Reason: "Enabled", Revision: 3, Effective: emsv1.EffectiveTrue}
			if verdict == emsv1.GateFailed {
				m = emsv1.ServerMitigation{ID: "M1", State: emsv1.StateFailed, Reason: "GateFailed", Message: message}
			}
			m.Gate = emsv1.ServerGate{Rollout: planned.Rollout.ID, Verdict: verdict, Message: message}
			s.Status.Mitigations = []emsv1.ServerMitigation{m}
			s.Status.ObservedPlanGeneration = o.Plan.Generation
		}
	}
	o.made = nil
}

func approve(stages ...string) emsv1.Approval {
	return emsv1.Approval{ID: "M1", Revision: 3, Stages: stages, Reason: "looked at it", Owner: "alice"}
}

// guide shows the texts of these scenes.
const guide = "../../../../docs/guides/steer.md"

var shown = map[string]string{"blocked": "fe01", "awaiting-approval": "fe02"}

// TestTexts holds what people read against files. The guide shows some of them.
func TestTexts(t *testing.T) {
	servers := []string{"fe01", "fe02", "fe03", "fe04"}
	for name, scene := range map[string]func() *Objects{
		"blocked": func() *Objects {
			o := fleetOf(servers...)
			o.Configurations[0].Spec.Blocked = []emsv1.Exception{{ID: "M1", Reason: "breaks printing", Owner: "print-team", ExpiryTime: new(metav1.NewTime(evening.Add(time.Hour)))}}
			manage(o, evening)
			return o.of("fe01")
		},
		"expired-and-manager-away": func() *Objects {
			o := fleetOf(servers...)
			o.Pool.Spec.Blocked = []emsv1.Exception{{ID: "M1", Reason: "breaks printing", ExpiryTime: new(metav1.NewTime(evening))}}
			manage(o, evening.Add(-time.Hour))
			o.Now = evening.Add(time.Minute)
			return o.of("fe01")
		},
		"awaiting-approval": func() *Objects {
			o := fleetOf(servers...)
			manage(o, evening)
			return o.of("fe02")
		},
		"awaiting-window": func() *Objects {
			o := fleetOf(servers...)
			o.Pool.Spec.Approved = []emsv1.Approval{approve()}
			o.Pool.Spec.Rollout.Windows = []emsv1.RolloutWindow{{Policy: emsv1.WindowAllow, Cron: "0 2 * * *", TimeZone: "Europe/Vienna", DurationSeconds: 7200}}
			manage(o, evening)
			return o
		},
		"awaiting-ring": func() *Objects {
			o := fleetOf(servers...)
			o.Pools = []emsv1.PoolMitigationConfig{{ObjectMeta: metav1.ObjectMeta{Namespace: "test", Name: "mail", Labels: map[string]string{"ring": "early"}}}}
			manage(o, evening)
			return o
		},
		"halted": func() *Objects {
			o := fleetOf(servers...)
			o.Pool.Spec.Approved = []emsv1.Approval{approve()}
			manage(o, evening)
			manage(o, evening.Add(time.Second))
			o.report(emsv1.GateFailed, `HTTP check "owa": status 503, want 200`)
			manage(o, evening.Add(2*time.Second))
			return o
		},
		"failed-on-a-server": func() *Objects {
			o := fleetOf("fe01", "fe02")
			o.Pool.Spec.Approved = []emsv1.Approval{approve()}
			o.Pool.Spec.Rollout.MaxFailures = new(int32(1))
			manage(o, evening)
			o.report(emsv1.GateFailed, `Windows service "MSExchangeTransport" does not run`)
			manage(o, evening.Add(time.Second))
			for i := range o.Servers {
				if len(o.Servers[i].Status.Mitigations) > 0 {
					o.of(o.Servers[i].Name)
				}
			}
			return o
		},
		"passed-on-a-server": func() *Objects {
			o := fleetOf("fe01")
			o.Pool.Spec.Approved = []emsv1.Approval{approve("first")}
			manage(o, evening)
			o.report(emsv1.GatePassed, "")
			manage(o, evening.Add(time.Second))
			return o.of("fe01")
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := scene()
			x, ok := One(o, "m1")
			if !ok {
				t.Fatal("nothing is said")
			}
			var b bytes.Buffer
			if err := x.Write(&b); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("%s differs (-want +got):\n%s", file, diff)
			}
		})
	}
}

// TestTheGuideShowsTheTexts keeps the guide as the texts are.
func TestTheGuideShowsTheTexts(t *testing.T) {
	const fence = "```\n"
	content, err := os.ReadFile(filepath.FromSlash(guide))
	if err != nil {
		t.Fatal(err)
	}
	for name, server := range shown {
		text, err := os.ReadFile(filepath.Join("testdata", name+".golden"))
		if err != nil {
			t.Fatal(err)
		}
		command := "$ kubectl mitigation explain " + server + " M1\n"
		before, after, found := strings.Cut(string(content), command)
		there, after, closed := strings.Cut(after, fence)
		if !found || !closed {
			t.Fatalf("%s: no output of %q", guide, command)
		}
		if *update {
			content = []byte(before + command + string(text) + fence + after)
		} else if diff := cmp.Diff(string(text), there); diff != "" {
			t.Errorf("%s shows something else (-want +got):\n%s", guide, diff)
		}
	}
	if *update {
		if err := os.WriteFile(filepath.FromSlash(guide), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
