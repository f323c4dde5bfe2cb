package publish

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"mitigation.dev/ems/internal/timestamp"
	"mitigation.dev/ems/test/pki"
)

// reply makes a TimeStampResp of a status and a token.
func reply(t testing.TB, status int, token []byte) []byte {
	t.Helper()
	type statusInfo struct{ Status int }
	der, err := asn1.Marshal(struct {
		Status statusInfo
		Token  asn1.RawValue `asn1:"optional"`
	}{statusInfo{status}, asn1.RawValue{FullBytes: token}})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// withNonce adds a nonce to a TSTInfo, at its end, where nothing optional follows.
func withNonce(t *testing.T, nonce *big.Int) func([]byte) []byte {
	return func(content []byte) []byte {
		var sequence asn1.RawValue
		if _, err := asn1.Unmarshal(content, &sequence); err != nil {
			t.Error(err)
		}
		number, err := asn1.Marshal(nonce)
		if err != nil {
			t.Error(err)
		}
		made, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: slices.Concat(sequence.Bytes, number)})
		if err != nil {
			t.Error(err)
		}
		return made
	}
}

// query is a TimeStampReq.
type query struct {
	Version int
	Imprint struct {
		Algorithm pkix.AlgorithmIdentifier
		Hashed    []byte
	}
	Nonce   *big.Int `asn1:"optional"`
	CertReq bool     `asn1:"optional"`
}

// readQuery reads what we ask as an authority does.
func readQuery(t *testing.T, r *http.Request) query {
	var q query
	body, err := io.ReadAll(r.Body)
	if err == nil {
		_, err = asn1.Unmarshal(body, &q)
	}
	if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/timestamp-query" {
		t.Errorf("request = %s with %q: %v", r.Method, r.Header.Get("Content-Type"), err)
	}
	return q
}

func TestTimestampOfAnAuthority(t *testing.T) {
	p := testKeys(t)
	message := []byte("signature value")
	digest := sha256.Sum256(message)
	one := big.NewInt(1)
	// stamped answers with a token in which add changes the nonce that was asked for.
	stamped := func(status int, of []byte, at time.Time, nonce func(*big.Int) *big.Int) func(query) []byte {
		return func(q query) []byte {
			options := pki.TokenOptions{}
			if nonce != nil {
				options.Content = withNonce(t, nonce(q.Nonce))
			}
			token, err := p.TSA.TimestampWith(of, at, options)
			if err != nil {
				t.Error(err)
			}
			return reply(t, status, token)
		}
	}
	same := func(n *big.Int) *big.Int { return n }
	body := func(content []byte) func(query) []byte { return func(query) []byte { return content } }
	for name, tc := range map[string]struct {
		status      int
		contentType string
		answer      func(query) []byte
		roots       []*x509.Certificate
		wantError   []string
	}{
		"a token":                        {answer: stamped(0, message, now, same)},
		"a token with modifications":     {answer: stamped(1, message, now, same)},
		"a token without a nonce":        {answer: stamped(0, message, now, nil), wantError: []string{"without our nonce"}},
		"a token with another nonce":     {answer: stamped(0, message, now, func(n *big.Int) *big.Int { return new(big.Int).Add(n, one) }), wantError: []string{"another nonce", "another request"}},
		"a token with the nonce negated": {answer: stamped(0, message, now, func(n *big.Int) *big.Int { return new(big.Int).Sub(new(big.Int).Neg(n), one) }), wantError: []string{"another nonce"}},
		"a refusal":                      {answer: body(reply(t, 2, nil)), wantError: []string{"refused with status 2"}},
		"a grant without a token":        {answer: body(reply(t, 0, nil)), wantError: []string{"no token"}},
		"a token for something else":     {answer: stamped(0, []byte("other"), now, same), wantError: []string{timestamp.ErrImprint.Error()}},
		"an old token":                   {answer: stamped(0, message, now.Add(-time.Hour), same), wantError: []string{"1h0m0s ago", "one of the clocks is wrong"}},
		"a token of the future":          {answer: stamped(0, message, now.Add(time.Hour), same), wantError: []string{timestamp.ErrTime.Error()}},
		"an authority nobody trusts":     {answer: stamped(0, message, now, same), roots: []*x509.Certificate{p.Root.Certificate}, wantError: []string{timestamp.ErrUntrusted.Error()}},
		"a web page":                     {contentType: "text/html", answer: body([]byte("<html>")), wantError: []string{`content type "text/html"`}},
		"an error":                       {status: http.StatusServiceUnavailable, answer: body(nil), wantError: []string{"status 503"}},
		"a redirect is not followed":     {status: http.StatusFound, answer: body(nil), wantError: []string{"status 302"}},
		"rubbish":                        {answer: body([]byte("rubbish")), wantError: []string{"reply: "}},
		"more bytes than a token has":    {answer: body(make([]byte, timestamp.MaxTokenBytes+1)), wantError: []string{"more than 65536 bytes"}},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				q := readQuery(t, r)
				if q.Nonce == nil || q.Nonce.BitLen() < 8 || !q.CertReq || !bytes.Equal(q.Imprint.Hashed, digest[:]) {
					t.Errorf("query = %+v, want a nonce, certificates and our digest", q)
				}
				w.Header().Set("Content-Type", orElse(tc.contentType, "application/timestamp-reply"))
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(max(tc.status, http.StatusOK))
				_, _ = w.Write(tc.answer(q))
			}))
			defer server.Close()
			roots := tc.roots
			if roots == nil {
				roots = []*x509.Certificate{p.TSARoot.Certificate}
			}
			got, err := Authority{URL: server.URL, Roots: roots, Now: func() time.Time { return now }}.Timestamp(t.Context(), message)
			expectError(t, err, tc.wantError...)
			if (got == nil) != (len(tc.wantError) > 0) {
				t.Errorf("token = %d bytes", len(got))
			}
		})
	}
}

// TestAuthorityBehindAProxy: the name of the authority is resolved by nobody but the proxy.
func TestAuthorityBehindAProxy(t *testing.T) {
	p := testKeys(t)
	message := []byte("signature value")
	var asked string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.String()
		token, err := p.TSA.TimestampWith(message, now, pki.TokenOptions{Content: withNonce(t, readQuery(t, r).Nonce)})
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/timestamp-reply")
		_, _ = w.Write(reply(t, 0, token))
	}))
	defer server.Close()
	proxy, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	authority := Authority{URL: "http://tsa.contoso.example/stamp", Proxy: proxy, Roots: []*x509.Certificate{p.TSARoot.Certificate}, Now: func() time.Time { return now }}
	if _, err := authority.Timestamp(t.Context(), message); err != nil {
		t.Error(err)
	}
	if asked != authority.URL {
		t.Errorf("the proxy was asked for %q, want %q", asked, authority.URL)
	}
}

// TestAuthorityThatNeverAnswers: neither silence nor an answer without end holds a publisher.
func TestAuthorityThatNeverAnswers(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A server looks for the client's end only once the request is read.
		readQuery(t, r)
		if r.URL.Path == "/trickle" {
			w.Header().Set("Content-Type", "application/timestamp-reply")
			_, _ = w.Write([]byte{0x30})
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
	}))
	defer server.Close()
	for _, path := range []string{"/silence", "/trickle"} {
		authority := Authority{URL: server.URL + path, Timeout: 50 * time.Millisecond, Now: func() time.Time { return now }}
		if _, err := authority.Timestamp(t.Context(), []byte("x")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: error = %v, want %v", path, err, context.DeadlineExceeded)
		}
	}
}

// FuzzTokenOf: no answer of an authority makes the reader panic, and what it takes out is one whole value in DER.
func FuzzTokenOf(f *testing.F) {
	token, err := testKeys(f).TSA.Timestamp([]byte("x"), now)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(reply(f, 0, token))
	f.Add(reply(f, 2, nil))
	f.Add([]byte("\x30\x80\x30\x03\x02\x01\x00\x30\x80\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		got, err := tokenOf(answer)
		if err != nil {
			return
		}
		var value asn1.RawValue
		if rest, err := asn1.Unmarshal(got, &value); err != nil || len(rest) > 0 {
			t.Errorf("token = %x: %v, %d bytes behind it", got, err, len(rest))
		}
		if _, err := timestamp.Verify(got, []byte("x"), timestamp.Options{Now: now}); err == nil {
			t.Error("a token verified without any root")
		}
	})
}

// opensslAuthority is a foreign authority: it shows that our queries are read and its replies understood.
const opensslAuthority = `[tsa]
default_tsa = config
[config]
serial = serial
crypto_device = builtin
signer_digest = sha256
default_policy = 1.3.6.1.4.1.32473.1.2
digests = sha256
ess_cert_id_alg = sha256
`

func TestDocumentWithTimestampOfOpenssl(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not on PATH")
	}
	p, folder := testKeys(t), t.TempDir()
	writeFile(t, folder, "config", []byte(opensslAuthority))
	writeFile(t, folder, "serial", []byte("01\n"))
	writeFile(t, folder, "tsa.key", privateKeyPEM(t, p.TSA))
	writeFile(t, folder, "tsa.pem", p.TSA.PEM())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query, err := io.ReadAll(r.Body)
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, "query"), query, 0o600)
		}
		command := exec.CommandContext(r.Context(), "openssl", "ts", "-reply", "-config", "config", "-queryfile", "query", "-signer", "tsa.pem", "-inkey", "tsa.key")
		command.Dir = folder
		out, runErr := command.Output()
		if err != nil || runErr != nil {
			t.Errorf("openssl: %v, %v", err, runErr)
		}
		w.Header().Set("Content-Type", "application/timestamp-reply")
		_, _ = w.Write(out)
	}))
	defer server.Close()

	// openssl states the real time.
	today := time.Now()
	r := request(t, p.RSA)
	leaf, err := p.Issuing.Issue("Signer of today")
	if err != nil {
		t.Fatal(err)
	}
	r.Key, r.Certificates, r.Issued = leaf.Key, leaf.Chain(), today
	r.Policy.TimestampRoots = []*x509.Certificate{p.TSARoot.Certificate}
	authority := Authority{URL: server.URL, Roots: r.Policy.TimestampRoots, Now: func() time.Time { return today }}
	r.Timestamper = func(value []byte) ([]byte, error) { return authority.Timestamp(t.Context(), value) }
	_, report, err := Sign(r)
	if err != nil {
		t.Fatal(err)
	}
	if report.SignedAt == nil || report.SignedAt.Sub(today).Abs() > time.Minute {
		t.Errorf("signed at %v, want about %s", report.SignedAt, today)
	}
}
