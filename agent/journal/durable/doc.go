// Package durable replaces files so that a crash at any moment leaves either the old or the new bytes, and holds the lock
// that keeps two processes from doing so at once.
//
// # Usage
//
// WriteFile writes a file of our own. For a file that others change as well, call WriteTemp, look at the target once
// more, then Replace and SyncDir. The FS interface is the seam at which tests stop the world between two of these
// steps; OS is the real one.
//
// # Considerations
//
// The new bytes stand in a file beside the target, because a rename is atomic only inside one volume. Its name is fixed,
// so that at most one is left behind by a crash, and the next write removes it.
//
// The Unix side copies owner and mode of the target. The Windows side uses ReplaceFileW, which keeps access control list,
// attributes and alternate streams; it compiles here and has not been run on Windows yet.
package durable
