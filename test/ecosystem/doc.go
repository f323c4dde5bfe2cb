// Package ecosystem checks how the tools of others judge the health of our objects: kstatus, Argo CD by the scripts of config/argocd,
// Flux by the expressions of config/flux.
//
// # Usage
//
//	make health                                        // builds the judges and runs the tests
//	go test ./test/ecosystem -args -update             // writes docs/reference/health.md
//
// # Considerations
//
// States is the table of all states that manager and agent bring an object into. Tests hold it against the sources (every call that sets
// an outcome) and against the tables of reasons in docs/spec, so that a new reason without a verdict fails here.
//
// The judges need modules that the product does not (Lua, CEL, kstatus, Flux), so they are a program of their own, hack/tools/healthjudge.
// Tests that need it skip where it is not built, and say so; "make health" runs them with EMS_HEALTHJUDGE=required.
package ecosystem
