package incidents_test

import (
	"context"
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/rewrite"
	"mitigation.dev/ems/test/harness"
)

// serve lets the endpoint serve a document, and returns what the feed says of it.
func serve(ctx context.Context, document []byte) *emsv1.MitigationFeed {
	GinkgoHelper()
	env.Endpoint.Serve(document)
	feed, err := env.Poll(ctx, feedName, limit)
	Expect(err).NotTo(HaveOccurred())
	return feed
}

// publish lets the endpoint serve a good document.
func publish(ctx context.Context, configs ...ocs.Config) {
	GinkgoHelper()
	document, err := env.Publisher.Publish(configs...)
	Expect(err).NotTo(HaveOccurred())
	Expect(reasonOf(serve(ctx, document))).To(Equal(emsv1.DocumentAcceptedReason))
}

// settle brings the pool to where every test begins: PING1 and M1 are everywhere, and nothing else.
func settle(ctx SpecContext) {
	GinkgoHelper()
	publish(ctx, harness.PING1(), harness.M1())
	Eventually(rolloutOf(ctx, "M1")).WithContext(ctx).Should(haveState(1, emsv1.RolloutComplete))
	for _, s := range servers {
		Eventually(s.RuleNames).WithContext(ctx).Should(ConsistOf(HavePrefix("EMS M1.1 ")), s.Name)
	}
}

func reasonOf(feed *emsv1.MitigationFeed) string {
	ready := meta.FindStatusCondition(feed.Status.Conditions, emsv1.ReadyCondition)
	if ready == nil {
		return ""
	}
	return ready.Reason
}

// rolloutOf reads how far a mitigation has come in the pool.
func rolloutOf(ctx context.Context, id string) func(Gomega) emsv1.PoolMitigationStatus {
	return func(g Gomega) emsv1.PoolMitigationStatus {
		var config emsv1.PoolMitigationConfig
		g.Expect(env.Client.Get(ctx, client.ObjectKey{Namespace: pool.Namespace, Name: pool.Name}, &config)).To(Succeed())
		for _, m := range config.Status.Mitigations {
			if string(m.ID) == id {
				return m
			}
		}
		return emsv1.PoolMitigationStatus{}
	}
}

// haveState matches the state of a rollout at a revision.
func haveState(revision int64, state emsv1.RolloutState) OmegaMatcher {
	return And(HaveField("Revision", revision), HaveField("Rollout.State", state))
}

// outcomes are what becomes of a request on every server.
func outcomes(target string) func(Gomega) []rewrite.Outcome {
	return func(g Gomega) []rewrite.Outcome {
		var list []rewrite.Outcome
		for _, s := range servers {
			result, err := s.Request("GET", target)
			g.Expect(err).NotTo(HaveOccurred())
			list = append(list, result.Outcome)
		}
		return list
	}
}

// state is what must not change: the files of the servers, and the processes.
type state struct {
	files     map[string]harness.Snapshot
	processes map[string]int
}

func stateOf() state {
	GinkgoHelper()
	now := state{files: map[string]harness.Snapshot{}, processes: map[string]int{"manager": env.Manager.Pid()}}
	for _, s := range servers {
		snapshot, err := s.Snapshot()
		Expect(err).NotTo(HaveOccurred())
		now.files[s.Name] = snapshot
		now.processes[s.Agent.Name] = s.Agent.Pid()
	}
	return now
}

// differences lists the files that are different, on the servers that are asked for.
func (s state) differences(which func(name string) bool) func(Gomega) []string {
	return func(g Gomega) []string {
		var all []string
		for _, server := range servers {
			if !which(server.Name) {
				continue
			}
			now, err := server.Snapshot()
			g.Expect(err).NotTo(HaveOccurred())
			for _, d := range now.Differences(s.files[server.Name]) {
				all = append(all, server.Name+": "+d)
			}
		}
		return all
	}
}

func outsideOfTheFirstStage(name string) bool { return name != canary }

func anywhere(string) bool { return true }

// expectNoCrash checks that every process is the one that it was.
func (s state) expectNoCrash() {
	GinkgoHelper()
	for _, p := range append([]*harness.Process{env.Manager}, agents()...) {
		Expect(p.Running()).To(BeTrue(), p.Name)
		Expect(p.Pid()).To(Equal(s.processes[p.Name]), fmt.Sprintf("%s was started again", p.Name))
	}
}

func agents() []*harness.Process {
	var list []*harness.Process
	for _, s := range servers {
		list = append(list, s.Agent)
	}
	return list
}

// global is the policy of the organisation with its kill switch in a position.
func global(suspend emsv1.SuspendMode) *emsv1.MitigationConfiguration {
	return &emsv1.MitigationConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: emsv1.GlobalConfigurationName}, Spec: emsv1.MitigationConfigurationSpec{Suspend: suspend},
	}
}
