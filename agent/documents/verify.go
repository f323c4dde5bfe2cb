package documents

import (
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/replay"
	"mitigation.dev/ems/internal/xmlsig"
)

// digestLength is the length of a SHA-256 in hex.
const digestLength = 64

// verified is a document whose signature is good. It has not been accepted yet.
type verified struct {
	// original are the bytes as published; content is read from the canonical ones.
	original  []byte
	content   *ocs.Document
	product   string
	candidate replay.Candidate
	notes     []string
	// chain are the certificates that the signature and the counter-signature rest on.
	chain    []*x509.Certificate
	findings []xmlsig.Finding
}

// failure is an enforce.Failure that knows whether the bytes or the signer are to blame.
type failure struct {
	enforce.Failure

	// content says that the bytes are at fault.
	content bool
}

// verify checks the bytes of a document against the digest that the plan names. acceptedAt is when this server accepted
// the document before, zero if it did not.
func verify(original []byte, product, digest string, signer xmlsig.Policy, now, acceptedAt time.Time) (*verified, *failure) {
	signed, err := xmlsig.Verify(original, signer, now)
	if err != nil && !acceptedAt.IsZero() && isTrust(err) {
		signed, err = verifyAccepted(original, signer, acceptedAt)
	}
	if err != nil {
		return nil, &failure{
			Failure: enforce.Failure{Reason: string(policy.Untrusted), Message: fmt.Sprintf("the document is not trusted on this server: %v", err)},
			content: !isTrust(err),
		}
	}
	if got := hex.EncodeToString(signed.Digest[:]); got != digest {
		return nil, &failure{
			Failure: enforce.Failure{
				Reason:  enforce.ReasonPlanMismatch,
				Message: fmt.Sprintf("the document has digest %s…, the plan wants %s…; look for who changed plan or bundle", got[:12], digest[:12]),
			},
			content: true,
		}
	}
	content, err := ocs.Parse(signed.Canonical)
	if err != nil {
		return nil, &failure{
			Failure: enforce.Failure{Reason: enforce.ReasonDocumentMalformed, Message: fmt.Sprintf("the document is signed but cannot be used: %v; ask the publisher", err)},
		}
	}
	return &verified{
		original: original, content: content, product: product, notes: signed.Notes, findings: signed.Findings,
		chain: slices.Concat(signed.Chain, signed.TimestampChain),
		candidate: replay.Candidate{
			Version: content.Version, Sequence: content.Sequence, Digest: digest,
			SignedAt: signed.SignedAt, Issued: content.Issued, Expires: content.Expires,
		},
	}, nil
}

// verifyAccepted verifies a document that was accepted before. The certificate may have run out since, which takes nothing
// back, and so may the revocation lists, without which nothing new is accepted. What a list names, it does take back.
func verifyAccepted(original []byte, signer xmlsig.Policy, acceptedAt time.Time) (*xmlsig.Signed, error) {
	if signer.Revocation.Mode == xmlsig.RevocationRequire {
		signer.Revocation.Mode = xmlsig.RevocationPrefer
	}
	return xmlsig.Verify(original, signer, acceptedAt)
}

// isTrust reports whether a refusal is about the signer rather than about the bytes.
func isTrust(err error) bool {
	var refusal *xmlsig.Error
	if !errors.As(err, &refusal) {
		return false
	}
	switch refusal.Class {
	case xmlsig.ClassPolicy, xmlsig.ClassUntrusted, xmlsig.ClassRevoked:
		return true
	default:
		return false
	}
}

func isDigest(text string) bool {
	return len(text) == digestLength && strings.Trim(text, "0123456789abcdef") == ""
}
