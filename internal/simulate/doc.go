// Package simulate says what URL Rewrite rules do with requests before they stand on a server: with single requests, with the
// samples of a mitigation, and with everything in an access log.
//
// # Usage
//
// Rules gathers rules from a fragment, from the configuration files of a server and from a mitigation, and Compose makes the
// site that they act on. Ask evaluates one request, Replay a log, of which it gives a Summary. MitigationSites and
// CheckSamples are for a mitigation by itself: linting and signing use them. Package command has the flags and the output.
//
// # Considerations
//
// Nothing here runs on the server's IIS or asks for it; what package rewrite cannot know, the answers call Unknown.
//
// A log does not have everything of a request. Rules that look at a header that is not logged see it empty, so that a replay
// shows what would have been blocked by URL and query, and is no proof for rules about cookies or bodies.
package simulate
