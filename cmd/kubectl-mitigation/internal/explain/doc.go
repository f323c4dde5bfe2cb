// Package explain says in words why a mitigation is, or is not, on a server or in a pool: which question was asked of which object, what
// answered it and what settled the matter, how far the rollout has come, what the server says itself, and what to type next.
//
// # Usage
//
//	explanation := explain.One(objects, "M1")
//	explanation.Write(os.Stdout)
//
// # Considerations
//
// Nothing is decided here. The chain comes from policy.Explain, which gathers the steps while it decides; the rollout from
// rollout.Make, which is what the manager calls, with the same input; the commands from package rolloutcmd. What the manager would plan
// now is held against the plan that is there, and what the server should do against what it reports: where they differ, somebody
// is away, and the explanation says who.
package explain
