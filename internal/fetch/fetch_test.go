package fetch_test

import (
	"compress/gzip"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/fetch"
)

// brief is a limit that passes while a test waits, for servers that never answer.
const brief = 50 * time.Millisecond

func TestGetReturnsTheDocument(t *testing.T) {
	var got http.Header
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		w.Header().Set("ETag", `"v1"`)
		_, _ = io.WriteString(w, "<EOCS/>")
	})
	response, err := fetch.Get(t.Context(), fetch.Request{URL: server.URL + "/feed?key=secret#part"})
	if err != nil {
		t.Fatal(err)
	}
	if response.Took <= 0 {
		t.Errorf("took %v, want more than nothing", response.Took)
	}
	response.Took = 0
	want := &fetch.Response{Body: []byte("<EOCS/>"), ETag: `"v1"`, FinalURL: server.URL + "/feed"}
	if diff := cmp.Diff(want, response); diff != "" {
		t.Errorf("response (-want +got):\n%s", diff)
	}
	if encoding := got.Values("Accept-Encoding"); !cmp.Equal(encoding, []string{"identity"}) {
		t.Errorf("Accept-Encoding %q, want identity only", encoding)
	}
	if tags := got.Values("If-None-Match"); len(tags) > 0 {
		t.Errorf("If-None-Match %q without an ETag in the request", tags)
	}
}

func TestGetWithETag(t *testing.T) {
	cases := map[string]struct {
		sent         string
		answer       string
		status       int
		wantHeader   string
		wantETag     string
		wantModified bool
		wantClass    fetch.Class
	}{
		"the document has not changed":               {`"v1"`, `"v1"`, 304, `"v1"`, `"v1"`, false, ""},
		"an answer without tag keeps the old one":    {`"v1"`, "", 304, `"v1"`, `"v1"`, false, ""},
		"the document has changed":                   {`"v1"`, `W/"v2"`, 200, `"v1"`, `W/"v2"`, true, ""},
		"a tag that could add a header is not sent":  {"\"v1\"\r\nX: y", `"v2"`, 200, "", `"v2"`, true, ""},
		"a tag that is too long is not kept":         {"", `"` + strings.Repeat("x", 300) + `"`, 200, "", "", true, ""},
		"304 that nobody asked for is no document":   {"", "", 304, "", "", false, fetch.UnexpectedStatus},
		"304 for a tag that was not sent is neither": {"a b", "", 304, "", "", false, fetch.UnexpectedStatus},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var header string
			server := serve(t, func(w http.ResponseWriter, r *http.Request) {
				header = r.Header.Get("If-None-Match")
				if tc.answer != "" {
					w.Header().Set("ETag", tc.answer)
				}
				w.WriteHeader(tc.status)
			})
			response, err := fetch.Get(t.Context(), fetch.Request{URL: server.URL, ETag: tc.sent})
			if header != tc.wantHeader {
				t.Errorf("If-None-Match %q, want %q", header, tc.wantHeader)
			}
			if tc.wantClass != "" {
				wantClass(t, err, tc.wantClass)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if response.ETag != tc.wantETag || response.NotModified == tc.wantModified {
				t.Errorf("response %+v, want ETag %q and modified %t", response, tc.wantETag, tc.wantModified)
			}
		})
	}
}

func TestGetRefusesHostileAnswers(t *testing.T) {
	elsewhere := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "bait") })
	cases := map[string]struct {
		handler   http.HandlerFunc
		limits    fetch.Limits
		wantClass fetch.Class
		wantText  string
	}{
		"headers that never come": {
			func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			fetch.Limits{Headers: brief}, fetch.TimedOut, "firewall"},
		"a body that never ends in time": {
			func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, "<EOCS")
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			},
			fetch.Limits{Total: 4 * brief}, fetch.TimedOut, "no complete answer in time"},
		"a body without end": {
			func(w http.ResponseWriter, _ *http.Request) {
				for {
					if _, err := w.Write(make([]byte, 4096)); err != nil {
						return
					}
				}
			},
			fetch.Limits{Bytes: 10_000}, fetch.TooLarge, "more than 10000 bytes"},
		"a body announced as too large": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "1048577")
				w.WriteHeader(http.StatusOK)
			},
			fetch.Limits{}, fetch.TooLarge, "more than 1048576 bytes"},
		"a body one byte too large": {
			func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("x", 101)) },
			fetch.Limits{Bytes: 100}, fetch.TooLarge, "more than 100 bytes"},
		"a body that breaks off": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "100")
				_, _ = io.WriteString(w, "short")
			},
			fetch.Limits{}, fetch.Unreachable, "it broke"},
		"endless headers": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Large", strings.Repeat("x", 100_000))
				w.WriteHeader(http.StatusOK)
			},
			fetch.Limits{}, fetch.Unreachable, "exceeded"},
		"a compressed body": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Encoding", "gzip")
				z := gzip.NewWriter(w)
				_, _ = z.Write(make([]byte, 1<<20))
				_ = z.Close()
			},
			fetch.Limits{}, fetch.UnexpectedEncoding, `"gzip"`},
		"a fault of the host": {
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
			fetch.Limits{}, fetch.UnexpectedStatus, "status 500"},
		"a path that is not there": {
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
			fetch.Limits{}, fetch.UnexpectedStatus, "check the path"},
		"no content": {
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
			fetch.Limits{}, fetch.UnexpectedStatus, "status 204"},
		"a redirect to another host": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", elsewhere.URL+"/?token=secret")
				w.WriteHeader(http.StatusFound)
			},
			fetch.Limits{}, fetch.Redirected, elsewhere.URL},
		"a redirect to itself": {
			func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/again", http.StatusFound) },
			fetch.Limits{}, fetch.Redirected, "more than 3 times"},
		"a redirect to nowhere": {
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusFound) },
			fetch.Limits{}, fetch.Redirected, "without an address"},
		"a redirect to a file": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "file://127.0.0.1/etc/passwd")
				w.WriteHeader(http.StatusFound)
			},
			fetch.Limits{}, fetch.Redirected, "no TLS"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			server := serve(t, tc.handler)
			_, err := fetch.Get(t.Context(), fetch.Request{URL: server.URL + "/?key=secret", Limits: tc.limits})
			wantClass(t, err, tc.wantClass)
			if !strings.Contains(err.Error(), tc.wantText) || strings.Contains(err.Error(), "secret") {
				t.Errorf("error %q, want the words %q and no secret", err, tc.wantText)
			}
		})
	}
}

func TestGetFollowsRedirectsOnTheHost(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/old" {
			http.Redirect(w, r, "/new?v=2", http.StatusMovedPermanently)
			return
		}
		user, password, _ := r.BasicAuth()
		_, _ = io.WriteString(w, r.URL.RequestURI()+" "+user+" "+password)
	})
	response, err := fetch.Get(t.Context(), fetch.Request{URL: strings.Replace(server.URL, "//", "//reader:pass@", 1) + "/old"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(response.Body), "/new?v=2 reader pass"; got != want {
		t.Errorf("body %q, want %q", got, want)
	}
	if want := server.URL + "/new"; response.FinalURL != want {
		t.Errorf("final URL %q, want %q", response.FinalURL, want)
	}
}

func TestGetOverTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/down" {
			http.Redirect(w, r, "http://"+r.Host+"/", http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, "safe")
	}))
	// The handshakes that fail here would be written to the test's output.
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())

	t.Run("a trusted certificate", func(t *testing.T) {
		response, err := fetch.Get(t.Context(), fetch.Request{URL: server.URL, RootCAs: roots})
		if err != nil || string(response.Body) != "safe" {
			t.Errorf("response %v, error %v", response, err)
		}
	})
	t.Run("an untrusted certificate", func(t *testing.T) {
		_, err := fetch.Get(t.Context(), fetch.Request{URL: server.URL, RootCAs: x509.NewCertPool()})
		wantClass(t, err, fetch.TLS)
		if _, ok := errors.AsType[x509.UnknownAuthorityError](err); !ok {
			t.Errorf("error %v does not wrap its cause", err)
		}
	})
	t.Run("a certificate for another name", func(t *testing.T) {
		_, err := fetch.Get(t.Context(), fetch.Request{URL: strings.Replace(server.URL, "127.0.0.1", "localhost", 1), RootCAs: roots})
		wantClass(t, err, fetch.TLS)
	})
	t.Run("a redirect that leaves TLS", func(t *testing.T) {
		_, err := fetch.Get(t.Context(), fetch.Request{URL: server.URL + "/down", RootCAs: roots})
		wantClass(t, err, fetch.Redirected)
	})
	t.Run("a host that does not speak TLS", func(t *testing.T) {
		plain := serve(t, func(http.ResponseWriter, *http.Request) {})
		_, err := fetch.Get(t.Context(), fetch.Request{URL: strings.Replace(plain.URL, "http:", "https:", 1)})
		wantClass(t, err, fetch.TLS)
	})
	t.Run("a host that takes the connection and says nothing", func(t *testing.T) {
		silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = silent.Close() })
		_, err = fetch.Get(t.Context(), fetch.Request{URL: "https://" + silent.Addr().String(), Limits: fetch.Limits{TLS: brief}})
		wantClass(t, err, fetch.TimedOut)
	})
}

func TestGetThroughAProxy(t *testing.T) {
	var asked, credentials string
	proxy := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked, credentials = r.Method+" "+r.RequestURI, r.Header.Get("Proxy-Authorization")
		if r.Method == http.MethodConnect || credentials == "" {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		_, _ = io.WriteString(w, "by proxy")
	})
	address := mustURL(t, proxy.URL)

	t.Run("the proxy is asked for the whole address", func(t *testing.T) {
		withUser := *address
		withUser.User = url.UserPassword("user", "secret")
		response, err := fetch.Get(t.Context(), fetch.Request{URL: "http://feed.contoso.example/x", Proxy: &withUser})
		if err != nil {
			t.Fatal(err)
		}
		if string(response.Body) != "by proxy" || asked != "GET http://feed.contoso.example/x" || credentials == "" {
			t.Errorf("body %q, the proxy was asked %q with credentials %t", response.Body, asked, credentials != "")
		}
	})
	t.Run("a proxy that wants other credentials for TLS", func(t *testing.T) {
		withUser := *address
		withUser.User = url.UserPassword("user", "secret")
		_, err := fetch.Get(t.Context(), fetch.Request{URL: "https://feed.contoso.example/x", Proxy: &withUser})
		wantClass(t, err, fetch.UnexpectedStatus)
		failure, _ := errors.AsType[*fetch.Error](err)
		if failure.Status != http.StatusProxyAuthRequired || strings.Contains(err.Error(), "secret") {
			t.Errorf("error %v with status %d, want 407 and no secret", err, failure.Status)
		}
	})
	t.Run("a proxy that is not there", func(t *testing.T) {
		gone := *address
		gone.Host, gone.User = closedAddress(t), url.UserPassword("user", "secret")
		_, err := fetch.Get(t.Context(), fetch.Request{URL: "https://feed.contoso.example/x", Proxy: &gone})
		wantClass(t, err, fetch.Unreachable)
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("error %q has the secret", err)
		}
	})
	t.Run("a proxy of another kind", func(t *testing.T) {
		_, err := fetch.Get(t.Context(), fetch.Request{URL: "http://feed.contoso.example/", Proxy: mustURL(t, "ftp://user:secret@proxy:21")})
		wantClass(t, err, fetch.InvalidURL)
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("error %q has the secret", err)
		}
	})
}

func TestGetIgnoresProxiesOfTheEnvironment(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://"+closedAddress(t))
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "direct") })
	if _, err := fetch.Get(t.Context(), fetch.Request{URL: server.URL}); err != nil {
		t.Error(err)
	}
}

func TestGetRefusesURLs(t *testing.T) {
	cases := map[string]string{
		"nothing":                      "",
		"a relative address":           "/feed?secret",
		"another scheme":               "ftp://host/secret",
		"no host":                      "https:///secret",
		"a port that is none":          "https://user:sec/ret@host/secret",
		"a broken escape":              "https://user:secret%zz@host/",
		"a control character":          "https://host/\nsecret",
		"an address that is too long":  "https://host/" + strings.Repeat("secret", 1000),
		"a host without any character": "https://user:secret@/",
	}
	for name, address := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := fetch.Get(t.Context(), fetch.Request{URL: address})
			wantClass(t, err, fetch.InvalidURL)
			if strings.Contains(err.Error(), "sec") {
				t.Errorf("error %q repeats parts of the URL", err)
			}
		})
	}
}

func TestGetOfAnUnreachableHost(t *testing.T) {
	_, err := fetch.Get(t.Context(), fetch.Request{URL: "http://user:secret@" + closedAddress(t) + "/feed?key=secret"})
	wantClass(t, err, fetch.Unreachable)
	failure, _ := errors.AsType[*fetch.Error](err)
	if strings.Contains(err.Error(), "secret") || strings.Contains(failure.URL, "user") {
		t.Errorf("error %q has the secret", err)
	}
	if !strings.Contains(err.Error(), "/feed") || failure.Next == "" {
		t.Errorf("error %q does not say where or what next", err)
	}
}

func TestGetEndsWithTheCallersContext(t *testing.T) {
	for name, tc := range map[string]struct {
		with      func(context.Context) (context.Context, context.CancelFunc)
		wantClass fetch.Class
		wantCause error
	}{
		"canceled": {context.WithCancel, fetch.Canceled, context.Canceled},
		"a deadline of the caller": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, brief)
		}, fetch.TimedOut, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := tc.with(t.Context())
			defer cancel()
			server := serve(t, func(_ http.ResponseWriter, r *http.Request) {
				if tc.wantClass == fetch.Canceled {
					cancel()
				}
				<-r.Context().Done()
			})
			_, err := fetch.Get(ctx, fetch.Request{URL: server.URL})
			wantClass(t, err, tc.wantClass)
			if !errors.Is(err, tc.wantCause) {
				t.Errorf("error %v, want one that wraps %v", err, tc.wantCause)
			}
		})
	}
}

func BenchmarkGet(b *testing.B) {
	body := make([]byte, fetch.DefaultMaxBytes)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }))
	defer server.Close()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := fetch.Get(b.Context(), fetch.Request{URL: server.URL}); err != nil {
			b.Fatal(err)
		}
	}
}

func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

// closedAddress returns an address of this machine at which nobody listens.
func closedAddress(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return listener.Addr().String()
}

func mustURL(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func wantClass(t *testing.T, err error, want fetch.Class) {
	t.Helper()
	failure, ok := errors.AsType[*fetch.Error](err)
	if !ok {
		t.Fatalf("error %v, want a *fetch.Error", err)
	}
	if failure.Class != want {
		t.Fatalf("class %s, want %s: %v", failure.Class, want, err)
	}
}
