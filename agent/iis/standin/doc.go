// Package standin stands in for the application pools and services of a Windows server on machines without Windows: for
// tests, for the demonstration, and for trying EMS out.
//
// # Usage
//
// NewPools and NewServices make controllers for a tree as package test/iistree writes it. Their states are kept in files
// of that tree, which other processes may read and write too. Pools also lists the sites, whose states SetSite sets. Reboot
// does what a start of the server does.
//
// # Considerations
//
// The stand-ins refuse what the real services refuse: to start what runs, to stop what does not, an unknown name, a
// service that is disabled, a service on which others depend that run. They reach every state at once; what takes its
// time is tested with fakes of package control.
package standin
