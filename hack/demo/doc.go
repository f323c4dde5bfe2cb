// Command demo runs the whole system on this machine and tells its story: a signed document arrives, is verified,
// becomes mitigations, servers apply them, an operator blocks one, the publisher withdraws them.
//
// # Usage
//
//	make demo                        # tell the story, then leave everything running until Ctrl-C
//	make demo ONCE=1                 # check every step, stop, and exit with 1 if one does not hold
//	make demo FEED_DOCUMENT=path     # serve this signed document instead of a fresh one
//	make playground                  # tell no story: leave a fleet running for docs/quickstart.md
//
// The variables are also flags: -once, -feed-document, -feed-trust; the last one is -playground.
//
// # Considerations
//
// Everything is real but IIS: the API server, the manager, the agents and the signatures. The servers are the
// configuration files of IIS in their real format; a stand-in for IIS serves their sites over HTTP, by the rules that stand in
// these files, with the project's own evaluator of URL Rewrite rules.
//
// A given document is judged by the trust policy of a MitigationFeed manifest, by default that of the sample for Microsoft's
// feed for Exchange Server. Taking trust anchors from the document itself would prove nothing.
package main
