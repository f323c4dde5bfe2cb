package simulate

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/rewrite"
)

// installed is the level of an action, and the site that it goes to.
type installed struct {
	rewrite.Level
	site string
}

// installedLevels returns the rules of a mitigation, and an error that says which of its actions cannot be evaluated; nil if
// all can.
func installedLevels(c ocs.Config) ([]installed, error) {
	var levels []installed
	var unknown []error
	for i, a := range c.Actions {
		name := a.ID
		if name == "" {
			name = fmt.Sprint(i + 1)
		}
		switch a.Type {
		case ocs.DoNothing:
			continue
		case ocs.URLRewrite:
		case ocs.AppPool, ocs.Service:
			unknown = append(unknown, fmt.Errorf("action %q: what an action of type %s does to a request cannot be told from here", name, a.Type))
			continue
		}
		config, err := rewrite.Parse(a.Rewrite)
		if err != nil {
			unknown = append(unknown, fmt.Errorf("action %q: %w", name, err))
			continue
		}
		// The agent puts the id of the action before each name.
		level := rewrite.Level{Name: name, Config: config.Apart(name)}
		if a.Scope == ocs.ScopeServer {
			level.Server = true
			levels = append(levels, installed{Level: level})
			continue
		}
		target := a.Target
		if target == "" {
			target = ocs.DefaultTarget
		}
		site, folder, _ := strings.Cut(target, "/")
		level.Path = "/" + folder
		levels = append(levels, installed{Level: level, site: strings.ToLower(site)})
	}
	return levels, errors.Join(unknown...)
}

// MitigationSites returns the sites that the rules of a mitigation act on, each with those for the whole server and with no
// rules but these, and an error that says what cannot be evaluated; nil if all can. There is always one site.
func MitigationSites(c ocs.Config) ([]*rewrite.Site, error) {
	levels, unknown := installedLevels(c)
	var server []rewrite.Level
	names, bySite := []string{}, map[string][]rewrite.Level{}
	for _, l := range levels {
		if l.Server {
			server = append(server, l.Level)
			continue
		}
		if bySite[l.site] == nil {
			names = append(names, l.site)
		}
		bySite[l.site] = append(bySite[l.site], l.Level)
	}
	if len(names) == 0 {
		names = append(names, "")
	}
	sites := make([]*rewrite.Site, 0, len(names))
	for _, name := range names {
		sites = append(sites, rewrite.NewSite(rewrite.Options{}, ordered(bySite[name], server)...))
	}
	return sites, unknown
}

// Judgement says whether a sample is what it expects to be.
type Judgement string

// The judgements.
const (
	// Kept: the rules do with the request what the sample expects.
	Kept Judgement = "Kept"
	// Broken: they do not, or fail.
	Broken Judgement = "Broken"
	// Unchecked: it cannot be known here. It is no verdict.
	Unchecked Judgement = "Unchecked"
)

// SampleCheck is what became of one sample.
type SampleCheck struct {
	// Number counts from 1, in the order of the document.
	Number    int
	Sample    ocs.Sample
	Judgement Judgement
	// Reason says why for people; empty if kept.
	Reason string
	// Result is that of the evaluation, unless the reason is that there is none.
	Result rewrite.Result
}

// String names the sample.
func (s SampleCheck) String() string {
	method := s.Sample.Method
	if method == "" {
		method = http.MethodGet
	}
	return fmt.Sprintf("sample %d (%s %q)", s.Number, method, s.Sample.URL)
}

// CheckSamples evaluates samples on all sites together, because one that blocks is enough. unknown says what else there is
// that cannot be evaluated, so that a request that passes the rules may be stopped all the same; nil if there is nothing.
func CheckSamples(sites []*rewrite.Site, unknown error, samples []ocs.Sample) []SampleCheck {
	checks := make([]SampleCheck, len(samples))
	for i, s := range samples {
		result, err := evaluate(sites, s)
		checks[i] = SampleCheck{Number: i + 1, Sample: s, Result: result}
		checks[i].Judgement, checks[i].Reason = judge(s, result, err, unknown)
	}
	return checks
}

func judge(s ocs.Sample, result rewrite.Result, err, unknown error) (Judgement, string) {
	verdict := result.Verdict()
	if err == nil && verdict != rewrite.Blocked {
		err = unknown
	}
	switch {
	case verdict == rewrite.Failing:
		return Broken, fmt.Sprintf("IIS answers with an error: %s", result)
	case errors.Is(err, rewrite.ErrInvalidConfiguration), errors.Is(err, rewrite.ErrInvalidRequest), errors.Is(err, rewrite.ErrTooExpensive):
		return Broken, err.Error()
	case err != nil:
		return Unchecked, fmt.Sprintf("not evaluated: %v", err)
	case verdict == rewrite.Unknown:
		return Unchecked, fmt.Sprintf("Microsoft does not document what decides: %s", result)
	case verdict == rewrite.Blocked && s.Expect == ocs.Passed:
		return Broken, fmt.Sprintf("expected to pass, but rule %q answers it with %s", result.Rule, result.Outcome)
	case verdict == rewrite.Allowed && s.Expect == ocs.Blocked:
		return Broken, "expected to be blocked, but no rule stops it"
	}
	return Kept, ""
}

// evaluate returns the result of the first site that blocks for certain. If none does, the first that is not certain to let
// the request pass counts. An error counts only if nothing blocks.
func evaluate(sites []*rewrite.Site, s ocs.Sample) (rewrite.Result, error) {
	request := SampleRequest(s)
	best := rewrite.Result{Outcome: rewrite.Passed}
	var first error
	for _, site := range sites {
		result, err := site.Evaluate(request)
		switch {
		case err != nil:
			if first == nil {
				first = err
			}
		case result.Verdict() == rewrite.Blocked:
			return result, nil
		case best.Verdict() == rewrite.Allowed:
			best = result
		}
	}
	return best, first
}

// SampleRequest is the request that a sample describes. Without a host it goes to "localhost", since the name of the site is
// not known: rules that look at the host need samples that say it.
func SampleRequest(s ocs.Sample) rewrite.Request {
	headers := http.Header{}
	for _, h := range s.Headers {
		headers.Add(h.Name, h.Value)
	}
	method, host := s.Method, s.Host
	if method == "" {
		method = http.MethodGet
	}
	if host == "" {
		host = defaultHost
	}
	return rewrite.SplitTarget(method, host, s.URL, headers)
}

// defaultHost is where requests go that do not say it.
const defaultHost = "localhost"
