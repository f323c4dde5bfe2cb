// Package local is the agent without a cluster, for a single server or one behind an air gap: it brings a signed document
// that was carried to the server into place, says what is there, and takes it away again.
//
// # Usage
//
//	report := local.Apply(ctx, local.Options{Document: "mitigations.xml", TrustFile: "trust.yaml", IISRoot: `C:\`, StateDir: dir})
//	report.WriteText(os.Stdout)
//	os.Exit(report.ExitCode())
//
// Diff says what Apply would change, Status what is in place, Revert takes everything away, or what Only names.
// docs/guides/single-server.md shows the program on top, ems-agent local.
//
// # Considerations
//
// Nothing is judged here that the agent in a pool would judge otherwise: the document goes through package documents, with
// the same memory against replayed ones, a plan for it is made as a manager without any policy would make it, package
// enforce decides, and package iis does the work with its journal. Revert needs the journal and nothing else.
//
// Apply looks at the sites and application pools before and afterwards. What made one of them stop is taken back, the last
// mitigation first, and the report says GateFailed. There is no waiting time; a second look a second later confirms the
// first.
//
// What only looks (Diff, Status, and the others with DryRun) goes the same way on a shadow of the server, so that it cannot
// promise what would not happen. It does not accept the document either.
//
// Apply and Revert refuse to work beside an agent that runs on the same state folder. It would undo in its next pass
// what was done here.
package local
