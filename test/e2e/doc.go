// Package e2e tests the whole system with real processes on a real control plane, as package harness runs it.
//
// # Usage
//
//	make controlplane && go test ./test/e2e/ -ginkgo.v
//
// Who has more time than a test of everything says so by variables of the environment:
//
//	EMS_OUTAGE=5m     how long the API server is away (otherwise 15 s)
//	EMS_IDLE=34m      how long agents have nothing to do (otherwise 40 s)
//	EMS_ENROLL=1000   how many servers are enrolled from a list (otherwise 50)
//	EMS_THOROUGH=1    damages each file of an agent in every place that is known, not in one
//
//	EMS_OUTAGE=5m go test -count=1 ./test/e2e -timeout 30m -ginkgo.v -ginkgo.label-filter=outage
//
// The labels are outage, idle, bulk, offline and expired.
//
// # Considerations
//
// One control plane, one manager and one feed serve all tests, which run one after the other; each has its own pool of
// servers in its own namespace, and leaves none behind. Nothing sleeps: what takes time is waited for, with generous limits,
// because the machines that run this are slow. Promised times are measured and reported; "make demo ONCE=1" asserts them.
package e2e
