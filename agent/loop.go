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
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"mitigation.dev/ems/agent/cluster"
	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/agent/gate"
	"mitigation.dev/ems/agent/iis"
	"mitigation.dev/ems/agent/iis/effective"
	"mitigation.dev/ems/agent/iis/refusal"
	"mitigation.dev/ems/agent/metricsfile"
	"mitigation.dev/ems/agent/state"
	"mitigation.dev/ems/agent/switches"
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
	AccessLogs(m iis.Mitigation) ([]string, error)
	Forget() error
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
	Forget()
}

// loop holds what a pass needs. Passes run one after the other.
type loop struct {
	name      string
	server    server
	control   control
	documents loader
	memory    *state.Memory
	switches  switches.File
	stateDir  string
	checker   checker
	preview   func() (preview, error)
	facts     func() (policy.Facts, error)
	clock     clock.PassiveClock
	log       logr.Logger
	// setPeriod is told how often the plan wants the Lease to be renewed, 0 if it does not say. Nil: nobody is.
	setPeriod func(time.Duration)

	// told are the results that were logged last, by id, so that only changes are logged.
	told map[string]enforce.Result
	// problem and reportProblem were logged last.
	problem, factsProblem, reportProblem, damage, trustProblem, effectProblem, historyProblem, auditProblem string
	switchesProblem, copyProblem, passProblem, untoldProblem, recordsProblem                                string
	// histories are what the server remembers, by lower-case id; nil before the first pass. kept is when each was put on the
	// disk, begun when its trial began in this process.
	histories   map[string]enforce.History
	kept, begun map[string]time.Time
	// audited is what the last look ahead found.
	audited *audit
	// next is when the last pass has to be followed by another one; zero for no reason.
	next time.Time
	// unannounced changes wait for a cluster that can be told of them.
	unannounced []cluster.Change
	// keptUntold are those that are on the disk.
	keptUntold []cluster.Change
	announcer  announcer
	// metrics is nil if nobody asked for them.
	metrics *metricsfile.File
	// followed is the plan that the last pass carried out to the end; nil if it left something undone.
	followed *enforce.Plan
	// random gives numbers from 0 up to 1.
	random func() float64
	// switched is what people said at the server, as it was read last; nil before the first time.
	switched *switches.Switches
}

// maxUnannounced bounds the changes that are kept for events while the cluster is away; the log has them all.
const maxUnannounced = 256

const (
	// soon is how near the next look has to be for the cluster to be waited for only patience, once for what is read and once for the report: a server that gets
	// worse, or a block that ends, does not wait for an API server that does not answer.
	soon     = interval
	patience = 3 * time.Second
)

// pass looks at everything once and brings the server to what is wanted. It returns when that has to happen again at the
// latest; zero for no reason.
func (l *loop) pass(ctx context.Context) time.Time {
	undisturbed, goesOn := l.whileNothingIsSwitched(ctx)
	defer goesOn()
	toCluster, cancel := l.patient(undisturbed)
	report := l.enforce(ctx, toCluster)
	cancel()
	if ctx.Err() != nil {
		return time.Time{} // half of the work was cut short by the stop; the next process begins with all of it
	}
	l.steady(report.Results)
	l.logResults(report.Results)
	l.announcer.announce(report)
	l.measure(report)
	l.unannounced = append(l.unannounced, report.Changes...)
	l.unannounced = l.unannounced[max(0, len(l.unannounced)-maxUnannounced):]
	report.Changes = l.unannounced
	// What the server itself took its time for is no reason to give up a report before it is made.
	toCluster, cancel = l.patient(undisturbed)
	defer cancel()
	err := l.control.Report(toCluster, report)
	if err == nil {
		l.unannounced = nil
	}
	l.keepUntold()
	next := l.next
	if held, ok := errors.AsType[*cluster.HeldError](err); ok {
		err = held.After
		if next.IsZero() || held.Until.Before(next) {
			next = held.Until
		}
	}
	if errors.Is(err, cluster.ErrUnheard) {
		err = nil // package cluster says so itself
	}
	l.tellPass(report, err)
	l.logOnce(&l.reportProblem, err, "Status cannot be reported and will be tried again", "Status is reported again")
	return next
}

// patient limits how long the cluster is waited for, if the next look at the server is near.
func (l *loop) patient(ctx context.Context) (context.Context, context.CancelFunc) {
	if l.next.IsZero() || l.next.Sub(l.clock.Now()) >= soon {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, patience)
}

// enforce does the work of a pass and says what there is to report. toCluster is for what the cluster is asked for.
func (l *loop) enforce(ctx, toCluster context.Context) cluster.Report {
	var report cluster.Report
	l.next, l.followed = time.Time{}, nil
	plan, planErr := l.plan()
	if plan != nil {
		report.PlanGeneration = plan.Generation
	}
	report.Window = cluster.WindowOf(plan)
	l.pace(plan)
	memoryErr := l.loadHistories()
	switched, switchesErr := l.readSwitches()
	report.Switches = switched
	if switched == nil {
		switched, plan = &switches.Switches{}, withoutAdditions(plan)
	}
	repairErr := cmp.Or(l.repair(plan), l.repairHere(switched.Repair))
	facts, factsErr := l.facts()
	l.logOnce(&l.factsProblem, factsErr, "Facts are incomplete, which speaks for mitigations", "Facts are complete again")
	report.Facts = cluster.Facts{
		Facts: facts, RewriteModule: l.rewriteModule(), AgentVersion: version.Version, OperatingSystem: runtime.GOOS + "/" + runtime.GOARCH,
	}
	// Lists come before documents, which may be revoked by them, and the look at what trust rests on after both.
	refused := l.documents.Learn(toCluster, plan.RevocationLists(), plan.Documents())
	documents := l.documents.Load(toCluster, plan.Documents())
	report.Trust = l.trust(refused)
	l.tellOfDamage()
	before, err := l.server.Applied()
	if err = cmp.Or(err, memoryErr); err != nil {
		// Without knowing what is in place and what has failed, any list of what is wanted could take protection away.
		report.Problem = problemOf(err, "what is in place is not known, so nothing is changed")
		l.logOnce(&l.problem, err, "Nothing is changed", "Work goes on")
		return report
	}
	r := l.carryOut(ctx, enforce.Input{Server: l.name, Plan: plan, Documents: documents, Applied: before, Facts: facts, Switches: *switched, Now: l.clock.Now()})
	l.next = r.due()
	if report.Trust.Err == nil {
		// With a trust file that cannot be used no document is, and that is no word on the checks.
		report.Checks = &cluster.Checks{Findings: l.documents.Findings()}
	}
	report.Results, report.Changes = r.results(), r.changes
	if report.Changed, memoryErr = l.remember(report.Changes); memoryErr == nil {
		report.Sequences, memoryErr = l.sequences()
	}
	err = cmp.Or(planErr, r.err, memoryErr, repairErr, switchesErr)
	if err != nil {
		report.Problem = problemOf(err, "see the agent's log on the server")
	}
	l.logOnce(&l.problem, err, "Work is impeded", "Work goes on")
	if err == nil && !slices.ContainsFunc(report.Results, undone) {
		l.followed = plan
	}
	return report
}

// undone reports whether the server is not yet as the plan wants it, so that another plan could help.
func undone(r enforce.Result) bool {
	return r.State == enforce.Failed || r.State == enforce.Pending && r.Transient || r.Ineffective()
}

// leisure is how long the pass may wait that a change of the plan causes: not at all if the change concerns this server. Otherwise each
// server takes a moment of its own within the window of reports. When something is published for ten thousand servers, those of the first
// stage do not compete for the API server with all others, which fetch the document for a stage that comes later.
func (l *loop) leisure() time.Duration {
	if l.concerned() {
		return 0
	}
	return time.Duration(float64(l.followed.Reporting.Window) * l.random())
}

// concerned reports whether the plan asks something of this server that the last pass did not do.
func (l *loop) concerned() bool {
	plan, known, err := l.control.Plan()
	return err != nil || !known || l.followed == nil || enforce.Concerns(l.name, l.followed, plan)
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

// pace follows what the plan says of reporting.
func (l *loop) pace(plan *enforce.Plan) {
	if l.setPeriod == nil {
		return
	}
	var period time.Duration
	if plan != nil {
		period = plan.Reporting.Lease
	}
	l.setPeriod(period)
}

// trust looks at what trust rests on, for the report and the log alone. refused are the revocation lists that are not believed.
func (l *loop) trust(refused []string) *cluster.Trust {
	t := &cluster.Trust{At: l.clock.Now(), Refused: refused}
	t.Anchors, t.Err = l.documents.Anchors()
	l.logOnce(&l.trustProblem, t.Err, "Trust file cannot be used", "Trust file can be used again")
	return t
}

// tellOfDamage says which of the agent's own records are lost. The losses are survivable, but somebody should look at the disk.
func (l *loop) tellOfDamage() {
	names, err := l.memory.Damaged()
	l.logOnce(&l.recordsProblem, err, "Whether records are damaged is not known", "Whether records are damaged is known again")
	if err != nil {
		return
	}
	var damage error
	if len(names) > 0 {
		damage = fmt.Errorf("damaged records: %s", strings.Join(names, ", "))
	}
	l.logOnce(&l.damage, damage, "Records were damaged and set aside", "No damaged records are left")
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
	switch {
	case errors.Is(err, cluster.ErrPlanUnreadable):
		reason = emsv1.InvalidSpecReason
	case errors.Is(err, switches.ErrUnusable):
		reason = enforce.ReasonSwitchesUnusable
	}
	return &cluster.Problem{Reason: reason, Message: fmt.Sprintf("%v; %s", err, hint)}
}

// steady leaves the message of a gate without enough to judge by as it was told first: how far the count has come is not worth
// a write to the cluster on every look.
func (l *loop) steady(results []enforce.Result) {
	for i := range results {
		g := &results[i].Gate
		if old := l.told[results[i].ID].Gate; g.Verdict == gate.Inconclusive && old.Verdict == g.Verdict && old.Rollout == g.Rollout {
			g.Message = old.Message
		}
	}
}

// logResults logs what became different.
func (l *loop) logResults(results []enforce.Result) {
	now := make(map[string]enforce.Result, len(results))
	for _, r := range results {
		now[r.ID] = r
		if old, known := l.told[r.ID]; known && reflect.DeepEqual(old, r) {
			continue
		}
		l.log.Info("Mitigation", "id", r.ID, "state", r.State, "reason", r.Reason, "revision", r.Revision, "detail", r.Message, "effective", r.Effective, "lookAlikes", r.LookAlikes, "gate", r.Gate.Verdict)
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
