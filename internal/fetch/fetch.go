package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Defaults of Limits.
const (
	// DefaultDialTimeout bounds name resolution and the TCP connection.
	DefaultDialTimeout = 5 * time.Second
	// DefaultTLSTimeout bounds the TLS handshake.
	DefaultTLSTimeout = 5 * time.Second
	// DefaultHeaderTimeout bounds the wait from the request to the answer's headers.
	DefaultHeaderTimeout = 10 * time.Second
	// DefaultTotalTimeout bounds everything together, redirects included.
	DefaultTotalTimeout = 60 * time.Second
	// DefaultMaxBytes bounds the body: the largest document that the format allows.
	DefaultMaxBytes = 1 << 20
	// DefaultMinRate is the lowest average rate of the body, in bytes a second. The slowest lines that anybody still runs
	// (ISDN, GPRS) bring several times that, and a document of the usual 6 KiB takes as long as the grace period.
	DefaultMinRate = 512
	// DefaultRateGrace is how long the body may take whatever its rate, for lines that start slowly.
	DefaultRateGrace = 10 * time.Second
)

const (
	// maxRedirects is how many redirects are followed. One for a moved path and one to
	// TLS are usual; the third is spare.
	maxRedirects = 3
	// maxHeaderBytes bounds the headers of an answer. Real ones have less than 2 KiB.
	maxHeaderBytes = 64 << 10
	// maxETagLength is the longest entity tag that is kept and sent back. Real ones have
	// less than 100 bytes, and a feed's status has to hold it.
	maxETagLength = 256
	// maxURLLength bounds URLs, also those of redirects.
	maxURLLength = 4096
)

// Limits bounds what a request may cost. Fields that are zero or negative have the
// defaults above.
type Limits struct {
	// Dial bounds name resolution and connection.
	Dial time.Duration
	// TLS bounds the handshake.
	TLS time.Duration
	// Headers bounds the wait for the headers of an answer.
	Headers time.Duration
	// Total bounds the whole request up to the last byte of the body.
	Total time.Duration
	// Bytes bounds the body.
	Bytes int64
	// Rate is the lowest average rate, in bytes a second from the answer's headers on. A host that sends a byte now and then
	// is cut after the grace period and need not be waited for until Total.
	Rate int64
	// RateGrace is how long the body may take whatever its rate.
	RateGrace time.Duration
}

func (l Limits) withDefaults() Limits {
	orDefault(&l.Dial, DefaultDialTimeout)
	orDefault(&l.TLS, DefaultTLSTimeout)
	orDefault(&l.Headers, DefaultHeaderTimeout)
	orDefault(&l.Total, DefaultTotalTimeout)
	orDefault(&l.Bytes, DefaultMaxBytes)
	orDefault(&l.Rate, DefaultMinRate)
	orDefault(&l.RateGrace, DefaultRateGrace)
	return l
}

func orDefault[T time.Duration | int64](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// Request says what to get and how.
type Request struct {
	// URL is absolute, with the scheme http or https.
	URL string
	// ETag is that of the Response whose body the caller still has; empty for none.
	ETag string
	// Proxy is an HTTP proxy with the scheme http or https; nil for none.
	Proxy *url.URL
	// RootCAs are the roots for TLS to the host and the proxy; nil for the system's.
	RootCAs *x509.CertPool
	// Wait asks the host to hold the request until the document changes, for this long at most (long polling: the
	// preference "wait" of RFC 7240). Limits.Headers and Limits.Total are longer by it. It goes with ETag, in whole seconds up
	// to MaxWait; zero to be answered at once. A host that does not know it answers at once.
	Wait time.Duration
	// Limits bounds the cost.
	Limits Limits
}

// Response is a document, or the news that it has not changed.
type Response struct {
	// Body is nil when NotModified.
	Body []byte
	// ETag goes into the next Request; empty if the host sent none that can be used.
	ETag string
	// NotModified says that the document is still the one of the Request's ETag.
	NotModified bool
	// Waits says that the host honoured the Request's Wait. It may have waited for less.
	Waits bool
	// Took is the time from the start to the last byte.
	Took time.Duration
	// FinalURL is the address that answered, without user information and query.
	FinalURL string
}

// Get fetches one document. The errors are of type *Error; its cause is context.Canceled
// when ctx was canceled.
func Get(ctx context.Context, request Request) (*Response, error) {
	start := time.Now()
	target, err := parseURL(request.URL)
	if err != nil {
		return nil, err
	}
	if err := checkProxy(request.Proxy); err != nil {
		return nil, err.withURL(target)
	}
	limits := request.Limits.withDefaults()
	_, wait := preferWait(request)
	limits.Headers, limits.Total = limits.Headers+wait, limits.Total+wait
	timed, release := context.WithTimeout(ctx, limits.Total)
	defer release()
	limited, cancel := context.WithCancelCause(timed)
	defer cancel(nil)

	transport := newTransport(request, limits)
	defer transport.CloseIdleConnections()
	client := &http.Client{
		Transport: transport,
		// Redirects are followed here, where each can be judged before it is requested.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for redirects := 0; ; redirects++ {
		response, next, err := visit(limited, cancel, client, target, request, redirects, limits)
		switch {
		case err != nil:
			return nil, classify(ctx, limited, err).withURL(target)
		case next == nil:
			response.FinalURL = redacted(target)
			response.Took = time.Since(start)
			return response, nil
		}
		target = next
	}
}

// visit requests one address and returns the document or where the host redirects to. cancel ends the request with a cause.
func visit(ctx context.Context, cancel context.CancelCauseFunc, client *http.Client, target *url.URL, wanted Request, redirects int, limits Limits) (*Response, *url.URL, error) {
	request, err := newRequest(ctx, target, wanted)
	if err != nil {
		return nil, nil, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		next, err := redirectTarget(answer.StatusCode, answer.Header.Get("Location"), target, redirects)
		return nil, next, err
	}
	body := newPacedReader(answer.Body, limits.Rate, limits.RateGrace, cancel)
	defer body.stop()
	response, err := read(answer, body, wanted.ETag, limits)
	if err != nil {
		return nil, nil, err
	}
	response.Waits = request.Header.Get("Prefer") != "" && appliedWait(answer.Header.Values("Preference-Applied"))
	return response, nil, nil
}

func newTransport(request Request, limits Limits) *http.Transport {
	transport := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: limits.Dial}).DialContext,
		TLSHandshakeTimeout:    limits.TLS,
		TLSClientConfig:        &tls.Config{RootCAs: request.RootCAs, MinVersion: tls.VersionTLS12},
		ResponseHeaderTimeout:  limits.Headers,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DisableCompression:     true,
		DisableKeepAlives:      true,
		OnProxyConnectResponse: func(_ context.Context, _ *url.URL, _ *http.Request, answer *http.Response) error {
			if answer.StatusCode == http.StatusOK {
				return nil
			}
			return &Error{Class: UnexpectedStatus, Status: answer.StatusCode, Reason: fmt.Sprintf("the proxy answered with status %d", answer.StatusCode),
				Next: "check that the proxy allows connections to the host, and its credentials"}
		},
	}
	if request.Proxy != nil {
		transport.Proxy = http.ProxyURL(request.Proxy)
	}
	return transport
}

func newRequest(ctx context.Context, target *url.URL, wanted Request) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, &Error{Class: InvalidURL, Reason: "no request can be made for the URL"}
	}
	request.Header.Set("Accept", "application/xml, text/xml;q=0.9, */*;q=0.1")
	request.Header.Set("Accept-Encoding", "identity")
	request.Header.Set("User-Agent", "ems-feed/1")
	if isETag(wanted.ETag) {
		request.Header.Set("If-None-Match", wanted.ETag)
	}
	if preference, _ := preferWait(wanted); preference != "" {
		request.Header.Set("Prefer", preference)
	}
	return request, nil
}

// read judges an answer that is no redirect, and reads its body.
func read(answer *http.Response, content io.Reader, etag string, limits Limits) (*Response, error) {
	response := &Response{}
	if tag := answer.Header.Get("ETag"); isETag(tag) {
		response.ETag = tag
	}
	if answer.StatusCode == http.StatusNotModified && isETag(etag) {
		if response.ETag == "" {
			response.ETag = etag
		}
		response.NotModified = true
		return response, nil
	}
	if answer.StatusCode != http.StatusOK {
		return nil, &Error{Class: UnexpectedStatus, Status: answer.StatusCode,
			Reason: fmt.Sprintf("the host answered with status %d", answer.StatusCode), Next: adviceFor(answer.StatusCode)}
	}
	for _, encoding := range answer.Header.Values("Content-Encoding") {
		if encoding != "" && !strings.EqualFold(strings.TrimSpace(encoding), "identity") {
			return nil, &Error{Class: UnexpectedEncoding, Status: answer.StatusCode, Reason: fmt.Sprintf("the body has the encoding %q although none was asked for", shorten(encoding)),
				Next: "check that no proxy compresses, or switch compression off for this address on the host"}
		}
	}
	tooLarge := &Error{Class: TooLarge, Status: answer.StatusCode, Reason: fmt.Sprintf("the body has more than %d bytes", limits.Bytes),
		Next: "check that the address is that of a feed; documents are never larger"}
	if answer.ContentLength > limits.Bytes {
		return nil, tooLarge
	}
	body, err := io.ReadAll(io.LimitReader(content, limits.Bytes+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > limits.Bytes {
		return nil, tooLarge
	}
	response.Body = body
	return response, nil
}

func adviceFor(status int) string {
	switch {
	case status == http.StatusProxyAuthRequired:
		return "check the credentials of the proxy"
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return "check whether the host or a proxy blocks this network; feeds need no credentials"
	case status == http.StatusNotFound || status == http.StatusGone:
		return "check the path of the URL"
	case status == http.StatusTooManyRequests:
		return "check the interval of the feed, and how many clients share the address"
	case status >= http.StatusInternalServerError:
		return "the fault is the host's or a proxy's; it is tried again at the next interval"
	}
	return "check that the address is that of a feed"
}

// redirectTarget judges a redirect and returns where it leads.
func redirectTarget(status int, location string, from *url.URL, redirects int) (*url.URL, error) {
	refuse := func(reason string) (*url.URL, error) {
		return nil, &Error{Class: Redirected, Status: status, Reason: reason,
			Next: "check the URL; a captive portal or a proxy's log-in page also redirects"}
	}
	if location == "" || len(location) > maxURLLength {
		return refuse("redirected without an address that can be used")
	}
	to, err := from.Parse(location)
	if err != nil || to.Host == "" {
		return refuse("redirected without an address that can be used")
	}
	if from.Scheme == "https" && to.Scheme != "https" || to.Scheme != "https" && to.Scheme != "http" {
		return refuse(fmt.Sprintf("redirected to %q, which has no TLS", redacted(to)))
	}
	if !sameHost(from, to) {
		return refuse(fmt.Sprintf("redirected to another host, %q", redacted(to)))
	}
	if redirects >= maxRedirects {
		return refuse(fmt.Sprintf("redirected more than %d times", maxRedirects))
	}
	to.User = from.User
	return to, nil
}

// sameHost compares names and ports. The step from http to https on the default ports
// stays on the host.
func sameHost(from, to *url.URL) bool {
	if !strings.EqualFold(from.Hostname(), to.Hostname()) {
		return false
	}
	return port(from) == port(to) || port(from) == "80" && from.Scheme == "http" && port(to) == "443" && to.Scheme == "https"
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// parseURL checks the address. Its errors never repeat it: what does not parse may have a
// password anywhere.
func parseURL(text string) (*url.URL, error) {
	invalid := func(reason string) (*url.URL, error) {
		return nil, &Error{Class: InvalidURL, URL: "(invalid)", Reason: reason, Next: "check the URL"}
	}
	if len(text) > maxURLLength {
		return invalid(fmt.Sprintf("the URL has more than %d characters", maxURLLength))
	}
	u, err := url.Parse(text)
	if err != nil {
		return invalid("the URL cannot be parsed")
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return invalid("the URL does not begin with http:// or https://")
	}
	if u.Hostname() == "" {
		return invalid("the URL names no host")
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

func checkProxy(proxy *url.URL) *Error {
	if proxy == nil || (proxy.Scheme == "http" || proxy.Scheme == "https") && proxy.Hostname() != "" {
		return nil
	}
	return &Error{Class: InvalidURL, Reason: "the proxy's URL does not have the form http://host:port",
		Next: "check the proxy setting", Err: errors.New("unusable proxy")}
}

// isETag reports whether an entity tag can be kept and sent back: visible ASCII only.
func isETag(tag string) bool {
	return tag != "" && len(tag) <= maxETagLength &&
		!strings.ContainsFunc(tag, func(r rune) bool { return r <= ' ' || r > '~' })
}
