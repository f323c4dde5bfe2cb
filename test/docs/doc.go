// Package docs tests that the documents speak of what the code knows: every reason of a condition, of a decision and of a
// failure, and every field of the API, stands in the page of its kind; tables of kubectl have the columns of the CRD; and
// links lead somewhere.
//
// # Considerations
//
// Reasons are read from the sources and not from the compiled packages: constants leave no trace in a program, and a list
// to be kept by hand would be what this package is against. That manifests in the documents are accepted by an API
// server is tested in test/api.
package docs
