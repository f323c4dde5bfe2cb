package handover_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers"
	"mitigation.dev/ems/controllers/handover"
	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/internal/shard"
	"mitigation.dev/ems/test/testenv"
)

const (
	home   = "ems-system"
	europe = shard.Name("europe")
	digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

// install applies config/samples/shards as an operator does: managers have the rights from there and no others.
func install(ctx context.Context) {
	GinkgoHelper()
	const name = "admin"
	access := clientcmdapi.NewConfig()
	address := "https://" + strings.TrimPrefix(env.Config.Host, "https://")
	access.Clusters[name] = &clientcmdapi.Cluster{Server: address, CertificateAuthorityData: env.Config.CAData}
	access.AuthInfos[name] = &clientcmdapi.AuthInfo{ClientCertificateData: env.Config.CertData, ClientKeyData: env.Config.KeyData}
	access.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	access.CurrentContext = name
	dir := GinkgoT().TempDir()
	file := filepath.Join(dir, "kubeconfig")
	Expect(clientcmd.WriteToFile(*access, file)).To(Succeed())
	command := exec.CommandContext(ctx, filepath.Join(testenv.AssetsDirectory(), "kubectl"), "--cache-dir="+dir,
		"apply", "--server-side", "--force-conflicts", "-k", filepath.Join(testenv.Root(), "config", "samples", "shards"))
	command.Env = append(os.Environ(), "KUBECONFIG="+file)
	output, err := command.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(output))
}

// as is a connection of a user with the rights of that user alone.
func as(name string, groups ...string) *rest.Config {
	access := rest.CopyConfig(env.Config)
	access.QPS = -1
	access.Impersonate = rest.ImpersonationConfig{UserName: name, Groups: append(groups, "system:authenticated")}
	return access
}

func asManager() *rest.Config {
	return as("system:serviceaccount:"+home+":ems-manager", "system:serviceaccounts", "system:serviceaccounts:"+home)
}

func clientOf(access *rest.Config) client.Client {
	GinkgoHelper()
	c, err := client.New(access, client.Options{Scheme: env.Scheme})
	Expect(err).NotTo(HaveOccurred())
	return c
}

// running is a manager, with what it wrote.
type running struct {
	ctrl.Manager

	mine shard.Name
	stop func()

	mu     sync.Mutex
	writes []string
}

// wrap notes what is written.
func (r *running) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(request)
		if err == nil && request.Method != http.MethodGet && response.StatusCode < 300 {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.writes = append(r.writes, request.Method+" "+request.URL.Path)
		}
		return response, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// wrote are the writes to a resource in a namespace.
func (r *running) wrote(namespace, resource string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []string
	for _, w := range r.writes {
		if strings.Contains(w, "/namespaces/"+namespace+"/"+resource) {
			found = append(found, w)
		}
	}
	return found
}

// servers are those in the manager's cache.
func (r *running) servers(ctx context.Context) func() ([]string, error) {
	return func() ([]string, error) {
		var list emsv1.PoolServerList
		err := r.GetClient().List(ctx, &list)
		names := []string{}
		for i := range list.Items {
			names = append(names, list.Items[i].Namespace+"/"+list.Items[i].Name)
		}
		slices.Sort(names)
		return names, err
	}
}

// run runs a manager as cmd/manager does.
func run(ctx context.Context, mine shard.Name) *running {
	GinkgoHelper()
	r := &running{mine: mine}
	access := asManager()
	access.Wrap(r.wrap)
	mgr, err := ctrl.NewManager(access, ctrl.Options{
		Scheme: controllers.Scheme(), Cache: controllers.ShardCacheOptions(mine), Client: controllers.ClientOptions(), Metrics: metricsserver.Options{BindAddress: "0"},
		Logger:         GinkgoLogr.WithValues("shard", string(mine)),
		LeaderElection: true, LeaderElectionID: mine.Lease(), LeaderElectionLabels: mine.LeaseLabels(), LeaderElectionNamespace: home, LeaderElectionReleaseOnCancel: true,
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	Expect(err).NotTo(HaveOccurred())
	Expect(controllers.Setup(mgr, controllers.Options{Namespace: home, Shard: mine})).To(Succeed())
	r.Manager = mgr
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		Eventually(done).WithTimeout(time.Minute).Should(Receive())
	})
	return r
}

// site is a pool with its servers, none of which is marked.
type site struct {
	pool    *emsv1.PoolMitigationConfig
	servers []string
}

func build(ctx context.Context, of shard.Name, servers int, stages ...emsv1.RolloutStage) *site {
	GinkgoHelper()
	s := &site{pool: &emsv1.PoolMitigationConfig{
		ObjectMeta: metav1.ObjectMeta{Name: "frontends", Namespace: env.Namespace(ctx)},
		Spec:       emsv1.PoolMitigationConfigSpec{Mode: emsv1.ModeEnforce, Rollout: emsv1.RolloutSpec{Stages: stages}},
	}}
	if of != shard.Main {
		s.pool.Labels = map[string]string{emsv1.ShardLabel: string(of)}
	}
	for i := range servers {
		server := &emsv1.PoolServer{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("fe%02d", i+1), Namespace: s.pool.Namespace}, Spec: emsv1.PoolServerSpec{PoolName: s.pool.Name},
		}
		Expect(env.Client.Create(ctx, server)).To(Succeed())
		s.servers = append(s.servers, server.Namespace+"/"+server.Name)
	}
	Expect(env.Client.Create(ctx, s.pool)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) {
		Expect(env.Client.DeleteAllOf(ctx, &emsv1.PoolServer{}, client.InNamespace(s.pool.Namespace))).To(Succeed())
		Expect(env.Client.Delete(ctx, s.pool)).To(Succeed())
		Expect(env.Client.Delete(ctx, &emsv1.MitigationPlan{ObjectMeta: metav1.ObjectMeta{Namespace: s.pool.Namespace, Name: s.pool.Name}})).To(Succeed())
	})
	return s
}

// give gives the pool to a manager.
func (s *site) give(ctx context.Context, to shard.Name) {
	GinkgoHelper()
	value := "null"
	if to != shard.Main {
		value = fmt.Sprintf("%q", string(to))
	}
	patch := fmt.Sprintf(`{"metadata":{"labels":{%q:%s}}}`, emsv1.ShardLabel, value)
	Expect(env.Client.Patch(ctx, s.pool, client.RawPatch(types.MergePatchType, []byte(patch)))).To(Succeed())
}

func (s *site) plan(ctx context.Context) func() (*emsv1.MitigationPlan, error) {
	return func() (*emsv1.MitigationPlan, error) {
		plan := &emsv1.MitigationPlan{}
		return plan, env.Client.Get(ctx, client.ObjectKeyFromObject(s.pool), plan)
	}
}

// planner is whose label the plan bears; an error while there is none.
func (s *site) planner(ctx context.Context) func() (shard.Name, error) {
	return func() (shard.Name, error) {
		plan, err := s.plan(ctx)()
		return shard.Of(plan), err
	}
}

func (s *site) reason(ctx context.Context) func() (string, error) {
	return func() (string, error) {
		err := env.Client.Get(ctx, client.ObjectKeyFromObject(s.pool), s.pool)
		return conditions.Current(s.pool.Status.Conditions).Reason, err
	}
}

var _ = Describe("Two managers on one API server", Ordered, func() {
	var main, other *running
	var mitigation *emsv1.Mitigation

	BeforeAll(func(ctx SpecContext) {
		ctrl.SetLogger(GinkgoLogr)
		install(ctx)
		mitigation = &emsv1.Mitigation{
			ObjectMeta: metav1.ObjectMeta{Name: "m1"},
			Spec: emsv1.MitigationSpec{
				ID: "M1", Revision: 1, Lifecycle: emsv1.LifecycleActive, FeedName: "exchange", BundleName: "exchange-0123456789ab",
				DocumentDigest: digest, ContentDigest: digest, Actions: []emsv1.MitigationAction{{ID: "M1.1", Type: "UrlRewrite", Scope: "Site"}},
			},
		}
		Expect(env.Client.Create(ctx, mitigation)).To(Succeed())
		main, other = run(ctx, shard.Main), run(ctx, europe)
		DeferCleanup(func() { main.stop(); other.stop() })
		<-main.Elected()
		<-other.Elected()
	})

	It("lets each plan and keep its own pools, and hands new servers over", func(ctx SpecContext) {
		here, there := build(ctx, shard.Main, 3), build(ctx, europe, 4)
		Eventually(here.planner(ctx)).Should(Equal(shard.Main))
		Eventually(there.planner(ctx)).Should(Equal(europe))
		Eventually(main.servers(ctx)).Should(Equal(here.servers))
		Eventually(other.servers(ctx)).Should(Equal(there.servers))
		Eventually(func(g Gomega) {
			for _, s := range []*site{here, there} {
				g.Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(s.pool), s.pool)).To(Succeed())
				g.Expect(s.pool.Status.Servers).To(HaveValue(BeEquivalentTo(len(s.servers))))
			}
		}).Should(Succeed())
		for _, wrong := range [][]string{
			main.wrote(there.pool.Namespace, "mitigationplans"), main.wrote(there.pool.Namespace, "poolmitigationconfigs"),
			other.wrote(here.pool.Namespace, "mitigationplans"), other.wrote(here.pool.Namespace, "poolmitigationconfigs"), other.wrote(here.pool.Namespace, "poolservers"),
		} {
			Expect(wrong).To(BeEmpty(), "a manager wrote what is the other's")
		}
		Expect(main.wrote(there.pool.Namespace, "poolservers")).To(HaveLen(4), "each server is handed over once")

		By("having the names of all Leases, and nothing more of them")
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
			Namespace: there.pool.Namespace, Name: "fe01", Labels: map[string]string{"ems.mitigation.dev/server": "fe01"}, Annotations: map[string]string{"a": "b"},
		}}
		Expect(env.Client.Create(ctx, lease)).To(Succeed())
		for _, m := range []*running{main, other} {
			Eventually(func(g Gomega) {
				kept := &metav1.PartialObjectMetadata{}
				kept.SetGroupVersionKind(coordinationv1.SchemeGroupVersion.WithKind("Lease"))
				g.Expect(m.GetClient().Get(ctx, client.ObjectKeyFromObject(lease), kept)).To(Succeed())
				g.Expect(kept.ResourceVersion).To(Equal(lease.ResourceVersion))
				g.Expect(kept.Annotations).To(BeEmpty())
			}).Should(Succeed())
		}
	})

	It("goes on with a rollout when a pool moves", func(ctx SpecContext) {
		s := build(ctx, shard.Main, 8, emsv1.RolloutStage{Name: "canary", ServerNames: []string{"fe01"}},
			emsv1.RolloutStage{Name: "all", Servers: new(intstr.FromString("100%")), Approval: emsv1.ApprovalBefore})
		report := func(name string) {
			GinkgoHelper()
			Eventually(func(g Gomega) {
				plan, err := s.plan(ctx)()
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(plan.Spec.Mitigations).To(HaveLen(1))
				g.Expect(plan.Spec.Mitigations[0].Rollout.StageNumber).NotTo(BeNil())
				server := &emsv1.PoolServer{}
				g.Expect(env.Client.Get(ctx, client.ObjectKey{Namespace: s.pool.Namespace, Name: name}, server)).To(Succeed())
				server.Status.ObservedGeneration, server.Status.ObservedPlanGeneration = new(server.Generation), plan.Generation
				server.Status.Mitigations = []emsv1.ServerMitigation{{
					ID: "M1", Revision: 1, State: emsv1.StateApplied, Reason: "Enabled", Effective: emsv1.EffectiveTrue,
					Gate: emsv1.ServerGate{Rollout: plan.Spec.Mitigations[0].Rollout.ID, Verdict: emsv1.GatePassed},
				}}
				conditions.Set(&server.Status.Conditions, server.Generation, conditions.Done(emsv1.PlanAppliedReason, "all is as the plan wants it"))
				g.Expect(env.Client.Status().Update(ctx, server)).To(Succeed())
			}).Should(Succeed())
		}
		report("fe01")
		Eventually(s.reason(ctx)).Should(Equal(emsv1.AwaitingApprovalReason))
		before, err := s.plan(ctx)()
		Expect(err).NotTo(HaveOccurred())
		history := len(s.pool.Status.History)

		s.give(ctx, europe)
		Eventually(s.planner(ctx)).Should(Equal(europe))
		after, err := s.plan(ctx)()
		Expect(err).NotTo(HaveOccurred())
		Expect(after.Generation).To(Equal(before.Generation), "the rollout is where it was: %+v", after.Spec.Mitigations)
		Eventually(other.servers(ctx)).Should(Equal(s.servers))
		Eventually(main.servers(ctx)).Should(BeEmpty())
		Eventually(s.reason(ctx)).Should(Equal(emsv1.AwaitingApprovalReason))
		Expect(s.pool.Status.Servers).To(HaveValue(BeEquivalentTo(8)))
		Expect(s.pool.Status.History).To(HaveLen(history))

		By("releasing the next stage from where it is now")
		written := len(main.wrote(s.pool.Namespace, "mitigationplans"))
		Expect(env.Client.Patch(ctx, s.pool, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"approved":[{"id":"M1","reason":"looked at it"}]}}`)))).To(Succeed())
		Eventually(func() (string, error) {
			plan, err := s.plan(ctx)()
			if err != nil || len(plan.Spec.Mitigations) == 0 {
				return "", err
			}
			return plan.Spec.Mitigations[0].Rollout.Stage, nil
		}).Should(Equal("all"))
		Expect(main.wrote(s.pool.Namespace, "mitigationplans")).To(HaveLen(written), "the manager that had the pool plans it no longer")

		By("going back")
		s.give(ctx, shard.Main)
		Eventually(s.planner(ctx)).Should(Equal(shard.Main))
		Eventually(main.servers(ctx)).Should(Equal(s.servers))
		Eventually(other.servers(ctx)).Should(BeEmpty())
	})

	It("has a silent server noticed by the manager of its pool", func(ctx SpecContext) {
		here, there := build(ctx, shard.Main, 1), build(ctx, europe, 1)
		for of, s := range map[shard.Name]*site{shard.Main: here, europe: there} {
			// How long a server may be silent stands in the plan.
			Eventually(s.planner(ctx)).Should(Equal(of))
			Expect(env.Client.Create(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
				Namespace: s.pool.Namespace, Name: "fe01", Labels: map[string]string{"ems.mitigation.dev/server": "fe01"},
			}})).To(Succeed())
		}
		silent := func(s *site) func() (string, error) {
			return func() (string, error) {
				server := &emsv1.PoolServer{}
				err := env.Client.Get(ctx, client.ObjectKey{Namespace: s.pool.Namespace, Name: "fe01"}, server)
				return conditions.Current(server.Status.Conditions).Reason, err
			}
		}
		for _, s := range []*site{here, there} {
			// Four periods of ten seconds.
			Eventually(silent(s)).WithTimeout(90 * time.Second).Should(Equal(emsv1.AgentSilentReason))
		}
		Expect(main.wrote(here.pool.Namespace, "poolservers/fe01/status")).To(HaveLen(1))
		Expect(other.wrote(there.pool.Namespace, "poolservers/fe01/status")).To(HaveLen(1))
		Expect(slices.Concat(main.wrote(there.pool.Namespace, "poolservers/fe01/status"), other.wrote(here.pool.Namespace, "poolservers/fe01/status"))).To(BeEmpty())
	})

	It("tells a pool that its manager is gone, and finds the servers that it left", func(ctx SpecContext) {
		s := build(ctx, europe, 3)
		Eventually(s.planner(ctx)).Should(Equal(europe))
		Eventually(other.servers(ctx)).Should(Equal(s.servers))
		clock := clocktesting.NewFakeClock(time.Now())
		watch := &handover.Watch{Client: clientOf(asManager()), Reader: clientOf(asManager()), Recorder: events.NewFakeRecorder(10), Namespace: home, Clock: clock}
		look := func() {
			GinkgoHelper()
			clock.Step(20 * time.Second)
			Expect(watch.Look(ctx)).To(Succeed())
		}
		renewed := func() (string, error) {
			lease := &coordinationv1.Lease{}
			err := env.Client.Get(ctx, client.ObjectKey{Namespace: home, Name: europe.Lease()}, lease)
			return lease.ResourceVersion, err
		}
		for range 6 {
			before, err := renewed()
			Expect(err).NotTo(HaveOccurred())
			Eventually(renewed).ShouldNot(Equal(before))
			look()
		}
		Expect(s.reason(ctx)()).NotTo(Equal(emsv1.NoManagerReason))

		other.stop()
		for range 4 {
			look()
		}
		Expect(s.reason(ctx)()).To(Equal(emsv1.NoManagerReason))
		s.give(ctx, shard.Main)
		look()
		Eventually(s.planner(ctx)).Should(Equal(shard.Main))
		Eventually(main.servers(ctx)).Should(Equal(s.servers))
		Eventually(s.reason(ctx)).ShouldNot(Equal(emsv1.NoManagerReason))
	})

	It("lets managers change one label of a server, and nobody else that one", func(ctx SpecContext) {
		s := build(ctx, shard.Main, 1)
		Expect(env.Client.Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "enrollers", Namespace: s.pool.Namespace}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "ems-enroller"},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "erin"}},
		})).To(Succeed())
		Expect(env.Client.Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "agents", Namespace: s.pool.Namespace}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "ems-agent"},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:serviceaccounts:" + s.pool.Namespace}},
		})).To(Succeed())
		manager, erin := clientOf(asManager()), clientOf(as("erin"))
		agent := clientOf(as("system:serviceaccount:"+s.pool.Namespace+":fe01", "system:serviceaccounts", "system:serviceaccounts:"+s.pool.Namespace))
		patch := func(who client.Client, text string, options ...client.PatchOption) error {
			server := &emsv1.PoolServer{ObjectMeta: metav1.ObjectMeta{Namespace: s.pool.Namespace, Name: "fe01"}}
			return who.Patch(ctx, server, client.RawPatch(types.MergePatchType, []byte(text)), append(options, client.DryRunAll)...)
		}
		const mark, unmarked = `{"metadata":{"labels":{"ems.mitigation.dev/shard":"europe"}}}`, `{"metadata":{"labels":{"ems.mitigation.dev/shard":null}}}`
		for name, tc := range map[string]struct {
			who     client.Client
			patch   string
			allowed bool
		}{
			"the manager marks":                            {manager, mark, true},
			"the manager takes the mark away":              {manager, unmarked, true},
			"the manager gives another label":              {manager, `{"metadata":{"labels":{"ems.mitigation.dev/shard":"europe","tier":"x"}}}`, false},
			"the manager gives an annotation":              {manager, `{"metadata":{"annotations":{"a":"b"}}}`, false},
			"the manager gives a finalizer":                {manager, `{"metadata":{"finalizers":["a.b/c"]}}`, false},
			"the manager moves the server to another pool": {manager, `{"spec":{"poolName":"others"}}`, false},
			"who enrols marks":                             {erin, mark, false},
			"who enrols gives another label":               {erin, `{"metadata":{"labels":{"tier":"x"}}}`, true},
			"who enrols gives a host name":                 {erin, `{"spec":{"hostName":"fe01.contoso.com"}}`, true},
			"the agent marks":                              {agent, mark, false},
		} {
			err := patch(tc.who, tc.patch)
			if tc.allowed {
				Expect(err).NotTo(HaveOccurred(), name)
			} else {
				Expect(apierrors.IsForbidden(err)).To(BeTrue(), "%s: %v", name, err)
			}
		}

		By("dropping a label that an agent sends with its status")
		server := &emsv1.PoolServer{ObjectMeta: metav1.ObjectMeta{Namespace: s.pool.Namespace, Name: "fe01"}}
		Expect(agent.Status().Patch(ctx, server, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"ems.mitigation.dev/shard":"europe"}},"status":{"observedPlanGeneration":1}}`)))).To(Succeed())
		Expect(server.Labels).NotTo(HaveKey(emsv1.ShardLabel))

		By("letting who enrols make a server that is marked, and the manager none")
		made := &emsv1.PoolServer{ObjectMeta: metav1.ObjectMeta{Namespace: s.pool.Namespace, Name: "fe02", Labels: map[string]string{emsv1.ShardLabel: "europe"}}, Spec: emsv1.PoolServerSpec{PoolName: "frontends"}}
		Expect(erin.Create(ctx, made.DeepCopy(), client.DryRunAll)).To(Succeed())
		Expect(apierrors.IsForbidden(manager.Create(ctx, made.DeepCopy(), client.DryRunAll))).To(BeTrue())
		Expect(apierrors.IsForbidden(manager.Delete(ctx, server, client.DryRunAll))).To(BeTrue())
		Expect(apierrors.IsForbidden(manager.Patch(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: s.pool.Namespace, Name: "fe01"}},
			client.RawPatch(types.MergePatchType, []byte(mark))))).To(BeTrue(), "no right to Leases of servers")
	})
})
