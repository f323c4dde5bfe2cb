package documents

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/agent/state"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/xmlsig"
	"mitigation.dev/ems/test/pki"
)

var now = time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)

// sharedKeys takes a while to make.
var sharedKeys = sync.OnceValues(func() (*pki.PKI, error) { return pki.New(now) })

// source is a cluster that can be away, and counts what it is asked.
type source struct {
	bundles map[string]Bundle
	away    bool
	asked   int
}

func (s *source) Bundle(_ context.Context, name string) (Bundle, error) {
	s.asked++
	if s.away {
		return Bundle{}, errors.New("connection refused")
	}
	b, ok := s.bundles[name]
	if !ok {
		return Bundle{}, fmt.Errorf("bundle: %w", ErrNotFound)
	}
	return b, nil
}

// server is a store with everything around it.
type server struct {
	*testing.T

	dir    string
	keys   *pki.PKI
	source *source
	clock  *clocktesting.FakePassiveClock
	store  *Store
}

func newServer(t *testing.T) *server {
	t.Helper()
	keys, err := sharedKeys()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{T: t, dir: t.TempDir(), keys: keys, source: &source{bundles: map[string]Bundle{}}, clock: clocktesting.NewFakePassiveClock(now)}
	s.trust(keys.Root)
	s.restart()
	return s
}

func (s *server) trust(root *pki.Identity) {
	s.Helper()
	indented := "      " + strings.ReplaceAll(strings.TrimSpace(string(root.PEM())), "\n", "\n      ")
	s.write("trust.yaml", "apiVersion: ems.mitigation.dev/trust/v1\nfeeds:\n  contoso:\n    roots: |\n"+indented+"\n")
}

func (s *server) write(name, content string) {
	s.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600); err != nil {
		s.Fatal(err)
	}
}

// allow lets the trust file allow a jump of the sequence.
func (s *server) allow(sequence int64) {
	s.Helper()
	s.trust(s.keys.Root)
	content, err := os.ReadFile(filepath.Join(s.dir, "trust.yaml"))
	if err != nil {
		s.Fatal(err)
	}
	s.write("trust.yaml", fmt.Sprintf("%s    acceptSequence: %d\n", content, sequence))
}

func (s *server) memory() *state.Memory {
	s.Helper()
	memory, err := state.Open(filepath.Join(s.dir, "agent"))
	if err != nil {
		s.Fatal(err)
	}
	return memory
}

// restart begins a new process on the same disk.
func (s *server) restart() {
	s.Helper()
	store, err := New(Options{
		Dir: filepath.Join(s.dir, "documents"), TrustFile: filepath.Join(s.dir, "trust.yaml"), Source: s.source, Memory: s.memory(), Clock: s.clock,
	})
	if err != nil {
		s.Fatal(err)
	}
	s.store = store
}

// publish signs a document, puts it into the cluster and returns how a plan refers to it.
func (s *server) publish(d ocs.Document, signers ...*pki.Identity) enforce.DocumentRef {
	s.Helper()
	if d.Version == "" {
		d.Version = ocs.Version11
	}
	if d.Configs == nil {
		d.Configs = []ocs.Config{{ID: "PING1", Revision: 1, Description: "Heartbeat", Actions: []ocs.Action{
			{ID: "PING1.1", Type: ocs.DoNothing, Scope: ocs.ScopeServer, Description: "None", Value: ocs.ValueDoNothing},
		}}}
	}
	unsigned, err := ocs.Build(d)
	if err != nil {
		s.Fatal(err)
	}
	signer := s.keys.ECDSA
	if len(signers) > 0 {
		signer = signers[0]
	}
	return s.bundle(fmt.Sprintf("contoso-%d", d.Sequence), sign(s.T, unsigned, signer))
}

// bundle puts signed bytes into the cluster. A document that the root of the keys does not vouch for gets no real digest.
func (s *server) bundle(name string, signed []byte) enforce.DocumentRef {
	s.Helper()
	s.source.bundles[name] = Bundle{Product: "ExchangeServer", Document: signed}
	ref := enforce.DocumentRef{FeedName: "contoso", BundleName: name, Digest: strings.Repeat("0", 64)}
	if v, err := xmlsig.Verify(signed, xmlsig.Policy{Roots: []*x509.Certificate{s.keys.Root.Certificate}}, now); err == nil {
		ref.Digest = hex.EncodeToString(v.Digest[:])
	}
	return ref
}

func sign(t *testing.T, unsigned []byte, by *pki.Identity) []byte {
	t.Helper()
	signed, err := xmlsig.Sign(unsigned, xmlsig.SignOptions{Key: by.Key, Certificates: by.Chain()})
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func (s *server) load(refs ...enforce.DocumentRef) map[enforce.DocumentRef]enforce.Document {
	s.Helper()
	return s.store.Load(s.Context(), refs)
}

func (s *server) wantUsable(ref enforce.DocumentRef) {
	s.Helper()
	d := s.load(ref)[ref]
	if d.Failure != nil {
		s.Fatalf("document %s is refused: %s: %s", ref.BundleName, d.Failure.Reason, d.Failure.Message)
	}
	if d.Content == nil || len(d.Content.Configs) != 1 || d.FeedProduct != "ExchangeServer" {
		s.Fatalf("document %s = %+v, want its content and the feed's product", ref.BundleName, d)
	}
}

func (s *server) wantRefused(ref enforce.DocumentRef, reason, message string) {
	s.Helper()
	d := s.load(ref)[ref]
	if d.Failure == nil || d.Failure.Reason != reason || !strings.Contains(d.Failure.Message, message) || d.Content != nil {
		s.Fatalf("document %s: failure = %+v, want %s with %q and no content", ref.BundleName, d.Failure, reason, message)
	}
}

func TestLoad(t *testing.T) {
	for name, test := range map[string]func(*server){
		"a signed document is usable and fetched once": func(s *server) {
			ref := s.publish(ocs.Document{Sequence: 1})
			s.wantUsable(ref)
			s.wantUsable(ref)
			if s.source.asked != 1 {
				s.Errorf("the cluster was asked %d times, want once", s.source.asked)
			}
		},
		"after a restart without a network the kept document is verified again": func(s *server) {
			ref := s.publish(ocs.Document{Sequence: 1})
			s.wantUsable(ref)
			s.source.away = true
			s.restart()
			s.wantUsable(ref)
		},
		"a fallback and its successor, both new to the server, are usable in one go, and another old document never": func(s *server) {
			older := s.publish(ocs.Document{Sequence: 1})
			fallback := s.publish(ocs.Document{Sequence: 2})
			current := s.publish(ocs.Document{Sequence: 3})
			for ref, d := range s.store.Load(s.Context(), []enforce.DocumentRef{current, fallback}) {
				if d.Failure != nil {
					s.Errorf("%s: %+v, want it usable", ref.BundleName, d.Failure)
				}
			}
			s.wantUsable(fallback)
			s.wantRefused(older, "SequenceRolledBack", "lower than the accepted")
		},
		"what was refused is judged again after a repair": func(s *server) {
			ref := s.publish(ocs.Document{Sequence: 1})
			b := s.source.bundles[ref.BundleName]
			s.source.bundles[ref.BundleName] = Bundle{Document: []byte("<EOCS/>")}
			if d := s.store.Load(s.Context(), []enforce.DocumentRef{ref})[ref]; d.Failure == nil {
				s.Fatal("a document of another content was not refused")
			}
			s.source.bundles[ref.BundleName] = b
			if d := s.store.Load(s.Context(), []enforce.DocumentRef{ref})[ref]; d.Failure == nil {
				s.Fatal("a refused document was fetched again at once")
			}
			s.store.Forget()
			s.wantUsable(ref)
		},
		"a kept document that was changed on the disk is fetched again": func(s *server) {
			ref := s.publish(ocs.Document{Sequence: 1})
			s.wantUsable(ref)
			kept := filepath.Join("documents", ref.Digest+".xml")
			s.write(kept, strings.Replace(string(s.source.bundles[ref.BundleName].Document), "Heartbeat", "Heartbreak", 1))
			s.restart()
			s.wantUsable(ref)
			if got, err := os.ReadFile(filepath.Join(s.dir, kept)); err != nil || !bytes.Equal(got, s.source.bundles[ref.BundleName].Document) {
				s.Errorf("kept document was not repaired: %v", err)
			}
		},
		"a kept document that was changed on the disk is not used without a network": func(s *server) {
			ref := s.publish(ocs.Document{Sequence: 1})
			s.wantUsable(ref)
			s.write(filepath.Join("documents", ref.Digest+".xml"), "<EOCS/>")
			s.source.away = true
			s.restart()
			s.wantRefused(ref, "BundleUnavailable", "tried again")
		},
		"a document that was tampered with in the cluster is not trusted": func(s *server) {
			ref := s.publish(ocs.Document{Sequence: 1})
			b := s.source.bundles[ref.BundleName]
			b.Document = bytes.Replace(b.Document, []byte("Heartbeat"), []byte("Heartbreak"), 1)
			s.source.bundles[ref.BundleName] = b
			s.wantRefused(ref, "Untrusted", "digest mismatch")
			s.wantRefused(ref, "Untrusted", "digest mismatch")
			if s.source.asked != 1 {
				s.Errorf("a refused document was fetched %d times, want once", s.source.asked)
			}
			s.clock.SetTime(now.Add(retryRefused))
			s.wantRefused(ref, "Untrusted", "digest mismatch")
			if s.source.asked != 2 {
				s.Errorf("a refused document was fetched %d times after the pause, want twice", s.source.asked)
			}
		},
		"a document by a signer under another root is not trusted": func(s *server) {
			foreign, err := pki.New(now)
			if err != nil {
				s.Fatal(err)
			}
			s.wantRefused(s.publish(ocs.Document{Sequence: 1}, foreign.ECDSA), "Untrusted", "signer not trusted")
		},
		"a feed that the trust file does not know is not trusted": func(s *server) {
			ref := s.publish(ocs.Document{Sequence: 1})
			ref.FeedName = "fabrikam"
			s.wantRefused(ref, "Untrusted", "has no policy for feed \"fabrikam\"")
		},
		"a missing trust file trusts nobody": func(s *server) {
			ref := s.publish(ocs.Document{Sequence: 1})
			if err := os.Remove(filepath.Join(s.dir, "trust.yaml")); err != nil {
				s.Fatal(err)
			}
			s.wantRefused(ref, "Untrusted", "trust.yaml")
		},
		"a broken trust file trusts nobody": func(s *server) {
			ref := s.publish(ocs.Document{Sequence: 1})
			s.write("trust.yaml", "feeds: [")
			s.wantRefused(ref, "Untrusted", "correct it on the server")
		},
		"a root that is taken from the trust file counts at once": func(s *server) {
			ref := s.publish(ocs.Document{Sequence: 1})
			s.wantUsable(ref)
			s.trust(s.keys.TSARoot)
			s.wantRefused(ref, "Untrusted", "signer not trusted")
		},
		"a bundle that the cluster does not have is missing": func(s *server) {
			s.wantRefused(enforce.DocumentRef{FeedName: "contoso", BundleName: "contoso-9", Digest: strings.Repeat("a", 64)}, "BundleMissing", "contoso-9")
		},
		"a bundle that comes later is found": func(s *server) {
			ref := s.publish(ocs.Document{Sequence: 1})
			s.source.away = true
			s.wantRefused(ref, "BundleUnavailable", "tried again")
			s.source.away = false
			s.wantUsable(ref)
		},
		"a bundle with another document than the plan wants is a mismatch": func(s *server) {
			ref := s.publish(ocs.Document{Sequence: 1})
			ref.Digest = strings.Repeat("a", 64)
			s.wantRefused(ref, "PlanMismatch", "the plan wants aaaaaaaaaaaa")
		},
		"a digest that is a path is a mismatch and read nowhere": func(s *server) {
			ref := s.publish(ocs.Document{Sequence: 1})
			ref.Digest = "../../../../../../../../../../../etc/../../../../../../../passwd"
			s.wantRefused(ref, "PlanMismatch", "no SHA-256")
		},
		"a signed document that is none of ours is malformed": func(s *server) {
			s.wantRefused(s.bundle("odd", sign(s.T, []byte("<Other/>"), s.keys.ECDSA)), "DocumentMalformed", "ask the publisher")
		},
		"an expired document is not newly accepted": func(s *server) {
			s.wantRefused(s.publish(ocs.Document{Sequence: 1, Issued: now.Add(-2 * time.Hour), Expires: now.Add(-time.Hour)}), "Expired", "expired at")
		},
		"a document that expires after it was accepted stays usable": func(s *server) {
			ref := s.publish(ocs.Document{Sequence: 1, Issued: now, Expires: now.Add(time.Hour)})
			s.wantUsable(ref)
			s.clock.SetTime(now.Add(48 * time.Hour))
			s.restart()
			s.wantUsable(ref)
		},
		"a document whose signer's certificate runs out after it was accepted stays usable": func(s *server) {
			brief, err := s.keys.Issuing.Issue("Brief", pki.Validity(now.Add(-time.Hour), now.Add(time.Hour)))
			if err != nil {
				s.Fatal(err)
			}
			ref := s.publish(ocs.Document{Sequence: 1}, brief)
			s.wantUsable(ref)
			s.clock.SetTime(now.Add(48 * time.Hour))
			s.source.away = true
			s.restart()
			s.wantUsable(ref)
		},
		"a document whose signer's certificate has run out is not newly accepted": func(s *server) {
			brief, err := s.keys.Issuing.Issue("Brief", pki.Validity(now.Add(-time.Hour), now.Add(time.Hour)))
			if err != nil {
				s.Fatal(err)
			}
			ref := s.publish(ocs.Document{Sequence: 1}, brief)
			s.clock.SetTime(now.Add(48 * time.Hour))
			s.wantRefused(ref, "Untrusted", "signer not trusted")
		},
		"an older document that this server never accepted is a rollback": func(s *server) {
			older := s.publish(ocs.Document{Sequence: 41})
			s.wantUsable(s.publish(ocs.Document{Sequence: 42}))
			s.restart()
			s.wantRefused(older, "SequenceRolledBack", "sequence 41, lower than the accepted 42")
		},
		"an older document that this server accepted before may come back": func(s *server) {
			older := s.publish(ocs.Document{Sequence: 41})
			s.wantUsable(older)
			s.wantUsable(s.publish(ocs.Document{Sequence: 42}))
			s.restart()
			s.wantUsable(older)
			feed, err := s.memory().Feed("contoso")
			if err != nil || feed.Seen.Sequence != 42 {
				s.Errorf("seen sequence = %d, %v, want it to stay at 42", feed.Seen.Sequence, err)
			}
		},
		"two documents of a plan are accepted in their own order": func(s *server) {
			older, newer := s.publish(ocs.Document{Sequence: 41}), s.publish(ocs.Document{Sequence: 42})
			for ref, d := range s.load(newer, older) {
				if d.Failure != nil {
					s.Errorf("document %s is refused: %+v", ref.BundleName, d.Failure)
				}
			}
		},
		"a jump of the sequence is refused": func(s *server) {
			s.wantUsable(s.publish(ocs.Document{Sequence: 1}))
			s.wantRefused(s.publish(ocs.Document{Sequence: 100_000}), "SequenceJump", "more than 10000 ahead")
		},
		"a jump that the trust file allows is accepted, and no further one": func(s *server) {
			s.wantUsable(s.publish(ocs.Document{Sequence: 1}))
			jumped := s.publish(ocs.Document{Sequence: 100_000})
			s.wantRefused(jumped, "SequenceJump", "acceptSequence: 100000 for feed \"contoso\" in ")
			s.allow(99_999)
			s.wantRefused(jumped, "SequenceJump", "more than 10000 ahead")
			s.allow(100_000)
			s.wantUsable(jumped)
			s.wantRefused(s.publish(ocs.Document{Sequence: 200_000}), "SequenceJump", "more than 10000 ahead of the accepted 100000")
			s.trust(s.keys.Root)
			s.restart()
			s.wantUsable(jumped)
			s.wantRefused(s.publish(ocs.Document{Sequence: 99_999}), "SequenceRolledBack", "lower than the accepted 100000")
		},
		"nothing is accepted that cannot be remembered": func(s *server) {
			ref := s.publish(ocs.Document{Sequence: 1})
			if err := os.RemoveAll(filepath.Join(s.dir, "agent")); err != nil {
				s.Fatal(err)
			}
			s.wantRefused(ref, "StateFailed", "look at the agent's state folder")
		},
		"the oldest documents that nobody refers to are dropped": func(s *server) {
			for i := range MaxKept + 3 {
				digest := hex.EncodeToString(sha256.New().Sum([]byte{byte(i)}))[:64]
				if err := s.store.kept.put(digest, []byte("x")); err != nil {
					s.Fatal(err)
				}
			}
			ref := s.publish(ocs.Document{Sequence: 1})
			s.wantUsable(ref)
			files, err := os.ReadDir(filepath.Join(s.dir, "documents"))
			if err != nil || len(files) != MaxKept {
				s.Errorf("%d documents are kept, want %d: %v", len(files), MaxKept, err)
			}
			s.source.away = true
			s.restart()
			s.wantUsable(ref)
		},
	} {
		t.Run(name, func(t *testing.T) { test(newServer(t)) })
	}
}

func TestLoadAcceptsUndatedDocumentsOnlyWhereTheTrustFileSaysSo(t *testing.T) {
	s := newServer(t)
	ref := s.publish(ocs.Document{})
	s.wantRefused(ref, "Undated", "neither sequence nor accepted counter-signature")
	trust, err := os.ReadFile(filepath.Join(s.dir, "trust.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("trust.yaml", string(trust)+"    undatedDocuments: Accept\n")
	s.wantUsable(ref)
}

func TestAnchorsAreThoseOfTheTrustFile(t *testing.T) {
	s := newServer(t)
	anchors, err := s.store.Anchors()
	if err != nil || len(anchors) != 1 || anchors[0].Field != "feeds.contoso.roots" || !anchors[0].NotAfter.Equal(s.keys.Root.Certificate.NotAfter) {
		t.Errorf("anchors = %+v, %v, want the root of contoso", anchors, err)
	}
	s.write("trust.yaml", "feeds: [")
	if anchors, err := s.store.Anchors(); err == nil || !strings.Contains(err.Error(), "trust.yaml") {
		t.Errorf("anchors = %+v, %v, want an error that names the file", anchors, err)
	}
}

func TestIsDigest(t *testing.T) {
	for text, want := range map[string]bool{
		strings.Repeat("0a", 32):        true,
		strings.Repeat("0A", 32):        false,
		strings.Repeat("0a", 31):        false,
		strings.Repeat("0a", 31) + "/a": false,
		"":                              false,
	} {
		if got := isDigest(text); got != want {
			t.Errorf("isDigest(%q) = %t, want %t", text, got, want)
		}
	}
}
