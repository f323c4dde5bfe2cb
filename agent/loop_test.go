package agent

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/go-logr/logr/testr"
	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"

	"mitigation.dev/ems/agent/cluster"
	"mitigation.dev/ems/agent/documents"
	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/agent/facts"
	"mitigation.dev/ems/agent/iis"
	iiscontrol "mitigation.dev/ems/agent/iis/control"
	"mitigation.dev/ems/agent/iis/drivers"
	"mitigation.dev/ems/agent/iis/standin"
	"mitigation.dev/ems/agent/samples"
	"mitigation.dev/ems/agent/state"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/revocation"
	"mitigation.dev/ems/internal/rollout"
	"mitigation.dev/ems/internal/xmlsig"
	"mitigation.dev/ems/test/iistree"
	"mitigation.dev/ems/test/pki"
)

var now = time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)

// sharedKeys takes a while to make.
var sharedKeys = sync.OnceValues(func() (*pki.PKI, error) { return pki.New(now) })

const ruleText = `<rewrite><rules><rule name="Block probe" patternSyntax="ECMAScript" stopProcessing="true">` +
	`<match url=".*" /><conditions><add input="{REQUEST_URI}" pattern="powershell" /></conditions><action type="AbortRequest" /></rule></rules></rewrite>`

// fleet is a cluster with one server: a real IIS tree, the real parts of the agent, and a cluster made of values.
type fleet struct {
	testing.TB

	root, stateDir, trustFile string
	keys                      *pki.PKI
	clock                     *clocktesting.FakeClock
	loop                      *loop
	said                      facts.Facts

	// What the cluster holds and hears.
	plan    *enforce.Plan
	planErr error
	bundles map[string]documents.Bundle
	away    bool
	last    cluster.Report
	reports int
	// announced are the changes of all reports.
	announced []cluster.Change
	// more actions of the documents that are published, and samples.
	more    []ocs.Action
	samples []ocs.Sample
	// checker stands for health checks; nil for the real ones.
	checker checker
	// tamper changes a document before it is signed.
	tamper func(unsigned []byte) []byte
}

func (f *fleet) Plan() (*enforce.Plan, bool, error) {
	if f.away {
		return nil, false, nil
	}
	return f.plan, f.planErr == nil, f.planErr
}

func (f *fleet) Bundle(_ context.Context, name string) (documents.Bundle, error) {
	if f.away {
		return documents.Bundle{}, errors.New("connection refused")
	}
	if b, ok := f.bundles[name]; ok {
		return b, nil
	}
	return documents.Bundle{}, documents.ErrNotFound
}

func (f *fleet) Report(_ context.Context, r cluster.Report) error {
	if f.away {
		return cluster.ErrUnheard
	}
	f.last, f.reports = r, f.reports+1
	f.announced = append(f.announced, r.Changes...)
	return nil
}

func newFleet(t testing.TB) *fleet {
	t.Helper()
	keys, err := sharedKeys()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	f := &fleet{
		TB: t, root: filepath.Join(dir, "drive"), stateDir: filepath.Join(dir, "state"), trustFile: filepath.Join(dir, "trust.yaml"),
		keys: keys, clock: clocktesting.NewFakeClock(now), bundles: map[string]documents.Bundle{}, plan: &enforce.Plan{Generation: 1},
		said: facts.Facts{Product: "ExchangeServer"},
	}
	if err := iistree.Write(f.root, iistree.Options{CRLF: true}); err != nil {
		t.Fatal(err)
	}
	indented := strings.ReplaceAll(strings.TrimSpace(string(keys.Root.PEM())), "\n", "\n      ")
	trust := "apiVersion: ems.mitigation.dev/trust/v1\nfeeds:\n  contoso:\n    roots: |\n      " + indented + "\n"
	if err := os.WriteFile(f.trustFile, []byte(trust), 0o600); err != nil {
		t.Fatal(err)
	}
	f.restart()
	return f
}

// restart begins a new process on the same disk.
func (f *fleet) restart() {
	f.Helper()
	memory, err := state.Open(memoryDir(Options{StateDir: f.stateDir}))
	if err != nil {
		f.Fatal(err)
	}
	loop, err := newLoop(Options{
		Server: "fe01", IISRoot: f.root, StateDir: f.stateDir, TrustFile: f.trustFile, Facts: f.said, Log: testr.NewWithInterface(f.TB, testr.Options{}),
		AppCmd: drivers.NoAppCmd, // on Windows as well: there is no IIS below the root
	}, f, memory, f.clock)
	if err != nil {
		f.Fatal(err)
	}
	f.loop = loop
	if f.checker != nil {
		loop.checker = f.checker
	}
}

// publish signs a document with M1 (rules and a pool) and returns what a plan says about it.
func (f *fleet) publish(sequence, revision int64) enforce.Entry {
	f.Helper()
	return f.publishAll(sequence, ocs.Config{
		ID: "M1", Revision: revision, Description: "Block a probe",
		Actions: append([]ocs.Action{
			{ID: "M1.1", Type: ocs.URLRewrite, Scope: ocs.ScopeSite, Target: "Default Web Site", Description: "Rule", Rewrite: []byte(ruleText)},
			{ID: "M1.2", Type: ocs.AppPool, Scope: ocs.ScopeServer, Target: "MSExchangeOABAppPool", Description: "Pool", Value: ocs.ValueStopped},
		}, f.more...),
		Samples: f.samples,
	})[0]
}

// publishAll signs a document and returns what a plan says about each of its mitigations.
func (f *fleet) publishAll(sequence int64, configs ...ocs.Config) []enforce.Entry {
	f.Helper()
	unsigned, err := ocs.Build(ocs.Document{Version: ocs.Version11, Sequence: sequence, Configs: configs})
	if err != nil {
		f.Fatal(err)
	}
	if f.tamper != nil {
		unsigned = f.tamper(unsigned)
	}
	signed, err := xmlsig.Sign(unsigned, xmlsig.SignOptions{Key: f.keys.ECDSA.Key, Certificates: f.keys.ECDSA.Chain()})
	if err != nil {
		f.Fatal(err)
	}
	v, err := xmlsig.Verify(signed, xmlsig.Policy{Roots: []*x509.Certificate{f.keys.Root.Certificate}}, now)
	if err != nil {
		f.Fatal(err)
	}
	name := fmt.Sprintf("contoso-%d", sequence)
	f.bundles[name] = documents.Bundle{Product: "ExchangeServer", Document: signed}
	var entries []enforce.Entry
	for _, c := range configs {
		entries = append(entries, enforce.Entry{
			ID: c.ID, Decision: policy.Decision{Desired: policy.Apply, Reason: policy.Enabled}, Revision: c.Revision, Release: rollout.ToAll(),
			Document: enforce.DocumentRef{FeedName: "contoso", BundleName: name, Digest: hex.EncodeToString(v.Digest[:])},
		})
	}
	return entries
}

// revoke makes the trust file look at revocation lists.
func (f *fleet) revoke(mode string) {
	f.Helper()
	content, err := os.ReadFile(f.trustFile)
	if err != nil {
		f.Fatal(err)
	}
	if err := os.WriteFile(f.trustFile, fmt.Appendf(content, "    revocation: {mode: %s}\n", mode), 0o600); err != nil {
		f.Fatal(err)
	}
}

// list makes the revocation list of an authority.
func (f *fleet) list(issuer *pki.Identity, age time.Duration, revoked ...*pki.Identity) []byte {
	f.Helper()
	list, err := issuer.RevocationList(now.Add(-age), now.Add(24*time.Hour), revoked...)
	if err != nil {
		f.Fatal(err)
	}
	return list.Raw
}

// handOut puts revocation lists into a bundle and makes the plan say so.
func (f *fleet) handOut(bundle string, lists ...[]byte) {
	b := f.bundles[bundle]
	b.RevocationLists = lists
	f.bundles[bundle] = b
	f.plan.Generation++
	f.plan.Revocation = []enforce.RevocationRef{{FeedName: "contoso", BundleName: bundle, Digest: revocation.DigestOf(lists)}}
}

// want makes the cluster's plan hold exactly these entries.
func (f *fleet) want(entries ...enforce.Entry) {
	f.plan = &enforce.Plan{Generation: f.plan.Generation + 1, Entries: entries}
}

func (f *fleet) pass() { f.loop.pass(f.Context()) }

func (f *fleet) config() []byte {
	f.Helper()
	data, err := os.ReadFile(filepath.Join(f.root, filepath.FromSlash(iistree.ConfigFile)))
	if err != nil {
		f.Fatal(err)
	}
	return data
}

func (f *fleet) edit(old, with string) {
	f.Helper()
	before := f.config()
	after := bytes.Replace(before, []byte(old), []byte(with), 1)
	if bytes.Equal(before, after) {
		f.Fatalf("the configuration does not hold %q", old)
	}
	if err := os.WriteFile(filepath.Join(f.root, filepath.FromSlash(iistree.ConfigFile)), after, 0o600); err != nil {
		f.Fatal(err)
	}
}

func (f *fleet) poolState() iiscontrol.PoolState {
	f.Helper()
	state, err := standin.NewPools(f.root, nil).State(f.Context(), "MSExchangeOABAppPool")
	if err != nil {
		f.Fatal(err)
	}
	return state
}

// wantInPlace checks the server itself.
func (f *fleet) wantInPlace() {
	f.Helper()
	if n := bytes.Count(f.config(), []byte(`name="EMS M1.1 Block probe"`)); n != 1 {
		f.Fatalf("the rule stands %d times in the configuration, want once", n)
	}
	if got := f.poolState(); got != iiscontrol.PoolStopped {
		f.Fatalf("the pool is %s, want it stopped", got)
	}
}

// wantReport checks the only result of the last report, without its message.
func (f *fleet) wantReport(state enforce.State, reason string, revision int64) {
	f.Helper()
	if len(f.last.Results) != 1 {
		f.Fatalf("results = %+v, want one", f.last.Results)
	}
	got := f.last.Results[0]
	if got.State != state || got.Reason != reason || got.Revision != revision {
		f.Fatalf("result = %+v, want %s, %s, revision %d", got, state, reason, revision)
	}
}

func (f *fleet) wantChanges(changes ...cluster.Change) {
	f.Helper()
	if diff := cmp.Diff(changes, f.last.Changes); diff != "" {
		f.Fatalf("changes differ (-want +got):\n%s", diff)
	}
}

func TestLoop(t *testing.T) {
	for name, test := range map[string]func(*fleet){
		"a released mitigation is put in place and reported": func(f *fleet) {
			f.want(f.publish(1, 1))
			f.pass()
			f.wantInPlace()
			f.wantReport(enforce.Applied, "Enabled", 1)
			f.wantChanges(cluster.Change{Kind: cluster.MitigationApplied, ID: "M1", Revision: 1})
			want := cluster.Report{PlanGeneration: 2, Changed: map[string]time.Time{"m1": now}, Sequences: map[string]int64{"contoso": 1}}
			got := cluster.Report{PlanGeneration: f.last.PlanGeneration, Changed: f.last.Changed, Sequences: f.last.Sequences, Problem: f.last.Problem}
			if diff := cmp.Diff(want, got); diff != "" {
				f.Errorf("report differs (-want +got):\n%s", diff)
			}
			if f.last.Facts.RewriteModule != "Present" || f.last.Facts.Product != "ExchangeServer" {
				f.Errorf("facts = %+v, want the module present and the product", f.last.Facts)
			}
		},
		"a pass without a reason changes nothing": func(f *fleet) {
			f.want(f.publish(1, 1))
			f.pass()
			before := f.config()
			f.clock.SetTime(now.Add(time.Hour))
			f.pass()
			if !bytes.Equal(before, f.config()) {
				f.Error("the configuration was written")
			}
			f.wantChanges()
			if got := f.last.Changed["m1"]; !got.Equal(now) {
				f.Errorf("changed = %v, want it to stay at %v", got, now)
			}
		},
		"the same mitigation of a newer document changes only the record": func(f *fleet) {
			f.want(f.publish(1, 1))
			f.pass()
			before := f.config()
			entry := f.publish(2, 1)
			f.want(entry)
			f.pass()
			if !bytes.Equal(before, f.config()) {
				f.Error("the configuration was written")
			}
			f.wantReport(enforce.Applied, "Enabled", 1)
			if got := f.last.Results[0].Digest; got != entry.Document.Digest {
				f.Errorf("document = %s, want that of the newer document, %s", got, entry.Document.Digest)
			}
		},
		"a rule that somebody deletes comes back": func(f *fleet) {
			f.want(f.publish(1, 1))
			f.pass()
			whole := f.config()
			f.edit("EMS M1.1 Block probe", "Something else")
			f.pass()
			f.wantInPlace()
			f.wantChanges(cluster.Change{Kind: cluster.DriftRepaired, ID: "M1", Revision: 1})
			f.wantReport(enforce.Applied, "Enabled", 1)
			if len(f.config()) < len(whole) {
				f.Error("the repaired configuration is smaller than before")
			}
		},
		"a web.config that clears the rules is told, with its line, until it is gone": func(f *fleet) {
			f.want(f.publish(1, 1))
			f.pass()
			if got := f.last.Results[0]; got.Effective != "True" {
				f.Fatalf("result = %+v, want it in effect", got)
			}
			name := filepath.Join(f.root, filepath.FromSlash(iistree.WebConfig))
			before, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			clearing := "<configuration>\n  <system.webServer>\n    <rewrite>\n      <rules>\n        <clear />\n      </rules>\n    </rewrite>\n  </system.webServer>\n</configuration>\n"
			if err := os.WriteFile(name, []byte(clearing), 0o600); err != nil {
				f.Fatal(err)
			}
			f.pass()
			f.wantInPlace()
			f.wantReport(enforce.Applied, "Cleared", 1)
			f.wantChanges()
			if got := f.last.Results[0]; got.Effective != "False" || !strings.Contains(got.Message, name+", line 5: <clear>") {
				f.Errorf("result = %+v, want the file and the line that clear", got)
			}
			if data, err := os.ReadFile(name); err != nil || string(data) != clearing {
				f.Errorf("the web.config of others was changed: %q, %v", data, err)
			}
			if err := os.WriteFile(name, before, 0o600); err != nil {
				f.Fatal(err)
			}
			f.pass()
			f.wantReport(enforce.Applied, "Enabled", 1)
			if got := f.last.Results[0]; got.Effective != "True" || got.Message != "" {
				f.Errorf("result = %+v, want it in effect again", got)
			}
		},
		"a pool that somebody starts is stopped again": func(f *fleet) {
			f.want(f.publish(1, 1))
			f.pass()
			if err := standin.NewPools(f.root, nil).Start(f.Context(), "MSExchangeOABAppPool"); err != nil {
				f.Fatal(err)
			}
			f.pass()
			f.wantInPlace()
			f.wantChanges(cluster.Change{Kind: cluster.DriftRepaired, ID: "M1", Revision: 1})
		},
		"a service is disabled, the health manager with it, and both come back": func(f *fleet) {
			services := standin.NewServices(f.root, nil)
			list := []standin.ServiceEntry{
				{Name: "MSExchangeHM", StartType: iiscontrol.StartAutomatic, State: iiscontrol.ServiceRunning},
				{Name: "MSExchangeUM", StartType: iiscontrol.StartDelayed, State: iiscontrol.ServiceRunning},
			}
			if err := services.Set(list); err != nil {
				f.Fatal(err)
			}
			f.more = []ocs.Action{{ID: "M1.3", Type: ocs.Service, Scope: ocs.ScopeServer, Target: "MSExchangeUM", Description: "Service", Value: ocs.ValueDisabled}}
			entry := f.publish(1, 1)
			f.want(entry)
			f.pass()
			f.wantInPlace()
			f.wantReport(enforce.Applied, "Enabled", 1)
			for _, s := range list {
				if got, err := services.Query(f.Context(), s.Name); err != nil || got.StartType != iiscontrol.StartDisabled || got.State != iiscontrol.ServiceStopped {
					f.Errorf("%s is %+v, error %v", s.Name, got, err)
				}
			}
			entry.Decision = policy.Decision{Desired: policy.Remove, Reason: policy.BlockedByPool}
			f.want(entry)
			f.pass()
			for _, s := range list {
				if got, err := services.Query(f.Context(), s.Name); err != nil || got.StartType != s.StartType || got.State != s.State {
					f.Errorf("%s is %+v, error %v", s.Name, got, err)
				}
			}
		},
		"a mitigation that blocks a request of the pool waits until the pool takes it back": func(f *fleet) {
			before := f.config()
			entry := f.publish(1, 1)
			f.want(entry)
			f.plan.MustPass = []samples.Sample{{Number: 1, Pool: true, Expect: samples.Passed, URL: "/powershell/healthcheck.htm"}}
			f.pass()
			f.wantReport(enforce.Failed, iis.SamplesFailed, 0)
			f.wantChanges()
			want := `the pool's mustPass request 1 (GET "/powershell/healthcheck.htm") on site "Default Web Site": expected Passed, got Aborted by rule "EMS M1.1 Block probe"`
			if got := f.last.Results[0].Message; !strings.Contains(got, want) {
				f.Errorf("message = %q, want it to say %q", got, want)
			}
			if !bytes.Equal(before, f.config()) || f.poolState() != iiscontrol.PoolStarted {
				f.Error("something of it was put in place")
			}
			f.want(entry)
			f.pass()
			f.wantInPlace()
			f.wantReport(enforce.Applied, "Enabled", 1)
		},
		"a request that the pool adds later is told and takes nothing away": func(f *fleet) {
			entry := f.publish(1, 1)
			f.want(entry)
			f.pass()
			f.want(entry)
			f.plan.MustPass = []samples.Sample{{Number: 1, Pool: true, Expect: samples.Passed, URL: "/powershell/healthcheck.htm"}}
			f.pass()
			f.wantInPlace()
			f.wantReport(enforce.Applied, iis.SamplesFailed, 1)
			if got := f.last.Results[0]; got.Effective != "True" || !strings.Contains(got.Message, "in place and stays") {
				f.Errorf("result = %+v, want it in effect and the request told", got)
			}
		},
		"a revision that blocks its own must-pass sample leaves the earlier one": func(f *fleet) {
			f.want(f.publish(1, 1))
			f.pass()
			f.samples = []ocs.Sample{{Expect: ocs.Blocked, URL: "/powershell"}, {Expect: ocs.Passed, URL: "/owa?x=powershell"}}
			f.want(f.publish(2, 2))
			f.pass()
			f.wantInPlace()
			f.wantReport(enforce.Failed, iis.SamplesFailed, 1)
			f.samples = f.samples[:1]
			f.want(f.publish(3, 3))
			f.pass()
			f.wantReport(enforce.Applied, "Enabled", 3)
		},
		"a pattern of exponential cost is refused on the server, too": func(f *fleet) {
			f.tamper = func(unsigned []byte) []byte {
				return bytes.ReplaceAll(unsigned, []byte(`pattern="powershell"`), []byte(`pattern="^(a+)+$"`))
			}
			before := f.config()
			f.want(f.publish(1, 1))
			f.pass()
			f.wantReport(enforce.Failed, enforce.ReasonConfigRefused, 0)
			if got := f.last.Results[0].Message; !strings.Contains(got, ocs.ReasonCostlyPattern) {
				f.Errorf("message = %q, want it to say %s", got, ocs.ReasonCostlyPattern)
			}
			if !bytes.Equal(before, f.config()) {
				f.Error("the configuration was written")
			}
		},
		"a block leaves the server as it was, byte for byte": func(f *fleet) {
			before := f.config()
			entry := f.publish(1, 1)
			f.want(entry)
			f.pass()
			f.wantInPlace()
			entry.Decision = policy.Decision{Desired: policy.Remove, Reason: policy.BlockedByPool, Message: "the pool blocks M1: breaks printing"}
			f.want(entry)
			f.pass()
			if diff := cmp.Diff(string(before), string(f.config())); diff != "" {
				f.Errorf("configuration differs (-before +after):\n%s", diff)
			}
			if got := f.poolState(); got != iiscontrol.PoolStarted {
				f.Errorf("the pool is %s, want it started", got)
			}
			f.wantReport(enforce.Removed, "BlockedByPool", 0)
			f.wantChanges(cluster.Change{Kind: cluster.MitigationRemoved, ID: "M1", Revision: 1})
		},
		"a document that was tampered with changes nothing": func(f *fleet) {
			f.want(f.publish(1, 1))
			f.pass()
			before := f.config()
			entry := f.publish(2, 2)
			b := f.bundles["contoso-2"]
			b.Document = bytes.Replace(b.Document, []byte("AbortRequest"), []byte("None"), 1)
			f.bundles["contoso-2"] = b
			f.want(entry)
			f.pass()
			if !bytes.Equal(before, f.config()) {
				f.Error("the configuration was written")
			}
			f.wantInPlace()
			f.wantReport(enforce.Failed, "Untrusted", 1)
			f.wantChanges()
		},
		"a plan that claims another revision than was signed changes nothing": func(f *fleet) {
			entry := f.publish(1, 1)
			entry.Revision = 2
			before := f.config()
			f.want(entry)
			f.pass()
			if !bytes.Equal(before, f.config()) {
				f.Error("the configuration was written")
			}
			f.wantReport(enforce.Failed, "PlanMismatch", 0)
		},
		"an older document is refused": func(f *fleet) {
			older := f.publish(1, 1)
			f.want(f.publish(2, 2))
			f.pass()
			f.want(older)
			f.pass()
			f.wantInPlace()
			f.wantReport(enforce.Failed, "SequenceRolledBack", 2)
		},
		"after a restart without a network everything is still enforced": func(f *fleet) {
			f.want(f.publish(1, 1))
			f.pass()
			f.away = true
			f.restart()
			f.edit("EMS M1.1 Block probe", "Something else")
			f.pass()
			f.wantInPlace()
			f.away = false
			f.pass()
			f.wantReport(enforce.Applied, "Enabled", 1)
			// What was done meanwhile is told as soon as somebody listens.
			f.wantChanges(cluster.Change{Kind: cluster.DriftRepaired, ID: "M1", Revision: 1})
			f.pass()
			f.wantChanges()
		},
		"a plan that was seen before the network went is carried out without it": func(f *fleet) {
			entry := f.publish(1, 1)
			entry.Release = rollout.Release{}
			f.want(entry)
			f.pass() // fetches and accepts the document
			f.wantReport(enforce.Pending, "AwaitingStage", 0)
			entry.Release = rollout.ToAll()
			f.want(entry)
			if err := f.loop.memory.SavePlan(f.plan); err != nil {
				f.Fatal(err)
			}
			f.away = true
			f.restart()
			f.pass()
			f.wantInPlace()
		},
		"a plan that is deleted removes nothing": func(f *fleet) {
			f.want(f.publish(1, 1))
			f.pass()
			f.plan = nil
			f.pass()
			f.wantInPlace()
			f.wantReport(enforce.Applied, "NotInPlan", 1)
			if f.last.PlanGeneration != 0 {
				f.Errorf("plan generation = %d, want none", f.last.PlanGeneration)
			}
		},
		"a plan that cannot be read leaves the last one in force": func(f *fleet) {
			f.want(f.publish(1, 1))
			f.pass()
			f.planErr = fmt.Errorf("plan: %w", cluster.ErrPlanUnreadable)
			f.edit("EMS M1.1 Block probe", "Something else")
			f.pass()
			f.wantInPlace()
			if f.last.Problem == nil || f.last.Problem.Reason != "InvalidSpec" {
				f.Errorf("problem = %+v, want InvalidSpec", f.last.Problem)
			}
		},
		"what the trust file rests on is reported": func(f *fleet) {
			f.pass()
			if f.last.Trust == nil || f.last.Trust.Err != nil || len(f.last.Trust.Anchors) != 1 || !f.last.Trust.At.Equal(now) {
				f.Errorf("trust = %+v, want one root as of now", f.last.Trust)
			}
		},
		"what a logged check finds is reported and keeps nothing from being put in place": func(f *fleet) {
			content, err := os.ReadFile(f.trustFile)
			if err != nil {
				f.Fatal(err)
			}
			logged := string(content) + "    subject: {organization: Fabrikam}\n    levels: {subject: Log}\n"
			if err := os.WriteFile(f.trustFile, []byte(logged), 0o600); err != nil {
				f.Fatal(err)
			}
			f.want(f.publish(1, 1))
			f.pass()
			f.wantInPlace()
			if f.last.Checks == nil || len(f.last.Checks.Findings) != 1 || f.last.Checks.Findings[0].Feed != "contoso" {
				f.Errorf("checks = %+v, want one finding of the feed", f.last.Checks)
			}
			if err := os.WriteFile(f.trustFile, []byte("feeds: ["), 0o600); err != nil {
				f.Fatal(err)
			}
			f.pass()
			if f.last.Checks != nil {
				f.Errorf("checks = %+v under a trust file that cannot be used, want no word on them", f.last.Checks)
			}
		},
		"a list from the cluster that revokes the signer lets nothing new in, takes nothing away, and is reported": func(f *fleet) {
			f.revoke("Prefer")
			f.want(f.publish(1, 1))
			f.pass()
			f.wantReport(enforce.Applied, "Enabled", 1)
			next := f.publish(2, 2)
			f.want(next)
			f.handOut("contoso-2", f.list(f.keys.Issuing, time.Hour, f.keys.ECDSA))
			f.pass()
			f.wantInPlace()
			f.wantReport(enforce.Failed, "Untrusted", 1)
			if !strings.Contains(f.last.Results[0].Message, "revoked at") {
				f.Errorf("message = %q, want it to say that the signer is revoked", f.last.Results[0].Message)
			}
			f.away = true
			f.restart()
			f.edit("EMS M1.1 Block probe", "Something else")
			f.pass()
			f.away = false
			f.wantInPlace()
		},
		"an old list that is handed out again is refused and reported": func(f *fleet) {
			f.revoke("Prefer")
			f.want(f.publish(1, 1))
			f.handOut("contoso-1", f.list(f.keys.Issuing, time.Hour))
			f.pass()
			f.wantInPlace()
			if f.last.Trust == nil || len(f.last.Trust.Refused) != 0 || len(f.last.Trust.Anchors) != 2 {
				f.Fatalf("trust = %+v, want a root and a list", f.last.Trust)
			}
			f.handOut("contoso-1", f.list(f.keys.Issuing, 2*time.Hour))
			for range 2 {
				f.pass()
				f.wantInPlace()
				if len(f.last.Trust.Refused) != 1 || !strings.Contains(f.last.Trust.Refused[0], "is older than") {
					f.Fatalf("refused = %q, want the older list", f.last.Trust.Refused)
				}
			}
		},
		"a trust file that breaks is reported and takes nothing away": func(f *fleet) {
			f.want(f.publish(1, 1))
			f.pass()
			if err := os.WriteFile(f.trustFile, []byte("feeds: ["), 0o600); err != nil {
				f.Fatal(err)
			}
			f.pass()
			f.wantInPlace()
			if f.last.Trust == nil || f.last.Trust.Err == nil {
				f.Errorf("trust = %+v, want the error of the file", f.last.Trust)
			}
		},
		"a trust file whose root has run out is reported and takes nothing away": func(f *fleet) {
			f.want(f.publish(1, 1))
			f.pass()
			f.clock.SetTime(f.keys.Root.Certificate.NotAfter.Add(time.Hour))
			f.restart()
			f.pass()
			f.wantInPlace()
			if f.last.Trust == nil || len(f.last.Trust.Anchors) != 1 || !f.last.Trust.Anchors[0].Expired(f.last.Trust.At) {
				f.Errorf("trust = %+v, want an expired root", f.last.Trust)
			}
		},
		"an audit changes nothing": func(f *fleet) {
			before := f.config()
			f.want(f.publish(1, 1))
			f.plan.AuditOnly = true
			f.pass()
			if !bytes.Equal(before, f.config()) {
				f.Error("the configuration was written")
			}
			f.wantReport(enforce.Audited, "Audit", 0)
		},
		"an update that makes a mitigation unnecessary removes it": func(f *fleet) {
			before := f.config()
			f.want(f.publish(1, 1))
			f.pass()
			f.said.Build = "15.2.2562.43"
			f.restart()
			fixed, err := facts.Parse(facts.Facts{Build: "15.2.2562.40"})
			if err != nil {
				f.Fatal(err)
			}
			f.want(f.plan.Entries...)
			f.plan.FixedBuilds = []policy.FixedBuild{{ID: "M1", Build: fixed.Build}}
			f.pass()
			f.wantReport(enforce.NotApplicable, "FixedByUpdate", 0)
			if !bytes.Equal(before, f.config()) {
				f.Error("the configuration is not as it was")
			}
		},
		"a server without the rewrite module says so": func(f *fleet) {
			if err := iistree.Write(f.root, iistree.Options{NoRewrite: true}); err != nil {
				f.Fatal(err)
			}
			f.want(f.publish(1, 1))
			f.pass()
			f.wantReport(enforce.Failed, iis.RewriteSectionMissing, 0)
			if f.last.Facts.RewriteModule != "Missing" {
				f.Errorf("rewrite module = %s, want it missing", f.last.Facts.RewriteModule)
			}
		},
		"a configuration that is broken fails the mitigation and is not touched": func(f *fleet) {
			f.want(f.publish(1, 1))
			f.edit("</configuration>", "")
			broken := f.config()
			f.pass()
			f.wantReport(enforce.Failed, iis.ConfigurationMalformed, 0)
			if !bytes.Equal(broken, f.config()) {
				f.Error("the broken configuration was written")
			}
		},
	} {
		t.Run(name, func(t *testing.T) { test(newFleet(t)) })
	}
}

// brokenServer does not know what is in place.
type brokenServer struct {
	server
	reconciled bool
}

func (*brokenServer) Applied() ([]iis.Mitigation, error) {
	return nil, errors.New("journal: disk failure")
}

func (s *brokenServer) Reconcile(context.Context, []iis.Mitigation) ([]iis.Outcome, error) {
	s.reconciled = true
	return nil, nil
}

func TestLoopChangesNothingWithoutKnowingWhatIsInPlace(t *testing.T) {
	f := newFleet(t)
	broken := &brokenServer{server: f.loop.server}
	f.loop.server = broken
	f.want(f.publish(1, 1))
	f.pass()
	if broken.reconciled {
		t.Error("the server was changed")
	}
	if f.last.Problem == nil || !strings.Contains(f.last.Problem.Message, "disk failure") {
		t.Errorf("problem = %+v, want the disk failure", f.last.Problem)
	}
}

func TestLoopReportsNothingOfAPassThatWasCutShort(t *testing.T) {
	f := newFleet(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f.loop.pass(ctx)
	if f.reports != 0 {
		t.Errorf("%d reports, want none", f.reports)
	}
}

func TestLeisure(t *testing.T) {
	f := newFleet(t)
	f.loop.random = func() float64 { return 0.5 }
	m1 := f.publish(1, 1)
	plan := func(window time.Duration, entries ...enforce.Entry) {
		f.want(entries...)
		f.plan.Reporting.Window = window
	}
	wantLeisure := func(want time.Duration, when string) {
		t.Helper()
		if got := f.loop.leisure(); got != want {
			t.Errorf("%s: a change may wait for %s, want %s", when, got, want)
		}
	}
	waits := m1
	waits.ID, waits.Release, waits.Rollout.ID = "M2", rollout.Release{}, "r1-a1-aaaaaaaa"
	plan(10*time.Second, m1)
	wantLeisure(0, "before the first pass")
	f.pass()
	plan(10*time.Second, m1, waits)
	wantLeisure(5*time.Second, "another mitigation that waits for its stage")
	waits.Release = rollout.ToAll()
	plan(10*time.Second, m1, waits)
	wantLeisure(0, "the stage has come")
	f.pass() // the document holds no M2
	plan(10*time.Second, m1, waits)
	wantLeisure(0, "something is left undone")
	plan(0, m1)
	f.pass()
	plan(0, m1)
	wantLeisure(0, "a small fleet")
	f.away = true
	wantLeisure(0, "nobody knows the plan")
}

// A disk that cannot be read is another thing to look for than one that lost something.
func TestRecordsThatCannotBeReadAreNotCalledDamaged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	memory, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	l := &loop{memory: memory, log: funcr.New(func(_, line string) { said = append(said, line) }, funcr.Options{})}
	look := func(want ...string) {
		t.Helper()
		said = nil
		l.tellOfDamage()
		if !slices.EqualFunc(said, want, strings.Contains) {
			t.Errorf("the log says %q, want %q", said, want)
		}
	}
	look()
	if err := os.WriteFile(filepath.Join(dir, "feed-contoso.json"), []byte(`{"version":1`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := memory.Feed("contoso"); err != nil {
		t.Fatal(err)
	}
	look("Records were damaged and set aside")
	if err := errors.Join(os.Rename(dir, dir+"-away"), os.WriteFile(dir, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	look("Whether records are damaged is not known")
	look()
	if err := errors.Join(os.Remove(dir), os.Rename(dir+"-away", dir)); err != nil {
		t.Fatal(err)
	}
	look("Whether records are damaged is known again")
}
