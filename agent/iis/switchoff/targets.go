package switchoff

import (
	"fmt"
	"slices"
	"strings"
)

// Kind of a target.
type Kind string

// Kinds of targets. They are also kinds of records in the journal.
const (
	Pool    Kind = "pool"
	Service Kind = "service"
)

// Target is something to be kept off.
type Target struct {
	Kind Kind
	Name string
	// Optional targets that do not exist are passed over.
	Optional bool
}

// Key is a target without regard to the spelling of its name.
type Key struct {
	Kind Kind
	Name string
}

// Key gives the key of the target.
func (t Target) Key() Key { return Key{t.Kind, strings.ToLower(t.Name)} }

// String names the target for people.
func (t Target) String() string {
	if t.Kind == Pool {
		return fmt.Sprintf("application pool %q", t.Name)
	}
	return fmt.Sprintf("service %q", t.Name)
}

// prerequisite are services that start again what a mitigation has switched off.
type prerequisite struct {
	// prefix of the names of pools and services that they watch, in lower case.
	prefix string
	// services to be held off, in the order in which they are switched off.
	services []string
}

// prerequisites by product.
var prerequisites = []prerequisite{
	{
		// Exchange Server 2013 and later. The health manager starts pools and services of Exchange that it finds stopped, and
		// the recovery service (2016 and later) starts the health manager. Microsoft's own mitigations disable both first:
		// ExchangeMitigations.ps1 of 2021-03-08 in microsoft/CSS-Exchange, functions StopAndCheckHM and StartAndCheckHM. The
		// recovery service comes first here, since it would fight for the other one.
		prefix:   "msexchange",
		services: []string{"MSExchangeHMRecovery", "MSExchangeHM"},
	},
}

// Prerequisites gives what has to be off as long as any of the targets is, each once, in the order of switching off. A
// server need not have it.
func Prerequisites(targets []Target) []Target {
	var out []Target
	for _, p := range prerequisites {
		if !slices.ContainsFunc(targets, p.watches) {
			continue
		}
		for _, name := range p.services {
			out = append(out, Target{Kind: Service, Name: name, Optional: true})
		}
	}
	return out
}

// Requires reports whether target t makes p one of its prerequisites.
func (t Target) Requires(p Target) bool {
	for _, needed := range Prerequisites([]Target{t}) {
		if needed.Key() == p.Key() {
			return true
		}
	}
	return false
}

func (p prerequisite) watches(t Target) bool { return strings.HasPrefix(t.Key().Name, p.prefix) }
