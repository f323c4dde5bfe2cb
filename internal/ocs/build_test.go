package ocs_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/ocs"
)

func TestBuildIsReadBackEqual(t *testing.T) {
	want := fullWant(t)
	built, err := ocs.Build(*want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ocs.Parse(built)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	if !bytes.Contains(built, []byte(` ID="`+ocs.RootID+`"`)) {
		t.Errorf("no ID for a signature's reference in\n%s", built)
	}
}

func TestBuildFillsInDefaultsWithoutTouchingItsArgument(t *testing.T) {
	rewrite := []byte(`<rewrite><rules><rule name="a"><match url="x"/></rule></rules></rewrite>`)
	doc := ocs.Document{Configs: []ocs.Config{{
		ID:      "M1",
		Actions: []ocs.Action{{Type: ocs.URLRewrite, Scope: ocs.ScopeSite, Rewrite: rewrite}},
		Samples: []ocs.Sample{{Expect: ocs.Passed, URL: "/"}},
	}}}
	built, err := ocs.Build(doc)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ocs.Parse(built)
	if err != nil {
		t.Fatal(err)
	}
	want := &ocs.Document{Version: "1.1", Configs: []ocs.Config{{
		ID: "M1", Revision: 1,
		Actions: []ocs.Action{{ID: "M1.1", Type: ocs.URLRewrite, Scope: ocs.ScopeSite, Target: ocs.DefaultTarget, Rewrite: rewrite}},
		Samples: []ocs.Sample{{Expect: ocs.Passed, Method: "GET", URL: "/"}},
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	if c := doc.Configs[0]; c.Revision != 0 || c.Actions[0].ID != "" || c.Actions[0].Target != "" || c.Samples[0].Method != "" {
		t.Errorf("Build changed its argument to %+v", c)
	}
}

func TestBuildKeepsAwkwardTexts(t *testing.T) {
	want := fullWant(t)
	want.Publisher = `Contoso & "Söhne" <'x'>`
	want.Configs[0].Description = "two\nlines\tand\r\n\"quotes\" ]]> \U0001F600"
	want.Configs[0].SideEffects = []string{"<b> & ]]>\u00a0", "\u00a0x"}
	built, err := ocs.Build(*want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ocs.Parse(built)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}

func TestBuildRefuses(t *testing.T) {
	cases := map[string]struct {
		change    func(*ocs.Document)
		wantError error
		wantText  string
	}{
		"another version":            {func(d *ocs.Document) { d.Version = "1.0.4" }, ocs.ErrInvalid, `"1.0.4"`},
		"refused Configs":            {func(d *ocs.Document) { d.Refused = []ocs.Refusal{{ID: "M9"}} }, ocs.ErrInvalid, "1 refused"},
		"a negative sequence":        {func(d *ocs.Document) { d.Sequence = -1 }, ocs.ErrInvalid, "sequence"},
		"an end before the start":    {func(d *ocs.Document) { d.Expires = d.Issued.Add(-time.Hour) }, ocs.ErrInvalid, "not after issued"},
		"a year of five digits":      {func(d *ocs.Document) { d.Expires = time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC) }, ocs.ErrInvalid, "expires"},
		"a control character":        {func(d *ocs.Document) { d.Publisher = "a\x00b" }, ocs.ErrInvalid, "XML cannot hold"},
		"bytes that are not UTF-8":   {func(d *ocs.Document) { d.Configs[0].Description = "\xff" }, ocs.ErrInvalid, "XML cannot hold"},
		"an id that is none":         {func(d *ocs.Document) { d.Configs[0].ID = "" }, ocs.ErrInvalid, "id"},
		"two broken Configs":         {func(d *ocs.Document) { d.Configs[0].Severity, d.Configs[1].Revision = "x", -1 }, ocs.ErrInvalid, "PING1"},
		"a reference with a blank":   {func(d *ocs.Document) { d.Configs[0].CVEs = []string{"CVE-1 CVE-2"} }, ocs.ErrInvalid, "white space"},
		"an empty reference":         {func(d *ocs.Document) { d.Configs[0].Supersedes = []string{""} }, ocs.ErrInvalid, "empty"},
		"a side effect with margins": {func(d *ocs.Document) { d.Configs[0].SideEffects = []string{" x"} }, ocs.ErrInvalid, "white space around"},
		"a branch that says nothing": {func(d *ocs.Document) { d.Configs[0].Applicability[1].Branches = []ocs.Branch{{}} }, ocs.ErrInvalid, "neither"},
		"a value beside rewrite":     {func(d *ocs.Document) { d.Configs[0].Actions[0].Value = "x" }, ocs.ErrInvalid, "beside type UrlRewrite"},
		"rewrite beside a value":     {func(d *ocs.Document) { d.Configs[0].Actions[2].Rewrite = []byte("<rewrite/>") }, ocs.ErrInvalid, "beside type AppPool"},
		"no rewrite":                 {func(d *ocs.Document) { d.Configs[0].Actions[0].Rewrite = nil }, ocs.ErrInvalid, "no root element"},
		"another element":            {func(d *ocs.Document) { d.Configs[0].Actions[0].Rewrite = []byte("<rules/>") }, ocs.ErrInvalid, "not one <rewrite>"},
		"rewrite with margins":       {func(d *ocs.Document) { d.Configs[0].Actions[0].Rewrite = []byte("<rewrite/> ") }, ocs.ErrInvalid, "not one <rewrite>"},
		"rewrite that breaks out": {func(d *ocs.Document) {
			d.Configs[0].Actions[0].Rewrite = []byte(`<rewrite/></Value></Action><Action type="DoNothing" scope="Server"><Value>DoNothing`)
		}, ocs.ErrInvalid, "end tag"},
		"257 Configs": {func(d *ocs.Document) {
			d.Configs = nil
			for i := range 257 {
				d.Configs = append(d.Configs, ocs.Config{ID: fmt.Sprintf("M%d", i), Actions: []ocs.Action{{Type: ocs.DoNothing, Scope: ocs.ScopeServer, Value: "DoNothing"}}})
			}
		}, ocs.ErrLimitExceeded, "257 Configs"},
		"more than 1 MiB": {func(d *ocs.Document) {
			long := strings.Repeat("x", 4000)
			d.Configs[0].Samples = nil
			for range 64 {
				d.Configs[0].Samples = append(d.Configs[0].Samples, ocs.Sample{Expect: ocs.Passed, URL: "/", Headers: []ocs.Header{
					{Name: "A", Value: long}, {Name: "B", Value: long}, {Name: "C", Value: long}, {Name: "D", Value: long}, {Name: "E", Value: long}}})
			}
		}, ocs.ErrLimitExceeded, "bytes without a signature"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			doc := fullWant(t)
			tc.change(doc)
			_, err := ocs.Build(*doc)
			if !errors.Is(err, tc.wantError) || !strings.Contains(err.Error(), tc.wantText) {
				t.Errorf("error %v; want one that wraps %q and says %q", err, tc.wantError, tc.wantText)
			}
		})
	}
}

func TestDocumentsAreValidByTheSchema(t *testing.T) {
	xmllint, err := exec.LookPath("xmllint")
	if err != nil {
		t.Skip("xmllint is not on the PATH: the schema cannot be tried")
	}
	built, err := ocs.Build(*fullWant(t))
	if err != nil {
		t.Fatal(err)
	}
	signature := `<Signature xmlns="http://www.w3.org/2000/09/xmldsig#"><SignedInfo/></Signature>`
	cases := map[string]struct {
		document  string
		wantValid bool
	}{
		"a document as built":       {string(built), true},
		"every feature, as written": {fullDocument, true},
		"256 Configs":               {manyConfigs(256), true},
		"a signed document of version 1.0.4": {
			`<EOCS version="1.0.4">` + ping("PING1") + signature + `</EOCS>`, true},
		"a cost that is acknowledged":       {string(costly("1.1", ` acknowledgeCost="3"`, cubic)), true},
		"one that needs no acknowledgement": {string(costly("1.1", ` acknowledgeCost="2"`, "x")), false},
		"an unknown element":                {`<EOCS version="1.1"><Index/></EOCS>`, false},
		"an unknown attribute":              {`<EOCS version="1.1" edition="x"/>`, false},
		"an id that is none":                {`<EOCS version="1.1">` + ping("1M") + `</EOCS>`, false},
		"the same id twice":                 {`<EOCS version="1.1">` + ping("M1") + ping("M1") + `</EOCS>`, false},
		"a time without zone":               {`<EOCS version="1.1" issued="2026-05-14T16:00:00"/>`, false},
		"a Config without list":             {`<EOCS version="1.1"><Config id="M1"/></EOCS>`, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "document.xml")
			if err := os.WriteFile(file, []byte(tc.document), 0o600); err != nil {
				t.Fatal(err)
			}
			output, err := exec.CommandContext(t.Context(), xmllint, "--nonet", "--noout", "--schema", "eocs.xsd", file).CombinedOutput()
			if (err == nil) != tc.wantValid {
				t.Errorf("xmllint: %v, want valid %t:\n%s", err, tc.wantValid, output)
			}
		})
	}
}

// Whatever Parse takes without refusing anything, Build writes and Parse reads back.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		fullDocument,
		`<EOCS version="1.0.4">` + ping("PING1") + `</EOCS>`,
		`<EOCS version="1.2" xmlns:x="urn:x"><x:y/></EOCS>`,
		`<EOCS version="1.1">` + ping("M1") + ping("m1") + `</EOCS>`,
		string(rewriteDocument("Server", rules(2))),
		"<EOCS version='1.1'><Config id='M1' desc='&#x41;&#10;'><SideEffects><SideEffect><![CDATA[a]]>b<!-- c -->d</SideEffect></SideEffects>" + pingActions + "</Config></EOCS>",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		doc, err := ocs.Parse(input)
		if err != nil {
			for _, kind := range []error{ocs.ErrMalformed, ocs.ErrLimitExceeded, ocs.ErrUnsupportedVersion, ocs.ErrInvalid} {
				if errors.Is(err, kind) {
					return
				}
			}
			t.Fatalf("untyped error %v", err)
		}
		for _, r := range doc.Refused {
			if r.Reason == "" || r.Message == "" {
				t.Fatalf("refusal without reason: %+v", r)
			}
		}
		doc.Refused, doc.Version = nil, ocs.Version11
		built, err := ocs.Build(*doc)
		if err != nil {
			t.Fatalf("what was read cannot be built: %v", err)
		}
		again, err := ocs.Parse(built)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(doc, again); diff != "" {
			t.Fatalf("read back (-first +second):\n%s", diff)
		}
	})
}

func benchmarkDocument(b *testing.B) []byte {
	b.Helper()
	doc := ocs.Document{Publisher: "Contoso Security Response", Sequence: 1}
	for i := range ocs.MaxConfigs {
		doc.Configs = append(doc.Configs, ocs.Config{
			ID: fmt.Sprintf("M%d", i), Severity: ocs.SeverityCritical, CVEs: []string{"CVE-2026-42897"}, Description: "Script injection in the reading pane",
			Applicability: []ocs.Product{{Name: ocs.ProductExchangeServer, Role: "Mailbox", Branches: []ocs.Branch{
				{From: number(b, "15.2.2562.0"), FixedIn: number(b, "15.2.2562.43")}, {From: number(b, "15.1.2507.0"), FixedIn: number(b, "15.1.2507.99")}}}},
			SideEffects: []string{"Printing a calendar does not work."},
			Actions: []ocs.Action{
				{Type: ocs.URLRewrite, Scope: ocs.ScopeSite, Target: "Default Web Site/owa", Rewrite: []byte(outboundRewrite)},
				{Type: ocs.URLRewrite, Scope: ocs.ScopeSite, Rewrite: []byte(`<rewrite><rules><rule name="a" stopProcessing="true"><match url=".*"/><conditions><add input="{UrlDecode:{REQUEST_URI}}" pattern="(?=.*autodiscover)(?=.*powershell)"/></conditions><action type="AbortRequest"/></rule></rules></rewrite>`)}},
			Samples: []ocs.Sample{{Expect: ocs.Blocked, URL: "/autodiscover/autodiscover.json?@evil/powershell/"}, {Expect: ocs.Passed, URL: "/owa/"}},
		})
	}
	built, err := ocs.Build(doc)
	if err != nil {
		b.Fatal(err)
	}
	return built
}

// BenchmarkParse reads the largest number of Configs with the two real mitigations of
// Exchange in each.
func BenchmarkParse(b *testing.B) {
	document := benchmarkDocument(b)
	b.SetBytes(int64(len(document)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ocs.Parse(document); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	doc, err := ocs.Parse(benchmarkDocument(b))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ocs.Build(*doc); err != nil {
			b.Fatal(err)
		}
	}
}
