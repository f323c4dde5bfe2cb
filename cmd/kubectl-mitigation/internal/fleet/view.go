package fleet

import (
	"fmt"
	"strings"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// View is what is known of a mitigation on a server.
type View struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Pool      string `json:"pool"`
	// Plan is absent if the pool has none.
	Plan *Plan `json:"plan,omitempty"`

	Mitigation string `json:"mitigation"`
	Revision   int64  `json:"revision"`
	Feed       string `json:"feed"`
	Bundle     string `json:"bundle"`
	Digest     string `json:"digest"`
	Signer     string `json:"signer"`
	// BlockedActions are those that were left out.
	BlockedActions []string `json:"blockedActions,omitempty"`
	// Reported is absent if the server says nothing of the mitigation.
	Reported *Reported `json:"reported,omitempty"`
	// Notes say in what way the result is not all of what the server does.
	Notes []string `json:"notes"`
}

// Plan is what the plan says; without an entry for the mitigation, Desired is empty.
type Plan struct {
	Name       string `json:"name"`
	Generation int64  `json:"generation"`
	Mode       string `json:"mode"`
	Placement  string `json:"placement"`
	Desired    string `json:"desired,omitempty"`
	Reason     string `json:"reason,omitempty"`
	Message    string `json:"message,omitempty"`
}

// Reported is what the server says of the mitigation.
type Reported struct {
	State     string `json:"state"`
	Reason    string `json:"reason,omitempty"`
	Message   string `json:"message,omitempty"`
	Effective string `json:"effective,omitempty"`
	Revision  int64  `json:"revision,omitempty"`
	Document  string `json:"document,omitempty"`
}

func (v *View) note(format string, args ...any) {
	v.Notes = append(v.Notes, fmt.Sprintf(format, args...))
}

// Text is the view for people.
func (v *View) Text() string {
	var out strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&out, "%-11s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("server", "%s/%s of pool %s", v.Namespace, v.Name, v.Pool)
	if p := v.Plan; p == nil {
		line("plan", "none")
	} else {
		line("plan", "%s/%s, generation %d, mode %s, placement %s: %s", v.Namespace, p.Name, p.Generation, p.Mode, p.Placement, p.wish())
	}
	line("mitigation", "%s, revision %d, of feed %s", v.Mitigation, v.Revision, v.Feed)
	line("document", "%s, verified under spec.trust of MitigationFeed %s, signed by %s", v.Bundle, v.Feed, v.Signer)
	if len(v.BlockedActions) > 0 {
		line("left out", "%s: blocked by policy", strings.Join(v.BlockedActions, ", "))
	}
	line("reported", "%s", v.Reported.text())
	for _, n := range v.Notes {
		line("note", "%s", n)
	}
	return out.String()
}

func (p *Plan) wish() string {
	if p.Desired == "" {
		return "does not mention the mitigation"
	}
	return explained(p.Desired, p.Reason, p.Message)
}

func (r *Reported) text() string {
	if r == nil {
		return "nothing about the mitigation"
	}
	text := explained(r.State, r.Reason, r.Message)
	if r.Revision > 0 {
		text += fmt.Sprintf("; revision %d is in place", r.Revision)
	}
	if r.Effective != "" {
		text += "; effective: " + r.Effective
	}
	return text
}

func explained(what, reason, message string) string {
	if reason != "" {
		what += " (" + reason + ")"
	}
	if message != "" {
		what += ": " + message
	}
	return what
}

// Limits adds what the result cannot know: the configuration of the server, unless the user has brought a copy along.
func (v *View) Limits(withConfiguration bool) {
	if !withConfiguration {
		v.note(`the server's own configuration is not in the cluster, so only the rules of the mitigation are evaluated; for the rest run "ems-agent simulate --config ..." on the server`)
		return
	}
	v.note("the server's own configuration is not in the cluster; the one evaluated is that of the given files")
	if v.Plan != nil && v.Plan.Placement == string(emsv1.PlacementWebConfig) {
		v.note("the rules of the mitigation are evaluated as if they stood in applicationHost.config, although the plan places them into web.config")
	}
}
