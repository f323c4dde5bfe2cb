package xmlsig

import "fmt"

// Check names a check of the signer whose level a policy can set. All other steps always refuse: without them nothing would
// say whose content it is.
type Check string

// The checks that have a level, by the names of their fields in a trust policy.
const (
	// CheckIssuerPins compares the issuer of the leaf with Policy.IssuerPins.
	CheckIssuerPins Check = "issuerPins"
	// CheckSubject compares the leaf with Policy.Organization and Policy.CommonName.
	CheckSubject Check = "subject"
	// CheckExtendedKeyUsages looks in the leaf for Policy.ExtendedKeyUsages. codeSigning is not among them.
	CheckExtendedKeyUsages Check = "extendedKeyUsages"
	// CheckRevocation looks for the certificates of the signer and of the time-stamping authority in the revocation lists.
	CheckRevocation Check = "revocation"
)

// Level says what follows when a check fails.
type Level string

// The levels. Only the very word Log lets a document pass: every other value, the empty one included, refuses.
const (
	// LevelEnforce refuses the document.
	LevelEnforce Level = "Enforce"
	// LevelLog accepts what leaving the check out would accept, and reports a Finding.
	LevelLog Level = "Log"
)

// Levels are the levels of the checks that have one.
type Levels struct {
	IssuerPins, Subject, ExtendedKeyUsages, Revocation Level
}

// Finding is a refusal that did not happen, because the level of its check is Log.
type Finding struct {
	// Check failed.
	Check Check
	// Class of the refusal.
	Class Class
	// Subject is the certificate that it is about, or "CounterSignature".
	Subject string
	// Reason says why.
	Reason string
}

// String returns "check: subject: reason".
func (f Finding) String() string { return fmt.Sprintf("%s: %s: %s", f.Check, f.Subject, f.Reason) }

// weigh is told of every refusal by a check that has a level. It returns the refusal, or nil after keeping it as a finding.
func (s *Signed) weigh(check Check, level Level, refusal *Error) error {
	if level != LevelLog {
		return refusal
	}
	reason := refusal.Reason
	if refusal.Err != nil {
		reason += ": " + refusal.Err.Error()
	}
	s.Findings = append(s.Findings, Finding{Check: check, Class: refusal.Class, Subject: refusal.Subject, Reason: reason})
	return nil
}
