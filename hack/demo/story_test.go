package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestUnexpired(t *testing.T) {
	now := time.Date(2026, time.November, 21, 12, 0, 0, 0, time.UTC)
	tests := map[string]struct{ manifest, want string }{
		"a block that counts stays":            {"x\n  expiryTime: \"2027-03-31T22:00:00Z\"\n", "x\n  expiryTime: \"2027-03-31T22:00:00Z\"\n"},
		"a block that is over gets a month":    {"expiryTime: \"2026-03-31T22:00:00Z\"\ny", "expiryTime: \"2026-12-21T12:00:00Z\"\ny"},
		"what is no time is left to be judged": {"expiryTime: \"soon\"", "expiryTime: \"soon\""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, string(unexpired([]byte(tc.manifest), now))); diff != "" {
				t.Errorf("manifest differs (-want +got):\n%s", diff)
			}
		})
	}
}
