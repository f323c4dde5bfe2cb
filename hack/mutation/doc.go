// Command mutation proves that the tests of the verifier notice when a step of the verification is missing.
//
// It takes each step of internal/xmlsig and internal/timestamp out, or weakens it, one at a time, and runs the tests of
// the package. Tests that fail have killed the mutant; a mutant that survives is a step that nobody would miss, which
// is how verifiers lose their checks.
//
// # Usage
//
//	make mutation
//	go run ./hack/mutation [-run REGEXP] [-parallel N] [-timeout DURATION] [-list]
//
// It prints one line per mutant with the test that killed it, and exits with 1 if a mutant survived, did not compile,
// or no longer fits the sources. The last is an ordinary test of this package too, so that a change of the verifier
// that leaves a mutant behind fails at once.
//
// # Considerations
//
// Nothing is written to the tree: the changed file is handed to the go command as an overlay. The mutants are a table
// and not made by rule, because only a person can say which step a line is and which two lines do the same on
// purpose. Steps that are done twice (depth by the pre-scan and by the tree, say) are taken out in both places.
//
// The quick tests must do (go test -short): comparisons with xmlsec1 and xmllint are left out, so that the proof does not
// rest on foreign programs.
//
// Continuous integration does not run it: every mutant needs a build and a test run, and 216 of them took
// nineteen minutes on two cores that were busy with other work. What it does run is the test of this package that every
// mutant still fits the sources. Run the whole after a change of the verifier; -run picks what is near the change. -timeout
// belongs to one test run, in which a mutant without limits may spend its time.
package main
