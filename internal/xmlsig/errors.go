package xmlsig

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Class says at which step a document was refused. Callers branch on it; people read the message.
type Class string

// The classes, in the order in which the steps are taken.
const (
	// ClassPolicy means that the policy itself cannot be used (no root): nothing was judged.
	ClassPolicy Class = "policy unusable"
	// ClassTooLarge means more bytes than MaxDocumentBytes.
	ClassTooLarge Class = "document too large"
	// ClassMalformed means that the document is not the XML that is accepted: not well-formed, not UTF-8,
	// with a DTD or a processing instruction, with content after the root.
	ClassMalformed Class = "malformed XML"
	// ClassLimit means that one of the limits of this package is exceeded.
	ClassLimit Class = "limit exceeded"
	// ClassShape means that elements or attributes of the Signature, or its place, are not those of the profile.
	ClassShape Class = "signature shape not accepted"
	// ClassAlgorithm means an algorithm outside the allow list.
	ClassAlgorithm Class = "algorithm not allowed"
	// ClassCertificate means that a certificate cannot be used at all: damaged, too large, weak key, wrong purpose.
	ClassCertificate Class = "certificate not acceptable"
	// ClassTimestamp means that the counter-signature contradicts the document.
	ClassTimestamp Class = "counter-signature not acceptable"
	// ClassUntrusted means that the signer does not satisfy the policy: chain, time, issuer pin, identity.
	ClassUntrusted Class = "signer not trusted"
	// ClassRevoked means that a certificate of the chain is revoked, or that the policy requires a current
	// revocation list and there is none.
	ClassRevoked Class = "signer revoked"
	// ClassSignature means that SignedInfo was not signed by the signer's key.
	ClassSignature Class = "signature invalid"
	// ClassDigest means that the content is not the content that was signed.
	ClassDigest Class = "digest mismatch"
)

// Error is the refusal of a document.
type Error struct {
	Class Class
	// Subject is the element, certificate or limit that caused the refusal. May be empty.
	Subject string
	// Line and Column (both from 1, columns in characters) say where; zero when not known.
	Line, Column int
	// Reason says why.
	Reason string
	// Err is the cause, nil where there is none beneath Reason.
	Err error
}

// Error returns "xml signature: class: subject (line, column): reason: cause".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("xml signature: ")
	b.WriteString(string(e.Class))
	if e.Subject != "" {
		b.WriteString(": " + e.Subject)
	}
	if e.Line > 0 {
		fmt.Fprintf(&b, " (line %d, column %d)", e.Line, e.Column)
	}
	if e.Reason != "" {
		b.WriteString(": " + e.Reason)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func refuse(class Class, subject, format string, args ...any) *Error {
	return &Error{Class: class, Subject: subject, Reason: fmt.Sprintf(format, args...)}
}

// position translates a byte offset to line and column. It is computed only for a refusal, so that an
// accepted document does not pay for it.
func position(document []byte, offset int) (line, column int) {
	offset = min(max(offset, 0), len(document))
	before := document[:offset]
	line = bytes.Count(before, []byte{'\n'}) + 1
	column = utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	return line, column
}

// shorten bounds foreign text in a message and quotes it.
func shorten(text string) string {
	if len(text) > maxIdentityBytes {
		cut := maxIdentityBytes
		for cut > 0 && !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut] + "..."
	}
	return fmt.Sprintf("%q", text)
}
