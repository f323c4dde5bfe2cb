// Package health looks at how a server does: whether its sites are started and its application pools up, and whether it
// answers what its pool asks of it.
//
// # Usage
//
// New makes a Checker. Baseline is for the moment before a mitigation is put in place, Look for afterwards, Worse compares the
// two. Package gate makes a verdict of them, and package requests counts what was served meanwhile.
//
// # Considerations
//
// Nothing leaves the server. Requests and connections go to the addresses of bindings for the port, as far as they are the
// server's own, and to the loopback addresses where there are none. There is no proxy, no redirect is followed, no cookie, user name or ticket is
// sent, and the answer is read up to a limit and never quoted.
//
// The certificate of an answer over TLS is judged when the check names a host: it must bear that name, and its chain must end
// at a root that the machine trusts. A company's own authority has to be among the trusted roots of the computer account,
// where a directory service usually puts it. For a farm certificate that nobody signed there are two ways: to put it there as
// well, or to leave the host out, and with it every look at the certificate.
//
// All checks run at the same time, each with CheckTimeout, and a look ends after LookTimeout whatever hangs. What could not be
// asked is Unknown; what does not answer is bad. A check that hangs beyond the end of its look, as a query of a service can, is
// not begun anew before it has come back.
//
// An application that takes longer than CheckTimeout to start fails the first look after a change that restarts it; the gate
// looks again before it believes that. A check should therefore ask for something that answers soon.
package health
