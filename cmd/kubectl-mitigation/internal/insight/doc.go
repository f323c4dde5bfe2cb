// Package insight is what the commands that look have in common: the fleet as it was read, how each server compares with what is
// wished of it, who stands in the way of a mitigation, and how all that is drawn.
//
// # Usage
//
//	fleet, err := insight.Read(ctx, reader, namespace, now)
//	objects, err := fleet.Of(&fleet.Pools[0])
//	comparison := insight.Compare(objects, &objects.Plan.Spec.Mitigations[0])
//
// # Considerations
//
// Nothing is decided here. What a server has to do is asked of package policy by way of package explain, from the plan that servers
// follow; where rollouts stand is asked of package rolloutcmd. So "tree", "diff", "describe" and "check" cannot say other things than
// "explain" and "rollout status" do.
//
// Policy of the organisation, pools and plans are read of the whole cluster, because rings make a pool depend on the others; servers
// only of the namespace that is looked at, since there are the most of them. Whoever may not list the cluster sees the namespace, and
// is told what is missing.
package insight
