package policy

import (
	"fmt"
	"strings"
	"time"
)

// Lifecycle says whether the publisher stands behind a mitigation.
type Lifecycle string

// The states of a lifecycle, in the words of the API.
const (
	LifecycleActive     Lifecycle = "Active"
	LifecycleSuperseded Lifecycle = "Superseded"
	LifecycleWithdrawn  Lifecycle = "Withdrawn"
)

// Mitigation is what a decision has to know of a mitigation.
type Mitigation struct {
	ID           string
	ActionIDs    []string
	Lifecycle    Lifecycle
	SupersededBy string
	// SuccessorPending says that the mitigation which replaces this one is not in place in the pool: its rollout is not
	// complete there. Until it is, a superseded mitigation stays where it is, or the servers would have neither.
	SuccessorPending bool
}

// Configuration is one MitigationConfiguration in whose scope the pool is.
type Configuration struct {
	Name      string
	Disabled  bool
	Suspended bool
	Blocked   []Exception
	// SuspendedMitigations are kill switches for single mitigations.
	SuspendedMitigations []Exception
	Approved             []Approval
}

func (c Configuration) words() string { return fmt.Sprintf("MitigationConfiguration %q", c.Name) }

func (c Configuration) source(field string) string {
	return strings.TrimSpace("MitigationConfiguration/" + c.Name + " " + field)
}

// Pool is the policy of the pool itself.
type Pool struct {
	// Name is only for explanations: namespace/name of the pool.
	Name      string
	Disabled  bool
	Suspended bool
	// RemoveWhenDisabled takes away what is applied while mitigations are disabled, here or above.
	RemoveWhenDisabled bool
	Blocked            []Exception
	Approved           []Approval
}

func (p Pool) source(field string) string {
	if p.Name == "" {
		return strings.TrimSpace("PoolMitigationConfig " + field)
	}
	return strings.TrimSpace("PoolMitigationConfig/" + p.Name + " " + field)
}

// ForPool decides about a mitigation for a pool. Configurations are judged in the order given, so callers sort them. The
// returned time is when the decision may change by itself; zero if it cannot.
//
// The kill switch goes before everything. A block goes before a disabled pool, since it names the mitigation. A
// disabled pool keeps even what the publisher withdrew: nobody changes a server while mitigations are disabled.
func ForPool(m Mitigation, configurations []Configuration, pool Pool, now time.Time) (Decision, time.Time) {
	return forPool(m, configurations, pool, now, nil)
}

func forPool(m Mitigation, configurations []Configuration, pool Pool, now time.Time, t *trace) (Decision, time.Time) {
	if d, ok := allSuspended(configurations, pool, t); ok {
		return d, time.Time{}
	}
	suspending, blocking := suspensions(configurations), blocks(configurations, &pool)
	next := time.Time{}
	for _, named := range []struct {
		question string
		lists    []list
	}{
		{"Is the mitigation suspended by name?", suspending},
		{"Is the mitigation blocked?", blocking},
	} {
		active, expired := covering(named.lists, m.ID, now)
		next = earlier(next, active.first())
		if t != nil {
			t.exceptions(named.question, m.ID, active, expired, len(active) > 0)
		}
		if len(active) > 0 {
			return Decision{
				Desired: Remove, Reason: active[0].level, Message: active[0].message(m.ID), Until: active.last(), By: active[0].Owner,
			}, next
		}
	}
	// An action can only be left out, whichever list names it, so that its suspension is no more than a block.
	actions := judgeActions(m, append(blocking, suspending...), now, t)
	next = earlier(next, actions.next)
	if actions.all {
		return actions.decision, next
	}
	if d, ok := disabled(configurations, pool, t); ok {
		return d, next
	}
	if d, ok := lifecycle(m, t); ok {
		return d, next
	}
	return Decision{Desired: Apply, Reason: Enabled, BlockedActions: actions.blocked}, next
}

// allSuspended judges the kill switches for all mitigations.
func allSuspended(configurations []Configuration, pool Pool, t *trace) (Decision, bool) {
	message, source := firstOn(configurations, func(c Configuration) bool { return c.Suspended }, "suspends all mitigations", "spec.suspend")
	if pool.Suspended {
		message, source = "the pool suspends all mitigations", pool.source("spec.suspend")
	}
	t.judged("Does the organisation or the pool suspend all mitigations?", message, "no", source, t.asked(configurations, pool, "spec.suspend"))
	return Decision{Desired: Remove, Reason: Suspended, Message: message}, message != ""
}

// disabled judges the switches that leave servers as they are.
func disabled(configurations []Configuration, pool Pool, t *trace) (Decision, bool) {
	message, source := firstOn(configurations, func(c Configuration) bool { return c.Disabled }, "disables mitigations", "spec.mitigations")
	if pool.Disabled {
		message, source = "the pool disables mitigations", pool.source("spec.mitigations")
	}
	d := Decision{Desired: Hold, Reason: MitigationsDisabled, Message: message}
	switch {
	case message == "":
	case pool.RemoveWhenDisabled:
		d.Desired = Remove
	default:
		d.Message += "; what is applied stays"
		message = d.Message
	}
	t.judged("Are mitigations disabled for the organisation or the pool?", message, "no", source, t.asked(configurations, pool, "spec.mitigations"))
	return d, message != ""
}

// firstOn finds the first configuration with a switch on, and says so in words.
func firstOn(configurations []Configuration, on func(Configuration) bool, does, field string) (message, source string) {
	for _, c := range configurations {
		if on(c) {
			return c.words() + " " + does, c.source(field)
		}
	}
	return "", ""
}

// lifecycle judges what the publisher says. It reports false while the publisher stands behind the mitigation.
func lifecycle(m Mitigation, t *trace) (Decision, bool) {
	var d Decision
	switch m.Lifecycle {
	case LifecycleWithdrawn:
		d = Decision{Desired: Remove, Reason: Withdrawn, Message: "the publisher no longer lists the mitigation"}
	case LifecycleSuperseded:
		d = Decision{Desired: Remove, Reason: Superseded, Message: "replaced by " + m.SupersededBy}
		if m.SuccessorPending {
			d.Desired = Hold
			d.Message += ", which is not yet in place in the whole pool; what is applied stays until then"
		}
	case LifecycleActive:
	}
	if t != nil {
		source := "Mitigation/" + strings.ToLower(m.ID) + " spec.lifecycle"
		t.judged("Has the publisher withdrawn or replaced it?", d.Message, "no", source, source)
	}
	return d, d.Desired != ""
}

// actionVerdict is what exceptions leave of a mitigation's actions.
type actionVerdict struct {
	// blocked are the actions to leave out.
	blocked []string
	// all says that nothing is left, and decision what that means.
	all      bool
	decision Decision
	// next is when the first of the exceptions expires.
	next time.Time
}

func judgeActions(m Mitigation, lists []list, now time.Time, t *trace) actionVerdict {
	var v actionVerdict
	var until time.Time
	endless := true
	var by entry
	for _, action := range m.ActionIDs {
		active, expired := covering(lists, action, now)
		v.next = earlier(v.next, active.first())
		if t != nil && len(active)+len(expired) > 0 {
			t.exceptions("Is its action "+action+" blocked?", action, active, expired, false)
		}
		if len(active) == 0 {
			continue
		}
		v.blocked, by = append(v.blocked, action), active[0]
		// Something is left again as soon as the first of the actions is.
		if last := active.last(); !last.IsZero() {
			until, endless = earlier(until, last), false
		}
	}
	if len(v.blocked) == 0 || len(v.blocked) < len(m.ActionIDs) {
		return v
	}
	v.all = true
	v.decision = Decision{Desired: Remove, Reason: by.level, Message: by.message(m.ID), By: by.Owner}
	if !endless {
		v.decision.Until = until
	}
	t.judged("Is every one of its actions blocked?", v.decision.Message, "", by.source, "")
	return v
}
