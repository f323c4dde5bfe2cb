// Package control says what the agent needs of a server beside its configuration files: to look at sites, application pools
// and Windows services, and to start and to stop the latter two.
//
// # Usage
//
// PoolController and ServiceController are implemented by packages appcmd and scm on Windows, and by package standin in
// files, for machines without Windows. Package switchoff uses them. Lister lists what runs, for package health;
// packages appcmd and standin implement it. Errors are told apart with errors.Is.
//
// # Considerations
//
// The interfaces are as narrow as the real interfaces below them allow, and a call does one thing: what to do in which
// order, waiting, trying again and remembering what was there before are the same for every driver and stand in package
// switchoff.
package control
