// Package docs tests that the documents speak of what the code knows: every reason of a condition, of a decision and of a
// failure, and every field of the API, stands in the page of its kind; tables of kubectl have the columns of the CRD; links
// lead somewhere; every command does what its page says; and the tests that pages name are there.
//
// # Usage
//
//	go test ./test/docs -args -page docs/quickstart.md           # the commands of one page
//	go test ./test/docs -args -page docs/quickstart.md -update   # and write what they print into it
//	make quickstart                                              # the quick start, from a copy of this checkout, with the times
//
// # Considerations
//
// Reasons are read from the sources and not from the compiled packages: constants leave no trace in a program, and a list
// to be kept by hand would be what this package is against. That manifests in the documents are accepted by an API
// server is tested in test/api.
package docs
