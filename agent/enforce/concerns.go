package enforce

import (
	"bytes"
	"encoding/json"
	"reflect"

	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/rollout"
)

// Concerns reports whether a plan asks anything else of a server than the one before. If it does not, there is no hurry to follow it: most
// plans of a rollout release another stage, or say that one has passed, and concern a part of the pool.
//
// Documents count by the revisions that the plan takes from them. One that takes the place of another without a new revision has to be
// fetched and verified as well, but nothing waits for it.
func Concerns(server string, before, after *Plan) bool {
	if before == nil || after == nil {
		return before != after
	}
	was, is := before.essence(server), after.essence(server)
	for i := range is.Entries {
		is.Entries[i].keeps(was.Entries)
	}
	x, errX := json.Marshal(was)
	y, errY := json.Marshal(is)
	return errX != nil || errY != nil || !bytes.Equal(x, y)
}

// keeps turns an entry that leaves the revision before in place into the entry that put it there, if that is among those before.
func (e *Entry) keeps(before []Entry) {
	if e.Rollout.Fallback.Rollout == "" {
		return
	}
	there := *e
	there.Release, there.Rollout.Fallback = rollout.ToAll(), Fallback{}
	for _, b := range before {
		if reflect.DeepEqual(b, there) {
			*e = there
			return
		}
	}
}

// essence is the plan without what changes nothing on a server.
func (p *Plan) essence(server string) Plan {
	in := Input{Server: server, Plan: p}
	e := *p
	e.Generation, e.Entries = 0, nil
	for _, entry := range p.Entries {
		if entry, ok := in.essence(entry); ok {
			e.Entries = append(e.Entries, entry)
		}
	}
	return e
}

// essence is what an entry asks of the server; ok is false if that is nothing.
func (in Input) essence(e Entry) (essence Entry, ok bool) {
	essence = Entry{ID: e.ID, Decision: e.Decision, Revision: e.Revision, Rollout: Rollout{ID: e.Rollout.ID}}
	essence.Decision.Message, essence.Decision.By = "", ""
	staged := e.Rollout.ID != "" && e.Decision.Desired == policy.Apply
	if in.released(e, staged) {
		essence.Release = rollout.ToAll()
		return essence, true
	}
	switch fallback := e.Rollout.Fallback; {
	case !staged || e.Rollout.Revert:
		essence.Release, essence.Rollout = e.Release, e.Rollout
		return essence, true
	case fallback.Rollout != "":
		// What the server keeps until the stage comes is the revision before, if it has it.
		essence.Revision, essence.Rollout.ID = fallback.Revision, fallback.Rollout
		essence.Rollout.Fallback.Rollout = fallback.Rollout
		return essence, true
	}
	return Entry{}, false
}
