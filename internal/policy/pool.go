package policy

import (
	"fmt"
	"time"
)

// Desired is what shall become of a mitigation.
type Desired string

// What can be desired.
const (
	// Apply puts the mitigation in place.
	Apply Desired = "Apply"
	// Remove takes it away.
	Remove Desired = "Remove"
	// Hold leaves everything as it is.
	Hold Desired = "Hold"
)

// Reason is one word for why something is desired. The words are part of the API; see docs/spec/v1alpha1/mitigationplan.md.
type Reason string

// The reasons of decisions.
const (
	// Enabled: nothing stands against the mitigation.
	Enabled Reason = "Enabled"
	// Suspended: the kill switch of the organisation or the pool is on.
	Suspended Reason = "Suspended"
	// MitigationsDisabled: mitigations are disabled for the organisation or the pool.
	MitigationsDisabled Reason = "MitigationsDisabled"
	// BlockedByOrganization: a MitigationConfiguration blocks the mitigation.
	BlockedByOrganization Reason = "BlockedByOrganization"
	// BlockedByPool: the pool blocks the mitigation.
	BlockedByPool Reason = "BlockedByPool"
	// AwaitingStage: the rollout has not reached the server.
	AwaitingStage Reason = "AwaitingStage"
	// Audit: the pool is only looked at.
	Audit Reason = "Audit"
	// NotApplicable: the server's product, role or build is not affected.
	NotApplicable Reason = "NotApplicable"
	// FixedByUpdate: the installed update fixes the hole.
	FixedByUpdate Reason = "FixedByUpdate"
	// Withdrawn: the publisher no longer lists the mitigation.
	Withdrawn Reason = "Withdrawn"
	// Superseded: another mitigation of the document replaces this one.
	Superseded Reason = "Superseded"
	// Untrusted: the server's own trust policy refuses the document.
	Untrusted Reason = "Untrusted"
	// Expired: the document expired before the server had accepted it.
	Expired Reason = "Expired"
)

// Blocked reports whether the reason is that somebody blocked the mitigation.
func (r Reason) Blocked() bool { return r == BlockedByOrganization || r == BlockedByPool }

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
}

// Exception is an entry of a blocked list. The zero Expiry means that it does not expire.
type Exception struct {
	ID     string
	Reason string
	Owner  string
	Expiry time.Time
}

// Configuration is one MitigationConfiguration in whose scope the pool is.
type Configuration struct {
	Name      string
	Disabled  bool
	Suspended bool
	Blocked   []Exception
}

// Pool is the policy of the pool itself.
type Pool struct {
	Disabled  bool
	Suspended bool
	// RemoveWhenDisabled takes away what is applied while mitigations are disabled, here or above.
	RemoveWhenDisabled bool
	Blocked            []Exception
}

// Decision is what shall become of a mitigation, and why.
type Decision struct {
	Desired Desired
	Reason  Reason
	// Message says why in words, for people.
	Message string
	// BlockedActions are actions to leave out while the mitigation is applied.
	BlockedActions []string
}

// ForPool decides about a mitigation for a pool. Configurations are judged in the order given, so callers sort them. The
// returned time is when the decision may change by itself; zero if it cannot.
//
// The kill switch goes before everything. A block goes before a disabled pool, since it names the mitigation. A
// disabled pool keeps even what the publisher withdrew: nobody changes a server while mitigations are disabled.
func ForPool(m Mitigation, configurations []Configuration, pool Pool, now time.Time) (Decision, time.Time) {
	blocks := newBlocks(configurations, pool, now)
	if d, ok := suspended(configurations, pool); ok {
		return d, blocks.next
	}
	if e, ok := blocks.covering(m.ID); ok {
		return Decision{Desired: Remove, Reason: e.level, Message: e.message(m.ID)}, blocks.next
	}
	var blockedActions []string
	var last activeException
	for _, action := range m.ActionIDs {
		if e, ok := blocks.covering(action); ok {
			blockedActions, last = append(blockedActions, action), e
		}
	}
	if len(blockedActions) > 0 && len(blockedActions) == len(m.ActionIDs) {
		return Decision{Desired: Remove, Reason: last.level, Message: last.message(m.ID)}, blocks.next
	}
	if d, ok := disabled(configurations, pool); ok {
		return d, blocks.next
	}
	switch m.Lifecycle {
	case LifecycleWithdrawn:
		return Decision{Desired: Remove, Reason: Withdrawn, Message: "the publisher no longer lists the mitigation"}, blocks.next
	case LifecycleSuperseded:
		return Decision{Desired: Remove, Reason: Superseded, Message: "replaced by " + m.SupersededBy}, blocks.next
	case LifecycleActive:
	}
	return Decision{Desired: Apply, Reason: Enabled, BlockedActions: blockedActions}, blocks.next
}

func suspended(configurations []Configuration, pool Pool) (Decision, bool) {
	message := ""
	for _, c := range configurations {
		if c.Suspended && message == "" {
			message = fmt.Sprintf("MitigationConfiguration %q suspends all mitigations", c.Name)
		}
	}
	if pool.Suspended {
		message = "the pool suspends all mitigations"
	}
	return Decision{Desired: Remove, Reason: Suspended, Message: message}, message != ""
}

func disabled(configurations []Configuration, pool Pool) (Decision, bool) {
	message := ""
	for _, c := range configurations {
		if c.Disabled && message == "" {
			message = fmt.Sprintf("MitigationConfiguration %q disables mitigations", c.Name)
		}
	}
	if pool.Disabled {
		message = "the pool disables mitigations"
	}
	if message == "" {
		return Decision{}, false
	}
	if pool.RemoveWhenDisabled {
		return Decision{Desired: Remove, Reason: MitigationsDisabled, Message: message}, true
	}
	return Decision{Desired: Hold, Reason: MitigationsDisabled, Message: message + "; what is applied stays"}, true
}

// activeException is a block that counts now, with the level it comes from.
type activeException struct {
	Exception
	level Reason
	from  string
}

func (e activeException) message(id string) string {
	text := fmt.Sprintf("%s blocks %s", e.from, e.ID)
	if e.ID != id {
		text = fmt.Sprintf("%s blocks %s, which covers %s", e.from, e.ID, id)
	}
	text += ": " + e.Reason
	if e.Owner != "" {
		text += " (ask " + e.Owner + ")"
	}
	if !e.Expiry.IsZero() {
		text += ", until " + e.Expiry.UTC().Format(time.RFC3339)
	}
	return text
}

type blocks struct {
	active []activeException
	next   time.Time
}

func newBlocks(configurations []Configuration, pool Pool, now time.Time) blocks {
	var b blocks
	for _, c := range configurations {
		b.add(c.Blocked, BlockedByOrganization, fmt.Sprintf("MitigationConfiguration %q", c.Name), now)
	}
	b.add(pool.Blocked, BlockedByPool, "the pool", now)
	return b
}

// add takes the exceptions that count at the given time. An exception no longer counts at its expiry.
func (b *blocks) add(list []Exception, level Reason, from string, now time.Time) {
	for _, e := range list {
		if e.Counts(now) {
			b.active = append(b.active, activeException{Exception: e, level: level, from: from})
			if !e.Expiry.IsZero() && (b.next.IsZero() || e.Expiry.Before(b.next)) {
				b.next = e.Expiry
			}
		}
	}
}

func (b *blocks) covering(id string) (activeException, bool) {
	for _, e := range b.active {
		if Covers(e.ID, id) {
			return e, true
		}
	}
	return activeException{}, false
}

// Counts reports whether the exception counts at the given time: it does until its expiry, and not at it.
func (e Exception) Counts(now time.Time) bool {
	return e.Expiry.IsZero() || now.Before(e.Expiry)
}
