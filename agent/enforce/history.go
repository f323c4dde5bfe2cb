package enforce

import (
	"slices"
	"time"

	"mitigation.dev/ems/agent/gate"
	"mitigation.dev/ems/agent/health"
	"mitigation.dev/ems/agent/iis"
	"mitigation.dev/ems/agent/iis/effective"
)

const (
	// maxFailed is how many failed rollouts of a mitigation a server remembers. Each is a correction that was as bad as the
	// one before it; sixteen in a row are more than a publisher makes before people look.
	maxFailed = 16
	// maxGood is how many good contents of a mitigation a server keeps: the one in place, and the one before it.
	maxGood = 2
)

// History is what a server remembers of a mitigation, so that it can go back by itself, and never forward again to what failed.
type History struct {
	// Rollout that was put in place last. Its Record has an empty Rollout if none was.
	Record gate.Record `json:"record,omitzero"`
	// Content identifies what was put in place for it.
	Content string `json:"content,omitempty"`
	// Failed are the rollouts that failed here, the newest last.
	Failed []FailedRollout `json:"failed,omitempty"`
	// Good are contents that were in place here and did no harm, the newest last.
	Good []iis.Mitigation `json:"good,omitempty"`
}

// FailedRollout is a rollout that made the server worse.
type FailedRollout struct {
	ID string `json:"id"`
	// Content identifies what was in place. It is empty once another rollout tries the same content.
	Content string    `json:"content,omitempty"`
	Message string    `json:"message,omitempty"`
	At      time.Time `json:"at,omitzero"`
}

// Empty reports whether there is nothing to remember.
func (h History) Empty() bool {
	return h.Record.Rollout == "" && len(h.Failed) == 0 && len(h.Good) == 0
}

// failed gives the record of a rollout that failed here.
func (h History) failed(rollout string) (FailedRollout, bool) {
	for _, f := range h.Failed {
		if rollout != "" && f.ID == rollout {
			return f, true
		}
	}
	return FailedRollout{}, false
}

// bad reports whether a content made this server worse.
func (h History) bad(m iis.Mitigation) bool {
	content := iis.ContentOf(m)
	return slices.ContainsFunc(h.Failed, func(f FailedRollout) bool { return f.Content == content })
}

func (h History) isGood(m iis.Mitigation) bool {
	content := iis.ContentOf(m)
	return slices.ContainsFunc(h.Good, func(g iis.Mitigation) bool { return iis.ContentOf(g) == content })
}

// lastGood gives the newest good content that suits.
func (h History) lastGood(suits func(iis.Mitigation) bool) (iis.Mitigation, bool) {
	for _, g := range slices.Backward(h.Good) {
		if !h.bad(g) && suits(g) {
			return g, true
		}
	}
	return iis.Mitigation{}, false
}

// Tries reports whether the record is that of a trial whose content is in place.
func (h History) Tries(t Trial, have *iis.Mitigation) bool {
	return have != nil && h.Record.Rollout == t.Rollout && h.Content == iis.ContentOf(t.Content) && h.Content == iis.ContentOf(*have)
}

// Begins reports whether a trial has to begin anew: its content is about to be put in place, or it is there and its rollout
// is not the one that put it there.
func (h History) Begins(t Trial, have *iis.Mitigation) bool {
	if have != nil && iis.ContentOf(*have) == iis.ContentOf(t.Content) && t.Settled && h.Record.Rollout != t.Rollout {
		return false
	}
	return !h.Tries(t, have)
}

// Begin gives the history when a trial begins. What is in place counts as good from now on, if nothing is known against it and
// it is not itself under observation; where nothing is in place, there is nothing to go back to.
func (h History) Begin(t Trial, have *iis.Mitigation, record gate.Record) History {
	next := History{Record: record, Content: iis.ContentOf(t.Content), Failed: slices.Clone(h.Failed), Good: h.Good}
	for i := range next.Failed {
		if next.Failed[i].Content == next.Content {
			next.Failed[i].Content = ""
		}
	}
	switch {
	case have == nil:
		next.Good = nil
	case iis.ContentOf(*have) == next.Content, h.bad(*have):
	case h.Content == iis.ContentOf(*have) && h.Record.Verdict != gate.Passed:
	default:
		next.Good = withGood(h.Good, *have)
	}
	return next
}

// Looked gives the history after a look at the content in place.
func (h History) Looked(record gate.Record, content iis.Mitigation) History {
	next := h
	next.Record = record
	if record.Verdict == h.Record.Verdict {
		return next
	}
	switch record.Verdict {
	case gate.Passed:
		next.Good = withGood(h.Good, content)
	case gate.Failed:
		list := append(slices.Clone(h.Failed), FailedRollout{ID: record.Rollout, Content: h.Content, Message: record.Message, At: record.Last})
		next.Failed = list[max(0, len(list)-maxFailed):]
	default:
	}
	return next
}

// Forgiven gives the history without what failed, so that it is tried again.
func (h History) Forgiven() History {
	h.Failed = nil
	if h.Record.Verdict == gate.Failed {
		h.Record, h.Content = gate.Record{}, ""
	}
	return h
}

func withGood(good []iis.Mitigation, m iis.Mitigation) []iis.Mitigation {
	content := iis.ContentOf(m)
	list := slices.DeleteFunc(slices.Clone(good), func(g iis.Mitigation) bool { return iis.ContentOf(g) == content })
	list = append(list, m)
	return list[max(0, len(list)-maxGood):]
}

// Watched is a mitigation under observation.
type Watched struct {
	Trial

	// NotBlocked, NotPassed, Effective, Why, Requests and Log are as in gate.Observation.
	NotBlocked, NotPassed []string
	Effective, Why        string
	Requests              int64
	Log                   bool
}

// Watch judges by one look at the server everything that is under observation, and gives the histories that became other ones.
//
// The look is at the server as a whole, and several mitigations may be under observation at once. Then the one that was put in
// place last (of those that came together, the last by its id) is suspected first: as long as it is, or when it has just
// failed, the same finding is not held against those before it. It is taken back, the server is looked at again, and only if
// it is still worse the one before comes next. What a look says about one mitigation alone, by its samples and its effect,
// counts for it at any time.
func Watch(histories map[string]History, watched []Watched, results []health.Result, now time.Time) map[string]History {
	list := slices.Clone(watched)
	slices.SortFunc(list, func(a, b Watched) int {
		x, y := histories[lower(a.ID)].Record.Begun, histories[lower(b.ID)].Record.Begun
		if c := y.Compare(x); c != 0 {
			return c
		}
		return compareIDs(b.ID, a.ID)
	})
	changed := map[string]History{}
	suspected := false
	for _, w := range list {
		key := lower(w.ID)
		h := histories[key]
		o := gate.Observation{
			Results: results, NotBlocked: w.NotBlocked, NotPassed: w.NotPassed, Effective: w.Effective, Why: w.Why, Requests: w.Requests, Log: w.Log,
		}
		worse := len(health.Worse(h.Record.Baseline, results)) > 0
		own := len(w.NotBlocked)+len(w.NotPassed) > 0 || w.Effective == gate.EffectiveFalse
		if worse && suspected && !own {
			continue
		}
		suspected = suspected || worse
		changed[key] = h.Looked(gate.Look(h.Record, o, w.Terms, now), w.Content)
	}
	return changed
}

// WatchedOf says what is to be told of a mitigation by the verdict on its rules in place, beside the look at the whole server.
func WatchedOf(t Trial, v effective.Verdict) Watched {
	w := Watched{Trial: t, Effective: string(v.Status)}
	if v.Message != "" {
		w.Why = v.Reason + ": " + v.Message
	}
	if v.Reason == effective.SampleNotBlocked {
		w.NotBlocked = []string{v.Message}
	}
	if v.Harm != "" {
		w.NotPassed = []string{v.Harm}
	}
	return w
}
