package clientcert

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
)

var subject = Subject{Namespace: "pool-a", Server: "web01", Enrolment: strings.Repeat("0a", 16)}

func newKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func good() *x509.CertificateRequest {
	return &x509.CertificateRequest{Subject: pkix.Name{CommonName: subject.User(), Organization: subject.Groups()}}
}

func inPEM(t testing.TB, template *x509.CertificateRequest, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der})
}

func TestARequestOfOursIsRight(t *testing.T) {
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384()} {
		content, err := NewRequest(subject, newKey(t, curve))
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := Parse(content)
		if err != nil {
			t.Fatal(err)
		}
		if err := Check(parsed, subject); err != nil {
			t.Error(err)
		}
	}
	first, second := NewEnrolment(), NewEnrolment()
	if err := CheckEnrolment(first); err != nil || first == second {
		t.Errorf("the names of enrolments are no good: %q, %q: %v", first, second, err)
	}
}

func TestParseRefuses(t *testing.T) {
	whole := inPEM(t, good(), newKey(t, elliptic.P256()))
	block, _ := pem.Decode(whole)
	broken := bytes.Clone(block.Bytes)
	broken[len(broken)-1] ^= 1
	for name, tc := range map[string]struct {
		content []byte
		want    string
	}{
		"nothing":                    {nil, "not in PEM"},
		"text":                       {[]byte("hello"), "not in PEM"},
		"a certificate":              {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes}), "CERTIFICATE"},
		"the other name of the type": {pem.EncodeToMemory(&pem.Block{Type: "NEW CERTIFICATE REQUEST", Bytes: block.Bytes}), "NEW"},
		"headers":                    {pem.EncodeToMemory(&pem.Block{Type: blockType, Headers: map[string]string{"a": "b"}, Bytes: block.Bytes}), "headers"},
		"a second request":           {append(bytes.Clone(whole), whole...), "beside"},
		"words before it":            {append([]byte("hello\n"), whole...), "beside"},
		"half of it":                 {pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: block.Bytes[:len(block.Bytes)/2]}), "asn1"},
		"something after it":         {pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: append(bytes.Clone(block.Bytes), 0)}), "trailing"},
		"a signature that is wrong":  {pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: broken}), "signature"},
		"far too much":               {bytes.Repeat([]byte("a"), MaxRequest+1), "bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse(tc.content); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Parse() = %v, want %q", err, tc.want)
			}
		})
	}
}

func TestCheckRefuses(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p256 := newKey(t, elliptic.P256())
	for name, tc := range map[string]struct {
		change func(*x509.CertificateRequest)
		key    crypto.Signer
		want   string
	}{
		"another server":     {func(r *x509.CertificateRequest) { r.Subject.CommonName = "system:serviceaccount:pool-a:web02" }, p256, "common name"},
		"a server elsewhere": {func(r *x509.CertificateRequest) { r.Subject.CommonName = "system:serviceaccount:pool-b:web01" }, p256, "common name"},
		"nobody":             {func(r *x509.CertificateRequest) { r.Subject.CommonName = "" }, p256, "common name"},
		"a second common name": {func(r *x509.CertificateRequest) {
			r.Subject.ExtraNames = []pkix.AttributeTypeAndValue{named(2, 5, 4, 3), {Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: subject.User()}}
		}, p256, "subject: 5 attributes"},
		"a unit": {func(r *x509.CertificateRequest) { r.Subject.OrganizationalUnit = []string{"x"} }, p256, "attributes"},
		"a user id": {func(r *x509.CertificateRequest) {
			r.Subject.ExtraNames = append(r.Subject.ExtraNames, named(1, 3, 6, 1, 4, 1, 57683, 2))
		}, p256, "attributes"},
		"administrators": {func(r *x509.CertificateRequest) { r.Subject.Organization = []string{"system:masters"} }, p256, "system:masters"},
		"one group more": {func(r *x509.CertificateRequest) {
			r.Subject.Organization = append(r.Subject.Organization, "system:nodes")
		}, p256, "system:nodes"},
		"one group twice": {func(r *x509.CertificateRequest) {
			r.Subject.Organization = append(r.Subject.Organization, r.Subject.Organization[0])
		}, p256, "organizations"},
		"one group less": {func(r *x509.CertificateRequest) { r.Subject.Organization = r.Subject.Organization[1:] }, p256, "organizations"},
		"no groups":      {func(r *x509.CertificateRequest) { r.Subject.Organization = nil }, p256, "organizations"},
		"an earlier one": {func(r *x509.CertificateRequest) { r.Subject.Organization[0] = EnrolmentGroup + strings.Repeat("f", 32) }, p256, "organizations"},
		"a host":         {func(r *x509.CertificateRequest) { r.DNSNames = []string{"kubernetes"} }, p256, "alternative names"},
		"an address":     {func(r *x509.CertificateRequest) { r.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} }, p256, "alternative names"},
		"a URI":          {func(r *x509.CertificateRequest) { r.URIs = []*url.URL{{Scheme: "spiffe", Host: "x"}} }, p256, "alternative names"},
		"a mail address": {func(r *x509.CertificateRequest) { r.EmailAddresses = []string{"a@contoso.example"} }, p256, "alternative names"},
		"an extension": {func(r *x509.CertificateRequest) {
			r.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Value: []byte{0x30, 3, 1, 1, 0xff}}}
		}, p256, "extensions"},
		"an RSA key":       {func(*x509.CertificateRequest) {}, rsaKey, "rsa.PublicKey"},
		"a key on Edwards": {func(*x509.CertificateRequest) {}, ed, "ed25519.PublicKey"},
		"a key on P-224":   {func(*x509.CertificateRequest) {}, newKey(t, elliptic.P224()), "P-224"},
		"a key on P-521":   {func(*x509.CertificateRequest) {}, newKey(t, elliptic.P521()), "P-521"},
	} {
		t.Run(name, func(t *testing.T) {
			template := good()
			tc.change(template)
			parsed, err := Parse(inPEM(t, template, tc.key))
			if err != nil {
				t.Fatal(err)
			}
			if err := Check(parsed, subject); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Check() = %v, want %q", err, tc.want)
			}
		})
	}
}

func named(id ...int) pkix.AttributeTypeAndValue {
	return pkix.AttributeTypeAndValue{Type: id, Value: "another"}
}

// A challenge password is an attribute that package x509 does not show.
func TestCheckRefusesAnAttribute(t *testing.T) {
	parsed, err := Parse(inPEM(t, good(), newKey(t, elliptic.P256())))
	if err != nil {
		t.Fatal(err)
	}
	type attribute struct {
		ID     asn1.ObjectIdentifier
		Values []string `asn1:"set"`
	}
	var content struct {
		Raw        asn1.RawContent
		Version    int
		Subject    asn1.RawValue
		PublicKey  asn1.RawValue
		Attributes []attribute `asn1:"tag:0,set"`
	}
	if _, err := asn1.Unmarshal(parsed.RawTBSCertificateRequest, &content); err != nil {
		t.Fatal(err)
	}
	content.Raw = nil
	content.Attributes = []attribute{{ID: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 7}, Values: []string{"secret"}}}
	if parsed.RawTBSCertificateRequest, err = asn1.Marshal(content); err != nil {
		t.Fatal(err)
	}
	if err := Check(parsed, subject); err == nil || !strings.Contains(err.Error(), "attributes: 1") {
		t.Errorf("Check() = %v", err)
	}
}

// FuzzParse: whatever is sent, Parse does not panic, and what Check lets through says nothing but the subject.
func FuzzParse(f *testing.F) {
	whole := inPEM(f, good(), newKey(f, elliptic.P256()))
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte("-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n"))
	withHost := good()
	withHost.DNSNames = []string{"a"}
	f.Add(inPEM(f, withHost, newKey(f, elliptic.P384())))
	f.Fuzz(func(t *testing.T, content []byte) {
		request, err := Parse(content)
		if err != nil || Check(request, subject) != nil {
			return
		}
		if text := request.Subject.ToRDNSequence().String(); !strings.Contains(text, subject.User()) || len(request.Subject.Names) != 4 || strings.Contains(fmt.Sprint(request.Subject.Organization), "masters") {
			t.Fatalf("was taken: %s", text)
		}
	})
}
