package policy

import (
	"fmt"
	"strings"

	"mitigation.dev/ems/internal/build"
)

// Product is a product, and its affected builds, that a mitigation is made for.
type Product struct {
	Name string
	// Role within the product; empty for every role.
	Role string
	// Branches that are affected; none for every build.
	Branches []Branch
}

// Branch is a range of affected builds: From <= build < FixedIn. The zero FixedIn means that there is no fix yet.
type Branch struct {
	From    build.Number
	FixedIn build.Number
}

// FixedBuild says that a mitigation is not needed from a build on, on that build's own release branch.
type FixedBuild struct {
	ID    string
	Build build.Number
}

// Facts are what is known of a server. Empty fields are unknown.
type Facts struct {
	Product string
	Role    string
	// Build of the product; zero when unknown.
	Build build.Number
}

// Applicability decides whether a server needs a mitigation, from its facts, from what the document says and from what the
// operator says about fixed builds. A mitigation without products is for the feed's product.
//
// What is unknown speaks for the mitigation: an unneeded rule costs little, a missing one may cost the server. Builds
// are compared part by part and only within the ranges given, never as one number: products have several release
// branches that are fixed at different builds.
func Applicability(id string, products []Product, feedProduct string, fixed []FixedBuild, facts Facts) Decision {
	return applicability(id, products, feedProduct, fixed, facts, nil)
}

// applicability answers, and tells the trace. Its steps are not the last word: the server's decision asks for the answer.
func applicability(id string, products []Product, feedProduct string, fixed []FixedBuild, facts Facts, t *trace) Decision {
	const made, source = "Is it made for the server's product, role and build?", "the signed document, PoolServer status.facts"
	if len(products) == 0 {
		products = []Product{{Name: feedProduct}}
	}
	if facts.Product == "" {
		message := "the server's product is unknown, so the mitigation is taken to apply"
		t.looked(made, message, source)
		return Decision{Desired: Apply, Reason: Enabled, Message: message}
	}
	var reasons []string
	fixedHere := false
	for _, p := range products {
		ok, isFixed, why := p.affects(facts)
		if ok {
			t.looked(made, "yes", source)
			return afterFixedBuilds(id, fixed, facts, t)
		}
		reasons, fixedHere = append(reasons, why), fixedHere || isFixed
	}
	reason := NotApplicable
	if fixedHere {
		reason = FixedByUpdate
	}
	message := strings.Join(reasons, "; ")
	t.looked(made, "no: "+message, source)
	return Decision{Desired: Remove, Reason: reason, Message: message}
}

func (p Product) affects(facts Facts) (affected, isFixed bool, why string) {
	if p.Name != facts.Product {
		return false, false, fmt.Sprintf("made for %s, and this server runs %s", p.Name, facts.Product)
	}
	if p.Role != "" && facts.Role != "" && !strings.EqualFold(p.Role, facts.Role) {
		return false, false, fmt.Sprintf("made for the role %s, and this server is %s", p.Role, facts.Role)
	}
	if len(p.Branches) == 0 || facts.Build.IsZero() {
		return true, false, ""
	}
	for _, b := range p.Branches {
		if facts.Build.Compare(b.From) < 0 {
			continue
		}
		if b.FixedIn.IsZero() || facts.Build.Compare(b.FixedIn) < 0 {
			return true, false, ""
		}
		if facts.Build.Branch() == b.FixedIn.Branch() {
			return false, true, fmt.Sprintf("fixed in %s, and this server has %s", b.FixedIn, facts.Build)
		}
	}
	return false, false, fmt.Sprintf("build %s is in none of the affected ranges", facts.Build)
}

func afterFixedBuilds(id string, fixed []FixedBuild, facts Facts, t *trace) Decision {
	const question, source = "Does the operator say that the server's build is fixed?", "MitigationConfiguration spec.fixedBuilds"
	for _, f := range fixed {
		if Covers(f.ID, id) && !facts.Build.IsZero() && facts.Build.Branch() == f.Build.Branch() && facts.Build.Compare(f.Build) >= 0 {
			message := fmt.Sprintf("fixedBuilds names %s, and this server has %s", f.Build, facts.Build)
			t.looked(question, "yes: "+message, source+"["+f.ID+"]")
			return Decision{Desired: Remove, Reason: FixedByUpdate, Message: message}
		}
	}
	t.looked(question, "no", source)
	return Decision{Desired: Apply, Reason: Enabled}
}
