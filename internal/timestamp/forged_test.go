package timestamp_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"slices"
	"strings"
	"testing"

	"mitigation.dev/ems/internal/timestamp"
	"mitigation.dev/ems/test/pki"
)

// TestTokensThatAreSignedAndStillWrong has tokens of an authority that is trusted: its signature holds for each of them.
func TestTokensThatAreSignedAndStillWrong(t *testing.T) {
	p := testPKI(t)
	rsaTSA := issueTSA(t, p.TSARoot, pki.TimeStamping(), pki.Key(pki.RSA2048))
	replaced := func(old, replacement []byte) func([]byte) []byte {
		return func(content []byte) []byte {
			if !bytes.Contains(content, old) {
				t.Errorf("% x is not in the content", old)
			}
			return bytes.Replace(content, old, replacement, 1)
		}
	}
	more := make([]*x509.Certificate, 12)
	for i := range more {
		more[i] = p.Root.Certificate
	}
	cases := map[string]struct {
		tsa      *pki.Identity
		token    pki.TokenOptions
		want     error  // nil: the token counts as damaged
		wantText string // empty: accepted
	}{
		"as it should be": {},
		"another certificate of the same issuer in front": {token: pki.TokenOptions{Certificates: []*x509.Certificate{rsaTSA.Certificate}}},
		"a message that is not SignedData":                {token: pki.TokenOptions{MessageType: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 3}}, wantText: "not SignedData"},
		"content that is not a time-stamp":                {token: pki.TokenOptions{ContentType: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}}, wantText: "not a time-stamp"},
		"two signers":                                     {token: pki.TokenOptions{Signers: 2}, wantText: "2 signers"},
		"version 2":                                       {token: pki.TokenOptions{Content: replaced([]byte{2, 1, 1}, []byte{2, 1, 2})}, wantText: "version 2"},
		"a time of another type":                          {token: pki.TokenOptions{Content: replaced([]byte{0x18, 15}, []byte{0x1a, 15})}, wantText: "not a GeneralizedTime"},
		"bytes behind the content":                        {token: pki.TokenOptions{Content: func(c []byte) []byte { return append(c, 5, 0) }}, wantText: "2 bytes behind"},
		"a SHA-1 imprint":                                 {token: pki.TokenOptions{Hash: crypto.SHA1}, wantText: "digest algorithm"},
		"too many certificates":                           {token: pki.TokenOptions{Certificates: more}, wantText: "more than 12"},
		"an attribute twice":                              {token: pki.TokenOptions{Attributes: func(all [][]byte) [][]byte { return append(all, all[0]) }}, wantText: "repeated"},
		"an attribute whose values are a sequence": {token: pki.TokenOptions{Attributes: func(all [][]byte) [][]byte {
			all[0] = bytes.Replace(all[0], []byte{0x31}, []byte{0x30}, 1)
			return all
		}}, wantText: "no set"},
		"no content-type attribute":   {token: pki.TokenOptions{Attributes: func(all [][]byte) [][]byte { return all[1:] }}, want: timestamp.ErrSignature, wantText: "content-type"},
		"no message-digest attribute": {token: pki.TokenOptions{Attributes: func(all [][]byte) [][]byte { return slices.Delete(all, 1, 2) }}, want: timestamp.ErrSignature, wantText: "message-digest"},
		"the SHA-1 form of the signing-certificate attribute names another": {token: pki.TokenOptions{Attributes: func(all [][]byte) [][]byte {
			return append(all, signingCertificateV1(t, make([]byte, 20)))
		}}, want: timestamp.ErrCertificate, wantText: "names another"},
		"an algorithm for another digest": {tsa: rsaTSA, token: pki.TokenOptions{SignatureAlgorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 12}}, wantText: "not accepted"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tsa := tc.tsa
			if tsa == nil {
				tsa = p.TSA
			}
			token, err := tsa.TimestampWith(message, now, tc.token)
			if err != nil {
				t.Fatal(err)
			}
			_, err = timestamp.Verify(token, message, optionsOf(p))
			switch {
			case tc.wantText == "" && err != nil:
				t.Fatal(err)
			case tc.wantText != "" && (err == nil || !strings.Contains(err.Error(), tc.wantText)):
				t.Fatalf("error %v, want one with %q", err, tc.wantText)
			case tc.want != nil && !errors.Is(err, tc.want):
				t.Fatalf("error %v, want %v", err, tc.want)
			}
		})
	}
}

// TestAuthoritiesThatMayNotStamp has certificates under the trusted root that were issued for something else.
func TestAuthoritiesThatMayNotStamp(t *testing.T) {
	p := testPKI(t)
	timeStamping, serverAuth := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1}
	foreign, err := pki.NewRoot("Foreign root", pki.Authority(), pki.Validity(now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0)))
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		tsa          *pki.Identity
		certificates []*x509.Certificate
		want         error
	}{
		"an authority of certificates that may stamp": {issueTSA(t, p.TSARoot, pki.Authority(), pki.TimeStamping()), nil, timestamp.ErrCertificate},
		"time-stamping and another known purpose":     {issueTSA(t, p.TSARoot, pki.Usages(timeStamping, serverAuth)), nil, timestamp.ErrCertificate},
		"time-stamping and a private purpose":         {issueTSA(t, p.TSARoot, pki.Usages(timeStamping, pki.PrivateUsage)), nil, timestamp.ErrCertificate},
		"an authority for servers in between":         {issueTSA(t, issueTSA(t, p.TSARoot, pki.Authority(), pki.Usages(serverAuth)), pki.TimeStamping()), nil, timestamp.ErrUntrusted},
		"an authority with a weak key in between":     {issueTSA(t, issueTSA(t, p.TSARoot, pki.Authority(), pki.Key(pki.RSA1024)), pki.TimeStamping()), nil, timestamp.ErrUntrusted},
		"an ordinary authority in between":            {issueTSA(t, issueTSA(t, p.TSARoot, pki.Authority()), pki.TimeStamping()), nil, nil},
		"a foreign root that the token brings along":  {issueTSA(t, foreign, pki.TimeStamping()), []*x509.Certificate{foreign.Certificate}, timestamp.ErrUntrusted},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			token, err := tc.tsa.TimestampWith(message, now, pki.TokenOptions{Certificates: tc.certificates})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := timestamp.Verify(token, message, optionsOf(p)); !errors.Is(err, tc.want) {
				t.Fatalf("error %v, want %v", err, tc.want)
			}
		})
	}
}

func issueTSA(t *testing.T, issuer *pki.Identity, options ...pki.Option) *pki.Identity {
	t.Helper()
	id, err := issuer.Issue("Example", append(options, pki.Validity(now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0)))...)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// signingCertificateV1 makes the attribute of RFC 2634, section 5.4.
func signingCertificateV1(t *testing.T, hash []byte) []byte {
	t.Helper()
	type certificateID struct{ Hash []byte }
	type signingCertificate struct{ Certificates []certificateID }
	der, err := asn1.Marshal(struct {
		Type   asn1.ObjectIdentifier
		Values []signingCertificate `asn1:"set"`
	}{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 12}, []signingCertificate{{[]certificateID{{hash}}}}})
	if err != nil {
		t.Fatal(err)
	}
	return der
}
