package api_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("How a feed is fetched", func() {
	feed := func(source string) string {
		return `
apiVersion: ems.mitigation.dev/v1alpha1
kind: MitigationFeed
metadata: {name: fetched}
spec:
  product: ExchangeServer
  trust: {roots: "-----BEGIN CERTIFICATE-----"}
` + source
	}
	const (
		url       = "  url: https://ocs.contoso.com/mitigations\n"
		configMap = "  configMapRef: {name: document, key: document.xml}\n"
	)

	DescribeTable("is refused",
		func(ctx SpecContext, source, wantMessage string) {
			Expect(env.Client.Create(ctx, parse(feed(source)))).To(MatchError(ContainSubstring(wantMessage)))
		},
		Entry("with push from a ConfigMap", configMap+"  push: Enabled", "push goes with url"),
		Entry("with push of another word", url+"  push: Always", "Unsupported value"),
		Entry("with limits that limit nothing", url+"  limits: {}", "should have at least 1 properties"),
		Entry("with a document beyond the format", url+"  limits: {maxBytes: 1048577}", "spec.limits.maxBytes"),
		Entry("with no time for headers", url+"  limits: {headerTimeoutSeconds: 0}", "spec.limits.headerTimeoutSeconds"),
		Entry("with a connection that may take for ever", url+"  limits: {connectTimeoutSeconds: 61}", "spec.limits.connectTimeoutSeconds"),
		Entry("with a rate below nothing", url+"  limits: {minimumBytesPerSecond: -1}", "spec.limits.minimumBytesPerSecond"),
	)

	DescribeTable("is taken",
		func(ctx SpecContext, source string) {
			create(ctx, feed(source))
		},
		Entry("with push and all limits", url+"  push: Disabled\n  limits: {maxBytes: 65536, connectTimeoutSeconds: 60, headerTimeoutSeconds: 300, minimumBytesPerSecond: 1}"),
		Entry("with limits for the lists of a ConfigMap's feed", configMap+"  limits: {headerTimeoutSeconds: 5}"),
	)
})
