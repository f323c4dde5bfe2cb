package rolloutcmd

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/policy/fromapi"
	"mitigation.dev/ems/internal/rollout"
)

// why stands in the commands that are proposed: the reason is the person's, not ours.
const why = "--reason '...'"

// next says what a person can type, the likeliest first.
func next(r *Rollout, global *emsv1.MitigationConfiguration) []Hint {
	target := "--pool " + r.Key()
	verb := func(name, more string) string {
		command := "kubectl mitigation rollout " + name + " " + r.Mitigation
		if more != "" {
			command += " " + more
		}
		return command + " " + target + " " + why
	}
	abort := Hint{verb("abort", ""), "take it back; " + back(r)}
	switch r.State {
	case string(emsv1.RolloutHalted):
		return []Hint{
			{verb("retry", ""), "the cause is gone: begin again at the first stage"},
			{verb("promote", promoted(r)), "the failures do not matter: go on behind them"},
			abort,
		}
	case string(emsv1.RolloutAborted):
		return []Hint{{verb("retry", ""), "begin again at the first stage; or wait for another revision"}}
	case string(emsv1.RolloutPaused):
		if r.Reason == emsv1.RolloutStuckReason {
			return []Hint{
				{fmt.Sprintf("kubectl get poolservers -n %s -o wide", r.Namespace), "see which servers are silent or have no data"},
				{verb("promote", promoted(r)), "go on without them"},
				abort,
			}
		}
		return append(resumes(r, global), abort)
	case string(emsv1.RolloutWaiting):
		return waits(r, global, abort)
	case string(emsv1.RolloutProgressing):
		return []Hint{abort}
	case string(emsv1.RolloutComplete):
		if r.Servers.Failed > 0 {
			return []Hint{
				{fmt.Sprintf("kubectl get poolservers -n %s -o wide", r.Namespace), "see what these servers say; they alone are concerned"},
				{verb("undo", ""), "take it back from all servers; " + back(r)},
			}
		}
	}
	return nil
}

// leaseGrace is how long after a decision was due nothing is said of it: clocks differ, and writes take their time.
const leaseGrace = time.Minute

// overdue asks about the manager when a stage is neither passed nor stuck although its time is over. Silent servers cannot be
// the reason for that: those make the rollout stuck.
func overdue(r *Rollout, in *input, pool *emsv1.PoolMitigationConfig) []Hint {
	if r.State != string(emsv1.RolloutProgressing) || r.StageTime == nil {
		return nil
	}
	var organisation []emsv1.MitigationConfiguration
	if in.global != nil {
		organisation = append(organisation, *in.global)
	}
	settings, err := fromapi.PoolSettings(pool, organisation)
	if err != nil {
		return nil // Why nothing moves is said by the pool.
	}
	bake := time.Duration(r.BakeSeconds) * time.Second
	late := in.now.Sub(r.StageTime.Add(2*bake + settings.Deadline(rollout.Profile(r.Profile))))
	if late < leaseGrace {
		return nil
	}
	return []Hint{{
		"kubectl get leases -A --field-selector metadata.name=manager.ems.mitigation.dev -o custom-columns=HOLDER:.spec.holderIdentity,RENEWED:.spec.renewTime",
		fmt.Sprintf("the manager should have gone on %s ago: see whether it runs", span(late)),
	}}
}

func waits(r *Rollout, global *emsv1.MitigationConfiguration, abort Hint) []Hint {
	elsewhere := fmt.Sprintf("kubectl mitigation rollout status %s -A", r.Mitigation)
	switch r.Reason {
	case emsv1.AwaitingApprovalReason:
		return []Hint{approval(r), abort}
	case emsv1.AwaitingRingReason:
		return []Hint{{elsewhere, "see the pools of the rings before"}}
	case emsv1.HaltedElsewhereReason:
		return []Hint{{elsewhere, "see the pool that halted, and what to do there"}}
	case emsv1.AwaitingWindowReason:
		return []Hint{{fmt.Sprintf("kubectl get poolmitigationconfig -n %s %s -o jsonpath='{.spec.rollout.windows}'", r.Namespace, r.Pool), "see the windows; profile Emergency ignores them"}}
	case emsv1.RolloutPausedReason:
		return append(resumes(r, global), abort)
	}
	return nil
}

// approval is the command that agrees. Rings are approved for the organisation, stages for the pool.
func approval(r *Rollout) Hint {
	command := fmt.Sprintf("kubectl mitigation approve %s --revision %d", r.Mitigation, r.Revision)
	target, when := "--pool "+r.Key(), "agree to it"
	if ring, name, ok := rollout.AskedFor(r.Message); ok {
		command += " --stage " + quote(name)
		when = fmt.Sprintf("agree to stage %q", name)
		if ring {
			target, when = "--organization", fmt.Sprintf("agree to ring %q", name)
		}
	}
	return Hint{command + " " + target + " " + why, when}
}

// plainWord needs no quotes in a shell.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./-]+$`)

// quote makes one word of a name for the shells that people have.
func quote(name string) string {
	if plainWord.MatchString(name) {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}

// resumes has a command for each setting that holds the rollout.
func resumes(r *Rollout, global *emsv1.MitigationConfiguration) []Hint {
	var hints []Hint
	for _, h := range r.Holders {
		target := "--pool " + h.Object
		if global != nil && h.Object == global.Name {
			target = "--organization"
		}
		switch h.Field {
		case "spec.rollout.orders":
			hints = append(hints, Hint{fmt.Sprintf("kubectl mitigation rollout resume %s %s", r.Mitigation, target), "take the order back"})
		case "spec.rollout.progress":
			hints = append(hints, Hint{fmt.Sprintf("kubectl mitigation rollout resume --all %s", target), "let rollouts move again"})
		case "spec.rollout.pausedUntilTime":
			hints = append(hints, Hint{"kubectl edit " + edited(r, target), "take spec.rollout.pausedUntilTime out, or wait"})
		}
	}
	return hints
}

func edited(r *Rollout, target string) string {
	if target == "--organization" {
		return "mitigationconfiguration " + emsv1.GlobalConfigurationName
	}
	return fmt.Sprintf("poolmitigationconfig -n %s %s", r.Namespace, r.Pool)
}

// promoted is the flag that passes the stage that is released.
func promoted(r *Rollout) string {
	if r.Stage == "" {
		return "--full"
	}
	return "--stage " + quote(r.Stage)
}

// back says what servers have after an abort.
func back(r *Rollout) string {
	if r.Fallback > 0 {
		return fmt.Sprintf("revision %d comes back", r.Fallback)
	}
	return "nothing takes its place"
}

// Next is what a person can type about a mitigation in a pool, the likeliest first; nil if there is nothing to do, or no rollout.
// The plan may be nil, and so may the configuration named global.
func Next(pool *emsv1.PoolMitigationConfig, plan *emsv1.MitigationPlan, global *emsv1.MitigationConfiguration, id string, now time.Time) []Hint {
	key := types.NamespacedName{Namespace: pool.Namespace, Name: pool.Name}
	status := look(&input{
		pools: []*emsv1.PoolMitigationConfig{pool}, plans: map[types.NamespacedName]*emsv1.MitigationPlan{key: plan}, global: global, now: now, id: id,
	})
	if len(status.Rollouts) == 0 || id == "" {
		return nil
	}
	return status.Rollouts[0].Next
}
