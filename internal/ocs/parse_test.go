package ocs_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/build"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/ocs/xmltree"
)

const outboundRewrite = `<rewrite>
  <outboundRules>
    <preConditions>
      <preCondition name="HTML shell" patternSyntax="ECMAScript"><add input="{RESPONSE_CONTENT_TYPE}" pattern="^text/html"/></preCondition>
    </preConditions>
    <rule name="CSP - outbound" preCondition="html shell" stopProcessing="false">
      <match serverVariable="RESPONSE_Content_Security_Policy" pattern="(.*)"/>
      <action type="Rewrite" value="{R:1}; script-src-attr 'none'"/>
    </rule>
  </outboundRules>
</rewrite>`

const fullDocument = `<?xml version="1.0" encoding="utf-8"?>
<EOCS version="1.1" ID="eocs" publisher="Contoso Security Response" sequence="42" issued="2026-05-14T16:00:00Z" expires="2026-05-28T16:00:00.5Z">
  <Config id="M2" revision="3" severity="Critical" cve="CVE-2026-42897  ADV-1" supersedes="M1 M1.1" desc="Script injection &amp; more">
    <Samples>
      <Sample expect="Blocked" method="POST" url="/autodiscover/autodiscover.json?@evil/powershell/" host="mail.contoso.example:444"/>
      <Sample expect="Passed" url="/owa/"><Header name="Accept" value="text/html"/><Header name="X-Empty" value=""/></Sample>
    </Samples>
    <Applicability>
      <Product name="ExchangeServer" role="Mailbox">
        <Branch from="15.2.2562.0" fixedIn="15.02.2562.043"/>
        <Branch from="15.2.3000.0"/>
      </Product>
      <Product name="IIS"/>
    </Applicability>
    <SideEffects>
      <SideEffect> Printing a calendar
does not work. </SideEffect>
    </SideEffects>
    <ActionList>
      <Action id="M2.7" type="UrlRewrite" scope="Site" target="Default Web Site/owa" desc="CSP - outbound">
        <Value>
` + outboundRewrite + `
        </Value>
      </Action>
      <Action type="UrlRewrite" scope="Site"><Value><rewrite><rules><rule name="a"><match url=".*"/></rule></rules></rewrite></Value></Action>
      <Action type="AppPool" scope="Server" target="MSExchangeOABAppPool"><Value> Stopped </Value></Action>
      <Action type="Service" scope="Server" target="MSExchangeUM"><Value>Disabled</Value></Action>
    </ActionList>
  </Config>
  <Config id="PING1"><ActionList><Action type="DoNothing" scope="Server"><Value>DoNothing</Value></Action></ActionList></Config>
</EOCS>`

func fullWant(t *testing.T) *ocs.Document {
	t.Helper()
	return &ocs.Document{
		Version: "1.1", Publisher: "Contoso Security Response", Sequence: 42,
		Issued:  time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC),
		Expires: time.Date(2026, 5, 28, 16, 0, 0, 500_000_000, time.UTC),
		Configs: []ocs.Config{{
			ID: "M2", Revision: 3, Severity: ocs.SeverityCritical, Description: "Script injection & more",
			CVEs: []string{"CVE-2026-42897", "ADV-1"}, Supersedes: []string{"M1", "M1.1"},
			Applicability: []ocs.Product{
				{Name: "ExchangeServer", Role: "Mailbox", Branches: []ocs.Branch{
					{From: number(t, "15.2.2562.0"), FixedIn: number(t, "15.2.2562.43")},
					{From: number(t, "15.2.3000.0")},
				}},
				{Name: "IIS"},
			},
			SideEffects: []string{"Printing a calendar\ndoes not work."},
			Actions: []ocs.Action{
				{ID: "M2.7", Type: ocs.URLRewrite, Scope: ocs.ScopeSite, Target: "Default Web Site/owa", Description: "CSP - outbound", Rewrite: []byte(outboundRewrite)},
				{ID: "M2.2", Type: ocs.URLRewrite, Scope: ocs.ScopeSite, Target: "Default Web Site",
					Rewrite: []byte(`<rewrite><rules><rule name="a"><match url=".*"/></rule></rules></rewrite>`)},
				{ID: "M2.3", Type: ocs.AppPool, Scope: ocs.ScopeServer, Target: "MSExchangeOABAppPool", Value: "Stopped"},
				{ID: "M2.4", Type: ocs.Service, Scope: ocs.ScopeServer, Target: "MSExchangeUM", Value: "Disabled"},
			},
			Samples: []ocs.Sample{
				{Expect: ocs.Blocked, Method: "POST", URL: "/autodiscover/autodiscover.json?@evil/powershell/", Host: "mail.contoso.example:444"},
				{Expect: ocs.Passed, Method: "GET", URL: "/owa/", Headers: []ocs.Header{{Name: "Accept", Value: "text/html"}, {Name: "X-Empty"}}},
			},
		}, {
			ID: "PING1", Revision: 1,
			Actions: []ocs.Action{{ID: "PING1.1", Type: ocs.DoNothing, Scope: ocs.ScopeServer, Value: "DoNothing"}},
		}},
	}
}

func TestParseReadsEverything(t *testing.T) {
	got, err := ocs.Parse([]byte(fullDocument))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fullWant(t), got); diff != "" {
		t.Errorf("document (-want +got):\n%s", diff)
	}
}

func TestParseVersions(t *testing.T) {
	cases := map[string]struct {
		document    string
		wantVersion string
		wantConfigs int
		wantError   error
	}{
		"version 1.0.4 has no sequence and no validity": {
			`<EOCS version="1.0.4">` + ping("PING1") + `</EOCS>`, "1.0.4", 1, nil},
		"an empty document withdraws everything": {`<EOCS version="1.1"/>`, "1.1", 0, nil},
		"a newer minor version is read as 1.1": {
			`<EOCS version="1.2" edition="x"><Index/>` + ping("PING1") + `</EOCS>`, "1.2", 1, nil},
		"a newer patch of 1.1 is read as 1.1":            {`<EOCS version="1.1.7" edition="x"/>`, "1.1.7", 0, nil},
		"an unused prefix at the root":                   {`<EOCS version="1.0.4" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"/>`, "1.0.4", 0, nil},
		"another major version is refused":               {`<EOCS version="2.0"/>`, "", 0, ocs.ErrUnsupportedVersion},
		"version 0 is refused":                           {`<EOCS version="0.9"/>`, "", 0, ocs.ErrUnsupportedVersion},
		"a leading zero is no version":                   {`<EOCS version="01.1"/>`, "", 0, ocs.ErrInvalid},
		"text is no version":                             {`<EOCS version="one"/>`, "", 0, ocs.ErrInvalid},
		"no version":                                     {`<EOCS/>`, "", 0, ocs.ErrInvalid},
		"another root":                                   {`<Feed version="1.1"/>`, "", 0, ocs.ErrInvalid},
		"a root in a name space":                         {`<EOCS xmlns="urn:x" version="1.1"/>`, "", 0, ocs.ErrInvalid},
		"a root with a prefix":                           {`<a:EOCS xmlns:a="urn:x" version="1.1"/>`, "", 0, ocs.ErrInvalid},
		"an unknown attribute of a known version":        {`<EOCS version="1.1" edition="x"/>`, "", 0, ocs.ErrInvalid},
		"an unknown element of a known version":          {`<EOCS version="1.1"><Index/></EOCS>`, "", 0, ocs.ErrInvalid},
		"a signature that is still there":                {`<EOCS version="1.1"><Signature xmlns="http://www.w3.org/2000/09/xmldsig#"/></EOCS>`, "", 0, ocs.ErrInvalid},
		"text at the root":                               {`<EOCS version="1.1">x</EOCS>`, "", 0, ocs.ErrInvalid},
		"a publisher of 257 characters":                  {`<EOCS version="1.1" publisher="` + strings.Repeat("ü", 257) + `"/>`, "", 0, ocs.ErrInvalid},
		"a publisher of 256 characters":                  {`<EOCS version="1.1" publisher="` + strings.Repeat("ü", 256) + `"/>`, "1.1", 0, nil},
		"sequence 0":                                     {`<EOCS version="1.1" sequence="0"/>`, "", 0, ocs.ErrInvalid},
		"a sequence with a sign":                         {`<EOCS version="1.1" sequence="+1"/>`, "", 0, ocs.ErrInvalid},
		"an empty sequence":                              {`<EOCS version="1.1" sequence=""/>`, "", 0, ocs.ErrInvalid},
		"the highest sequence":                           {`<EOCS version="1.1" sequence="9223372036854775807"/>`, "1.1", 0, nil},
		"a sequence beyond 2^63-1":                       {`<EOCS version="1.1" sequence="9223372036854775808"/>`, "", 0, ocs.ErrInvalid},
		"a time in another zone":                         {`<EOCS version="1.1" issued="2026-05-14T16:00:00+02:00"/>`, "", 0, ocs.ErrInvalid},
		"a time with a comma":                            {`<EOCS version="1.1" issued="2026-05-14T16:00:00,5Z"/>`, "", 0, ocs.ErrInvalid},
		"a day that does not exist":                      {`<EOCS version="1.1" issued="2026-02-30T16:00:00Z"/>`, "", 0, ocs.ErrInvalid},
		"a time that stands for none":                    {`<EOCS version="1.1" issued="0001-01-01T00:00:00Z"/>`, "", 0, ocs.ErrInvalid},
		"an end before the beginning":                    {`<EOCS version="1.1" issued="2026-05-14T16:00:00Z" expires="2026-05-14T16:00:00Z"/>`, "", 0, ocs.ErrInvalid},
		"broken XML":                                     {`<EOCS version="1.1">`, "", 0, ocs.ErrMalformed},
		"a document type":                                {`<!DOCTYPE EOCS><EOCS version="1.1"/>`, "", 0, ocs.ErrMalformed},
		"256 Configs":                                    {manyConfigs(256), "1.1", 256, nil},
		"257 Configs":                                    {manyConfigs(257), "", 0, ocs.ErrLimitExceeded},
		"more than 2 MiB":                                {`<EOCS version="1.1">` + strings.Repeat(" ", 2<<20) + `</EOCS>`, "", 0, ocs.ErrLimitExceeded},
		"more than 20,000 elements":                      {`<EOCS version="1.2">` + strings.Repeat("<a/>", 20_000) + `</EOCS>`, "", 0, ocs.ErrLimitExceeded},
		"nesting deeper than 16":                         {`<EOCS version="1.2">` + strings.Repeat("<a>", 16) + strings.Repeat("</a>", 16) + `</EOCS>`, "", 0, ocs.ErrLimitExceeded},
		"version 1.0.4 may use what 1.1 added to Config": {`<EOCS version="1.0.4"><Config id="A" revision="2">` + pingActions + `</Config></EOCS>`, "1.0.4", 1, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := ocs.Parse([]byte(tc.document))
			if !errors.Is(err, tc.wantError) {
				t.Fatalf("error %v, want one that wraps %v", err, tc.wantError)
			}
			if tc.wantError != nil {
				return
			}
			if got.Version != tc.wantVersion || len(got.Configs) != tc.wantConfigs || len(got.Refused) > 0 {
				t.Errorf("version %q, %d Configs, refused %v; want version %q, %d Configs and none refused",
					got.Version, len(got.Configs), got.Refused, tc.wantVersion, tc.wantConfigs)
			}
		})
	}
}

func TestMalformedDocumentsSayWhere(t *testing.T) {
	_, err := ocs.Parse([]byte("<EOCS version=\"1.1\">\n  <Config>\n</EOCS>"))
	var located *xmltree.Error
	if !errors.As(err, &located) || located.Line != 3 {
		t.Errorf("error %v, want an *xmltree.Error of line 3", err)
	}
}

const pingActions = `<ActionList><Action type="DoNothing" scope="Server"><Value>DoNothing</Value></Action></ActionList>`

func ping(id string) string {
	return `<Config id="` + id + `">` + pingActions + `</Config>`
}

func manyConfigs(n int) string {
	var b strings.Builder
	b.WriteString(`<EOCS version="1.1">`)
	for i := range n {
		b.WriteString(ping(fmt.Sprintf("M%d", i)))
	}
	b.WriteString(`</EOCS>`)
	return b.String()
}

func TestParseRefusesConfigsAlone(t *testing.T) {
	action := func(attributes, value string) string {
		return `<Config id="M1"><ActionList><Action ` + attributes + `><Value>` + value + `</Value></Action></ActionList></Config>`
	}
	with := func(attributes, content string) string {
		return `<Config id="M1" ` + attributes + `>` + content + pingActions + `</Config>`
	}
	cases := map[string]struct {
		config     string
		wantID     string
		wantReason string
		wantText   string
	}{
		"no id":                            {`<Config>` + pingActions + `</Config>`, "", ocs.ReasonInvalidID, "has no id"},
		"an id that begins with a digit":   {ping("1M"), "1M", ocs.ReasonInvalidID, `"1M"`},
		"an id with letters after the dot": {ping("M1.a"), "M1.a", ocs.ReasonInvalidID, `"M1.a"`},
		"an id with a line end":            {ping("M1&#10;"), "M1\n", ocs.ReasonInvalidID, `M1\n`},
		"an id of 64 characters":           {ping(strings.Repeat("M", 64)), strings.Repeat("M", 64), ocs.ReasonInvalidID, "63 characters"},
		"an unknown attribute":             {with(`mood="good"`, ""), "M1", ocs.ReasonUnknownContent, `unknown attribute "mood"`},
		"an attribute in a name space":     {with(`xmlns:a="urn:x" a:id="M2"`, ""), "M1", ocs.ReasonUnknownContent, `"xmlns:a"`},
		"an unknown element":               {with("", "<Extra/>"), "M1", ocs.ReasonUnknownContent, `unknown element "Extra"`},
		"an element in a name space":       {with("", `<Samples xmlns="urn:x"/>`), "M1", ocs.ReasonUnknownContent, `"xmlns"`},
		"text between elements":            {with("", "hello"), "M1", ocs.ReasonUnknownContent, `text "hello"`},
		"a repeated element":               {with("", pingActions), "M1", ocs.ReasonRepeatedElement, `"ActionList" occurs more than once`},
		"revision 0":                       {with(`revision="0"`, ""), "M1", ocs.ReasonInvalidValue, `revision: "0"`},
		"an unknown severity":              {with(`severity="Urgent"`, ""), "M1", ocs.ReasonInvalidValue, "none of Low, Moderate, Important, Critical"},
		"a severity in another case":       {with(`severity="critical"`, ""), "M1", ocs.ReasonInvalidValue, `"critical"`},
		"a description that is too long":   {with(`desc="`+strings.Repeat("x", 1025)+`"`, ""), "M1", ocs.ReasonLimitExceeded, "1025 characters, allowed are 1024"},
		"a cve that is no id":              {with(`cve="CVE-2026-1;"`, ""), "M1", ocs.ReasonInvalidValue, `"CVE-2026-1;"`},
		"65 references":                    {with(`cve="`+strings.Repeat("C ", 65)+`"`, ""), "M1", ocs.ReasonLimitExceeded, "65 ids"},
		"superseding what is no id":        {with(`supersedes="CVE-1"`, ""), "M1", ocs.ReasonInvalidValue, `"CVE-1"`},
		"superseding itself":               {with(`supersedes="m1"`, ""), "M1", ocs.ReasonInvalidValue, "itself"},
		"a product without name":           {with("", `<Applicability><Product/></Applicability>`), "M1", ocs.ReasonMissingContent, `Product 1: attribute "name"`},
		"an unknown product":               {with("", `<Applicability><Product name="Lync"/></Applicability>`), "M1", ocs.ReasonInvalidValue, `"Lync"`},
		"17 products":                      {with("", `<Applicability>`+strings.Repeat(`<Product name="IIS"/>`, 17)+`</Applicability>`), "M1", ocs.ReasonLimitExceeded, "more than 16"},
		"a branch that says nothing":       {with("", branch("")), "M1", ocs.ReasonMissingContent, "neither from nor fixedIn"},
		"a build that is no build":         {with("", branch(`from="15.2"`)), "M1", ocs.ReasonInvalidValue, "Branch 1: from"},
		"a fixed build that is no build":   {with("", branch(`fixedIn="x"`)), "M1", ocs.ReasonInvalidValue, "Branch 1: fixedIn"},
		"a fixed build below the first":    {with("", branch(`from="15.2.2562.43" fixedIn="15.2.2562.43"`)), "M1", ocs.ReasonInvalidValue, "no build is vulnerable"},
		"a fixed build of zeros":           {with("", branch(`fixedIn="0.0.0.0"`)), "M1", ocs.ReasonInvalidValue, "no build is vulnerable"},
		"an empty side effect":             {with("", `<SideEffects><SideEffect> </SideEffect></SideEffects>`), "M1", ocs.ReasonMissingContent, "SideEffect 1: no text"},
		"no actions":                       {`<Config id="M1"/>`, "M1", ocs.ReasonMissingContent, "no Action"},
		"an empty action list":             {`<Config id="M1"><ActionList/></Config>`, "M1", ocs.ReasonMissingContent, "no Action"},
		"33 actions":                       {`<Config id="M1"><ActionList>` + strings.Repeat(`<Action type="DoNothing" scope="Server"><Value>DoNothing</Value></Action>`, 33) + `</ActionList></Config>`, "M1", ocs.ReasonLimitExceeded, "more than 32"},
		"an action without type":           {action(`scope="Server"`, "DoNothing"), "M1", ocs.ReasonMissingContent, `Action 1: attribute "type"`},
		"an unknown type":                  {action(`type="Firewall" scope="Server"`, "DoNothing"), "M1", ocs.ReasonInvalidValue, `"Firewall"`},
		"an action without scope":          {action(`type="DoNothing"`, "DoNothing"), "M1", ocs.ReasonMissingContent, `"scope"`},
		"an unknown scope":                 {action(`type="DoNothing" scope="Farm"`, "DoNothing"), "M1", ocs.ReasonInvalidValue, `"Farm"`},
		"an action id that is no id":       {action(`id="M 1" type="DoNothing" scope="Server"`, "DoNothing"), "M1", ocs.ReasonInvalidValue, `"M 1"`},
		"a default action id that is long": {ping(strings.Repeat("M", 62)), strings.Repeat("M", 62), ocs.ReasonInvalidValue, "Action 1: id"},
		"a long action description":        {action(`desc="`+strings.Repeat("x", 257)+`" type="DoNothing" scope="Server"`, "DoNothing"), "M1", ocs.ReasonLimitExceeded, "257 characters"},
		"another value for DoNothing":      {action(`type="DoNothing" scope="Server"`, "Nothing"), "M1", ocs.ReasonInvalidValue, `has "DoNothing"`},
		"an element for DoNothing":         {action(`type="DoNothing" scope="Server"`, "DoNothing<rewrite/>"), "M1", ocs.ReasonUnknownContent, `"rewrite"`},
		"a pool without target":            {action(`type="AppPool" scope="Server"`, "Stopped"), "M1", ocs.ReasonMissingContent, "needs a target"},
		"a pool that is to be started":     {action(`type="AppPool" scope="Server" target="P"`, "Started"), "M1", ocs.ReasonInvalidValue, `has "Stopped"`},
		"a service without target":         {action(`type="Service" scope="Server"`, "Disabled"), "M1", ocs.ReasonMissingContent, "needs a target"},
		"every service":                    {action(`type="Service" scope="Server" target="*"`, "Disabled"), "M1", ocs.ReasonInvalidValue, `target "*"`},
		"a pool name that IIS refuses":     {action(`type="AppPool" scope="Server" target="a/b"`, "Stopped"), "M1", ocs.ReasonInvalidValue, `"a/b"`},
		"every site":                       {action(`type="UrlRewrite" scope="Site" target="*"`, "<rewrite/>"), "M1", ocs.ReasonInvalidValue, `target "*"`},
		"an empty target":                  {action(`type="UrlRewrite" scope="Site" target=""`, "<rewrite/>"), "M1", ocs.ReasonInvalidValue, `target ""`},
		"a target that climbs":             {action(`type="UrlRewrite" scope="Site" target="Site/../x"`, "<rewrite/>"), "M1", ocs.ReasonInvalidValue, "dot part"},
		"a target with control characters": {action(`type="UrlRewrite" scope="Site" target="a&#10;b"`, "<rewrite/>"), "M1", ocs.ReasonInvalidValue, "control characters"},
		"a target that is too long":        {action(`type="Service" scope="Server" target="`+strings.Repeat("x", 257)+`"`, "Disabled"), "M1", ocs.ReasonInvalidValue, "257 characters"},
		"a target beside scope Server":     {action(`type="UrlRewrite" scope="Server" target="Site"`, "<rewrite/>"), "M1", ocs.ReasonInvalidValue, "beside scope Server"},
		"a value missing":                  {`<Config id="M1"><ActionList><Action type="DoNothing" scope="Server"/></ActionList></Config>`, "M1", ocs.ReasonMissingContent, "no Value"},
		"a rewrite value without rewrite":  {action(`type="UrlRewrite" scope="Site"`, " "), "M1", ocs.ReasonMissingContent, "no <rewrite>"},
		"two rewrite elements":             {action(`type="UrlRewrite" scope="Site"`, "<rewrite/><rewrite/>"), "M1", ocs.ReasonRepeatedElement, "rewrite"},
		"text beside rewrite":              {action(`type="UrlRewrite" scope="Site"`, "x<rewrite/>"), "M1", ocs.ReasonUnknownContent, `text "x"`},
		"a rewrite element that is empty":  {action(`type="UrlRewrite" scope="Site"`, "<rewrite/>"), "M1", ocs.ReasonInvalidRewrite, "nothing in it"},
		"a sample without expectation":     {with("", sample(`url="/"`, "")), "M1", ocs.ReasonMissingContent, `"expect"`},
		"an unknown expectation":           {with("", sample(`expect="Maybe" url="/"`, "")), "M1", ocs.ReasonInvalidValue, `"Maybe"`},
		"a sample without url":             {with("", sample(`expect="Passed"`, "")), "M1", ocs.ReasonMissingContent, `"url"`},
		"a url with a host":                {with("", sample(`expect="Passed" url="https://x/"`, "")), "M1", ocs.ReasonInvalidValue, "slash"},
		"a url with a line end":            {with("", sample(`expect="Passed" url="/ HTTP/1.1&#13;&#10;X: y"`, "")), "M1", ocs.ReasonInvalidValue, "control characters"},
		"a url of 4,097 characters":        {with("", sample(`expect="Passed" url="/`+strings.Repeat("x", 4096)+`"`, "")), "M1", ocs.ReasonLimitExceeded, "4097"},
		"a method that is none":            {with("", sample(`expect="Passed" url="/" method="GET /"`, "")), "M1", ocs.ReasonInvalidValue, "method"},
		"a host that is none":              {with("", sample(`expect="Passed" url="/" host="a b"`, "")), "M1", ocs.ReasonInvalidValue, "host"},
		"65 samples":                       {with("", `<Samples>`+strings.Repeat(`<Sample expect="Passed" url="/"/>`, 65)+`</Samples>`), "M1", ocs.ReasonLimitExceeded, "more than 64"},
		"a header without name":            {with("", sample(`expect="Passed" url="/"`, `<Header value="x"/>`)), "M1", ocs.ReasonMissingContent, `"name"`},
		"a header without value":           {with("", sample(`expect="Passed" url="/"`, `<Header name="X"/>`)), "M1", ocs.ReasonMissingContent, `"value"`},
		"a header name that is none":       {with("", sample(`expect="Passed" url="/"`, `<Header name="X:" value=""/>`)), "M1", ocs.ReasonInvalidValue, "header name"},
		"a header that smuggles another":   {with("", sample(`expect="Passed" url="/"`, `<Header name="X" value="a&#13;&#10;Y: b"/>`)), "M1", ocs.ReasonInvalidValue, "control characters"},
		"a second Host":                    {with("", sample(`expect="Passed" url="/"`, `<Header name="host" value="x"/>`)), "M1", ocs.ReasonInvalidValue, "attribute host"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := ocs.Parse([]byte(`<EOCS version="1.1">` + ping("Before") + tc.config + ping("After") + `</EOCS>`))
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Configs) != 2 || got.Configs[0].ID != "Before" || got.Configs[1].ID != "After" {
				t.Errorf("Configs %v, want the one before and the one after", got.Configs)
			}
			if len(got.Refused) != 1 {
				t.Fatalf("refused %v, want one Config", got.Refused)
			}
			r := got.Refused[0]
			if r.ID != tc.wantID || r.Reason != tc.wantReason || !strings.Contains(r.Message, tc.wantText) {
				t.Errorf("refusal %+v, want id %q, reason %s and a message that says %q", r, tc.wantID, tc.wantReason, tc.wantText)
			}
		})
	}
}

func branch(attributes string) string {
	return `<Applicability><Product name="ExchangeServer"><Branch ` + attributes + `/></Product></Applicability>`
}

func sample(attributes, content string) string {
	return `<Samples><Sample ` + attributes + `>` + content + `</Sample></Samples>`
}

func TestSharedIDsRefuseEveryOwner(t *testing.T) {
	withActionID := func(id, actionID string) string {
		return `<Config id="` + id + `"><ActionList><Action id="` + actionID + `" type="DoNothing" scope="Server"><Value>DoNothing</Value></Action></ActionList></Config>`
	}
	cases := map[string]struct {
		configs     string
		wantConfigs []string
		wantRefused []string
		wantReason  string
	}{
		"the same id in another case": {
			ping("M1") + ping("M2") + ping("m1") + ping("M1"), []string{"M2"}, []string{"M1", "m1", "M1"}, ocs.ReasonDuplicateID},
		"the same id as a Config that breaks another rule": {
			ping("M1") + `<Config id="M1"/>`, nil, []string{"M1", "M1"}, ocs.ReasonDuplicateID},
		"an action id that is another's default": {
			ping("M1") + withActionID("M2", "m1.1") + ping("M3"), []string{"M3"}, []string{"M1", "M2"}, ocs.ReasonDuplicateActionID},
		"an action id of a Config that is refused anyway": {
			ping("M1") + ping("M2") + withActionID("M2", "M1.1"), []string{"M1"}, []string{"M2", "M2"}, ocs.ReasonDuplicateID},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := ocs.Parse([]byte(`<EOCS version="1.1">` + tc.configs + `</EOCS>`))
			if err != nil {
				t.Fatal(err)
			}
			var configs, refused []string
			for _, c := range got.Configs {
				configs = append(configs, c.ID)
			}
			for _, r := range got.Refused {
				refused = append(refused, r.ID)
				if r.Reason != tc.wantReason {
					t.Errorf("%q refused for %s, want %s", r.ID, r.Reason, tc.wantReason)
				}
			}
			if diff := cmp.Diff(tc.wantConfigs, configs); diff != "" {
				t.Errorf("Configs (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.wantRefused, refused); diff != "" {
				t.Errorf("refused (-want +got):\n%s", diff)
			}
		})
	}
}

func TestForeignTextIsShortenedInRefusals(t *testing.T) {
	got, err := ocs.Parse([]byte(`<EOCS version="1.1">` + ping("M"+strings.Repeat("ü", 100_000)) + `</EOCS>`))
	if err != nil {
		t.Fatal(err)
	}
	if r := got.Refused[0]; len(r.ID) > 100 || len(r.Message) > 500 {
		t.Errorf("id of %d bytes, message of %d bytes", len(r.ID), len(r.Message))
	}
}

func TestRewriteDoesNotAliasTheInput(t *testing.T) {
	input := []byte(fullDocument)
	got, err := ocs.Parse(input)
	if err != nil {
		t.Fatal(err)
	}
	clear(input)
	if !bytes.Equal(got.Configs[0].Actions[0].Rewrite, []byte(outboundRewrite)) {
		t.Error("the <rewrite> element changes with the input")
	}
}

// The one document that the real service is known to have returned.
func TestRealDocument(t *testing.T) {
	folder := os.Getenv("EMS_TESTDATA")
	if folder == "" {
		t.Skip("EMS_TESTDATA is not set: the real document is not available")
	}
	data, err := os.ReadFile(filepath.Join(folder, "ocs", "exchange-ping1-2021-09-15.xml"))
	if err != nil {
		t.Fatal(err)
	}
	begin, end := bytes.Index(data, []byte("<Signature")), bytes.Index(data, []byte("</Signature>"))
	if begin < 0 || end < 0 {
		t.Fatal("no signature in the document")
	}
	got, err := ocs.Parse(append(data[:begin:begin], data[end+len("</Signature>"):]...))
	if err != nil {
		t.Fatal(err)
	}
	want := &ocs.Document{Version: "1.0.4", Configs: []ocs.Config{{
		ID: "PING1", Revision: 1, Description: "EEMS Heartbeat probe. Does not modify any exchange settings.",
		Actions: []ocs.Action{{
			ID: "PING1.1", Type: ocs.DoNothing, Scope: ocs.ScopeServer, Value: "DoNothing",
			Description: "Ping mitigation action. Does not modify any exchange settings.",
		}},
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("document (-want +got):\n%s", diff)
	}
}

func number(tb testing.TB, text string) build.Number {
	tb.Helper()
	n, err := build.Parse(text)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}
