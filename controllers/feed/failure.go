package feed

import (
	"errors"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/internal/fetch"
	"mitigation.dev/ems/internal/replay"
	"mitigation.dev/ems/internal/xmlsig"
)

// failure is a poll that failed for a reason that lies with the feed: its source, its document or its spec.
type failure struct {
	reason string
	err    error
}

func failed(reason string, err error) *failure { return &failure{reason: reason, err: err} }

// Error returns the message of the cause.
func (f *failure) Error() string { return f.err.Error() }

// Unwrap returns the cause.
func (f *failure) Unwrap() error { return f.err }

// outcome says whether it is worth trying again without a person. Network trouble passes; a refused document is refused
// again until its publisher or the policy changes, and somebody should know. It is polled again all the same.
func (f *failure) outcome() conditions.Outcome {
	message := f.err.Error() + "; what was accepted before stays in force"
	switch f.reason {
	case emsv1.UnreachableReason, emsv1.TimedOutReason, emsv1.UnexpectedStatusReason:
		return conditions.Working(f.reason, message)
	default:
		return conditions.Stalled(f.reason, message)
	}
}

func fetchReason(err error) string {
	var e *fetch.Error
	if !errors.As(err, &e) {
		return emsv1.UnreachableReason
	}
	switch e.Class {
	case fetch.InvalidURL:
		return emsv1.InvalidSpecReason
	case fetch.TLS:
		return emsv1.TLSFailedReason
	case fetch.TimedOut:
		return emsv1.TimedOutReason
	case fetch.Redirected:
		return emsv1.RedirectedReason
	case fetch.UnexpectedStatus:
		return emsv1.UnexpectedStatusReason
	case fetch.UnexpectedEncoding:
		return emsv1.UnexpectedEncodingReason
	case fetch.TooLarge:
		return emsv1.DocumentTooLargeReason
	case fetch.Unreachable, fetch.Canceled:
		return emsv1.UnreachableReason
	}
	return emsv1.UnreachableReason
}

func signatureReason(err error) string {
	var e *xmlsig.Error
	if !errors.As(err, &e) {
		return emsv1.SignatureInvalidReason
	}
	switch e.Class {
	case xmlsig.ClassPolicy:
		return emsv1.InvalidSpecReason
	case xmlsig.ClassTooLarge:
		return emsv1.DocumentTooLargeReason
	case xmlsig.ClassMalformed, xmlsig.ClassLimit:
		return emsv1.DocumentMalformedReason
	case xmlsig.ClassCertificate, xmlsig.ClassUntrusted, xmlsig.ClassRevoked:
		return emsv1.SignerUntrustedReason
	case xmlsig.ClassTimestamp:
		return emsv1.TimestampInvalidReason
	case xmlsig.ClassShape, xmlsig.ClassAlgorithm, xmlsig.ClassSignature, xmlsig.ClassDigest:
		return emsv1.SignatureInvalidReason
	}
	return emsv1.SignatureInvalidReason
}

func replayReason(err error) string {
	var e *replay.Error
	if !errors.As(err, &e) {
		return emsv1.DocumentRolledBackReason
	}
	switch e.Reason {
	case replay.SequenceJump:
		return emsv1.SequenceJumpReason
	case replay.Undated:
		return emsv1.DocumentUndatedReason
	case replay.NotYetValid:
		return emsv1.DocumentNotYetValidReason
	case replay.Expired:
		return emsv1.DocumentExpiredReason
	case replay.RolledBack:
		return emsv1.DocumentRolledBackReason
	}
	return emsv1.DocumentRolledBackReason
}
