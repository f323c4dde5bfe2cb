package policytest

import (
	"time"

	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/schedule"
)

// Stage is the stage that the table's approvals are asked for.
const Stage = "canary"

// Case is what people and the publisher said, with the answers at several times.
type Case struct {
	// Name reads as a sentence.
	Name string
	// Mitigation and its Revision are what is decided about.
	Mitigation policy.Mitigation
	Revision   int64
	// Configurations in whose scope the pool is, sorted by name. The one named global has GlobalWindows.
	Configurations []policy.Configuration
	Pool           policy.Pool
	// Audit says that the pool is only looked at.
	Audit bool
	// PoolWindows and GlobalWindows are the windows of both levels.
	PoolWindows   schedule.Set
	GlobalWindows schedule.Set
	// Products are what the mitigation is made for, and FeedProduct what its feed is for.
	Products    []policy.Product
	FeedProduct string
	// FixedBuilds are those of the configuration named global.
	FixedBuilds []policy.FixedBuild
	// Facts of the server.
	Facts policy.Facts
	// Moments are in the order of time. The first is when the plan was made that Moment.Stale is about.
	Moments []Moment
}

// Answer is a decision in two words.
type Answer struct {
	Desired policy.Desired
	Reason  policy.Reason
}

// Of is the answer that a decision gives.
func Of(d policy.Decision) Answer { return Answer{Desired: d.Desired, Reason: d.Reason} }

// Moment is a time with the answers that are wanted at it.
type Moment struct {
	At time.Time
	// Pool is what becomes of the mitigation in the pool.
	Pool Answer
	// BlockedActions are the actions that are left out.
	BlockedActions []string
	// Server is what a server does that follows a plan of this time, and that the rollout has reached.
	Server Answer
	// Waiting is what such a server does that the rollout has not reached, because the stage waits for an approval.
	Waiting Answer
	// Stale is what a server does, which the rollout has reached, that has the plan of the first moment still, because the
	// manager is away.
	Stale Answer
	// Approved says whether somebody has approved stage Stage of the revision.
	Approved bool
	// Open says whether windows allow to begin a stage.
	Open bool
	// Active and Expired are how many entries of all blocked, suspended and approved lists count, and do not.
	Active, Expired int
}
