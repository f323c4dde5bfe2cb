// Package inventorytest has a small fleet with a mitigation in each of the states that the real services know, for tests.
//
// # Usage
//
//	for _, object := range inventorytest.New().Objects() { ... }
//
// # Considerations
//
// It is a package and no test file because the table of parity is tested with it on a real API server.
package inventorytest

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/rollout"
)

// Morning is when the tests look.
var Morning = time.Date(2026, 5, 15, 8, 0, 0, 0, time.UTC)

// at is a time before Morning as the API has it.
func at(before time.Duration) *metav1.Time { return new(metav1.NewTime(Morning.Add(-before))) }

// Fleet is a fleet.
type Fleet struct {
	Feeds       []emsv1.MitigationFeed
	Mitigations []emsv1.Mitigation
	Pools       []emsv1.PoolMitigationConfig
	Plans       []emsv1.MitigationPlan
	Servers     []emsv1.PoolServer
}

// New is a fleet of two pools: frontends/mail of three servers in mode Enforce, on one of which M2 failed, and where M3 is blocked, and
// branches/shop of one server in mode Audit.
func New() *Fleet {
	f := &Fleet{Feeds: []emsv1.MitigationFeed{feed()}}
	f.Mitigations = []emsv1.Mitigation{
		mitigation("PING1", "DoNothing", "Low", "Heartbeat probe. Changes nothing."),
		mitigation("M1", "UrlRewrite", "Critical", "Blocks the requests that exploit PowerShell remoting", "CVE-2022-41040"),
		mitigation("M2", "UrlRewrite", "Important", "Adds a Content-Security-Policy to OWA", "CVE-2026-42897"),
		mitigation("M3", "AppPool", "Important", "Stops the application pool MSExchangeECPAppPool"),
	}
	apply := func(id string, revision int64) emsv1.PlannedMitigation {
		return planned(id, emsv1.DesiredApply, "Enabled", "nothing stands against the mitigation", revision)
	}
	blocked := planned("M3", emsv1.DesiredRemove, "BlockedByPool", "the pool blocks M3: breaks the control panel (ask mail team), until 2026-05-22T00:00:00Z", 1)
	blocked.UntilTime = new(metav1.NewTime(time.Date(2026, 5, 22, 0, 0, 0, 0, time.UTC)))
	f.addPool("frontends", "mail", emsv1.ModeEnforce, []emsv1.PlannedMitigation{apply("PING1", 1), apply("M1", 3), apply("M2", 1), blocked}, []emsv1.ServerCounts{
		counts(3, 3, 0, 0, 0), counts(3, 3, 0, 0, 0), counts(3, 2, 1, 0, 0), counts(3, 0, 0, 3, 0),
	})
	for _, name := range []string{"web01", "web02", "web03"} {
		m2 := reported("M2", emsv1.StateApplied, "Enabled", "", 1)
		if name == "web03" {
			m2 = reported("M2", emsv1.StateFailed, "SamplesFailed", "the rules would newly block GET /owa/: change spec.healthChecks.mustPass or block M2", 0)
		}
		f.addServer("frontends", "mail", name, reported("PING1", emsv1.StateApplied, "Enabled", "", 1), reported("M1", emsv1.StateApplied, "Enabled", "", 3), m2,
			reported("M3", emsv1.StateRemoved, "BlockedByPool", "", 0))
	}
	f.addPool("branches", "shop", emsv1.ModeAudit, []emsv1.PlannedMitigation{apply("M1", 3)}, []emsv1.ServerCounts{counts(1, 0, 0, 0, 1)})
	f.Pools[0].Status.History = []emsv1.PoolHistoryEntry{
		{Time: at(20 * time.Hour), ID: "M1", Revision: 3, Attempt: 1, Action: "StageReleased", By: "EMS", Message: "stage all, 3 servers"},
		{Time: at(3 * time.Hour), ID: "M3", Revision: 1, Attempt: 1, Action: "Blocked", By: "mail team", Message: "breaks the control panel"},
	}
	f.addServer("branches", "shop", "shop01", reported("M1", emsv1.StateAudited, "Audit", "", 0))
	return f
}

func feed() emsv1.MitigationFeed {
	return emsv1.MitigationFeed{
		ObjectMeta: metav1.ObjectMeta{Name: "contoso"},
		Spec:       emsv1.MitigationFeedSpec{URL: "https://ems.contoso.com/mitigations.xml", Product: "ExchangeServer"},
		Status: emsv1.MitigationFeedStatus{
			Conditions: []metav1.Condition{condition("Ready", metav1.ConditionTrue, emsv1.DocumentAcceptedReason), condition("Fresh", metav1.ConditionTrue, emsv1.WithinLimitsReason)},
			Document:   emsv1.AcceptedDocument{BundleName: "contoso-7", Digest: strings.Repeat("0", 64), Sequence: 7}, Mitigations: new(int32(4)), LastReadTime: at(20 * time.Minute), Push: emsv1.PushConnected,
		},
	}
}

func condition(kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, LastTransitionTime: *at(time.Hour), ObservedGeneration: 1}
}

func mitigation(id emsv1.MitigationID, kind emsv1.ActionType, severity emsv1.Severity, description string, cves ...string) emsv1.Mitigation {
	action := emsv1.MitigationAction{ID: id + ".1", Type: kind, Scope: "Server"}
	switch kind {
	case "UrlRewrite":
		action.Scope, action.Target, action.Value = "Site", "Default Web Site", "<rewrite/>"
	case "AppPool":
		action.Target, action.Value = "MSExchangeECPAppPool", "Stopped"
	}
	return emsv1.Mitigation{ObjectMeta: metav1.ObjectMeta{Name: strings.ToLower(string(id))}, Spec: emsv1.MitigationSpec{
		ID: id, Revision: 1, Severity: severity, Lifecycle: emsv1.LifecycleActive, FeedName: "contoso", BundleName: "contoso-7", Description: description, CVEs: cves,
		DocumentDigest: strings.Repeat("0", 64), ContentDigest: strings.Repeat("1", 64), Actions: []emsv1.MitigationAction{action},
	}}
}

func planned(id string, desired emsv1.DesiredState, reason, message string, revision int64) emsv1.PlannedMitigation {
	p := emsv1.PlannedMitigation{
		ID: emsv1.MitigationID(id), Desired: desired, Reason: reason, Message: message, Revision: revision,
		FeedName: "contoso", BundleName: "contoso-7", DocumentDigest: strings.Repeat("0", 64), Release: emsv1.Release{Below: new(rollout.Everything)},
	}
	if desired == emsv1.DesiredApply {
		p.Rollout = emsv1.PlanRollout{
			ID: "r" + fmt.Sprint(revision), Attempt: 1, State: emsv1.RolloutComplete, Reason: emsv1.RolloutCompleteReason, Message: "every stage has passed",
			Stage: "all", StageNumber: new(int32(1)), Stages: 1, StartTime: at(20 * time.Hour),
		}
	}
	return p
}

func counts(total, applied, failed, blocked, other int32) emsv1.ServerCounts {
	return emsv1.ServerCounts{
		Total: &total, Applied: &applied, Failed: &failed, Blocked: &blocked, Other: &other,
		Pending: new(int32), Ineffective: new(int32), NotApplicable: new(int32),
	}
}

func reported(id string, state emsv1.MitigationState, reason, message string, revision int64) emsv1.ServerMitigation {
	return emsv1.ServerMitigation{ID: emsv1.MitigationID(id), State: state, Reason: reason, Message: message, Revision: revision, ChangedTime: at(2 * time.Hour)}
}

func (f *Fleet) addPool(namespace, name string, mode emsv1.Mode, mitigations []emsv1.PlannedMitigation, servers []emsv1.ServerCounts) {
	status := emsv1.PoolMitigationConfigStatus{
		Conditions: []metav1.Condition{condition("Ready", metav1.ConditionTrue, emsv1.InSyncReason)}, Servers: servers[0].Total, Silent: new(int32),
		Summary: emsv1.PoolSummary{Mode: string(mode), InSync: fmt.Sprintf("%d/%[1]d", *servers[0].Total)},
	}
	if mode == emsv1.ModeEnforce {
		status.Conditions[0] = condition("Ready", metav1.ConditionFalse, emsv1.ServersFailedReason)
		status.Conditions[0].Message = "M2 failed on web03"
		status.Summary = emsv1.PoolSummary{Mode: string(mode), InSync: "2/3", Applied: "M1,M2,PING1", Blocked: "M3", Failed: "M2"}
	}
	for i := range mitigations {
		status.Mitigations = append(status.Mitigations, emsv1.PoolMitigationStatus{
			ID: mitigations[i].ID, Desired: mitigations[i].Desired, Reason: mitigations[i].Reason, Revision: mitigations[i].Revision, Servers: servers[i],
		})
	}
	meta := metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"tier": namespace}}
	f.Pools = append(f.Pools, emsv1.PoolMitigationConfig{ObjectMeta: meta, Spec: emsv1.PoolMitigationConfigSpec{PoolFQDN: name + ".contoso.com", Mode: mode}, Status: status})
	f.Plans = append(f.Plans, emsv1.MitigationPlan{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       emsv1.MitigationPlanSpec{Mode: mode, Placement: emsv1.PlacementApplicationHost, Mitigations: mitigations},
	})
}

func (f *Fleet) addServer(namespace, pool, name string, mitigations ...emsv1.ServerMitigation) {
	server := emsv1.PoolServer{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: emsv1.PoolServerSpec{PoolName: pool},
		Status: emsv1.PoolServerStatus{
			Conditions:  []metav1.Condition{condition("Ready", metav1.ConditionTrue, emsv1.PlanAppliedReason)},
			Facts:       emsv1.ServerFacts{Product: "ExchangeServer", Build: "15.2.2562.20", AgentVersion: "v1.0.0", OperatingSystem: "windows/amd64"},
			Mitigations: mitigations,
		},
	}
	lists := map[emsv1.MitigationState]*string{
		emsv1.StateApplied: &server.Status.Summary.Applied, emsv1.StateFailed: &server.Status.Summary.Failed, emsv1.StateRemoved: &server.Status.Summary.Blocked,
	}
	for _, m := range mitigations {
		if list := lists[m.State]; list != nil {
			*list = strings.TrimPrefix(*list+","+string(m.ID), ",")
		}
		if m.State == emsv1.StateFailed {
			server.Status.Conditions[0] = condition("Ready", metav1.ConditionFalse, emsv1.MitigationsFailedReason)
			server.Status.Conditions[0].Message = "M2: " + m.Message
		}
	}
	f.Servers = append(f.Servers, server)
}

// lists are the lists of the resources.
func (f *Fleet) lists() map[string]any {
	return map[string]any{
		"mitigationfeeds": f.Feeds, "mitigations": f.Mitigations, "poolmitigationconfigs": f.Pools, "mitigationplans": f.Plans, "poolservers": f.Servers,
	}
}

// Get reads as the API server would.
func (f *Fleet) Get(_ context.Context, resource string, key types.NamespacedName, into runtime.Object) error {
	list := reflect.ValueOf(f.lists()[resource])
	for i := range list.Len() {
		object := list.Index(i).Addr().Interface()
		if accessor, err := meta.Accessor(object); err == nil && accessor.GetNamespace() == key.Namespace && accessor.GetName() == key.Name {
			reflect.ValueOf(into).Elem().Set(list.Index(i))
			return nil
		}
	}
	return apierrors.NewNotFound(schema.GroupResource{Group: emsv1.GroupVersion.Group, Resource: resource}, key.Name)
}

// List reads as the API server would, in the wrong order.
func (f *Fleet) List(_ context.Context, resource, namespace string, into runtime.Object) error {
	list, items := reflect.ValueOf(f.lists()[resource]), reflect.ValueOf(into).Elem().FieldByName("Items")
	for i := list.Len() - 1; i >= 0; i-- {
		accessor, err := meta.Accessor(list.Index(i).Addr().Interface())
		if err != nil {
			return err
		}
		if namespace == "" || accessor.GetNamespace() == "" || accessor.GetNamespace() == namespace {
			items.Set(reflect.Append(items, list.Index(i)))
		}
	}
	return nil
}
