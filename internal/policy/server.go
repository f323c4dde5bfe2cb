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
	if len(products) == 0 {
		products = []Product{{Name: feedProduct}}
	}
	if facts.Product == "" {
		return Decision{Desired: Apply, Reason: Enabled, Message: "the server's product is unknown, so the mitigation is taken to apply"}
	}
	var reasons []string
	fixedHere := false
	for _, p := range products {
		switch ok, isFixed, why := p.affects(facts); {
		case ok:
			return afterFixedBuilds(id, fixed, facts)
		default:
			reasons, fixedHere = append(reasons, why), fixedHere || isFixed
		}
	}
	reason := NotApplicable
	if fixedHere {
		reason = FixedByUpdate
	}
	return Decision{Desired: Remove, Reason: reason, Message: strings.Join(reasons, "; ")}
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

func afterFixedBuilds(id string, fixed []FixedBuild, facts Facts) Decision {
	for _, f := range fixed {
		if Covers(f.ID, id) && !facts.Build.IsZero() && facts.Build.Branch() == f.Build.Branch() && facts.Build.Compare(f.Build) >= 0 {
			return Decision{
				Desired: Remove, Reason: FixedByUpdate,
				Message: fmt.Sprintf("fixedBuilds names %s, and this server has %s", f.Build, facts.Build),
			}
		}
	}
	return Decision{Desired: Apply, Reason: Enabled}
}

// Situation is what a server's own decision depends on beside the pool's.
type Situation struct {
	// Released says that the rollout has reached the server.
	Released bool
	// AuditOnly says that the pool is only looked at.
	AuditOnly bool
	// Applicability is the answer of the function of that name.
	Applicability Decision
}

// ForServer decides about a mitigation on one server from the pool's decision and the server's own situation. Removal needs
// no release. In Audit mode nothing on the server changes, except that the kill switch works there as everywhere.
func ForServer(pool Decision, s Situation) Decision {
	if s.AuditOnly && pool.Reason != Suspended {
		would := ForServer(pool, Situation{Released: s.Released, Applicability: s.Applicability})
		return Decision{Desired: Hold, Reason: Audit, Message: fmt.Sprintf("would be: %s (%s)", would.Desired, would.Reason)}
	}
	if pool.Desired != Apply {
		return pool
	}
	if s.Applicability.Desired != Apply {
		return s.Applicability
	}
	if !s.Released {
		return Decision{Desired: Hold, Reason: AwaitingStage, Message: "the rollout has not reached this server"}
	}
	pool.Message = s.Applicability.Message
	return pool
}
