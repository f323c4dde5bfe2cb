package local

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"

	"mitigation.dev/ems/agent/facts"
	"mitigation.dev/ems/agent/iis"
	"mitigation.dev/ems/agent/iis/standin"
	"mitigation.dev/ems/agent/journal/durable"
	"mitigation.dev/ems/agent/state"
	"mitigation.dev/ems/internal/build"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/xmlsig"
	"mitigation.dev/ems/test/iistree"
	"mitigation.dev/ems/test/pki"
)

var now = time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)

// sharedKeys takes a while to make.
var sharedKeys = sync.OnceValues(func() (*pki.PKI, error) { return pki.New(now) })

const owaPool = "MSExchangeOWAAppPool"

// box is a server with what was carried to it.
type box struct {
	*testing.T

	dir   string
	keys  *pki.PKI
	clock *clocktesting.FakeClock
}

func newBox(t *testing.T, o iistree.Options) *box {
	t.Helper()
	keys, err := sharedKeys()
	if err != nil {
		t.Fatal(err)
	}
	b := &box{T: t, dir: t.TempDir(), keys: keys, clock: clocktesting.NewFakeClock(now)}
	if err := iistree.Write(b.path("drive"), o); err != nil {
		t.Fatal(err)
	}
	b.trust("contoso")
	return b
}

func (b *box) path(name string) string { return filepath.Join(b.dir, filepath.FromSlash(name)) }

func (b *box) write(name, content string) string {
	b.Helper()
	if err := os.WriteFile(b.path(name), []byte(content), 0o600); err != nil {
		b.Fatal(err)
	}
	return b.path(name)
}

// trust writes a trust file with one policy under each of these names.
func (b *box) trust(feeds ...string) {
	b.Helper()
	indented := strings.ReplaceAll(strings.TrimSpace(string(b.keys.Root.PEM())), "\n", "\n      ")
	text := "apiVersion: ems.mitigation.dev/trust/v1\nfeeds:\n"
	for _, name := range feeds {
		text += "  " + name + ":\n    roots: |\n      " + indented + "\n"
	}
	b.write("trust.yaml", text)
}

// publish signs a document and carries it to the server.
func (b *box) publish(sequence int64, configs ...ocs.Config) string {
	b.Helper()
	unsigned, err := ocs.Build(ocs.Document{Version: ocs.Version11, Publisher: "Contoso", Sequence: sequence, Issued: now, Expires: now.AddDate(0, 0, 14), Configs: configs})
	if err != nil {
		b.Fatal(err)
	}
	return b.sign(fmt.Sprintf("mitigations-%d.xml", sequence), unsigned)
}

func (b *box) sign(name string, unsigned []byte) string {
	b.Helper()
	signed, err := xmlsig.Sign(unsigned, xmlsig.SignOptions{Key: b.keys.ECDSA.Key, Certificates: b.keys.ECDSA.Chain()})
	if err != nil {
		b.Fatal(err)
	}
	return b.write(name, string(signed))
}

func (b *box) options(document string, only ...string) Options {
	return Options{
		Document: document, TrustFile: b.path("trust.yaml"), IISRoot: b.path("drive"), StateDir: b.path("state"), Only: only,
		Pools: standin.NewPools(b.path("drive"), nil), Services: standin.NewServices(b.path("drive"), nil),
		Facts: facts.Facts{Product: "ExchangeServer", Role: "Mailbox", Build: "15.2.1118.9"}, Clock: b.clock,
	}
}

func (b *box) apply(document string, only ...string) *Report {
	return Apply(b.Context(), b.options(document, only...))
}

func (b *box) revert(only ...string) *Report { return Revert(b.Context(), b.options("", only...)) }

func (b *box) status(document string) *Report { return Status(b.Context(), b.options(document)) }

// disk gives every file below a folder.
func (b *box) disk(name string) map[string]string {
	b.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(b.path(name), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		// Run-time states of pools are kept in a file here, and are not configuration.
		if e.Name() != "pools.json" {
			files[path] = string(data)
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return files
}

func (b *box) config() string {
	b.Helper()
	data, err := os.ReadFile(b.path("drive/" + iistree.ConfigFile))
	if err != nil {
		b.Fatal(err)
	}
	return string(data)
}

// wantReport compares result and standings, written as "M1 Applied/Enabled 1".
func (b *box) wantReport(r *Report, result Result, exit int, want ...string) {
	b.Helper()
	var got []string
	for _, m := range r.Mitigations {
		got = append(got, fmt.Sprintf("%s %s/%s %d", m.ID, m.State, m.Reason, m.Revision))
	}
	if r.Result != result || r.ExitCode() != exit {
		b.Errorf("%s: result %s, exit code %d, problem %v, want %s, %d", r.Command, r.Result, r.ExitCode(), r.Problem, result, exit)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		b.Errorf("%s: mitigations (-want +got):\n%s\n%+v", r.Command, diff, r.Mitigations)
	}
}

func (b *box) wantRefused(r *Report, reason, message string) {
	b.Helper()
	if r.Result != Refused || r.ExitCode() != 1 || r.Problem == nil || r.Problem.Reason != reason || !strings.Contains(r.Problem.Message, message) {
		b.Errorf("%s: result %s, problem %+v, want it refused for %s with %q", r.Command, r.Result, r.Problem, reason, message)
	}
}

func rule(id string, revision int64, word string) ocs.Config {
	return ocs.Config{ID: id, Revision: revision, Description: "Blocks a probe", Actions: []ocs.Action{
		{ID: id + ".1", Type: ocs.URLRewrite, Scope: ocs.ScopeSite, Target: "Default Web Site", Description: "Rule", Rewrite: []byte(
			`<rewrite><rules><rule name="Block probe" stopProcessing="true"><match url="` + word + `" /><action type="AbortRequest" /></rule></rules></rewrite>`)},
	}}
}

func pool(id, name string) ocs.Config {
	return ocs.Config{ID: id, Revision: 1, Description: "Stops a pool", Actions: []ocs.Action{
		{ID: id + ".1", Type: ocs.AppPool, Scope: ocs.ScopeServer, Target: name, Description: "Pool", Value: ocs.ValueStopped},
	}}
}

func TestApplyStatusRevertLeaveTheServerAsItWas(t *testing.T) {
	for name, tree := range map[string]iistree.Options{"line ends of Windows": {CRLF: true}, "other line ends": {}} {
		for _, webConfig := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, web.config %v", name, webConfig), func(t *testing.T) {
				b := newBox(t, tree)
				original := b.disk("drive")
				document := b.publish(1, pool("A1", owaPool), rule("M1", 1, "probe"))
				o := b.options(document)
				o.WebConfig = webConfig
				r := Apply(t.Context(), o)
				b.wantReport(r, Changed, 0, "A1 Applied/Enabled 1", "M1 Applied/Enabled 1")
				wantFiles := 1
				if webConfig {
					wantFiles = 2
				}
				if len(r.Files) != wantFiles || len(r.Switches) != 1 || r.Switches[0] != (Switch{"Pool", owaPool, "Stopped"}) {
					t.Errorf("files %v, switches %v", r.Files, r.Switches)
				}
				if !strings.Contains(b.config(), `autoStart="false"`) {
					t.Error("the pool would start again with the server")
				}
				b.wantReport(Apply(t.Context(), o), Unchanged, 0, "A1 Applied/Enabled 1", "M1 Applied/Enabled 1")
				r = b.status("")
				b.wantReport(r, Unchanged, 0, "A1 Applied/InPlace 1", "M1 Applied/InPlace 1")
				for _, m := range r.Mitigations {
					if !m.LastChange.Equal(now) || m.Digest == "" || len(m.Actions) != 1 {
						t.Errorf("status does not say everything: %+v", m)
					}
				}
				b.wantReport(b.revert(), Changed, 0, "A1 Removed/Reverted 0", "M1 Removed/Reverted 0")
				if diff := cmp.Diff(original, b.disk("drive")); diff != "" {
					t.Errorf("the server is not as it was (-before +after):\n%s", diff)
				}
				if state, err := standin.NewPools(b.path("drive"), nil).State(t.Context(), owaPool); err != nil || state != "Started" {
					t.Errorf("the pool is %s, error %v", state, err)
				}
				b.wantReport(b.revert(), Unchanged, 0)
				b.wantReport(b.status(""), Unchanged, 0)
			})
		}
	}
}

func TestSamplesAreAGate(t *testing.T) {
	b := newBox(t, iistree.Options{})
	good, bad := rule("M1", 1, "powershell"), rule("M2", 1, "o")
	good.Samples = []ocs.Sample{{Expect: ocs.Blocked, URL: "/powershell"}, {Expect: ocs.Passed, URL: "/owa"}}
	bad.Samples = []ocs.Sample{{Expect: ocs.Blocked, URL: "/o"}, {Expect: ocs.Passed, URL: "/owa/auth"}}
	document := b.publish(1, good, bad)
	before := b.config()
	diff := Diff(t.Context(), b.options(document))
	if m := diff.Mitigations[1]; m.State != "Failed" || m.Reason != iis.SamplesFailed || b.config() != before {
		t.Errorf("diff says %+v, want that M2 would not be applied", m)
	}
	report := b.apply(document)
	if m := report.Mitigations[0]; m.State != "Applied" || m.Effective != "True" {
		t.Errorf("M1 is %+v, want it applied", m)
	}
	m := report.Mitigations[1]
	if m.State != "Failed" || m.Reason != iis.SamplesFailed || !strings.Contains(m.Message, `sample 2 (GET "/owa/auth")`) {
		t.Errorf("M2 is %+v, want it refused for its second sample", m)
	}
	if text := b.config(); !strings.Contains(text, "EMS M1.1") || strings.Contains(text, "EMS M2.1") {
		t.Error("the configuration does not hold M1 alone")
	}
}

func TestALookLeavesNoTrace(t *testing.T) {
	b := newBox(t, iistree.Options{CRLF: true})
	document := b.publish(1, pool("A1", owaPool), rule("M1", 1, "probe"))
	b.apply(b.publish(2, rule("M9", 1, "other")))
	before := b.disk(".")
	o := b.options(b.publish(3, pool("A1", owaPool), rule("M1", 1, "probe")))
	before[o.Document] = b.disk(".")[o.Document]
	o.DryRun = true
	for name, r := range map[string]*Report{
		"apply": Apply(t.Context(), o), "diff": Diff(t.Context(), b.options(o.Document)), "revert": Revert(t.Context(), o),
		"status": b.status(""), "status with a document": b.status(o.Document), "a refused document": Diff(t.Context(), b.options(document)),
	} {
		if (name == "apply" || name == "diff" || name == "revert") && (r.Result != Changed || len(r.Files) != 1 || !r.DryRun) {
			t.Errorf("%s: result %s, files %v, dry run %v", name, r.Result, r.Files, r.DryRun)
		}
	}
	if diff := cmp.Diff(before, b.disk(".")); diff != "" {
		t.Errorf("the disk was changed (-before +after):\n%s", diff)
	}
	// The document was not accepted either, so an older one may still come.
	b.wantReport(b.apply(o.Document), Changed, 0, "A1 Applied/Enabled 1", "M1 Applied/Enabled 1", "M9 Removed/Withdrawn 0")
}

func TestALookNeedsNoStateFolder(t *testing.T) {
	b := newBox(t, iistree.Options{})
	b.wantReport(Diff(t.Context(), b.options(b.publish(1, rule("M1", 1, "probe")))), Changed, 0, "M1 Applied/Enabled 1")
	b.wantReport(b.status(""), Unchanged, 0)
	if _, err := os.Stat(b.path("state")); !os.IsNotExist(err) {
		t.Errorf("the state folder was made: %v", err)
	}
}

func TestRefusedDocumentsChangeNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		document func(b *box) string
		change   func(b *box, o *Options)
		want     string
		message  string
	}{
		"a document that was tampered with": {
			document: func(b *box) string {
				data, err := os.ReadFile(b.publish(2, rule("M1", 1, "probe")))
				if err != nil {
					b.Fatal(err)
				}
				return b.write("tampered.xml", strings.Replace(string(data), "probe", "prole", 1))
			},
			want: "Untrusted", message: "not trusted on this server",
		},
		"an older document": {
			document: func(b *box) string {
				b.apply(b.publish(7, rule("M1", 2, "newer")))
				return b.publish(6, rule("M1", 1, "older"))
			},
			want: "SequenceRolledBack", message: "6",
		},
		"an older document after a revert": {
			document: func(b *box) string {
				b.apply(b.publish(7, rule("M1", 2, "newer")))
				b.revert()
				return b.publish(6, rule("M1", 1, "older"))
			},
			want: "SequenceRolledBack", message: "6",
		},
		"an expired document": {
			document: func(b *box) string {
				b.clock.SetTime(now.AddDate(0, 1, 0))
				return b.publish(1, rule("M1", 1, "probe"))
			},
			want: "Expired",
		},
		"a document from the future": {
			document: func(b *box) string {
				b.clock.SetTime(now.AddDate(0, 0, -1))
				return b.publish(1, rule("M1", 1, "probe"))
			},
			want: "NotYetValid",
		},
		"no document": {document: func(b *box) string { return b.path("none.xml") }, want: ReasonDocumentUnreadable, message: "none.xml"},
		"what is no document": {
			document: func(b *box) string { return b.write("text.xml", "hello") }, want: "Untrusted",
		},
		"a feed that the trust file does not know": {change: func(_ *box, o *Options) { o.Feed = "fabrikam" }, want: "Untrusted", message: `"fabrikam"`},
		"no trust file":     {change: func(b *box, o *Options) { o.TrustFile = b.path("none.yaml") }, want: "Untrusted", message: "none.yaml"},
		"a bad trust file":  {change: func(b *box, o *Options) { o.TrustFile = b.write("bad.yaml", "feeds: 1") }, want: "Untrusted", message: "bad.yaml"},
		"an unknown id":     {change: func(_ *box, o *Options) { o.Only = []string{"M1", "M7"} }, want: ReasonUnknownMitigation, message: "it has M1"},
		"half a mitigation": {change: func(_ *box, o *Options) { o.Only = []string{"m1.1"} }, want: ReasonUnknownMitigation, message: "--only M1"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t, iistree.Options{CRLF: true})
			if tc.document == nil {
				tc.document = func(b *box) string { return b.publish(1, rule("M1", 1, "probe")) }
			}
			o := b.options(tc.document(b))
			if tc.change != nil {
				tc.change(b, &o)
			}
			before := b.disk("drive")
			for _, run := range []func() *Report{func() *Report { return Apply(t.Context(), o) }, func() *Report { return Diff(t.Context(), o) }} {
				b.wantRefused(run(), tc.want, tc.message)
			}
			if diff := cmp.Diff(before, b.disk("drive")); diff != "" {
				t.Errorf("the server was changed (-before +after):\n%s", diff)
			}
		})
	}
}

func TestADocumentThatWasAcceptedStaysGoodPastItsExpiry(t *testing.T) {
	b := newBox(t, iistree.Options{})
	document := b.publish(1, rule("M1", 1, "probe"))
	b.apply(document)
	b.revert()
	b.clock.SetTime(now.AddDate(2, 0, 0)) // the signer's certificate has run out as well
	b.wantReport(b.apply(document), Changed, 0, "M1 Applied/Enabled 1")
}

func TestTheServerIsJudgedByItsFacts(t *testing.T) {
	vulnerable := rule("M1", 1, "probe")
	number := func(text string) build.Number {
		n, err := build.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	vulnerable.Applicability = []ocs.Product{{Name: ocs.ProductExchangeServer, Branches: []ocs.Branch{{From: number("15.2.1118.0"), FixedIn: number("15.2.1118.20")}}}}
	for name, tc := range map[string]struct {
		facts facts.Facts
		want  string
	}{
		"a vulnerable build":                {facts.Facts{Product: "ExchangeServer", Build: "15.2.1118.9"}, "M1 Applied/Enabled 1"},
		"a fixed build":                     {facts.Facts{Product: "ExchangeServer", Build: "15.2.1118.20"}, "M1 NotApplicable/FixedByUpdate 0"},
		"another product":                   {facts.Facts{Product: "SharePointServer"}, "M1 NotApplicable/NotApplicable 0"},
		"what is unknown speaks for a rule": {facts.Facts{}, "M1 Applied/Enabled 1"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t, iistree.Options{})
			o := b.options(b.publish(1, vulnerable))
			o.Facts = tc.facts
			r := Apply(t.Context(), o)
			result := Changed
			if len(r.Files) == 0 {
				result = Unchanged
			}
			b.wantReport(r, result, 0, tc.want)
		})
	}
}

func TestAnUpdateThatFixesTheHoleTakesTheMitigationAway(t *testing.T) {
	b := newBox(t, iistree.Options{})
	m := rule("M1", 1, "probe")
	m.Applicability = []ocs.Product{{Name: ocs.ProductExchangeServer, Branches: []ocs.Branch{{From: build.Number{15, 2, 1118, 0}, FixedIn: build.Number{15, 2, 1118, 20}}}}}
	original, document := b.config(), b.publish(1, m)
	b.apply(document)
	o := b.options(document)
	o.Facts.Build = "15.2.1118.21"
	b.wantReport(Apply(t.Context(), o), Changed, 0, "M1 NotApplicable/FixedByUpdate 0")
	if b.config() != original {
		t.Error("the rule is still there")
	}
}

func TestOnlyLimitsWhatIsDone(t *testing.T) {
	b := newBox(t, iistree.Options{})
	document := b.publish(1, rule("M1", 1, "one"), rule("M1.2", 1, "child"), rule("M10", 1, "ten"))
	b.wantReport(b.apply(document, "M10"), Changed, 0, "M10 Applied/Enabled 1")
	b.wantReport(b.apply(document, "m1"), Changed, 0, "M1 Applied/Enabled 1", "M1.2 Applied/Enabled 1", "M10 Applied/Kept 1")
	b.wantReport(b.revert("M1"), Changed, 0, "M1 Removed/Reverted 0", "M1.2 Removed/Reverted 0", "M10 Applied/Kept 1")
	r := b.revert("M1")
	b.wantReport(r, Unchanged, 0, "M10 Applied/Kept 1")
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "--only M1: not in place") {
		t.Errorf("warnings %q", r.Warnings)
	}
}

func TestANewerDocumentHasTheSay(t *testing.T) {
	for name, tc := range map[string]struct {
		second []ocs.Config
		only   []string
		want   []string
	}{
		"a new revision takes the place of the old one": {[]ocs.Config{rule("M1", 2, "better"), rule("M2", 1, "two")}, nil, []string{"M1 Applied/Enabled 2", "M2 Applied/Enabled 1"}},
		"what it does not list goes":                    {[]ocs.Config{rule("M2", 1, "two")}, nil, []string{"M1 Removed/Withdrawn 0", "M2 Applied/Enabled 1"}},
		"what is not meant stays all the same":          {[]ocs.Config{rule("M2", 1, "two")}, []string{"M2"}, []string{"M1 Applied/Kept 1", "M2 Applied/Enabled 1"}},
		"what is superseded goes": {
			[]ocs.Config{rule("M1", 1, "one"), func() ocs.Config { c := rule("M3", 1, "three"); c.Supersedes = []string{"m1"}; return c }()}, nil,
			[]string{"M1 Removed/Superseded 0", "M2 Removed/Withdrawn 0", "M3 Applied/Enabled 1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t, iistree.Options{})
			b.wantReport(b.apply(b.publish(1, rule("M1", 1, "one"), rule("M2", 1, "two"))), Changed, 0, "M1 Applied/Enabled 1", "M2 Applied/Enabled 1")
			document := b.publish(2, tc.second...)
			r := b.apply(document, tc.only...)
			b.wantReport(r, r.Result, 0, tc.want...)
		})
	}
}

func TestAnIDBelongsToTheFeedThatBroughtIt(t *testing.T) {
	b := newBox(t, iistree.Options{})
	b.trust("contoso", "fabrikam")
	o := b.options(b.publish(1, rule("M1", 1, "one")))
	r := Apply(t.Context(), o)
	if r.ExitCode() != 2 || !strings.Contains(r.Problem.Message, "2 feeds: contoso, fabrikam") {
		t.Errorf("exit code %d, problem %+v", r.ExitCode(), r.Problem)
	}
	o.Feed = "contoso"
	b.wantReport(Apply(t.Context(), o), Changed, 0, "M1 Applied/Enabled 1")
	o.Document, o.Feed = b.publish(2, rule("M1", 2, "two"), rule("M2", 1, "other")), "fabrikam"
	b.wantReport(Apply(t.Context(), o), Failed, 1, "M1 Failed/IDTaken 1", "M2 Applied/Enabled 1")
	if text := b.config(); !strings.Contains(text, `"one"`) || !strings.Contains(text, `"other"`) {
		t.Error("the other feed's rule was touched, or the own one is missing")
	}
}

func TestOneFailureDoesNotKeepTheOthersAway(t *testing.T) {
	b := newBox(t, iistree.Options{})
	elsewhere := rule("M2", 1, "two")
	elsewhere.Actions[0].Target = "No such site"
	r := b.apply(b.publish(1, rule("M1", 1, "one"), elsewhere))
	b.wantReport(r, Failed, 1, "M1 Applied/Enabled 1", "M2 Failed/SiteNotFound 0")
	b.wantReport(b.status(""), Unchanged, 0, "M1 Applied/InPlace 1")
}

func TestAnEntryThatBreaksTheFormatFailsAlone(t *testing.T) {
	b := newBox(t, iistree.Options{})
	unsigned, err := ocs.Build(ocs.Document{Version: ocs.Version11, Sequence: 1, Configs: []ocs.Config{rule("M1", 1, "one"), rule("M2", 1, "two")}})
	if err != nil {
		t.Fatal(err)
	}
	broken := bytes.Replace(unsigned, []byte(`<match url="two"`), []byte(`<match uri="two"`), 1)
	b.wantReport(b.apply(b.sign("broken.xml", broken)), Failed, 1, "M1 Applied/Enabled 1", "M2 Failed/ConfigRefused 0")
}

func TestStatusSeesDrift(t *testing.T) {
	b := newBox(t, iistree.Options{})
	original, document := b.config(), b.publish(1, rule("M1", 1, "one"))
	b.apply(document)
	b.write("drive/"+iistree.ConfigFile, original)
	r := b.status("")
	b.wantReport(r, Failed, 1, "M1 Drifted/Drifted 1")
	if !strings.Contains(r.Mitigations[0].Message, "applicationHost.config") {
		t.Errorf("message %q does not say where", r.Mitigations[0].Message)
	}
	b.wantReport(b.apply(document), Changed, 0, "M1 Applied/Enabled 1")
	b.wantReport(b.status(""), Unchanged, 0, "M1 Applied/InPlace 1")
}

func TestWhatIsInPlaceWithoutEffectIsAFailure(t *testing.T) {
	b := newBox(t, iistree.Options{})
	o := b.options(b.publish(1, rule("M1", 1, "one")))
	o.DryRun = true
	b.wantReport(Apply(t.Context(), o), Changed, 0, "M1 Applied/Enabled 1")
	b.write("drive/"+iistree.WebConfig, "<configuration><system.webServer><rewrite><rules><clear /></rules></rewrite></system.webServer></configuration>")
	b.wantReport(Apply(t.Context(), o), Failed, 1, "M1 Applied/Cleared 1")
	r := b.apply(o.Document)
	b.wantReport(r, Failed, 1, "M1 Applied/Cleared 1")
	if m := r.Mitigations[0]; m.Effective != "False" || !strings.Contains(m.Message, "web.config") {
		t.Errorf("effective %s, message %q", m.Effective, m.Message)
	}
	b.wantReport(b.status(""), Failed, 1, "M1 Applied/Cleared 1")
	var text strings.Builder
	if err := r.WriteText(&text); err != nil || !strings.Contains(text.String(), "NOT AS IT SHOULD BE: 1 in place without effect.") {
		t.Errorf("text, error %v:\n%s", err, &text)
	}
}

func TestALookDoesNotForeseeTheEffectInAFileThatIsNotThere(t *testing.T) {
	b := newBox(t, iistree.Options{})
	if err := os.Remove(b.path("drive/" + iistree.WebConfig)); err != nil {
		t.Fatal(err)
	}
	o := b.options(b.publish(1, rule("M1", 1, "one")))
	o.DryRun, o.WebConfig = true, true
	for want, dryRun := range map[string]bool{"": true, "True": false} {
		o.DryRun = dryRun
		r := Apply(t.Context(), o)
		b.wantReport(r, Changed, 0, "M1 Applied/Enabled 1")
		if m := r.Mitigations[0]; m.Effective != want || r.Files[0].Change != "Created" {
			t.Errorf("dry run %v: effective %q, want %q, files %v", dryRun, m.Effective, want, r.Files)
		}
		b.revert()
	}
}

func TestRulesOfOthersThatDoTheSameAreNamedAndLeftAlone(t *testing.T) {
	sites := iistree.DefaultSites()
	sites[0].Rewrite = `            <rewrite>
                <rules>
                    <rule name="EEMS M1.1 Block probe" stopProcessing="true">
                        <match url="one" />
                        <action type="AbortRequest" />
                    </rule>
                </rules>
            </rewrite>
`
	b := newBox(t, iistree.Options{Sites: sites})
	original := b.config()
	b.wantReport(b.apply(b.publish(1, rule("M1", 1, "one"))), Changed, 0, "M1 Applied/Enabled 1")
	r := b.status("")
	b.wantReport(r, Unchanged, 0, "M1 Applied/InPlace 1")
	if l := r.Mitigations[0].LookAlikes; len(l) != 1 || !strings.Contains(l[0], `"EEMS M1.1 Block probe" in `) {
		t.Errorf("look-alikes %q", l)
	}
	b.revert()
	if b.config() != original {
		t.Error("the server is not as it was")
	}
}

// afterwards runs something when a clock is asked to wait.
type afterwards struct {
	*clocktesting.FakeClock

	run func()
}

func (a *afterwards) After(time.Duration) <-chan time.Time {
	a.run()
	done := make(chan time.Time, 1)
	done <- a.Now()
	return done
}

func TestALookWaitsForAnAgentAtWork(t *testing.T) {
	b := newBox(t, iistree.Options{})
	b.apply(b.publish(1, rule("M1", 1, "one")))
	release, err := durable.Lock(b.path("state/iis/lock"))
	if err != nil {
		t.Fatal(err)
	}
	o, waits := b.options(""), 0
	o.Clock = &afterwards{FakeClock: b.clock, run: func() {
		if waits++; waits == 2 {
			release()
		}
	}}
	b.wantReport(Status(t.Context(), o), Unchanged, 0, "M1 Applied/InPlace 1")
	if waits != 2 {
		t.Errorf("waited %d times", waits)
	}
	if release, err = durable.Lock(b.path("state/iis/lock")); err != nil {
		t.Fatal(err)
	}
	defer release()
	o.Clock = &afterwards{FakeClock: b.clock, run: func() {}}
	b.wantReport(Status(t.Context(), o), Failed, 1, "M1 Failed/ConfigurationBusy 1")
}

func TestStatusComparesWithADocument(t *testing.T) {
	b := newBox(t, iistree.Options{})
	fixed := rule("M3", 1, "three")
	fixed.Applicability = []ocs.Product{{Name: ocs.ProductSharePointServer}}
	b.apply(b.publish(1, rule("M1", 1, "one"), rule("M2", 1, "two")))
	b.wantReport(b.status(b.publish(2, rule("M1", 2, "better"), rule("M2", 1, "two"), fixed, rule("M4", 1, "four"))), Failed, 1,
		"M1 Missing/OldRevision 1", "M2 Applied/InPlace 1", "M3 NotApplicable/NotApplicable 0", "M4 Missing/NotInPlace 0")
}

func TestAnAgentThatRunsIsLeftAlone(t *testing.T) {
	b := newBox(t, iistree.Options{})
	document := b.publish(1, rule("M1", 1, "one"))
	b.apply(document)
	release, err := state.Claim(b.path("state"))
	if err != nil {
		t.Fatal(err)
	}
	before := b.disk("drive")
	b.wantRefused(b.apply(b.publish(2, rule("M1", 2, "two"))), ReasonAgentRunning, "stop the service")
	b.wantRefused(b.revert(), ReasonAgentRunning, "stop the service")
	b.wantReport(b.status(""), Unchanged, 0, "M1 Applied/InPlace 1")
	if diff := cmp.Diff(before, b.disk("drive")); diff != "" {
		t.Errorf("the server was changed (-before +after):\n%s", diff)
	}
	release()
	b.wantReport(b.revert(), Changed, 0, "M1 Removed/Reverted 0")
}

func TestWhatRunsOutIsWarnedOf(t *testing.T) {
	b := newBox(t, iistree.Options{})
	document := b.publish(1, rule("M1", 1, "one"))
	b.apply(document)
	b.clock.SetTime(b.keys.Root.Certificate.NotAfter.AddDate(0, 0, -10))
	r := b.apply(document)
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "feeds.contoso.roots") {
		t.Errorf("warnings %q", r.Warnings)
	}
}

func TestValidate(t *testing.T) {
	complete := Options{Document: "d", TrustFile: "t", IISRoot: "r", StateDir: "s"}
	for name, tc := range map[string]struct {
		command Command
		change  func(o *Options)
		want    string
	}{
		"everything that apply needs":   {command: CommandApply},
		"apply without a document":      {CommandApply, func(o *Options) { o.Document = "" }, "--document: required"},
		"diff without a policy":         {CommandDiff, func(o *Options) { o.TrustFile = "" }, "--trust: required"},
		"revert needs no document":      {command: CommandRevert, change: func(o *Options) { o.Document, o.TrustFile = "", "" }},
		"status needs no document":      {command: CommandStatus, change: func(o *Options) { o.Document, o.TrustFile = "", "" }},
		"status with a document":        {CommandStatus, func(o *Options) { o.TrustFile = "" }, "--trust: required"},
		"status of a part":              {CommandStatus, func(o *Options) { o.Only = []string{"M1"} }, "--only: status shows everything"},
		"no root":                       {CommandRevert, func(o *Options) { o.IISRoot = "" }, "--iis-root: required"},
		"no state folder":               {CommandRevert, func(o *Options) { o.StateDir = "" }, "--state-dir: required"},
		"an id that is none":            {CommandRevert, func(o *Options) { o.Only = []string{"M1,M2"} }, `--only: "M1,M2"`},
		"a product that does not exist": {CommandApply, func(o *Options) { o.Facts.Product = "Exchange" }, `"Exchange"`},
	} {
		t.Run(name, func(t *testing.T) {
			o := complete
			if tc.change != nil {
				tc.change(&o)
			}
			err := o.Validate(tc.command)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Validate() = %v, want %q", err, tc.want)
			}
		})
	}
}
