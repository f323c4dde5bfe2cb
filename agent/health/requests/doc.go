// Package requests counts the requests that the sites of a server have logged since a moment.
//
// # Usage
//
// Folders finds the folders of the access logs in applicationHost.config, Begin notes where the logs end, and Count counts what
// came since. Cursors are plain JSON and can be kept over a restart.
//
// # Considerations
//
// IIS writes logs late: HTTP.sys keeps lines in a buffer of 64 KiB and writes it when it is full or about a minute old, so on a
// quiet site a request is counted a minute after it was served. It fills the file in blocks with zero bytes, which are taken
// for its end. What a line says of its time keeps requests from before the moment out, so a clock that is set back makes the
// count begin later. A file that is open has an old size in its folder; it is opened to see how long it is.
//
// Nothing before the moment is read, except the head of a file with the names of its fields. Each Count reads at most maxRead
// bytes of a folder and goes on there the next time. When the log begins a new file, the rest of the old one is read and then
// the new one. Files are followed by their names, whose numbers grow with time or count up; each way of naming (u_ex, u_extend,
// the older ex and extend) is followed on its own, so that old files of another setting hide nothing.
//
// The agent's own health checks are logged as well and not counted, where the log has the user agent, as it has by default.
//
// Only logs in the W3C format are found, one for each site. A server that writes one log for all sites, writes another format
// or none, has no log here; whoever asks then goes without.
package requests
