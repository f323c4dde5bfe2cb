package rollout

import (
	"fmt"
	"strings"
	"time"

	"mitigation.dev/ems/internal/policy"
)

// Ring is a group of pools that come one after another.
type Ring struct {
	Name string
	// Selects chooses pools by their labels; nil chooses none.
	Selects func(labels map[string]string) bool
	// Bake is how long the next ring waits after the last pool of this one has completed.
	Bake     time.Duration
	Approval ApprovalPoint
}

// RingOf returns the number of the first ring that chooses a pool. Pools that none chooses are in an implicit last ring, whose
// number is that of the rings.
func RingOf(rings []Ring, labels map[string]string) int {
	for i, ring := range rings {
		if ring.Selects != nil && ring.Selects(labels) {
			return i
		}
	}
	return len(rings)
}

// RingPool is a pool as others look at it.
type RingPool struct {
	// Name is namespace and name, for messages.
	Name  string
	Ring  int
	Audit bool
	// Entries are those of its plan by id in lower case; nil if it has no plan.
	Entries map[string]Entry
}

// RingInput is everything that the rings' verdicts depend on.
type RingInput struct {
	Rings []Ring
	// Own is the pool that asks. Its Entries are not looked at.
	Own RingPool
	// Others are all other pools, in order of their names.
	Others      []RingPool
	Mitigations []Mitigation
	// Settings are those that count for the own pool. Profile Emergency keeps to the order of rings, and waits for no bake time.
	Settings Settings
	// Approved is that of the global configuration.
	Approved []policy.Approval
	Now      time.Time
}

// RingVerdict says whether stages of a mitigation may begin as far as other pools are concerned.
type RingVerdict struct {
	Open bool
	// Reason is HaltedElsewhere, AwaitingRing or AwaitingApproval.
	Reason  policy.Reason
	Message string
	// By is who approved the ring, if somebody had to.
	By string
	// Next is when the verdict may change by itself; zero if it cannot.
	Next time.Time
}

// JudgeRings judges every mitigation, by id in lower case.
func JudgeRings(in RingInput) map[string]RingVerdict {
	verdicts := make(map[string]RingVerdict, len(in.Mitigations))
	for i := range in.Mitigations {
		m := &in.Mitigations[i]
		verdicts[strings.ToLower(m.ID)] = in.judge(m, strings.ToLower(m.ID))
	}
	return verdicts
}

func (in *RingInput) judge(m *Mitigation, id string) RingVerdict {
	identity := IdentityOf(*m, 1, in.Own.Audit)
	var waitFor, haltedIn string
	completed := map[int]time.Time{}
	for i := range in.Others {
		other := &in.Others[i]
		if other.Ring > in.Own.Ring {
			continue
		}
		entry, planned := other.Entries[id]
		theirs, ok := ParseID(entry.Rollout.ID)
		sameRun := ok && theirs.Same(identity)
		if sameRun && entry.Rollout.State == Halted && entry.Desired == policy.Apply && haltedIn == "" {
			haltedIn = other.Name
		}
		if other.Ring == in.Own.Ring || other.Audit != in.Own.Audit || (planned && entry.Desired != policy.Apply) {
			continue
		}
		if !sameRun || entry.Rollout.State != Complete {
			if waitFor == "" {
				waitFor = other.Name
			}
			continue
		}
		if entry.Rollout.CompletionTime.After(completed[other.Ring]) {
			completed[other.Ring] = entry.Rollout.CompletionTime
		}
	}
	switch {
	case haltedIn != "":
		return RingVerdict{Reason: policy.HaltedElsewhere, Message: fmt.Sprintf("the rollout halted in pool %s", haltedIn)}
	case waitFor != "":
		return RingVerdict{Reason: policy.AwaitingRing, Message: fmt.Sprintf("pool %s, of a ring before, has not completed the rollout", waitFor)}
	}
	return in.afterRings(m, completed)
}

// afterRings judges bake times and approvals, when every ring before has completed.
func (in *RingInput) afterRings(m *Mitigation, completed map[int]time.Time) RingVerdict {
	if in.Settings.ProfileFor(m.Severity) != Emergency {
		for i := 0; i < in.Own.Ring && i < len(in.Rings); i++ {
			until := completed[i].Add(in.Rings[i].Bake)
			if !completed[i].IsZero() && in.Now.Before(until) {
				return RingVerdict{
					Reason: policy.AwaitingRing, Next: until,
					Message: fmt.Sprintf("ring %q is under observation until %s", in.Rings[i].Name, until.UTC().Format(time.RFC3339)),
				}
			}
		}
	}
	by := ""
	for i := 0; i <= in.Own.Ring && i < len(in.Rings); i++ {
		ring := in.Rings[i]
		asks := ring.Approval == ApprovalAfter && i < in.Own.Ring || ring.Approval == ApprovalBefore && i == in.Own.Ring
		if !asks {
			continue
		}
		approval, ok := policy.Approved(m.ID, m.Revision, ring.Name, in.Now, in.Approved)
		if !ok {
			return RingVerdict{Reason: policy.AwaitingApproval, Message: fmt.Sprintf("ring %q asks for an approval", ring.Name)}
		}
		by = approval.Owner
	}
	return RingVerdict{Open: true, By: by}
}
