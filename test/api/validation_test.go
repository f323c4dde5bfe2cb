package api_test

import (
	"bytes"
	"encoding/base64"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const aDigest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// largestBundle has a document of 1 MiB, the most that there may be.
var largestBundle = `
apiVersion: ems.mitigation.dev/v1alpha1
kind: MitigationBundle
metadata: {name: exchange-0123}
spec: {feedName: exchange, product: ExchangeServer, digest: "` + aDigest + `", document: "` + strings.Repeat("+/8/", 1<<20/3) + `"}
`

var _ = Describe("The API server", func() {
	DescribeTable("refuses impossible values and says what to do",
		func(ctx SpecContext, manifest, wantMessage string) {
			err := env.Client.Create(ctx, parse(manifest))
			Expect(err).To(MatchError(ContainSubstring(wantMessage)))
		},
		Entry("a feed without a source", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: MitigationFeed
metadata: {name: no-source}
spec:
  product: ExchangeServer
  trust: {roots: "-----BEGIN CERTIFICATE-----"}
`, "set exactly one of url and configMapRef"),
		Entry("a feed with two sources", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: MitigationFeed
metadata: {name: two-sources}
spec:
  url: https://ocs.contoso.com/mitigations
  configMapRef: {name: a, key: b}
  product: ExchangeServer
  trust: {roots: "-----BEGIN CERTIFICATE-----"}
`, "set exactly one of url and configMapRef"),
		Entry("a feed with a URL of another scheme", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: MitigationFeed
metadata: {name: ftp}
spec:
  url: ftp://ocs.contoso.com/mitigations
  product: ExchangeServer
  trust: {roots: "-----BEGIN CERTIFICATE-----"}
`, "url must be an absolute http or https URL"),
		Entry("a feed without trust", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: MitigationFeed
metadata: {name: no-trust}
spec:
  url: https://ocs.contoso.com/mitigations
  product: ExchangeServer
`, "spec.trust: Required value"),
		Entry("trust roots that are no PEM", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: MitigationFeed
metadata: {name: no-pem}
spec:
  url: https://ocs.contoso.com/mitigations
  product: ExchangeServer
  trust: {roots: "not a certificate"}
`, "roots must hold at least one certificate in PEM"),
		Entry("a feed that requires revocation lists and has none", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: MitigationFeed
metadata: {name: no-lists}
spec:
  url: https://ocs.contoso.com/mitigations
  product: ExchangeServer
  trust: {roots: "-----BEGIN CERTIFICATE-----", revocation: {mode: Require}}
`, "mode Require without crls or urls would refuse every document"),
		Entry("revocation lists by another scheme", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: MitigationFeed
metadata: {name: ldap-lists}
spec:
  url: https://ocs.contoso.com/mitigations
  product: ExchangeServer
  trust: {roots: "-----BEGIN CERTIFICATE-----", revocation: {mode: Prefer, urls: ["ldap:///CN=Issuing"]}}
`, "each of urls must be an absolute http or https URL"),
		Entry("a feed that is polled every second", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: MitigationFeed
metadata: {name: hurried}
spec:
  url: https://ocs.contoso.com/mitigations
  product: ExchangeServer
  intervalSeconds: 1
  trust: {roots: "-----BEGIN CERTIFICATE-----"}
`, "should be greater than or equal to 60"),
		Entry("a block without a reason", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: PoolMitigationConfig
metadata: {name: no-reason, namespace: default}
spec:
  blocked: [{id: M1}]
`, "spec.blocked[0].reason: Required value"),
		Entry("a block of something that is no mitigation id", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: PoolMitigationConfig
metadata: {name: bad-id, namespace: default}
spec:
  blocked: [{id: "M1; M2", reason: both at once}]
`, "spec.blocked[0].id"),
		Entry("the same id blocked twice", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: PoolMitigationConfig
metadata: {name: twice, namespace: default}
spec:
  blocked: [{id: M1, reason: one}, {id: M1, reason: two}]
`, "Duplicate value"),
		Entry("a stage of more than all servers", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: PoolMitigationConfig
metadata: {name: stage, namespace: default}
spec:
  rollout: {stages: [{name: first, servers: "110%"}]}
`, "spec.rollout.stages[0].servers"),
		Entry("a stage that says neither how many servers it takes nor which", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: PoolMitigationConfig
metadata: {name: stage, namespace: default}
spec:
  rollout: {stages: [{name: first, bakeSeconds: 60}]}
`, "a stage says how many servers it takes, or which: servers, serverNames or serverSelector"),
		Entry("a retry that does not say which attempt it begins", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: PoolMitigationConfig
metadata: {name: order, namespace: default}
spec:
  rollout: {orders: [{id: M1, revision: 1, action: Retry, reason: repaired}]}
`, "attempt belongs to action Retry, which needs it"),
		Entry("an abort with an attempt", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: PoolMitigationConfig
metadata: {name: order, namespace: default}
spec:
  rollout: {orders: [{id: M1, revision: 1, action: Abort, attempt: 2, reason: breaks printing}]}
`, "attempt belongs to action Retry, which needs it"),
		Entry("a first attempt that is ordered as a retry", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: PoolMitigationConfig
metadata: {name: order, namespace: default}
spec:
  rollout: {orders: [{id: M1, revision: 1, action: Retry, attempt: 1, reason: repaired}]}
`, "Retry begins attempt 2 or a higher one"),
		Entry("a pause of one stage", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: PoolMitigationConfig
metadata: {name: order, namespace: default}
spec:
  rollout: {orders: [{id: M1, revision: 1, action: Pause, stage: first, reason: wait}]}
`, "stage belongs to action Promote"),
		Entry("an order without a reason", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: PoolMitigationConfig
metadata: {name: order, namespace: default}
spec:
  rollout: {orders: [{id: M1, revision: 1, action: Promote}]}
`, "spec.rollout.orders[0].reason: Required value"),
		Entry("an order without the revision that it is about", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: PoolMitigationConfig
metadata: {name: order, namespace: default}
spec:
  rollout: {orders: [{id: M1, action: Promote, reason: tested}]}
`, "spec.rollout.orders[0].revision: Required value"),
		Entry("two orders for one mitigation", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: PoolMitigationConfig
metadata: {name: order, namespace: default}
spec:
  rollout: {orders: [{id: M1, revision: 1, action: Pause, reason: wait}, {id: M1, revision: 1, action: Promote, reason: go}]}
`, "Duplicate value"),
		Entry("a single mitigation suspended without a reason", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: MitigationConfiguration
metadata: {name: global}
spec: {suspendedMitigations: [{id: M1}]}
`, "spec.suspendedMitigations[0].reason: Required value"),
		Entry("a pool FQDN with a blank", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: PoolMitigationConfig
metadata: {name: fqdn, namespace: default}
spec: {poolFQDN: "pool 1.contoso.com"}
`, "spec.poolFQDN"),
		Entry("a global configuration for some pools only", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: MitigationConfiguration
metadata: {name: global}
spec: {poolSelector: {matchLabels: {site: vienna}}}
`, "the configuration named global speaks for every pool and has no poolSelector"),
		Entry("a site configuration for every pool", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: MitigationConfiguration
metadata: {name: vienna}
spec: {mitigations: Disabled}
`, "every other one needs a poolSelector"),
		Entry("rings in a site configuration", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: MitigationConfiguration
metadata: {name: vienna}
spec: {poolSelector: {}, rings: [{name: early, poolSelector: {matchLabels: {ring: early}}}]}
`, "rings, rollout and telemetry belong in the configuration named global"),
		Entry("telemetry without an endpoint", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: MitigationConfiguration
metadata: {name: global}
spec: {telemetry: {mode: Enabled}}
`, "telemetry that is Enabled needs a url: an endpoint of your own, since there is no other"),
		Entry("telemetry without TLS", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: MitigationConfiguration
metadata: {name: global}
spec: {telemetry: {mode: Enabled, url: "http://telemetry.contoso.com/"}}
`, "url must be an absolute https URL without a user or password"),
		Entry("telemetry with a password", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: MitigationConfiguration
metadata: {name: global}
spec: {telemetry: {mode: Enabled, url: "https://user:password@telemetry.contoso.com/"}}
`, "url must be an absolute https URL without a user or password"),
		Entry("telemetry that is on in a word of somebody's own", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: MitigationConfiguration
metadata: {name: global}
spec: {telemetry: {mode: true}}
`, "spec.telemetry.mode"),
		Entry("telemetry by a proxy to nowhere", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: MitigationConfiguration
metadata: {name: global}
spec: {telemetry: {mode: Disabled, proxyURL: "http://proxy:3128"}}
`, "caBundle and proxyURL go with url"),
		Entry("telemetry by a proxy of another kind", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: MitigationConfiguration
metadata: {name: global}
spec: {telemetry: {url: "https://telemetry.contoso.com/", proxyURL: "socks5://proxy:1080"}}
`, "proxyURL must be an absolute http or https URL"),
		Entry("telemetry of a site", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: MitigationConfiguration
metadata: {name: vienna}
spec: {poolSelector: {}, telemetry: {mode: Disabled}}
`, "rings, rollout and telemetry belong in the configuration named global"),
		Entry("a fixed build that is no build", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: MitigationConfiguration
metadata: {name: global}
spec: {fixedBuilds: [{id: M2, build: "15.2"}]}
`, "spec.fixedBuilds[0].build"),
		Entry("a mitigation under another name than its id", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: Mitigation
metadata: {name: m2}
spec:
  id: M1
  revision: 1
  lifecycle: Active
  feedName: exchange
  bundleName: exchange-0123
  documentDigest: "`+aDigest+`"
  actions: [{id: M1.1, type: DoNothing, scope: Server}]
`, "a mitigation is named by the lower-case form of its id"),
		Entry("a cut-off beyond the last hash", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: MitigationPlan
metadata: {name: pool, namespace: default}
spec:
  mode: Enforce
  mitigations:
  - {id: M1, desired: Apply, reason: Enabled, revision: 1, feedName: f, bundleName: b, documentDigest: "`+aDigest+`", release: {below: 4294967297}}
`, "should be less than or equal to 4294967296"),
	)

	DescribeTable("accepts what users write",
		func(ctx SpecContext, manifest string) {
			create(ctx, manifest)
		},
		Entry("a global configuration", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: MitigationConfiguration
metadata: {name: global}
spec:
  mitigations: Enabled
  blocked: [{id: M1.1, reason: breaks the printers, owner: mail team, expiryTime: "2027-01-01T00:00:00Z"}]
  fixedBuilds: [{id: M2, build: 15.02.2562.043}]
  rings: [{name: early, poolSelector: {matchLabels: {ring: early}}, bakeSeconds: 600, approval: After}]
  suspendedMitigations: [{id: M3, reason: breaks sign-in, owner: messaging team}]
  approved: [{id: M2, revision: 4, stages: [early], reason: tested, expiryTime: "2027-01-01T00:00:00Z"}]
  rollout:
    profile: Fast
    windows: [{policy: Allow, cron: "0 22 * * 1-5", timeZone: Europe/Vienna, durationSeconds: 21600}]
    orders: [{id: M2, revision: 4, action: Pause, reason: wait for the mail team}]
`),
		Entry("a pool with everything", `
apiVersion: ems.mitigation.dev/v1alpha1
kind: PoolMitigationConfig
metadata: {name: everything, namespace: default}
spec:
  poolFQDN: pool1.contoso.com
  mode: Audit
  whenDisabled: Remove
  approved: [{id: M2, reason: tested}]
  rollout:
    profile: Fast
    stages:
    - {name: canary, serverSelector: {matchLabels: {canary: "yes"}}, minRequests: 20}
    - {name: named, serverNames: [fe01], bakeSeconds: 60, approval: After}
    - {name: rest, servers: 100%, approval: Before}
    maxFailures: 0
    onFailure: Hold
    progressDeadlineSeconds: 300
    pausedUntilTime: "2027-01-01T00:00:00Z"
    orders:
    - {id: M1, revision: 1, action: Retry, attempt: 2, reason: the proxy is repaired, owner: messaging team}
    - {id: M2, revision: 1, action: Promote, stage: canary, reason: tested}
    - {id: M3, revision: 1, action: Abort, reason: breaks printing}
  healthChecks: {mustPass: [{url: /owa/}], http: [{name: owa, path: /owa/healthcheck.htm}], tcpPorts: [25], services: [W3SVC]}
`),
	)

	It("keeps a bundle as it was created", func(ctx SpecContext) {
		bundle := create(ctx, largestBundle)

		Expect(unstructured.SetNestedField(bundle.Object, "QUJE", "spec", "document")).To(Succeed())
		Expect(env.Client.Update(ctx, bundle)).To(MatchError(ContainSubstring("of a MitigationBundle only revocationLists may change")))
	})

	Context("The revocation lists of a bundle", func() {
		var bundle *unstructured.Unstructured

		BeforeEach(func(ctx SpecContext) {
			bundle = create(ctx, largestBundle)
		})

		set := func(ctx SpecContext, lists ...any) error {
			GinkgoHelper()
			Expect(unstructured.SetNestedSlice(bundle.Object, lists, "spec", "revocationLists")).To(Succeed())
			return env.Client.Update(ctx, bundle)
		}
		of := func(length int) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xff}, length)) }

		It("may change beside the largest document", func(ctx SpecContext) {
			Expect(set(ctx, of(96<<10))).To(Succeed(), "a document of 1 MiB and lists of 96 KiB must fit into etcd")
			Expect(set(ctx, of(48<<10), of(48<<10))).To(Succeed())
			Expect(set(ctx, of(10), of(20))).To(Succeed())
			unstructured.RemoveNestedField(bundle.Object, "spec", "revocationLists")
			Expect(env.Client.Update(ctx, bundle)).To(Succeed())
		})

		It("have at most 96 KiB together", func(ctx SpecContext) {
			Expect(set(ctx, of(48<<10), of(48<<10+1))).To(MatchError(ContainSubstring("revocationLists may have at most 98304 bytes together")))
			Expect(set(ctx, of(1), of(2), of(3), of(4), of(5), of(6), of(7), of(8), of(9))).To(MatchError(ContainSubstring("must have at most 8 items")))
		})

		It("must be base64, or nobody could read the bundle any more", func(ctx SpecContext) {
			for _, broken := range []string{"QUJDR", "QUJD====", "QU=D", "QUJ_", "QUJD\n", "QUJDRA="} {
				Expect(set(ctx, broken)).To(MatchError(ContainSubstring("spec.revocationLists[0]")), broken)
			}
		})

		It("may not bring another field with them", func(ctx SpecContext) {
			Expect(unstructured.SetNestedField(bundle.Object, "Contoso", "spec", "publisher")).To(Succeed())
			Expect(set(ctx, of(10))).To(MatchError(ContainSubstring("of a MitigationBundle only revocationLists may change")))
		})
	})
})
