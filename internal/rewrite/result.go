package rewrite

import "strconv"

// Outcome is what became of a request.
type Outcome string

// The outcomes.
const (
	// Passed: the request goes on to the site as it came.
	Passed Outcome = "Passed"
	// Rewritten: it goes on with another URL.
	Rewritten Outcome = "Rewritten"
	// Redirected: the client is sent elsewhere.
	Redirected Outcome = "Redirected"
	// Responded: a rule answers with a status of its own.
	Responded Outcome = "Responded"
	// Aborted: the connection is dropped without an answer.
	Aborted Outcome = "Aborted"
	// Error: IIS answers with an error, because the configuration or a rule is wrong.
	Error Outcome = "Error"
)

// Verdict says whether a request is blocked, as far as that can be known.
type Verdict string

// The verdicts.
const (
	// Blocked: the site does not see the request, whatever the answers to the open points.
	Blocked Verdict = "Blocked"
	// Allowed: the site sees it, whatever the answers.
	Allowed Verdict = "Allowed"
	// Failing: IIS answers with an error, whatever the answers.
	Failing Verdict = "Failing"
	// Unknown: it depends on the answers; Uncertain names them.
	Unknown Verdict = "Unknown"
)

// Variable is a server variable that a rule has set.
type Variable struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Result is what the rules do with a request.
type Result struct {
	Outcome Outcome `json:"outcome"`
	// Status and SubStatus are those of the answer for Redirected, Responded and Error,
	// else 0.
	Status    int `json:"status,omitempty"`
	SubStatus int `json:"subStatus,omitempty"`
	// Reason and Description are the texts of a CustomResponse.
	Reason      string `json:"reason,omitempty"`
	Description string `json:"description,omitempty"`
	// URL is the Location of Redirected; for Passed and Rewritten what the site gets: path
	// and query, or an absolute URL if the request goes on to another server.
	URL string `json:"url,omitempty"`
	// Rule is the name of the rule that ended the evaluation, or that rewrote last; empty
	// when no rule did. Level is the name of the Level that the rule is from.
	Rule  string `json:"rule,omitempty"`
	Level string `json:"level,omitempty"`
	// ServerVariables are those that rules have set, in order.
	ServerVariables []Variable `json:"serverVariables,omitempty"`
	// LogRewrittenURL tells IIS to log the URL after rewriting.
	LogRewrittenURL bool `json:"logRewrittenUrl,omitempty"`
	// Fault says what is wrong for Error.
	Fault *Fault `json:"fault,omitempty"`
	// Uncertain names the open points that the result depends on. The other fields hold the
	// result for the documented answers.
	Uncertain []OpenPoint `json:"uncertain,omitempty"`

	undecided bool
	// path, query and rewritten are the state that outbound rules begin with.
	path, query string
	rewritten   bool
}

// Blocked reports whether the site does not see the request, with the documented answers to
// the open points. Whoever relies on it has to ask for the Verdict.
func (r Result) Blocked() bool {
	return r.Outcome == Aborted || r.Outcome == Responded || r.Outcome == Redirected
}

// Verdict says whether the request is blocked under every answer to the open points.
func (r Result) Verdict() Verdict {
	switch {
	case r.undecided:
		return Unknown
	case r.Outcome == Error:
		return Failing
	case r.Blocked():
		return Blocked
	}
	return Allowed
}

// kind tells results apart that differ for the Verdict.
func (r *Result) kind() Verdict {
	switch {
	case r.Outcome == Error:
		return Failing
	case r.Blocked():
		return Blocked
	}
	return Allowed
}

// same reports whether two readings give the same result.
func (r *Result) same(other *Result) bool {
	if r.Outcome != other.Outcome || r.Status != other.Status || r.SubStatus != other.SubStatus ||
		r.URL != other.URL || r.Rule != other.Rule || r.Level != other.Level ||
		r.Reason != other.Reason || r.Description != other.Description || len(r.ServerVariables) != len(other.ServerVariables) {
		return false
	}
	for i, v := range r.ServerVariables {
		if v != other.ServerVariables[i] {
			return false
		}
	}
	return true
}

func itoa(n int) string { return strconv.Itoa(n) }
