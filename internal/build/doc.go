// Package build reads and compares product build numbers such as 15.2.2562.43.
//
// # Usage
//
// Parse turns the text that a server or a document states into a Number; Compare
// orders two of them; Branch gives the release branch, so that a build is only ever
// judged against the fixed build of its own branch.
//
// # Considerations
//
// A build number is four numbers, compared part by part. Joining the parts to one
// number was rejected: 15.2.986.36 and 15.02.0986.036 are the same build, and parts of
// up to ten digits do not fit side by side. Leading zeros are accepted because published
// lists of fixed builds use them; String never writes them.
package build
