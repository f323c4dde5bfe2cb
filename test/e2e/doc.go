// Package e2e tests the whole system with real processes on a real control plane, as package harness runs it.
//
// # Usage
//
//	make controlplane && go test ./test/e2e/ -ginkgo.v
//
// # Considerations
//
// One control plane, one manager and one feed serve all tests, which run one after the other; each has its own pool of
// servers in its own namespace, and leaves none behind. Nothing sleeps: what takes time is waited for, with generous limits,
// because the machines that run this are slow. Promised times are measured and reported; "make demo ONCE=1" asserts them.
package e2e
