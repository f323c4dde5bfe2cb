package credential

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	stdlog "log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"mitigation.dev/ems/agent/identity"
)

// rotating is an API server whose certificate can change, and that says of which authorities it is, or nothing.
type rotating struct {
	*httptest.Server

	t    *testing.T
	mu   sync.Mutex
	pair tls.Certificate
	says string
	got  []string
}

func newRotating(t *testing.T, by signer) *rotating {
	t.Helper()
	r := &rotating{t: t}
	r.shows(by)
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(r.answer))
	r.Config.ErrorLog = stdlog.New(io.Discard, "", 0)
	r.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{r.pair}, NextProtos: []string{"h2", "http/1.1"}}, nil
	}}
	r.EnableHTTP2 = true
	r.StartTLS()
	t.Cleanup(r.Close)
	return r
}

func (r *rotating) answer(w http.ResponseWriter, request *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, request.URL.Path+" "+request.Header.Get("Authorization"))
	w.Header().Set("Content-Type", "application/json")
	if r.says == "" {
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Reason: metav1.StatusReasonNotFound, Code: http.StatusNotFound})
		return
	}
	_ = json.NewEncoder(w).Encode(corev1.ConfigMap{TypeMeta: metav1.TypeMeta{Kind: "ConfigMap", APIVersion: "v1"}, Data: map[string]string{"ca.crt": r.says}})
}

// shows makes new connections see a certificate of another authority.
func (r *rotating) shows(by signer) {
	r.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	block, _ := pem.Decode(by.sign(r.t, pkix.Name{CommonName: "api"}, key.Public(), 99, time.Now().Add(time.Hour)))
	r.mu.Lock()
	r.pair = tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key}
	r.mu.Unlock()
	if r.Server != nil {
		r.CloseClientConnections()
	}
}

func (r *rotating) names(authorities ...signer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.says = ""
	for _, a := range authorities {
		r.says += string(a.pem())
	}
}

// follower is a source that knows one authority, with what it tells.
type follower struct {
	*scene

	api    *rotating
	client *http.Client
}

func newFollower(t *testing.T, known signer) *follower {
	t.Helper()
	f := &follower{scene: newScene(t), api: newRotating(t, known)}
	c := newCredential(t, "first.b.c")
	c.URL, c.CA = f.api.URL, string(known.pem())
	if err := f.store.Save(c); err != nil {
		t.Fatal(err)
	}
	source, err := NewSource(Options{Store: f.store, Clock: f.clock, Random: func() float64 { return 0.5 }, Log: f.log(), Tell: f.tell})
	if err != nil {
		t.Fatal(err)
	}
	source.Renew = f.renew
	f.source = source
	if f.client, err = rest.HTTPClientFor(source.Config()); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *follower) said() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.told)
}

func (f *follower) get() error {
	request, err := http.NewRequestWithContext(f.t.Context(), http.MethodGet, f.api.URL+"/readyz", nil)
	if err != nil {
		return err
	}
	response, err := f.client.Do(request)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// knows checks what is trusted, in memory and on the disk.
func (f *follower) knows(authorities ...signer) {
	f.t.Helper()
	want := ""
	for _, a := range authorities {
		want += string(a.pem())
	}
	there, err := f.store.Load()
	if err != nil || there.CA != want {
		f.t.Errorf("on the disk are other certificates: %v\n%s", err, there.CA)
	}
	if f.source.credential().CA != want {
		f.t.Error("in memory are other certificates")
	}
}

func TestAnAuthorityThatChangesSlowlyIsFollowedWithoutARestart(t *testing.T) {
	before, after := newSigner(t), newSigner(t)
	f := newFollower(t, before)
	look := func() {
		t.Helper()
		if err := f.source.lookAtAuthority(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	look() // the cluster says nothing of it
	f.knows(before)
	f.api.names(before, after)
	look()
	f.knows(before, after)
	f.api.shows(after)
	f.until("a request to the new certificate", func() bool { return f.get() == nil })
	f.api.names(after)
	look()
	f.knows(after)
	if err := f.get(); err != nil {
		t.Fatal(err)
	}
	if err := f.source.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.knows(after) // a renewal does not bring the old one back
	if changed, err := f.source.look(); changed || err != nil {
		t.Errorf("look() = %v, %v: what it stored itself is nothing new", changed, err)
	}
	for _, got := range f.api.got {
		if !strings.HasSuffix(got, " Bearer first.b.c") {
			t.Errorf("without the credential: %s", got)
		}
	}
	f.api.shows(before)
	f.until("a refusal of the old authority", func() bool { return f.get() != nil && len(f.said()) == 2 })
}

func TestAnAuthorityThatTheAPIServerIsNotOfIsNotTakenOver(t *testing.T) {
	known, other := newSigner(t), newSigner(t)
	f := newFollower(t, known)
	f.api.names(other) // as where servers go by way of a load balancer with a certificate of its own
	for what, says := range map[string]string{"other certificates": string(other.pem()), "no certificate": "hello", "a key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		f.api.says = says
		if err := f.source.lookAtAuthority(t.Context()); err == nil || !strings.Contains(err.Error(), "kube-root-ca.crt") && !strings.Contains(err.Error(), "authority") {
			t.Errorf("%s: %v", what, err)
		}
		f.knows(known)
	}
	if err := f.get(); err != nil {
		t.Error(err)
	}
	if told := f.said(); len(told) > 0 {
		t.Errorf("told %q, though nothing is wrong", told)
	}
}

func TestTheAuthorityIsAskedForFromTimeToTime(t *testing.T) {
	known := newSigner(t)
	f := newFollower(t, known)
	f.fail(context.DeadlineExceeded)
	f.start()
	asked := func() int {
		f.api.mu.Lock()
		defer f.api.mu.Unlock()
		return len(f.api.got)
	}
	f.pass(6*time.Minute, time.Minute)
	f.until("the first look", func() bool { return asked() == 1 })
	f.pass(5*time.Hour, time.Hour)
	if n := asked(); n != 1 {
		t.Errorf("%d looks after five hours, want 1", n)
	}
	f.pass(2*time.Hour, time.Hour)
	f.until("the second look", func() bool { return asked() == 2 })
}

func TestAnAuthorityThatChangedUnheardIsTold(t *testing.T) {
	before, after := newSigner(t), newSigner(t)
	f := newFollower(t, before)
	f.api.shows(after)
	for range 3 {
		if err := f.get(); err == nil {
			t.Fatal("somebody else was taken for the API server")
		}
	}
	if told := f.said(); len(told) != 1 || !strings.Contains(told[0], "kubectl mitigation enroll --again -n pool-frontends frontends/fe01") || !strings.HasPrefix(told[0], "false") {
		t.Errorf("told %q", told)
	}
	// An operator enrols the server again, with the new certificate: the agent that runs takes it over.
	there := f.source.credential()
	there.Token, there.CA = "second.b.c", string(after.pem())
	if err := f.store.Save(there); err != nil {
		t.Fatal(err)
	}
	if changed, err := f.source.look(); !changed || err != nil {
		t.Fatalf("look() = %v, %v", changed, err)
	}
	if err := f.get(); err != nil {
		t.Fatal(err)
	}
	f.api.shows(before)
	f.until("the problem told again, after the new credential", func() bool { return f.get() != nil && len(f.said()) == 3 })
}

// The form in which certificates are stored is that of the enrolment, so that they compare equal.
func TestSameCertificates(t *testing.T) {
	one, two := newSigner(t), newSigner(t)
	list, err := identity.ParseCA(append(two.pem(), one.pem()...))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{string(one.pem()) + string(two.pem()): true, string(one.pem()): false, "": false} {
		if got := same(text, list); got != want {
			t.Errorf("same() = %v, want %v", got, want)
		}
	}
}
