// Package rewrite evaluates inbound rules of the IIS URL Rewrite module for one request.
//
// # Usage
//
// ParseRules reads a <rules> or <globalRules> element into a RuleSet; RuleSet.Evaluate
// says what the rules do with a Request. SplitTarget makes a Request from a request
// target such as /owa/?a=b. CheckPattern tells whether IIS can use a pattern at all.
//
// # Considerations
//
// The package covers the part of the module that blocking rules use: the three pattern
// syntaxes, conditions on the request line and headers, {UrlDecode:} and {ToLower:}, and
// the actions AbortRequest, CustomResponse, Redirect and None. Everything else, such as
// Rewrite, back references, rewrite maps and file checks, gives an error that wraps
// ErrUnsupported and names the construct: a simulation that guesses would report a server
// as protected that is not.
//
// Where Microsoft's documentation leaves the meaning of an input open, the rules are
// evaluated under every plausible reading. If all readings end alike, that is the result;
// if they differ, the error wraps ErrUnsupported. The open points are the path part of
// {REQUEST_URI} (as sent, or decoded), whether {UrlDecode:} turns "+" into a blank, and
// what it does with text that is still encoded after one pass (the module's registry
// value UrlDecodeAllowsDoubleEncoding suggests that it fails by default).
//
// Patterns run on a backtracking ECMAScript engine, because Go's own regular expressions
// lack look-ahead, which real mitigations use; every match therefore has a time limit.
package rewrite
