// Package iis makes an IIS server match a list of mitigations: URL Rewrite rules in its configuration files, and
// application pools and services that are switched off.
//
// # Usage
//
// New opens a server by the root of its system drive and a folder for the agent's state. Reconcile is level-based: it
// takes everything that shall be on the server and gives one Outcome per mitigation. Applied says from the journal what
// is on the server now, with its full content, so that a caller can keep holding a mitigation whose document it no
// longer has. Facts describes the server. NewPreview opens a server on which a Reconcile changes nothing and says what it
// would have changed.
//
// # Considerations
//
// Every Reconcile takes all of ours out of the files and renders all that is wanted (package apphost), and writes only
// when the bytes differ: a global configuration change can rotate ASP.NET Core applications. Drift is repaired by the same
// way as the first installation.
//
// The order of a change is: pools and services are switched off (package switchoff), the journal is on the disk, the files
// are replaced, each in one step and then read back, what is no longer wanted off comes back. Switching off comes first
// because it is the step most likely to fail, and a mitigation of several actions is one unit: it fails before a file was
// touched. A crash between any two steps leaves the old or the new bytes of each file; the next New or Reconcile finds out
// which and goes on from there.
//
// A pool or a service that two mitigations switch off has one record with its state before the first of them, and comes back
// when the last one goes. While the files cannot be used, what is off is still kept off.
//
// Before a revision is applied the journal says so. An attempt that a new process finds there has ended the process before:
// what was under way is then tried one by one, and a revision with which that happens twice is taken back. Killing the
// process and a loss of power count as well, since nothing tells them from a crash.
//
// Rules go to applicationHost.config, or to the web.config of their site or path when the mitigation says so (Placement).
// Several files are one change: the journal holds the records of all of them before the first is written, and each record
// tells by hashes afterwards whether its file is the old one or the new one. A file that cannot be read or written keeps
// every mitigation with a part in it as it is, in all of its files, and leaves the others alone.
//
// Another program may save a copy of a file that it had read before a change, and so bring back what that change took out.
// The record of a file keeps the last 64 edits that are gone from it (1 MiB at most): elements of our names that are back with
// the content that we wrote are taken out again, with their wrappers. An element of such a name with other content is
// somebody else's and stays a NameCollision; settings of pools that come back this way are left alone, since anybody may
// have made them; and of a web.config that goes with us nothing is kept.
//
// A pass that finds everything in order remembers what it depended on: while size, time and number of these files, the
// journal's included, stay the same, the next pass reads none of them and only looks at pools and services. The memory is
// not trusted for files younger than the resolution of a file system's clock.
//
// A mitigation that is new or changed is put in place only if its samples come out as they have to (package samples) when
// its rules stand in the files, which is tried in memory together with what was chosen before it. One that is in place stays
// whatever its samples say; Effective tells of them.
//
// Effective says whether IIS would really run what stands in the files (package effective); a Reconcile does not depend on
// it, and nothing is changed for it. Of the folders below a target only those that are applications or virtual
// directories are searched for elements of the same name.
package iis
