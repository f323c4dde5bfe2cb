package samples

import (
	"fmt"
	"net/http"
	"strings"

	"mitigation.dev/ems/internal/rewrite"
)

// Expectation says what shall become of a request.
type Expectation string

// The expectations, in the words of the document format.
const (
	Blocked Expectation = "Blocked"
	Passed  Expectation = "Passed"
)

// Sample is a request and what shall become of it.
type Sample struct {
	// Number counts from 1 in the list that the sample comes from.
	Number int         `json:"number"`
	Expect Expectation `json:"expect"`
	// Pool means that the list is that of the pool and not that of the mitigation.
	Pool bool `json:"pool,omitempty"`
	// Method is GET if empty.
	Method string `json:"method,omitempty"`
	// URL is path and query as they go over the wire.
	URL string `json:"url"`
	// Host is the Host header, "localhost" if empty.
	Host    string   `json:"host,omitempty"`
	Headers []Header `json:"headers,omitempty"`
}

// Header is a request header.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
}

// String names the sample for people.
func (s Sample) String() string {
	list := "sample"
	if s.Pool {
		list = "the pool's mustPass request"
	}
	return fmt.Sprintf("%s %d (%s %q)", list, s.Number, s.method(), s.URL)
}

func (s Sample) method() string {
	if s.Method == "" {
		return http.MethodGet
	}
	return s.Method
}

func (s Sample) request() rewrite.Request {
	headers := http.Header{}
	for _, h := range s.Headers {
		headers.Add(h.Name, h.Value)
	}
	host := s.Host
	if host == "" {
		host = "localhost"
	}
	return rewrite.SplitTarget(s.method(), host, s.URL, headers)
}

// Subject is a mitigation.
type Subject struct {
	Samples []Sample
	// Rules are the names of its inbound rules as they are installed.
	Rules []string
	// SwitchesOff means that it also stops application pools or services, which may stop a request that passes the rules.
	SwitchesOff bool
}

func (s Subject) owns(rule string) bool {
	for _, name := range s.Rules {
		if strings.EqualFold(name, rule) {
			return true
		}
	}
	return false
}

// Site is a site that a mitigation acts on.
type Site struct {
	Name string
	// Before is the site without the mitigation; only Gate needs it.
	Before *rewrite.Site
	After  *rewrite.Site
	// Err says why the site cannot be evaluated; the others are nil then.
	Err error
}

// Report is what became of the samples of a mitigation. Its texts name sample, site, rule, what was expected and what came.
type Report struct {
	// NotBlocked are requests that must be blocked and certainly are not.
	NotBlocked []string
	// NotPassed are requests that must pass and that the mitigation certainly blocks.
	NotPassed []string
	// Undecided are requests that must be blocked, and Unsure those that must pass, of which this cannot be told.
	Undecided, Unsure []string
	// Proven means that on every site the mitigation's own rules block every request that must be blocked, and that each of
	// these rules was the one to block at least one of them.
	Proven bool
}

// Failures are all texts that keep a mitigation from being applied.
func (r Report) Failures() []string {
	return append(append([]string(nil), r.NotBlocked...), r.NotPassed...)
}

// Gate judges a mitigation before it is applied. A request that must pass counts only if the mitigation is what blocks it.
func Gate(sites []Site, subject Subject) Report {
	j := judge{Subject: subject, gate: true, answered: map[string]bool{}}
	return j.all(sites)
}

// Check judges a mitigation that is in place. A request that must pass counts only if a rule of the mitigation blocks it.
func Check(sites []Site, subject Subject) Report {
	j := judge{Subject: subject, answered: map[string]bool{}}
	return j.all(sites)
}

type judge struct {
	Subject
	Report

	gate     bool
	answered map[string]bool // own rules that blocked a sample, in lower case
	others   bool            // a sample was not blocked by an own rule on some site
}

func (j *judge) all(sites []Site) Report {
	blocked := 0
	for _, s := range j.Samples {
		if s.Expect == Blocked {
			blocked++
			j.mustBlock(sites, s)
			continue
		}
		for _, site := range sites {
			j.mustPass(site, s)
		}
	}
	j.Proven = blocked > 0 && len(sites) > 0 && !j.others && len(j.Rules) > 0
	for _, name := range j.Rules {
		j.Proven = j.Proven && j.answered[strings.ToLower(name)]
	}
	return j.Report
}

// mustBlock judges a request that must be blocked.
func (j *judge) mustBlock(sites []Site, s Sample) {
	var broken, undecided string
	blocked := false
	for _, site := range sites {
		result, err := evaluate(site.After, site.Err, s)
		verdict := result.Verdict()
		if err == nil && verdict == rewrite.Blocked {
			blocked = true
			if j.owns(result.Rule) {
				j.answered[strings.ToLower(result.Rule)] = true
				continue
			}
		}
		j.others = true
		switch {
		case err != nil:
			undecided = said(s, site, "cannot be evaluated: %v", err)
		case verdict == rewrite.Unknown:
			undecided = said(s, site, "expected %s, got %s, but that depends on what Microsoft does not document or on files of the site", s.Expect, got(result))
		case verdict == rewrite.Failing && !j.causes(site, s):
			undecided = said(s, site, "expected %s, but IIS answers it with an error, without the mitigation as well: %s", s.Expect, got(result))
		case verdict == rewrite.Blocked:
		default:
			broken = said(s, site, "expected %s, got %s", s.Expect, got(result))
		}
	}
	switch {
	case blocked:
	case undecided != "":
		j.Undecided = append(j.Undecided, undecided)
	case broken != "" && !j.SwitchesOff:
		j.NotBlocked = append(j.NotBlocked, broken)
	}
}

// mustPass judges a request that must pass.
func (j *judge) mustPass(site Site, s Sample) {
	result, err := evaluate(site.After, site.Err, s)
	verdict := result.Verdict()
	switch {
	case err != nil:
		j.Unsure = append(j.Unsure, said(s, site, "cannot be evaluated: %v", err))
	case verdict == rewrite.Unknown:
		j.Unsure = append(j.Unsure, said(s, site, "expected %s, got %s, but that depends on what Microsoft does not document or on files of the site", s.Expect, got(result)))
	case verdict == rewrite.Allowed:
	case j.gate && j.causes(site, s), !j.gate && j.owns(result.Rule):
		j.NotPassed = append(j.NotPassed, said(s, site, "expected %s, got %s", s.Expect, got(result)))
	}
}

// causes reports whether a request that is stopped with the mitigation passes without it.
func (j *judge) causes(site Site, s Sample) bool {
	if site.Before == nil {
		return false
	}
	before, err := evaluate(site.Before, nil, s)
	return err == nil && before.Verdict() == rewrite.Allowed
}

func evaluate(site *rewrite.Site, broken error, s Sample) (rewrite.Result, error) {
	if broken != nil {
		return rewrite.Result{}, broken
	}
	return site.Evaluate(s.request())
}

func said(s Sample, site Site, format string, args ...any) string {
	return fmt.Sprintf("%s on site %q: ", s, site.Name) + fmt.Sprintf(format, args...)
}

// got says what became of a request.
func got(result rewrite.Result) string {
	text := string(result.Outcome)
	if result.Status != 0 {
		text += fmt.Sprintf(" %d.%d", result.Status, result.SubStatus)
	}
	if result.Fault != nil {
		return text + fmt.Sprintf(" (%v)", result.Fault)
	}
	if result.Rule == "" {
		return text + ", which no rule changes"
	}
	return text + fmt.Sprintf(" by rule %q of %s", result.Rule, result.Level)
}
