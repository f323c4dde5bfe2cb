package fleet

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/utils/ptr"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/internal/policy/fromapi"
	"mitigation.dev/ems/internal/rollout"
)

// Limits of the API for texts of a rollout's status, in bytes.
const (
	maxRolloutMessage = 2048
	maxRolloutSummary = 256
)

// attention orders the reasons for which a rollout is not complete by how urgently somebody should look. Those before failures of single
// servers wait for a person: nothing happens until somebody acts.
var attention = []string{
	emsv1.RolloutHaltedReason, emsv1.RolloutStuckReason, emsv1.AwaitingApprovalReason,
	emsv1.HaltedElsewhereReason, emsv1.RolloutPausedReason, emsv1.AwaitingRingReason, emsv1.AwaitingWindowReason, emsv1.AwaitingStageReason,
	emsv1.RolloutAbortedReason,
}

// waitsForPerson reports whether nothing happens until a person acts.
func waitsForPerson(reason string) bool {
	return reason == emsv1.RolloutHaltedReason || reason == emsv1.RolloutStuckReason || reason == emsv1.AwaitingApprovalReason
}

// rolloutInPool tells how far a planned mitigation has come. The zero value says that nothing is rolled out.
func rolloutInPool(planned *emsv1.PlannedMitigation, servers []rollout.Server) (emsv1.PoolRolloutStatus, []string) {
	r := &planned.Rollout
	if r.ID == "" || planned.Desired == emsv1.DesiredRemove {
		return emsv1.PoolRolloutStatus{}, nil
	}
	progress := rollout.ProgressOf(fromapi.Entry(planned), servers)
	return emsv1.PoolRolloutStatus{
		State: r.State, Reason: r.Reason, Message: r.Message, Profile: r.Profile, Attempt: r.Attempt,
		Stage: r.Stage, StageNumber: r.StageNumber, Stages: r.Stages, StartTime: r.StartTime, StageTime: r.StageTime,
		Released: new(number32(progress.Released)), Passed: new(number32(progress.Passed)), Failed: new(number32(progress.Failed)),
	}, progress.Failing
}

func number32(n int) int32 { return int32(n) } //nolint:gosec // a pool has at most some thousand servers

// approval is the command that agrees to what the rollout asks about, and to nothing else: without --stage it would agree to every
// stage. Rings are approved for the organisation.
func approval(where string, m *emsv1.PoolMitigationStatus) string {
	ring, name, ok := rollout.AskedFor(m.Rollout.Message)
	switch {
	case !ok:
	case ring:
		where = fmt.Sprintf("%s --organization --stage '%s'", m.ID, name)
	default:
		where += " --stage '" + name + "'"
	}
	return fmt.Sprintf("`kubectl mitigation approve %s --revision %d", where, m.Revision)
}

// advise puts behind a rollout's message what a person can do about it.
func advise(pool *emsv1.PoolMitigationConfig, m *emsv1.PoolMitigationStatus) {
	r := &m.Rollout
	where := fmt.Sprintf("%s --pool %s/%s", m.ID, pool.Namespace, pool.Name)
	const because = " --reason TEXT`"
	retry := fmt.Sprintf("`kubectl mitigation rollout retry %s%s", where, because)
	next := ""
	switch r.Reason {
	case emsv1.RolloutHaltedReason:
		next = retry + " begins again, `kubectl mitigation rollout promote " + where + because + " goes on all the same, `kubectl mitigation rollout abort " +
			where + because + " takes it back"
	case emsv1.RolloutStuckReason:
		next = "see why these servers do not report, or go on without them: `kubectl mitigation rollout promote " + where + " --stage '" + r.Stage + "'" + because
	case emsv1.AwaitingApprovalReason:
		next = approval(where, m) + because
	case emsv1.RolloutPausedReason:
		next = "`kubectl mitigation rollout status " + where + "` says who holds it and how to let it go on"
	case emsv1.RolloutAbortedReason:
		next = retry + " begins again"
	default:
		return
	}
	// What to do is the more useful part, so it is the other one that is cut.
	said := conditions.Cut(r.Message, maxRolloutMessage-len(next)-len("; "))
	r.Message = strings.TrimPrefix(said+"; "+next, "; ")
}

// urgent sorts what is being rolled out in a pool by how urgently somebody should look; complete rollouts and what is not to be applied
// are left out.
func urgent(mitigations []emsv1.PoolMitigationStatus) []*emsv1.PoolMitigationStatus {
	var out []*emsv1.PoolMitigationStatus
	for i := range mitigations {
		m := &mitigations[i]
		if m.Desired == emsv1.DesiredApply && m.Rollout.State != "" && m.Rollout.State != emsv1.RolloutComplete {
			out = append(out, m)
		}
	}
	slices.SortStableFunc(out, func(a, b *emsv1.PoolMitigationStatus) int {
		return cmp.Compare(rank(a.Rollout.Reason), rank(b.Rollout.Reason))
	})
	return out
}

func rank(reason string) int {
	if at := slices.Index(attention, reason); at >= 0 {
		return at
	}
	return len(attention)
}

// rolloutSummary puts the most urgent rollout in a few words: "M1 canary 1/3", "M1 Halted (+2)".
func rolloutSummary(urgent []*emsv1.PoolMitigationStatus) string {
	if len(urgent) == 0 {
		return ""
	}
	text := words(urgent[0])
	if more := len(urgent) - 1; more > 0 {
		text += fmt.Sprintf(" (+%d)", more)
	}
	return conditions.Cut(text, maxRolloutSummary)
}

// words puts where a rollout stands in a few words.
func words(m *emsv1.PoolMitigationStatus) string {
	r := &m.Rollout
	if r.State == emsv1.RolloutProgressing && r.Stage != "" {
		return fmt.Sprintf("%s %s %d/%d", m.ID, r.Stage, ptr.Deref(r.StageNumber, 0), r.Stages)
	}
	return fmt.Sprintf("%s %s", m.ID, strings.TrimPrefix(r.Reason, "Rollout"))
}

// rolloutMessage tells of the rollouts that stand where the first one does.
func rolloutMessage(urgent []*emsv1.PoolMitigationStatus) string {
	var parts []string
	for _, m := range urgent {
		if m.Rollout.Reason != urgent[0].Rollout.Reason {
			break
		}
		text := fmt.Sprintf("%s revision %d", m.ID, m.Revision)
		if m.Rollout.Stage != "" {
			text += fmt.Sprintf(", stage %s (%d of %d)", m.Rollout.Stage, ptr.Deref(m.Rollout.StageNumber, 0), m.Rollout.Stages)
		}
		if m.Rollout.Message != "" {
			text += ": " + m.Rollout.Message
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}

// tolerated is how many failures are within what the rollout allows: it still moves, and they are in its count. The rollout itself says
// when there are too many.
func tolerated(m *emsv1.PoolMitigationStatus) int32 {
	switch m.Rollout.State {
	case emsv1.RolloutWaiting, emsv1.RolloutProgressing, emsv1.RolloutPaused:
		return ptr.Deref(m.Rollout.Failed, 0)
	default:
		return 0
	}
}
