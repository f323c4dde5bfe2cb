package gate

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"mitigation.dev/ems/agent/health"
)

const (
	// MaxMessage bounds a message, in bytes. It is the limit of the API.
	MaxMessage = 512
	// maxNotes bounds the notes, and maxNamed the checks that a message names.
	maxNotes, maxNamed = 8, 3

	// quickBake is the longest bake time of a hurried rollout; confirmQuick and confirm are how long after a bad look the
	// next one is due.
	quickBake             = 30 * time.Second
	confirmQuick, confirm = time.Second, 2 * time.Second
	// maxStrikes is after how many bad looks in a row it does not matter that they were about different checks.
	maxStrikes = 4
	// minBad and badShare say when a mitigation fails under which checks come and go: at least minBad bad looks, and one of
	// badShare or more.
	minBad, badShare = 3, 4
	// slack is added to two pauses: more than that does not count of the time between two looks. Where looks take longer the
	// bake time does as well.
	slack = time.Second
	// shortest is the least pause between looks.
	shortest = 100 * time.Millisecond
)

// Begin makes the record of a mitigation that is about to be put in place.
func Begin(rollout string, now time.Time, baseline []health.Result) Record {
	return Record{Rollout: rollout, Begun: now, Last: now, Baseline: slices.Clone(baseline), Verdict: Baking}
}

// Fail makes a record Failed for a reason that no look sees. One that is Failed already keeps its message.
func Fail(r Record, now time.Time, message string) Record {
	if r.Verdict == Failed {
		return r
	}
	r.Last, r.Verdict, r.Message = now, Failed, cut(message)
	if r.Message == "" {
		r.Message = "it failed"
	}
	return r
}

// Look gives the record that follows from an observation. A final one stays as it is.
func Look(r Record, o Observation, t Terms, now time.Time) Record {
	if r.Final() {
		return r
	}
	step := r.step(t, now)
	r.Last = now
	r.Looks++
	r.Requests = max(0, o.Requests)
	r.Notes = notes(r, o, t)
	if wrong := computed(o); wrong != "" {
		return Fail(r, now, wrong)
	}
	if worse := health.Worse(r.Baseline, o.Results); len(worse) > 0 {
		return r.bad(worse, t, step, now)
	}
	if len(r.Suspects) == 0 {
		r.Observed += step
	}
	r.Suspects, r.Strikes = nil, 0
	return r.good(o, t, now)
}

// step is how much of the time since the last look counts. The first look follows the change itself and counts nothing.
func (r Record) step(t Terms, now time.Time) time.Duration {
	if r.Looks == 0 {
		return 0
	}
	return min(max(0, now.Sub(r.Last)), 2*r.pause(t)+slack)
}

// computed gives what is certainly wrong and needs no second look.
func computed(o Observation) string {
	switch {
	case len(o.NotBlocked) > 0:
		return named("does not protect", o.NotBlocked)
	case len(o.NotPassed) > 0:
		return named("blocks what must pass", o.NotPassed)
	case o.Effective == EffectiveFalse && o.Why != "":
		return "not in effect: " + o.Why
	case o.Effective == EffectiveFalse:
		return "not in effect"
	}
	return ""
}

// bad deals with a look that found something worse than before.
func (r Record) bad(worse []health.Result, t Terms, step time.Duration, now time.Time) Record {
	r.Bad++
	r.Strikes++
	suspected := make(map[string]time.Duration, len(r.Suspects))
	for _, s := range r.Suspects {
		suspected[s.Name] = s.For + step
	}
	var suspects []Suspect
	var certain []health.Result
	for _, w := range worse {
		since, again := suspected[w.Name]
		suspects = append(suspects, Suspect{Name: w.Name, For: since})
		// Looks that others ask for may follow each other closely and see the same hiccup.
		if again && since >= t.confirm()/2 {
			certain = append(certain, w)
		}
	}
	r.Suspects = suspects
	switch {
	case len(certain) > 0:
		return Fail(r, now, r.compared(certain))
	case r.Strikes >= maxStrikes:
		return Fail(r, now, fmt.Sprintf("something else at each of %d looks, now %s", r.Strikes, r.compared(worse)))
	}
	r.Verdict, r.Message = Baking, cut("to be looked at again: "+r.compared(worse))
	return r
}

// good deals with a look that found nothing worse than before.
func (r Record) good(o Observation, t Terms, now time.Time) Record {
	r.Verdict, r.Message = Baking, ""
	if r.Observed < t.Bake {
		return r
	}
	lost := health.Lost(r.Baseline, o.Results)
	switch {
	case r.Bad >= minBad && r.Bad*badShare >= r.Looks:
		return Fail(r, now, fmt.Sprintf("something was worse than before at %d of %d looks", r.Bad, r.Looks))
	case len(lost) > 0:
		r.Verdict, r.Message = Inconclusive, cut("cannot be looked at any more: "+listed(lost, describe))
	case o.Log && r.Requests < t.MinRequests:
		r.Verdict, r.Message = Inconclusive, fmt.Sprintf("%d of %d requests logged so far", r.Requests, t.MinRequests)
	default:
		r.Verdict = Passed
	}
	return r
}

// notes says what does not decide and is worth knowing.
func notes(r Record, o Observation, t Terms) []string {
	var n []string
	after := make(map[string]health.Result, len(o.Results))
	for _, result := range o.Results {
		after[result.Name] = result
	}
	for _, before := range r.Baseline {
		if now, there := after[before.Name]; !before.OK && !before.Unknown && there && !now.OK && !now.Unknown {
			n = append(n, cut(fmt.Sprintf("%s failed before as well: %s", now.Name, now.Detail)))
		}
	}
	if len(n) > maxNotes-2 { // two are left for what follows
		n = append(n[:maxNotes-3], fmt.Sprintf("%d more checks failed before as well", len(n)-(maxNotes-3)))
	}
	if o.Effective == EffectiveUnknown {
		n = append(n, cut(strings.TrimSuffix("whether it is in effect is not known: "+o.Why, ": ")))
	}
	if t.MinRequests > 0 && !o.Log {
		n = append(n, "there is no access log to count requests in")
	}
	return n
}

// compared says how checks were before and how they are now.
func (r Record) compared(worse []health.Result) string {
	before := make(map[string]string, len(r.Baseline))
	for _, b := range r.Baseline {
		before[b.Name] = b.Detail
	}
	return listed(worse, func(w health.Result) string {
		return fmt.Sprintf("%s: before: %s, now: %s", w.Name, before[w.Name], w.Detail)
	})
}

func describe(r health.Result) string { return r.Name + ": " + r.Detail }

func listed(results []health.Result, say func(health.Result) string) string {
	texts := make([]string, 0, len(results))
	for _, r := range results {
		texts = append(texts, say(r))
	}
	return named("", texts)
}

// named lists some texts behind what is to be said of them.
func named(what string, texts []string) string {
	text := strings.Join(texts[:min(maxNamed, len(texts))], "; ")
	if more := len(texts) - maxNamed; more > 0 {
		text = fmt.Sprintf("%s; and %d more", text, more)
	}
	if what != "" {
		text = what + ": " + text
	}
	return text
}

// cut shortens a text to MaxMessage bytes, at the beginning of a character.
func cut(s string) string {
	const dots = "…"
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= MaxMessage {
		return s
	}
	return strings.ToValidUTF8(s[:MaxMessage-len(dots)], "") + dots
}

// Next says when the next look is due, which may be in the past; false says that none is. A clock that was set back makes it
// due at once.
func (r Record) Next(t Terms, now time.Time) (time.Time, bool) {
	switch {
	case r.Final():
		return time.Time{}, false
	case r.Looks == 0, r.Last.After(now):
		return now, true
	}
	return r.Last.Add(r.pause(t)), true
}

// pause is how long after a look the next one is due. Harm shows soon after a change, so looks become rarer, and what is left
// of the bake time is not overslept.
func (r Record) pause(t Terms) time.Duration {
	if len(r.Suspects) > 0 {
		return t.confirm()
	}
	pause := 15 * time.Second
	switch {
	case r.Observed < 15*time.Second:
		pause = 2 * time.Second
	case r.Observed < 5*time.Minute:
		pause = 5 * time.Second
	}
	if left := t.Bake - r.Observed; left > 0 {
		pause = min(pause, max(left, shortest))
	}
	return pause
}

func (t Terms) confirm() time.Duration {
	if t.Bake <= quickBake {
		return confirmQuick
	}
	return confirm
}

// UnmarshalJSON reads a record and mends what cannot be: such values come from a damaged disk, and make the mitigation bake
// anew instead of passing.
func (r *Record) UnmarshalJSON(data []byte) error {
	type plain Record
	var p plain
	if err := json.Unmarshal(data, &p); err != nil {
		return fmt.Errorf("gate record: %w", err)
	}
	switch p.Verdict {
	case Passed, Failed, Inconclusive, Baking:
	default:
		p.Verdict, p.Observed = Baking, 0
	}
	p.Observed, p.Requests = max(0, p.Observed), max(0, p.Requests)
	p.Looks, p.Bad, p.Strikes = max(0, p.Looks), max(0, p.Bad), max(0, p.Strikes)
	p.Message = cut(p.Message)
	for i := range p.Suspects {
		p.Suspects[i].For = max(0, p.Suspects[i].For)
	}
	*r = Record(p)
	return nil
}
