package page

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"mitigation.dev/ems/controllers/page/pagetest"
	"mitigation.dev/ems/controllers/tokens"
)

func TestWhoReads(t *testing.T) {
	for name, test := range map[string]struct {
		method, url   string
		authorization string
		away          bool
		want          int
		text          string
	}{
		"a reader with the right":                   {"GET", "/fleet", "Bearer good", false, http.StatusOK, "servers are protected"},
		"one that asks for the head":                {"HEAD", "/fleet", "Bearer good", false, http.StatusOK, ""},
		"nobody is asked to sign in":                {"GET", "/fleet", "", false, http.StatusUnauthorized, "Token of the cluster"},
		"an unknown token is, too":                  {"GET", "/fleet", "Bearer forged", false, http.StatusUnauthorized, "Token of the cluster"},
		"another scheme is no token":                {"GET", "/fleet", "Basic good", false, http.StatusUnauthorized, "Token of the cluster"},
		"a user without the right reads nothing":    {"GET", "/fleet", "Bearer poor", false, http.StatusForbidden, "bob lacks the right"},
		"nobody reads while nobody can be asked":    {"GET", "/fleet", "Bearer good", true, http.StatusServiceUnavailable, "cannot be asked"},
		"nobody is not told what there is":          {"GET", "/fleet/pools/exchange/frontend", "", false, http.StatusUnauthorized, "Token of the cluster"},
		"nor what there is not":                     {"GET", "/fleet/pools/exchange/nowhere", "", false, http.StatusUnauthorized, "Token of the cluster"},
		"a pool that is not there":                  {"GET", "/fleet/pools/exchange/nowhere", "Bearer good", false, http.StatusNotFound, "no such object"},
		"a server that is not there":                {"GET", "/fleet/servers/exchange/nowhere", "Bearer good", false, http.StatusNotFound, "no such object"},
		"a mitigation that is not there":            {"GET", "/fleet/mitigations/m99", "Bearer good", false, http.StatusNotFound, "no such object"},
		"ids are found however they are spelled":    {"GET", "/fleet/mitigations/OWA1", "Bearer good", false, http.StatusOK, "OWA1"},
		"an address that is none":                   {"GET", "/fleet/nothing", "Bearer good", false, http.StatusNotFound, "no such page"},
		"a folder":                                  {"GET", "/fleet/pools/", "Bearer good", false, http.StatusNotFound, "no such page"},
		"a way out of the assets":                   {"GET", "/fleet/assets/..%2f..%2fserver.go", "", false, http.StatusNotFound, ""},
		"the style sheet is for everybody":          {"GET", "/fleet/assets/page.css", "", false, http.StatusOK, ":root"},
		"the root leads to the fleet":               {"GET", "/", "", false, http.StatusSeeOther, ""},
		"the fleet is not written":                  {"POST", "/fleet", "Bearer good", false, http.StatusMethodNotAllowed, ""},
		"nor deleted":                               {"DELETE", "/fleet/pools/exchange/frontend", "Bearer good", false, http.StatusMethodNotAllowed, ""},
		"signing in is not read":                    {"GET", "/fleet/signin", "", false, http.StatusMethodNotAllowed, ""},
		"nor is signing out, which a link would do": {"GET", "/fleet/signout", "", false, http.StatusMethodNotAllowed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, pagetest.Small(begin))
			s.away = test.away
			var headers []string
			if test.authorization != "" {
				headers = []string{"Authorization", test.authorization}
			}
			w := s.do(t, test.method, test.url, "", headers...)
			if w.Code != test.want || !strings.Contains(w.Body.String(), test.text) {
				t.Errorf("got %d, want %d with %q:\n%s", w.Code, test.want, test.text, w.Body)
			}
			if w.Code == http.StatusMethodNotAllowed && w.Header().Get("Allow") == "" {
				t.Error("405 does not say what is allowed")
			}
			if w.Header().Get("Set-Cookie") != "" {
				t.Error("a cookie is set")
			}
			for header, want := range map[string]string{
				"Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
				"X-Content-Type-Options":  "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
			} {
				if got := w.Header().Get(header); got != want {
					t.Errorf("%s: %q, want %q", header, got, want)
				}
			}
			if cache := w.Header().Get("Cache-Control"); cache != "no-store" && !strings.Contains(test.url, "/assets/page.css") {
				t.Errorf("Cache-Control: %q", cache)
			}
		})
	}
}

func TestThePartThatChanges(t *testing.T) {
	fleet := pagetest.Small(begin)
	s := newSite(t, fleet)
	first := s.do(t, "GET", "/fleet?part=main", "", "Authorization", "Bearer good")
	etag := first.Header().Get("ETag")
	if first.Code != http.StatusOK || etag == "" || strings.Contains(first.Body.String(), "<html") {
		t.Fatalf("%d, ETag %q:\n%s", first.Code, etag, first.Body)
	}
	if whole := s.get(t, "/fleet"); !strings.Contains(whole, first.Body.String()) || !strings.Contains(whole, strings.ReplaceAll(etag, `"`, "&#34;")) {
		t.Error("the whole page does not have the same part and validator")
	}
	again := func() *httptest.ResponseRecorder {
		return s.do(t, "GET", "/fleet?part=main", "", "Authorization", "Bearer good", "If-None-Match", etag)
	}
	s.clock.SetTime(begin.Add(20 * time.Second))
	if w := again(); w.Code != http.StatusNotModified || w.Body.Len() != 0 {
		t.Errorf("got %d with %d bytes 20 seconds later, want 304 and none", w.Code, w.Body.Len())
	}
	fleet.Change(func(f *pagetest.Fleet) { f.Pools = f.Pools[1:] })
	s.clock.SetTime(begin.Add(25 * time.Second))
	if w := again(); w.Code != http.StatusOK || w.Header().Get("ETag") == etag {
		t.Errorf("got %d, ETag %q after a change", w.Code, w.Header().Get("ETag"))
	}
}

func form(token, next string) string {
	return url.Values{"token": {token}, "next": {next}}.Encode()
}

// cookieOf is the one cookie of an answer.
func cookieOf(t *testing.T, w *httptest.ResponseRecorder) *http.Cookie {
	t.Helper()
	cookies := w.Result().Cookies()
	if len(cookies) != 1 {
		t.Fatalf("%d: %d cookies, want 1", w.Code, len(cookies))
	}
	return cookies[0]
}

// signedIn signs in and returns the header with the cookie.
func signedIn(t *testing.T, s *site, token string) (name, value string) {
	t.Helper()
	w := s.do(t, "POST", "/fleet/signin", form(token, ""), "Sec-Fetch-Site", "same-origin")
	if w.Code != http.StatusSeeOther {
		t.Fatalf("sign in: %d\n%s", w.Code, w.Body)
	}
	c := cookieOf(t, w)
	return "Cookie", c.Name + "=" + c.Value
}

func TestSignIn(t *testing.T) {
	s := newSite(t, pagetest.Small(begin))
	w := s.do(t, "POST", "/fleet/signin", form(" good\n", "/fleet/pools/exchange/edge?q=x&part=main"), "Sec-Fetch-Site", "same-origin")
	if got := w.Header().Get("Location"); w.Code != http.StatusSeeOther || got != "/fleet/pools/exchange/edge?q=x" {
		t.Fatalf("%d to %q", w.Code, got)
	}
	c := cookieOf(t, w)
	if !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" || !strings.HasPrefix(c.Name, "__Host-") ||
		c.MaxAge != int(maxSession/time.Second) || len(c.Value) < 26 || strings.Contains(c.Value, "good") {
		t.Errorf("the cookie is %v", c)
	}
	name, value := "Cookie", c.Name+"="+c.Value
	page := s.do(t, "GET", "/fleet", "", name, value)
	if page.Code != http.StatusOK || !strings.Contains(page.Body.String(), "alice") {
		t.Fatalf("%d with the session", page.Code)
	}
	if w := s.do(t, "GET", "/fleet", "", "Cookie", c.Name+"=forged"); w.Code != http.StatusUnauthorized {
		t.Errorf("%d with a forged session", w.Code)
	}
	// The header goes before the cookie.
	if w := s.do(t, "GET", "/fleet", "", name, value, "Authorization", "Bearer poor"); w.Code != http.StatusForbidden {
		t.Errorf("%d with a session and the token of another user", w.Code)
	}

	_, rest, _ := strings.Cut(page.Body.String(), `name="csrf" value="`)
	csrf, _, _ := strings.Cut(rest, `"`)
	for what, try := range map[string]*httptest.ResponseRecorder{
		"without its secret":   s.do(t, "POST", "/fleet/signout", "csrf=", name, value, "Sec-Fetch-Site", "same-origin"),
		"from another site":    s.do(t, "POST", "/fleet/signout", "csrf="+csrf, name, value, "Sec-Fetch-Site", "cross-site"),
		"from another origin":  s.do(t, "POST", "/fleet/signout", "csrf="+csrf, name, value, "Origin", "https://evil.example"),
		"with the URL's value": s.do(t, "POST", "/fleet/signout?csrf=x", "", name, value, "Sec-Fetch-Site", "same-origin"),
	} {
		if try.Code != http.StatusForbidden {
			t.Errorf("signed out %s: %d", what, try.Code)
		}
	}
	out := s.do(t, "POST", "/fleet/signout", "csrf="+csrf, name, value, "Sec-Fetch-Site", "same-origin")
	if out.Code != http.StatusSeeOther || cookieOf(t, out).MaxAge >= 0 {
		t.Errorf("sign out: %d, %v", out.Code, out.Header())
	}
	if w := s.do(t, "GET", "/fleet", "", name, value); w.Code != http.StatusUnauthorized {
		t.Errorf("%d after signing out", w.Code)
	}
}

func TestSignInIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		body, url string
		headers   []string
		away      bool
		want      int
		text      string
	}{
		"with an unknown token":          {form("forged", ""), "", nil, false, http.StatusUnauthorized, "does not know this token"},
		"with none":                      {form("", ""), "", nil, false, http.StatusUnauthorized, "does not know this token"},
		"with a huge one":                {form(strings.Repeat("x", tokens.MaxToken+1), ""), "", nil, false, http.StatusUnauthorized, "does not know this token"},
		"with a huge form":               {form(strings.Repeat("x", maxForm), ""), "", nil, false, http.StatusBadRequest, "no form"},
		"to a user without the right":    {form("poor", ""), "", nil, false, http.StatusForbidden, "bob lacks the right"},
		"while the API server is away":   {form("good", ""), "", nil, true, http.StatusServiceUnavailable, "cannot be asked"},
		"from another site":              {form("good", ""), "", []string{"Sec-Fetch-Site", "cross-site"}, false, http.StatusForbidden, "from elsewhere"},
		"from another name of this site": {form("good", ""), "", []string{"Sec-Fetch-Site", "same-site"}, false, http.StatusForbidden, "from elsewhere"},
		"from a page that hides itself":  {form("good", ""), "", []string{"Origin", "null"}, false, http.StatusForbidden, "from elsewhere"},
		"with a token in the URL":        {"next=", "?token=good", nil, false, http.StatusUnauthorized, "does not know this token"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, pagetest.Small(begin))
			s.away = test.away
			w := s.do(t, "POST", "/fleet/signin"+test.url, test.body, test.headers...)
			if w.Code != test.want || !strings.Contains(w.Body.String(), test.text) || w.Header().Get("Set-Cookie") != "" {
				t.Errorf("got %d, %v, want %d with %q:\n%s", w.Code, w.Header(), test.want, test.text, w.Body)
			}
		})
	}
}

func TestWhereSigningInLeads(t *testing.T) {
	for next, want := range map[string]string{
		"":                                   "/fleet",
		"/fleet":                             "/fleet",
		"/fleet/servers/exchange/frontend01": "/fleet/servers/exchange/frontend01",
		"/fleet?q=a+b&page=2":                "/fleet?page=2&q=a+b",
		"https://evil.example/fleet":         "/fleet",
		"//evil.example/fleet":               "/fleet",
		"/\\evil.example":                    "/fleet",
		"/fleet/../../evil":                  "/fleet",
		"/fleet//evil.example":               "/fleet",
		"/fleetevil":                         "/fleet",
		"javascript:alert(1)":                "/fleet",
		"/fleet/%0d%0aSet-Cookie:x":          "/fleet",
		"\x00":                               "/fleet",
	} {
		if got := target(next); got != want {
			t.Errorf("%q leads to %q, want %q", next, got, want)
		}
	}
}

func TestSessionsEnd(t *testing.T) {
	at := func(token string) (*site, string, string) {
		s := newSite(t, pagetest.Small(begin))
		s.known[token] = tokens.Answer{Code: http.StatusOK, User: "alice"}
		name, value := signedIn(t, s, token)
		return s, name, value
	}
	reads := func(s *site, name, value string) int { return s.do(t, "GET", "/fleet", "", name, value).Code }
	expiring := "e30." + base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, begin.Add(time.Hour).Unix())) + ".x"

	s, name, value := at("good")
	s.clock.SetTime(begin.Add(maxSession - time.Second))
	if code := reads(s, name, value); code != http.StatusOK {
		t.Errorf("%d just before the end of the day", code)
	}
	s.clock.SetTime(begin.Add(maxSession))
	if code := reads(s, name, value); code != http.StatusUnauthorized {
		t.Errorf("%d at the end of the day", code)
	}

	s, name, value = at(expiring)
	s.clock.SetTime(begin.Add(time.Hour))
	if code := reads(s, name, value); code != http.StatusUnauthorized {
		t.Errorf("%d when the token has ended", code)
	}

	for what, answer := range map[string]tokens.Answer{"was revoked": {Code: http.StatusUnauthorized}, "lost its right": {Code: http.StatusForbidden, User: "alice"}} {
		s, name, value = at("good")
		s.known["good"] = answer
		if code := reads(s, name, value); code != http.StatusOK {
			t.Errorf("%d within the minute that answers count", code)
		}
		s.clock.SetTime(begin.Add(tokens.RememberFor))
		if code := reads(s, name, value); code != answer.Code {
			t.Errorf("%d a minute after the token %s, want %d", code, what, answer.Code)
		}
		s.known["good"] = tokens.Answer{Code: http.StatusOK, User: "alice"}
		s.clock.SetTime(begin.Add(3 * tokens.RememberFor))
		if code := reads(s, name, value); code != http.StatusUnauthorized {
			t.Errorf("%d: the session has come back", code)
		}
	}

	// An API server that is away for a while signs nobody out.
	s, name, value = at("good")
	s.away = true
	s.clock.SetTime(begin.Add(tokens.RememberFor))
	if code := reads(s, name, value); code != http.StatusServiceUnavailable {
		t.Errorf("%d while the API server is away", code)
	}
	s.away = false
	if code := reads(s, name, value); code != http.StatusOK {
		t.Errorf("%d when it is back", code)
	}
}

func TestSessionsAreLimited(t *testing.T) {
	s := newSite(t, pagetest.Small(begin))
	name, first := signedIn(t, s, "good")
	var last string
	for i := range maxSessions {
		s.clock.SetTime(begin.Add(time.Duration(i+1) * time.Millisecond))
		_, last = signedIn(t, s, "good")
	}
	if len(s.sessions.byID) != maxSessions {
		t.Errorf("%d sessions, want %d", len(s.sessions.byID), maxSessions)
	}
	if code := s.do(t, "GET", "/fleet", "", name, first).Code; code != http.StatusUnauthorized {
		t.Errorf("the oldest session still reads: %d", code)
	}
	if code := s.do(t, "GET", "/fleet", "", name, last).Code; code != http.StatusOK {
		t.Errorf("the newest session does not: %d", code)
	}
}

func TestAttemptsAreLimited(t *testing.T) {
	s := newSite(t, pagetest.Small(begin))
	name, value := signedIn(t, s, "good")
	try := func(token string) *httptest.ResponseRecorder {
		return s.do(t, "POST", "/fleet/signin", form(token, ""), "Sec-Fetch-Site", "same-origin")
	}
	for i := range maxAttempts {
		if w := try(fmt.Sprint("guess", i)); w.Code != http.StatusUnauthorized {
			t.Fatalf("attempt %d: %d", i, w.Code)
		}
	}
	asked := s.asked
	w := try("one more")
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "60" || s.asked != asked {
		t.Errorf("%d, Retry-After %q, asked %d times more", w.Code, w.Header().Get("Retry-After"), s.asked-asked)
	}
	if w := s.do(t, "GET", "/fleet", "", "Authorization", "Bearer one more"); w.Code != http.StatusTooManyRequests {
		t.Errorf("%d with the header", w.Code)
	}
	// Those who are in stay in, and so do those whose tokens are known.
	if code := s.do(t, "GET", "/fleet", "", name, value).Code; code != http.StatusOK {
		t.Errorf("%d for a session of the same address", code)
	}
	if code := s.do(t, "GET", "/fleet", "", "Authorization", "Bearer good").Code; code != http.StatusOK {
		t.Errorf("%d for a known token of the same address", code)
	}
	s.clock.SetTime(begin.Add(attemptsWindow))
	if w := try("forged"); w.Code != http.StatusUnauthorized {
		t.Errorf("%d a minute later", w.Code)
	}
}

func TestAddresses(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7:1234": "192.0.2.7", "[::ffff:192.0.2.7]:1": "192.0.2.7", "[2001:db8:1:2:3:4:5:6]:1": "2001:db8:1:2::", "[fe80::1%eth0]:1": "fe80::",
		"nonsense": "invalid IP",
	} {
		if got := addressOf(&http.Request{RemoteAddr: remote}).String(); got != want {
			t.Errorf("%s counts as %s, want %s", remote, got, want)
		}
	}
}

func TestTokensStayWhereTheyAre(t *testing.T) {
	s := newSite(t, pagetest.Small(begin))
	const secret = "the-secret-token"
	s.known[secret] = tokens.Answer{Code: http.StatusOK, User: "alice"}
	var said strings.Builder
	note := func(w *httptest.ResponseRecorder) {
		fmt.Fprint(&said, w.Header(), w.Body.String())
	}
	name, value := signedIn(t, s, secret)
	note(s.do(t, "GET", "/fleet", "", name, value))
	note(s.do(t, "GET", "/fleet", "", "Authorization", "Bearer "+secret))
	s.away = true
	note(s.do(t, "POST", "/fleet/signin", form(secret+"-2", "/fleet?"+secret), "Sec-Fetch-Site", "same-origin"))
	s.away = false
	delete(s.known, secret)
	s.clock.SetTime(begin.Add(time.Hour))
	note(s.do(t, "POST", "/fleet/signin", form(secret, ""), "Sec-Fetch-Site", "same-origin"))
	note(s.do(t, "GET", "/fleet", "", name, value))
	if strings.Contains(s.log.String(), secret) || s.log.Len() == 0 {
		t.Errorf("the log has the token, or nothing:\n%s", s.log)
	}
	// Only what somebody put into the URL comes back, as the page to go to.
	if text := strings.ReplaceAll(said.String(), "/fleet?"+secret, ""); strings.Contains(text, secret) || strings.Contains(value, secret) {
		t.Error("an answer has the token")
	}
}
