package policy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/policy"
)

// told writes a chain as people read it; a decisive step has an arrow.
func told(steps []policy.Step) string {
	var text strings.Builder
	for _, s := range steps {
		mark := "  "
		if s.Decisive {
			mark = "> "
		}
		fmt.Fprintf(&text, "%s%s %s", mark, s.Question, s.Answer)
		if s.Source != "" {
			fmt.Fprintf(&text, " [%s]", s.Source)
		}
		text.WriteString("\n")
	}
	return text.String()
}

func TestExplain(t *testing.T) {
	base := func() policy.Case {
		return policy.Case{
			Mitigation: policy.Mitigation{ID: "M1", ActionIDs: []string{"M1.1", "M1.2"}, Lifecycle: policy.LifecycleActive},
			Configurations: []policy.Configuration{
				{Name: "global", Blocked: []policy.Exception{{ID: "M1", Reason: "while on leave", Expiry: now.Add(-time.Hour)}}},
			},
			Pool: policy.Pool{Name: "exchange/frontend", Blocked: []policy.Exception{{ID: "M1.2", Reason: "breaks printing", Owner: "mail team", Expiry: now.Add(time.Hour)}}},
		}
	}
	onServer := func(change func(*policy.ServerCase)) policy.Case {
		c := base()
		c.Server = &policy.ServerCase{
			Situation: policy.Situation{Released: true}, FeedProduct: "ExchangeServer",
			Facts: policy.Facts{Product: "ExchangeServer", Build: number(t, "15.2.2562.43")},
		}
		change(c.Server)
		return c
	}
	const pool = `  Does the organisation or the pool suspend all mitigations? no [MitigationConfiguration/global, PoolMitigationConfig/exchange/frontend: spec.suspend]
  Is the mitigation suspended by name? no
  Is the mitigation blocked? no; the entry of MitigationConfiguration "global" for M1 expired at 2026-05-14T15:00:00Z [MitigationConfiguration/global spec.blocked[M1]]
  Is its action M1.1 blocked? no; the entry of MitigationConfiguration "global" for M1 expired at 2026-05-14T15:00:00Z [MitigationConfiguration/global spec.blocked[M1]]
  Is its action M1.2 blocked? the pool blocks M1.2: breaks printing (ask mail team), until 2026-05-14T17:00:00Z [PoolMitigationConfig/exchange/frontend spec.blocked[M1.2]]
  Are mitigations disabled for the organisation or the pool? no [MitigationConfiguration/global, PoolMitigationConfig/exchange/frontend: spec.mitigations]
  Has the publisher withdrawn or replaced it? no [Mitigation/m1 spec.lifecycle]
`
	tests := map[string]struct {
		asked policy.Case
		want  string
	}{
		"the pool": {base(), pool},
		"a server that has it": {
			onServer(func(*policy.ServerCase) {}),
			pool + `  Is it made for the server's product, role and build? yes [the signed document, PoolServer status.facts]
  Does the operator say that the server's build is fixed? no [MitigationConfiguration spec.fixedBuilds]
  Is the pool only looked at? no [PoolMitigationConfig spec.mode]
  Does the pool want it? yes [MitigationPlan]
  Does the server need it? yes [PoolServer status.facts]
  Has this rollout failed on the server? no [PoolServer status.mitigations[].gate]
  Has the rollout reached the server? yes [MitigationPlan release]
`,
		},
		"a server that waits, with the plan of a manager that is away": {
			onServer(func(s *policy.ServerCase) {
				s.Planned = &policy.Decision{Desired: policy.Remove, Reason: policy.BlockedByOrganization, Until: now.Add(-time.Hour)}
			}),
			pool + `  What does the plan say? Remove (BlockedByOrganization); BlockedByOrganization ended at 2026-05-14T15:00:00Z, and the manager has not planned anew since [MitigationPlan]
  Is it made for the server's product, role and build? yes [the signed document, PoolServer status.facts]
  Does the operator say that the server's build is fixed? no [MitigationConfiguration spec.fixedBuilds]
  Is the pool only looked at? no [PoolMitigationConfig spec.mode]
> Does the pool want it? no: Hold (AwaitingPlan) [MitigationPlan]
`,
		},
		"a server whose plan is older than policy": {
			onServer(func(s *policy.ServerCase) {
				s.Planned = &policy.Decision{Desired: policy.Remove, Reason: policy.BlockedByOrganization}
			}),
			pool + `  What does the plan say? Remove (BlockedByOrganization); policy says Apply (Enabled) now, the manager has not planned that yet [MitigationPlan]
  Is it made for the server's product, role and build? yes [the signed document, PoolServer status.facts]
  Does the operator say that the server's build is fixed? no [MitigationConfiguration spec.fixedBuilds]
  Is the pool only looked at? no [PoolMitigationConfig spec.mode]
> Does the pool want it? no: Remove (BlockedByOrganization) [MitigationPlan]
`,
		},
		"a server whose build is fixed": {
			onServer(func(s *policy.ServerCase) {
				s.FixedBuilds = []policy.FixedBuild{{ID: "M1", Build: number(t, "15.2.2562.41")}}
			}),
			pool + `  Is it made for the server's product, role and build? yes [the signed document, PoolServer status.facts]
  Does the operator say that the server's build is fixed? yes: fixedBuilds names 15.2.2562.41, and this server has 15.2.2562.43 [MitigationConfiguration spec.fixedBuilds[M1]]
  Is the pool only looked at? no [PoolMitigationConfig spec.mode]
  Does the pool want it? yes [MitigationPlan]
> Does the server need it? no: fixedBuilds names 15.2.2562.41, and this server has 15.2.2562.43 [PoolServer status.facts]
`,
		},
		"a server that the rollout has not reached": {
			onServer(func(s *policy.ServerCase) { s.Situation = policy.Situation{Waiting: policy.AwaitingWindow} }),
			pool + `  Is it made for the server's product, role and build? yes [the signed document, PoolServer status.facts]
  Does the operator say that the server's build is fixed? no [MitigationConfiguration spec.fixedBuilds]
  Is the pool only looked at? no [PoolMitigationConfig spec.mode]
  Does the pool want it? yes [MitigationPlan]
  Does the server need it? yes [PoolServer status.facts]
  Has this rollout failed on the server? no [PoolServer status.mitigations[].gate]
> Has the rollout reached the server? no: the rollout has not reached this server: windows allow no change now [MitigationPlan release]
`,
		},
		"a server of an audited pool": {
			onServer(func(s *policy.ServerCase) { s.Situation.AuditOnly = true }),
			pool + `  Is it made for the server's product, role and build? yes [the signed document, PoolServer status.facts]
  Does the operator say that the server's build is fixed? no [MitigationConfiguration spec.fixedBuilds]
> Is the pool only looked at? yes: would be: Apply (Enabled) [PoolMitigationConfig spec.mode]
`,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, steps := policy.Explain(tc.asked, now)
			if diff := cmp.Diff(tc.want, told(steps)); diff != "" {
				t.Errorf("chain differs (-want +got):\n%s", diff)
			}
		})
	}
}

// A case that has no trace must cost no words: a manager decides about 2,048 mitigations in 100 pools.
func TestDecidingCostsNoWordsUnlessAsked(t *testing.T) {
	m := policy.Mitigation{ID: "M1", ActionIDs: []string{"M1.1"}, Lifecycle: policy.LifecycleActive}
	allocations := testing.AllocsPerRun(100, func() {
		d, _ := policy.ForPool(m, nil, policy.Pool{}, now)
		policy.ForServer(d, policy.Situation{Released: true, Applicability: d})
	})
	if allocations > 2 {
		t.Errorf("%v allocations for a decision that nothing stands against", allocations)
	}
}

func BenchmarkForPool(b *testing.B) {
	m := policy.Mitigation{ID: "M1", ActionIDs: []string{"M1.1", "M1.2"}, Lifecycle: policy.LifecycleActive}
	full := make([]policy.Exception, 256)
	for i := range full {
		full[i] = policy.Exception{ID: fmt.Sprintf("X%d", i), Reason: "r"}
	}
	configurations := []policy.Configuration{{Name: "global", Blocked: full, SuspendedMitigations: full}}
	b.ReportAllocs()
	for b.Loop() {
		policy.ForPool(m, configurations, policy.Pool{Blocked: full}, now)
	}
}
