package threats_test

import (
	"bytes"
	"compress/gzip"
	"crypto/x509"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/fetch"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/replay"
	"mitigation.dev/ems/internal/xmlsig"
	"mitigation.dev/ems/test/pki"
)

// step is one poll of the endpoint.
type step struct {
	// does is for the reader.
	does string
	// after is how long after the start the poll happens.
	after time.Duration
	// change happens at the receiver before, such as a new trust policy.
	change func(*receiver)
	answer http.HandlerFunc
	want   string
}

// threat is one row: an attack, what the attacker has, and what happens.
type threat struct {
	has   string
	steps []step
	// protects is what the receiver still has in the end: the ids of the accepted document.
	protects []string
}

func TestThreats(t *testing.T) {
	tables := map[string]func(*testing.T) map[string]threat{
		"order and age": orderAndAge, "content": contentThreats, "transport": transportThreats, "keys": keyThreats,
	}
	for table, build := range tables {
		t.Run(table, func(t *testing.T) {
			for name, row := range build(t) {
				t.Run(name+", by somebody with "+row.has, func(t *testing.T) { row.run(t) })
			}
		})
	}
}

func (row threat) run(t *testing.T) {
	r := trusting(publisherKeys(t))
	for i, s := range row.steps {
		if s.change != nil {
			s.change(r)
		}
		now := start.Add(s.after)
		err := r.receive(t.Context(), listen(t, s.answer), now)
		if got := verdict(err); got != s.want {
			t.Fatalf("step %d, %s: %s, want %s (%v)", i+1, s.does, got, s.want, err)
		}
	}
	var ids []string
	if r.document != nil {
		for _, c := range r.document.Configs {
			ids = append(ids, c.ID)
		}
	}
	if diff := cmp.Diff(row.protects, ids); diff != "" {
		t.Errorf("protection in the end (-want +got):\n%s", diff)
	}
}

func orderAndAge(t *testing.T) map[string]threat {
	publish := publisher{t, publisherKeys(t).ECDSA}.publish
	old, current := publish(41, start, "M1"), publish(42, start, "M1", "M2")
	other := publish(42, start, "M1")
	farAhead := publish(42+replay.MaxSequenceJump+1, start, "M9")
	furthest := publish(1<<62, start, "M9")
	return map[string]threat{
		"rollback": {has: "a genuine older document", steps: []step{
			{does: "the current document", answer: serve(current), want: accepted},
			{does: "the older one", after: time.Hour, answer: serve(old), want: "replay: RolledBack"},
			{does: "the current one again", after: 2 * time.Hour, answer: serve(current), want: accepted},
		}, protects: []string{"M1", "M2"}},
		"two documents of one sequence taking turns": {has: "two genuine documents of a careless publisher", steps: []step{
			{does: "the first", answer: serve(current), want: accepted},
			{does: "the other", after: time.Hour, answer: serve(other), want: "replay: RolledBack"},
		}, protects: []string{"M1", "M2"}},
		"freeze": {has: "the endpoint and the genuine document", steps: []step{
			{does: "the current document", answer: serve(current), want: accepted},
			{does: "the same, long after its expiry", after: 30 * 24 * time.Hour, answer: serve(current), want: accepted},
			{does: "an older one, for a change", after: 30 * 24 * time.Hour, answer: serve(old), want: "replay: RolledBack"},
		}, protects: []string{"M1", "M2"}},
		"freeze of a new server": {has: "the endpoint and a genuine document that has expired", steps: []step{
			{does: "the expired document", after: 30 * 24 * time.Hour, answer: serve(current), want: "replay: Expired"},
		}},
		"a document that expired on the way": {has: "the endpoint and a genuine newer document, held back", steps: []step{
			{does: "the current document", answer: serve(current), want: accepted},
			{does: "the newer one, held back for a week", after: 7 * 24 * time.Hour, answer: serve(publish(43, start.Add(time.Hour), "M3")), want: "replay: Expired"},
		}, protects: []string{"M1", "M2"}},
		"a document of the future": {has: "a signing key and a clock that is wrong", steps: []step{
			{does: "a document issued tomorrow", answer: serve(publish(43, start.Add(24*time.Hour), "M3")), want: "replay: NotYetValid"},
		}},
		"fast-forward": {has: "the signing key for a moment", steps: []step{
			{does: "the current document", answer: serve(current), want: accepted},
			{does: "a sequence beyond the cap", after: time.Hour, answer: serve(farAhead), want: "replay: SequenceJump"},
			{does: "a sequence at the end of the numbers", after: time.Hour, answer: serve(furthest), want: "replay: SequenceJump"},
			{does: "the genuine next document", after: 2 * time.Hour, answer: serve(publish(43, start, "M1", "M2", "M3")), want: accepted},
		}, protects: []string{"M1", "M2", "M3"}},
		"fast-forward within the cap": {has: "the signing key for a moment", steps: []step{
			{does: "the current document", answer: serve(current), want: accepted},
			{does: "a sequence just within the cap", after: time.Hour, answer: serve(publish(42+replay.MaxSequenceJump, start, "M9")), want: accepted},
			{does: "the genuine next document", after: 2 * time.Hour, answer: serve(publish(43, start, "M1")), want: "replay: RolledBack"},
			{does: "the publisher goes on from there", after: 3 * time.Hour, answer: serve(publish(42+replay.MaxSequenceJump+1, start, "M1", "M2")), want: accepted},
		}, protects: []string{"M1", "M2"}},
		"recovery by the operator's word": {has: "nothing: the publisher moved to another scheme of numbers", steps: []step{
			{does: "the current document", answer: serve(current), want: accepted},
			{does: "one beyond the cap", answer: serve(farAhead), want: "replay: SequenceJump"},
			{does: "one beyond what the operator allows", change: func(r *receiver) { r.seen.JumpTo = 42 + replay.MaxSequenceJump + 1 }, answer: serve(furthest), want: "replay: SequenceJump"},
			{does: "the one that the operator allows", answer: serve(farAhead), want: accepted},
			{does: "a further one, which the word did not cover", answer: serve(furthest), want: "replay: SequenceJump"},
			{does: "the one from before", answer: serve(current), want: "replay: RolledBack"},
		}, protects: []string{"M9"}},
		"recovery of a publisher that is far ahead": {has: "nothing: the server was away for years", steps: []step{
			{does: "the last document it saw", answer: serve(old), want: accepted},
			{does: "the current one, beyond the cap", answer: serve(farAhead), want: "replay: SequenceJump"},
			{does: "a document half-way", answer: serve(publish(5_000, start, "M4")), want: accepted},
			{does: "the current one, now within the cap", answer: serve(farAhead), want: accepted},
		}, protects: []string{"M9"}},
	}
}

func contentThreats(t *testing.T) map[string]threat {
	publish := publisher{t, publisherKeys(t).ECDSA}.publish
	old, current := string(publish(41, start, "M1")), string(publish(42, start, "M2"))
	config := func(document string) string { return between(t, document, "<Config", "</Config>") }
	signature := func(document string) string { return between(t, document, "<Signature", "</Signature>") }
	return map[string]threat{
		"mix-and-match of mitigations": {has: "two genuine documents", steps: []step{
			{does: "the older mitigation in the newer document", answer: serve(exchange(t, current, config(current), config(old))), want: "signature: digest mismatch"},
			{does: "both mitigations in the newer document", answer: serve(exchange(t, current, config(current), config(current)+config(old))), want: "signature: digest mismatch"},
			{does: "the newer mitigation left out", answer: serve(exchange(t, current, config(current), "")), want: "signature: digest mismatch"},
		}},
		"mix-and-match of signatures": {has: "two genuine documents", steps: []step{
			{does: "the older signature on the newer document", answer: serve(exchange(t, current, signature(current), signature(old))), want: "signature: digest mismatch"},
			{does: "both signatures", answer: serve(exchange(t, current, signature(current), signature(old)+signature(current))), want: "signature: signature shape not accepted"},
		}},
		"an older document with a new sequence": {has: "a genuine older document", steps: []step{
			{does: "the sequence raised", answer: serve(exchange(t, old, `sequence="41"`, `sequence="43"`)), want: "signature: digest mismatch"},
			{does: "the expiry put off", answer: serve(exchange(t, old, `expires="2026-`, `expires="2036-`)), want: "signature: digest mismatch"},
		}},
		"an arbitrary document": {has: "the endpoint", steps: []step{
			{does: "no XML", answer: serve([]byte("OK")), want: "signature: malformed XML"},
			{does: "no signature", answer: serve(exchange(t, current, signature(current), "")), want: "signature: signature shape not accepted"},
			{does: "signed, but no mitigation document", answer: serve(sign(t, "<Other/>")), want: "document: invalid"},
		}},
	}
}

func transportThreats(t *testing.T) map[string]threat {
	const brief = 100 * time.Millisecond
	current := publisher{t, publisherKeys(t).ECDSA}.publish(42, start, "M1")
	elsewhere := listen(t, serve(current))
	limit := func(l fetch.Limits) func(*receiver) { return func(r *receiver) { r.limits = l } }
	return map[string]threat{
		"endless data": {has: "the endpoint", steps: []step{
			{does: "a document that does not end", want: "fetch: TooLarge", answer: func(w http.ResponseWriter, _ *http.Request) {
				for {
					if _, err := w.Write(bytes.Repeat([]byte("<a/>"), 1024)); err != nil {
						return
					}
				}
			}},
			{does: "a small answer that unpacks to a large one", want: "fetch: UnexpectedEncoding", answer: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Encoding", "gzip")
				packer := gzip.NewWriter(w)
				_, _ = packer.Write(make([]byte, 64<<20))
				_ = packer.Close()
			}},
			{does: "a genuine document with a body of 1 MiB behind it", want: "fetch: TooLarge", answer: serve(append(slices.Clone(current), bytes.Repeat([]byte(" "), 1<<20)...))},
		}},
		"slow retrieval": {has: "the endpoint", steps: []step{
			{does: "no headers", change: limit(fetch.Limits{Headers: brief}), want: "fetch: TimedOut", answer: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
			{does: "a byte now and then", change: limit(fetch.Limits{Total: 2 * brief}), want: "fetch: TimedOut", answer: drip(current)},
			{does: "a byte now and then, and no hurry", change: limit(fetch.Limits{Rate: 1 << 30, RateGrace: brief}), want: "fetch: TimedOut", answer: drip(current)},
			{does: "the document, in time", change: limit(fetch.Limits{}), want: accepted, answer: serve(current)},
		}, protects: []string{"M1"}},
		"another endpoint": {has: "an answer of the endpoint", steps: []step{
			{does: "a redirect to another host", want: "fetch: Redirected", answer: http.RedirectHandler(elsewhere, http.StatusFound).ServeHTTP},
			{does: "a redirect in a circle", want: "fetch: Redirected", answer: func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "/again"+r.URL.Path, http.StatusFound)
			}},
		}},
	}
}

// drip writes one byte at a time until the client has had enough.
func drip(document []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		for i := range document {
			select {
			case <-r.Context().Done():
				return
			case <-ticker.C:
			}
			_, _ = w.Write(document[i : i+1])
			_ = http.NewResponseController(w).Flush()
		}
	}
}

func keyThreats(t *testing.T) map[string]threat {
	p := publisherKeys(t)
	foreign, err := pki.New(start) // the same names, other keys
	if err != nil {
		t.Fatal(err)
	}
	renewed, err := p.Issuing.Issue(p.ECDSA.Certificate.Subject.CommonName, pki.Validity(start.AddDate(-1, 0, 0), start.AddDate(1, 0, 0)))
	if err != nil {
		t.Fatal(err)
	}
	first := publisher{t, p.ECDSA}.publish(42, start, "M1")
	stolen := publisher{t, p.ECDSA}.publish(43, start, "M9")
	byNewLeaf := publisher{t, renewed}.publish(44, start, "M1", "M2")
	byNewRoot := publisher{t, foreign.ECDSA}.publish(45, start, "M1", "M2")
	list := func(issuer *pki.Identity, revoked ...*pki.Identity) *x509.RevocationList { // good for a day
		list, err := issuer.RevocationList(start, start.Add(24*time.Hour), revoked...)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	later := func(after time.Duration, issuer *pki.Identity, revoked ...*pki.Identity) *x509.RevocationList {
		list, err := issuer.RevocationList(start.Add(after), start.Add(after+24*time.Hour), revoked...)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	lists := func(mode xmlsig.RevocationMode, lists ...*x509.RevocationList) func(*receiver) {
		return func(r *receiver) { r.trust.Revocation = xmlsig.Revocation{Mode: mode, CRLs: lists} }
	}
	roots := func(ids ...*pki.PKI) func(*receiver) {
		return func(r *receiver) {
			r.trust = trusting(ids[0]).trust
			for _, id := range ids[1:] {
				more := trusting(id).trust
				r.trust.Roots, r.trust.IssuerPins = append(r.trust.Roots, more.Roots...), append(r.trust.IssuerPins, more.IssuerPins...)
			}
		}
	}
	return map[string]threat{
		"a signer of the same name": {has: "a root of their own", steps: []step{
			{does: "their document", answer: serve(byNewRoot), want: "signature: signer not trusted"},
		}},
		"a revoked signer": {has: "the signing key", steps: []step{
			{does: "the genuine document", change: lists(xmlsig.RevocationRequire, list(p.Issuing), list(p.Root)), answer: serve(first), want: accepted},
			{does: "a document of the stolen key, after the publisher revoked it", change: lists(xmlsig.RevocationRequire, list(p.Issuing, p.ECDSA), list(p.Root)), answer: serve(stolen), want: "signature: signer revoked"},
			{does: "the same with a list that has ended", after: 30 * time.Hour, change: lists(xmlsig.RevocationPrefer, list(p.Issuing, p.ECDSA)), answer: serve(stolen), want: "signature: signer revoked"},
			{does: "the same when the authority names it no more, and the policy keeps the list that did", after: 30 * time.Hour, change: lists(xmlsig.RevocationPrefer, list(p.Issuing, p.ECDSA), later(time.Hour, p.Issuing)), answer: serve(stolen), want: "signature: signer revoked"},
			{does: "the same with the news of it held back for good", after: 30 * time.Hour, change: lists(xmlsig.RevocationRequire, list(p.Issuing), list(p.Root)), answer: serve(stolen), want: "signature: signer revoked"},
			{does: "the publisher's next document with a new key", after: time.Hour, change: lists(xmlsig.RevocationRequire, list(p.Issuing, p.ECDSA), list(p.Root)), answer: serve(byNewLeaf), want: accepted},
		}, protects: []string{"M1", "M2"}},
		"a revoked signer, by a list that the cluster carries": {has: "the signing key, and a list of their own authority", steps: []step{
			{does: "the genuine document", change: handed(t, "", list(p.Issuing)), answer: serve(first), want: accepted},
			{does: "a document of the stolen key beside a forged list", change: handed(t, "verification failure", list(foreign.Issuing)), answer: serve(publisher{t, p.ECDSA}.publish(43, start, "M1")), want: accepted},
			{does: "another, after the list arrived", change: handed(t, "", later(time.Minute, p.Issuing, p.ECDSA)), answer: serve(publisher{t, p.ECDSA}.publish(44, start, "M9")), want: "signature: signer revoked"},
			{does: "the publisher's next document with a new key", answer: serve(publisher{t, renewed}.publish(45, start, "M1", "M2")), want: accepted},
		}, protects: []string{"M1", "M2"}},
		"an old list replayed": {has: "the signing key and the cluster", steps: []step{
			{does: "the stolen key after the list arrived", change: handed(t, "", later(time.Minute, p.Issuing, p.ECDSA)), answer: serve(stolen), want: "signature: signer revoked"},
			{does: "the list of before brought back", change: handed(t, "is older than", list(p.Issuing)), answer: serve(stolen), want: "signature: signer revoked"},
			{does: "no list at all", change: handed(t, ""), answer: serve(stolen), want: "signature: signer revoked"},
			{does: "lists of another authority only", change: handed(t, "", list(p.Root)), answer: serve(stolen), want: "signature: signer revoked"},
		}},
		"rotation of roots by overlap": {has: "the old root, which leaked after it was replaced", steps: []step{
			{does: "a document under the old root", answer: serve(first), want: accepted},
			{does: "one under the new root, too early", answer: serve(byNewRoot), want: "signature: signer not trusted"},
			{does: "one under the old root while both are trusted", change: roots(p, foreign), answer: serve(byNewLeaf), want: accepted},
			{does: "one under the new root while both are trusted", answer: serve(byNewRoot), want: accepted},
			{does: "one under the old root, when it has gone", change: roots(foreign), answer: serve(publisher{t, p.ECDSA}.publish(46, start, "M9")), want: "signature: signer not trusted"},
			{does: "the new root goes on", answer: serve(publisher{t, foreign.ECDSA}.publish(47, start, "M3")), want: accepted},
		}, protects: []string{"M3"}},
	}
}

// TestAMitigationForAnotherTarget has the last row: what is applied where is signed, so a genuine mitigation cannot be aimed at
// other servers by who carries it.
func TestAMitigationForAnotherTarget(t *testing.T) {
	p := publisherKeys(t)
	r := trusting(p)
	document := publisher{t, p.ECDSA}.publish(42, start, "M1")
	if err := r.receive(t.Context(), listen(t, serve(document)), start); err != nil {
		t.Fatal(err)
	}
	servers := map[string]policy.Facts{
		"mailbox":    {Product: ocs.ProductExchangeServer, Role: "Mailbox"},
		"edge":       {Product: ocs.ProductExchangeServer, Role: "Edge"},
		"sharepoint": {Product: ocs.ProductSharePointServer, Role: "Mailbox"},
	}
	if diff := cmp.Diff([]string{"M1 on mailbox"}, targets(r.document, servers)); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
	aimed := exchange(t, string(document), `name="ExchangeServer"`, `name="SharePointServer"`)
	if got, want := verdict(r.receive(t.Context(), listen(t, serve(aimed)), start)), "signature: digest mismatch"; got != want {
		t.Errorf("aimed elsewhere: %s, want %s", got, want)
	}
}

func sign(t *testing.T, content string) []byte {
	t.Helper()
	signer := publisherKeys(t).ECDSA
	signed, err := xmlsig.Sign([]byte(content), xmlsig.SignOptions{Key: signer.Key, Certificates: signer.Chain()})
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// exchange replaces text that must be there exactly once: an attack that changes nothing proves nothing.
func exchange(t *testing.T, document, old, replacement string) []byte {
	t.Helper()
	if count := strings.Count(document, old); count != 1 {
		t.Fatalf("%q stands %d times in the document, want once", old, count)
	}
	return []byte(strings.Replace(document, old, replacement, 1))
}

func between(t *testing.T, document, from, to string) string {
	t.Helper()
	_, rest, found := strings.Cut(document, from)
	inner, _, closed := strings.Cut(rest, to)
	if !found || !closed {
		t.Fatalf("no %s...%s in the document", from, to)
	}
	return from + inner + to
}
