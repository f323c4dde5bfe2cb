package enforce

import (
	"fmt"
	"slices"

	"mitigation.dev/ems/agent/gate"
	"mitigation.dev/ems/agent/iis"
	"mitigation.dev/ems/internal/policy"
)

// wait decides about a server that the mitigation is not released to. It stays as it is, apart from what the fallback says:
// a server that has nothing, or a revision before it, gets it; and when the rollout is taken back, every server does.
func (in Input) wait(e Entry, have *iis.Mitigation, h History) answer {
	if d := in.fixed(e); d.Desired != policy.Apply {
		return answer{result: gone(e, d)}
	}
	verdict := policy.ForServer(e.Decision, policy.Situation{Waiting: e.Rollout.Waiting, Applicability: applies})
	f := e.Rollout.Fallback
	bad := have != nil && h.bad(*have)
	newer := have != nil && (f.Rollout == "" || have.Revision > f.Revision)
	if !e.Rollout.Revert && !bad && newer {
		m := e.less(*have)
		return answer{want: &m, result: held(e, have, verdict)}
	}
	return in.fallBack(e, have, h, verdict)
}

// retreat decides about a server that the rollout has failed on. It goes to the fallback, or to what was good here before, and
// never to the same rollout again.
func (in Input) retreat(e Entry, have *iis.Mitigation, h History, f FailedRollout) answer {
	return takenBack(e, in.fallBack(e, have, h, policy.Decision{Desired: policy.Hold, Reason: policy.GateFailed, Message: f.Message}), f)
}

// stay is the answer where nothing new can be put in place: what is there stays, unless it made this server worse.
func (in Input) stay(e Entry, have *iis.Mitigation, h History, f Failure) answer {
	a := answer{want: have, result: failed(e, have, f)}
	if have != nil && h.bad(*have) {
		a.want = in.fallBack(e, have, h, policy.Decision{Desired: policy.Hold, Reason: policy.GateFailed}).want
		a.mustGo = true
	}
	return a
}

// takenBack says what happened on a server that the rollout has failed on, whether it is released to the server any more or not.
func takenBack(e Entry, a answer, f FailedRollout) answer {
	if a.result.State == NotApplicable {
		a.result.Gate = Gate{Rollout: e.Rollout.ID, Verdict: NotNeeded}
		return a
	}
	message := f.Message + "; taken back"
	a.result = Result{ID: e.ID, State: Failed, Reason: ReasonGateFailed, Gate: Gate{Rollout: e.Rollout.ID, Verdict: gate.Failed, Message: f.Message}}
	if a.want != nil {
		a.result.Revision, a.result.Digest = a.want.Revision, a.want.Digest
		message += fmt.Sprintf(", revision %d is in its place", a.want.Revision)
	}
	a.result.Message = message
	return a
}

// fixed judges what the operator says of fixed builds, which counts for every content.
func (in Input) fixed(e Entry) policy.Decision {
	return policy.Applicability(e.ID, nil, in.Facts.Product, in.Plan.FixedBuilds, in.Facts)
}

// fallBack finds what takes the place of a revision that may not be there: the plan's fallback; where that cannot be had, what
// is in place if it may stay, or a good content of this server's own disk; or nothing. verdict is why. While the plan takes
// servers back, what was good here and is not the fallback may be what was taken back before, so it does not count.
func (in Input) fallBack(e Entry, have *iis.Mitigation, h History, verdict policy.Decision) answer {
	f := e.Rollout.Fallback
	bad := have != nil && h.bad(*have)
	failedHere := verdict.Reason == policy.GateFailed
	given := f.Rollout != ""
	if earlier, failed := h.failed(f.Rollout); failed {
		given = false
		verdict.Message += fmt.Sprintf("; revision %d failed on this server and is not tried again: %s", f.Revision, earlier.Message)
	}
	if given {
		c := in.candidate(e, f.Revision, f.Document)
		switch {
		case c.applicability.Desired != policy.Apply:
			return answer{result: gone(e, c.applicability), mustGo: bad}
		case c.failure == nil && !h.bad(*c.content):
			a := answer{want: c.content, result: kept(*c.content, string(verdict.Reason), verdict.Message), mustGo: bad || e.Rollout.Revert}
			if !h.isGood(*c.content) {
				// Its rollout is over, and a server that has it needs no gate any more.
				a.trial = &Trial{Rollout: f.Rollout, Settled: true}
			}
			return a
		}
	}
	stays := !bad && (!e.Rollout.Revert || given && have != nil && have.Revision == f.Revision)
	if have != nil && stays {
		m := e.less(*have)
		return answer{want: &m, result: held(e, have, verdict)}
	}
	suits := func(m iis.Mitigation) bool {
		return !e.Rollout.Revert && (failedHere || bad) || given && m.Revision == f.Revision
	}
	if good, ok := h.lastGood(suits); ok {
		good = e.less(good)
		good.Samples = nil // they came out well when it was put in place, and it has to be able to come back
		return answer{want: &good, result: kept(good, string(verdict.Reason), verdict.Message), mustGo: true}
	}
	return answer{result: held(e, nil, verdict), mustGo: have != nil}
}

// less gives what is left of a content without the actions that policy blocks. Where nothing would be left it stays whole: only
// a Remove takes a mitigation away.
func (e Entry) less(m iis.Mitigation) iis.Mitigation {
	left := slices.DeleteFunc(slices.Clone(m.Actions), func(a iis.Action) bool { return e.blocks(a.ID) })
	if len(left) > 0 && len(left) < len(m.Actions) {
		m.Actions = left
		m.Samples = nil // which of them the blocked actions answered for is not known
	}
	return m
}

// withGate puts into an answer what is to be said of the rollout. released means that it has reached the server. An empty
// verdict is filled in by Gates.
func (in Input) withGate(e Entry, have *iis.Mitigation, a answer, released bool) answer {
	if e.Rollout.ID == "" || e.Decision.Desired != policy.Apply {
		return a
	}
	g := Gate{Rollout: e.Rollout.ID}
	h := in.Histories[lower(e.ID)]
	switch {
	case a.result.Reason == string(policy.BlockedOnServer):
		// Nobody else has to wait for a server that a person takes care of, whether its stage has begun or not.
		g.Verdict, g.Message = NotNeeded, a.result.Message
	case !released:
		// What was said before it was taken back stays said until it is gone.
		if have == nil || h.Record.Rollout != e.Rollout.ID || h.Content != iis.ContentOf(*have) || a.mustGo {
			return a
		}
	case a.result.State == NotApplicable:
		g.Verdict = NotNeeded
	case a.result.State == Failed && !transient(a.result.Reason):
		g.Verdict, g.Message = gate.Failed, a.result.Reason+": "+a.result.Message
	}
	a.result.Gate = g
	return a
}

// transient reports whether a failure says nothing against a mitigation, and passes by itself.
func transient(reason string) bool {
	return reason == iis.ConfigurationBusy || reason == ReasonBundleUnavailable
}

// Gates completes results by what the gates say. applied is what is in place now.
func Gates(results []Result, d Decision, histories map[string]History, applied []iis.Mitigation) []Result {
	now := byID(applied)
	trials := map[string]Trial{}
	for _, t := range d.Trials {
		trials[lower(t.ID)] = t
	}
	out := slices.Clone(results)
	for i := range out {
		r := &out[i]
		if r.Gate.Rollout == "" || r.Gate.Verdict != "" && r.Gate.Verdict != NotNeeded {
			continue
		}
		h := histories[lower(r.ID)]
		t, tried := trials[lower(r.ID)]
		have, there := now[lower(r.ID)]
		switch {
		case r.State == Failed && !transient(r.Reason):
			r.Gate.Verdict, r.Gate.Message = gate.Failed, r.Reason+": "+r.Message
		case r.Gate.Verdict == NotNeeded:
		case there && h.Record.Rollout == r.Gate.Rollout && h.Content == iis.ContentOf(have):
			r.Gate.Verdict = h.Record.Verdict
			if r.Gate.Verdict != gate.Baking { // what a second look may take back is no news yet
				r.Gate.Message = h.Record.Message
			}
		case there && tried && t.Settled && t.Rollout == r.Gate.Rollout && iis.ContentOf(have) == iis.ContentOf(t.Content):
			r.Gate.Verdict = gate.Passed
		default:
			r.Gate = Gate{}
		}
	}
	return out
}
