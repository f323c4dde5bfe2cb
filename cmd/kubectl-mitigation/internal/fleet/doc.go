// Package fleet connects to a cluster, and reads out of it what a mitigation is on one server: what the plan of its pool says, the
// signed document that the plan names, verified under the trust policy of its feed, and what the server reports.
//
// # Usage
//
//	connection := fleet.Bind(flags) // --kubeconfig, --context, ...
//	reader, namespace, err := connection.Open()
//	view, config, err := fleet.Look(ctx, reader, types.NamespacedName{Namespace: namespace, Name: "fe01"}, "M1", now)
//
// # Considerations
//
// Look reads everything with five requests for single objects; listing and watching need no rights. Lists are read in pages. The flags are
// those of kubectl that choose a cluster and a user, from k8s.io/cli-runtime, so that all of them mean what they mean there; that it
// brings kustomize along is the price (docs/decisions/0012). The client of controller-runtime would add 20 MB for kinds that are not
// asked for here.
//
// Documents are verified as the manager does it before it makes a bundle of one (package feedtrust), for the present time: whoever
// may write bundles could otherwise have rules simulated that no server would take. A server judges by the policy on its own
// disk, which is not in the cluster.
package fleet
