// Package logfile writes a log as text into files of a folder, which it keeps small: for administrators of a Windows
// server, who look for the log of a service in a folder.
//
// # Usage
//
//	f, err := logfile.Open(logfile.Options{Dir: dir, Name: "ems-agent"})
//	defer f.Close()
//	log := logr.New(logfile.Tee(console.GetSink(), f.Sink()))
//
// A line is one of the form that the emergency mitigation service of Exchange writes, with the time before it:
//
//	2026-05-14T16:00:00.123Z,documents,S:LogLevel=Information;S:Message=Accepted document;S:feed=contoso;S:sequence=42
//
// The levels are Information, Warning, Error and Debug. In a value, "\" stands before ";" and "\", and line ends and other
// control characters are written as \n, \r, \t or \u0001: a line is one record, whatever a document or a server says.
//
// # Considerations
//
// A new file begins every day (UTC), and when one has reached its size. The oldest are deleted when they are too old or all
// together too large.
//
// Writing never waits for the disk: lines go through a queue, and what does not fit is counted and told of in the log once
// it works again. A disk that is full or gone costs lines and nothing else. A file that is opened by somebody else, or
// deleted, does no harm either; every line is written at once, so that one can follow it.
package logfile
