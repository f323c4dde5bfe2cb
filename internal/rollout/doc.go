// Package rollout plans which servers of a pool get a mitigation, and when: in stages that stop by themselves. The planner is
// a pure function from mitigations, policy, settings, what servers report, what was planned before, and the clock, to the plan
// of a pool; the controller of the same name writes it, agents follow it.
//
// # Usage
//
//	settings := rollout.Merge(ofThePool, ofTheOrganisation)
//	rings := rollout.JudgeRings(rollout.RingInput{…})
//	plan := rollout.Make(rollout.Input{Mitigations: …, Settings: settings, Servers: …, Before: …, Rings: rings, Now: now})
//	released := plan.Entries[0].Release.Includes("fe01", "M1")
//	progress := rollout.ProgressOf(plan.Entries[0], servers)
//
// # What a rollout is
//
// A rollout is one run of one content of a mitigation through one pool. Its id, r2-a1-0a1b2c3d, is made of the revision, the
// attempt, the beginning of the content's digest, and of -audit in a pool in mode Audit. Another revision, content or mode, or
// an order to try again, begins another rollout at the first stage. An id is never used for two runs, since servers keep their
// verdicts by it.
//
// A stage begins if no other pool stands against it (HaltedElsewhere, AwaitingRing), a person has agreed where one is asked
// (AwaitingApproval), nobody pauses it (RolloutPaused) and the windows are open (AwaitingWindow); the reason names the first of
// these that is missing. It is passed when every released server that is there says Passed or NotNeeded. One failure more than
// maxFailures halts the rollout: the stage goes back, and nothing goes on until a person or another content comes. Silent
// servers pause it (RolloutStuck), except in an emergency, which goes on without their word, but never past a failure.
//
// # Considerations
//
// The plan is the memory. Everything that must not be forgotten stands in Entry, is written in the one write that also releases
// a stage, and comes back as Input.Before: a manager may stop at any moment. Made again from its own outcome at the same time,
// a plan does not change. Where the memory is older than what servers know, because it is from a backup, servers are believed:
// a later attempt that they speak of is gone on with, and a failure that they report counts whether they are released or not.
//
// Membership of a stage is decided by every agent from the plan alone: a few names, then a cut-off on a hash of server and
// mitigation, chosen from the real names so that both together hold exactly the wanted number. Releasing a stage is therefore
// one write per pool, however many servers it has, and messages hold no counts that change with each report. The hash differs
// from mitigation to mitigation, so that not always the same servers go first. Servers that join while a stage runs are
// released if the cut-off says so; they are beside the number. A release never shrinks, except that a halt takes it back to the
// stage before, and an abort to nobody.
//
// Removal goes to all servers at once, without stages, windows or rings. What comes back after a removal comes in stages, and so
// does an action that was blocked and no longer is. A halted or aborted rollout does not come to life by being blocked and
// unblocked.
//
// The revision that last completed is the fallback of the next. It is the pool's, not the server's: what a server had before may
// be the very revision that was halted. While servers may still have such a one (Unreleased is Revert), every later rollout says
// so until one completes.
//
// A stage that nobody stood for proves nothing: if all its servers leave the pool, others are chosen. A pool that is empty is
// complete as soon as a stage might begin; one that has become empty waits as for silent servers first.
package rollout
