package trust

import (
	"errors"
	"fmt"

	"mitigation.dev/ems/internal/xmlsig"
)

// Finding is what a check that is only logged found in a document of a feed.
type Finding struct {
	// Feed that the document comes from; empty where there is only one.
	Feed string
	xmlsig.Finding
}

// String returns "feed NAME: check: subject: reason".
func (f Finding) String() string {
	if f.Feed == "" {
		return f.Finding.String()
	}
	return "feed " + f.Feed + ": " + f.Finding.String()
}

// compileLevels refuses levels of checks that the policy does not configure: whoever wrote one believes that something is
// looked at which is not.
func (p Policy) compileLevels() (xmlsig.Levels, error) {
	if p.Levels == nil {
		return xmlsig.Levels{}, nil
	}
	var problems []error
	for _, l := range []struct {
		check      xmlsig.Check
		level      xmlsig.Level
		configured bool
		missing    string
	}{
		{xmlsig.CheckIssuerPins, p.Levels.IssuerPins, len(p.IssuerPins) > 0, "issuerPins"},
		{xmlsig.CheckSubject, p.Levels.Subject, p.Subject != nil && *p.Subject != Subject{}, "subject"},
		{xmlsig.CheckExtendedKeyUsages, p.Levels.ExtendedKeyUsages, len(p.ExtendedKeyUsages) > 0, "extendedKeyUsages"},
		{xmlsig.CheckRevocation, p.Levels.Revocation, p.Revocation.looks(), "revocation with mode Prefer or Require"},
	} {
		switch l.level {
		case "":
			continue
		case xmlsig.LevelEnforce, xmlsig.LevelLog:
		default:
			problems = append(problems, fmt.Errorf("levels: %s: %q: want %q or %q", l.check, l.level, xmlsig.LevelEnforce, xmlsig.LevelLog))
			continue
		}
		if !l.configured {
			problems = append(problems, fmt.Errorf("levels: %s: %q: there is no check to have a level: the policy has no %s", l.check, l.level, l.missing))
		}
	}
	levels := xmlsig.Levels{
		IssuerPins: p.Levels.IssuerPins, Subject: p.Levels.Subject,
		ExtendedKeyUsages: p.Levels.ExtendedKeyUsages, Revocation: p.Levels.Revocation,
	}
	return levels, errors.Join(problems...)
}

// looks reports whether revocation lists are looked at.
func (r *Revocation) looks() bool { return r != nil && r.Mode != "" && r.Mode != xmlsig.RevocationOff }
