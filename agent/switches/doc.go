// Package switches keeps what the people in charge of a server said on the server itself: a kill switch, blocks of single
// mitigations, and a request to look at everything anew. It works without a cluster, and whatever the cluster says.
//
// # Usage
//
//	file := switches.Open(stateDir)
//	err := file.Change(func(s *switches.Switches) error { return s.Throw(use) })
//	s, err := file.Read()
//	if use, on := s.Kill(); on { ... }
//	if b, ok := s.Blocks("M1", time.Now()); ok { ... }
//
// # Considerations
//
// Everything stands in one small JSON file, which is replaced as a whole: a reader sees the state before or the state after.
// Changes are made one at a time, under a lock that is not the agent's, so that they are possible while it runs. The agent
// compares the file once a second; a notification of the file system would not be reliable everywhere, and a file of a few
// hundred bytes costs nothing to look at.
//
// A file that is damaged, too large, or from a newer version is an error and never "nothing is switched". A copy beside it holds
// the switches as they last were, and counts until somebody has looked; it is written after the file, so that a crash in between
// leaves the file whole. Without a copy that can be believed the agent puts nothing in place, and takes away what the cluster
// takes away: the kill switch of the cluster does not depend on a file of the server. The one thing that can be done to a damaged
// file is to throw the kill switch, which sets it aside: who needs it has no time for repairs.
//
// Who can write to the folder decides what is on the server. Where the system has such rights, a folder or a file that others
// than its owner can write is refused as if it were damaged; on Windows, the installation of the service gives the folder to
// administrators and the system alone.
package switches
