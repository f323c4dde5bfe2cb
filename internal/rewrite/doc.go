// Package rewrite evaluates the rules of the IIS URL Rewrite module (versions 2.0 and 2.1)
// for requests and responses, as IIS would.
//
// # Usage
//
// Parse reads a <rewrite> element, or one of its sections, into a Configuration. NewSite
// composes the configurations of a server, of a site and of its folders, each a Level, and
// applies inheritance. Site.Evaluate says what the rules do with a Request, Site.Trace says
// why, rule by rule and condition by condition, and Site.EvaluateResponse applies the
// outbound rules. A Site is immutable and may be used by any number of goroutines.
//
// ServerLevels and FolderLevels read whole configuration files into levels. Package accesslog
// reads requests from logs.
//
// Problems lists what will fail when a request comes: bad patterns, back references that
// cannot exist, rewrite maps that nobody defines, server variables that nobody allowed.
// CheckPattern tells the same about a pattern alone.
//
// # Errors
//
// What IIS refuses when it reads the configuration is a *FaultError with status 500.19, returned
// by Parse. Where it hits only a part of a site, as a name that a folder inherits and uses
// again, requests to that part get the Outcome Error. What fails when a request reaches a rule
// is the Outcome Error with 500.50 (rules), 500.51 (globalRules), 500.52 or 500.53 (outbound)
// and the element at fault. Errors of Go are only for what this package cannot know, which
// wraps ErrUnsupported, requests that never reach the module (ErrInvalidRequest), and patterns
// that ran into their limit (ErrTooExpensive).
//
// # Considerations
//
// Microsoft's documents contradict each other in places and are silent in others. Each such
// place is an OpenPoint; docs/reference/rewrite-semantics.md has the answer taken and its
// source. When a request raises such a question, it is evaluated with the other answer as
// well; if the results differ, Result.Uncertain names the points, and Result.Verdict says
// Unknown if they decide whether the request is blocked. Whoever reports a server as
// protected has to ask for the Verdict: a guess must never do.
//
// Patterns run on a backtracking ECMAScript engine, because Go's own regular expressions
// lack look-ahead, which real mitigations use. IIS has the ECMAScript grammar of the
// Microsoft C++ library: look-behind, named groups, inline options and property classes are
// refused as it would refuse them. Every match has a time limit. Before the engine runs,
// the input is searched for a text without which the pattern cannot match.
//
// Not modelled: rewrite providers (code of third parties; a rule that uses one is an error),
// the sections in other files that configSource names, Request Filtering, which acts between
// global rules and the rules of a site, locks, and caching.
package rewrite
