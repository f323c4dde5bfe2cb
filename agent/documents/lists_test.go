package documents

import (
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/revocation"
	"mitigation.dev/ems/internal/trust"
	"mitigation.dev/ems/internal/xmlsig"
	"mitigation.dev/ems/test/pki"
)

const day = 24 * time.Hour

// valid is for certificates beside those of the shared keys.
var valid = pki.Validity(now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0))

// revoke is what the trust file of a server says about revocation; more follows in the same policy.
func (s *server) revoke(mode xmlsig.RevocationMode, more ...string) {
	s.Helper()
	s.trust(s.keys.Root)
	content, err := os.ReadFile(filepath.Join(s.dir, "trust.yaml"))
	if err != nil {
		s.Fatal(err)
	}
	s.write("trust.yaml", fmt.Sprintf("%s    revocation:\n      mode: %q\n%s", content, mode, strings.Join(more, "")))
}

// indented is a PEM block as a value in the trust file.
func indented(kind string, der []byte) string {
	text := strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
	return " |\n        " + strings.ReplaceAll(text, "\n", "\n        ") + "\n"
}

// list makes a list of an authority that was issued so long ago, lives a week and names the given certificates.
func (s *server) list(issuer *pki.Identity, age time.Duration, revoked ...*pki.Identity) []byte {
	s.Helper()
	l, err := issuer.RevocationList(now.Add(-age), now.Add(7*day-age), revoked...)
	if err != nil {
		s.Fatal(err)
	}
	return l.Raw
}

// handOut puts lists beside a document and returns what the plan says of them.
func (s *server) handOut(document enforce.DocumentRef, lists ...[]byte) enforce.RevocationRef {
	s.Helper()
	bundle := s.source.bundles[document.BundleName]
	bundle.RevocationLists = lists
	s.source.bundles[document.BundleName] = bundle
	return enforce.RevocationRef{FeedName: document.FeedName, BundleName: document.BundleName, Digest: revocation.DigestOf(lists)}
}

// learns wants exactly these refusals, each by a part of it.
func (s *server) learns(ref enforce.RevocationRef, documents []enforce.DocumentRef, refused ...string) {
	s.Helper()
	got := s.store.Learn(s.Context(), []enforce.RevocationRef{ref}, documents)
	if len(got) != len(refused) {
		s.Fatalf("refused = %q, want %q", got, refused)
	}
	for i := range got {
		if !strings.HasPrefix(got[i], "feed contoso: ") || !strings.Contains(got[i], refused[i]) {
			s.Fatalf("refused = %q, want it to say %q", got[i], refused[i])
		}
	}
}

func (s *server) later(d time.Duration) { s.clock.SetTime(s.clock.Now().Add(d)) }

func TestLearn(t *testing.T) {
	for name, test := range map[string]func(*server){
		"with mode Require the lists from the cluster let a document be accepted": func(s *server) {
			s.revoke(xmlsig.RevocationRequire)
			doc := s.publish(ocs.Document{Sequence: 1})
			s.wantRefused(doc, "Untrusted", "no current revocation list")
			s.learns(s.handOut(doc, s.list(s.keys.Issuing, day), s.list(s.keys.Root, day)), nil)
			s.wantUsable(doc)
		},
		"one list does not speak for both certificates below the root": func(s *server) {
			s.revoke(xmlsig.RevocationRequire)
			doc := s.publish(ocs.Document{Sequence: 1})
			s.learns(s.handOut(doc, s.list(s.keys.Issuing, day)), nil)
			s.wantRefused(doc, "Untrusted", "no list of its issuer is configured")
		},
		"a signer that a list from the cluster names is refused, its documents of before included, after a restart as well": func(s *server) {
			s.revoke(xmlsig.RevocationPrefer)
			doc := s.publish(ocs.Document{Sequence: 1})
			s.wantUsable(doc)
			next := s.publish(ocs.Document{Sequence: 2})
			s.learns(s.handOut(next, s.list(s.keys.Issuing, day, s.keys.ECDSA)), nil)
			s.wantRefused(doc, "Untrusted", "revoked at")
			s.wantRefused(next, "Untrusted", "revoked at")
			s.source.away = true
			s.restart()
			s.wantRefused(doc, "Untrusted", "revoked at")
		},
		"an older list is refused and said until the plan names another, and the newer one stays": func(s *server) {
			s.revoke(xmlsig.RevocationPrefer)
			doc := s.publish(ocs.Document{Sequence: 1})
			old, newer := s.list(s.keys.Issuing, 2*day), s.list(s.keys.Issuing, day, s.keys.ECDSA)
			s.learns(s.handOut(doc, newer), nil)
			replayed := s.handOut(doc, old)
			s.learns(replayed, nil, "is older than number")
			s.learns(replayed, nil, "is older than number")
			s.restart()
			s.learns(replayed, nil, "is older than number")
			if s.source.asked != 3 {
				s.Errorf("the cluster was asked %d times, want once for each set of lists, and once more after the restart", s.source.asked)
			}
			s.wantRefused(doc, "Untrusted", "revoked at")
			s.learns(s.handOut(doc, newer), nil)
		},
		"a list that is not handed out any more stays": func(s *server) {
			s.revoke(xmlsig.RevocationPrefer)
			doc := s.publish(ocs.Document{Sequence: 1})
			s.learns(s.handOut(doc, s.list(s.keys.Issuing, day, s.keys.ECDSA)), nil)
			s.learns(s.handOut(doc, s.list(s.keys.Root, day)), nil)
			s.learns(s.handOut(doc), nil)
			s.wantRefused(doc, "Untrusted", "revoked at")
		},
		"with mode Off nothing is fetched and a list changes nothing": func(s *server) {
			s.revoke(xmlsig.RevocationOff)
			doc := s.publish(ocs.Document{Sequence: 1})
			s.learns(s.handOut(doc, s.list(s.keys.Issuing, day, s.keys.ECDSA)), nil)
			if s.source.asked != 0 {
				s.Errorf("the cluster was asked %d times, want never", s.source.asked)
			}
			s.wantUsable(doc)
		},
		"lists that were taken over before count for nothing once the mode is Off": func(s *server) {
			s.revoke(xmlsig.RevocationPrefer)
			doc := s.publish(ocs.Document{Sequence: 1})
			s.learns(s.handOut(doc, s.list(s.keys.Issuing, day, s.keys.ECDSA)), nil)
			s.wantRefused(doc, "Untrusted", "revoked at")
			s.revoke(xmlsig.RevocationOff)
			s.wantUsable(doc)
		},
		"the lists of a feed that the trust file does not know are not looked at": func(s *server) {
			s.revoke(xmlsig.RevocationPrefer)
			ref := s.handOut(s.publish(ocs.Document{Sequence: 1}), s.list(s.keys.Issuing, day))
			ref.FeedName = "fabrikam"
			s.learns(ref, nil)
			if s.source.asked != 0 {
				s.Errorf("the cluster was asked %d times, want never", s.source.asked)
			}
		},
		"a list by an authority that nothing vouches for is refused": func(s *server) {
			s.revoke(xmlsig.RevocationPrefer)
			foreign, err := pki.NewRoot("Example Code Signing CA", pki.Authority())
			if err != nil {
				s.Fatal(err)
			}
			doc := s.publish(ocs.Document{Sequence: 1})
			s.learns(s.handOut(doc, s.list(foreign, 0, s.keys.ECDSA), s.list(s.keys.TSARoot, 0)), nil, "revocation list of", "no authority of this name is trusted")
			s.wantUsable(doc)
		},
		"an issuing authority is believed because of the document beside the lists only if that one is trusted": func(s *server) {
			s.revoke(xmlsig.RevocationPrefer)
			other, err := s.keys.Root.Issue("Other CA", pki.Authority(), valid)
			if err != nil {
				s.Fatal(err)
			}
			signer, err := other.Issue("Other Signing", valid)
			if err != nil {
				s.Fatal(err)
			}
			first, list := s.publish(ocs.Document{Sequence: 1}), s.list(other, day, signer)
			s.learns(s.handOut(first, list), nil, "no authority of this name is trusted")
			next := s.publish(ocs.Document{Sequence: 2}, signer)
			s.learns(s.handOut(next, list), nil)
			s.wantRefused(next, "Untrusted", "revoked at")
		},
		"an authority of an older document in use is believed, too": func(s *server) {
			s.revoke(xmlsig.RevocationPrefer)
			other, err := s.keys.Root.Issue("Other CA", pki.Authority(), valid)
			if err != nil {
				s.Fatal(err)
			}
			signer, err := other.Issue("Other Signing", pki.Validity(now.Add(-day), now.Add(day)))
			if err != nil {
				s.Fatal(err)
			}
			older := s.publish(ocs.Document{Sequence: 1}, signer)
			s.wantUsable(older)
			s.later(2 * day) // its signer has run out since
			next := s.publish(ocs.Document{Sequence: 2})
			ref := s.handOut(next, s.list(other, day, signer))
			s.learns(ref, []enforce.DocumentRef{older, next})
			s.wantRefused(older, "Untrusted", "revoked at")
		},
		"a list of the future is refused, and looked at again once an hour": func(s *server) {
			s.revoke(xmlsig.RevocationPrefer)
			doc := s.publish(ocs.Document{Sequence: 1})
			ref := s.handOut(doc, s.list(s.keys.Issuing, -2*time.Hour))
			s.learns(ref, nil, "in the future")
			s.later(retryRefusedLists - time.Second)
			s.learns(ref, nil, "in the future")
			if s.source.asked != 1 {
				s.Errorf("the cluster was asked %d times within the hour, want once", s.source.asked)
			}
			s.later(time.Second)
			s.learns(ref, nil, "in the future")
			s.later(retryRefusedLists)
			s.learns(ref, nil)
			if s.source.asked != 3 {
				s.Errorf("the cluster was asked %d times, want once an hour", s.source.asked)
			}
		},
		"what was not believed is said without a network as well": func(s *server) {
			s.revoke(xmlsig.RevocationPrefer)
			ref := s.handOut(s.publish(ocs.Document{Sequence: 1}), s.list(s.keys.TSARoot, 0))
			s.learns(ref, nil, "no authority of this name is trusted")
			s.source.away = true
			s.restart()
			s.learns(ref, nil, "no authority of this name is trusted")
		},
		"a damaged list is refused alone": func(s *server) {
			s.revoke(xmlsig.RevocationPrefer)
			doc := s.publish(ocs.Document{Sequence: 1})
			s.learns(s.handOut(doc, []byte("damaged"), s.list(s.keys.Issuing, day, s.keys.ECDSA)), nil, "revocation list: x509")
			s.wantRefused(doc, "Untrusted", "revoked at")
		},
		"more lists than the API allows are refused together": func(s *server) {
			s.revoke(xmlsig.RevocationPrefer)
			doc := s.publish(ocs.Document{Sequence: 1})
			lists := make([][]byte, revocation.MaxLists+1)
			for i := range lists {
				lists[i] = s.list(s.keys.Issuing, day, s.keys.ECDSA)
			}
			s.learns(s.handOut(doc, lists...), nil, "9 revocation lists with")
			s.learns(s.handOut(doc, make([]byte, revocation.MaxTotalBytes+1)), nil, "98305 bytes: at most 8 with 98304 bytes")
			s.wantUsable(doc)
		},
		"a cluster that is away is asked again in the next pass": func(s *server) {
			s.revoke(xmlsig.RevocationPrefer)
			doc := s.publish(ocs.Document{Sequence: 1})
			ref := s.handOut(doc, s.list(s.keys.Issuing, day, s.keys.ECDSA))
			s.source.away = true
			s.learns(ref, nil)
			s.source.away = false
			s.learns(ref, nil)
			s.wantRefused(doc, "Untrusted", "revoked at")
		},
		"a bundle that is missing is asked for again after a pause": func(s *server) {
			s.revoke(xmlsig.RevocationPrefer)
			ref := enforce.RevocationRef{FeedName: "contoso", BundleName: "contoso-9", Digest: strings.Repeat("a", 64)}
			s.learns(ref, nil)
			s.learns(ref, nil)
			if s.source.asked != 1 {
				s.Errorf("the cluster was asked %d times, want once", s.source.asked)
			}
			s.later(retryRefused)
			s.learns(ref, nil)
			if s.source.asked != 2 {
				s.Errorf("the cluster was asked %d times after the pause, want twice", s.source.asked)
			}
		},
		"a bundle that is ahead of the plan counts, and is looked at again after a pause": func(s *server) {
			s.revoke(xmlsig.RevocationPrefer)
			doc := s.publish(ocs.Document{Sequence: 1})
			ref := s.handOut(doc, s.list(s.keys.Issuing, 2*day))
			s.handOut(doc, s.list(s.keys.Issuing, day, s.keys.ECDSA))
			s.learns(ref, nil)
			s.learns(ref, nil)
			if s.source.asked != 1 {
				s.Errorf("the cluster was asked %d times, want once", s.source.asked)
			}
			s.wantRefused(doc, "Untrusted", "revoked at")
			s.later(retryRefused)
			asked := s.source.asked
			s.learns(ref, nil)
			if s.source.asked != asked+1 {
				s.Errorf("the cluster was asked %d more times after the pause, want once", s.source.asked-asked)
			}
		},
		"lists that ran out keep nothing from being used that was accepted, and let nothing new in": func(s *server) {
			s.revoke(xmlsig.RevocationRequire)
			doc := s.publish(ocs.Document{Sequence: 1})
			s.learns(s.handOut(doc, s.list(s.keys.Issuing, day), s.list(s.keys.Root, day)), nil)
			s.wantUsable(doc)
			s.later(10 * day)
			s.restart()
			s.wantUsable(doc)
			next := s.publish(ocs.Document{Sequence: 2})
			s.wantRefused(next, "Untrusted", "the list ended at")
		},
		"lists that ran out still take back what they name": func(s *server) {
			s.revoke(xmlsig.RevocationRequire)
			doc := s.publish(ocs.Document{Sequence: 1})
			s.learns(s.handOut(doc, s.list(s.keys.Issuing, 2*day), s.list(s.keys.Root, 2*day)), nil)
			s.wantUsable(doc)
			s.learns(s.handOut(doc, s.list(s.keys.Issuing, day, s.keys.ECDSA), s.list(s.keys.Root, day)), nil)
			s.later(10 * day)
			s.restart()
			s.wantRefused(doc, "Untrusted", "revoked at")
		},
		"the greatest age is that of the trust file": func(s *server) {
			s.revoke(xmlsig.RevocationRequire, "      maxAgeSeconds: 3600\n")
			doc := s.publish(ocs.Document{Sequence: 1})
			s.learns(s.handOut(doc, s.list(s.keys.Issuing, 2*time.Hour), s.list(s.keys.Root, 2*time.Hour)), nil)
			s.wantRefused(doc, "Untrusted", "is older than 1h0m0s")
		},
		"what the trust file's own list names stays revoked whatever the cluster hands out": func(s *server) {
			s.revoke(xmlsig.RevocationPrefer, "      crls:"+indented("X509 CRL", s.list(s.keys.Issuing, 3*day, s.keys.ECDSA)))
			doc := s.publish(ocs.Document{Sequence: 1})
			s.learns(s.handOut(doc, s.list(s.keys.Issuing, day)), nil)
			s.wantRefused(doc, "Untrusted", "revoked at")
		},
		"another trust file gives a refused list another chance": func(s *server) {
			other, err := pki.New(now)
			if err != nil {
				s.Fatal(err)
			}
			s.revoke(xmlsig.RevocationPrefer)
			doc := s.publish(ocs.Document{Sequence: 1})
			ref := s.handOut(doc, s.list(other.Root, day))
			s.learns(ref, nil, "revocation list of")
			keys := s.keys
			s.keys = other
			s.revoke(xmlsig.RevocationPrefer)
			s.keys = keys
			s.learns(ref, nil)
		},
		"a list that cannot be kept is not used, and that is said": func(s *server) {
			s.revoke(xmlsig.RevocationPrefer)
			doc := s.publish(ocs.Document{Sequence: 1})
			s.learns(s.handOut(doc, s.list(s.keys.Root, day)), nil)
			ref := s.handOut(doc, s.list(s.keys.Issuing, day, s.keys.ECDSA))
			if err := os.RemoveAll(filepath.Join(s.dir, "agent")); err != nil {
				s.Fatal(err)
			}
			s.learns(ref, nil, "look at the agent's state folder")
			if have, err := s.store.knownLists("contoso"); err != nil || len(have.lists) != 1 {
				s.Errorf("%d lists, %v, want the one that was kept", len(have.lists), err)
			}
		},
		"a kept list that is damaged is fetched again": func(s *server) {
			s.revoke(xmlsig.RevocationPrefer)
			doc := s.publish(ocs.Document{Sequence: 1})
			ref := s.handOut(doc, s.list(s.keys.Issuing, day, s.keys.ECDSA))
			s.learns(ref, nil)
			record, err := s.memory().Lists("contoso")
			if err != nil {
				s.Fatal(err)
			}
			record.DER[0] = record.DER[0][1:]
			if err := s.memory().SaveLists("contoso", record); err != nil {
				s.Fatal(err)
			}
			s.restart()
			s.wantUsable(doc)
			s.learns(ref, nil)
			s.wantRefused(doc, "Untrusted", "revoked at")
		},
		"with a trust file that cannot be read nothing is learnt": func(s *server) {
			ref := s.handOut(s.publish(ocs.Document{Sequence: 1}), s.list(s.keys.Issuing, day))
			s.write("trust.yaml", "feeds: [")
			s.learns(ref, nil)
			if s.source.asked != 0 {
				s.Errorf("the cluster was asked %d times, want never", s.source.asked)
			}
		},
	} {
		t.Run(name, func(t *testing.T) { test(newServer(t)) })
	}
}

// TestLearnBelievesTheAuthoritiesOfCounterSignatures has a list that only the chain of a counter-signature vouches for.
func TestLearnBelievesTheAuthoritiesOfCounterSignatures(t *testing.T) {
	s := newServer(t)
	middle, err := s.keys.TSARoot.Issue("Time-Stamping CA", pki.Authority(), valid)
	if err != nil {
		t.Fatal(err)
	}
	tsa, err := middle.Issue("TSA", pki.TimeStamping(), valid)
	if err != nil {
		t.Fatal(err)
	}
	s.revoke(xmlsig.RevocationPrefer)
	content, err := os.ReadFile(filepath.Join(s.dir, "trust.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("trust.yaml", string(content)+"    timestampRoots:"+indented("CERTIFICATE", s.keys.TSARoot.Certificate.Raw))
	unsigned, err := ocs.Build(ocs.Document{Version: ocs.Version11, Sequence: 1, Configs: []ocs.Config{{ID: "PING1", Revision: 1, Description: "Heartbeat", Actions: []ocs.Action{
		{ID: "PING1.1", Type: ocs.DoNothing, Scope: ocs.ScopeServer, Description: "None", Value: ocs.ValueDoNothing},
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := xmlsig.Sign(unsigned, xmlsig.SignOptions{
		Key: s.keys.ECDSA.Key, Certificates: s.keys.ECDSA.Chain(), Timestamper: func(value []byte) ([]byte, error) { return tsa.Timestamp(value, now) },
	})
	if err != nil {
		t.Fatal(err)
	}
	doc := s.bundle("contoso-1", signed)
	s.learns(s.handOut(doc, s.list(middle, day, tsa)), nil)
	s.wantRefused(doc, "Untrusted", "revoked at")
}

func TestKeptListsAreBounded(t *testing.T) {
	s := newServer(t)
	s.revoke(xmlsig.RevocationPrefer)
	doc := s.publish(ocs.Document{Sequence: 1})
	for batch := range maxKeptLists/revocation.MaxLists + 1 {
		var lists [][]byte
		for i := range revocation.MaxLists {
			authority, err := s.keys.Root.Issue(fmt.Sprintf("Authority %d.%d", batch, i), pki.Authority(), valid)
			if err != nil {
				t.Fatal(err)
			}
			key, err := authority.Issue("Signer", valid)
			if err != nil {
				t.Fatal(err)
			}
			beside := s.publish(ocs.Document{Sequence: int64(1000 + batch*10 + i)}, key)
			lists = append(lists, s.list(authority, time.Duration(100-batch)*time.Hour))
			doc = beside
			s.learns(s.handOut(beside, lists[i]), nil)
		}
	}
	have, err := s.store.knownLists(doc.FeedName)
	if err != nil || len(have.lists) != maxKeptLists {
		t.Fatalf("%d lists are kept, %v, want %d", len(have.lists), err, maxKeptLists)
	}
	for _, l := range have.lists {
		if strings.HasPrefix(l.Issuer.CommonName, "Authority 0.") {
			t.Errorf("the list of %s is kept, although newer ones were to be dropped for it", l.Issuer.CommonName)
		}
	}
}

func TestListsFromTheClusterAreAnchors(t *testing.T) {
	s := newServer(t)
	local := s.list(s.keys.Issuing, 6*day)
	s.revoke(xmlsig.RevocationPrefer, "      crls:"+indented("X509 CRL", local))
	want := func(fields ...string) {
		t.Helper()
		anchors, err := s.store.Anchors()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, a := range anchors {
			got = append(got, string(a.Kind)+" "+a.Field+" "+a.NotAfter.Format(time.DateOnly))
		}
		root := "root feeds.contoso.roots " + s.keys.Root.Certificate.NotAfter.Format(time.DateOnly)
		if strings.Join(got, "\n") != strings.Join(append([]string{root}, fields...), "\n") {
			t.Fatalf("anchors =\n%s\nwant the root and\n%s", strings.Join(got, "\n"), strings.Join(fields, "\n"))
		}
	}
	inFile := "revocationList feeds.contoso.revocation.crls 2026-05-15"
	want(inFile)
	doc := s.publish(ocs.Document{Sequence: 1})
	s.learns(s.handOut(doc, s.list(s.keys.Issuing, day), s.list(s.keys.Root, 2*day)), nil)
	s.wantUsable(doc)
	fetched := []string{"fetchedRevocationList feeds.contoso.revocation from the cluster 2026-05-20", "fetchedRevocationList feeds.contoso.revocation from the cluster 2026-05-19"}
	anchors, err := s.store.Anchors()
	if err != nil || len(anchors) != 3 {
		t.Fatalf("anchors = %+v, %v, want the root and two lists, of which one took the place of that of the file", anchors, err)
	}
	if strings.Contains(anchors[1].Subject, "Root CA") {
		fetched[0], fetched[1] = fetched[1], fetched[0]
	}
	want(fetched...)
	if left := trust.Expiring(anchors, now.Add(6*day-time.Hour), trust.Horizon); len(left) != 2 {
		t.Errorf("expiring = %+v an hour before the end of one list, want both lists", left)
	}

	// A list of an authority that no document in use rests on is kept, and not warned of.
	s.load()
	want()
	s.revoke(xmlsig.RevocationOff)
	want()
}
