// Package credential keeps the credential by which a server is known to the API server: on its disk, renewed in time, and in every
// request.
//
// # Usage
//
//	store := credential.Open(stateDir)
//	source, err := credential.NewSource(credential.Options{Store: store, Clock: clock.RealClock{}, Log: log})
//	connection, err := cluster.ConnectConfig(source.Config())
//	err = source.Run(ctx) // renews, until the context ends
//
// # Considerations
//
// A token lasts a day, or as long as the operator allows the server, and is renewed at half of its life, give or take a tenth, so that
// servers that were enrolled together do not come together. Its life is counted from when this server received it: a clock that is
// wrong by hours does no harm. Whoever is away for less than the other half notices nothing.
//
// A server that was enrolled for client certificates has one in place of the token, for a key of its own, and asks for another between
// 70 and 90 % of its life, by a request that the manager approves. Connections show the present one; they are closed when there is
// another. Applicant is the asking side, which enrolment uses as well. See docs/decisions/0011.
//
// The certificates that the API server has to chain to are those of the enrolment, until the cluster names others that the API server which
// is trusted already chains to as well: so an authority that changes by overlap is followed without a restart, and one that changes at
// once is refused, like anybody else's.
//
// What the API server refuses is looked up on the disk first, where "ems-agent enroll" may have put a newer credential; then one
// renewal is tried at once, since API servers also refuse what they cannot check at the moment. A credential that has ended or was
// taken back stays refused; the log says what to do, and the server keeps protecting with what it has.
//
// On the disk the credential stands in a folder that only administrators and the system can read, on Windows sealed by DPAPI for this
// machine as well, so that a copy of the disk or a backup is no credential. Whoever is administrator of the server can use it: it is
// good for nothing but this server's own reports.
//
// The token is put into requests to the API server that the server was enrolled to and into no others: a redirection elsewhere gets
// none. An open watch is not ended by the API server when the token is taken back.
package credential
