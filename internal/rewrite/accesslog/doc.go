// Package accesslog reads the access logs of IIS, to see what rules would do with requests
// that have been served.
//
// # Usage
//
// NewReader takes a log in the W3C extended format, in the older IIS format, or a plain list
// of requests, one per line. Next returns one Entry after the other, Entry.Request what the
// rules see of it. Errors that wrap ErrMalformed concern one line; the next call goes on after
// it. Offset tells how much has been read, for a progress bar.
//
// # Considerations
//
// A log is read line by line and never held in memory; a line has a limit. The fields of the
// W3C format are those that #Fields names, which may change within a file. HTTP.sys writes
// logs in blocks and fills the last one with zero bytes, which are skipped.
//
// A log does not have all of a request, so that a replay is an estimate:
//   - The path is logged decoded, with "+" for a blank. What looks like an escape is taken for
//     one, and "+" for itself, because names with a plus sign are as common as names with a
//     blank, and no known rule tells them apart.
//   - The query is logged as sent.
//   - In header values "+" stands for a blank; a real plus sign is lost.
//   - Only headers that the administrator has chosen are there, and of the body nothing is.
//   - A request that came to port 443 is taken for one by HTTPS.
package accesslog
