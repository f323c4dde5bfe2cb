// Package insighttest has a small fleet for the tests of the commands that look. Its plans are made by the planner, from the objects,
// as the manager makes them.
//
// # Usage
//
//	fleet := insighttest.New()
//	fleet.Halt("frontends", "mail")
//
// # Considerations
//
// It is a package and no test file because five packages test with it.
package insighttest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"reflect"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/insight"
	"mitigation.dev/ems/internal/policy/fromapi"
	"mitigation.dev/ems/internal/rollout"
)

// Evening is when the tests look.
var Evening = time.Date(2026, 5, 14, 20, 0, 0, 0, time.UTC)

// At is a time before Evening as the API has it.
func At(before time.Duration) *metav1.Time { return new(metav1.NewTime(Evening.Add(-before))) }

// Fleet is one that can be changed.
type Fleet struct{ insight.Fleet }

// New is an organisation of two rings: pool pilots/lab of two servers, frontends/mail of six and branches/shop of four, with
// mitigations M1 (revision 3, of profile Fast) and M2, which the organisation blocks. Everything is applied.
func New() *Fleet {
	f := &Fleet{}
	f.Now = Evening.Add(-6 * time.Hour)
	f.Feeds = []emsv1.MitigationFeed{feed()}
	f.Mitigations = []emsv1.Mitigation{mitigation("M1", "Critical", "blocks the requests that exploit the hole in PowerShell remoting"), mitigation("M2", "Important", "adds a Content-Security-Policy to OWA")}
	f.Mitigations[0].Spec.CVEs = []string{"CVE-2026-41040"}
	ring := func(name string) emsv1.Ring {
		return emsv1.Ring{Name: name, PoolSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"ring": name}}}
	}
	f.Configurations = []emsv1.MitigationConfiguration{{
		ObjectMeta: metav1.ObjectMeta{Name: emsv1.GlobalConfigurationName, Generation: 1},
		Spec: emsv1.MitigationConfigurationSpec{
			Rings:   []emsv1.Ring{ring("pilot"), ring("broad")},
			Blocked: []emsv1.Exception{{ID: "M2", Reason: "breaks the print calendar", Owner: "mail team", ExpiryTime: new(metav1.NewTime(Evening.Add(5 * 24 * time.Hour)))}},
		},
	}}
	f.pool("pilots", "lab", "pilot", 2)
	f.pool("frontends", "mail", "broad", 6)
	f.pool("branches", "shop", "broad", 4)
	for range 40 {
		f.Manage()
		f.Report()
		f.Now = f.Now.Add(5 * time.Minute)
	}
	f.Now = Evening
	f.Manage()
	f.Report()
	return f
}

func feed() emsv1.MitigationFeed {
	return emsv1.MitigationFeed{
		ObjectMeta: metav1.ObjectMeta{Name: "contoso", Generation: 1},
		Spec: emsv1.MitigationFeedSpec{
			URL: "https://mitigations.contoso.com/getexchangemitigations", Product: "ExchangeServer", Trust: emsv1.TrustPolicy{Roots: root()},
		},
		Status: emsv1.MitigationFeedStatus{
			Conditions: []metav1.Condition{
				{Type: "Fresh", Status: "True", Reason: emsv1.WithinLimitsReason, LastTransitionTime: *At(48 * time.Hour)},
				{Type: "Ready", Status: "True", Reason: emsv1.DocumentAcceptedReason, Message: "2 mitigations of sequence 12", LastTransitionTime: *At(6 * time.Hour)},
				{Type: emsv1.TrustAnchorsCurrentCondition, Status: "True", Reason: emsv1.AnchorsCurrentReason, LastTransitionTime: *At(48 * time.Hour)},
			},
			Document: emsv1.AcceptedDocument{
				BundleName: "contoso-12", Digest: strings.Repeat("5e", 32), Version: "1.1.0", Publisher: "Contoso", Sequence: 12,
				Signer: "CN=Contoso Mitigations", SignedTime: At(6*time.Hour + 10*time.Minute), AcceptedTime: At(6 * time.Hour),
				SignerExpiryTime: new(metav1.NewTime(Evening.Add(90 * 24 * time.Hour))),
			},
			HighestSequence: 12, Mitigations: new(int32(2)), LastReadTime: At(25 * time.Minute), Push: emsv1.PushConnected,
		},
	}
}

// root is a certificate that ends 88 days after Evening.
func root() string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Contoso Root"}, NotBefore: Evening.AddDate(-1, 0, 0), NotAfter: Evening.AddDate(0, 0, 88),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func mitigation(id emsv1.MitigationID, severity emsv1.Severity, description string) emsv1.Mitigation {
	return emsv1.Mitigation{
		ObjectMeta: metav1.ObjectMeta{Name: strings.ToLower(string(id)), Generation: 1, CreationTimestamp: *At(20 * 24 * time.Hour)},
		Spec: emsv1.MitigationSpec{
			ID: id, Revision: 3, Severity: severity, Lifecycle: emsv1.LifecycleActive, FeedName: "contoso", BundleName: "contoso-12",
			DocumentDigest: strings.Repeat("5e", 32), ContentDigest: strings.Repeat("ab", 32), Description: description,
			Applicability: []emsv1.AffectedProduct{{Name: "ExchangeServer", Role: "Mailbox", Branches: []emsv1.AffectedBranch{{From: "15.2.1544.4", FixedIn: "15.2.1748.40"}}}},
			Actions: []emsv1.MitigationAction{
				{ID: id + ".1", Type: "UrlRewrite", Scope: "Site", Target: "Default Web Site", Description: "PowerShell - inbound"},
				{ID: id + ".2", Type: "AppPool", Scope: "Server", Target: "MSExchangeSyncAppPool", Value: "Stopped"},
			},
			SideEffects: []string{"Remote PowerShell from outside stops working"},
			Samples: []emsv1.MitigationSample{
				{Expect: "Blocked", Request: emsv1.SampleRequest{URL: "/autodiscover/autodiscover.json?a..foo.var/powershell"}},
				{Expect: "Blocked", Request: emsv1.SampleRequest{URL: "/powershell"}}, {Expect: "Passed", Request: emsv1.SampleRequest{URL: "/owa/"}},
			},
		},
		Status: emsv1.MitigationStatus{Conditions: []metav1.Condition{
			{Type: "Ready", Status: "True", Reason: emsv1.AppliedReason, Message: "every server that should have it has it", LastTransitionTime: *At(5 * time.Hour)},
		}},
	}
}

// pool adds a pool with servers that do nothing yet.
func (f *Fleet) pool(namespace, name, ring string, servers int) {
	f.Pools = append(f.Pools, emsv1.PoolMitigationConfig{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Generation: 1, Labels: map[string]string{"ring": ring}},
		Spec:       emsv1.PoolMitigationConfigSpec{PoolFQDN: name + ".contoso.com", Mode: emsv1.ModeEnforce, Rollout: emsv1.RolloutSpec{Profile: emsv1.ProfileFast}},
		Status: emsv1.PoolMitigationConfigStatus{
			Servers:    new(int32(servers)), //nolint:gosec // a handful
			Conditions: []metav1.Condition{{Type: "Ready", Status: "True", Reason: emsv1.InSyncReason, Message: "all servers are in sync with the plan", LastTransitionTime: *At(5 * time.Hour)}},
			Summary:    emsv1.PoolSummary{Mode: "Enforce", InSync: fmt.Sprintf("%d/%d", servers, servers), Applied: "M1", Blocked: "M2"},
		},
	})
	for i := range servers {
		f.Servers = append(f.Servers, emsv1.PoolServer{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("%s%02d", name, i+1)},
			Spec:       emsv1.PoolServerSpec{PoolName: name, HostName: fmt.Sprintf("%s%02d.contoso.com", name, i+1)},
			Status: emsv1.PoolServerStatus{
				Facts: emsv1.ServerFacts{
					Product: "ExchangeServer", Role: "Mailbox", Build: "15.2.1748.10", RewriteModule: "Present", AgentVersion: "v0.4.0", OperatingSystem: "windows/amd64",
				},
				Feeds:      []emsv1.ObservedFeed{{Name: "contoso", Sequence: 12}},
				Conditions: []metav1.Condition{{Type: "Ready", Status: "True", Reason: emsv1.PlanAppliedReason, Message: "the server is as the plan wants it", LastTransitionTime: *At(5 * time.Hour)}},
			},
		})
	}
}

// Server finds a server.
func (f *Fleet) Server(namespace, name string) *emsv1.PoolServer {
	for i := range f.Servers {
		if f.Servers[i].Namespace == namespace && f.Servers[i].Name == name {
			return &f.Servers[i]
		}
	}
	panic("no server " + name)
}

// Manage makes all plans as the manager does, and puts what happened into the pools.
func (f *Fleet) Manage() {
	for i := range f.Pools {
		pool := &f.Pools[i]
		fresh := insight.Fleet{Now: f.Now, Feeds: f.Feeds, Mitigations: f.Mitigations, Configurations: f.Configurations, Pools: f.Pools, Plans: f.Plans, Servers: f.Servers}
		o, err := fresh.Of(pool)
		if err != nil {
			panic(err)
		}
		made := rollout.Make(o.Input())
		spec := emsv1.MitigationPlanSpec{Mode: pool.Spec.GetMode()}
		pool.Status.Mitigations = nil
		for j := range made.Entries {
			e := &made.Entries[j]
			planned := fromapi.Planned(e)
			spec.Mitigations = append(spec.Mitigations, planned)
			progress := rollout.ProgressOf(*e, fromapi.Servers(o.Servers))
			number := func(n int) *int32 { return new(int32(n)) } //nolint:gosec // a handful
			status := emsv1.PoolMitigationStatus{
				ID: planned.ID, Desired: planned.Desired, Reason: planned.Reason, Revision: planned.Revision, Failing: progress.Failing,
				Servers: emsv1.ServerCounts{
					Total: number(progress.Servers), Applied: number(progress.Passed), Pending: number(0), Failed: number(progress.Failed),
					Ineffective: number(0), Blocked: number(0), NotApplicable: number(0), Other: number(0),
				},
				Rollout: emsv1.PoolRolloutStatus{Attempt: planned.Rollout.Attempt, Released: number(progress.Released), Passed: number(progress.Passed), Failed: number(progress.Failed)},
			}
			pool.Status.Mitigations = append(pool.Status.Mitigations, status)
			f.remember(pool, &planned)
		}
		f.keep(pool, spec)
	}
}

// remember puts a transition into a pool's history.
func (f *Fleet) remember(pool *emsv1.PoolMitigationConfig, m *emsv1.PlannedMitigation) {
	if m.Transition.Action == "" {
		return
	}
	entry := emsv1.PoolHistoryEntry{
		Time: m.Transition.Time, ID: m.ID, Revision: m.Revision, Attempt: m.Rollout.Attempt, Action: m.Transition.Action, By: m.Transition.By, Message: m.Transition.Message,
	}
	for _, known := range pool.Status.History {
		if reflect.DeepEqual(known, entry) {
			return
		}
	}
	pool.Status.History = append(pool.Status.History, entry)
}

// keep writes a plan, with a new generation if it says something else.
func (f *Fleet) keep(pool *emsv1.PoolMitigationConfig, spec emsv1.MitigationPlanSpec) {
	for i := range f.Plans {
		p := &f.Plans[i]
		if p.Namespace != pool.Namespace || p.Name != pool.Name {
			continue
		}
		if !reflect.DeepEqual(p.Spec, spec) {
			p.Spec = spec
			p.Generation++
		}
		return
	}
	f.Plans = append(f.Plans, emsv1.MitigationPlan{ObjectMeta: metav1.ObjectMeta{Namespace: pool.Namespace, Name: pool.Name, Generation: 1}, Spec: spec})
}

// Report makes every server follow its plan without trouble, but for those that report something else already.
func (f *Fleet) Report() {
	for i := range f.Servers {
		s := &f.Servers[i]
		pool := f.Pool(types.NamespacedName{Namespace: s.Namespace, Name: s.Spec.PoolName})
		plan := f.Plan(pool)
		s.Status.ObservedPlanGeneration = plan.Generation
		var said []emsv1.ServerMitigation
		for j := range plan.Spec.Mitigations {
			said = append(said, follow(s, &plan.Spec.Mitigations[j]))
		}
		s.Status.Mitigations = said
	}
}

func follow(s *emsv1.PoolServer, planned *emsv1.PlannedMitigation) emsv1.ServerMitigation {
	entry := fromapi.Entry(planned)
	before := insight.Reported(s, string(planned.ID))
	m := emsv1.ServerMitigation{ID: planned.ID, State: emsv1.StateRemoved, Reason: planned.Reason, ChangedTime: At(5 * time.Hour)}
	switch {
	case before != nil && before.Gate.Verdict == emsv1.GateFailed:
		return *before
	case planned.Desired == emsv1.DesiredApply && entry.Release.Includes(s.Name, entry.ID):
		m.State, m.Revision, m.Effective = emsv1.StateApplied, planned.Revision, emsv1.EffectiveTrue
		m.Gate = emsv1.ServerGate{Rollout: planned.Rollout.ID, Verdict: emsv1.GatePassed}
	case planned.Desired == emsv1.DesiredApply:
		m.State, m.Reason = emsv1.StateHeld, planned.Rollout.Reason
	}
	return m
}

// Halt brings revision 4 of M1, which frontends/mail does not bear: mail03 has the old one, mail05 is silent.
func (f *Fleet) Halt() *Fleet {
	m := &f.Mitigations[0]
	m.Spec.Revision, m.Spec.ContentDigest = 4, strings.Repeat("cd", 32)
	m.Status.Conditions[0] = metav1.Condition{Type: "Ready", Status: "False", Reason: emsv1.RolloutHaltedReason, Message: "halted in pool frontends/mail", LastTransitionTime: *At(24 * time.Minute)}
	f.Now = Evening.Add(-30 * time.Minute)
	failed := false
	for range 12 {
		f.Manage()
		for i := range f.Servers {
			s := &f.Servers[i]
			plan := f.Plan(f.Pool(types.NamespacedName{Namespace: s.Namespace, Name: s.Spec.PoolName}))
			if entry := fromapi.Entry(&plan.Spec.Mitigations[0]); s.Spec.PoolName == "mail" && !failed && entry.Revision == 4 && entry.Release.Includes(s.Name, "M1") {
				failed = true
				const why = `http check "owa": status 500, was 200`
				s.Status.Mitigations[0] = emsv1.ServerMitigation{
					ID: "M1", State: emsv1.StateFailed, Reason: "GateFailed", Message: why, Revision: 3, Gate: emsv1.ServerGate{Rollout: entry.Rollout.ID, Verdict: emsv1.GateFailed, Message: why},
				}
				s.Status.Conditions[0] = metav1.Condition{Type: "Ready", Status: "False", Reason: emsv1.MitigationsFailedReason, Message: "M1: " + why, LastTransitionTime: metav1.NewTime(f.Now)}
			}
		}
		f.Report()
		f.Now = f.Now.Add(2 * time.Minute)
	}
	f.Now = Evening
	f.Manage()
	s := f.Server("frontends", "mail05")
	s.Status.Conditions[0] = metav1.Condition{
		Type: "Ready", Status: "Unknown", Reason: emsv1.AgentSilentReason, Message: "the agent has not shown for 20m that it is alive", LastTransitionTime: *At(20 * time.Minute),
	}
	mail := f.Pool(types.NamespacedName{Namespace: "frontends", Name: "mail"})
	mail.Status.Silent = new(int32(1))
	mail.Status.Conditions[0] = metav1.Condition{Type: "Ready", Status: "False", Reason: emsv1.RolloutHaltedReason, Message: "M1 revision 4 halted", LastTransitionTime: *At(25 * time.Minute)}
	return f
}

// Reader gives the objects out as a cluster does.
func (f *Fleet) Reader() *Reader { return &Reader{fleet: f, Forbidden: map[string]bool{}} }

// Reader implements fleet.Reader.
type Reader struct {
	fleet *Fleet
	// Forbidden has "resource" for lists of the cluster, and "resource NAMESPACE".
	Forbidden map[string]bool
}

// Get implements fleet.Reader.
func (r *Reader) Get(_ context.Context, resource string, key types.NamespacedName, into runtime.Object) error {
	for _, object := range r.objects(resource) {
		accessor, err := meta.Accessor(object)
		if err != nil {
			return err
		}
		if accessor.GetNamespace() == key.Namespace && accessor.GetName() == key.Name {
			reflect.ValueOf(into).Elem().Set(reflect.ValueOf(object).Elem())
			return nil
		}
	}
	return apierrors.NewNotFound(emsv1.GroupVersion.WithResource(resource).GroupResource(), key.Name)
}

// List implements fleet.Reader.
func (r *Reader) List(_ context.Context, resource, namespace string, into runtime.Object) error {
	if r.Forbidden[strings.TrimSpace(resource+" "+namespace)] {
		return apierrors.NewForbidden(emsv1.GroupVersion.WithResource(resource).GroupResource(), "", fmt.Errorf("no rights"))
	}
	var kept []runtime.Object
	for _, object := range r.objects(resource) {
		if accessor, err := meta.Accessor(object); err != nil || namespace != "" && accessor.GetNamespace() != namespace {
			continue
		}
		kept = append(kept, object)
	}
	return meta.SetList(into, kept)
}

func (r *Reader) objects(resource string) []runtime.Object {
	var out []runtime.Object
	switch resource {
	case insight.Feeds:
		out = pointers[emsv1.MitigationFeed, *emsv1.MitigationFeed](r.fleet.Feeds)
	case insight.Mitigations:
		out = pointers[emsv1.Mitigation, *emsv1.Mitigation](r.fleet.Mitigations)
	case insight.Configurations:
		out = pointers[emsv1.MitigationConfiguration, *emsv1.MitigationConfiguration](r.fleet.Configurations)
	case insight.Pools:
		out = pointers[emsv1.PoolMitigationConfig, *emsv1.PoolMitigationConfig](r.fleet.Pools)
	case insight.Plans:
		out = pointers[emsv1.MitigationPlan, *emsv1.MitigationPlan](r.fleet.Plans)
	case insight.Servers:
		out = pointers[emsv1.PoolServer, *emsv1.PoolServer](r.fleet.Servers)
	}
	return out
}

func pointers[T any, P interface {
	*T
	runtime.Object
}](list []T) []runtime.Object {
	var out []runtime.Object
	for i := range list {
		out = append(out, P(&list[i]).DeepCopyObject())
	}
	return out
}

// Namespace is one of that name.
func Namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// Key is that of an object.
func (f *Fleet) Key(namespace, name string) types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: name}
}
