// Package journal keeps the agent's durable memory: small records on disk that say what was done to the server and how to
// undo it.
//
// # Usage
//
// A Store is a folder with one file per record. A record has a kind ("mitigation", "file", "pool"), a name and a body of
// the caller's type. Put is durable when it returns, so the caller puts a record before it makes the change that the
// record describes. Load reads all records of one kind.
//
// # Considerations
//
// One file per record, rather than one for everything, keeps damage to one mitigation and keeps writes small. Every
// record carries a checksum of its body: a torn or edited file is noticed, not believed. A damaged record is renamed,
// never deleted, and reported, because what it described is still on the server.
//
// The store knows nothing of IIS: the types of the bodies belong to the packages that write them. It does not lock
// either; its owner holds the lock of the state folder.
package journal
