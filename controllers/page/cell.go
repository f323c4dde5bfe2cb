package page

import (
	"fmt"

	"k8s.io/utils/ptr"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/policy"
)

// cell is where a mitigation stands in a pool.
type cell struct {
	Sign sign
	Word string
	// Numbers are servers that have it, of those that need it: 3/12. Empty where they say nothing.
	Numbers string
	// More is a stage, or how many failed.
	More string
}

// inPool says where a mitigation stands in a pool, as the pool's status has it: it is the manager's word, and the one that kubectl shows.
func inPool(p *poolSight, id emsv1.MitigationID) cell {
	m := p.status[fold(id)]
	if m == nil {
		return cell{Sign: signNone, Word: "not in the plan"}
	}
	c := m.Servers
	total, need := int(ptr.Deref(c.Total, 0)), int(ptr.Deref(c.Total, 0)-ptr.Deref(c.NotApplicable, 0))
	if total == 0 {
		return cell{Sign: signNone, Word: "no servers"}
	}
	out := cell{Numbers: fmt.Sprintf("%d/%d", ptr.Deref(c.Applied, 0), need)}
	failed := int(ptr.Deref(c.Failed, 0))
	switch m.Desired {
	case emsv1.DesiredRemove:
		out.Sign, out.Word = off(m)
		if failed > 0 {
			out.Sign, out.Word, out.More = signFailed, "failed", "on "+count(failed, "server")
		} else if left := ptr.Deref(c.Applied, 0) + ptr.Deref(c.Ineffective, 0); left > 0 {
			out.Sign, out.Word, out.More = signMoving, "being removed", count(int(left), "server")+" left"
		}
		out.Numbers = ""
		return out
	case emsv1.DesiredHold:
		out.Sign, out.Word, out.More = signHeld, "held", spaced(m.Reason)
		return out
	default:
		return wantedInPool(m, out, failed, need, p.audits())
	}
}

// audits reports whether the pool only looks at mitigations.
func (p *poolSight) audits() bool { return p.Status.Summary.Mode == string(emsv1.ModeAudit) }

// off says why nobody shall have a mitigation.
func off(m *emsv1.PoolMitigationStatus) (is sign, word string) {
	switch reason := policy.Reason(m.Reason); {
	case reason.Blocked():
		return signBlocked, "blocked"
	case reason == policy.Suspended:
		return signBlocked, "suspended"
	case reason == policy.MitigationsDisabled:
		return signBlocked, "switched off"
	default:
		return signOff, spaced(m.Reason)
	}
}

func wantedInPool(m *emsv1.PoolMitigationStatus, out cell, failed, need int, audits bool) cell {
	if r := &m.Rollout; r.Stage != "" && r.State != emsv1.RolloutComplete {
		out.More = fmt.Sprintf("stage %d/%d", ptr.Deref(r.StageNumber, 0), r.Stages)
	}
	ineffective := int(ptr.Deref(m.Servers.Ineffective, 0))
	switch state := m.Rollout.State; {
	case state == emsv1.RolloutHalted:
		out.Sign, out.Word = signHalted, "halted"
	case state == emsv1.RolloutAborted:
		out.Sign, out.Word = signOff, "taken back"
	case failed > 0:
		out.Sign, out.Word, out.More = signFailed, "failed", "on "+count(failed, "server")
	case ineffective > 0:
		out.Sign, out.Word, out.More = signBroken, "not effective", "on "+count(ineffective, "server")
	case need == 0 && (state == emsv1.RolloutComplete || state == ""):
		out.Sign, out.Word, out.Numbers = signNone, "not needed", ""
	case audits:
		out.Sign, out.Word, out.Numbers = signAudit, "only audited", ""
	case state == emsv1.RolloutPaused:
		out.Sign, out.Word = signPaused, "paused"
	case state == emsv1.RolloutWaiting:
		out.Sign, out.Word = signWaiting, "waiting"
		if m.Rollout.Reason == emsv1.AwaitingApprovalReason {
			out.Word = "needs approval"
		}
	case state == emsv1.RolloutProgressing:
		out.Sign, out.Word = signMoving, "rolling out"
	case ptr.Deref(m.Servers.Pending, 0) > 0:
		out.Sign, out.Word = signMoving, "on its way"
	case ptr.Deref(m.Servers.Blocked, 0) > 0:
		out.Sign, out.Word, out.More = signBlocked, "protected, but", count(int(ptr.Deref(m.Servers.Blocked, 0)), "server")+" blocked it"
	case ptr.Deref(m.Servers.Other, 0) > 0:
		out.Sign, out.Word = signHeld, "left as it is"
	default:
		out.Sign, out.Word = signOK, "protected"
	}
	return out
}

// track is the stages of a rollout, one after the other.
type track struct {
	// Steps has a class for each stage: done, now, stopped or next.
	Steps []string
	// Text says the same in words.
	Text string
}

func trackOf(r *emsv1.PoolRolloutStatus) track {
	now, all := int(ptr.Deref(r.StageNumber, 0)), int(r.Stages)
	t := track{Text: "no stage released yet"}
	if now > 0 {
		t.Text = fmt.Sprintf("stage %d of %d, %s", now, all, plain(r.Stage))
	}
	for i := 1; i <= all; i++ {
		step := "next"
		switch {
		case r.State == emsv1.RolloutComplete, i < now:
			step = "done"
		case i == now && (r.State == emsv1.RolloutHalted || r.State == emsv1.RolloutAborted):
			step = "stopped"
		case i == now:
			step = "now"
		}
		t.Steps = append(t.Steps, step)
	}
	if r.State == emsv1.RolloutComplete {
		t.Text = fmt.Sprintf("all %d stages passed", all)
	}
	return t
}
