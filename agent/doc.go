// Package agent runs on every server of a pool: it follows the pool's plan, verifies the signed documents itself, makes IIS
// match them, and reports.
//
// # Usage
//
//	var options agent.Options
//	options.BindFlags(flags)
//	if err := options.Validate(); err != nil { … }
//	err := agent.Run(ctx, options) // until ctx ends
//
// # Considerations
//
// There is one loop and it is level-based: every pass looks at everything anew, so that no trigger can be missed for good and
// the same code installs, repairs, removes and survives a crash. A pass is: observe (plan, facts, what is in place),
// decide (package enforce, pure), apply and verify (package iis, which also says whether IIS runs what is in place), report
// (package cluster). Passes follow changes of the plan, changes of IIS's configuration files, and the clock: every 30 seconds,
// give or take 20 %, so that servers that were started together do not report together; and when a gate or the end of a block
// asks for one.
//
// What comes under a rollout is put in place between two looks at the server (packages health and gate): one before, which is
// put on the disk, and those after it until the gate has its verdict. A server that got worse takes back what was put in place
// last, in the same pass and without anybody's help, looks again, and goes on to the one before if that was not it. Passes
// after which a look is due soon wait for the cluster for three seconds at most, and a look ends when the cluster has another
// plan, so that a kill switch waits neither for an API server nor for a check that hangs. Nothing is looked at while nothing is
// under observation.
//
// In a pool in Audit mode the same rollouts are played on a shadow of the server (iis.NewPreview), and nothing is written.
//
// The agent fails static: without a network it goes on from the plan and the documents on its disk; whatever it cannot
// verify changes nothing.
//
// What people switch at the server itself (package switches: a kill switch, blocks, a repair) is read at the beginning of each
// pass and goes before the plan. The agent looks once a second whether it became different, and drops what it waits for then.
// If it cannot be read, nothing is changed. What a pass found is left in a file for them (package lastpass), and for collectors of metrics in
// another one if it is asked for (package metricsfile).
//
// One agent works with a state folder at a time: a second Run, or a command of package local, is refused. Agents with folders of their
// own can share a process (Options.Shared); the simulator in test/scale runs thousands.
//
// The agent never imports the manager's controllers, nor they the agent.
package agent
