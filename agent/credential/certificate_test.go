package credential

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"mitigation.dev/ems/internal/clientcert"
)

var subject = clientcert.Subject{Namespace: "pool-frontends", Server: "fe01", Enrolment: strings.Repeat("0a", 16)}

// signer is an authority for servers and clients.
type signer struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newSigner(t testing.TB) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return signer{c, key}
}

func (s signer) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.certificate.Raw})
}

// sign gives a certificate in PEM; serial tells them apart.
func (s signer) sign(t testing.TB, name pkix.Name, public any, serial int64, expires time.Time) []byte {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: name, NotBefore: time.Now().Add(-time.Hour), NotAfter: expires,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, s.certificate, public, s.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
}

// grant is a certificate of the server, with its key.
func (s signer) grant(t testing.TB, of clientcert.Subject, serial int64) Grant {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	expires := time.Now().Add(time.Hour).Truncate(time.Second).UTC()
	return Grant{
		Certificate: string(s.sign(t, pkix.Name{CommonName: of.User(), Organization: of.Groups()}, key.Public(), serial, expires)),
		Key:         string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})), Expires: expires, Life: time.Hour,
	}
}

func withCertificate(t testing.TB, s signer, serial int64) Credential {
	c := newCredential(t, "")
	c.Grant, c.Enrolment, c.Asked = s.grant(t, subject, serial), subject.Enrolment, 0
	return c
}

func TestStoreKeepsACertificate(t *testing.T) {
	dir, s := t.TempDir(), newSigner(t)
	want := withCertificate(t, s, 2)
	if err := Open(dir).Save(want); err != nil {
		t.Fatal(err)
	}
	got, err := Open(dir).Load()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !got.IsCertificate() || newCredential(t, "a.b.c").IsCertificate() {
		t.Error("tokens and certificates are not told apart")
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(verb, got); strings.Contains(text, "PRIVATE") {
			t.Errorf("%s shows the key: %s", verb, text)
		}
	}
	if err := Open(dir).Replace(want.ID(), newCredential(t, "a.b.c")); err != nil {
		t.Error(err)
	}
	// A program from before there were certificates must not take the key for a token.
	data, err := os.ReadFile(filepath.Join(dir, "credential", fileName))
	if err != nil || !strings.Contains(string(data), `"version": 1`) || strings.Contains(string(data), "certificate") {
		t.Errorf("a token is stored as %s (%v)", data, err)
	}
}

func TestStoreRefusesCertificatesOfOthers(t *testing.T) {
	s := newSigner(t)
	for name, spoil := range map[string]func(*Credential){
		"of another server": func(c *Credential) {
			c.Grant = s.grant(t, clientcert.Subject{Namespace: "pool-frontends", Server: "fe02", Enrolment: c.Enrolment}, 3)
		},
		"of another enrolment":  func(c *Credential) { c.Enrolment = strings.Repeat("ff", 16) },
		"of no enrolment":       func(c *Credential) { c.Enrolment = "" },
		"with another key":      func(c *Credential) { c.Key = s.grant(t, subject, 4).Key },
		"without a key":         func(c *Credential) { c.Key = "" },
		"with a token as well":  func(c *Credential) { c.Token = "a.b.c" },
		"that is none":          func(c *Credential) { c.Certificate = "hello" },
		"that is far too large": func(c *Credential) { c.Certificate += strings.Repeat("\n", maxCertificate) },
	} {
		c := withCertificate(t, s, 2)
		spoil(&c)
		if err := Open(t.TempDir()).Save(c); err == nil {
			t.Errorf("a certificate %s was stored", name)
		}
	}
}

func TestCertificatesAreRenewedBetween70And90Percent(t *testing.T) {
	c := Credential{Received: received, Grant: Grant{Certificate: "x", Life: 7 * 24 * time.Hour}}
	for random, want := range map[float64]time.Duration{0: 7056 * time.Minute, 0.5: 8064 * time.Minute, 1: 9072 * time.Minute} {
		if got := renewalOf(c, random).Sub(received); (got - want).Abs() > time.Second {
			t.Errorf("renewed after %v, want %v", got, want)
		}
	}
}

// apiServer is as much of one as a source sees: it notes the serial numbers that clients show.
type apiServer struct {
	*httptest.Server

	mu   sync.Mutex
	seen []string
}

func (a *apiServer) serials() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	seen := a.seen
	a.seen = nil
	return seen
}

func newAPIServer(t *testing.T, s signer) *apiServer {
	t.Helper()
	a := &apiServer{}
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, c := range r.TLS.PeerCertificates {
			a.seen = append(a.seen, c.SerialNumber.String()+r.Header.Get("Authorization"))
		}
		if r.URL.Path == "/refuse" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	chain := s.sign(t, pkix.Name{CommonName: "api"}, key.Public(), 99, time.Now().Add(time.Hour))
	block, _ := pem.Decode(chain)
	pool := x509.NewCertPool()
	pool.AddCert(s.certificate)
	a.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{block.Bytes}, PrivateKey: key}}, ClientAuth: tls.RequestClientCert, ClientCAs: pool, MinVersion: tls.VersionTLS12}
	a.EnableHTTP2 = true
	a.StartTLS()
	t.Cleanup(a.Close)
	return a
}

func TestANewCertificateIsShownWithoutARestart(t *testing.T) {
	s := newSigner(t)
	server := newAPIServer(t, s)
	first := withCertificate(t, s, 2)
	first.URL, first.CA = server.URL, string(s.pem())
	store := Open(t.TempDir())
	if err := store.Save(first); err != nil {
		t.Fatal(err)
	}
	source, err := NewSource(Options{Store: store, Log: logr.Discard(), Renew: func(context.Context, Credential) (Grant, error) { return s.grant(t, subject, 3), nil }})
	if err != nil {
		t.Fatal(err)
	}
	client, err := rest.HTTPClientFor(source.Config())
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if err := response.Body.Close(); err != nil {
			t.Fatal(err)
		}
	}
	get("/")
	get("/")
	if diff := cmp.Diff([]string{"2", "2"}, server.serials()); diff != "" {
		t.Error(diff)
	}
	if err := source.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	get("/refuse")
	if diff := cmp.Diff([]string{"3"}, server.serials()); diff != "" {
		t.Error(diff)
	}
	if !source.refused {
		t.Error("the refusal of a certificate was not noted")
	}
	if there, err := store.Load(); err != nil || there.ID() != source.grant().ID() || there.Enrolment != subject.Enrolment {
		t.Errorf("the new certificate was not stored: %v", err)
	}

	// An operator has gone back to tokens.
	other := newCredential(t, "a.b.c")
	other.Identity = first.Identity
	if err := store.Save(other); err != nil {
		t.Fatal(err)
	}
	if changed, err := source.look(); !changed || err != nil {
		t.Errorf("look() = %v, %v", changed, err)
	}
	get("/")
	if diff := cmp.Diff([]string(nil), server.serials()); diff != "" {
		t.Errorf("certificates that are shown beside a token: %s", diff)
	}
}

// certificates is an API of requests that a test answers.
type certificates struct {
	mu      sync.Mutex
	request *certificatesv1.CertificateSigningRequest
	made    int
	answer  func(*certificatesv1.CertificateSigningRequest)
}

func (c *certificates) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Method == http.MethodPost {
		c.made++
		c.request = &certificatesv1.CertificateSigningRequest{}
		if err := json.NewDecoder(r.Body).Decode(c.request); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c.request.Name, c.request.CreationTimestamp = fmt.Sprintf("ems-%d", c.made), metav1.NewTime(received)
	} else {
		c.answer(c.request)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(c.request)
}

func TestApplicant(t *testing.T) {
	s := newSigner(t)
	api := &certificates{}
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	config := &rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
	who := newCredential(t, "a.b.c").Identity
	condition := func(r *certificatesv1.CertificateSigningRequest, kind certificatesv1.RequestConditionType) {
		r.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{
			Type: kind, Status: corev1.ConditionTrue, Reason: "Why", Message: "because", LastUpdateTime: metav1.NewTime(time.Now()),
		}}
	}
	sign := func(name pkix.Name) func(*certificatesv1.CertificateSigningRequest) {
		return func(r *certificatesv1.CertificateSigningRequest) {
			parsed, err := clientcert.Parse(r.Spec.Request)
			if err != nil {
				t.Error(err)
				return
			}
			condition(r, certificatesv1.CertificateApproved)
			r.Status.Certificate = s.sign(t, name, parsed.PublicKey, 2, time.Now().Add(30*time.Minute))
		}
	}
	right := pkix.Name{CommonName: subject.User(), Organization: subject.Groups()}
	a := &Applicant{Clock: clock.RealClock{}}

	// Nobody decides: the same request is looked at again later.
	api.answer = func(*certificatesv1.CertificateSigningRequest) {}
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if _, err := a.Request(ctx, config, who, subject.Enrolment, 0); !errors.Is(err, ErrWaiting) {
			t.Errorf("Request() = %v, want ErrWaiting", err)
		}
		cancel()
	}
	api.answer = sign(right)
	grant, err := a.Request(t.Context(), config, who, subject.Enrolment, 0)
	if err != nil {
		t.Fatal(err)
	}
	if api.made != 1 || *api.request.Spec.ExpirationSeconds != 604800 || !grant.IsCertificate() || (grant.Life-30*time.Minute).Abs() > 5*time.Second {
		t.Errorf("%d requests, the last for %d s, granted %v", api.made, *api.request.Spec.ExpirationSeconds, grant.Life)
	}

	for name, tc := range map[string]struct {
		answer func(*certificatesv1.CertificateSigningRequest)
		want   error
		says   string
	}{
		"denied":                   {func(r *certificatesv1.CertificateSigningRequest) { condition(r, certificatesv1.CertificateDenied) }, ErrDenied, "Why: because"},
		"failed":                   {func(r *certificatesv1.CertificateSigningRequest) { condition(r, certificatesv1.CertificateFailed) }, ErrDenied, "Why: because"},
		"signed for another":       {sign(pkix.Name{CommonName: "admin"}), nil, "is for"},
		"signed without enrolment": {sign(pkix.Name{CommonName: subject.User()}), nil, "another enrolment"},
	} {
		made := api.made
		api.answer = tc.answer
		_, err := a.Request(t.Context(), config, who, subject.Enrolment, time.Hour)
		if err == nil || tc.want != nil && !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: Request() = %v", name, err)
		}
		if api.made != made+1 || *api.request.Spec.ExpirationSeconds != 3600 {
			t.Errorf("%s: %d new requests, for %d s", name, api.made-made, *api.request.Spec.ExpirationSeconds)
		}
	}
}
