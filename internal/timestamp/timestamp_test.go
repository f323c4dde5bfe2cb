package timestamp_test

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"mitigation.dev/ems/internal/timestamp"
	"mitigation.dev/ems/test/pki"
)

var (
	now     = time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)
	message = []byte("a signature value")
	fixture = sync.OnceValues(func() (*pki.PKI, error) { return pki.New(now) })
)

func testPKI(tb testing.TB) *pki.PKI {
	tb.Helper()
	p, err := fixture()
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func optionsOf(p *pki.PKI) timestamp.Options {
	return timestamp.Options{Roots: []*x509.Certificate{p.TSARoot.Certificate}, Now: now, ClockSkew: 10 * time.Minute}
}

func TestVerify(t *testing.T) {
	p := testPKI(t)
	rsaTSA, err := p.TSARoot.Issue("RSA TSA", pki.TimeStamping(), pki.Key(pki.RSA2048), pki.Validity(now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0)))
	if err != nil {
		t.Fatal(err)
	}
	p384TSA, err := p.TSARoot.Issue("P-384 TSA", pki.TimeStamping(), pki.Key(pki.ECDSAP384), pki.Validity(now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0)))
	if err != nil {
		t.Fatal(err)
	}
	weakTSA, err := p.TSARoot.Issue("Weak TSA", pki.TimeStamping(), pki.Key(pki.RSA1024), pki.Validity(now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0)))
	if err != nil {
		t.Fatal(err)
	}
	notTSA, err := p.TSARoot.Issue("Not a TSA", pki.Validity(now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0)))
	if err != nil {
		t.Fatal(err)
	}
	anyTSA, err := p.TSARoot.Issue("Any usage", pki.AnyUsage(), pki.Validity(now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0)))
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		tsa     *pki.Identity
		at      time.Time
		token   pki.TokenOptions
		options func(*timestamp.Options)
		want    error
	}{
		"a token of an ECDSA authority":         {tsa: p.TSA, at: now},
		"a token of an RSA authority":           {tsa: rsaTSA, at: now},
		"a token of a P-384 authority":          {tsa: p384TSA, at: now},
		"a token with indefinite lengths":       {tsa: p.TSA, at: now, token: pki.TokenOptions{Indefinite: true}},
		"a token of ten minutes ahead":          {tsa: p.TSA, at: now.Add(10 * time.Minute)},
		"a token further ahead":                 {tsa: p.TSA, at: now.Add(10*time.Minute + time.Second), want: timestamp.ErrTime},
		"an RSA key of 1024 bits":               {tsa: weakTSA, at: now, want: timestamp.ErrCertificate},
		"a certificate for code signing":        {tsa: notTSA, at: now, want: timestamp.ErrCertificate},
		"a certificate for any usage":           {tsa: anyTSA, at: now, want: timestamp.ErrCertificate},
		"an authority of certificates":          {tsa: p.TSARoot, at: now, want: timestamp.ErrCertificate},
		"no signing-certificate attribute":      {tsa: p.TSA, at: now, token: pki.TokenOptions{OmitSigningCertificate: true}, want: timestamp.ErrCertificate},
		"another certificate named":             {tsa: p.TSA, at: now, token: pki.TokenOptions{NamedCertificate: rsaTSA.Certificate}, want: timestamp.ErrCertificate},
		"no certificate":                        {tsa: p.TSA, at: now, token: pki.TokenOptions{OmitCertificates: true}, want: timestamp.ErrCertificate},
		"the certificate beside the token":      {tsa: p.TSA, at: now, token: pki.TokenOptions{OmitCertificates: true}, options: func(o *timestamp.Options) { o.Certificates = p.TSA.Chain() }},
		"a broken signature":                    {tsa: p.TSA, at: now, token: pki.TokenOptions{BreakSignature: true}, want: timestamp.ErrSignature},
		"no roots":                              {tsa: p.TSA, at: now, options: func(o *timestamp.Options) { o.Roots = nil }, want: timestamp.ErrUntrusted},
		"a foreign root":                        {tsa: p.TSA, at: now, options: func(o *timestamp.Options) { o.Roots = []*x509.Certificate{p.Root.Certificate} }, want: timestamp.ErrUntrusted},
		"a time before the authority was valid": {tsa: rsaTSA, at: now.AddDate(-2, 0, 0), want: timestamp.ErrUntrusted},
		"a root that is not self-signed":        {tsa: mustTSA(t, p.Issuing), at: now, options: func(o *timestamp.Options) { o.Roots = []*x509.Certificate{p.Issuing.Certificate} }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			token, err := tc.tsa.TimestampWith(message, tc.at, tc.token)
			if err != nil {
				t.Fatal(err)
			}
			options := optionsOf(p)
			if tc.options != nil {
				tc.options(&options)
			}
			got, err := timestamp.Verify(token, message, options)
			if !errors.Is(err, tc.want) {
				t.Fatalf("error %v, want %v", err, tc.want)
			}
			if tc.want != nil {
				return
			}
			if !got.Time.Equal(tc.at) || !got.Signer.Equal(tc.tsa.Certificate) {
				t.Errorf("time %s, signer %s, want %s, %s", got.Time, got.Signer.Subject, tc.at, tc.tsa.Certificate.Subject)
			}
		})
	}
}

func mustTSA(t *testing.T, issuer *pki.Identity) *pki.Identity {
	t.Helper()
	tsa, err := issuer.Issue("TSA", pki.TimeStamping(), pki.Validity(now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0)))
	if err != nil {
		t.Fatal(err)
	}
	return tsa
}

func TestATokenIsForItsMessageOnly(t *testing.T) {
	p := testPKI(t)
	token, err := p.TSA.Timestamp(message, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := timestamp.Verify(token, []byte("another"), optionsOf(p)); !errors.Is(err, timestamp.ErrImprint) {
		t.Fatalf("error %v, want %v", err, timestamp.ErrImprint)
	}
}

// TestEveryChangedByteMatters changes each byte of a token in turn. The certificates of the chain are known from
// elsewhere, so a change in the copies inside the token may be harmless; the statement must stay the same.
func TestEveryChangedByteMatters(t *testing.T) {
	p := testPKI(t)
	token, err := p.TSA.Timestamp(message, now)
	if err != nil {
		t.Fatal(err)
	}
	for i := range token {
		changed := bytes.Clone(token)
		changed[i] ^= 0x01
		got, err := timestamp.Verify(changed, message, optionsOf(p))
		if err == nil && (!got.Time.Equal(now) || !got.Signer.Equal(p.TSA.Certificate)) {
			t.Fatalf("byte %d: the changed token states %s by %s", i, got.Time, got.Signer.Subject)
		}
	}
}

func TestToDER(t *testing.T) {
	cases := map[string]struct {
		ber     string
		want    string
		wantErr string
	}{
		"DER stays":                        {ber: "3003020105", want: "3003020105"},
		"an indefinite length":             {ber: "30800201050000", want: "3003020105"},
		"nested indefinite lengths":        {ber: "3080a080020105000030800000 0000", want: "3007a0030201053000"},
		"a length longer than needed":      {ber: "308400000003020105", want: "3003020105"},
		"an OCTET STRING in pieces":        {ber: "2480040101 24040402 0203 0000", want: "0403010203"},
		"pieces of a definite length":      {ber: "2406040101040102", want: "04020102"},
		"an empty value":                   {ber: "30800000", want: "3000"},
		"nothing":                          {ber: "", wantErr: "longer than its container"},
		"no length":                        {ber: "30", wantErr: "longer than its container"},
		"a value beyond the end":           {ber: "3004020105", wantErr: "longer than its container"},
		"an inner value beyond the outer":  {ber: "300302020500", wantErr: "longer than its container"},
		"a length of five bytes":           {ber: "30850000000003020105", wantErr: "longer than its container"},
		"a length that is negative":        {ber: "3084ffffffff", wantErr: "longer than its container"},
		"no end of contents":               {ber: "3080020105", wantErr: "longer than its container"},
		"an end of contents alone":         {ber: "0000", wantErr: "end-of-contents"},
		"an end of contents in the middle": {ber: "30040000 0201", wantErr: "end-of-contents"},
		"indefinite length of a primitive": {ber: "0480 0000", wantErr: "primitive"},
		"bytes behind the value":           {ber: "300302010500", wantErr: "behind the value"},
		"a long tag":                       {ber: "1f8101 00", wantErr: "tag numbers"},
		"a piece of another type":          {ber: "24030201 05", wantErr: "another type"},
		"too deep":                         {ber: strings.Repeat("3080", 40), wantErr: "nested deeper"},
		"too many values":                  {ber: "3080" + strings.Repeat("0500", 9000) + "0000", wantErr: "more than 8192"},
		"too long":                         {ber: "3084000100fb" + strings.Repeat("00", 1<<16), wantErr: "at most 65536"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			ber, err := hex.DecodeString(strings.ReplaceAll(tc.ber, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			der, err := timestamp.ToDER(ber)
			switch {
			case tc.wantErr == "" && err != nil:
				t.Fatal(err)
			case tc.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tc.wantErr)):
				t.Fatalf("error %v, want one with %q", err, tc.wantErr)
			case hex.EncodeToString(der) != tc.want:
				t.Fatalf("%x, want %s", der, tc.want)
			}
		})
	}
}

// realToken returns the token of the real document and the bytes it is for.
func realToken(tb testing.TB) (token, value []byte) {
	tb.Helper()
	folder := os.Getenv("EMS_TESTDATA")
	if folder == "" {
		tb.Skip("EMS_TESTDATA is not set: the real document is not part of the repository")
	}
	document, err := os.ReadFile(filepath.Join(folder, "ocs", "exchange-ping1-2021-09-15.xml"))
	if err != nil {
		tb.Fatal(err)
	}
	decode := func(pattern string) []byte {
		match := regexp.MustCompile(pattern).FindSubmatch(document)
		if match == nil {
			tb.Fatalf("%s: not in the document", pattern)
		}
		decoded, err := base64.StdEncoding.DecodeString(string(match[1]))
		if err != nil {
			tb.Fatal(err)
		}
		return decoded
	}
	return decode(`<CounterSignature[^>]*>([^<]+)<`), decode(`<SignatureValue>([^<]+)<`)
}

func TestTheRealToken(t *testing.T) {
	token, value := realToken(t)
	if rest, err := asn1.Unmarshal(token, new(asn1.RawValue)); err == nil && len(rest) == 0 {
		t.Error("the token is DER: the transcoder is not put to the test")
	}
	// Without roots the token is untrusted, which is said only of a token that is right in all else.
	_, err := timestamp.Verify(token, value, timestamp.Options{Now: now})
	if !errors.Is(err, timestamp.ErrUntrusted) {
		t.Fatalf("error %v, want %v", err, timestamp.ErrUntrusted)
	}
	value[0] ^= 1
	if _, err := timestamp.Verify(token, value, timestamp.Options{Now: now}); !errors.Is(err, timestamp.ErrImprint) {
		t.Fatalf("error %v, want %v", err, timestamp.ErrImprint)
	}
}

func write(t *testing.T, path string, content []byte) string {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestOpenSSLVerifiesOurTokens keeps the issuing side honest: two halves of one mistake would agree.
func TestOpenSSLVerifiesOurTokens(t *testing.T) {
	openssl := requireOpenSSL(t)
	p := testPKI(t)
	folder := t.TempDir()
	token, err := p.TSA.Timestamp(message, now)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), openssl, "ts", "-verify", "-token_in",
		"-in", write(t, filepath.Join(folder, "token.der"), token),
		"-data", write(t, filepath.Join(folder, "message"), message),
		"-attime", "1778774400", // now
		"-CAfile", write(t, filepath.Join(folder, "root.pem"), p.TSARoot.PEM())).CombinedOutput()
	if err != nil {
		t.Fatalf("openssl ts: %v\n%s", err, out)
	}
}

func requireOpenSSL(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not on PATH")
	}
	return path
}

// TestOpenSSLsTokensVerify has tokens of a foreign maker, with the SHA-1 form of the signing-certificate attribute too.
func TestOpenSSLsTokensVerify(t *testing.T) {
	openssl := requireOpenSSL(t)
	current := time.Now() // openssl stamps with the real time
	p, err := pki.New(current)
	if err != nil {
		t.Fatal(err)
	}
	for name, hash := range map[string]string{"signing-certificate": "sha1", "signing-certificate-v2": "sha256", "v2 with SHA-512": "sha512"} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			in := func(name string) string { return filepath.Join(folder, name) }
			key, err := x509.MarshalPKCS8PrivateKey(p.TSA.Key)
			if err != nil {
				t.Fatal(err)
			}
			write(t, in("tsa.key"), key)
			write(t, in("tsa.crt"), p.TSA.PEM())
			write(t, in("root.crt"), p.TSARoot.PEM())
			write(t, in("message"), message)
			write(t, in("serial"), []byte("01\n"))
			write(t, in("tsa.cnf"), []byte("[tsa]\nserial="+in("serial")+"\ncrypto_device=builtin\nsigner_digest=sha256\ndefault_policy=1.2.3.4\n"+
				"digests=sha256,sha384,sha512\nordering=yes\ntsa_name=yes\naccuracy=secs:1,millisecs:500,microsecs:100\ness_cert_id_chain=yes\ness_cert_id_alg="+hash+"\n"))
			run := func(args ...string) {
				if out, err := exec.CommandContext(t.Context(), openssl, args...).CombinedOutput(); err != nil {
					t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
				}
			}
			run("pkey", "-inform", "DER", "-in", in("tsa.key"), "-out", in("tsa.pem"))
			run("ts", "-query", "-data", in("message"), "-sha512", "-cert", "-out", in("query"))
			run("ts", "-reply", "-config", in("tsa.cnf"), "-section", "tsa", "-queryfile", in("query"), "-inkey", in("tsa.pem"),
				"-signer", in("tsa.crt"), "-chain", in("root.crt"), "-token_out", "-out", in("token"))
			token, err := os.ReadFile(in("token"))
			if err != nil {
				t.Fatal(err)
			}
			options := optionsOf(p)
			options.Now = time.Now()
			if _, err := timestamp.Verify(token, message, options); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// FuzzToken looks for a token that is accepted although no authority made it, and for panics and
// unbounded work in the transcoder.
func FuzzToken(f *testing.F) {
	p, err := pki.NewFixed(now)
	if err != nil {
		f.Fatal(err)
	}
	for _, options := range []pki.TokenOptions{{}, {Indefinite: true}, {OmitCertificates: true}, {BreakSignature: true}} {
		token, err := p.TSA.TimestampWith(message, now, options)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(token)
	}
	f.Add([]byte{0x30, 0x80, 0x24, 0x80, 0x04, 0x01, 0x01, 0, 0, 0, 0})
	if os.Getenv("EMS_TESTDATA") != "" {
		token, _ := realToken(f)
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token []byte) {
		if der, err := timestamp.ToDER(token); err == nil {
			again, err := timestamp.ToDER(der)
			if err != nil || !bytes.Equal(der, again) {
				t.Fatalf("DER is not left as it is: %v", err)
			}
		}
		got, err := timestamp.Verify(token, message, optionsOf(p))
		if err == nil && (!got.Time.Equal(now) || !bytes.Equal(got.Signer.RawSubjectPublicKeyInfo, p.TSA.Certificate.RawSubjectPublicKeyInfo)) {
			t.Fatalf("accepted %s by %s, which was never issued", got.Time, got.Signer.Subject)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	p := testPKI(b)
	token, err := p.TSA.TimestampWith(message, now, pki.TokenOptions{Indefinite: true})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := timestamp.Verify(token, message, optionsOf(p)); err != nil {
			b.Fatal(err)
		}
	}
}
