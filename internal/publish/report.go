package publish

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/replay"
	"mitigation.dev/ems/internal/xmlsig"
)

// ClassContent is the class of a report on a document whose signature is good and whose content cannot be read.
const ClassContent = "content not acceptable"

// Policy says whom to believe.
type Policy struct {
	xmlsig.Policy

	// AcceptUndated takes documents that carry neither a sequence nor a counter-signature.
	AcceptUndated bool
}

// Report is what manager and agent would say of a document that they see first. Its JSON form is the output of
// "feed verify -o json"; fields are added, never renamed.
type Report struct {
	// File is the name of the file, where there is one.
	File  string `json:"file,omitempty"`
	Valid bool   `json:"valid"`
	// Class is a word for why it is not valid: an xmlsig.Class, ClassContent, or a replay.Reason.
	Class string `json:"class,omitempty"`
	// Reason is the exact message.
	Reason string `json:"reason,omitempty"`

	// What follows is there as soon as the signature is good, also if the document is refused for its content or date.

	// Digest is the identity of the document: SHA-256 of its canonical signed bytes, in hex.
	Digest   string        `json:"digest,omitempty"`
	Signer   *Certificate  `json:"signer,omitempty"`
	Chain    []Certificate `json:"chain,omitempty"`
	SignedAt *time.Time    `json:"signedAt,omitempty"`
	Notes    []string      `json:"notes,omitempty"`
	// Findings are what checks found that the policy only logs. The document is valid in spite of them.
	Findings []LoggedFinding `json:"findings,omitempty"`

	Version     string       `json:"version,omitempty"`
	Publisher   string       `json:"publisher,omitempty"`
	Sequence    int64        `json:"sequence,omitempty"`
	Issued      *time.Time   `json:"issued,omitempty"`
	Expires     *time.Time   `json:"expires,omitempty"`
	Mitigations []Mitigation `json:"mitigations,omitempty"`
	Refused     []Refusal    `json:"refused,omitempty"`
}

// Certificate is a certificate of the chain.
type Certificate struct {
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	Serial    string    `json:"serial"`
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
	// KeyPin is the hex SHA-256 of the public key (SubjectPublicKeyInfo), as issuerPins of a trust policy want it.
	KeyPin string `json:"keyPin"`
}

// LoggedFinding is why a document would be refused if a check were enforced that the policy only logs.
type LoggedFinding struct {
	// Check is the field of the policy's levels.
	Check string `json:"check"`
	// Class is the xmlsig.Class that the refusal would have.
	Class string `json:"class"`
	// Subject is the certificate, or the part of the document, that it is about.
	Subject string `json:"subject"`
	Reason  string `json:"reason"`
}

// Mitigation is an entry of the document.
type Mitigation struct {
	ID          string   `json:"id"`
	Revision    int64    `json:"revision"`
	Severity    string   `json:"severity,omitempty"`
	CVEs        []string `json:"cves,omitempty"`
	Description string   `json:"description"`
	Actions     []string `json:"actions"`
}

// Refusal is an entry that is refused alone.
type Refusal struct {
	ID      string `json:"id"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// Judge verifies a document, reads it and looks at its dates, in the order and with the code of the feed controller,
// as if nothing had been accepted before.
func Judge(document []byte, policy Policy, now time.Time) Report {
	signed, err := xmlsig.Verify(document, policy.Policy, now)
	if err != nil {
		r := Report{Reason: err.Error()}
		if refusal, ok := errors.AsType[*xmlsig.Error](err); ok {
			r.Class = string(refusal.Class)
		}
		return r
	}
	r := Report{Digest: hex.EncodeToString(signed.Digest[:]), SignedAt: moment(signed.SignedAt), Notes: signed.Notes}
	for _, f := range signed.Findings {
		r.Findings = append(r.Findings, LoggedFinding{Check: string(f.Check), Class: string(f.Class), Subject: f.Subject, Reason: f.Reason})
	}
	for _, c := range signed.Chain {
		r.Chain = append(r.Chain, describe(c))
	}
	signer := describe(signed.Signer)
	r.Signer = &signer
	parsed, err := ocs.Parse(signed.Canonical)
	if err != nil {
		r.Class, r.Reason = ClassContent, err.Error()
		return r
	}
	r.content(parsed)
	err = replay.Check(replay.Seen{}, replay.Candidate{
		Version: parsed.Version, Sequence: parsed.Sequence, Digest: r.Digest,
		SignedAt: signed.SignedAt, Issued: parsed.Issued, Expires: parsed.Expires,
	}, policy.AcceptUndated, now)
	if err != nil {
		r.Reason = err.Error()
		if refusal, ok := errors.AsType[*replay.Error](err); ok {
			r.Class = string(refusal.Reason)
		}
		return r
	}
	r.Valid = true
	return r
}

func (r *Report) content(d *ocs.Document) {
	r.Version, r.Publisher, r.Sequence = d.Version, d.Publisher, d.Sequence
	r.Issued, r.Expires = moment(d.Issued), moment(d.Expires)
	for _, c := range d.Configs {
		m := Mitigation{ID: c.ID, Revision: c.Revision, Severity: string(c.Severity), CVEs: c.CVEs, Description: c.Description}
		for _, a := range c.Actions {
			m.Actions = append(m.Actions, fmt.Sprintf("%s %s %s", a.ID, a.Type, orElse(a.Target, string(a.Scope))))
		}
		r.Mitigations = append(r.Mitigations, m)
	}
	for _, refused := range d.Refused {
		r.Refused = append(r.Refused, Refusal(refused))
	}
}

func describe(c *x509.Certificate) Certificate {
	pin := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return Certificate{
		Subject: c.Subject.String(), Issuer: c.Issuer.String(), Serial: fmt.Sprintf("%x", c.SerialNumber),
		NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC(), KeyPin: hex.EncodeToString(pin[:]),
	}
}

// Text returns the report for people, one fact a line. Foreign text is quoted, so that it cannot forge lines or steer a
// terminal.
func (r Report) Text() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	verdict := "valid"
	if !r.Valid {
		verdict = "refused"
	}
	if r.File != "" {
		fmt.Fprintf(&b, "%s: ", r.File)
	}
	fmt.Fprintln(&b, verdict)
	if !r.Valid {
		line("Class:", "%s", r.Class)
		line("Reason:", "%s", printable(r.Reason))
	}
	for i, c := range r.Chain {
		name := "Issued by:"
		if i == 0 {
			name = "Signer:"
		}
		line(name, "%q, valid %s to %s, key pin %s", c.Subject, stamp(c.NotBefore), stamp(c.NotAfter), c.KeyPin)
	}
	if r.SignedAt != nil {
		line("Signed at:", "%s, by the counter-signature", stamp(*r.SignedAt))
	}
	if r.Version != "" {
		line("Document:", "version %s, publisher %q, sequence %s", r.Version, r.Publisher, number(r.Sequence))
		line("Validity:", "issued %s, expires %s", optional(r.Issued), optional(r.Expires))
	}
	if r.Digest != "" {
		line("Digest:", "%s", r.Digest)
	}
	for _, m := range r.Mitigations {
		line("Mitigation:", "%s revision %d, %s, %q: %s", m.ID, m.Revision, orElse(m.Severity, "no severity"), m.Description, printable(strings.Join(m.Actions, ", ")))
	}
	for _, refused := range r.Refused {
		line("Left out:", "%q: %s: %s", refused.ID, refused.Reason, printable(refused.Message))
	}
	for _, f := range r.Findings {
		line("Logged:", "%s, refused once its level is Enforce: %s: %s", f.Check, printable(f.Subject), printable(f.Reason))
	}
	for _, note := range r.Notes {
		line("Note:", "%s", printable(note))
	}
	return b.String()
}

// printable replaces what steers a terminal, line ends included.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return ' '
		case r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069:
			return '?'
		}
		return r
	}, text)
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func optional(t *time.Time) string {
	if t == nil {
		return "not stated"
	}
	return stamp(*t)
}

func number(n int64) string {
	if n == 0 {
		return "not stated"
	}
	return fmt.Sprint(n)
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
