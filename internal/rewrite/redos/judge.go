package redos

import "fmt"

// Decision is what is to be done about a pattern.
type Decision string

// The decisions.
const (
	Allowed Decision = "Allowed"
	// Warned: the pattern may be used, and people should know its cost.
	Warned  Decision = "Warned"
	Refused Decision = "Refused"
)

// Verdict is a decision about a pattern with the reason for it.
type Verdict struct {
	Decision Decision `json:"decision"`
	// Reason says why, and what to do; empty if allowed.
	Reason string `json:"reason,omitempty"`
}

// acknowledgedDegree is the degree from which a document has to say that it means it. An
// input of 4,096 characters, which IIS lets through by default, costs some 10^7 steps, tens
// of milliseconds, at degree 2, and some 10^10, minutes, at degree 3. Mitigations of degree 3
// and 4 were really shipped, so they cannot just be refused.
const acknowledgedDegree = 3

// Judge decides whether a pattern of the reported cost may be installed. acknowledged says
// that the signed document says that its author knows the cost. An exponential pattern is
// refused whoever acknowledges it: a request of forty characters stops a server.
func Judge(r Report, acknowledged bool) Verdict {
	reason := func(what string) string {
		text := fmt.Sprintf("matching cost is %s%s", r, what)
		if attack := r.Attack.String(); attack != "" {
			text += "; for example on " + attack
		}
		if r.Suggestion != "" {
			text += "; " + r.Suggestion
		}
		return text
	}
	switch {
	case r.Complexity != Linear && r.Complexity != Polynomial:
		return Verdict{Refused, reason("")}
	case r.Degree >= acknowledgedDegree && !acknowledged:
		return Verdict{Refused, reason(", which the document does not acknowledge")}
	case r.Degree > 1:
		return Verdict{Warned, reason("")}
	}
	return Verdict{Decision: Allowed}
}
