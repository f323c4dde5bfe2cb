package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/agent/gate"
	"mitigation.dev/ems/agent/iis"
	"mitigation.dev/ems/agent/iis/shadow"
	"mitigation.dev/ems/internal/rewrite/redos"
)

// auditAgain is how long a look ahead is believed while plan and server stay the same: it goes every step of a change on a
// shadow of the server, and what other programs change meanwhile is no hurry.
const auditAgain = 5 * time.Minute

// preview is what the loop needs of iis.Preview.
type preview interface {
	Reconcile(ctx context.Context, wanted []iis.Mitigation) ([]iis.Outcome, error)
	Changes() (shadow.Changes, error)
	Close() error
}

// audit is what a look ahead found.
type audit struct {
	of       []byte // what it depended on, as JSON
	at       time.Time
	findings map[string]finding // by lower-case id
}

// finding is what would become of one mitigation.
type finding struct {
	// reason is empty if it would be put in place.
	reason, message string
}

// audit looks what would become of the mitigations of a pool that is only looked at, and puts it into the decision.
func (r *round) audit(ctx context.Context) {
	if len(r.decision.Audits) == 0 {
		r.audited = nil
		return
	}
	of, err := json.Marshal([][]iis.Mitigation{r.decision.Audits, r.decision.Wanted})
	if err == nil && (r.audited == nil || !bytes.Equal(r.audited.of, of) || r.clock.Now().Sub(r.audited.at).Abs() >= auditAgain) {
		var findings map[string]finding
		if findings, err = r.lookAhead(ctx); err == nil {
			r.audited = &audit{of: of, at: r.clock.Now(), findings: findings}
		}
	}
	r.logOnce(&r.auditProblem, err, "What would change cannot be found out", "What would change is known again")
	if r.audited == nil || !bytes.Equal(r.audited.of, of) {
		return // no verdict without a look
	}
	for i := range r.decision.Intents {
		intent := &r.decision.Intents[i]
		f, ok := r.audited.findings[strings.ToLower(intent.ID)]
		if !ok {
			continue
		}
		intent.Message = f.message
		verdict := gate.Passed
		if f.reason != "" {
			intent.State, intent.Reason, verdict = enforce.Failed, f.reason, gate.Failed
		}
		if intent.Gate.Rollout != "" {
			intent.Gate.Verdict = verdict
			if verdict == gate.Failed {
				intent.Gate.Message = f.reason + ": " + f.message
			}
		}
	}
}

// lookAhead puts one mitigation after the other in place on a shadow of the server. Each is judged together with those before
// it, as it would be.
func (r *round) lookAhead(ctx context.Context) (findings map[string]finding, err error) {
	p, err := r.preview()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	wanted := slices.Clone(r.decision.Wanted)
	if _, err := p.Reconcile(ctx, wanted); err != nil {
		return nil, err
	}
	before, err := p.Changes()
	if err != nil {
		return nil, err
	}
	findings = map[string]finding{}
	for _, m := range r.decision.Audits {
		with := append(slices.DeleteFunc(slices.Clone(wanted), func(x iis.Mitigation) bool { return strings.EqualFold(x.ID, m.ID) }), m)
		outcomes, err := p.Reconcile(ctx, with)
		if err != nil {
			return nil, err
		}
		after, err := p.Changes()
		if err != nil {
			return nil, err
		}
		f := finding{message: "would change nothing" + r.cost(m.ID)}
		if changed := changedBetween(before, after); changed != "" {
			f.message = fmt.Sprintf("would change %s: %s%s", changed, strings.Join(m.Effects(), "; "), r.cost(m.ID))
		}
		for _, o := range outcomes {
			if strings.EqualFold(o.ID, m.ID) && o.State == iis.Failed {
				f = finding{reason: o.Reason, message: "would fail: " + o.Message}
			}
		}
		findings[strings.ToLower(m.ID)] = f
		if f.reason == "" {
			wanted, before = with, after
		}
	}
	return findings, nil
}

// changedBetween names the files, pools and services that became different from one look to the next.
func changedBetween(before, after shadow.Changes) string {
	var names []string
	for _, f := range after.Files {
		known := slices.ContainsFunc(before.Files, func(b shadow.FileChange) bool { return b.Path == f.Path && bytes.Equal(b.After, f.After) })
		if !known {
			names = append(names, filepath.Base(f.Path))
		}
	}
	for _, s := range after.Switches[min(len(before.Switches), len(after.Switches)):] {
		names = append(names, fmt.Sprintf("%s %q (%s)", strings.ToLower(s.Kind), s.Name, s.Change))
	}
	return strings.Join(names, ", ")
}

// cost says what the patterns of a mitigation can cost at most, empty if it has none.
func (r *round) cost(id string) string {
	for _, e := range r.input.Plan.Entries {
		content := r.input.Documents[e.Document].Content
		if !strings.EqualFold(e.ID, id) || content == nil {
			continue
		}
		for _, c := range content.Configs {
			if !strings.EqualFold(c.ID, id) {
				continue
			}
			patterns, worst := 0, redos.Report{}
			for _, a := range c.Actions {
				for _, p := range a.PatternCosts() {
					patterns++
					if p.Err == nil && p.Report.Degree > worst.Degree {
						worst = p.Report
					}
				}
			}
			switch {
			case patterns == 0:
				return ""
			case worst.Degree <= 1:
				return fmt.Sprintf("; its %d patterns cost at most linear time", patterns)
			}
			return fmt.Sprintf("; the worst of its %d patterns costs time of degree %d", patterns, worst.Degree)
		}
	}
	return ""
}
