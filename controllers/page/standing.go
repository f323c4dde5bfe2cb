package page

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/members"
	"mitigation.dev/ems/internal/policy"
)

// standing is where a server stands with everything that its pool's plan speaks of.
type standing struct {
	Server *emsv1.PoolServer
	Sign   sign
	// Word is the state in words, Why the first thing that is wrong.
	Word string
	Why  string
}

// stand looks at a server of a pool; the pool is nil if there is none of that name. A server is in one state, the most urgent one. One
// whose agent is silent is not counted as protected: what is applied stays applied, but nobody can say more.
func stand(server *emsv1.PoolServer, p *poolSight) standing {
	out := standing{Server: server, Sign: signOK, Word: "protected"}
	note := func(is sign, word, why string) {
		if is.rank() < out.Sign.rank() {
			out.Sign, out.Word, out.Why = is, word, why
		}
	}
	ready := meta.FindStatusCondition(server.Status.Conditions, emsv1.ReadyCondition)
	switch {
	case ready != nil && ready.Status == metav1.ConditionUnknown && ready.Reason == emsv1.AgentSilentReason:
		note(signSilent, "silent", "its agent has not been heard of for a while; what is applied stays applied")
	case server.Status.Local.KillSwitch.Time != nil:
		note(signBlocked, "kill switch at the server", plain(server.Status.Local.KillSwitch.Reason))
	case ready == nil || ready.Status == metav1.ConditionUnknown:
		note(signMoving, "not heard of yet", "its agent has not reported; enrol the server and install the agent")
	}
	if p == nil || p.plan == nil {
		note(signMoving, "no plan yet", "its pool has no plan")
		return out
	}
	for i := range p.plan.Spec.Mitigations {
		planned := &p.plan.Spec.Mitigations[i]
		is, word, why := onServer(planned, members.Reported(server, planned.ID, i))
		if is != signOK && is != signNone && is != signOff && is.rank() < out.Sign.rank() {
			note(is, string(planned.ID)+" "+word, why)
		}
	}
	return out
}

// onServer is where a mitigation stands on a server, with a reason if there is one to give. said is nil if the server has not spoken of it.
func onServer(planned *emsv1.PlannedMitigation, said *emsv1.ServerMitigation) (is sign, word, why string) {
	wanted := planned.Desired == emsv1.DesiredApply && planned.Rollout.State != emsv1.RolloutAborted
	if said == nil {
		if wanted {
			return signMoving, "not reported yet", ""
		}
		return signOff, "off", ""
	}
	why = said.Message
	if said.Gate.Verdict == emsv1.GateFailed && said.Gate.Rollout == planned.Rollout.ID && wanted {
		return signFailed, "failed", said.Gate.Message
	}
	switch said.State {
	case emsv1.StateFailed:
		return signFailed, "failed", why
	case emsv1.StateApplied:
		switch {
		case said.Effective == emsv1.EffectiveFalse:
			return signBroken, "not effective", why
		case planned.Desired == emsv1.DesiredRemove:
			return signMoving, "being removed", why
		case wanted && said.Revision != 0 && said.Revision < planned.Revision:
			return signMoving, fmt.Sprintf("still at revision %d", said.Revision), why
		}
		return signOK, "protected", why
	case emsv1.StateNotApplicable:
		return signNone, "not needed", why
	case emsv1.StateAudited:
		return signAudit, "only audited", why
	case emsv1.StateHeld:
		if wanted {
			return signMoving, "not reached yet", why
		}
		return signHeld, "held", why
	case emsv1.StatePending:
		return signMoving, "not reached yet", why
	case emsv1.StateRemoved:
		return removed(planned, said, wanted)
	default:
		return signNone, plain(string(said.State)), why
	}
}

func removed(planned *emsv1.PlannedMitigation, said *emsv1.ServerMitigation, wanted bool) (is sign, word, why string) {
	switch {
	case policy.Reason(said.Reason) == policy.BlockedOnServer:
		return signBlocked, "blocked at the server", said.Message
	case policy.Reason(planned.Reason).Blocked():
		return signBlocked, "blocked", planned.Message
	case policy.Reason(planned.Reason) == policy.Suspended:
		return signBlocked, "suspended", planned.Message
	case policy.Reason(planned.Reason) == policy.MitigationsDisabled:
		return signBlocked, "switched off", planned.Message
	case wanted:
		return signMoving, "not reached yet", said.Message
	default:
		return signOff, spaced(planned.Reason), planned.Message
	}
}

// tally counts servers by where they stand.
type tally struct {
	all int
	by  [16]int
}

func (t *tally) add(is sign) {
	t.all++
	t.by[is.rank()]++
}

func (t *tally) of(is sign) int { return t.by[is.rank()] }

// worst is the most urgent sign that was counted; signNone if nothing was.
func (t *tally) worst() sign {
	for _, s := range signs {
		if t.of(s) > 0 {
			return s
		}
	}
	return signNone
}

// classes of servers in the words of a summary, the worst first.
var classes = []struct {
	signs []sign
	Sign  sign
	Word  string
}{
	{[]sign{signHalted, signFailed}, signFailed, "failed"},
	{[]sign{signBroken}, signBroken, "not effective"},
	{[]sign{signSilent}, signSilent, "silent"},
	{[]sign{signPaused, signWaiting, signMoving}, signMoving, "not reached yet"},
	{[]sign{signBlocked}, signBlocked, "kept off by policy"},
	{[]sign{signAudit}, signAudit, "only audited"},
	{[]sign{signHeld, signOff, signNone}, signHeld, "left as they are"},
	{[]sign{signOK}, signOK, "protected"},
}

// share is a class of servers with its number and its part of a bar, in thousandths.
type share struct {
	Sign  sign
	Word  string
	Count int
	// X and Width are the part of a bar that is 1,000 wide.
	X, Width int
}

// shares divides a bar. The protected come first in it; what is not 0 is at least 8 thousandths wide, so that one server in thousands is seen.
func (t *tally) shares() []share {
	var out []share
	for _, c := range slices.Backward(classes) {
		n := 0
		for _, s := range c.signs {
			n += t.of(s)
		}
		if n > 0 {
			out = append(out, share{Sign: c.Sign, Word: c.Word, Count: n, Width: max(8, 1000*n/t.all)})
		}
	}
	total, widest := 0, 0
	for i := range out {
		total += out[i].Width
		if out[i].Width > out[widest].Width {
			widest = i
		}
	}
	x := 0
	for i := range out {
		if i == widest {
			out[i].Width += 1000 - total // It takes what rounding left.
		}
		out[i].X = x
		x += out[i].Width
	}
	return out
}
