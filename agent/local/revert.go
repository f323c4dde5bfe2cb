package local

import (
	"context"
	"fmt"
	"slices"

	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/agent/iis"
	"mitigation.dev/ems/internal/policy"
)

// Revert takes everything away that is in place, or what Only names, and leaves the server as it was before. It needs the
// journal and no document.
func Revert(ctx context.Context, o Options) *Report {
	s, err := open(o, CommandRevert, o.DryRun)
	if err != nil {
		return s.report.refuse(err)
	}
	defer s.close()
	if o.Document != "" {
		s.warn("a document is not needed to revert and was not looked at")
	}
	s.look()
	applied, err := s.server.Applied()
	if err != nil {
		return s.report.refuse(fmt.Errorf("what is in place is not known, so nothing is changed: %w", err))
	}
	for _, only := range s.Only {
		if !slices.ContainsFunc(applied, func(m iis.Mitigation) bool { return policy.Covers(only, m.ID) }) {
			s.warn("--only %s: not in place", only)
		}
	}
	keep := slices.DeleteFunc(slices.Clone(applied), func(m iis.Mitigation) bool { return s.selects(m.ID) })
	outcomes, reconcileErr := s.reconcile(ctx, keep)
	results := make([]enforce.Result, 0, len(outcomes))
	for _, o := range outcomes {
		r := standing(o, applied)
		switch o.State {
		case iis.Removed:
			r.Reason, r.Revision, r.Digest = ReasonReverted, 0, ""
		case iis.Applied:
			r.Reason = ReasonKept
		case iis.Failed:
		}
		results = append(results, r)
	}
	s.report.tell(enforce.Judge(results, s.verdicts()), outcomes, applied)
	s.finish(outcomes, reconcileErr)
	return s.report
}
