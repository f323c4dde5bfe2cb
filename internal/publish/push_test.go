package publish

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
)

func TestPreferredWait(t *testing.T) {
	for name, tc := range map[string]struct {
		headers   []string
		want      time.Duration
		wantAsked bool
	}{
		"none":                              {},
		"a time":                            {headers: []string{"wait=10"}, want: 10 * time.Second, wantAsked: true},
		"no time at all":                    {headers: []string{"wait=0"}, wantAsked: true},
		"the longest":                       {headers: []string{"wait=300"}, want: MaxWait, wantAsked: true},
		"more is lowered":                   {headers: []string{"wait=301"}, want: MaxWait, wantAsked: true},
		"much more is lowered":              {headers: []string{"wait=2147483647"}, want: MaxWait, wantAsked: true},
		"among others":                      {headers: []string{"respond-async, WAIT = \"20\"; x=y, handling=lenient"}, want: 20 * time.Second, wantAsked: true},
		"in a header of its own":            {headers: []string{"return=minimal", "wait=20"}, want: 20 * time.Second, wantAsked: true},
		"the first counts":                  {headers: []string{"wait=5, wait=7"}, want: 5 * time.Second, wantAsked: true},
		"a negative time is passed over":    {headers: []string{"wait=-1"}},
		"a fraction is passed over":         {headers: []string{"wait=1.5"}},
		"nothing is passed over":            {headers: []string{"wait"}},
		"more than a number is passed over": {headers: []string{"wait=99999999999999999999"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got, asked := preferredWait(tc.headers); got != tc.want || asked != tc.wantAsked {
				t.Errorf("wait = %s, %t, want %s, %t", got, asked, tc.want, tc.wantAsked)
			}
		})
	}
}

func FuzzPreferredWait(f *testing.F) {
	f.Add("wait=10; a=b, respond-async")
	f.Fuzz(func(t *testing.T, header string) {
		if got, asked := preferredWait([]string{header}); got < 0 || got > MaxWait || !asked && got != 0 {
			t.Errorf("%q: %s, %t", header, got, asked)
		}
	})
}

// answered is what a client sees of an answer.
type answered struct {
	status  int
	applied string
}

// pushServer serves one document and counts on a test to replace it.
func pushServer(t *testing.T, places int) (server *Server, endpoint *httptest.Server, replace func(sequence int64)) {
	t.Helper()
	folder := t.TempDir()
	file := writeFile(t, folder, "d.xml", signedDocument(t, nil))
	server, err := NewServer(ServerOptions{Document: file, Path: servedPath, Read: os.ReadFile, MaxWaiting: places, Log: logr.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	endpoint = httptest.NewUnstartedServer(server)
	// Shorter than any wait of the tests: a request that is held must not end with it.
	endpoint.Config.ReadTimeout, endpoint.Config.WriteTimeout = 50*time.Millisecond, 50*time.Millisecond
	endpoint.Start()
	t.Cleanup(endpoint.Close)
	return server, endpoint, func(sequence int64) {
		writeFile(t, folder, "d.xml", signedDocument(t, func(r *SignRequest) { r.Sequence = sequence }))
		if changed, err := server.Reload(); err != nil || !changed {
			t.Errorf("reload: %t, %v", changed, err)
		}
	}
}

// ask sends a request in the background.
func ask(t *testing.T, client *http.Client, method, url, etag, prefer string) <-chan answered {
	result := make(chan answered, 1)
	ctx := t.Context()
	go func() {
		request, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
		if err != nil {
			t.Error(err)
			return
		}
		request.Header.Set("If-None-Match", etag)
		request.Header.Set("Prefer", prefer)
		response, err := client.Do(request)
		if err != nil {
			t.Error(err)
			return
		}
		_ = response.Body.Close()
		result <- answered{response.StatusCode, response.Header.Get("Preference-Applied")}
	}()
	return result
}

func TestServerHoldsRequests(t *testing.T) {
	const soon = 20 * time.Second
	held := func(g *WithT, server *Server, n int) {
		g.Eventually(server.waiting.Load).WithTimeout(soon).Should(BeEquivalentTo(n))
	}
	t.Run("until there is another document", func(t *testing.T) {
		g := NewWithT(t)
		server, endpoint, replace := pushServer(t, 2)
		etag := server.current.Load().etag
		first := ask(t, endpoint.Client(), "GET", endpoint.URL+servedPath, etag, "wait=200")
		second := ask(t, endpoint.Client(), "GET", endpoint.URL+servedPath, `"x", W/`+etag, "wait=900")
		held(g, server, 2)
		// The limits for slow clients pass while they wait.
		g.Consistently(first).WithTimeout(200 * time.Millisecond).ShouldNot(Receive())
		third := ask(t, endpoint.Client(), "GET", endpoint.URL+servedPath, etag, "wait=200")
		g.Eventually(third).WithTimeout(soon).Should(Receive(Equal(answered{status: 304})), "there is no place for a third")
		replace(8)
		g.Eventually(first).WithTimeout(soon).Should(Receive(Equal(answered{200, "wait=200"})))
		g.Eventually(second).WithTimeout(soon).Should(Receive(Equal(answered{200, "wait=300"})), "a longer wait is lowered")
		held(g, server, 0)
		late := ask(t, endpoint.Client(), "GET", endpoint.URL+servedPath, etag, "wait=200")
		g.Eventually(late).WithTimeout(soon).Should(Receive(Equal(answered{200, "wait=200"})), "who is late does not wait")
	})
	t.Run("until the time is over", func(t *testing.T) {
		g := NewWithT(t)
		server, endpoint, _ := pushServer(t, 1)
		start := time.Now()
		got := ask(t, endpoint.Client(), "GET", endpoint.URL+servedPath, server.current.Load().etag, "wait=1")
		g.Eventually(got).WithTimeout(soon).Should(Receive(Equal(answered{304, "wait=1"})))
		g.Expect(time.Since(start)).To(BeNumerically(">=", time.Second))
	})
	t.Run("until the client is gone", func(t *testing.T) {
		g := NewWithT(t)
		server, endpoint, _ := pushServer(t, 1)
		ctx, cancel := context.WithCancel(t.Context())
		connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", endpoint.Listener.Addr().String())
		g.Expect(err).NotTo(HaveOccurred())
		defer cancel()
		_, err = connection.Write([]byte("GET " + servedPath + " HTTP/1.1\r\nHost: x\r\nPrefer: wait=200\r\nIf-None-Match: " + server.current.Load().etag + "\r\n\r\n"))
		g.Expect(err).NotTo(HaveOccurred())
		held(g, server, 1)
		g.Expect(connection.Close()).To(Succeed())
		held(g, server, 0)
	})
}

func TestServerDoesNotHold(t *testing.T) {
	for name, tc := range map[string]struct {
		method, etag, prefer string
		places               int
		want                 answered
	}{
		"who has another document":      {method: "GET", etag: `"x"`, prefer: "wait=200", places: 1, want: answered{200, "wait=200"}},
		"who has none":                  {method: "GET", prefer: "wait=200", places: 1, want: answered{200, "wait=200"}},
		"who takes any document as his": {method: "GET", etag: "*", prefer: "wait=200", places: 1, want: answered{304, "wait=200"}},
		"who does not want to wait":     {method: "GET", etag: "current", prefer: "wait=0", places: 1, want: answered{304, "wait=0"}},
		"who does not ask":              {method: "GET", etag: "current", prefer: "respond-async", places: 1, want: answered{304, ""}},
		"who wants the head":            {method: "HEAD", etag: "current", prefer: "wait=200", places: 1, want: answered{304, ""}},
		"anybody where nobody waits":    {method: "GET", etag: "current", prefer: "wait=200", want: answered{304, ""}},
	} {
		t.Run(name, func(t *testing.T) {
			server, endpoint, _ := pushServer(t, tc.places)
			etag := strings.ReplaceAll(tc.etag, "current", server.current.Load().etag)
			NewWithT(t).Eventually(ask(t, endpoint.Client(), tc.method, endpoint.URL+servedPath, etag, tc.prefer)).
				WithTimeout(20 * time.Second).Should(Receive(Equal(tc.want)))
		})
	}
}
