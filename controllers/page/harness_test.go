package page

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	clocktesting "k8s.io/utils/clock/testing"

	"mitigation.dev/ems/controllers/page/pagetest"
	"mitigation.dev/ems/controllers/tokens"
)

// begin is when all tests play.
var begin = time.Date(2026, 5, 17, 12, 0, 0, 0, time.UTC)

// site is the handler with everything around it in the hands of a test.
type site struct {
	*Handler

	fleet *pagetest.Fleet
	clock *clocktesting.FakePassiveClock
	// known are the answers of the API server by token; away says that it cannot be asked.
	known map[string]tokens.Answer
	away  bool
	asked int
	log   *bytes.Buffer
}

func newSite(t *testing.T, fleet *pagetest.Fleet) *site {
	t.Helper()
	s := &site{fleet: fleet, clock: clocktesting.NewFakePassiveClock(begin), log: &bytes.Buffer{}, known: map[string]tokens.Answer{
		"good": {Code: http.StatusOK, User: "alice"}, "poor": {Code: http.StatusForbidden, User: "bob"},
	}}
	judge := tokens.NewJudge(s.clock, func(_ context.Context, token, path string) (tokens.Answer, error) {
		s.asked++
		if path != "/fleet" {
			t.Errorf("asked about %q, want the one URL that roles name", path)
		}
		if s.away {
			return tokens.Answer{}, errors.New("connection refused")
		}
		if answer, ok := s.known[token]; ok {
			return answer, nil
		}
		return tokens.Answer{Code: http.StatusUnauthorized}, nil
	})
	s.Handler = NewHandler(fleet, judge, s.clock, funcr.New(func(prefix, args string) { s.log.WriteString(prefix + args + "\n") }, funcr.Options{Verbosity: 9}))
	return s
}

// do sends a request; headers are pairs of name and value.
func (s *site) do(t *testing.T, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "https://ems.example.com"+target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// get reads a page as somebody who may.
func (s *site) get(t *testing.T, target string) string {
	t.Helper()
	w := s.do(t, http.MethodGet, target, "", "Authorization", "Bearer good")
	if w.Code != http.StatusOK {
		t.Fatalf("GET %s: %d", target, w.Code)
	}
	return w.Body.String()
}

// node is a start tag or a text of a page.
type node struct {
	tag   string
	attrs []xml.Attr
	text  string
	end   bool
}

// nodes reads a page. A tag that is not closed, or closes what is not open, fails the test.
func nodes(t *testing.T, html string) []node {
	t.Helper()
	decoder := xml.NewDecoder(strings.NewReader(html))
	decoder.Strict = false
	decoder.AutoClose = append(slices.Clone(xml.HTMLAutoClose), "wbr")
	decoder.Entity = xml.HTMLEntity
	var all []node
	open := 0
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the page is not well-formed: %v", err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			open++
			all = append(all, node{tag: token.Name.Local, attrs: slices.Clone(token.Attr)})
		case xml.EndElement:
			open--
			all = append(all, node{tag: token.Name.Local, end: true})
		case xml.CharData:
			all = append(all, node{text: string(token)})
		}
	}
	if open != 0 {
		t.Errorf("%d tags are not closed", open)
	}
	return all
}

func (n node) attr(name string) string {
	for _, a := range n.attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// lines is what a page says, one line for each block or cell, with the names of signs in brackets.
func lines(t *testing.T, html string) string {
	t.Helper()
	blocks := map[string]bool{"h1": true, "h2": true, "h3": true, "p": true, "li": true, "tr": true, "section": true, "dt": true, "dd": true, "caption": true, "div": true, "br": true, "pre": true}
	var out strings.Builder
	for _, n := range nodes(t, html) {
		switch {
		case n.text != "":
			out.WriteString(strings.ReplaceAll(n.text, "\n", " "))
		case n.tag == "use" && !n.end:
			out.WriteString("[" + strings.TrimPrefix(n.attr("href"), "#") + "] ")
		case (n.tag == "td" || n.tag == "th") && n.end:
			out.WriteString(" | ")
		case blocks[n.tag]:
			out.WriteString("\n")
		}
	}
	var kept []string
	for line := range strings.SplitSeq(out.String(), "\n") {
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n") + "\n"
}
