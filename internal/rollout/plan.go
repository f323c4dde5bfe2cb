package rollout

import (
	"slices"
	"strings"
	"time"

	"mitigation.dev/ems/internal/policy"
)

// Mitigation is a mitigation as the planner sees it.
type Mitigation struct {
	policy.Mitigation

	Revision int64
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
	Now            time.Time
}

// Entry is what the servers of the pool shall do about one mitigation.
type Entry struct {
	Mitigation
	policy.Decision

	Release Release
}

// Plan is the desired state of a pool.
type Plan struct {
	// Entries are sorted by id, so that equal input gives equal plans.
	Entries []Entry
	// Next is when the plan may change by itself; zero if it cannot.
	Next time.Time
}

// Make plans a pool. It never leaves a mitigation out: agents take away only what a plan tells them to remove.
func Make(in Input) Plan {
	configurations := slices.SortedFunc(slices.Values(in.Configurations), func(a, b policy.Configuration) int {
		return strings.Compare(a.Name, b.Name)
	})
	var plan Plan
	for _, m := range in.Mitigations {
		decision, next := policy.ForPool(m.Mitigation, configurations, in.Pool, in.Now)
		plan.Entries = append(plan.Entries, Entry{Mitigation: m, Decision: decision, Release: ToAll()})
		if !next.IsZero() && (plan.Next.IsZero() || next.Before(plan.Next)) {
			plan.Next = next
		}
	}
	slices.SortFunc(plan.Entries, func(a, b Entry) int {
		return strings.Compare(strings.ToLower(a.ID), strings.ToLower(b.ID))
	})
	return plan
}
