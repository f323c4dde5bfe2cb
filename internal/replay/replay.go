package replay

import (
	"fmt"
	"time"
)

const (
	// MaxSequenceJump is how far a sequence may lie ahead of the accepted one. A publisher with a new document every
	// minute needs a week for 10,000.
	MaxSequenceJump = 10_000
	// MaxClockSkew is how far ahead of the own clock a document may claim to be issued. Clocks of domain members differ by
	// less than five minutes, or they could not log on.
	MaxClockSkew = 10 * time.Minute
)

// Reason is one word for why a document is refused.
type Reason string

// The reasons, in the order in which they are looked for.
const (
	// RolledBack: the document is older than, or another than, what was accepted.
	RolledBack Reason = "RolledBack"
	// SequenceJump: the sequence is too far ahead.
	SequenceJump Reason = "SequenceJump"
	// Undated: nothing says how old the document is, and such documents are not accepted.
	Undated Reason = "Undated"
	// NotYetValid: the document claims to be issued in the future.
	NotYetValid Reason = "NotYetValid"
	// Expired: the document's expiry has passed.
	Expired Reason = "Expired"
)

// Error is the refusal of a document.
type Error struct {
	Reason Reason
	// Message says what was found, what was expected and what to do, for people.
	Message string
}

// Error returns the message.
func (e *Error) Error() string { return "replay protection: " + e.Message }

// Seen is what was accepted of one feed before. The zero value means nothing.
type Seen struct {
	// Sequence of the accepted document; 0 if it had none.
	Sequence int64 `json:"sequence,omitempty"`
	// Digest of the accepted document, in hex.
	Digest string `json:"digest,omitempty"`
	// SignedAt is the latest accepted time of a counter-signature; zero if there was none.
	SignedAt time.Time `json:"signedAt,omitzero"`

	// JumpTo is the highest sequence up to which the operator allows a jump of more than MaxSequenceJump, after asking the
	// publisher; zero if none is allowed. It is an order and nothing that was seen: it is never kept, and After drops it.
	JumpTo int64 `json:"-"`
}

// Candidate is a verified document that asks to be accepted. Zero values mean that the document does not say.
type Candidate struct {
	Version  string
	Sequence int64
	// Digest of the canonical signed content, in hex.
	Digest string
	// SignedAt is the time of an accepted counter-signature.
	SignedAt time.Time
	Issued   time.Time
	Expires  time.Time
}

// Check reports why a document may not follow what was seen, as an *Error; nil if it may. acceptUndated says whether the
// feed's trust policy takes documents that carry neither a sequence nor a counter-signature.
func Check(seen Seen, c Candidate, acceptUndated bool, now time.Time) error {
	if c.Digest != "" && c.Digest == seen.Digest {
		return nil
	}
	check := checkTime
	if c.Sequence > 0 {
		check = checkSequence
	}
	if e := check(seen, c, acceptUndated); e != nil {
		return e
	}
	if e := checkValidity(c, now); e != nil {
		return e
	}
	return nil
}

// After returns what has been seen once the document is accepted. Nothing in it ever goes back.
func (s Seen) After(c Candidate) Seen {
	next := Seen{Sequence: max(s.Sequence, c.Sequence), Digest: c.Digest, SignedAt: s.SignedAt}
	if c.SignedAt.After(s.SignedAt) {
		next.SignedAt = c.SignedAt
	}
	return next
}

// Jumps reports whether a document's sequence lies too far ahead to be accepted without the operator's word. The first document
// of a feed may have any sequence.
func Jumps(seen Seen, c Candidate) bool {
	return seen.Sequence > 0 && c.Sequence-seen.Sequence > MaxSequenceJump
}

func checkSequence(seen Seen, c Candidate, _ bool) *Error {
	switch {
	case seen.Sequence == 0:
		// Nothing to compare with but the times, if both have one: the feed may have moved from version 1.0.4 to 1.1.
		if !c.SignedAt.IsZero() && c.SignedAt.Before(seen.SignedAt) {
			return refuse(RolledBack, "the document was signed at %s, before the accepted one (%s); ask the publisher for the current document",
				stamp(c.SignedAt), stamp(seen.SignedAt))
		}
		return nil
	case c.Sequence < seen.Sequence:
		return refuse(RolledBack, "the document has sequence %d, lower than the accepted %d; the endpoint or a cache serves an old document",
			c.Sequence, seen.Sequence)
	case c.Sequence == seen.Sequence:
		return refuse(RolledBack, "the document has sequence %d like the accepted one but other content; the publisher must raise the sequence with every change",
			c.Sequence)
	case Jumps(seen, c) && c.Sequence > seen.JumpTo:
		return refuse(SequenceJump, "the document has sequence %d, more than %d ahead of the accepted %d; ask the publisher whether that is meant, and if so allow this jump",
			c.Sequence, MaxSequenceJump, seen.Sequence)
	}
	return nil
}

func checkTime(seen Seen, c Candidate, acceptUndated bool) *Error {
	switch {
	case seen.Sequence > 0:
		return refuse(RolledBack, "the document has no sequence, and one with sequence %d was accepted before; the endpoint or a cache serves an old document",
			seen.Sequence)
	case !c.SignedAt.IsZero() && c.SignedAt.Before(seen.SignedAt):
		return refuse(RolledBack, "the document was signed at %s, before the accepted one (%s); the endpoint or a cache serves an old document",
			stamp(c.SignedAt), stamp(seen.SignedAt))
	case !c.SignedAt.IsZero() && c.SignedAt.Equal(seen.SignedAt):
		// Neither is the newer one, and accepting both would let them take turns.
		return refuse(RolledBack, "the document was signed at %s like the accepted one but has other content; the publisher must sign it again",
			stamp(c.SignedAt))
	case c.SignedAt.IsZero() && !seen.SignedAt.IsZero():
		return refuse(Undated, "the document carries neither sequence nor accepted counter-signature, and the accepted one was signed at %s; check the time-stamping roots of the trust policy",
			stamp(seen.SignedAt))
	case c.SignedAt.IsZero() && !acceptUndated:
		return refuse(Undated, "the document carries neither sequence nor accepted counter-signature; give the trust policy the publisher's time-stamping roots, or let it accept undated documents")
	}
	return nil
}

func checkValidity(c Candidate, now time.Time) *Error {
	switch {
	case c.Issued.After(now.Add(MaxClockSkew)):
		return refuse(NotYetValid, "the document claims to be issued at %s, more than %s ahead of this clock (%s); check the clock",
			stamp(c.Issued), MaxClockSkew, stamp(now))
	case !c.Expires.IsZero() && !now.Before(c.Expires):
		return refuse(Expired, "the document expired at %s; the publisher must issue a new one", stamp(c.Expires))
	}
	return nil
}

func refuse(reason Reason, format string, args ...any) *Error {
	return &Error{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
