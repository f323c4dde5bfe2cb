package feed

import (
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/feedtrust"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/replay"
	"mitigation.dev/ems/internal/xmlsig"
)

// document is a verified signed document.
type document struct {
	*ocs.Document

	raw    []byte
	digest string
	signed *xmlsig.Signed
}

// verify judges a document by the feed's trust policy and its revocation lists, which may be nil, and reads it. Errors are
// *failure.
func verify(raw []byte, feed *emsv1.MitigationFeed, revoked *listState, now time.Time) (*document, error) {
	policy, err := feedtrust.Policy(feed.Spec.Trust).Compile()
	if err != nil {
		return nil, failed(emsv1.InvalidSpecReason, err)
	}
	if revoked != nil {
		settleLists(raw, feed, revoked, &policy, now)
	}
	signed, err := xmlsig.Verify(raw, policy, now)
	if err != nil {
		return nil, failed(signatureReason(err), revoked.explain(err))
	}
	parsed, err := ocs.Parse(signed.Canonical)
	if err != nil {
		return nil, failed(emsv1.DocumentMalformedReason, err)
	}
	return &document{Document: parsed, raw: raw, digest: hex.EncodeToString(signed.Digest[:]), signed: signed}, nil
}

// candidate is the document in the eyes of the replay protection.
func (d *document) candidate() replay.Candidate {
	return replay.Candidate{
		Version: d.Version, Sequence: d.Sequence, Digest: d.digest,
		SignedAt: d.signed.SignedAt, Issued: d.Issued, Expires: d.Expires,
	}
}

// seen is what the feed has accepted before.
func seen(feed *emsv1.MitigationFeed) replay.Seen {
	s := replay.Seen{Sequence: feed.Status.HighestSequence, Digest: feed.Status.Document.Digest}
	if t := feed.Status.Document.SignedTime; t != nil {
		s.SignedAt = t.Time
	}
	return s
}

// namedForJump reports whether the annotation of the feed names a document as one whose sequence may be far ahead: by that very
// sequence, or by its digest. An annotation that allowed all documents up to a number would still be there for the next jump.
func namedForJump(feed *emsv1.MitigationFeed, sequence int64, digest string) bool {
	named := strings.TrimSpace(feed.Annotations[emsv1.AcceptSequenceJumpAnnotation])
	return named != "" && sequence > 0 && (named == strconv.FormatInt(sequence, 10) || named == digest)
}
