package fetch

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// maxAnswer is how much of an answer to a Delivery is read, and thrown away.
const maxAnswer = 64 << 10

// Delivery is a document that an endpoint is given.
type Delivery struct {
	// URL is absolute, with the scheme https.
	URL string
	// Body is sent as it is, by POST.
	Body []byte
	// ContentType, ContentEncoding and UserAgent are headers.
	ContentType, ContentEncoding, UserAgent string
	// Proxy is an HTTP proxy with the scheme http or https; nil for none.
	Proxy *url.URL
	// RootCAs are the roots for TLS to the host and the proxy; nil for the system's.
	RootCAs *x509.CertPool
	// Limits bounds the cost. Bytes and rates are those of bodies that come, and do not matter here.
	Limits Limits
}

// Send gives an endpoint one document. Any redirect is refused, because the document is meant for this endpoint and no other, and so
// is any answer but one of success (2xx), of which nothing is kept. The errors are of type *Error.
func Send(ctx context.Context, delivery Delivery) error {
	target, err := parseURL(delivery.URL)
	if err != nil {
		return sending(classify(ctx, ctx, err))
	}
	if target.Scheme != "https" {
		return sending((&Error{Class: InvalidURL, Reason: "the URL does not begin with https://", Next: "check the URL of the endpoint"}).withURL(target))
	}
	if err := checkProxy(delivery.Proxy); err != nil {
		return sending(err.withURL(target))
	}
	limits := delivery.Limits.withDefaults()
	limited, cancel := context.WithTimeout(ctx, limits.Total)
	defer cancel()
	if err := post(limited, target, delivery, limits); err != nil {
		return sending(classify(ctx, limited, err).withURL(target))
	}
	return nil
}

func post(ctx context.Context, target *url.URL, delivery Delivery, limits Limits) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(delivery.Body))
	if err != nil {
		return &Error{Class: InvalidURL, Reason: "no request can be made for the URL"}
	}
	for name, value := range map[string]string{
		"Content-Type": delivery.ContentType, "Content-Encoding": delivery.ContentEncoding, "User-Agent": delivery.UserAgent, "Accept-Encoding": "identity",
	} {
		if value != "" {
			request.Header.Set(name, value)
		}
	}
	transport := newTransport(Request{Proxy: delivery.Proxy, RootCAs: delivery.RootCAs}, limits)
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	switch {
	case answer.StatusCode >= 300 && answer.StatusCode < 400:
		return &Error{Class: Redirected, Status: answer.StatusCode, Reason: fmt.Sprintf("redirected with status %d, which is not followed", answer.StatusCode),
			Next: "check the URL; a captive portal or a proxy's log-in page also redirects"}
	case answer.StatusCode < 200 || answer.StatusCode >= 300:
		return &Error{Class: UnexpectedStatus, Status: answer.StatusCode, Reason: fmt.Sprintf("the host answered with status %d", answer.StatusCode),
			Next: "check the URL, and what the endpoint logs"}
	}
	// The status is what counts; a host that does not end its answer changes nothing.
	_, _ = io.CopyN(io.Discard, answer.Body, maxAnswer)
	return nil
}

// sending says that the error is about something that was to be sent.
func sending(err *Error) *Error {
	err.Sending = true
	return err
}
