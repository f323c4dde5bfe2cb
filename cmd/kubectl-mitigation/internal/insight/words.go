package insight

import (
	"strconv"
	"strings"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// Number is a number in a text.
func Number(n int) string { return strconv.Itoa(n) }

// CountsInWords says how many servers have which standing, the most urgent first: "3 failed, 2 silent, 35 as wished".
func CountsInWords(counts map[Standing]int) string {
	words := map[Standing]string{
		Failed: "failed", Drifted: "drifted", Silent: "silent", Missing: "to be applied", Outdated: "to be updated",
		Leaving: "to be removed", Waiting: "waiting", AsWished: "as wished",
	}
	var parts []string
	for _, s := range Standings {
		if counts[s] > 0 {
			parts = append(parts, Number(counts[s])+" "+words[s])
		}
	}
	if len(parts) == 0 {
		return "no servers"
	}
	return strings.Join(parts, ", ")
}

// Stage says how far a rollout is: "tenth (2 of 4)".
func Stage(r *emsv1.PlanRollout) string {
	if r.Stage == "" || r.StageNumber == nil {
		return ""
	}
	return r.Stage + " (" + Number(int(*r.StageNumber)) + " of " + Number(int(r.Stages)) + ")"
}

// ActionInWords says what an action of a mitigation changes.
func ActionInWords(a *emsv1.MitigationAction) string {
	switch a.Type {
	case "DoNothing":
		return "changes nothing; shows that the way to the server works"
	case "UrlRewrite":
		if a.Target == "" || a.Scope == "Server" {
			return "puts an IIS URL Rewrite rule on the whole server"
		}
		return "puts an IIS URL Rewrite rule on " + a.Target
	case "AppPool":
		return "sets application pool " + a.Target + " to " + lower(a.Value)
	case "Service":
		return "sets Windows service " + a.Target + " to " + lower(a.Value)
	}
	return strings.TrimSpace(string(a.Type) + " " + a.Target)
}

func lower(text string) string {
	if text == "" {
		return "stopped"
	}
	return strings.ToLower(text)
}

// ProductInWords says which product and builds need a mitigation: "ExchangeServer, role Mailbox, 15.2.1.0 up to 15.2.2.0".
func ProductInWords(p *emsv1.AffectedProduct) string {
	text := string(p.Name)
	if p.Role != "" {
		text += ", role " + p.Role
	}
	if len(p.Branches) == 0 {
		return text + ": every build"
	}
	var branches []string
	for _, b := range p.Branches {
		if b.FixedIn == "" {
			branches = append(branches, b.From+" and later, no fix yet")
			continue
		}
		branches = append(branches, b.From+" and later, fixed in "+b.FixedIn)
	}
	return text + ": " + strings.Join(branches, "; ")
}
