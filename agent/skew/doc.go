// Package skew compares the server's clock with that of the API server, by the Date header of its answers.
//
// # Usage
//
//	m := skew.New(clock.RealClock{})
//	config.Wrap(m.Wrap)
//	told := m.Told() // after any answer; no request is made for this
//
// # Considerations
//
// The header has whole seconds, and was written at some time between the request and the answer. So an answer gives a range; only
// one that came within two seconds is looked at, and only what is certain counts: the clock is wrong when the whole range is beyond
// five seconds, and right again when the whole range is within four. What was told stays until it is off by two seconds, since
// each change is a write to the cluster.
//
// NTP would be more exact, and one more thing that has to get through a firewall. The range is good enough: what hangs on the
// clock are ends of documents, certificates and exceptions.
//
// A wrong clock is reported and nothing else. It may be the API server's that is wrong.
package skew
