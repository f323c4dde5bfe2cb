package publish

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	. "github.com/onsi/gomega"

	"mitigation.dev/ems/internal/fetch"
)

const servedPath = "/mitigations.xml"

func newServer(t *testing.T, file string, change func(*ServerOptions)) (*Server, error) {
	t.Helper()
	options := ServerOptions{Document: file, Path: servedPath, Read: os.ReadFile, MaxWaiting: 10, Log: logr.Discard()}
	if change != nil {
		change(&options)
	}
	return NewServer(options)
}

func TestServerAnswers(t *testing.T) {
	document := signedDocument(t, nil)
	var log strings.Builder
	server, err := newServer(t, writeFile(t, t.TempDir(), "d.xml", document), func(o *ServerOptions) {
		o.Log = funcr.New(func(_, args string) { log.WriteString(args + "\n") }, funcr.Options{})
	})
	if err != nil {
		t.Fatal(err)
	}
	etag := server.current.Load().etag
	for name, tc := range map[string]struct {
		method, path, ifNoneMatch string
		wantStatus, wantBytes     int
	}{
		"the document":                    {method: "GET", path: servedPath, wantStatus: 200, wantBytes: len(document)},
		"its head":                        {method: "HEAD", path: servedPath, wantStatus: 200},
		"nothing to who has it":           {method: "GET", path: servedPath, ifNoneMatch: etag, wantStatus: 304},
		"the document to who has another": {method: "GET", path: servedPath, ifNoneMatch: `"x"`, wantStatus: 200, wantBytes: len(document)},
		"no other path":                   {method: "GET", path: "/", wantStatus: 404, wantBytes: len("404 page not found\n")},
		"no path beside":                  {method: "GET", path: servedPath + "/../d.xml", wantStatus: 404, wantBytes: len("404 page not found\n")},
		"no other method":                 {method: "POST", path: servedPath, wantStatus: 405, wantBytes: len("only GET and HEAD\n")},
	} {
		t.Run(name, func(t *testing.T) {
			log.Reset()
			request := httptest.NewRequestWithContext(t.Context(), tc.method, tc.path, http.NoBody)
			if tc.ifNoneMatch != "" {
				request.Header.Set("If-None-Match", tc.ifNoneMatch)
			}
			recorder := httptest.NewRecorder()
			server.ServeHTTP(recorder, request)
			if recorder.Code != tc.wantStatus || recorder.Body.Len() != tc.wantBytes {
				t.Errorf("status %d with %d bytes, want %d with %d", recorder.Code, recorder.Body.Len(), tc.wantStatus, tc.wantBytes)
			}
			if tc.wantStatus < 400 && recorder.Header().Get("ETag") != etag {
				t.Errorf("ETag = %q, want %q", recorder.Header().Get("ETag"), etag)
			}
			if !strings.Contains(log.String(), `"method"="`+tc.method+`"`) {
				t.Errorf("access log = %q", &log)
			}
		})
	}
}

func TestServerRefusesWhatCannotBeServed(t *testing.T) {
	folder := t.TempDir()
	good := signedDocument(t, nil)
	for name, tc := range map[string]struct {
		content []byte
		check   func([]byte) error
		want    string
	}{
		"no document":              {[]byte("<html/>"), nil, `root element "html"`},
		"half of one":              {good[:len(good)/2], nil, "document: "},
		"one without a signature":  {[]byte(`<EOCS version="1.0.4"/>`), nil, "no Signature element"},
		"one that the check minds": {good, func([]byte) error { return errors.New("minded") }, "minded"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newServer(t, writeFile(t, folder, "d.xml", tc.content), func(o *ServerOptions) { o.Check = tc.check })
			expectError(t, err, tc.want)
		})
	}
	_, err := newServer(t, filepath.Join(folder, "missing.xml"), nil)
	expectError(t, err, "missing.xml")
}

// TestPublishedDocumentReachesAFeed goes the whole way: signed, verified, served over TLS, fetched as the feed controller
// does, replaced by a broken one and by a newer one, stopped.
func TestPublishedDocumentReachesAFeed(t *testing.T) {
	g := NewWithT(t)
	folder := t.TempDir()
	file := writeFile(t, folder, "d.xml", signedDocument(t, nil))
	certificate, key, roots := tlsPair(t, 1)
	pair, err := LoadKeyPair(writeFile(t, folder, "tls.pem", certificate), writeFile(t, folder, "tls.key", key), os.ReadFile)
	g.Expect(err).NotTo(HaveOccurred())

	server, err := newServer(t, file, func(o *ServerOptions) { o.Certificate = pair })
	g.Expect(err).NotTo(HaveOccurred())
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	g.Expect(err).NotTo(HaveOccurred())
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, listener) }()

	request := fetch.Request{URL: "https://" + listener.Addr().String() + servedPath, RootCAs: roots}
	test := func() Connectivity { return TestConnectivity(t.Context(), request, rootPolicy(t), now) }
	result := test()
	g.Expect(result.Cause).To(BeEmpty())
	g.Expect(result.Success).To(BeTrue())
	g.Expect(result.Report.Sequence).To(BeEquivalentTo(7))
	g.Expect(result.ETag).NotTo(BeEmpty())
	g.Expect(result.Push).To(Equal(PushOffered))
	g.Expect(result.Text()).To(ContainSubstring("Push is offered"))

	request.ETag = result.ETag
	again, err := fetch.Get(t.Context(), request)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(again.NotModified).To(BeTrue())
	request.ETag = ""

	writeFile(t, folder, "d.xml", []byte("broken"))
	_, err = server.Reload()
	g.Expect(err).To(HaveOccurred())
	g.Expect(test().Report.Sequence).To(BeEquivalentTo(7), "the document before is still served")

	next := writeFile(t, folder, "next.xml", signedDocument(t, func(r *SignRequest) { r.Sequence = 8 }))
	g.Expect(os.Rename(next, file)).To(Succeed())
	g.Eventually(func() int64 { return test().Report.Sequence }).WithTimeout(10 * time.Second).Should(BeEquivalentTo(8))

	request.ETag = test().ETag
	held := waiting(t, request, "wait=200")
	g.Eventually(server.waiting.Load).WithTimeout(10 * time.Second).Should(BeEquivalentTo(1))

	// A certificate with another key is used from the moment when both files are there.
	certificate, key, newRoots := tlsPair(t, 2)
	writeFile(t, folder, "tls.pem", certificate)
	_, err = pair.Reload()
	g.Expect(err).To(MatchError(ContainSubstring("private key does not match")))
	g.Expect(test().Reached).To(BeTrue(), "the certificate before is still used")
	writeFile(t, folder, "tls.key", key)
	request.RootCAs = newRoots
	g.Eventually(func() bool { return test().Reached }).WithTimeout(10 * time.Second).Should(BeTrue())

	stop()
	g.Eventually(held).WithTimeout(10*time.Second).Should(Receive(Equal(answered{status: 304, applied: "wait=200"})), "who waits is answered at the end")
	g.Eventually(ended).WithTimeout(10 * time.Second).Should(Receive(BeNil()))
	g.Expect(test().Reached).To(BeFalse())
}

// TestServerInAFolderThatIsNeverQuiet: the log of the server may stand beside the document.
func TestServerInAFolderThatIsNeverQuiet(t *testing.T) {
	g := NewWithT(t)
	folder := t.TempDir()
	file := writeFile(t, folder, "d.xml", signedDocument(t, nil))
	certificate, key, _ := tlsPair(t, 1)
	pair, err := LoadKeyPair(writeFile(t, folder, "tls.pem", certificate), writeFile(t, folder, "tls.key", key), os.ReadFile)
	g.Expect(err).NotTo(HaveOccurred())
	var refusals atomic.Int64
	log := funcr.New(func(_, args string) {
		if strings.Contains(args, "Document not taken") {
			refusals.Add(1)
		}
	}, funcr.Options{})
	server, err := newServer(t, file, func(o *ServerOptions) { o.Certificate, o.Log = pair, log })
	g.Expect(err).NotTo(HaveOccurred())
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	g.Expect(err).NotTo(HaveOccurred())
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() { _ = server.Run(ctx, listener) })
	running.Go(func() {
		tick := time.NewTicker(settleTime / 5)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				_ = os.WriteFile(filepath.Join(folder, "access.log"), []byte(strconv.Itoa(n)), 0o600)
			}
		}
	})

	broken := writeFile(t, t.TempDir(), "broken.xml", []byte("broken"))
	g.Expect(os.Rename(broken, file)).To(Succeed())
	g.Eventually(refusals.Load).WithTimeout(10 * time.Second).Should(BeEquivalentTo(1))
	before := server.current.Load().etag
	g.Expect(os.Rename(writeFile(t, folder, "next.xml", signedDocument(t, func(r *SignRequest) { r.Sequence = 8 })), file)).To(Succeed())
	g.Eventually(func() string { return server.current.Load().etag }).WithTimeout(10 * time.Second).ShouldNot(Equal(before))
	g.Expect(refusals.Load()).To(BeEquivalentTo(1), "a problem is logged once, however often the folder changes")
}

func TestConnectivityTellsOfPush(t *testing.T) {
	good := signedDocument(t, nil)
	for name, tc := range map[string]struct {
		held     http.HandlerFunc
		want     Push
		wantText string
	}{
		"the endpoint waits": {
			held: func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Preference-Applied", r.Header.Get("Prefer"))
				w.WriteHeader(http.StatusNotModified)
			},
			want: PushOffered, wantText: "Push is offered",
		},
		"the endpoint does not know it": {
			held: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) },
			want: PushNotOffered, wantText: "Push is not offered",
		},
		"a proxy minds": {
			held: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
			want: PushFailed, wantText: "so that push would not work",
		},
	} {
		t.Run(name, func(t *testing.T) {
			endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("ETag", `"1"`)
				if r.Header.Get("If-None-Match") != "" {
					tc.held(w, r)
					return
				}
				_, _ = w.Write(good)
			}))
			defer endpoint.Close()
			got := TestConnectivity(t.Context(), fetch.Request{URL: endpoint.URL}, rootPolicy(t), now)
			if !got.Success || got.Push != tc.want || !strings.Contains(got.Text(), tc.wantText) {
				t.Errorf("success %t, push %q, want success and %q; text:\n%s", got.Success, got.Push, tc.want, got.Text())
			}
		})
	}
}

func TestConnectivityTellsWhatToDo(t *testing.T) {
	good := signedDocument(t, nil)
	for name, tc := range map[string]struct {
		body        []byte
		policy      func(*Policy)
		at          time.Time
		proxy       string
		gone        bool
		wantSuccess bool
		wantReached bool
		wantText    []string
	}{
		"all is well": {body: good, at: now, wantSuccess: true, wantReached: true, wantText: []string{"Document: valid", "sends no ETag"}},
		"the signing certificate expires soon": {
			body: signedDocument(t, func(r *SignRequest) { r.Issued = now.AddDate(0, 11, 0) }), at: now.AddDate(0, 11, 0),
			wantSuccess: true, wantReached: true, wantText: []string{"the signing certificate expires on 2027-05-14"},
		},
		"a web page instead of the document": {body: []byte("<html>Sign in</html>"), at: now, wantReached: true, wantText: []string{"The endpoint can be reached", "what answered is not the publisher"}},
		"another signer":                     {body: good, policy: func(p *Policy) { p.CommonName = "Other" }, at: now, wantReached: true, wantText: []string{"signer not trusted", "compare the trust policy"}},
		"an old document":                    {body: good, at: now.AddDate(0, 0, 1), wantReached: true, wantText: []string{"Class:       Expired", "a cache or mirror"}},
		"nobody listens":                     {gone: true, at: now, wantText: []string{"No document was received.", "Cause: fetching", "refused\nNext: check the name resolution"}},
		"a proxy that is not there":          {body: good, proxy: "http://127.0.0.1:1", at: now, wantText: []string{"No document was received."}},
	} {
		t.Run(name, func(t *testing.T) {
			endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(tc.body) }))
			defer endpoint.Close()
			if tc.gone {
				endpoint.Close()
			}
			policy := rootPolicy(t)
			if tc.policy != nil {
				tc.policy(&policy)
			}
			request := fetch.Request{URL: endpoint.URL}
			if tc.proxy != "" {
				request.Proxy = &url.URL{Scheme: "http", Host: strings.TrimPrefix(tc.proxy, "http://")}
			}
			got := TestConnectivity(t.Context(), request, policy, tc.at)
			text := got.Text()
			wantLines := connectivityFailure
			if tc.wantSuccess {
				wantLines = connectivitySuccess
			}
			if got.Success != tc.wantSuccess || got.Reached != tc.wantReached || !strings.HasPrefix(text, wantLines) {
				t.Errorf("success %t, reached %t, text:\n%s", got.Success, got.Reached, text)
			}
			for _, want := range tc.wantText {
				if !strings.Contains(text, want) {
					t.Errorf("text has no %q:\n%s", want, text)
				}
			}
		})
	}
}

// waiting sends the request of a feed with a preference, in the background.
func waiting(t *testing.T, request fetch.Request, prefer string) <-chan answered {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: request.RootCAs, MinVersion: tls.VersionTLS12}}
	return ask(t, &http.Client{Transport: transport}, http.MethodGet, request.URL, request.ETag, prefer)
}

// tlsPair makes a certificate for 127.0.0.1 that is its own root.
func tlsPair(t *testing.T, serial int64) (certificate, key []byte, roots *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(certificate)
	return certificate, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), roots
}

func TestLoadKeyPairRefuses(t *testing.T) {
	folder := t.TempDir()
	certificate, _, _ := tlsPair(t, 1)
	_, key, _ := tlsPair(t, 2)
	certificateFile, keyFile, missing := writeFile(t, folder, "tls.pem", certificate), writeFile(t, folder, "tls.key", key), filepath.Join(folder, "missing.pem")
	for name, tc := range map[string]struct{ certificate, key, want string }{
		"no certificate":           {missing, keyFile, "certificate for TLS: "},
		"no key":                   {certificateFile, missing, "key for TLS: "},
		"a key of another":         {certificateFile, keyFile, "private key does not match"},
		"a key as the certificate": {keyFile, keyFile, "tls.key: "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := LoadKeyPair(tc.certificate, tc.key, os.ReadFile)
			expectError(t, err, tc.want)
		})
	}
}
