package api_test

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("A plan", func() {
	const entry = `  - {id: M1, desired: Apply, reason: Enabled, revision: 1, feedName: f, bundleName: b, documentDigest: "` + aDigest + `", release: {below: 0}}
`
	plan := func(entries string) string {
		return `
apiVersion: ems.mitigation.dev/v1alpha1
kind: MitigationPlan
metadata: {name: small, namespace: default}
spec:
  mode: Enforce
  mitigations:
` + entries
	}

	It("does not tell every agent who manages which of its fields", func(ctx SpecContext) {
		object := create(ctx, plan(entry+strings.ReplaceAll(entry, "M1", "M2")))
		managed := object.GetManagedFields()
		Expect(managed).To(HaveLen(1))
		Expect(managed[0].FieldsV1.GetRawString()).To(Equal(`{"f:spec":{}}`))
	})

	It("has each mitigation once all the same", func(ctx SpecContext) {
		Expect(env.Client.Create(ctx, parse(plan(entry+entry)))).To(MatchError(ContainSubstring("spec.mitigations[1]: Duplicate value")))
	})
})
