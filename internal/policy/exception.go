package policy

import (
	"fmt"
	"slices"
	"time"
)

// Exception is an entry of a list of blocked or suspended mitigations. The zero Expiry means that it does not expire.
type Exception struct {
	ID     string
	Reason string
	Owner  string
	Expiry time.Time
}

// Counts reports whether the exception counts at the given time: it does until its expiry, and not at it.
func (e Exception) Counts(now time.Time) bool { return counts(e.Expiry, now) }

// Approval is a person's agreement to the rollout of a mitigation. The zero Revision stands for every revision, no Stages
// for every stage and ring, the zero Expiry means that it does not expire.
type Approval struct {
	ID       string
	Revision int64
	// Stages are names of stages and rings.
	Stages []string
	Reason string
	Owner  string
	Expiry time.Time
}

// Counts reports whether the approval counts at the given time: it does until its expiry, and not at it.
func (a Approval) Counts(now time.Time) bool { return counts(a.Expiry, now) }

// covers reports whether the approval is about a stage, or ring, of a revision of a mitigation.
func (a Approval) covers(id string, revision int64, stage string) bool {
	return Covers(a.ID, id) && (a.Revision == 0 || a.Revision == revision) && (len(a.Stages) == 0 || slices.Contains(a.Stages, stage))
}

// Approved looks for an approval that counts at the given time for a stage, or ring, of a revision of a mitigation, and
// returns the first one. Whose lists are asked, and in which order, is the caller's: a pool's own and those of the
// configurations in scope for its stages, the global configuration's for rings.
func Approved(id string, revision int64, stage string, now time.Time, lists ...[]Approval) (Approval, bool) {
	for _, approvals := range lists {
		for _, a := range approvals {
			if a.Counts(now) && a.covers(id, revision, stage) {
				return a, true
			}
		}
	}
	return Approval{}, false
}

func counts(expiry, now time.Time) bool { return expiry.IsZero() || now.Before(expiry) }

// entry is an exception with the list that it stands in.
type entry struct {
	Exception

	level Reason
	// holder has the list, in words; source is the same for people who look for the object.
	holder string
	source string
}

func (e entry) message(id string) string {
	verb := "blocks"
	if e.level == Suspended {
		verb = "suspends"
	}
	text := fmt.Sprintf("%s %s %s", e.holder, verb, e.ID)
	if e.ID != id {
		text = fmt.Sprintf("%s %s %s, which covers %s", e.holder, verb, e.ID, id)
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

// entries are exceptions in the order in which they are judged.
type entries []entry

// list is a list of exceptions as it stands in an object. Words about it are made only for the entries that matter: there
// may be thousands of entries, and as many mitigations to decide about.
type list struct {
	exceptions []Exception
	level      Reason
	// of is the configuration that the list stands in; nil for the pool.
	of   *Configuration
	pool *Pool
}

func (l list) entry(e Exception) entry {
	switch {
	case l.of == nil:
		return entry{Exception: e, level: l.level, holder: "the pool", source: l.pool.source("spec.blocked[" + e.ID + "]")}
	case l.level == Suspended:
		return entry{Exception: e, level: l.level, holder: l.of.words(), source: l.of.source("spec.suspendedMitigations[" + e.ID + "]")}
	default:
		return entry{Exception: e, level: l.level, holder: l.of.words(), source: l.of.source("spec.blocked[" + e.ID + "]")}
	}
}

// covering returns the exceptions of lists that speak of an id, those that count at the given time and those that have
// expired.
func covering(lists []list, id string, now time.Time) (active, expired entries) {
	for i := range lists {
		for _, e := range lists[i].exceptions {
			switch {
			case !Covers(e.ID, id):
			case e.Counts(now):
				active = append(active, lists[i].entry(e))
			default:
				expired = append(expired, lists[i].entry(e))
			}
		}
	}
	return active, expired
}

// suspensions are the lists that suspend single mitigations.
func suspensions(configurations []Configuration) []list {
	var lists []list
	for i := range configurations {
		if c := &configurations[i]; len(c.SuspendedMitigations) > 0 {
			lists = append(lists, list{exceptions: c.SuspendedMitigations, level: Suspended, of: c})
		}
	}
	return lists
}

// blocks are the lists that block mitigations.
func blocks(configurations []Configuration, pool *Pool) []list {
	var lists []list
	for i := range configurations {
		if c := &configurations[i]; len(c.Blocked) > 0 {
			lists = append(lists, list{exceptions: c.Blocked, level: BlockedByOrganization, of: c})
		}
	}
	if len(pool.Blocked) > 0 {
		lists = append(lists, list{exceptions: pool.Blocked, level: BlockedByPool, pool: pool})
	}
	return lists
}

// last is when the last of the exceptions expires, zero if one of them never does.
func (l entries) last() time.Time {
	var last time.Time
	for _, e := range l {
		if e.Expiry.IsZero() {
			return time.Time{}
		}
		if e.Expiry.After(last) {
			last = e.Expiry
		}
	}
	return last
}

// first is when the first of the exceptions expires, zero if none does.
func (l entries) first() time.Time {
	var first time.Time
	for _, e := range l {
		first = earlier(first, e.Expiry)
	}
	return first
}

// earlier returns the earlier of two times, where zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
