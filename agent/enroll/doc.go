// Package enroll makes a server one of its pool: it exchanges the one-use token of an enrolment string for a credential of the server's own.
//
// # Usage
//
//	result, err := enroll.Run(ctx, enroll.Options{Text: text, StateDir: stateDir, HostName: "fe01"})
//
// # Considerations
//
// The order of the steps is what makes a crash, a lost answer or a full disk harmless: ask for the token, try it, store it, and only
// then delete the Secret that the string hangs on. Until that is gone the same string works again; once it is gone it works nowhere, and
// on this server says that all is done.
//
// Whether that credential is a token or a client certificate, the string says.
//
// If the Secret turns out to be gone although nobody here deleted it, somebody else used the string, or an operator took it back: then
// nothing is kept, and the operator has to look.
//
// The API server is reached under the certificates in the string and no others, so that neither the system's store nor a proxy can
// let somebody else take its place.
package enroll
