package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// Class is the kind of a failure, in CamelCase for conditions and metric labels.
type Class string

// The classes of an Error.
const (
	// InvalidURL means that the URL or the proxy's URL cannot be used.
	InvalidURL Class = "InvalidURL"
	// Unreachable means that no connection came about, or that it broke.
	Unreachable Class = "Unreachable"
	// TLS means that the connection could not be secured.
	TLS Class = "TLS"
	// TimedOut means that a time limit passed.
	TimedOut Class = "TimedOut"
	// Canceled means that the caller's context was canceled.
	Canceled Class = "Canceled"
	// Redirected means a redirect that is not followed.
	Redirected Class = "Redirected"
	// UnexpectedStatus means an answer other than 200, or 304 when it was asked for.
	UnexpectedStatus Class = "UnexpectedStatus"
	// TooLarge means a body beyond the limit.
	TooLarge Class = "TooLarge"
	// UnexpectedEncoding means a compressed body although none was asked for.
	UnexpectedEncoding Class = "UnexpectedEncoding"
)

// Error is what every failed Get and Send returns.
type Error struct {
	Class Class
	// URL is the address that failed, without user information and query.
	URL string
	// Status is the HTTP status, 0 if there was no answer.
	Status int
	// Reason says what happened.
	Reason string
	// Next says what to check.
	Next string
	// Err is the cause, nil if the answer itself is the cause.
	Err error
	// Sending says that something was to be sent, not fetched.
	Sending bool
}

// Error implements error.
func (e *Error) Error() string {
	doing := "fetching"
	if e.Sending {
		doing = "sending to"
	}
	text := fmt.Sprintf("%s %q: %s", doing, e.URL, e.Reason)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	if e.Next != "" {
		text += " (" + e.Next + ")"
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// classify finds the class of an error that the transport or a body returned. ctx is the
// context of the request, parent the caller's.
func classify(parent, ctx context.Context, err error) *Error {
	// The outer error repeats the URL, which can hold secrets.
	for outer, ok := errors.AsType[*url.Error](err); ok; outer, ok = errors.AsType[*url.Error](err) {
		err = outer.Err
	}
	if own, ok := errors.AsType[*Error](err); ok {
		return own
	}
	if own, ok := errors.AsType[*Error](context.Cause(ctx)); ok {
		return own
	}
	var netError net.Error
	switch {
	case errors.Is(parent.Err(), context.Canceled):
		return &Error{Class: Canceled, Reason: "canceled", Err: parent.Err()}
	case errors.As(err, &netError) && netError.Timeout() || ctx.Err() != nil:
		return &Error{Class: TimedOut, Reason: "no complete answer in time", Err: err,
			Next: "check that the host answers from here, and that no firewall drops the packets"}
	case isTLS(err):
		return &Error{Class: TLS, Reason: "TLS failed", Err: err,
			Next: "check the certificate and its name, the configured roots, the clock, and that no device inspects TLS in between"}
	}
	return &Error{Class: Unreachable, Reason: "no connection, or it broke", Err: err,
		Next: "check the name resolution, the firewall, and whether a proxy is needed"}
}

func isTLS(err error) bool {
	var (
		verification *tls.CertificateVerificationError
		record       tls.RecordHeaderError
		alert        tls.AlertError
		authority    x509.UnknownAuthorityError
		name         x509.HostnameError
		invalid      x509.CertificateInvalidError
		remote       *net.OpError
	)
	return errors.Is(err, http.ErrSchemeMismatch) || errors.As(err, &verification) || errors.As(err, &record) || errors.As(err, &alert) ||
		errors.As(err, &authority) || errors.As(err, &name) || errors.As(err, &invalid) ||
		errors.As(err, &remote) && (remote.Op == "remote error" || remote.Op == "local error")
}

// withURL fills in the address.
func (e *Error) withURL(u *url.URL) *Error {
	if e.URL == "" {
		e.URL = redacted(u)
	}
	return e
}

// redacted is a URL without user information, query and fragment.
func redacted(u *url.URL) string {
	return shorten((&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String())
}

// shownLength is how much of a foreign text messages repeat.
const shownLength = 256

func shorten(s string) string {
	if len(s) <= shownLength {
		return s
	}
	return strings.ToValidUTF8(s[:shownLength], "") + "..."
}
