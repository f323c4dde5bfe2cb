package agent

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"runtime"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"mitigation.dev/ems/agent/cluster"
	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/agent/iis"
	"mitigation.dev/ems/agent/iis/effective"
	"mitigation.dev/ems/agent/iis/refusal"
	"mitigation.dev/ems/agent/state"
	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/trust"
	"mitigation.dev/ems/internal/version"
)

// server is what the loop needs of package iis.
type server interface {
	Applied() ([]iis.Mitigation, error)
	Facts() (iis.Facts, error)
	Reconcile(ctx context.Context, wanted []iis.Mitigation) ([]iis.Outcome, error)
	Effective() ([]effective.Verdict, error)
}

// control is what the loop needs of package cluster.
type control interface {
	Plan() (plan *enforce.Plan, known bool, err error)
	Report(ctx context.Context, r cluster.Report) error
}

// loader is what the loop needs of package documents.
type loader interface {
	Load(ctx context.Context, refs []enforce.DocumentRef) map[enforce.DocumentRef]enforce.Document
	Learn(ctx context.Context, lists []enforce.RevocationRef, refs []enforce.DocumentRef) (refused []string)
	Anchors() ([]trust.Anchor, error)
	Findings() []trust.Finding
}

// loop holds what a pass needs. Passes run one after the other.
type loop struct {
	name      string
	server    server
	control   control
	documents loader
	memory    *state.Memory
	facts     func() (policy.Facts, error)
	clock     clock.PassiveClock
	log       logr.Logger

	// told are the results that were logged last, by id, so that only changes are logged.
	told map[string]enforce.Result
	// problem and reportProblem were logged last.
	problem, factsProblem, reportProblem, damage, trustProblem, effectProblem string
	// unannounced changes wait for a cluster that can be told of them.
	unannounced []cluster.Change
}

// maxUnannounced bounds the changes that are kept for events while the cluster is away; the log has them all.
const maxUnannounced = 256

// pass looks at everything once and brings the server to what is wanted.
func (l *loop) pass(ctx context.Context) {
	report := l.enforce(ctx)
	if ctx.Err() != nil {
		return // half of the work was cut short by the stop; the next process begins with all of it
	}
	l.logResults(report.Results)
	l.unannounced = append(l.unannounced, report.Changes...)
	l.unannounced = l.unannounced[max(0, len(l.unannounced)-maxUnannounced):]
	report.Changes = l.unannounced
	err := l.control.Report(ctx, report)
	if err == nil {
		l.unannounced = nil
	}
	if errors.Is(err, cluster.ErrUnheard) {
		err = nil // package cluster says so itself
	}
	l.logOnce(&l.reportProblem, err, "Status cannot be reported and will be tried again", "Status is reported again")
}

// enforce does the work of a pass and says what there is to report.
func (l *loop) enforce(ctx context.Context) cluster.Report {
	var report cluster.Report
	plan, planErr := l.plan()
	if plan != nil {
		report.PlanGeneration = plan.Generation
	}
	facts, factsErr := l.facts()
	l.logOnce(&l.factsProblem, factsErr, "Facts are incomplete, which speaks for mitigations", "Facts are complete again")
	report.Facts = cluster.Facts{
		Facts: facts, RewriteModule: l.rewriteModule(), AgentVersion: version.Version, OperatingSystem: runtime.GOOS + "/" + runtime.GOARCH,
	}
	// Lists come before documents, which may be revoked by them, and the look at what trust rests on after both.
	refused := l.documents.Learn(ctx, plan.RevocationLists(), plan.Documents())
	documents := l.documents.Load(ctx, plan.Documents())
	report.Trust = l.trust(refused)
	l.logOnce(&l.damage, l.damaged(), "Records were damaged and set aside", "No damaged records are left")
	before, err := l.server.Applied()
	if err != nil {
		// Without knowing what is in place, any list of what is wanted could take protection away.
		report.Problem = problemOf(err, "what is in place is not known, so nothing is changed")
		l.logOnce(&l.problem, err, "Nothing is changed", "Work goes on")
		return report
	}
	decision := enforce.Decide(enforce.Input{
		Server: l.name, Plan: plan, Documents: documents, Applied: before, Facts: facts,
	})
	if report.Trust.Err == nil {
		// With a trust file that cannot be used no document is, and that is no word on the checks.
		report.Checks = &cluster.Checks{Findings: l.documents.Findings()}
	}
	outcomes, reconcileErr := l.server.Reconcile(ctx, decision.Wanted)
	after, err := l.server.Applied()
	if err != nil {
		reconcileErr, after = errors.Join(reconcileErr, err), before
	}
	verdicts, effectiveErr := l.server.Effective()
	l.logOnce(&l.effectProblem, effectiveErr, "Whether rules are in effect is not known", "Whether rules are in effect is known again")
	report.Results = enforce.Judge(enforce.Conclude(decision, outcomes, reconcileErr, after), verdicts)
	report.Changes = changesOf(before, outcomes)
	var memoryErr error
	if report.Changed, memoryErr = l.remember(report.Changes); memoryErr == nil {
		report.Sequences, memoryErr = l.sequences()
	}
	if err := cmp.Or(planErr, reconcileErr, memoryErr); err != nil {
		report.Problem = problemOf(err, "see the agent's log on the server")
	}
	l.logOnce(&l.problem, cmp.Or(planErr, reconcileErr, memoryErr), "Work is impeded", "Work goes on")
	return report
}

// plan returns the plan to follow: the cluster's, or the last one while the cluster is away or its plan cannot be read.
func (l *loop) plan() (*enforce.Plan, error) {
	last, err := l.memory.Plan()
	if err != nil {
		return nil, err
	}
	plan, known, err := l.control.Plan()
	if err != nil || !known {
		return last, err
	}
	if equalJSON(plan, last) {
		return plan, nil
	}
	// A plan that cannot be kept is followed all the same: protection goes before memory.
	return plan, l.memory.SavePlan(plan)
}

// trust looks at what trust rests on, for the report and the log alone. refused are the revocation lists that are not believed.
func (l *loop) trust(refused []string) *cluster.Trust {
	t := &cluster.Trust{At: l.clock.Now(), Refused: refused}
	t.Anchors, t.Err = l.documents.Anchors()
	l.logOnce(&l.trustProblem, t.Err, "Trust file cannot be used", "Trust file can be used again")
	return t
}

// damaged says which of the agent's own records are lost. The losses are survivable, but somebody should look at the disk.
func (l *loop) damaged() error {
	names, err := l.memory.Damaged()
	if err != nil || len(names) == 0 {
		return err
	}
	return fmt.Errorf("damaged records: %s", strings.Join(names, ", "))
}

func (l *loop) rewriteModule() string {
	facts, err := l.server.Facts()
	switch {
	case err != nil:
		return "Unknown"
	case facts.RewriteModule:
		return "Present"
	}
	return "Missing"
}

// remember keeps when the server was changed for which mitigation.
func (l *loop) remember(changes []cluster.Change) (map[string]time.Time, error) {
	changed, err := l.memory.Changes()
	if err != nil || len(changes) == 0 {
		return changed, err
	}
	changed = maps.Clone(changed)
	for _, c := range changes {
		changed[strings.ToLower(c.ID)] = l.clock.Now().UTC()
	}
	return changed, l.memory.SaveChanges(changed)
}

func (l *loop) sequences() (map[string]int64, error) {
	feeds, err := l.memory.Feeds()
	if err != nil {
		return nil, err
	}
	sequences := make(map[string]int64, len(feeds))
	for name, feed := range feeds {
		sequences[name] = feed.Seen.Sequence
	}
	return sequences, nil
}

// changesOf says what a pass did to the server. A mitigation of which only the document is another one was not changed.
func changesOf(before []iis.Mitigation, outcomes []iis.Outcome) []cluster.Change {
	was := make(map[string]iis.Mitigation, len(before))
	for _, m := range before {
		was[strings.ToLower(m.ID)] = m
	}
	var changes []cluster.Change
	for _, o := range outcomes {
		if !o.Changed {
			continue
		}
		change := cluster.Change{ID: o.ID, Revision: o.Revision}
		old, known := was[strings.ToLower(o.ID)]
		switch {
		case o.State == iis.Removed:
			change.Kind = cluster.MitigationRemoved
		case o.State == iis.Applied && known && old.Revision == o.Revision:
			change.Kind = cluster.DriftRepaired
		case o.State == iis.Applied:
			change.Kind = cluster.MitigationApplied
		default:
			continue
		}
		changes = append(changes, change)
	}
	return changes
}

// problemOf makes a problem of an error. hint says what follows from it.
func problemOf(err error, hint string) *cluster.Problem {
	reason := refusal.Of(err, enforce.ReasonServerFailed)
	if errors.Is(err, cluster.ErrPlanUnreadable) {
		reason = emsv1.InvalidSpecReason
	}
	return &cluster.Problem{Reason: reason, Message: fmt.Sprintf("%v; %s", err, hint)}
}

// logResults logs what became different.
func (l *loop) logResults(results []enforce.Result) {
	now := make(map[string]enforce.Result, len(results))
	for _, r := range results {
		now[r.ID] = r
		if old, known := l.told[r.ID]; known && reflect.DeepEqual(old, r) {
			continue
		}
		l.log.Info("Mitigation", "id", r.ID, "state", r.State, "reason", r.Reason, "revision", r.Revision, "detail", r.Message, "effective", r.Effective, "lookAlikes", r.LookAlikes)
	}
	l.told = now
}

// logOnce logs an error when it appears or changes, and when it is gone.
func (l *loop) logOnce(last *string, err error, appeared, gone string) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	switch text {
	case *last:
		return
	case "":
		l.log.Info(gone)
	default:
		l.log.Error(err, appeared)
	}
	*last = text
}

// equalJSON compares plans as they stand on the disk, where an empty list and none are alike.
func equalJSON(a, b *enforce.Plan) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
