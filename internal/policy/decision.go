package policy

import "time"

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
	// Suspended: a kill switch is on, of the organisation or the pool, or for this mitigation.
	Suspended Reason = "Suspended"
	// MitigationsDisabled: mitigations are disabled for the organisation or the pool.
	MitigationsDisabled Reason = "MitigationsDisabled"
	// BlockedByOrganization: a MitigationConfiguration blocks the mitigation.
	BlockedByOrganization Reason = "BlockedByOrganization"
	// BlockedByPool: the pool blocks the mitigation.
	BlockedByPool Reason = "BlockedByPool"
	// BlockedOnServer: a person blocks the mitigation, or everything, at the server itself.
	BlockedOnServer Reason = "BlockedOnServer"
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
	// GateFailed: the server got worse with the mitigation, or could not put it in place.
	GateFailed Reason = "GateFailed"
	// Expired: the document expired before the server had accepted it.
	Expired Reason = "Expired"
)

// The reasons of servers that the rollout has not reached, and of rollouts that do not move.
const (
	// AwaitingStage: the servers of the stage before are at work or under observation.
	AwaitingStage Reason = "AwaitingStage"
	// AwaitingApproval: a person has to agree.
	AwaitingApproval Reason = "AwaitingApproval"
	// AwaitingRing: the pools of a ring before have to complete first.
	AwaitingRing Reason = "AwaitingRing"
	// AwaitingWindow: windows allow no change now.
	AwaitingWindow Reason = "AwaitingWindow"
	// AwaitingPlan: what the plan says no longer counts, and the manager has not planned anew.
	AwaitingPlan Reason = "AwaitingPlan"
	// HaltedElsewhere: the rollout halted in another pool of the same ring or one before.
	HaltedElsewhere Reason = "HaltedElsewhere"
	// RolloutHalted: too many servers failed.
	RolloutHalted Reason = "RolloutHalted"
	// RolloutAborted: a person took the revision back.
	RolloutAborted Reason = "RolloutAborted"
	// RolloutPaused: a person holds the rollout.
	RolloutPaused Reason = "RolloutPaused"
	// RolloutStuck: servers are silent, or have no data to judge by, for too long.
	RolloutStuck Reason = "RolloutStuck"
)

// Blocked reports whether the reason is that somebody blocked the mitigation.
func (r Reason) Blocked() bool {
	return r == BlockedByOrganization || r == BlockedByPool || r == BlockedOnServer
}

// waiting says in words why a rollout has not reached a server.
func (r Reason) waiting() string {
	const reached = "the rollout has not reached this server: "
	switch r {
	case AwaitingStage, "":
		return "the rollout has not reached this server"
	case AwaitingApproval:
		return reached + "a person has to approve the next stage"
	case AwaitingRing:
		return reached + "the pools of a ring before have to complete first"
	case AwaitingWindow:
		return reached + "windows allow no change now"
	case HaltedElsewhere:
		return reached + "it halted in another pool"
	case RolloutHalted:
		return reached + "it halted, because servers before it failed"
	case RolloutAborted:
		return reached + "a person took the revision back"
	case RolloutPaused:
		return reached + "a person paused it"
	case RolloutStuck:
		return reached + "servers before it are silent or have no data to judge by"
	default:
		return reached + string(r)
	}
}

// Decision is what shall become of a mitigation, and why.
type Decision struct {
	Desired Desired
	Reason  Reason
	// Message says why in words, for people.
	Message string
	// BlockedActions are actions to leave out while the mitigation is applied.
	BlockedActions []string
	// Until is when the last exception behind the decision expires; zero if it does not end by itself.
	Until time.Time
	// By is the owner of the exception behind the decision; empty if nobody is named.
	By string
}
