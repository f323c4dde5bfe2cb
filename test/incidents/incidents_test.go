package incidents_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/rewrite"
	"mitigation.dev/ems/test/harness"
)

// fault is what somebody publishes.
type fault struct {
	configs []ocs.Config
	// change changes the XML before it is signed, after changes the signed document.
	change func([]byte) []byte
	after  func([]byte) []byte
	// wantFeed is the reason of the feed's Ready condition.
	wantFeed string
	// wantRefused is the reason for which entry X1 is refused alone, if it is.
	wantRefused string
	// wantHalted is part of what the halted rollout of X1 says, if the document is accepted.
	wantHalted string
}

// x1 is a harmless mitigation, for faults to be put into.
func x1(change ...func(*ocs.Config)) ocs.Config {
	config := harness.OWA1(2)
	config.ID, config.Actions[0].ID = "X1", "X1.1"
	for _, c := range change {
		c(&config)
	}
	return config
}

// rule gives X1 another rule.
func rule(pattern string) func(*ocs.Config) {
	return func(c *ocs.Config) {
		c.Actions[0].Rewrite = []byte(`<rewrite><rules><rule name="X" stopProcessing="true"><match url="` + pattern + `" /><action type="AbortRequest" /></rule></rules></rewrite>`)
	}
}

func unsampled(c *ocs.Config) { c.Samples = nil }

// inX1 changes the XML of entry X1 only.
func inX1(old, replacement string) func([]byte) []byte {
	return func(document []byte) []byte {
		at := bytes.Index(document, []byte(`id="X1"`))
		return append(bytes.Clone(document[:at]), bytes.Replace(document[at:], []byte(old), []byte(replacement), 1)...)
	}
}

// everywhere changes the XML of the document.
func everywhere(old, replacement string) func([]byte) []byte {
	return func(document []byte) []byte { return bytes.Replace(document, []byte(old), []byte(replacement), 1) }
}

// regexOf2July2019 is the expression that took Cloudflare down, with braces escaped as the engine of IIS wants them.
const regexOf2July2019 = `(?:(?:&quot;|'|\]|\}|\\|\d|(?:nan|infinity|true|false|null|undefined|symbol|math)|\x60|\-|\+)+[)]*;?((?:\s|-|~|!|\{\}|\|\||\+)*.*(?:.*=.*)))`

var faults = map[string]fault{
	"CrowdStrike 2024: an entry has a field more than the interpreter expects": {
		configs: []ocs.Config{x1()}, change: inX1(`severity=`, `twentyFirst="x" severity=`),
		wantFeed: emsv1.PartlyAcceptedReason, wantRefused: ocs.ReasonUnknownContent,
	},
	"CrowdStrike 2024: an entry lacks a field that the interpreter expects": {
		configs: []ocs.Config{x1()}, change: inX1(` url="^owa/evil\.aspx$"`, ``),
		wantFeed: emsv1.PartlyAcceptedReason, wantRefused: ocs.ReasonInvalidRewrite,
	},
	"CrowdStrike 2024: content that every check accepts takes the service down": {
		configs: []ocs.Config{x1(rule(`^owa/`))}, wantFeed: emsv1.DocumentAcceptedReason, wantHalted: "owa",
	},
	"CrowdStrike 2024: content for what is not on these servers": {
		configs:  []ocs.Config{x1(func(c *ocs.Config) { c.Actions[0].Target = "No Such Site" })},
		wantFeed: emsv1.DocumentAcceptedReason, wantHalted: "SiteNotFound",
	},
	"Cloudflare 2019: the regular expression of 2 July": {
		configs: []ocs.Config{x1(unsampled)}, change: inX1(`^owa/evil\.aspx$`, regexOf2July2019),
		wantFeed: emsv1.PartlyAcceptedReason, wantRefused: ocs.ReasonCostlyPattern,
	},
	"Cloudflare 2019: its short form": {
		configs: []ocs.Config{x1(unsampled)}, change: inX1(`^owa/evil\.aspx$`, `.*(?:.*=.*)`),
		wantFeed: emsv1.PartlyAcceptedReason, wantRefused: ocs.ReasonCostlyPattern,
	},
	"Cloudflare 2019: an exponential one": {
		configs: []ocs.Config{x1(unsampled)}, change: inX1(`^owa/evil\.aspx$`, `^(a+)+$`),
		wantFeed: emsv1.PartlyAcceptedReason, wantRefused: ocs.ReasonCostlyPattern,
	},
	"FIP-FS 2022: a revision that overflows an int64": {
		configs: []ocs.Config{x1()}, change: inX1(`revision="2"`, `revision="22010100010000000000"`),
		wantFeed: emsv1.PartlyAcceptedReason, wantRefused: ocs.ReasonInvalidValue,
	},
	"FIP-FS 2022: a sequence that overflows an int64": {
		configs: []ocs.Config{x1()}, change: everywhere(`sequence="`, `sequence="9999999999999999999`), wantFeed: emsv1.DocumentMalformedReason,
	},
	"FIP-FS 2022: a build that overflows": {
		configs:  []ocs.Config{x1(func(c *ocs.Config) { c.Applicability = harness.M1().Applicability })},
		change:   inX1(`fixedIn="15.1.2375.37"`, `fixedIn="15.1.22010100010000000000.37"`),
		wantFeed: emsv1.PartlyAcceptedReason, wantRefused: ocs.ReasonInvalidValue,
	},
	"CVE-2022-41040: the rule does not block what it is made for": {
		configs: []ocs.Config{x1(rule(`^owa/other\.aspx$`))}, wantFeed: emsv1.DocumentAcceptedReason, wantHalted: "SamplesFailed",
	},
	"CVE-2022-41040: the rule blocks what must pass": {
		configs: []ocs.Config{x1(rule(`^(owa/evil\.aspx|autodiscover/.*)$`))}, wantFeed: emsv1.DocumentAcceptedReason, wantHalted: "SamplesFailed",
	},
	"Google 2025: a blank target": {
		configs: []ocs.Config{x1()}, change: inX1(`target="`+harness.Site+`"`, `target=""`),
		wantFeed: emsv1.PartlyAcceptedReason, wantRefused: ocs.ReasonInvalidValue,
	},
	"Google 2025: a rule whose action is blank, which IIS takes for a rule that does nothing": {
		configs: []ocs.Config{x1()}, change: inX1(`<action type="AbortRequest" />`, ``),
		wantFeed: emsv1.DocumentAcceptedReason, wantHalted: "SamplesFailed",
	},
	"Google 2025: an entry without anything": {
		configs:  []ocs.Config{x1()},
		change:   func(document []byte) []byte { return between(document, `id="X1"`, ">", "</Config>", "") },
		wantFeed: emsv1.PartlyAcceptedReason, wantRefused: ocs.ReasonMissingContent,
	},
	"Cloudflare November 2025: the generated file is twice as large as allowed": {
		configs: []ocs.Config{x1()}, wantFeed: emsv1.DocumentTooLargeReason,
		after: func(document []byte) []byte {
			return append(document, []byte("<!--"+strings.Repeat("x", 2*ocs.MaxDocumentBytes)+"-->")...)
		},
	},
	"Cloudflare November 2025: an entry has more rules than allowed": {
		configs:  []ocs.Config{x1()},
		change:   inX1(`</rules>`, manyRules()+`</rules>`),
		wantFeed: emsv1.PartlyAcceptedReason, wantRefused: ocs.ReasonInvalidRewrite,
	},
	"the download is cut in the middle": {
		configs: []ocs.Config{x1()}, wantFeed: emsv1.DocumentMalformedReason,
		after: func(document []byte) []byte { return document[:len(document)/2] },
	},
	"the file is empty": {
		configs: []ocs.Config{x1()}, wantFeed: emsv1.DocumentMalformedReason,
		after: func([]byte) []byte { return nil },
	},
	"somebody changes the document on its way": {
		configs: []ocs.Config{x1()}, wantFeed: emsv1.SignatureInvalidReason,
		after: func(document []byte) []byte { return everywhere(`evil`, `e.il`)(document) },
	},
	"the publisher's clock is a day ahead": {
		configs: []ocs.Config{x1()}, wantFeed: emsv1.DocumentNotYetValidReason,
		change: func(document []byte) []byte {
			now := time.Now().UTC()
			return bytes.Replace(document, []byte(`issued="`+now.Format("2006-01-02")), []byte(`issued="`+now.AddDate(0, 0, 1).Format("2006-01-02")), 1)
		},
	},
}

// manyRules are as many as an entry may have, beside the one that it has.
func manyRules() string {
	var rules strings.Builder
	for i := range ocs.MaxRules {
		fmt.Fprintf(&rules, `<rule name="x%d"><match url="x" /><action type="None" /></rule>`, i)
	}
	return rules.String()
}

// between replaces what stands between two texts after a mark.
func between(document []byte, mark, from, to, replacement string) []byte {
	at := bytes.Index(document, []byte(mark))
	begin := at + bytes.Index(document[at:], []byte(from)) + len(from)
	end := begin + bytes.Index(document[begin:], []byte(to))
	return append(append(bytes.Clone(document[:begin]), replacement...), document[end:]...)
}

var _ = Describe("A fault", Ordered, ContinueOnFailure, func() {
	BeforeAll(settle, NodeTimeout(3*limit))

	for name, f := range faults {
		It(name, func(ctx SpecContext) {
			before := stateOf()
			f.meet(ctx)
			Eventually(before.differences(anywhere)).WithContext(ctx).Should(BeEmpty(), "the first server is as it was")
			Expect(outcomes(harness.OWAHealth)(Default)).To(HaveEach(rewrite.Passed))
			Expect(outcomes(harness.ExploitRequest)(Default)).To(HaveEach(rewrite.Aborted), "what protected goes on protecting")
			before.expectNoCrash()

			By("publishing a good document")
			publish(ctx, harness.PING1(), harness.M1(), x1(func(c *ocs.Config) { c.Revision = 7 }))
			Eventually(rolloutOf(ctx, "X1")).WithContext(ctx).Should(haveState(7, emsv1.RolloutComplete))
			Eventually(outcomes(harness.OWAExploit)).WithContext(ctx).Should(HaveEach(rewrite.Aborted))
			publish(ctx, harness.PING1(), harness.M1())
			Eventually(before.differences(anywhere)).WithContext(ctx).Should(BeEmpty())
		}, NodeTimeout(3*limit))
	}
})

// meet publishes the fault and waits until it is refused or halted. Meanwhile nothing may happen outside of the first stage.
func (f fault) meet(ctx context.Context) {
	GinkgoHelper()
	before := stateOf()
	configs := append([]ocs.Config{harness.PING1(), harness.M1()}, f.configs...)
	var document []byte
	var err error
	if f.change == nil {
		document, err = env.Publisher.Publish(configs...)
	} else {
		document, err = env.Publisher.PublishChanged(f.change, configs...)
	}
	Expect(err).NotTo(HaveOccurred())
	if f.after != nil {
		document = f.after(document)
	}
	feed := serve(ctx, document)
	Expect(reasonOf(feed)).To(Equal(f.wantFeed), harness.ReadyText(feed.Status.Conditions))
	if f.wantRefused != "" {
		Expect(feed.Status.Refused).To(ConsistOf(And(HaveField("ID", "X1"), HaveField("Reason", f.wantRefused))))
	}
	if f.wantHalted == "" {
		Expect(before.differences(anywhere)(Default)).To(BeEmpty())
		return
	}
	Eventually(rolloutOf(ctx, "X1")).WithContext(ctx).Should(And(
		haveState(2, emsv1.RolloutHalted), HaveField("Rollout.Stage", "first"),
		HaveField("Rollout.Message", And(ContainSubstring(canary), ContainSubstring(f.wantHalted))),
	))
	Expect(before.differences(outsideOfTheFirstStage)(Default)).To(BeEmpty())
}

var _ = Describe("A rule that is corrected four times", func() {
	It("is never on more servers than its stage allows, and ends as the last one", func(ctx SpecContext) {
		settle(ctx)
		before := stateOf()
		publish(ctx, harness.PING1(), harness.M1(), x1(func(c *ocs.Config) { c.Revision = 11 }))
		Eventually(rolloutOf(ctx, "X1")).WithContext(ctx).Should(haveState(11, emsv1.RolloutComplete))
		for revision := int64(12); revision < 15; revision++ {
			publish(ctx, harness.PING1(), harness.M1(), x1(rule(`^owa/`), func(c *ocs.Config) { c.Revision = revision }))
			Eventually(rolloutOf(ctx, "X1")).WithContext(ctx).Should(haveState(revision, emsv1.RolloutHalted))
			Eventually(outcomes(harness.OWAHealth)).WithContext(ctx).Should(HaveEach(rewrite.Passed))
			Expect(outcomes(harness.OWAExploit)(Default)).To(HaveEach(rewrite.Aborted), "the good revision is there again")
		}
		publish(ctx, harness.PING1(), harness.M1(), x1(rule(`^owa/evil\.aspx`), func(c *ocs.Config) { c.Revision = 15 }))
		Eventually(rolloutOf(ctx, "X1")).WithContext(ctx).Should(haveState(15, emsv1.RolloutComplete))
		Eventually(outcomes(harness.OWAExploit + "/x")).WithContext(ctx).Should(HaveEach(rewrite.Aborted))
		for _, s := range servers {
			names, err := s.RuleNames()
			Expect(err).NotTo(HaveOccurred())
			Expect(names).To(HaveLen(2), fmt.Sprintf("one rule of X1 and one of M1 on %s", s.Name))
		}
		publish(ctx, harness.PING1(), harness.M1())
		Eventually(before.differences(anywhere)).WithContext(ctx).Should(BeEmpty())
		before.expectNoCrash()
	}, NodeTimeout(5*limit))
})

var _ = Describe("Cloudflare December 2025: the kill switch", func() {
	It("works in the middle of a rollout, for actions it was never used on, and leaves no trace", func(ctx SpecContext) {
		settle(ctx)
		before := stateOf()
		publish(ctx, harness.PING1(), harness.M1(), harness.ECP1(), x1())
		Eventually(rolloutOf(ctx, "X1")).WithContext(ctx).Should(HaveField("Rollout.State", Not(BeEmpty())))
		Expect(env.Apply(ctx, global(emsv1.SuspendRevert))).To(Succeed())
		for _, id := range []string{"PING1", "M1", "ECP1", "X1"} {
			Expect(env.WaitForState(ctx, limit, servers, id, emsv1.StateRemoved)).To(Succeed())
		}
		Expect(outcomes(harness.ExploitRequest)(Default)).To(HaveEach(rewrite.Passed))
		Expect(env.Apply(ctx, global(emsv1.SuspendNone))).To(Succeed())
		publish(ctx, harness.PING1(), harness.M1())
		Eventually(rolloutOf(ctx, "M1")).WithContext(ctx).Should(haveState(1, emsv1.RolloutComplete))
		Eventually(before.differences(anywhere)).WithContext(ctx).Should(BeEmpty())
		before.expectNoCrash()
	}, NodeTimeout(5*limit))
})

var _ = Describe("Google June 2025: after a restart of everything", func() {
	It("all servers are watching again, and a halted rollout is still halted", func(ctx SpecContext) {
		settle(ctx)
		publish(ctx, harness.PING1(), harness.M1(), x1(rule(`^owa/`), func(c *ocs.Config) { c.Revision = 21 }))
		Eventually(rolloutOf(ctx, "X1")).WithContext(ctx).Should(haveState(21, emsv1.RolloutHalted))
		env.ControlPlane.APIServer.Kill()
		env.Manager.Kill()
		Expect(env.ControlPlane.Start(ctx)).To(Succeed())
		Expect(env.StartManager(ctx)).To(Succeed())
		begin := time.Now()
		publish(ctx, harness.PING1(), harness.M1(), x1(rule(`^owa/`), func(c *ocs.Config) { c.Revision = 21 }))
		Expect(rolloutOf(ctx, "X1")(Default)).To(haveState(21, emsv1.RolloutHalted))
		publish(ctx, harness.PING1(), harness.M1(), x1(func(c *ocs.Config) { c.Revision = 22 }))
		Eventually(rolloutOf(ctx, "X1")).WithContext(ctx).Should(haveState(22, emsv1.RolloutComplete))
		Eventually(outcomes(harness.OWAExploit)).WithContext(ctx).Should(HaveEach(rewrite.Aborted))
		AddReportEntry("from the restart to the corrected revision on every server", time.Since(begin).Round(100*time.Millisecond).String())
	}, NodeTimeout(5*limit))
})
