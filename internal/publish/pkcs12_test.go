package publish

import (
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"mitigation.dev/ems/test/pki"
)

func TestParsePKCS12(t *testing.T) {
	p := testKeys(t)
	encode := func(encoder *pkcs12.Encoder, key any, password string, leaf *x509.Certificate, others ...*x509.Certificate) []byte {
		content, err := encoder.Encode(key, leaf, others, password)
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	issuing := p.Issuing.Certificate
	good := encode(pkcs12.Modern2023, p.ECDSA.Key, "secret", p.ECDSA.Certificate, issuing)
	for name, tc := range map[string]struct {
		content   []byte
		password  string
		want      []*x509.Certificate
		wantError []string
	}{
		"the form of today":            {content: good, password: "secret", want: []*x509.Certificate{p.ECDSA.Certificate, issuing}},
		"RSA in the form of tomorrow":  {content: encode(pkcs12.Modern2026, p.RSA.Key, "secret", p.RSA.Certificate, issuing), password: "secret", want: []*x509.Certificate{p.RSA.Certificate, issuing}},
		"3DES":                         {content: encode(pkcs12.LegacyDES, p.ECDSA.Key, "secret", p.ECDSA.Certificate), password: "secret", want: []*x509.Certificate{p.ECDSA.Certificate}},
		"RC2":                          {content: encode(pkcs12.LegacyRC2, p.ECDSA.Key, "secret", p.ECDSA.Certificate), password: "secret", want: []*x509.Certificate{p.ECDSA.Certificate}},
		"an empty password":            {content: encode(pkcs12.Modern2023, p.ECDSA.Key, "", p.ECDSA.Certificate), want: []*x509.Certificate{p.ECDSA.Certificate}},
		"a password beyond ASCII":      {content: encode(pkcs12.Modern2023, p.ECDSA.Key, "gehe\u00efm", p.ECDSA.Certificate), password: "gehe\u00efm", want: []*x509.Certificate{p.ECDSA.Certificate}},
		"an authority in front":        {content: encode(pkcs12.Modern2023, p.ECDSA.Key, "secret", issuing, p.ECDSA.Certificate), password: "secret", want: []*x509.Certificate{p.ECDSA.Certificate, issuing}},
		"another password":             {content: good, password: "Secret", wantError: []string{"PKCS#12: the password does not fit"}},
		"no password":                  {content: good, wantError: []string{"PKCS#12: the password does not fit"}},
		"a key of another certificate": {content: encode(pkcs12.Modern2023, p.RSA.Key, "secret", p.ECDSA.Certificate), password: "secret", wantError: []string{"does not belong to the signing certificate"}},
		"authorities only":             {content: encode(pkcs12.Modern2023, p.ECDSA.Key, "secret", issuing), password: "secret", wantError: []string{"the signing certificate is missing"}},
		"two signers":                  {content: encode(pkcs12.Modern2023, p.ECDSA.Key, "secret", p.ECDSA.Certificate, p.RSA.Certificate), password: "secret", wantError: []string{"a second certificate that is no authority"}},
		"a key of another kind":        {content: encode(pkcs12.Modern2023, ed25519.NewKeyFromSeed(make([]byte, 32)), "secret", p.ECDSA.Certificate), password: "secret", wantError: []string{"want RSA or ECDSA"}},
		"PEM":                          {content: privateKeyPEM(t, p.ECDSA), wantError: []string{"the file is PEM", "--key"}},
		"half a file":                  {content: good[:len(good)/2], password: "secret", wantError: []string{"PKCS#12: "}},
		"rubbish":                      {content: []byte("rubbish"), wantError: []string{"PKCS#12: "}},
		"more than fits":               {content: make([]byte, MaxPKCS12Bytes+1), wantError: []string{"at most 65536"}},
	} {
		t.Run(name, func(t *testing.T) {
			key, got, err := ParsePKCS12(tc.content, tc.password)
			expectError(t, err, tc.wantError...)
			if !slices.EqualFunc(got, tc.want, (*x509.Certificate).Equal) || (key != nil) != (len(tc.want) > 0) {
				t.Errorf("key %T with %d certificates, want %d", key, len(got), len(tc.want))
			}
		})
	}
	if _, _, err := ParsePKCS12(good, "other"); !errors.Is(err, ErrPassword) {
		t.Errorf("error = %v, want %v", err, ErrPassword)
	}
}

// TestPKCS12OfOpenssl reads what another program writes, in the forms of today and of the last twenty years.
func TestPKCS12OfOpenssl(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not on PATH")
	}
	p := testKeys(t)
	for name, tc := range map[string]struct {
		signer    *pki.Identity
		arguments []string
	}{
		"today":            {signer: p.ECDSA},
		"RSA":              {signer: p.RSA},
		"3DES":             {signer: p.ECDSA, arguments: []string{"-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1"}},
		"RC2 and 3DES":     {signer: p.ECDSA, arguments: []string{"-legacy"}},
		"no encryption":    {signer: p.RSA, arguments: []string{"-keypbe", "NONE", "-certpbe", "NONE"}},
		"many repetitions": {signer: p.ECDSA, arguments: []string{"-iter", "100000"}},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			writeFile(t, folder, "key.pem", privateKeyPEM(t, tc.signer))
			writeFile(t, folder, "leaf.pem", tc.signer.PEM())
			writeFile(t, folder, "issuing.pem", p.Issuing.PEM())
			writeFile(t, folder, "password", []byte("secret\n"))
			arguments := append([]string{"pkcs12", "-export", "-inkey", "key.pem", "-in", "leaf.pem", "-certfile", "issuing.pem", "-passout", "file:password", "-out", "signing.p12"}, tc.arguments...)
			command := exec.CommandContext(t.Context(), "openssl", arguments...)
			command.Dir = folder
			if out, err := command.CombinedOutput(); err != nil {
				if strings.Contains(string(out), "legacy") {
					t.Skipf("openssl has no legacy provider: %s", out)
				}
				t.Fatalf("%v: %s", err, out)
			}
			content, err := os.ReadFile(filepath.Join(folder, "signing.p12"))
			if err != nil {
				t.Fatal(err)
			}
			key, certificates, err := ParsePKCS12(content, "secret")
			if err != nil {
				t.Fatal(err)
			}
			r := request(t, tc.signer)
			r.Key, r.Certificates = key, certificates
			if _, report, err := Sign(r); err != nil || !report.Valid {
				t.Errorf("signing with it: %v, %+v", err, report)
			}
		})
	}
}

func TestParsePassword(t *testing.T) {
	for name, tc := range map[string]struct {
		content, want string
		wantError     []string
	}{
		"a line":              {content: "secret\n", want: "secret"},
		"a line of Windows":   {content: "secret\r\n", want: "secret"},
		"no line end":         {content: "secret", want: "secret"},
		"blanks belong to it": {content: " a b \n", want: " a b "},
		"nothing":             {},
		"two lines":           {content: "a\nb\n", wantError: []string{"want one line"}},
		"a large file":        {content: strings.Repeat("a", MaxPasswordBytes+1), wantError: []string{"at most 1024 bytes"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParsePassword([]byte(tc.content))
			expectError(t, err, tc.wantError...)
			if got != tc.want {
				t.Errorf("password = %q, want %q", got, tc.want)
			}
		})
	}
}
