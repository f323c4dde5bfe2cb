package simulate

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"mitigation.dev/ems/internal/rewrite"
	"mitigation.dev/ems/internal/rewrite/accesslog"
)

// Answer is what becomes of one request.
type Answer struct {
	// Request is the request as it was asked for.
	Request string `json:"request"`
	rewrite.Result

	// Status, SubStatus, URL and Rule are those of the result. Scripts find them also where they are empty.
	Status    int    `json:"status"`
	SubStatus int    `json:"subStatus"`
	URL       string `json:"url"`
	Rule      string `json:"rule"`
	// Verdict says whether the request is blocked, as far as that can be known.
	Verdict rewrite.Verdict `json:"verdict"`
	// Rules tells how each rule was evaluated, if that was asked for.
	Rules []*rewrite.RuleTrace `json:"trace,omitempty"`
	// Text is the same for people.
	Text string `json:"-"`
}

// Ask evaluates one request; trace tells how. The errors are those of rewrite.Site.Evaluate.
func Ask(site *rewrite.Site, name string, request rewrite.Request, trace bool) (Answer, error) {
	answer := Answer{Request: name}
	var err error
	if !trace {
		answer.Result, err = site.Evaluate(request)
		answer.Text = fmt.Sprintf("%s\n=> %s\n", name, answer.Result)
	} else {
		var told *rewrite.Trace
		answer.Result, told, err = site.Trace(request)
		if err == nil {
			var text bytes.Buffer
			err = told.WriteText(&text)
			answer.Rules, answer.Text = told.Rules, text.String()
		}
	}
	if err != nil {
		return Answer{Request: name}, fmt.Errorf("%s: %w", name, err)
	}
	result := answer.Result
	answer.Status, answer.SubStatus, answer.URL, answer.Rule = result.Status, result.SubStatus, result.URL, result.Rule
	answer.Verdict = result.Verdict()
	return answer, nil
}

// ParseRequest reads a request such as "GET /path?query", "/path?query", or either with an absolute URL. Without a host it
// goes to "localhost".
func ParseRequest(text string) (rewrite.Request, error) {
	text = strings.TrimSpace(text)
	if strings.ContainsAny(text, "\r\n\x00") {
		return rewrite.Request{}, errors.New("request: has a line end or a zero byte in it")
	}
	// The first line settles the format, so that no request is taken for a line of a log.
	reader := accesslog.NewReader(strings.NewReader("GET /\n" + text + "\n"))
	_, err := reader.Next()
	if err != nil {
		return rewrite.Request{}, err
	}
	entry, err := reader.Next()
	if err != nil {
		return rewrite.Request{}, fmt.Errorf("request: %q: want the form \"GET /path?query\"", text)
	}
	request := entry.Request()
	if request.Host == "" {
		request.Host = defaultHost
	}
	return request, nil
}

// SetHeaders gives a request headers; they replace those of the same name.
func SetHeaders(request *rewrite.Request, headers http.Header) {
	if len(headers) == 0 {
		return
	}
	own := request.Headers.Clone()
	if own == nil {
		own = http.Header{}
	}
	for name, values := range headers {
		if name == "Host" {
			request.Host = values[0]
			continue
		}
		own[name] = values
	}
	request.Headers = own
}

// ParseHeader reads a header such as "Accept: text/html" into headers. Given again, a header has several values, but Host.
func ParseHeader(headers http.Header, text string) error {
	name, value, ok := strings.Cut(text, ":")
	name = strings.TrimSpace(name)
	if !ok || name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("header: %q: want the form \"Name: value\"", text)
	}
	headers.Add(name, strings.TrimSpace(value))
	return nil
}
