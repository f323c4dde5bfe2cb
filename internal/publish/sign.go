package publish

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/replay"
	"mitigation.dev/ems/internal/xmlsig"
)

// SignRequest is what a document is made of.
type SignRequest struct {
	Mitigations []Source
	// Publisher is shown to people. May be empty.
	Publisher string
	// Sequence is 1 or more.
	Sequence int64
	// Issued is now; it is written in whole seconds. Lifetime is the time until the document may no longer be newly accepted.
	Issued   time.Time
	Lifetime time.Duration
	// Key and Certificates sign.
	Key          crypto.Signer
	Certificates []*x509.Certificate
	// Policy is what the result must satisfy before it is handed out.
	Policy Policy
	// Timestamper gets a counter-signature. Nil: none.
	Timestamper func(signatureValue []byte) ([]byte, error)
}

// Sign makes a signed document of version 1.1 and the report on it. The document was verified under the policy as a
// manager would verify it, and has no refused entries. Mitigations that Lint has an error about are not signed: one that lets
// its own attack pass would make people believe that they are safe.
func Sign(request SignRequest) ([]byte, Report, error) {
	document, err := request.document()
	if err != nil {
		return nil, Report{}, err
	}
	unsigned, err := ocs.Build(document)
	if err != nil {
		return nil, Report{}, fmt.Errorf("document: %w", err)
	}
	if err := checkContent(request.Mitigations); err != nil {
		return nil, Report{}, err
	}
	signed, err := xmlsig.Sign(unsigned, xmlsig.SignOptions{
		Key: request.Key, Certificates: request.Certificates, Timestamper: request.Timestamper,
	})
	if err != nil {
		return nil, Report{}, err
	}
	report := Judge(signed, request.Policy, request.Issued)
	switch {
	case !report.Valid:
		return nil, report, fmt.Errorf("own result: refused: %s", report.Reason)
	case len(report.Refused) > 0:
		return nil, report, fmt.Errorf("own result: entry %q: %s", report.Refused[0].ID, report.Refused[0].Message)
	case request.Timestamper != nil && report.SignedAt == nil:
		return nil, report, fmt.Errorf("own result: the counter-signature is not accepted: %s", strings.Join(report.Notes, "; "))
	}
	return signed, report, nil
}

func (r SignRequest) document() (ocs.Document, error) {
	if r.Sequence < 1 {
		return ocs.Document{}, fmt.Errorf("sequence: %d: want 1 or more", r.Sequence)
	}
	if r.Lifetime < time.Second {
		return ocs.Document{}, fmt.Errorf("lifetime: %s: want a second or more", r.Lifetime)
	}
	issued := r.Issued.UTC().Truncate(time.Second)
	document := ocs.Document{
		Publisher: r.Publisher, Sequence: r.Sequence, Issued: issued, Expires: issued.Add(r.Lifetime.Truncate(time.Second)),
	}
	for _, m := range r.Mitigations {
		document.Configs = append(document.Configs, m.Config)
	}
	return document, nil
}

// NextSequence returns the sequence behind that of a document published before, which has to satisfy the policy: a
// forged one could otherwise use up the numbers. Whether it has expired does not matter.
func NextSequence(previous []byte, policy Policy, now time.Time) (int64, error) {
	report := Judge(previous, policy, now)
	if !report.Valid && report.Class != string(replay.Expired) {
		return 0, fmt.Errorf("previous document: refused: %s", report.Reason)
	}
	if report.Sequence == 0 {
		return 0, errors.New("previous document: it has no sequence: state the first one yourself")
	}
	if report.Sequence == math.MaxInt64 {
		return 0, fmt.Errorf("previous document: sequence %d is the last there is", report.Sequence)
	}
	return report.Sequence + 1, nil
}
