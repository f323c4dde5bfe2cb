// Package diff is the command "diff": what is wished against what servers report, and what a change of policy would do before anybody
// makes it.
//
// # Usage
//
//	for _, c := range diff.Commands() { ... }
//	status := diff.Compare(fleet, pools)
//	preview := diff.Foresee(fleet, changed)
//
// # Considerations
//
// A preview asks what the manager asks: the planner of package rollout, over package fromapi, once with the objects of the cluster and
// once with those of the files put over them, and compares the two plans. Comparing with the plan that is there would show as a
// consequence what the manager is about to do anyway. The planner is asked until it says the same again, since the manager is woken by
// its own plan; time stands still meanwhile, so a preview shows the first step of a rollout and not its end.
//
// The objects of the files go through the API server first, as a dry run of a server-side apply: it sets defaults, checks the schema
// and the admission policies, and keeps what other field managers own, as the real apply would. The field manager matters: only with
// the one that applies for real does an entry disappear that the file no longer has. It is found out from the object, where one
// manager alone applies it, and --field-manager says it.
//
// Nothing is written.
package diff
