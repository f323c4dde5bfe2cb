package rollout

import (
	"time"

	"mitigation.dev/ems/internal/policy"
)

// State is where the rollout of a mitigation stands in a pool. The words are those of the API.
type State string

// Where a rollout can stand.
const (
	// Waiting: no stage may begin yet. The reason says what is waited for.
	Waiting State = "Waiting"
	// Progressing: the servers of a stage are at work or under observation.
	Progressing State = "Progressing"
	// Paused: a person holds the rollout, or servers without data do.
	Paused State = "Paused"
	// Halted: too many servers failed. It stays so until a person acts or another revision comes.
	Halted State = "Halted"
	// Aborted: a person took the revision back.
	Aborted State = "Aborted"
	// Complete: every stage passed. Servers that come later follow at once.
	Complete State = "Complete"
)

// RolloutComplete is the reason of a complete rollout; the other reasons are those of package policy.
const RolloutComplete policy.Reason = "RolloutComplete"

// Unreleased says what becomes of servers that a mitigation is not released to.
type Unreleased string

// What becomes of servers that a mitigation is not released to.
const (
	// Keep leaves them as they are. A server that has nothing, or a revision lower than the fallback's, gets the fallback.
	Keep Unreleased = "Keep"
	// Revert takes them to the fallback; without one the mitigation is removed from them.
	Revert Unreleased = "Revert"
)

// Verdict is what a server says of a mitigation under observation.
type Verdict string

// What a server can say of a mitigation under observation.
const (
	GateBaking       Verdict = "Baking"
	GatePassed       Verdict = "Passed"
	GateFailed       Verdict = "Failed"
	GateInconclusive Verdict = "Inconclusive"
	GateNotNeeded    Verdict = "NotNeeded"
)

// Gate is what a server last reported about one mitigation. About another rollout than the entry's it says nothing.
type Gate struct {
	Rollout string
	Verdict Verdict
	Message string
}

// Server is a server of the pool as the planner sees it.
type Server struct {
	Name string
	// Labels are what selectors of stages look at.
	Labels map[string]string
	// Gates are by id of the mitigation in lower case.
	Gates map[string]Gate
}

// Terms are what a released server has to go through before it counts as good.
type Terms struct {
	Bake        time.Duration
	MinRequests int
}

// Fallback is the good revision before the one that is being rolled out. The zero value means that there is none.
type Fallback struct {
	// Rollout is the id of the rollout that proved it good.
	Rollout        string
	Revision       int64
	BundleName     string
	DocumentDigest string
}

// Rollout is the manager's memory of one mitigation in a pool. The zero value means that nothing was rolled out.
type Rollout struct {
	// ID is of the form that Identity.ID writes.
	ID      string
	Attempt int
	State   State
	Reason  policy.Reason
	Message string
	// Profile is empty if the stages are the pool's or the organisation's own.
	Profile Profile
	// Stage is the name of the released stage, StageNumber its number from 1: 0 means that none is. Of a halted rollout they
	// tell the stage that failed.
	Stage       string
	StageNumber int
	Stages      int
	// Times are in UTC and have whole seconds.
	StartTime, StageTime, CompletionTime time.Time
	Unreleased                           Unreleased
	// ForgivenFailures is how many servers had failed when a person promoted the rollout. They do not count again.
	ForgivenFailures int
	Gate             Terms
	Fallback         Fallback
}

// Transition is what last happened to a mitigation in the pool.
type Transition struct {
	Action Action
	// Time is in UTC and has whole seconds.
	Time time.Time
	// By is the owner of the order, approval or exception, the feed, or EMS itself.
	By      string
	Message string
}

// Mitigation is a mitigation as the planner sees it.
type Mitigation struct {
	policy.Mitigation

	Revision int64
	// Content is Mitigation.spec.contentDigest. Without it DocumentDigest stands for the content.
	Content  string
	Severity string
	FeedName string
	// BundleName and DocumentDigest say which signed document agents take the mitigation from.
	BundleName     string
	DocumentDigest string
}

// Input is everything that a plan depends on.
type Input struct {
	Mitigations    []Mitigation
	Configurations []policy.Configuration
	Pool           policy.Pool
	// Audit says that the pool is only looked at.
	Audit bool
	// Settings are those that count for the pool; see Merge.
	Settings Settings
	// Servers are all that belong to the pool now, in any order.
	Servers []Server
	// Before is what the pool's plan says now, by id in lower case. Severity, Content and what policy.Mitigation has beside
	// the id are not looked at.
	Before map[string]Entry
	// AuditBefore is the mode of that plan. It counts only for entries without a rollout, which older managers wrote.
	AuditBefore bool
	// Rings are the verdicts of JudgeRings, by id in lower case. A mitigation without one is not held.
	Rings map[string]RingVerdict
	Now   time.Time
}

// Entry is what the servers of the pool shall do about one mitigation.
type Entry struct {
	Mitigation
	policy.Decision

	Release    Release
	Rollout    Rollout
	Transition Transition
}

// Plan is the desired state of a pool.
type Plan struct {
	// Entries are sorted by id, so that equal input gives equal plans.
	Entries []Entry
	// Next is when the plan may change by itself; zero if it cannot.
	Next time.Time
}
