package effective

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mitigation.dev/ems/agent/iis/apphost"
	"mitigation.dev/ems/agent/iis/lossless"
	"mitigation.dev/ems/test/iistree"
)

func behaviourOf(t *testing.T, rule string) string {
	t.Helper()
	doc, err := lossless.Parse([]byte(rule))
	if err != nil {
		t.Fatal(err)
	}
	return behaviour(newReader(doc).copy(doc.Root), nil)
}

func TestBehaviourDoesNotDependOnTheSpelling(t *testing.T) {
	one := `<rule name="a"><match url=".*" /><conditions><add input="{REQUEST_URI}" pattern=".*autodiscover\.json.*\@.*Powershell.*" /></conditions><action type="AbortRequest" /></rule>`
	tests := map[string]struct {
		rule string
		want bool
	}{
		"another name":                    {`<rule name="b" stopProcessing="true"><match url=".*" /><conditions><add input="{REQUEST_URI}" pattern=".*autodiscover\.json.*\@.*Powershell.*" /></conditions><action type="AbortRequest" /></rule>`, true},
		"defaults written out":            {`<rule name="b" patternSyntax="ECMAScript"><match url=".*" ignoreCase="true" negate="false" /><conditions logicalGrouping="MatchAll"><add input="{request_uri}" matchType="Pattern" pattern=".*autodiscover\.json.*\@.*Powershell.*" ignoreCase="true" /></conditions><action type="AbortRequest" /></rule>`, true},
		"a pattern that means the same":   {`<rule name="b"><match url="^.*$" /><conditions><add input="{REQUEST_URI}" pattern="AUTODISCOVER\.json.*@.*powershell" /></conditions><action type="AbortRequest" /></rule>`, true},
		"a status instead of a reset":     {`<rule name="b"><match url=".*" /><conditions><add input="{REQUEST_URI}" pattern=".*autodiscover\.json.*@.*Powershell.*" /></conditions><action type="CustomResponse" statusCode="403" /></rule>`, true},
		"the condition twice":             {`<rule name="b"><match url=".*" /><conditions><add input="{REQUEST_URI}" pattern="autodiscover\.json.*@.*Powershell" /><add input="{REQUEST_URI}" pattern=".*autodiscover\.json.*@.*Powershell.*" /></conditions><action type="AbortRequest" /></rule>`, true},
		"another input":                   {`<rule name="b"><match url=".*" /><conditions><add input="{QUERY_STRING}" pattern=".*autodiscover\.json.*\@.*Powershell.*" /></conditions><action type="AbortRequest" /></rule>`, false},
		"another action":                  {`<rule name="b"><match url=".*" /><conditions><add input="{REQUEST_URI}" pattern=".*autodiscover\.json.*\@.*Powershell.*" /></conditions><action type="None" /></rule>`, false},
		"another pattern":                 {`<rule name="b"><match url=".*" /><conditions><add input="{REQUEST_URI}" pattern=".*autodiscover\.json.*Powershell.*" /></conditions><action type="AbortRequest" /></rule>`, false},
		"a dot that is none":              {`<rule name="b"><match url=".*" /><conditions><add input="{REQUEST_URI}" pattern=".*autodiscover.json.*\@.*Powershell.*" /></conditions><action type="AbortRequest" /></rule>`, false},
		"case that counts":                {`<rule name="b"><match url=".*" /><conditions><add input="{REQUEST_URI}" ignoreCase="false" pattern=".*autodiscover\.json.*\@.*Powershell.*" /></conditions><action type="AbortRequest" /></rule>`, false},
		"a negated condition":             {`<rule name="b"><match url=".*" /><conditions><add input="{REQUEST_URI}" negate="true" pattern=".*autodiscover\.json.*\@.*Powershell.*" /></conditions><action type="AbortRequest" /></rule>`, false},
		"another syntax":                  {`<rule name="b" patternSyntax="Wildcard"><match url=".*" /><conditions><add input="{REQUEST_URI}" pattern=".*autodiscover\.json.*\@.*Powershell.*" /></conditions><action type="AbortRequest" /></rule>`, false},
		"a condition more":                {`<rule name="b"><match url=".*" /><conditions><add input="{REQUEST_URI}" pattern=".*autodiscover\.json.*\@.*Powershell.*" /><add input="{HTTPS}" pattern="on" /></conditions><action type="AbortRequest" /></rule>`, false},
		"a trailing star that is escaped": {`<rule name="b"><match url=".*" /><conditions><add input="{REQUEST_URI}" pattern=".*autodiscover\.json.*\@.*Powershell\.*" /></conditions><action type="AbortRequest" /></rule>`, false},
		"a lazy start":                    {`<rule name="b"><match url=".*" /><conditions><add input="{REQUEST_URI}" pattern=".*?autodiscover\.json.*\@.*Powershell.*" /></conditions><action type="AbortRequest" /></rule>`, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := behaviourOf(t, one) == behaviourOf(t, test.rule); got != test.want {
				t.Errorf("same: %v\n%s\n%s", got, behaviourOf(t, one), behaviourOf(t, test.rule))
			}
		})
	}
}

func TestLookAlikesAreFoundByWhatTheyDo(t *testing.T) {
	foreign := func(name string) string {
		return `<rule name="` + name + `" stopProcessing="true"><match url=".*" /><conditions><add input="{UrlDecode:{REQUEST_URI}}" pattern="(?=.*autodiscover)(?=.*powershell)" /></conditions><action type="AbortRequest" /></rule>`
	}
	tests := map[string]struct {
		resolveCase
		want []string // name, place, file
	}{
		"in the web.config of the site": {resolveCase{files: folders{siteRoot: rules(foreign("EEMS M1.1 PowerShell - inbound") + foreign("RequestBlockingRule1"))}},
			[]string{"EEMS M1.1 PowerShell - inbound|Default Web Site|" + siteRoot, "RequestBlockingRule1|Default Web Site|" + siteRoot}},
		"in an application below":   {resolveCase{files: folders{owaRoot: rules(foreign("x"))}}, []string{"x|Default Web Site/owa|" + owaRoot}},
		"for the whole server":      {resolveCase{host: addRules("globalRules", foreign("x"))}, []string{"x||" + hostPath}},
		"one that is disabled":      {resolveCase{files: folders{siteRoot: rules(strings.Replace(foreign("x"), "<rule", `<rule enabled="false"`, 1))}}, nil},
		"one with the name alone":   {resolveCase{files: folders{siteRoot: rules(`<rule name="EEMS M1.1 PowerShell - inbound"><match url="a" /></rule>`)}}, nil},
		"of a site that is another": {resolveCase{target: "Exchange Back End", host: change(`<location path="Default Web Site">`, `<location path="Default Web Site"><system.webServer><rewrite><rules>`+foreign("x")+`</rules></rewrite></system.webServer>`)}, nil},
		"a header rule with a precondition of another name": {resolveCase{rewrite: header, files: folders{siteRoot: webConfig(`<rewrite><outboundRules><rule name="EOMT OWA CSP - outbound" preCondition="EOMT shell"><match serverVariable="RESPONSE_CONTENT_Security_Policy" pattern="(.*)" />` +
			`<action type="Rewrite" value="{R:1}; script-src-attr 'none'" /></rule><preConditions><preCondition name="EOMT shell" logicalGrouping="MatchAll"><add input="{RESPONSE_CONTENT_TYPE}" pattern="^text/html" /></preCondition></preConditions></outboundRules></rewrite>`)}},
			[]string{"EOMT OWA CSP - outbound|Default Web Site|" + siteRoot}},
		"a header rule with another precondition": {resolveCase{rewrite: header, files: folders{siteRoot: webConfig(`<rewrite><outboundRules><rule name="x"><match serverVariable="RESPONSE_CONTENT_Security_Policy" pattern="(.*)" />` +
			`<action type="Rewrite" value="{R:1}; script-src-attr 'none'" /></rule></outboundRules></rewrite>`)}}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := test.run(t)
			var names []string
			for _, l := range got.LookAlikes {
				names = append(names, l.Name+"|"+l.Path+"|"+l.File)
				if l.Line < 1 || !strings.HasPrefix(l.Like, "EMS M1.1 ") {
					t.Errorf("%+v", l)
				}
			}
			if !slices.Equal(names, test.want) {
				t.Errorf("%q, want %q", names, test.want)
			}
			if got.Status != True {
				t.Errorf("a look-alike changes the verdict: %+v", got)
			}
		})
	}
}

func corpus(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("EMS_TESTDATA")
	if dir == "" {
		t.Skip("EMS_TESTDATA names no folder with files of real servers")
	}
	data, err := os.ReadFile(filepath.Join(dir, "iis-configs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

const corpusE19 = "microsoft__CSS-Exchange__Diagnostics__HealthChecker__Tests__DataCollection__E19__Exchange__IIS__"

func TestThreeOwnersOfOneRuleOnARealServer(t *testing.T) {
	// The file is not well-formed as it was published: an end tag lacks its slash. IIS would refuse it as well.
	broken := corpus(t, corpusE19+"DefaultWebSite_web1.config")
	repaired := strings.Replace(broken, "    <system.web>\r\n  </location>", "    </system.web>\r\n  </location>", 1)
	if repaired == broken {
		repaired = strings.Replace(broken, "    <system.web>\n  </location>", "    </system.web>\n  </location>", 1)
	}
	got := resolveCase{files: folders{siteRoot: broken}}.run(t)
	if got.Status != Unknown || got.Reason != ConfigurationMalformed {
		t.Errorf("as published: %+v", got)
	}
	got = resolveCase{files: folders{siteRoot: repaired}}.run(t)
	if got.Status != True {
		t.Errorf("repaired: %+v", got)
	}
	var names []string
	for _, l := range got.LookAlikes {
		names = append(names, l.Name)
	}
	if want := []string{"EEMS M1.1 PowerShell - inbound", "RequestBlockingRule1", "PowerShell - inbound"}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
}

func TestRealServers(t *testing.T) {
	const e19 = corpusE19 + "applicationHost.config"
	wanted := read(t, block, site)
	config, err := apphost.Parse([]byte(corpus(t, e19)))
	if err != nil {
		t.Fatal(err)
	}
	done, _, err := config.Render(wanted)
	if err != nil {
		t.Fatal(err)
	}
	var root, owa string
	for _, s := range config.Sites() {
		if s.Name == site {
			dir, _ := s.Directory("")
			root, _ = folders(nil).WebConfig(dir.PhysicalPath, dir.Below)
			dir, _ = s.Directory("owa")
			owa, _ = folders(nil).WebConfig(dir.PhysicalPath, dir.Below)
		}
	}
	disk := folders{hostPath: string(done.Data()), root: corpus(t, corpusE19+"DefaultWebSite_web.config"), owa: corpus(t, corpusE19+"DefaultWebSite-OWA_web.config")}
	targets := []Target{{ID: "M1", Content: wanted}}
	view := View{Host: hostPath, Redirection: redirect, Files: disk}
	if got := Resolve(view, targets)[0]; got.Status != True {
		t.Errorf("an Exchange server: %+v", got)
	}
	disk[owa] = corpus(t, "TYPO3__typo3__typo3__sysext__install__Resources__Private__FolderStructureTemplateFiles__root-web-config")
	if got := Resolve(view, targets)[0]; got.Status != False || got.Reason != Cleared || !strings.Contains(got.Message, owa) {
		t.Errorf("with a web.config that clears: %+v", got)
	}
	disk[owa] = corpus(t, "jexuswebserver__JexusManager__Tests__original2_missing_closing.config")
	if got := Resolve(view, targets)[0]; got.Status != Unknown || got.Reason != ConfigurationMalformed {
		t.Errorf("with a web.config that is not well-formed: %+v", got)
	}
}

func TestMoreLevelsThanAreLookedAt(t *testing.T) {
	var b strings.Builder
	for i := range MaxLevels + 1 {
		b.WriteString(`<virtualDirectory path="/v` + strings.Repeat("x", i%50) + string(rune('a'+i%26)) + "-" + string(rune(0x4e00+i/1300)) + string(rune(0x5e00+i%1300)) + `" physicalPath="C:\x" />`)
	}
	host := strings.Replace(install(t, read(t, block, site), iistree.Options{}), `<virtualDirectory path="/" physicalPath="%SystemDrive%\inetpub\wwwroot" />`,
		`<virtualDirectory path="/" physicalPath="C:\x" />`+b.String(), 1)
	got := Resolve(View{Host: hostPath, Redirection: redirect, Files: folders{hostPath: host}}, []Target{{ID: "M1", Content: read(t, block, site)}})[0]
	if got.Status != Unknown || got.Reason != TooLarge {
		t.Errorf("%+v", got)
	}
}

func TestAWebConfigThatIsMadeToTakeLong(t *testing.T) {
	var many, deep strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&many, `<rule name="r%d" />`, i)
	}
	for i := range 3000 {
		fmt.Fprintf(&deep, `<location path="%s%d"><system.webServer><rewrite><rules><clear/>%s</rules></rewrite></system.webServer></location>`, strings.Repeat("a/", MaxDepth/2), i, `<rule name="x"/>`)
	}
	for name, text := range map[string]string{
		"rules":     rules(many.String()),
		"locations": `<configuration>` + deep.String() + `</configuration>`,
		"both":      strings.Replace(rules(many.String()), "</configuration>", deep.String()+"</configuration>", 1),
	} {
		t.Run(name, func(t *testing.T) {
			got := resolveCase{files: folders{siteRoot: text}}.run(t)
			want := map[string]string{"rules": InEffect, "locations": Cleared, "both": Cleared}[name]
			if got.Reason != want && (name != "both" || got.Reason != TooLarge) {
				t.Errorf("%+v, want %s", got, want)
			}
		})
	}
}

func TestWorkIsBounded(t *testing.T) {
	s := &server{work: MaxWork}
	if err := s.spend(1); err == nil || err.reason != TooLarge || err.status != Unknown {
		t.Errorf("%v", err)
	}
}

func FuzzResolve(f *testing.F) {
	plain := string(iistree.Config(iistree.Options{}))
	f.Add(plain, rules("<clear/>"), rules(`<remove name="a"/>`))
	f.Add(plain, webConfig(`<modules><clear/></modules>`), `<configuration><location path="..\x//y" overrideMode="Deny"><system.webServer><rewrite><rules configSource="../x"/></rewrite></system.webServer></location></configuration>`)
	f.Add(strings.ReplaceAll(plain, "owa", "K/\u212a"), "<configuration/>", "")
	wanted, err := apphost.ReadContent([]byte(block), site, "EMS M1.1")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, host, root, owa string) {
		disk := folders{hostPath: host, siteRoot: root, owaRoot: owa}
		if len(host) > 1<<16 || len(root) > 1<<14 || len(owa) > 1<<14 {
			t.Skip("too long to be quick")
		}
		view := View{Host: hostPath, Redirection: redirect, Files: disk}
		verdicts := Resolve(view, []Target{{ID: "M1", Content: wanted}, {ID: "M2", Content: apphost.Wanted{Groups: []apphost.Group{{Section: apphost.GlobalRules, Items: wanted.Groups[0].Items}}}}})
		for _, v := range verdicts {
			if (v.Status != True && v.Status != False && v.Status != Unknown) || !slices.Contains(Reasons(), v.Reason) || (v.Message == "") != (v.Reason == InEffect) {
				t.Errorf("%+v", v)
			}
		}
	})
}
