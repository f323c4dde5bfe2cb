// Package rollout renders the MitigationPlan of every pool, and so carries mitigations from stage to stage and from ring to ring.
//
// # Usage
//
//	err := members.Index(ctx, mgr.GetFieldIndexer())
//	err = (&rollout.Reconciler{
//		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: mgr.GetEventRecorder("ems-rollout"), Clock: clock.RealClock{},
//	}).SetupWithManager(mgr)
//
// # Considerations
//
// The decisions are in the pure packages internal/policy and internal/rollout, and internal/policy/fromapi turns objects into what they
// decide from; this reconciler fetches those objects, and writes the plan if it differs from what is there. If nobody can know which
// configurations speak for a pool, its plan stays as it is; if a window, a stage or a ring cannot be read, nothing new is rolled out, and
// removals go on. The statuses of the pool and of the configuration say so (package fleet).
//
// # Memory
//
// The plan is the memory. Each one is a step from the one before, so the version that was read is part of the write, and after a conflict
// everything is read anew: a stage can never be released twice or on account of an old cache. Nothing is kept in the process. What
// happened last to a mitigation stands in the plan, too, and is put into the pool's history, with an event, before the plan is overwritten.
// A manager that is killed between any two writes leaves nothing undone that the next one would not find.
//
// # When it looks
//
// Changes of a pool or a configuration are acted on at once. Changes of Mitigations come in bursts, one per entry of a document, and are
// gathered for half a second, and so are changes of revocation lists. Of what servers report only their words about rollouts matter here:
// good ones are gathered for 300 milliseconds, a failure for 50, so that a rollout halts well within a second of the first failing server. Other
// pools matter only to a pool that rolls something out: when one of them halts, and, for those that wait for the rings before them, when one
// completes.
//
// Of several managers each plans its own pools (package internal/shard), and reads the plans of all. It plans a pool when it has all of its
// servers in its cache (package handover).
//
// One plan per pool serves all its servers, so a stage is one write. A look at a pool of 10,000 servers and 20 mitigations takes
// about 0.1 s, nearly all of it for gathering what the servers say.
package rollout
