package measure

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/members"
	"mitigation.dev/ems/internal/shard"
)

var _ = Describe("Watching pools", func() {
	It("counts how servers stand and what they report, and forgets a pool that is deleted", func(ctx context.Context) {
		namespace := env.Namespace(ctx)
		key := types.NamespacedName{Namespace: namespace, Name: "frontend"}
		pool := &emsv1.PoolMitigationConfig{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: key.Name}}
		pool.Spec.PoolFQDN = "frontend.contoso.com"
		Expect(env.Client.Create(ctx, pool)).To(Succeed())
		for _, name := range []string{"fe01", "fe02"} {
			one := &emsv1.PoolServer{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
			one.Spec.PoolName, one.Spec.HostName = key.Name, name+".contoso.com"
			Expect(env.Client.Create(ctx, one)).To(Succeed())
		}
		stop := env.RunManager(ctx, func(mgr ctrl.Manager) error {
			if err := members.Index(ctx, mgr.GetFieldIndexer()); err != nil {
				return err
			}
			return SetupWithManager(mgr, shard.Main)
		})
		DeferCleanup(func() { stop() })
		stand := func() [standings]int {
			pools, _ := exported.watched.snapshot()
			return pools[key]
		}
		Eventually(stand).Should(Equal([standings]int{protected: 2}), "nothing is planned")

		one := &emsv1.PoolServer{}
		Expect(env.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "fe01"}, one)).To(Succeed())
		one.Status.Conditions = []metav1.Condition{{
			Type: emsv1.ReadyCondition, Status: metav1.ConditionUnknown, Reason: emsv1.AgentSilentReason, LastTransitionTime: metav1.Now(), Message: "silent",
		}}
		one.Status.Mitigations = []emsv1.ServerMitigation{{ID: "M1", State: emsv1.StateFailed, Reason: "SectionLocked", Message: "locked"}}
		Expect(env.Client.Status().Update(ctx, one)).To(Succeed())
		Eventually(stand).Should(Equal([standings]int{protected: 1, silent: 1}))
		Expect(testutil.ToFloat64(exported.watched.failures.WithLabelValues(namespace, key.Name, "SectionLocked"))).To(Equal(1.0))
		Expect(testutil.GatherAndCount(metrics.Registry, "ems_server_failures_total")).To(Equal(1))

		Expect(env.Client.Delete(ctx, pool)).To(Succeed())
		Eventually(func() map[types.NamespacedName][standings]int {
			pools, _ := exported.watched.snapshot()
			return pools
		}).WithTimeout(30 * time.Second).ShouldNot(HaveKey(key))
		Expect(testutil.GatherAndCount(metrics.Registry, "ems_server_failures_total")).To(BeZero())
	})
})
