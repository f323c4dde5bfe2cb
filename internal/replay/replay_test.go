package replay

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	now      = time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)
	hourAgo  = now.Add(-time.Hour)
	dayAgo   = now.Add(-24 * time.Hour)
	tomorrow = now.Add(24 * time.Hour)
)

func TestCheck(t *testing.T) {
	for name, tc := range map[string]struct {
		seen          Seen
		candidate     Candidate
		acceptUndated bool
		wantReason    Reason
		wantMessage   string
	}{
		"the first document of a feed may have any sequence": {
			candidate: Candidate{Sequence: math.MaxInt64, Digest: "a"},
		},
		"the next sequence is accepted": {
			seen: Seen{Sequence: 41, Digest: "a"}, candidate: Candidate{Sequence: 42, Digest: "b"},
		},
		"the document that was accepted last is accepted again": {
			seen: Seen{Sequence: 42, Digest: "a"}, candidate: Candidate{Sequence: 42, Digest: "a"},
		},
		"the document that was accepted last is accepted after its expiry": {
			seen: Seen{Sequence: 42, Digest: "a"}, candidate: Candidate{Sequence: 42, Digest: "a", Expires: hourAgo},
		},
		"an empty digest never counts as the accepted one": {
			seen: Seen{Sequence: 42}, candidate: Candidate{Sequence: 41},
			wantReason: RolledBack, wantMessage: "lower than the accepted 42",
		},
		"a lower sequence is a rollback": {
			seen: Seen{Sequence: 42, Digest: "a"}, candidate: Candidate{Sequence: 41, Digest: "b"},
			wantReason: RolledBack, wantMessage: "sequence 41, lower than the accepted 42",
		},
		"the same sequence with other content is refused": {
			seen: Seen{Sequence: 42, Digest: "a"}, candidate: Candidate{Sequence: 42, Digest: "b"},
			wantReason: RolledBack, wantMessage: "other content",
		},
		"a jump of exactly the limit is accepted": {
			seen: Seen{Sequence: 42, Digest: "a"}, candidate: Candidate{Sequence: 42 + MaxSequenceJump, Digest: "b"},
		},
		"a jump of one more than the limit is refused": {
			seen: Seen{Sequence: 42, Digest: "a"}, candidate: Candidate{Sequence: 43 + MaxSequenceJump, Digest: "b"},
			wantReason: SequenceJump, wantMessage: "more than 10000 ahead of the accepted 42",
		},
		"a jump to the highest number does not overflow": {
			seen: Seen{Sequence: 1, Digest: "a"}, candidate: Candidate{Sequence: math.MaxInt64, Digest: "b"},
			wantReason: SequenceJump,
		},
		"a jump up to the allowed sequence is accepted": {
			seen: Seen{Sequence: 42, Digest: "a", JumpTo: 100_000}, candidate: Candidate{Sequence: 100_000, Digest: "b"},
		},
		"a jump beyond the allowed sequence is refused": {
			seen: Seen{Sequence: 42, Digest: "a", JumpTo: 100_000}, candidate: Candidate{Sequence: 100_001, Digest: "b"},
			wantReason: SequenceJump, wantMessage: "allow this jump",
		},
		"an allowed jump does not allow a rollback": {
			seen: Seen{Sequence: 42, Digest: "a", JumpTo: 100_000}, candidate: Candidate{Sequence: 41, Digest: "b"}, wantReason: RolledBack,
		},
		"an allowed jump does not allow an expired document": {
			seen: Seen{Sequence: 42, Digest: "a", JumpTo: 100_000}, candidate: Candidate{Sequence: 100_000, Digest: "b", Expires: hourAgo}, wantReason: Expired,
		},
		"a feed may move from signing times to sequences": {
			seen: Seen{Digest: "a", SignedAt: dayAgo}, candidate: Candidate{Sequence: 100_000, Digest: "b"},
		},
		"a document with sequence that was signed before the accepted one without is a rollback": {
			seen: Seen{Digest: "a", SignedAt: hourAgo}, candidate: Candidate{Sequence: 1, Digest: "b", SignedAt: dayAgo},
			wantReason: RolledBack,
		},
		"a feed never goes back from sequences to documents without": {
			seen: Seen{Sequence: 42, Digest: "a"}, candidate: Candidate{Version: "1.0.4", Digest: "b", SignedAt: hourAgo}, acceptUndated: true,
			wantReason: RolledBack, wantMessage: "no sequence",
		},
		"a document without sequence is ordered by its counter-signature": {
			seen: Seen{Digest: "a", SignedAt: dayAgo}, candidate: Candidate{Version: "1.0.4", Digest: "b", SignedAt: hourAgo},
		},
		"the first document with a counter-signature needs no permission": {
			candidate: Candidate{Version: "1.0.4", Digest: "b", SignedAt: dayAgo},
		},
		"an earlier counter-signature is a rollback": {
			seen: Seen{Digest: "a", SignedAt: hourAgo}, candidate: Candidate{Version: "1.0.4", Digest: "b", SignedAt: dayAgo},
			wantReason: RolledBack, wantMessage: "2026-05-13T16:00:00Z",
		},
		"the same counter-signature time with other content is refused": {
			seen: Seen{Digest: "a", SignedAt: hourAgo}, candidate: Candidate{Version: "1.0.4", Digest: "b", SignedAt: hourAgo},
			wantReason: RolledBack, wantMessage: "other content",
		},
		"a document without any date is refused": {
			candidate: Candidate{Version: "1.0.4", Digest: "b"}, wantReason: Undated, wantMessage: "time-stamping roots",
		},
		"a document without any date is accepted where the policy says so": {
			candidate: Candidate{Version: "1.0.4", Digest: "b"}, acceptUndated: true,
		},
		"undated documents may follow each other where the policy says so": {
			seen: Seen{Digest: "a"}, candidate: Candidate{Version: "1.0.4", Digest: "b"}, acceptUndated: true,
		},
		"a document that lost its counter-signature cannot follow a dated one": {
			seen: Seen{Digest: "a", SignedAt: dayAgo}, candidate: Candidate{Version: "1.0.4", Digest: "b"}, acceptUndated: true,
			wantReason: Undated,
		},
		"a document issued within the clock skew is accepted": {
			candidate: Candidate{Sequence: 1, Digest: "a", Issued: now.Add(MaxClockSkew)},
		},
		"a document issued beyond the clock skew is refused": {
			candidate:  Candidate{Sequence: 1, Digest: "a", Issued: now.Add(MaxClockSkew + time.Second)},
			wantReason: NotYetValid, wantMessage: "check the clock",
		},
		"a document within its expiry is accepted": {
			candidate: Candidate{Sequence: 1, Digest: "a", Issued: hourAgo, Expires: tomorrow},
		},
		"a document is expired at its expiry": {
			candidate: Candidate{Sequence: 1, Digest: "a", Expires: now}, wantReason: Expired, wantMessage: "2026-05-14T16:00:00Z",
		},
		"a rollback is named before expiry": {
			seen: Seen{Sequence: 42, Digest: "a"}, candidate: Candidate{Sequence: 41, Digest: "b", Expires: hourAgo}, wantReason: RolledBack,
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := Check(tc.seen, tc.candidate, tc.acceptUndated, now)
			if tc.wantReason == "" {
				if err != nil {
					t.Fatalf("Check() = %v, want the document accepted", err)
				}
				return
			}
			var refusal *Error
			if !errors.As(err, &refusal) || refusal.Reason != tc.wantReason {
				t.Fatalf("Check() = %v, want a refusal for %s", err, tc.wantReason)
			}
			if !strings.Contains(err.Error(), tc.wantMessage) {
				t.Errorf("Check() = %q, want it to contain %q", err, tc.wantMessage)
			}
		})
	}
}

func TestSeenAfter(t *testing.T) {
	for name, tc := range map[string]struct {
		seen      Seen
		candidate Candidate
		want      Seen
	}{
		"the first document is taken as it is": {
			candidate: Candidate{Sequence: 7, Digest: "a", SignedAt: dayAgo},
			want:      Seen{Sequence: 7, Digest: "a", SignedAt: dayAgo},
		},
		"a later signing time replaces the earlier": {
			seen: Seen{Digest: "a", SignedAt: dayAgo}, candidate: Candidate{Digest: "b", SignedAt: hourAgo},
			want: Seen{Digest: "b", SignedAt: hourAgo},
		},
		"the permission to jump is used up": {
			seen: Seen{Sequence: 7, Digest: "a", JumpTo: 100_000}, candidate: Candidate{Sequence: 100_000, Digest: "b"},
			want: Seen{Sequence: 100_000, Digest: "b"},
		},
		"neither sequence nor signing time ever goes back": {
			seen: Seen{Sequence: 7, Digest: "a", SignedAt: hourAgo}, candidate: Candidate{Sequence: 6, Digest: "b"},
			want: Seen{Sequence: 7, Digest: "b", SignedAt: hourAgo},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.seen.After(tc.candidate)); diff != "" {
				t.Errorf("After() differs (-want +got):\n%s", diff)
			}
		})
	}
}
