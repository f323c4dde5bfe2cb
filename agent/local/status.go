package local

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/agent/iis"
	"mitigation.dev/ems/agent/iis/shadow"
)

// Status says what is in place, and whether it still is as it was put there. With a document it says as well what of it
// is missing. It changes nothing.
func Status(ctx context.Context, o Options) *Report {
	s, err := open(o, CommandStatus, true)
	if err != nil {
		return s.report.refuse(err)
	}
	defer s.close()
	if err := s.status(ctx); err != nil {
		return s.report.refuse(err)
	}
	return s.report
}

func (s *session) status(ctx context.Context) error {
	known := s.look()
	applied, err := s.server.Applied()
	if err != nil {
		return err
	}
	var intents []enforce.Result
	if s.Document != "" {
		verified, err := s.verify(ctx)
		if err != nil {
			return err
		}
		decided, err := s.decide(verified, applied, known)
		if err != nil {
			return err
		}
		intents = decided.Intents
	}
	verdicts := s.verdicts()
	// Putting in place what is in place finds out what is not.
	outcomes, reconcileErr := s.reconcile(ctx, applied)
	changes, err := s.changes()
	if err != nil {
		return err
	}
	results := make([]enforce.Result, 0, len(outcomes))
	for _, o := range outcomes {
		r := standing(o, applied)
		switch {
		case o.State == iis.Applied && o.Changed:
			r.State, r.Reason, r.Message = StateDrifted, ReasonDrifted, drifted(changes)
		case o.State == iis.Applied:
			r.Reason = ReasonInPlace
		}
		results = append(results, r)
	}
	results = enforce.Judge(results, verdicts)
	s.report.tell(compare(results, intents, applied), nil, applied)
	when, err := s.remember(nil)
	for i := range s.report.Mitigations {
		m := &s.report.Mitigations[i]
		m.LastChange = when[strings.ToLower(m.ID)]
	}
	if reconcileErr != nil {
		err = reconcileErr
	}
	s.report.conclude(err)
	return nil
}

// standing is where an outcome leaves something that is, or was, in place.
func standing(o iis.Outcome, applied []iis.Mitigation) enforce.Result {
	r := enforce.Result{ID: o.ID, State: enforce.State(o.State), Reason: o.Reason, Message: o.Message}
	for _, a := range applied {
		if strings.EqualFold(a.ID, o.ID) {
			r.Revision, r.Digest = a.Revision, a.Digest
		}
	}
	return r
}

// drifted says where something is not as it was put in place.
func drifted(changes shadow.Changes) string {
	var where []string
	for _, f := range changes.Files {
		where = append(where, f.Path)
	}
	for _, c := range changes.Switches {
		where = append(where, strings.ToLower(c.Kind)+" "+c.Name)
	}
	return fmt.Sprintf("another program undid it, in part or all of it (%s): apply the document again, which repairs it", strings.Join(where, ", "))
}

// compare adds to results what a document would change.
func compare(results, intents []enforce.Result, applied []iis.Mitigation) []enforce.Result {
	for _, r := range intents {
		named := func(id string) bool { return strings.EqualFold(id, r.ID) }
		i := slices.IndexFunc(applied, func(m iis.Mitigation) bool { return named(m.ID) })
		j := slices.IndexFunc(results, func(m enforce.Result) bool { return named(m.ID) })
		switch {
		case i < 0:
			if r.State == enforce.Applied {
				r.State, r.Reason, r.Message = StateMissing, ReasonNotInPlace, "the server needs it and does not have it: apply the document"
				r.Revision, r.Digest = 0, ""
			}
			results = append(results, r)
		case j >= 0 && r.State == enforce.Applied && r.Revision > applied[i].Revision && results[j].State == enforce.Applied:
			results[j].State, results[j].Reason = StateMissing, ReasonOldRevision
			results[j].Message = fmt.Sprintf("revision %d is in place and the document has %d: apply the document", applied[i].Revision, r.Revision)
		}
	}
	return results
}
