package api_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var _ = Describe("The report of a server", func() {
	const enrolled = `
apiVersion: ems.mitigation.dev/v1alpha1
kind: PoolServer
metadata: {name: fe01, namespace: default}
spec: {poolName: pool}
`

	It("is stored with the names of few fields, and names each mitigation once all the same", func(ctx SpecContext) {
		server := create(ctx, enrolled)
		const m1 = "  - {id: M1, state: Applied, reason: Enabled, revision: 1, gate: {rollout: r1, verdict: Passed}}\n"
		report := func(mitigations string) error {
			applied := client.ApplyConfigurationFromUnstructured(parse(`
apiVersion: ems.mitigation.dev/v1alpha1
kind: PoolServer
metadata: {name: fe01, namespace: default}
status:
  facts: {product: ExchangeServer, role: Mailbox, build: 15.2.2562.43}
  summary: {applied: M1}
  feeds: [{name: exchange, sequence: 7}]
  credential: {expiryTime: "2027-01-01T00:00:00Z"}
  local: {repair: {by: CONTOSO\somebody, time: "2026-01-01T00:00:00Z"}}
  mitigations:
` + mitigations))
			return env.Client.Status().Apply(ctx, applied, client.FieldOwner("ems-agent"))
		}
		Expect(report(m1)).To(Succeed())
		Expect(report(m1 + m1)).To(MatchError(ContainSubstring("duplicate")))

		Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(server), server)).To(Succeed())
		var managed []string
		for _, m := range server.GetManagedFields() {
			if m.Manager == "ems-agent" {
				managed = append(managed, m.FieldsV1.GetRawString())
			}
		}
		Expect(managed).To(HaveExactElements(MatchJSON(`{"f:status": {
			"f:credential": {}, "f:facts": {}, "f:local": {}, "f:summary": {},
			"f:mitigations": {"k:{\"id\":\"M1\"}": {}},
			"f:feeds": {"k:{\"name\":\"exchange\"}": {".": {}, "f:name": {}, "f:sequence": {}}}
		}}`)))
	})

	It("lets no sequence go back", func(ctx SpecContext) {
		server := create(ctx, enrolled)
		report := func(sequence int64) error {
			feeds := []any{map[string]any{"name": "exchange", "sequence": sequence}}
			Expect(unstructured.SetNestedSlice(server.Object, feeds, "status", "feeds")).To(Succeed())
			return env.Client.Status().Update(ctx, server)
		}
		Expect(report(7)).To(Succeed())
		Expect(report(6)).To(MatchError(ContainSubstring("sequence never goes back")))
	})
})
