// Package check is the command "check": is this cluster ready for EMS (--pre), and are the manager, the feeds and the fleet well. Each
// answer says what, why, and what to do next.
//
// # Usage
//
//	for _, c := range check.Commands() { ... }
//	report := check.Judge(facts)
//
// # Considerations
//
// What is found out and what is made of it are apart: gather asks the cluster, and Judge and JudgeBefore are functions of what it said.
// A question that the user may not ask has an answer, too: it is unknown, and why. With --strict that counts as wrong.
//
// What is installed is compared with the manifests that the plugin was built with (package config): every field of a manifest has to be
// in the cluster as it is there, and fields that the API server adds do not matter. The name of the manager's ServiceAccount in
// admission policies may be another one.
package check
