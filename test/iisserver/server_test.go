package iisserver

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mitigation.dev/ems/agent/iis"
	"mitigation.dev/ems/internal/rewrite"
	"mitigation.dev/ems/internal/rewrite/accesslog"
	"mitigation.dev/ems/test/iistree"
)

const site = "Default Web Site"

// rules are one of each kind.
const rules = `            <rewrite>
                <rules>
                    <rule name="abort"><match url="^abort" /><action type="AbortRequest" /></rule>
                    <rule name="forbid"><match url="^forbid" /><action type="CustomResponse" statusCode="403" subStatusCode="18" statusReason="No" statusDescription="Not for you &lt;b&gt;" /></rule>
                    <rule name="redirect"><match url="^old$" /><action type="Redirect" url="/new" redirectType="Found" /></rule>
                    <rule name="rewrite" stopProcessing="true"><match url="^article/([0-9]+)$" /><action type="Rewrite" url="article.txt?id={R:1}" /></rule>
                    <rule name="files"><match url="^only/" /><conditions><add input="{REQUEST_FILENAME}" matchType="IsFile" negate="true" /></conditions><action type="CustomResponse" statusCode="410" /></rule>
                </rules>
                <outboundRules>
                    <rule name="frame"><match serverVariable="RESPONSE_X-Frame" pattern=".*" /><action type="Rewrite" value="DENY" /></rule>
                </outboundRules>
            </rewrite>
`

// start serves a tree with the rules.
func start(t *testing.T) (*Server, *httptest.Server) {
	t.Helper()
	root := t.TempDir()
	if err := iistree.Write(root, iistree.Options{CRLF: true, Sites: []iistree.Site{{
		Name: site, Port: 80, Pool: "DefaultAppPool", Rewrite: rules,
		Applications: []iistree.Application{{Path: "/ecp", Pool: "MSExchangeECPAppPool"}},
	}}}); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "inetpub", "wwwroot", "article.txt"), "an article")
	write(t, filepath.Join(root, "inetpub", "wwwroot", "only", "file.txt"), "a file")
	s := New(root, site)
	s.Now = func() time.Time { return time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC) }
	listening := httptest.NewServer(s)
	t.Cleanup(listening.Close)
	return s, listening
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// get returns the status, the headers and the body; status 0 if the connection was dropped without an answer.
func get(t *testing.T, url string) (int, http.Header, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("User-Agent", "a test (of some kind)")
	client := &http.Client{
		// On a connection that was used before, Go would send again what was dropped.
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if errors.Is(err, io.EOF) {
		return 0, nil, ""
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(body)
}

func TestRulesAnswer(t *testing.T) {
	_, server := start(t)
	for name, tc := range map[string]struct {
		path       string
		wantStatus int
		wantBody   string
		wantHeader [2]string
	}{
		"a file":                              {path: "/article.txt", wantStatus: 200, wantBody: "an article", wantHeader: [2]string{"X-Frame", "DENY"}},
		"a file that is not there":            {path: "/nothing", wantStatus: 404, wantBody: "HTTP Error 404 - Not Found"},
		"configuration is no content":         {path: "/web.config", wantStatus: 404},
		"an aborted request gets nothing":     {path: "/abort/x"},
		"a response of a rule":                {path: "/forbidden", wantStatus: 403, wantBody: "<h2>HTTP Error 403.18 - No</h2>\n<p>Not for you &lt;b&gt;</p>"},
		"a redirect":                          {path: "/old", wantStatus: 302, wantHeader: [2]string{"Location", "/new"}},
		"a rewritten request":                 {path: "/article/17", wantStatus: 200, wantBody: "an article"},
		"a condition on files, which there":   {path: "/only/file.txt", wantStatus: 200, wantBody: "a file"},
		"a condition on files, which are not": {path: "/only/other.txt", wantStatus: 410},
	} {
		t.Run(name, func(t *testing.T) {
			status, header, body := get(t, server.URL+tc.path)
			if status != tc.wantStatus || !strings.Contains(body, tc.wantBody) || !strings.HasSuffix(header.Get(tc.wantHeader[0]), tc.wantHeader[1]) {
				t.Errorf("%d, %v, %q; want %d, %v, %q", status, header, body, tc.wantStatus, tc.wantHeader, tc.wantBody)
			}
		})
	}
}

func TestChangesCountFromTheNextRequestOn(t *testing.T) {
	s, server := start(t)
	expect := func(path string, want int) {
		t.Helper()
		if status, _, body := get(t, server.URL+path); status != want {
			t.Errorf("%s: %d, want %d: %s", path, status, want, body)
		}
	}
	path := filepath.Join(s.root, filepath.FromSlash(iistree.ConfigFile))
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	expect("/forbidden", 403)
	write(t, path, strings.ReplaceAll(string(content), `"^forbid"`, `"^never"`))
	expect("/forbidden", 404)
	write(t, path, strings.ReplaceAll(string(content), `statusCode="403"`, `statusCode="nonsense"`))
	expect("/article.txt", 500)
	write(t, path, string(content[:len(content)/2]))
	expect("/article.txt", 503)
	write(t, path, string(content))
	expect("/article.txt", 200)

	web := filepath.Join(s.root, filepath.FromSlash(iistree.WebConfig))
	write(t, web, `<configuration><system.webServer><rewrite><rules><clear /></rules></rewrite></system.webServer></configuration>`)
	expect("/forbidden", 404)
	if err := os.Remove(web); err != nil {
		t.Fatal(err)
	}
	expect("/forbidden", 403)

	pools := iis.NewFilePools(s.root)
	expect("/ecp/x", 404)
	if err := pools.Stop(t.Context(), "MSExchangeECPAppPool"); err != nil {
		t.Fatal(err)
	}
	expect("/ECP/x", 503)
	expect("/ecpx", 404)
	expect("/article.txt", 200)
	if err := pools.Start(t.Context(), "MSExchangeECPAppPool"); err != nil {
		t.Fatal(err)
	}
	expect("/ecp/x", 404)
}

func TestNoPathLeadsOutOfTheSite(t *testing.T) {
	s, _ := start(t)
	config, err := s.configuration()
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(s.root, "inetpub", "wwwroot")
	for path, want := range map[string]string{"/": folder, "/a/../../../b": filepath.Join(folder, "b"), "/ECP/../x": filepath.Join(folder, "ecp", "x")} {
		if got := config.PhysicalPath(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestASiteThatIsNotThereIsUnavailable(t *testing.T) {
	s, _ := start(t)
	server := httptest.NewServer(New(s.root, "Intranet"))
	defer server.Close()
	if status, _, _ := get(t, server.URL); status != http.StatusServiceUnavailable {
		t.Errorf("status %d", status)
	}
}

func TestApplicationsSeeWhatRulesMadeOfTheRequest(t *testing.T) {
	s, server := start(t)
	s.Application = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Frame", "SAMEORIGIN")
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write([]byte(r.URL.String()))
	})
	status, header, body := get(t, server.URL+"/article/17?x=y")
	if status != http.StatusTeapot || header.Get("X-Frame") != "DENY" || body != "/article.txt?id=17&x=y" {
		t.Errorf("%d, %v, %q", status, header, body)
	}
}

// TestTheLogIsReadAsThatOfIIS reads it with the reader for real logs and asks the rules again.
func TestTheLogIsReadAsThatOfIIS(t *testing.T) {
	s, server := start(t)
	for _, path := range []string{"/article.txt?q=%41", "/only/b%20c.txt", "/abort", "/forbidden"} {
		get(t, server.URL+path)
	}
	content, err := os.ReadFile(LogFile(s.root, "1", s.Now()))
	if err != nil {
		t.Fatal(err)
	}
	reader := accesslog.NewReader(bytes.NewReader(content))
	config, err := s.configuration()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		target            string
		status, subStatus int
		outcome           rewrite.Outcome
	}{
		{"/article.txt?q=%41", 200, 0, rewrite.Passed},
		{"/only/b+c.txt?", 410, 0, rewrite.Responded},
		{"/abort?", 0, 0, rewrite.Aborted},
		{"/forbidden?", 403, 18, rewrite.Responded},
	} {
		entry, err := reader.Next()
		if err != nil {
			t.Fatalf("%v in\n%s", err, content)
		}
		request := entry.Request()
		if got := request.Path + "?" + request.RawQuery; got != strings.TrimSuffix(want.target, "?") && got != want.target {
			t.Errorf("request %q, want %q", got, want.target)
		}
		result, err := config.site.Evaluate(request)
		if err != nil || result.Outcome != want.outcome || entry.Status != want.status || entry.SubStatus != want.subStatus {
			t.Errorf("%s: %s, logged %d.%d, %v; want %s, %d.%d", want.target, result, entry.Status, entry.SubStatus, err, want.outcome, want.status, want.subStatus)
		}
		if !entry.When.Equal(s.Now()) || request.Headers.Get("User-Agent") != "a test (of some kind)" || request.Host != strings.TrimPrefix(server.URL, "http://") {
			t.Errorf("entry %+v, request %+v", entry, request)
		}
	}
	if _, err := reader.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("more lines, or %v, in\n%s", err, content)
	}
}
