// Package iistree writes the part of a Windows server's disk that IIS configuration lives in, in the real format, for
// tests and for the demonstration on machines without Windows.
//
// # Usage
//
// Write makes a tree; Config gives only the bytes of its applicationHost.config. The zero Options describe an Exchange
// front end with the sites "Default Web Site" and "Exchange Back End".
//
// # Considerations
//
// The files have what real ones have and what trips editors: a header comment with a sample <location> in it, a
// location for the empty path, mixed attribute spelling, character references, pools with and without autoStart. They are
// our own text, not a copy of anybody's server.
package iistree
