// Package samples judges on the server what a mitigation does to requests: those that its publisher signed with it, and those
// that must pass in the pool whatever is applied.
//
// # Usage
//
// Gate is for before a mitigation is applied: it compares the sites as they are with the sites as they would be. Check is for
// afterwards, on the sites as they are. Both are pure; package iis makes the sites out of the configuration files.
//
// # Considerations
//
// What blocks a request and what lets it pass is decided by rewrite.Result.Verdict alone. What it calls Unknown, and what
// cannot be evaluated at all, neither holds a mitigation back nor counts as protection: it is Undecided, and told.
//
// A mitigation may have rules for several sites, and a sample does not say which one it is meant for. One site that blocks a
// request which must be blocked is enough, as it is for the publisher's tools; a request that must pass has to pass them all.
package samples
