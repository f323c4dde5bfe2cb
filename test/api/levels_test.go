package api_test

import (
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("The levels of a feed's trust", func() {
	feed := func(trust string) string {
		return fmt.Sprintf(`
apiVersion: ems.mitigation.dev/v1alpha1
kind: MitigationFeed
metadata: {name: levels}
spec:
  url: https://ocs.contoso.com/mitigations
  product: ExchangeServer
  trust: {roots: "-----BEGIN CERTIFICATE-----", %s}
`, trust)
	}
	pins := `issuerPins: ["` + strings.Repeat("a", 64) + `"]`

	DescribeTable("are refused",
		func(ctx SpecContext, trust, wantMessage string) {
			Expect(env.Client.Create(ctx, parse(feed(trust)))).To(MatchError(ContainSubstring(wantMessage)))
		},
		Entry("of pins that are not there", "levels: {issuerPins: Log}", "levels.issuerPins needs issuerPins"),
		Entry("of no pins", "issuerPins: [], levels: {issuerPins: Enforce}", "levels.issuerPins needs issuerPins"),
		Entry("of a subject that is not there", "levels: {subject: Log}", "levels.subject needs subject"),
		Entry("of usages that are not there", "levels: {extendedKeyUsages: Log}", "levels.extendedKeyUsages needs extendedKeyUsages"),
		Entry("of revocation that is not there", "levels: {revocation: Log}", "levels.revocation needs revocation with mode Prefer or Require"),
		Entry("of revocation that is off", `revocation: {mode: "Off"}, levels: {revocation: Log}`, "levels.revocation needs revocation with mode Prefer or Require"),
		Entry("of another word", pins+", levels: {issuerPins: Skip}", "Unsupported value"),
		Entry("of none of the checks", "levels: {}", "should have at least 1 properties"),
	)

	It("are taken beside their checks", func(ctx SpecContext) {
		create(ctx, feed(pins+`, subject: {organization: Contoso}, extendedKeyUsages: ["1.2.3"], revocation: {mode: Prefer},
    levels: {issuerPins: Log, subject: Enforce, extendedKeyUsages: Log, revocation: Log}`))
	})
})
