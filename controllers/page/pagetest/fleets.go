package pagetest

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// at is a time as the API has it.
func at(t time.Time) *metav1.Time { return new(metav1.NewTime(t)) }

func ready(status metav1.ConditionStatus, reason, message string, since time.Time) []metav1.Condition {
	return []metav1.Condition{{Type: emsv1.ReadyCondition, Status: status, Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(since)}}
}

// mitigation is one that a feed stands behind.
func mitigation(id string, severity emsv1.Severity, description string, now time.Time) emsv1.Mitigation {
	m := emsv1.Mitigation{ObjectMeta: metav1.ObjectMeta{Name: strings.ToLower(id)}}
	m.Spec.ID, m.Spec.Revision, m.Spec.Lifecycle, m.Spec.Severity = emsv1.MitigationID(id), 1, emsv1.LifecycleActive, severity
	m.Spec.FeedName, m.Spec.Description = "exchange", description
	m.Status.Conditions = ready(metav1.ConditionTrue, emsv1.AppliedReason, "", now)
	return m
}

// standing is where a mitigation stands in a pool.
type standing struct {
	id                                            string
	desired                                       emsv1.DesiredState
	reason                                        string
	applied, pending, failed, blocked, notNeeded  int32
	state                                         emsv1.RolloutState
	stage, why, message                           string
	number, stages                                int32
	released, passed, failedGate, revision, audit int32
}

func (s standing) counts() emsv1.ServerCounts {
	total := s.applied + s.pending + s.failed + s.blocked + s.notNeeded + s.audit
	return emsv1.ServerCounts{
		Total: &total, Applied: new(s.applied), Pending: new(s.pending), Failed: new(s.failed), Blocked: new(s.blocked), NotApplicable: new(s.notNeeded),
		Ineffective: new(int32(0)), Other: new(s.audit),
	}
}

// add puts a pool, its plan and its servers into the fleet. The servers are told apart by what the standings count, the failed ones first.
func (f *Fleet) add(namespace, name, mode string, servers int, now time.Time, standings ...standing) {
	meta := metav1.ObjectMeta{Namespace: namespace, Name: name, Generation: 1}
	pool := emsv1.PoolMitigationConfig{ObjectMeta: meta}
	pool.Spec.PoolFQDN = name + ".contoso.com"
	pool.Status.Servers, pool.Status.Summary.Mode = new(int32(servers)), mode //nolint:gosec // a pool has some thousand
	pool.Status.Conditions = ready(metav1.ConditionTrue, emsv1.InSyncReason, "", now.Add(-time.Hour))
	plan := emsv1.MitigationPlan{ObjectMeta: meta}
	own := make([]emsv1.PoolServer, servers)
	for i := range own {
		own[i].ObjectMeta = metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("%s%02d", name, i+1)}
		own[i].Spec = emsv1.PoolServerSpec{PoolName: name, HostName: fmt.Sprintf("%s%02d.contoso.com", name, i+1)}
		own[i].Status.ObservedPlanGeneration = 1
		own[i].Status.Conditions = ready(metav1.ConditionTrue, emsv1.PlanAppliedReason, "", now.Add(-time.Hour))
		own[i].Status.Facts = emsv1.ServerFacts{Product: emsv1.ExchangeServer, Build: "15.2.1118.7", AgentVersion: "v1.0.0"}
	}
	for _, s := range standings {
		revision := int64(max(1, s.revision))
		status := emsv1.PoolMitigationStatus{ID: emsv1.MitigationID(s.id), Desired: s.desired, Reason: s.reason, Revision: revision, Servers: s.counts()}
		planned := emsv1.PlannedMitigation{ID: status.ID, Desired: s.desired, Reason: s.reason, Revision: revision, Message: s.message}
		if s.state != "" {
			status.Rollout = emsv1.PoolRolloutStatus{
				State: s.state, Reason: s.why, Message: s.message, Profile: emsv1.ProfileFast, Attempt: 1, Stage: s.stage, StageNumber: new(s.number),
				Stages: s.stages, Released: new(s.released), Passed: new(s.passed), Failed: new(s.failedGate), StageTime: at(now.Add(-4 * time.Minute)),
			}
			planned.Rollout = emsv1.PlanRollout{ID: fmt.Sprintf("%d-1-Enforce", revision), State: s.state, Reason: s.why}
		}
		pool.Status.Mitigations = append(pool.Status.Mitigations, status)
		plan.Spec.Mitigations = append(plan.Spec.Mitigations, planned)
		report(own, s, revision, now)
	}
	f.Pools, f.Plans, f.Servers = append(f.Pools, pool), append(f.Plans, plan), append(f.Servers, own...)
}

// report makes servers say what a standing counts.
func report(servers []emsv1.PoolServer, s standing, revision int64, now time.Time) {
	left := []struct {
		count int32
		is    emsv1.ServerMitigation
	}{
		{s.failed, emsv1.ServerMitigation{
			State: emsv1.StateFailed, Reason: "RuleInvalid", Message: "applicationHost.config: section system.webServer/rewrite is locked; unlock it in `applicationHost.config`",
		}},
		{s.pending, emsv1.ServerMitigation{State: emsv1.StatePending, Reason: s.why}},
		{s.audit, emsv1.ServerMitigation{State: emsv1.StateAudited, Reason: "Audit"}},
		{s.blocked, emsv1.ServerMitigation{State: emsv1.StateRemoved, Reason: s.reason}},
		{s.notNeeded, emsv1.ServerMitigation{State: emsv1.StateNotApplicable, Reason: "FixedByUpdate"}},
		{s.applied, emsv1.ServerMitigation{State: emsv1.StateApplied, Reason: "Enabled", Revision: revision, Effective: emsv1.EffectiveTrue}},
	}
	i := 0
	for _, group := range left {
		for range group.count {
			if i == len(servers) {
				return
			}
			is := group.is
			is.ID, is.ChangedTime = emsv1.MitigationID(s.id), at(now.Add(-5*time.Minute))
			servers[i].Status.Mitigations = append(servers[i].Status.Mitigations, is)
			i++
		}
	}
}

// Small is a fleet of four pools in which something of everything goes on.
func Small(now time.Time) *Fleet {
	f := &Fleet{}
	f.Mitigations = []emsv1.Mitigation{
		mitigation("M1", "Critical", "Blocks requests that lead to CVE-2022-41040", now),
		mitigation("OWA1", "Important", "Strips a header that older builds mistake", now),
		mitigation("PING1", "Low", "Proves that mitigations arrive", now),
	}
	f.Mitigations[0].Spec.CVEs = []string{"CVE-2022-41040"}
	f.Mitigations[0].Spec.Actions = []emsv1.MitigationAction{{
		ID: "M1.1", Type: "UrlRewrite", Scope: "Site", Target: "Default Web Site", Description: "Request blocking", Value: "<rewrite>\n  <rules />\n</rewrite>",
	}}
	done := func(id string, servers int32) standing {
		return standing{id: id, desired: emsv1.DesiredApply, reason: "Enabled", applied: servers, state: emsv1.RolloutComplete, stage: "all", number: 3, stages: 3}
	}
	f.add("exchange", "frontend", "Enforce", 8, now,
		done("M1", 8),
		standing{
			id: "OWA1", desired: emsv1.DesiredApply, reason: "Enabled", pending: 7, failed: 1, state: emsv1.RolloutHalted, stage: "first", number: 1, stages: 3,
			why: emsv1.RolloutHaltedReason, message: "1 server failed in stage \"first\", where at most 0 may: frontend01", failedGate: 1, revision: 2,
		}, done("PING1", 8))
	f.add("exchange", "mailbox", "Enforce", 12, now,
		standing{
			id: "M1", desired: emsv1.DesiredApply, reason: "Enabled", applied: 3, pending: 9, state: emsv1.RolloutProgressing, stage: "tenth", number: 2, stages: 4,
			why: emsv1.AwaitingStageReason, message: "the servers of stage \"tenth\" are under observation", released: 3, passed: 2,
		}, done("PING1", 12))
	f.add("exchange", "edge", "Enforce", 4, now,
		standing{id: "M1", desired: emsv1.DesiredRemove, reason: "BlockedByPool", blocked: 4, message: "blocked by spec.blocked of the pool"}, done("PING1", 4))
	f.add("staging", "lab", "Audit", 2, now, standing{id: "M1", desired: emsv1.DesiredApply, reason: "Audit", audit: 2, state: emsv1.RolloutComplete, stages: 3, number: 3})
	f.Pools[2].Spec.Blocked = []emsv1.Exception{{ID: "M1", Reason: "breaks the partner portal", Owner: "web team", ExpiryTime: at(now.Add(73 * time.Hour))}}
	f.Pools[0].Status.History = []emsv1.PoolHistoryEntry{
		{Time: at(now.Add(-9 * time.Minute)), ID: "OWA1", Revision: 2, Attempt: 1, Action: "Published", By: "exchange"},
		{Time: at(now.Add(-8 * time.Minute)), ID: "OWA1", Revision: 2, Attempt: 1, Action: "StageReleased", By: "EMS", Message: "stage first, 1 of 8 servers"},
		{Time: at(now.Add(-7 * time.Minute)), ID: "OWA1", Revision: 2, Attempt: 1, Action: "Halted", By: "EMS", Message: "1 server failed in stage \"first\""},
	}
	f.silence(now)
	f.Feeds = []emsv1.MitigationFeed{feed(now)}
	return f
}

// silence makes the last server of the second pool silent.
func (f *Fleet) silence(now time.Time) {
	last := &f.Servers[8+12-1]
	last.Status.Conditions = ready(metav1.ConditionUnknown, emsv1.AgentSilentReason, "the agent has not renewed its Lease for 4m0s", now.Add(-20*time.Minute))
}

func feed(now time.Time) emsv1.MitigationFeed {
	f := emsv1.MitigationFeed{ObjectMeta: metav1.ObjectMeta{Name: "exchange"}}
	f.Spec.URL = "https://reader:hunter2@feed.example.com/mitigations?key=s3cret"
	f.Status.Conditions = append(ready(metav1.ConditionTrue, emsv1.DocumentAcceptedReason, "", now.Add(-time.Hour)),
		metav1.Condition{Type: emsv1.FreshCondition, Status: metav1.ConditionTrue, Reason: emsv1.WithinLimitsReason},
		metav1.Condition{Type: emsv1.TrustAnchorsCurrentCondition, Status: metav1.ConditionFalse, Reason: emsv1.AnchorExpiringReason, Message: "the root runs out in 41 days"})
	f.Status.Document = emsv1.AcceptedDocument{Sequence: 17, Signer: "CN=Contoso Mitigations", IssuedTime: at(now.Add(-9 * time.Minute)), SignerExpiryTime: at(now.Add(100*24*time.Hour + time.Hour))}
	f.Status.Mitigations, f.Status.LastReadTime = new(int32(3)), at(now.Add(-30*time.Second))
	return f
}

// Large is more than anybody should have: every pool rolls everything out, with one failure in each, long messages and full histories.
func Large(now time.Time, pools, mitigations, servers int) *Fleet {
	f := &Fleet{Feeds: []emsv1.MitigationFeed{feed(now)}}
	for m := range mitigations {
		f.Mitigations = append(f.Mitigations, mitigation(fmt.Sprintf("M%d", m+1), "Critical", strings.Repeat("A description of some length. ", 10), now))
	}
	each := servers / pools
	long := strings.Repeat("A server says much about why it failed. ", 40)
	for p := range pools {
		var list []standing
		for m := range mitigations {
			list = append(list, standing{
				id: fmt.Sprintf("M%d", m+1), desired: emsv1.DesiredApply, reason: "Enabled", failed: 1, applied: int32(each) - 1, //nolint:gosec // small
				state: emsv1.RolloutProgressing, stage: "tenth", number: 2, stages: 4, why: emsv1.AwaitingStageReason, message: long,
			})
		}
		f.add("exchange", fmt.Sprintf("pool-%03d", p), "Enforce", each, now, list...)
		pool := &f.Pools[p]
		for h := range 100 {
			pool.Status.History = append(pool.Status.History, emsv1.PoolHistoryEntry{
				Time: at(now.Add(-time.Duration(h) * time.Minute)), ID: "M1", Revision: 1, Attempt: 1, Action: "StageReleased", By: "EMS", Message: long[:512],
			})
		}
		for e := range 256 {
			pool.Spec.Blocked = append(pool.Spec.Blocked, emsv1.Exception{ID: emsv1.MitigationID(fmt.Sprintf("X%d", e)), Reason: long[:256], Owner: "web team"})
		}
	}
	for i := range f.Servers {
		for j := range f.Servers[i].Status.Mitigations {
			f.Servers[i].Status.Mitigations[j].Message = long
		}
	}
	return f
}

// Hostile is the small fleet with a text in every field that holds text, but for the names that objects refer to each other by, which the API server
// lets nobody choose freely, and the fields that the page looks at to tell states apart.
func Hostile(now time.Time, text string) *Fleet {
	f := Small(now)
	f.Configurations = []emsv1.MitigationConfiguration{{ObjectMeta: metav1.ObjectMeta{Name: "global"}, Spec: emsv1.MitigationConfigurationSpec{
		Suspend: emsv1.SuspendRevert, Blocked: []emsv1.Exception{{}}, SuspendedMitigations: []emsv1.Exception{{}}, Approved: []emsv1.Approval{{Stages: []string{""}}},
	}}}
	m := &f.Mitigations[0].Spec
	m.SideEffects, m.Applicability = []string{""}, []emsv1.AffectedProduct{{Branches: []emsv1.AffectedBranch{{}}}}
	s := &f.Servers[0].Status
	s.Local = emsv1.ServerLocal{
		KillSwitch: emsv1.LocalUse{Time: at(now)}, Blocked: []emsv1.LocalBlock{{Use: emsv1.LocalUse{Time: at(now)}}}, Repair: emsv1.LocalUse{Time: at(now)},
	}
	s.Feeds = []emsv1.ObservedFeed{{}}
	for i := range s.Mitigations {
		s.Mitigations[i].LookAlikes, s.Mitigations[i].Gate = []string{""}, emsv1.ServerGate{Verdict: emsv1.GateFailed}
	}
	for _, objects := range []any{f.Feeds, f.Mitigations, f.Configurations, f.Pools, f.Plans, f.Servers} {
		fill(reflect.ValueOf(objects), text)
	}
	return f
}

// kept are the types and fields that stay as they are.
var kept = map[string]bool{
	"MitigationID": true, "DesiredState": true, "MitigationState": true, "RolloutState": true, "Lifecycle": true, "SuspendMode": true, "GateVerdict": true,
	"ConditionStatus": true, "Effectiveness": true, "PoolName": true, "ObjectMeta": true, "TypeMeta": true, "Type": true,
}

func fill(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			fill(v.Index(i), text)
		}
	case reflect.Pointer:
		if !v.IsNil() && !strings.HasPrefix(v.Type().String(), "*v1.Time") {
			fill(v.Elem(), text)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); !kept[field.Name] && !kept[field.Type.Name()] && field.IsExported() && field.Type.String() != "v1.Time" {
				fill(v.Field(i), text)
			}
		}
	case reflect.String:
		v.SetString(text)
	default:
	}
}
