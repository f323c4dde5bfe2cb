package threats_test

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"mitigation.dev/ems/internal/build"
	"mitigation.dev/ems/internal/fetch"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/replay"
	"mitigation.dev/ems/internal/revocation"
	"mitigation.dev/ems/internal/xmlsig"
	"mitigation.dev/ems/test/pki"
)

// start is the time of the first step of every case.
var start = time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)

const accepted = "accepted"

// receiver is what manager and agent have in common: a trust policy and the memory of what was accepted.
type receiver struct {
	trust  xmlsig.Policy
	limits fetch.Limits
	seen   replay.Seen
	// lists are the revocation lists that the receiver was handed and believed.
	lists []*revocation.List
	// document is the last one accepted: what the servers are protected by.
	document *ocs.Document
}

// receive lets one document take the whole way.
func (r *receiver) receive(ctx context.Context, url string, now time.Time) error {
	response, err := fetch.Get(ctx, fetch.Request{URL: url, Limits: r.limits})
	if err != nil {
		return err
	}
	signed, err := xmlsig.Verify(response.Body, r.trust, now)
	if err != nil {
		return err
	}
	document, err := ocs.Parse(signed.Canonical)
	if err != nil {
		return err
	}
	candidate := replay.Candidate{
		Version: document.Version, Sequence: document.Sequence, Digest: hex.EncodeToString(signed.Digest[:]),
		SignedAt: signed.SignedAt, Issued: document.Issued, Expires: document.Expires,
	}
	if err := replay.Check(r.seen, candidate, false, now); err != nil {
		return err
	}
	r.seen, r.document = r.seen.After(candidate), document
	return nil
}

// handed lets revocation lists take the way from the cluster to a server, in mode Prefer, where a list that is held back
// is not missed. refusal is a part of why one of them is not believed; empty: all are.
func handed(t *testing.T, refusal string, lists ...*x509.RevocationList) func(*receiver) {
	return func(r *receiver) {
		t.Helper()
		var refused []string
		var believed []*revocation.List
		for _, l := range lists {
			parsed, err := revocation.Parse(l.Raw)
			if err == nil {
				err = parsed.VerifyBy([]*x509.Certificate{publisherKeys(t).Root.Certificate, publisherKeys(t).Issuing.Certificate}, start)
			}
			if err != nil {
				refused = append(refused, err.Error())
				continue
			}
			believed = append(believed, parsed)
		}
		merged, older := revocation.Merge(r.lists, believed)
		for _, o := range older {
			refused = append(refused, o.Message)
		}
		if said := strings.Join(refused, "; "); !strings.Contains(said, refusal) || (refusal == "") != (said == "") {
			t.Fatalf("refused lists: %q, want %q", said, refusal)
		}
		r.lists = merged
		r.trust.Revocation = xmlsig.Revocation{Mode: xmlsig.RevocationPrefer}
		for _, l := range merged {
			r.trust.Revocation.CRLs = append(r.trust.Revocation.CRLs, l.RevocationList)
		}
	}
}

// verdict names the check that answered.
func verdict(err error) string {
	var (
		transport *fetch.Error
		signature *xmlsig.Error
		order     *replay.Error
	)
	switch {
	case err == nil:
		return accepted
	case errors.As(err, &transport):
		return "fetch: " + string(transport.Class)
	case errors.As(err, &signature):
		return "signature: " + string(signature.Class)
	case errors.As(err, &order):
		return "replay: " + string(order.Reason)
	case errors.Is(err, ocs.ErrInvalid):
		return "document: invalid"
	default:
		return "unforeseen: " + err.Error()
	}
}

// serve answers every request with a document.
func serve(document []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(document) }
}

// listen starts an endpoint. Handlers that wait must end with their request.
func listen(t *testing.T, handler http.Handler) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

var keys = sync.OnceValues(func() (*pki.PKI, error) { return pki.New(start) })

func publisherKeys(tb testing.TB) *pki.PKI {
	tb.Helper()
	p, err := keys()
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// publisher signs documents.
type publisher struct {
	tb     testing.TB
	signer *pki.Identity
}

// publish makes the signed document of a sequence, issued at a time and good for two days.
func (p publisher) publish(sequence int64, issued time.Time, ids ...string) []byte {
	p.tb.Helper()
	document := ocs.Document{Publisher: "Contoso", Sequence: sequence, Issued: issued, Expires: issued.Add(48 * time.Hour)}
	for _, id := range ids {
		document.Configs = append(document.Configs, ocs.Config{
			ID: id, Description: "mitigation " + id,
			Applicability: []ocs.Product{{Name: ocs.ProductExchangeServer, Role: "Mailbox"}},
			Actions:       []ocs.Action{{ID: id + ".1", Type: ocs.AppPool, Scope: ocs.ScopeServer, Target: "Pool" + id, Value: ocs.ValueStopped}},
		})
	}
	return p.sign(document)
}

func (p publisher) sign(document ocs.Document) []byte {
	p.tb.Helper()
	content, err := ocs.Build(document)
	if err != nil {
		p.tb.Fatal(err)
	}
	signed, err := xmlsig.Sign(content, xmlsig.SignOptions{Key: p.signer.Key, Certificates: p.signer.Chain(), ReferenceID: true})
	if err != nil {
		p.tb.Fatal(err)
	}
	return signed
}

// trusting returns a receiver with the strictest policy for a publisher's keys.
func trusting(p *pki.PKI) *receiver {
	return &receiver{trust: xmlsig.Policy{
		Roots:             []*x509.Certificate{p.Root.Certificate},
		IssuerPins:        [][32]byte{sha256.Sum256(p.Issuing.Certificate.RawSubjectPublicKeyInfo)},
		Organization:      "Contoso",
		CommonName:        p.ECDSA.Certificate.Subject.CommonName,
		ExtendedKeyUsages: []asn1.ObjectIdentifier{pki.PrivateUsage},
	}}
}

// targets says on which of the servers the Configs of a document would be applied.
func targets(document *ocs.Document, servers map[string]policy.Facts) []string {
	var found []string
	for _, config := range document.Configs {
		var products []policy.Product
		for _, p := range config.Applicability {
			products = append(products, policy.Product{Name: p.Name, Role: p.Role})
		}
		for name, facts := range servers {
			facts.Build = build.Number{}
			if policy.Applicability(config.ID, products, ocs.ProductExchangeServer, nil, facts).Desired == policy.Apply {
				found = append(found, fmt.Sprintf("%s on %s", config.ID, name))
			}
		}
	}
	return found
}
