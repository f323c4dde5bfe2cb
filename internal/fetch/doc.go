// Package fetch gets one document over HTTP from an endpoint that may be hostile, or gives it one.
//
// # Usage
//
// Get sends one request. Pass the ETag of the last Response to be told NotModified instead
// of getting the same bytes again, and a Wait to be told as soon as there are others, by
// hosts that offer it. Send posts a document to one endpoint and nowhere else. An *Error has a Class for conditions and metrics, and a text that
// says what to check next.
//
// # Considerations
//
// What is fetched is not trusted: the signature is verified by others. This package keeps
// the endpoint from costing more than a bounded amount of time and memory: every phase
// has a time limit, the body a size limit and a lowest rate, compressed answers are refused
// because a small one can unpack to gigabytes, redirects stay on the host and never leave
// TLS. HTTP/2 is not spoken: a request now and then gains nothing by it, and it has had many
// flaws that let a peer consume memory or processor time.
//
// Proxies come from the Request only. The environment variables HTTP_PROXY and so on are
// ignored on purpose, so that what is configured is what is used and shown.
//
// User information and query strings of URLs can hold secrets, so errors and FinalURL
// never repeat them.
package fetch
