// Command testsum reads the event stream of "go test -json" from standard input and prints what a person wants to see:
// one line per package as it finishes, the full output of what failed, why tests were skipped, and the totals.
//
// # Usage
//
//	go test -json ./... | go run ./hack/testsum [-summary FILE] [-slow 10]
//
// The last two lines are always
//
//	CHECKS checks in PACKAGES packages, DURATION
//	N passed, N failed, N skipped
//
// With -summary the same two lines are also written to FILE, so that a script can repeat them after later steps.
// The exit status is 1 when anything failed, was not built, or when no check ran at all.
//
// # Considerations
//
// A check is a test that has no subtests, plus every parent that fails although none of its subtests did: a table of
// thirty cases counts thirty, not thirty-one. A Ginkgo suite is one Go test but prints its own totals; these are counted
// instead. gotestsum was considered: it counts parents as tests of their own, knows nothing of Ginkgo's specs and would
// be one more dependency.
package main
