package documents

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/replay"
	"mitigation.dev/ems/test/pki"
)

// identify gives the digest of a bundle, or the reason why there is none.
func (s *server) identify(feed, bundle string) (digest, reason string) {
	digest, failure := s.store.Identify(feed, s.source.bundles[bundle].Document)
	if failure != nil {
		return digest, failure.Reason
	}
	return digest, ""
}

func TestIdentify(t *testing.T) {
	untrusted := string(policy.Untrusted)
	for name, tc := range map[string]struct {
		prepare    func(s *server, ref enforce.DocumentRef)
		feed       string
		wantReason string
	}{
		"a signed document has the digest that a plan gives it": {feed: "contoso"},
		"a feed without a policy has no documents":              {feed: "fabrikam", wantReason: untrusted},
		"a tampered document has none": {feed: "contoso", wantReason: untrusted, prepare: func(s *server, ref enforce.DocumentRef) {
			s.source.bundles[ref.BundleName] = Bundle{Document: bytes.Replace(s.source.bundles[ref.BundleName].Document, []byte("Heartbeat"), []byte("Heartbrea"), 1)}
		}},
		"without a trust file there is none": {feed: "contoso", wantReason: untrusted, prepare: func(s *server, _ enforce.DocumentRef) {
			if err := os.Remove(filepath.Join(s.dir, "trust.yaml")); err != nil {
				s.Fatal(err)
			}
		}},
		"a certificate that ran out before anything was accepted": {feed: "contoso", wantReason: untrusted, prepare: func(s *server, _ enforce.DocumentRef) {
			s.clock.SetTime(now.AddDate(2, 0, 0))
		}},
		"a certificate that ran out after the document was accepted takes nothing back": {feed: "contoso", prepare: func(s *server, ref enforce.DocumentRef) {
			s.wantUsable(ref)
			s.clock.SetTime(now.AddDate(2, 0, 0))
		}},
		"another document that was accepted does not vouch for it": {feed: "contoso", wantReason: untrusted, prepare: func(s *server, _ enforce.DocumentRef) {
			s.wantUsable(s.publish(ocs.Document{Sequence: 2}))
			s.clock.SetTime(now.AddDate(2, 0, 0))
		}},
		"a root that is no longer trusted": {feed: "contoso", wantReason: untrusted, prepare: func(s *server, ref enforce.DocumentRef) {
			s.wantUsable(ref)
			other, err := pki.NewRoot("Other")
			if err != nil {
				s.Fatal(err)
			}
			s.trust(other)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			ref := s.publish(ocs.Document{Sequence: 1})
			if tc.prepare != nil {
				tc.prepare(s, ref)
			}
			want := ref.Digest
			if tc.wantReason != "" {
				want = ""
			}
			if digest, reason := s.identify(tc.feed, ref.BundleName); digest != want || reason != tc.wantReason {
				t.Errorf("digest %q, reason %q, want %q and %q", digest, reason, want, tc.wantReason)
			}
		})
	}
}

func TestIdentifyAcceptsNothing(t *testing.T) {
	s := newServer(t)
	if _, reason := s.identify("contoso", s.publish(ocs.Document{Sequence: 9}).BundleName); reason != "" {
		t.Fatal(reason)
	}
	s.wantUsable(s.publish(ocs.Document{Sequence: 1}))
}

func TestDryRunJudgesAndRemembersNothing(t *testing.T) {
	s := newServer(t)
	s.wantUsable(s.publish(ocs.Document{Sequence: 5}))
	s.store.DryRun = true
	newer, older := s.publish(ocs.Document{Sequence: 7}), s.publish(ocs.Document{Sequence: 4})
	s.wantUsable(newer)
	s.wantRefused(older, enforce.ReasonSequenceRolledBack, "4")
	s.wantRefused(s.publish(ocs.Document{Sequence: 8, Expires: now.Add(-time.Hour), Issued: now.Add(-2 * time.Hour)}), string(replay.Expired), "")
	kept, err := os.ReadDir(filepath.Join(s.dir, "documents"))
	if err != nil || len(kept) != 1 {
		t.Errorf("%d documents are kept, want 1, error %v", len(kept), err)
	}
	s.restart()
	s.wantUsable(s.publish(ocs.Document{Sequence: 6}))
}
