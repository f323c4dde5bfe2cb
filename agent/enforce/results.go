package enforce

import (
	"fmt"
	"slices"
	"strings"

	"mitigation.dev/ems/agent/iis"
	"mitigation.dev/ems/agent/iis/effective"
	"mitigation.dev/ems/agent/iis/refusal"
	"mitigation.dev/ems/internal/policy"
)

// kept is the result of a mitigation that stays in place as it is.
func kept(m iis.Mitigation, reason, message string) Result {
	return Result{ID: m.ID, State: Applied, Reason: reason, Message: message, Revision: m.Revision, Digest: m.Digest}
}

// inPlace fills in which revision is in place, if any.
func (r Result) inPlace(have *iis.Mitigation) Result {
	if have != nil {
		r.Revision, r.Digest = have.Revision, have.Digest
	}
	return r
}

// failed is the result of an entry whose document cannot be used. What is in place stays.
func failed(e Entry, have *iis.Mitigation, f Failure) Result {
	r := Result{ID: e.ID, State: Failed, Reason: f.Reason, Message: f.Message}.inPlace(have)
	fetched := f.Reason != ReasonBundleMissing && f.Reason != ReasonBundleUnavailable
	switch {
	case have != nil && !fetched && have.Revision == e.Revision && have.Digest == e.Document.Digest:
		// What the plan wants is in place already; only the proof of it cannot be looked at again.
		r.State = Applied
	case f.Transient:
		// Not Failed: a rollout would halt because one server could not reach the cluster for a moment.
		r.State, r.Transient = Pending, true
	case have != nil:
		r.Message += fmt.Sprintf("; revision %d stays in place", have.Revision)
	}
	return r
}

// gone is the result of an entry that is taken away.
func gone(e Entry, verdict policy.Decision) Result {
	r := Result{ID: e.ID, State: Removed, Reason: string(verdict.Reason), Message: verdict.Message}
	if verdict.Reason == policy.NotApplicable || verdict.Reason == policy.FixedByUpdate {
		r.State = NotApplicable
	}
	return r
}

// held is the result of an entry whose mitigation is left as it is.
func held(e Entry, have *iis.Mitigation, verdict policy.Decision) Result {
	if have != nil {
		return kept(*have, string(verdict.Reason), verdict.Message)
	}
	state := Pending
	switch verdict.Reason {
	case policy.RolloutHalted, policy.RolloutAborted, policy.MitigationsDisabled, policy.Superseded:
		state = Held // until a person or the publisher acts
	default:
	}
	return Result{ID: e.ID, State: state, Reason: string(verdict.Reason), Message: verdict.Message}
}

// audited is the result of an entry of a pool that is only looked at: verdict says so, would is what would be.
func audited(e Entry, have *iis.Mitigation, verdict, would policy.Decision) Result {
	switch {
	case have != nil:
		return kept(*have, string(verdict.Reason), verdict.Message)
	case would.Desired == policy.Apply:
		return Result{ID: e.ID, State: Audited, Reason: string(verdict.Reason), Message: verdict.Message}
	case would.Desired == policy.Remove:
		return gone(e, would)
	}
	return held(e, nil, would)
}

// Judge adds to results what verdicts on the rules in place say. The reason of a mitigation that is applied and not, or not
// certainly, run by IIS is that of the verdict.
func Judge(results []Result, verdicts []effective.Verdict) []Result {
	byID := make(map[string]effective.Verdict, len(verdicts))
	for _, v := range verdicts {
		byID[strings.ToLower(v.ID)] = v
	}
	out := slices.Clone(results)
	for i := range out {
		r := &out[i]
		v, ok := byID[strings.ToLower(r.ID)]
		if !ok || r.Revision == 0 {
			continue
		}
		r.Effective = string(v.Status)
		for _, l := range v.LookAlikes {
			r.LookAlikes = append(r.LookAlikes, fmt.Sprintf("%q in %s, line %d", l.Name, l.File, l.Line))
		}
		if r.State == Applied && (v.Status == effective.False || v.Status == effective.Unknown) {
			r.Reason, r.Message = v.Reason, v.Message
		}
		if r.State == Applied && v.Harm != "" {
			harm := "in place and stays, although it blocks what must pass: " + v.Harm
			if v.Status == effective.True {
				r.Reason, r.Message = iis.SamplesFailed, harm
			} else {
				r.Message += "; " + harm
			}
		}
		if r.State == Applied && v.Note != "" {
			r.Message = strings.TrimPrefix(r.Message+"; "+v.Note, "; ")
		}
	}
	return out
}

// Ineffective reports whether a mitigation is in place without being run by IIS, so that it does not count as protection.
func (r Result) Ineffective() bool {
	return r.State == Applied && r.Effective == string(effective.False)
}

// Conclude says where every mitigation stands after the server was brought to the decision, as far as it could be: the
// outcomes and the error are what iis.Server.Reconcile returned, applied is what is in place now.
func Conclude(d Decision, outcomes []iis.Outcome, reconcileErr error, applied []iis.Mitigation) []Result {
	now := byID(applied)
	told := make(map[string]iis.Outcome, len(outcomes))
	for _, o := range outcomes {
		told[strings.ToLower(o.ID)] = o
	}
	wanted := byID(d.Wanted)
	results := make([]Result, 0, len(d.Intents))
	for _, r := range d.Intents {
		key := strings.ToLower(r.ID)
		r.Revision, r.Digest = 0, ""
		m, isThere := now[key]
		if isThere {
			r = r.inPlace(&m)
		}
		_, isWanted := wanted[key]
		outcome, hasOutcome := told[key]
		switch {
		case hasOutcome && outcome.State == iis.Failed:
			// A reason of the document's, or of the gate, is kept: it is the first thing to put right.
			if r.State != Failed {
				r.State, r.Reason, r.Message, r.Transient = Failed, outcome.Reason, outcome.Message, false
			} else if r.Reason == ReasonGateFailed {
				r.Message += fmt.Sprintf("; and then %s: %s", outcome.Reason, outcome.Message)
			}
		case reconcileErr != nil && (r.State == Applied || isWanted != isThere):
			r.State, r.Reason, r.Message, r.Transient = Failed, refusal.Of(reconcileErr, ReasonServerFailed), reconcileErr.Error(), false
		case isWanted != isThere:
			r.State, r.Reason = Failed, ReasonServerFailed
			r.Message = "the server is not as it should be and does not say why; see the agent's log"
		}
		results = append(results, r)
		delete(told, key)
	}
	// What is left concerns mitigations that nobody knew of, such as one whose record in the journal is damaged.
	for _, o := range told {
		if o.State == iis.Failed {
			results = append(results, Result{ID: o.ID, State: Failed, Reason: o.Reason, Message: o.Message})
		}
	}
	slices.SortFunc(results, func(a, b Result) int { return compareIDs(a.ID, b.ID) })
	return results
}
