package publish

import (
	"crypto/x509"
	"encoding/asn1"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"mitigation.dev/ems/internal/timestamp"
)

// reply makes a TimeStampResp of a status and a token.
func reply(t *testing.T, status int, token []byte) []byte {
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

func TestTimestampOfAnAuthority(t *testing.T) {
	p := testKeys(t)
	message := []byte("signature value")
	token := func(of []byte, at time.Time) []byte {
		made, err := p.TSA.Timestamp(of, at)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	for name, tc := range map[string]struct {
		status      int
		contentType string
		body        []byte
		roots       []*x509.Certificate
		wantError   []string
	}{
		"a token":                     {body: reply(t, 0, token(message, now))},
		"a token with modifications":  {body: reply(t, 1, token(message, now))},
		"a refusal":                   {body: reply(t, 2, nil), wantError: []string{"refused with status 2"}},
		"a grant without a token":     {body: reply(t, 0, nil), wantError: []string{"no token"}},
		"a token for something else":  {body: reply(t, 0, token([]byte("other"), now)), wantError: []string{timestamp.ErrImprint.Error()}},
		"an old token":                {body: reply(t, 0, token(message, now.Add(-time.Hour))), wantError: []string{"1h0m0s ago", "one of the clocks is wrong"}},
		"a token of the future":       {body: reply(t, 0, token(message, now.Add(time.Hour))), wantError: []string{timestamp.ErrTime.Error()}},
		"an authority nobody trusts":  {body: reply(t, 0, token(message, now)), roots: []*x509.Certificate{p.Root.Certificate}, wantError: []string{timestamp.ErrUntrusted.Error()}},
		"a web page":                  {contentType: "text/html", body: []byte("<html>"), wantError: []string{`content type "text/html"`}},
		"an error":                    {status: http.StatusServiceUnavailable, wantError: []string{"status 503"}},
		"a redirect is not followed":  {status: http.StatusFound, wantError: []string{"status 302"}},
		"rubbish":                     {body: []byte("rubbish"), wantError: []string{"reply: "}},
		"more bytes than a token has": {body: make([]byte, timestamp.MaxTokenBytes+1), wantError: []string{"more than 65536 bytes"}},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/timestamp-query" {
					t.Errorf("request = %s with %q", r.Method, r.Header.Get("Content-Type"))
				}
				w.Header().Set("Content-Type", orElse(tc.contentType, "application/timestamp-reply"))
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(max(tc.status, http.StatusOK))
				_, _ = w.Write(tc.body)
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
