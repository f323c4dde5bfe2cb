package effective

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"strings"
	"testing"

	"mitigation.dev/ems/agent/iis/apphost"
	"mitigation.dev/ems/test/iistree"
)

// folders is a server's disk in memory, by paths with forward slashes.
type folders map[string]string

var errNoShare = errors.New("is on a share")

func (f folders) Read(name, section string) (*File, error) {
	data, ok := f[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, os.ErrNotExist)
	}
	if data == "unreadable" {
		return nil, fmt.Errorf("%s: %w", name, os.ErrPermission)
	}
	return Parse(name, []byte(data), section)
}

func (f folders) WebConfig(physical, below string) (string, error) {
	slashed := strings.ReplaceAll(physical, `\`, "/")
	if strings.HasPrefix(slashed, "//") {
		return "", errNoShare
	}
	return path.Join(slashed, below, "web.config"), nil
}

func (f folders) Source(file, source string) (string, error) {
	return path.Join(path.Dir(file), strings.ReplaceAll(source, `\`, "/")), nil
}

const (
	hostPath = "config/applicationHost.config"
	redirect = "config/redirection.config"
	siteRoot = "%SystemDrive%/inetpub/wwwroot/web.config"
	owaRoot  = "%SystemDrive%/inetpub/wwwroot/owa/web.config"
	site     = "Default Web Site"
)

// block is a rule as the first published mitigation of 2022 has it in its last form.
const block = `<rewrite><rules><rule name="PowerShell" stopProcessing="true"><match url=".*" /><conditions>` +
	`<add input="{UrlDecode:{REQUEST_URI}}" pattern="(?=.*autodiscover)(?=.*powershell)" /></conditions><action type="AbortRequest" /></rule></rules></rewrite>`

const header = `<rewrite><outboundRules><rule name="CSP" preCondition="shell"><match serverVariable="RESPONSE_Content_Security_Policy" pattern="(.*)" />` +
	`<action type="Rewrite" value="{R:1}; script-src-attr 'none'" /></rule><preConditions><preCondition name="shell">` +
	`<add input="{RESPONSE_CONTENT_TYPE}" pattern="^text/html" /></preCondition></preConditions></outboundRules></rewrite>`

const setter = `<rewrite><rules><rule name="Set"><match url=".*" /><serverVariables><set name="HTTP_X_CLEAN" value="1" /></serverVariables></rule></rules></rewrite>`

const mapper = `<rewrite><rewriteMaps><rewriteMap name="Bad"><add key="a" value="b" /></rewriteMap></rewriteMaps></rewrite>`

const global = `<rewrite><globalRules><rule name="G" stopProcessing="true"><match url=".*" /><action type="AbortRequest" /></rule></globalRules></rewrite>`

func webConfig(rewrite string) string {
	return "<?xml version=\"1.0\"?>\n<configuration>\n<system.webServer>\n" + rewrite + "\n</system.webServer>\n</configuration>\n"
}

func rules(content string) string {
	return webConfig("<rewrite><rules>\n" + content + "\n</rules></rewrite>")
}

func read(t *testing.T, rewrite, target string) apphost.Wanted {
	t.Helper()
	wanted, err := apphost.ReadContent([]byte(rewrite), target, "EMS M1.1")
	if err != nil {
		t.Fatal(err)
	}
	return wanted
}

// install gives an applicationHost.config with the content in it.
func install(t *testing.T, wanted apphost.Wanted, options iistree.Options) string {
	t.Helper()
	config, err := apphost.Parse(iistree.Config(options))
	if err != nil {
		t.Fatal(err)
	}
	done, _, err := config.Render(wanted)
	if err != nil {
		t.Fatal(err)
	}
	return string(done.Data())
}

// change replaces text that has to be there.
func change(old, replacement string) func(*testing.T, string) string {
	return func(t *testing.T, host string) string {
		t.Helper()
		if !strings.Contains(host, old) {
			t.Fatalf("no %q in applicationHost.config", old)
		}
		return strings.ReplaceAll(host, old, replacement)
	}
}

func addLocation(text string) func(*testing.T, string) string {
	return change("</configuration>", text+"</configuration>")
}

// addRules puts elements into a section of the whole server.
func addRules(section, content string) func(*testing.T, string) string {
	return addLocation("<system.webServer><rewrite><" + section + ">" + content + "</" + section + "></rewrite></system.webServer>")
}

const rewriteBeforeSite = `<rule name="Farm" stopProcessing="true"><match url=".*" /><action type="Rewrite" url="http://farm/{R:0}" /></rule>`

// lockedBelow locks the rules of a site for its web.configs below, though not for itself.
const lockedBelow = `<configuration><location path="." overrideMode="Deny"><system.webServer><rewrite><rules><rule name="own" /></rules></rewrite></system.webServer></location>` +
	`<location path="sub"><system.webServer><rewrite><rules><rule name="sub" /></rules></rewrite></system.webServer></location></configuration>`

type resolveCase struct {
	rewrite  string // default: block
	target   string // default: site
	host     func(*testing.T, string) string
	files    folders
	registry Registry

	wantStatus  Status
	wantReason  string
	wantMessage string // part of it
}

func (c resolveCase) run(t *testing.T) Verdict {
	t.Helper()
	if c.rewrite == "" {
		c.rewrite = block
	}
	switch c.target {
	case "":
		c.target = site
	case "server":
		c.target = ""
	}
	wanted := read(t, c.rewrite, c.target)
	host := install(t, wanted, iistree.Options{})
	if c.host != nil {
		host = c.host(t, host)
	}
	disk := folders{hostPath: host}
	maps.Copy(disk, c.files)
	view := View{Host: hostPath, Redirection: redirect, Files: disk, Registry: c.registry}
	return Resolve(view, []Target{{ID: "M1", Content: wanted}})[0]
}

func check(t *testing.T, tests map[string]resolveCase) {
	t.Helper()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := test.run(t)
			if got.ID != "M1" || got.Status != test.wantStatus || got.Reason != test.wantReason || !strings.Contains(got.Message, test.wantMessage) {
				t.Errorf("%s, %s: %q\nwant %s, %s: %q", got.Status, got.Reason, got.Message, test.wantStatus, test.wantReason, test.wantMessage)
			}
			if (got.Message == "") != (got.Reason == InEffect) {
				t.Errorf("message %q with reason %s", got.Message, got.Reason)
			}
		})
	}
}

func TestContentIsInEffect(t *testing.T) {
	check(t, map[string]resolveCase{
		"a rule of a site without any web.config":     {wantStatus: True, wantReason: InEffect},
		"a rule of a path":                            {target: site + "/owa", wantStatus: True, wantReason: InEffect},
		"a rule of a path in other case":              {target: "default web SITE/OWA", wantStatus: True, wantReason: InEffect},
		"a rule of every site":                        {target: "server", wantStatus: True, wantReason: InEffect},
		"a global rule":                               {rewrite: global, target: "server", wantStatus: True, wantReason: InEffect},
		"a header rule with its precondition":         {rewrite: header, target: site + "/owa", wantStatus: True, wantReason: InEffect},
		"a rewrite map":                               {rewrite: mapper, wantStatus: True, wantReason: InEffect},
		"web.configs with other rules":                {files: folders{siteRoot: rules(`<rule name="a" />`), owaRoot: rules(`<rule name="b" />`)}, wantStatus: True, wantReason: InEffect},
		"another site's web.config clears":            {target: "Exchange Back End", host: change(`path="/owa" applicationPool="MSExchangeOWAAppPool"`, `path="/ews"`), files: folders{"other/web.config": rules(`<clear />`)}, wantStatus: True, wantReason: InEffect},
		"a clear of other sections":                   {files: folders{siteRoot: webConfig(`<rewrite><outboundRules><clear /></outboundRules></rewrite>`)}, wantStatus: True, wantReason: InEffect},
		"a remove of another rule":                    {files: folders{siteRoot: rules(`<remove name="nobody" />`)}, wantStatus: True, wantReason: InEffect},
		"a clear of the site does not reach a global": {rewrite: global, target: "server", files: folders{siteRoot: rules(`<clear />`)}, wantStatus: True, wantReason: InEffect},
		"a clear above does not reach a path":         {target: site + "/owa", files: folders{siteRoot: rules(`<clear />`)}, wantStatus: True, wantReason: InEffect},
		"a clear in a folder where no web.config counts": {target: site + "/plain", files: folders{"%SystemDrive%/inetpub/wwwroot/plain/web.config": rules(`<clear />`)},
			host:       change(`<virtualDirectory path="/" physicalPath="%SystemDrive%\inetpub\wwwroot" />`, `<virtualDirectory path="/" physicalPath="%SystemDrive%\inetpub\wwwroot" allowSubDirConfig="false" />`),
			wantStatus: True, wantReason: InEffect},
		"a clear in the folder of a path":                {target: site + "/plain", files: folders{"%SystemDrive%/inetpub/wwwroot/plain/web.config": rules(`<clear />`)}, wantStatus: False, wantReason: Cleared},
		"a rule in front that answers by itself":         {host: addRules("rules", `<rule name="x" stopProcessing="true"><match url=".*" /><action type="CustomResponse" statusCode="403" /></rule>`), wantStatus: True, wantReason: InEffect},
		"a rule in front that is disabled":               {host: addRules("rules", strings.Replace(rewriteBeforeSite, "<rule ", `<rule enabled="false" `, 1)), wantStatus: True, wantReason: InEffect},
		"a global rule in front that only stops its own": {host: addRules("globalRules", `<rule name="x" stopProcessing="true"><match url=".*" /></rule>`), wantStatus: True, wantReason: InEffect},
		"a variable that is allowed":                     {rewrite: setter, host: addRules("allowedServerVariables", `<add name="HTTP_X_CLEAN" />`), wantStatus: True, wantReason: InEffect},
		"outbound rules are switched off":                {registry: Registry{Outbound: SwitchOff}, wantStatus: True, wantReason: InEffect},
		"the module comes back below":                    {files: folders{siteRoot: webConfig(`<modules><remove name="RewriteModule" /><add name="RewriteModule" /></modules>`)}, wantStatus: True, wantReason: InEffect},
		"a variable that others allow in another spelling": {rewrite: `<rewrite><allowedServerVariables><add name="HTTP_X_CLEAN" /></allowedServerVariables></rewrite>`,
			host: change("HTTP_X_CLEAN", "http_x_clean"), wantStatus: True, wantReason: InEffect},
		"a site that does not start by itself": {host: change(`id="1" serverAutoStart="true"`, `id="1" serverAutoStart="false"`), wantStatus: True, wantReason: SiteNotStarted, wantMessage: `"Default Web Site"`},
	})
}

func TestContentIsDropped(t *testing.T) {
	check(t, map[string]resolveCase{
		"the web.config of the site clears": {files: folders{siteRoot: rules(`<clear />`)}, wantStatus: False, wantReason: Cleared,
			wantMessage: siteRoot + `, line 5: <clear> drops <rule name="EMS M1.1 PowerShell"> for "Default Web Site"`},
		"the web.config of an application below clears": {files: folders{owaRoot: rules(`<clear />`)}, wantStatus: False, wantReason: Cleared, wantMessage: owaRoot},
		"the web.config removes it by name":             {files: folders{siteRoot: rules(`<remove name="ems m1.1 POWERSHELL" />`)}, wantStatus: False, wantReason: RemovedByName, wantMessage: siteRoot + ", line 5: <remove>"},
		"a location of a web.config clears for the path below": {files: folders{siteRoot: `<configuration><location path="Owa/Sub"><system.webServer><rewrite><rules><clear/></rules></rewrite></system.webServer></location></configuration>`},
			wantStatus: False, wantReason: Cleared, wantMessage: `"Default Web Site/Owa/Sub"`},
		"a location of applicationHost.config clears for the path below": {host: addLocation(`<location path="default web site/owa"><system.webServer><rewrite><rules><clear /></rules></rewrite></system.webServer></location>`),
			wantStatus: False, wantReason: Cleared, wantMessage: hostPath},
		"a location without a path in the web.config clears": {files: folders{siteRoot: `<configuration><location><system.webServer><rewrite><rules><clear/></rules></rewrite></system.webServer></location></configuration>`},
			wantStatus: False, wantReason: Cleared, wantMessage: siteRoot},
		"a rule of every site is cleared by one": {target: "server", files: folders{siteRoot: rules(`<clear />`)}, wantStatus: False, wantReason: Cleared, wantMessage: siteRoot},
		"a file named by configSource clears":    {files: folders{siteRoot: webConfig(`<rewrite><rules configSource="cfg\rules.config" /></rewrite>`), "%SystemDrive%/inetpub/wwwroot/cfg/rules.config": "<rules>\n<clear/>\n</rules>"}, wantStatus: False, wantReason: Cleared, wantMessage: "rules.config, line 2"},
		"the precondition is cleared":            {rewrite: header, files: folders{siteRoot: webConfig(`<rewrite><outboundRules><preConditions><clear/></preConditions></outboundRules></rewrite>`)}, wantStatus: False, wantReason: Cleared, wantMessage: `<preCondition name="EMS M1.1 shell">`},
		"the rewrite map is cleared":             {rewrite: mapper, files: folders{siteRoot: webConfig(`<rewrite><rewriteMaps><clear/></rewriteMaps></rewrite>`)}, wantStatus: False, wantReason: Cleared, wantMessage: `<rewriteMap name="Bad">`},
		"it is not there":                        {host: change("EMS M1.1 PowerShell", "somebody"), wantStatus: False, wantReason: Missing, wantMessage: `"EMS M1.1 PowerShell"`},
		"a global rule is not there":             {rewrite: global, target: "server", host: change("EMS M1.1 G", "somebody"), wantStatus: False, wantReason: Missing},
		"it has another pattern":                 {host: change(")(?=.*powershell)", ")"), wantStatus: False, wantReason: Altered, wantMessage: hostPath + ", line "},
		"it has one more condition":              {host: change(`(?=.*powershell)" />`, `(?=.*powershell)" /><add input="{URL}" pattern="x" />`), wantStatus: False, wantReason: Altered},
		"it is disabled as published":            {rewrite: strings.Replace(block, "<rule ", `<rule enabled="false" `, 1), wantStatus: False, wantReason: RuleDisabled},
		"the site is gone":                       {target: "Default Web Site", host: change(`site name="Default Web Site"`, `site name="New"`), wantStatus: False, wantReason: SiteNotFound},
		"it stands in a location that applications below do not inherit": {host: change(`<location path="Default Web Site">`, `<location path="Default Web Site" inheritInChildApplications="false">`),
			wantStatus: False, wantReason: NotInherited, wantMessage: `the application "Default Web Site/owa"`},
	})
}

func TestWhatKeepsRulesFromRunning(t *testing.T) {
	twice := `<rule name="EMS M1.1 powershell"><match url=".*" /></rule>`
	check(t, map[string]resolveCase{
		"a name comes twice":                               {files: folders{owaRoot: rules(twice)}, wantStatus: False, wantReason: NameCollision, wantMessage: owaRoot + ", line 5"},
		"a name of others comes twice":                     {files: folders{siteRoot: rules(`<rule name="a" /><rule name="A" />`)}, wantStatus: False, wantReason: NameCollision, wantMessage: "500.19"},
		"the section is locked by its declaration":         {host: change(`<section name="rules" overrideModeDefault="Allow" />`, `<section name="rules" overrideModeDefault="Deny" />`), files: folders{siteRoot: rules(``)}, wantStatus: False, wantReason: SectionInvalid, wantMessage: "overrideModeDefault"},
		"the section is locked by a location":              {host: change(`<location path="Default Web Site">`, `<location path="Default Web Site" overrideMode="Deny">`), files: folders{siteRoot: rules(``)}, wantStatus: False, wantReason: SectionInvalid, wantMessage: siteRoot},
		"a web.config locks the section for the one below": {files: folders{siteRoot: lockedBelow, owaRoot: rules(``)}, wantStatus: False, wantReason: SectionInvalid, wantMessage: owaRoot},
		"a web.config locks the section for nobody":        {files: folders{siteRoot: lockedBelow}, wantStatus: True, wantReason: InEffect},
		"a section that only the server may have":          {host: change(`<section name="rules" overrideModeDefault="Allow" />`, `<section name="rules" allowDefinition="AppHostOnly" />`), files: folders{siteRoot: rules(``)}, wantStatus: False, wantReason: SectionInvalid, wantMessage: "only allowed in applicationHost.config"},
		"all elements but others are locked above":         {host: change(`<rules>`, `<rules lockAllElementsExcept="clear">`), files: folders{owaRoot: rules(`<rule name="a" />`)}, wantStatus: False, wantReason: SectionInvalid, wantMessage: "lockAllElementsExcept"},
		"a whole section is locked above":                  {host: change(`<rules>`, `<rules lockItem="true">`), files: folders{owaRoot: rules(`<rule name="a" />`)}, wantStatus: False, wantReason: SectionInvalid, wantMessage: "lockItem"},
		"a locked section that no web.config has":          {host: change(`<location path="Default Web Site">`, `<location path="Default Web Site" allowOverride="false">`), wantStatus: True, wantReason: InEffect},
		"a section that is unlocked again": {host: func(t *testing.T, host string) string {
			host = change(`<section name="rules" overrideModeDefault="Allow" />`, `<section name="rules" overrideModeDefault="Deny" />`)(t, host)
			return change(`<location path="Default Web Site">`, `<location path="Default Web Site" overrideMode="Allow">`)(t, host)
		}, files: folders{siteRoot: rules(``)}, wantStatus: True, wantReason: InEffect},
		"a web.config allows what only the server may": {rewrite: setter, files: folders{siteRoot: webConfig(`<rewrite><allowedServerVariables><add name="HTTP_X_CLEAN" /></allowedServerVariables></rewrite>`)}, wantStatus: False, wantReason: SectionInvalid, wantMessage: "allowedServerVariables"},
		"several things are wrong":                     {rewrite: setter, host: addRules("rules", rewriteBeforeSite), wantStatus: False, wantReason: Shadowed, wantMessage: "; and "},
		"elements are locked above":                    {host: change(`<rules>`, `<rules lockElements="rule">`), files: folders{siteRoot: rules(`<rule name="a" />`), owaRoot: rules(`<rule name="a2" />`)}, wantStatus: False, wantReason: SectionInvalid, wantMessage: owaRoot},
		"a rule is locked and cleared below":           {host: addRules("rules", `<rule name="x" lockItem="true" />`), files: folders{owaRoot: rules(`<clear />`)}, wantStatus: False, wantReason: SectionInvalid, wantMessage: "lockItem"},
		"a file named by configSource is not there":    {files: folders{siteRoot: webConfig(`<rewrite><rules configSource="no.config" /></rewrite>`)}, wantStatus: False, wantReason: SectionInvalid, wantMessage: `"no.config"`},
		"the module is removed by the web.config":      {files: folders{siteRoot: webConfig("<modules>\n<remove name=\"rewritemodule\" /></modules>")}, wantStatus: False, wantReason: RewriteModuleMissing, wantMessage: siteRoot + ", line 5: <remove>"},
		"all modules are cleared below":                {files: folders{owaRoot: webConfig(`<modules><clear /></modules>`)}, wantStatus: False, wantReason: RewriteModuleMissing, wantMessage: owaRoot},
		"the module is not enabled":                    {host: change(`<add name="RewriteModule" />`, ``), wantStatus: False, wantReason: RewriteModuleMissing, wantMessage: "is not in <modules>"},
		"the module is not registered":                 {host: change(`<add name="RewriteModule" image`, `<add name="Other" image`), wantStatus: False, wantReason: RewriteModuleMissing, wantMessage: "globalModules"},
		"inbound rules are switched off":               {registry: Registry{Inbound: SwitchOff}, wantStatus: False, wantReason: RewriteSwitchedOff, wantMessage: "InboundRewriteEnabled"},
		"outbound rules are switched off":              {rewrite: header, registry: Registry{Outbound: SwitchOff}, wantStatus: False, wantReason: RewriteSwitchedOff, wantMessage: "OutboundRewriteEnabled"},
		"a variable that is not allowed":               {rewrite: setter, wantStatus: False, wantReason: ServerVariableNotAllowed, wantMessage: "HTTP_X_CLEAN"},
		"a variable that one site clears": {rewrite: setter, host: func(t *testing.T, host string) string {
			host = addRules("allowedServerVariables", `<add name="HTTP_X_CLEAN" />`)(t, host)
			return addLocation(`<location path="Default Web Site"><system.webServer><rewrite><allowedServerVariables><clear /></allowedServerVariables></rewrite></system.webServer></location>`)(t, host)
		}, wantStatus: False, wantReason: ServerVariableNotAllowed},
		"a rule in front always stops":          {host: addRules("rules", `<rule name="x" stopProcessing="True"><match url="(.*)" /></rule>`), wantStatus: False, wantReason: Shadowed, wantMessage: `rule "x" comes first`},
		"a rule in front always goes elsewhere": {host: addRules("rules", rewriteBeforeSite), wantStatus: False, wantReason: Shadowed, wantMessage: `"Farm"`},
		"a wildcard in front always stops":      {host: addRules("rules", `<rule name="x" patternSyntax="Wildcard" stopProcessing="true"><match url="*" /></rule>`), wantStatus: False, wantReason: Shadowed},
	})
}

func TestWhatCannotBeTold(t *testing.T) {
	check(t, map[string]resolveCase{
		"the web.config is not well-formed":         {files: folders{siteRoot: "<configuration><a></configuration>"}, wantStatus: Unknown, wantReason: ConfigurationMalformed, wantMessage: siteRoot},
		"a web.config below is not well-formed":     {files: folders{owaRoot: "<configuration"}, wantStatus: Unknown, wantReason: ConfigurationMalformed, wantMessage: owaRoot},
		"the web.config is in another encoding":     {files: folders{siteRoot: "\xff\xfe<\x00"}, wantStatus: Unknown, wantReason: ConfigurationMalformed, wantMessage: siteRoot},
		"the web.config cannot be read":             {files: folders{siteRoot: "unreadable"}, wantStatus: Unknown, wantReason: ConfigurationUnreadable, wantMessage: siteRoot},
		"the site is on a share":                    {host: change(`physicalPath="%SystemDrive%\inetpub\wwwroot"`, `physicalPath="\\files\wwwroot"`), wantStatus: Unknown, wantReason: ConfigurationUnreadable, wantMessage: "share"},
		"certain trouble goes before doubt":         {files: folders{siteRoot: "unreadable", owaRoot: rules(`<clear />`)}, wantStatus: False, wantReason: Cleared},
		"a section is encrypted":                    {files: folders{siteRoot: webConfig(`<rewrite><rules configProtectionProvider="p" /></rewrite>`)}, wantStatus: Unknown, wantReason: ConfigurationUnreadable, wantMessage: "encrypted"},
		"a source cannot be parsed":                 {files: folders{siteRoot: webConfig(`<rewrite><rules configSource="x" /></rewrite>`), "%SystemDrive%/inetpub/wwwroot/x": "<other/>"}, wantStatus: Unknown, wantReason: ConfigurationMalformed, wantMessage: `"other"`},
		"a rule in front stops some requests":       {host: addRules("rules", `<rule name="x" stopProcessing="true"><match url="^healthcheck" /></rule>`), wantStatus: Unknown, wantReason: MayBeShadowed, wantMessage: `"x"`},
		"a rule in front with conditions":           {host: addRules("rules", strings.Replace(rewriteBeforeSite, `<action`, `<conditions><add input="{HTTPS}" pattern="off" /></conditions><action`, 1)), wantStatus: Unknown, wantReason: MayBeShadowed},
		"a rule in front rewrites and goes on":      {host: addRules("rules", strings.Replace(rewriteBeforeSite, ` stopProcessing="true"`, "", 1)), wantStatus: Unknown, wantReason: MayBeShadowed},
		"a global rule rewrites":                    {host: addRules("globalRules", rewriteBeforeSite), wantStatus: Unknown, wantReason: MayBeShadowed, wantMessage: `"Farm"`},
		"a header rule in front stops":              {rewrite: header, host: addRules("outboundRules", `<rule name="x" stopProcessing="true"><match pattern="x" /></rule>`), wantStatus: Unknown, wantReason: MayBeShadowed},
		"the registry cannot be read":               {registry: Registry{Inbound: SwitchUnknown}, wantStatus: Unknown, wantReason: RegistryUnreadable},
		"the configuration is redirected":           {files: folders{redirect: `<configuration><configurationRedirection enabled="true" path="\\farm\iis" /></configuration>`}, wantStatus: Unknown, wantReason: ConfigurationRedirected, wantMessage: `farm`},
		"the redirection is not enabled":            {files: folders{redirect: `<configuration><configurationRedirection path="\\farm\iis" /></configuration>`}, wantStatus: True, wantReason: InEffect},
		"the redirection is not well-formed":        {files: folders{redirect: `<configuration>`}, wantStatus: Unknown, wantReason: ConfigurationMalformed, wantMessage: redirect},
		"applicationHost.config is not well-formed": {host: change("</configuration>", ""), wantStatus: Unknown, wantReason: ConfigurationMalformed, wantMessage: hostPath},
	})
}

func TestRulesInAWebConfigAreJudgedAsWell(t *testing.T) {
	wanted := read(t, block, site)
	rule := string(wanted.Groups[0].Items[0].XML)
	tests := map[string]struct {
		site, owa  string
		wantStatus Status
		wantReason string
	}{
		"alone":                 {rules(rule), "", True, InEffect},
		"behind a clear":        {rules("<clear />" + rule), "", True, InEffect},
		"in front of a clear":   {rules(rule + "<clear />"), "", False, Cleared},
		"cleared below":         {rules(rule), rules("<clear />"), False, Cleared},
		"behind one that stops": {rules(`<rule name="x" stopProcessing="true"><match url=".*" /></rule>` + rule), "", False, Shadowed},
		"behind one that may":   {rules(`<rule name="x" stopProcessing="true"><match url="x" /></rule>` + rule), "", Unknown, MayBeShadowed},
		"in a private location": {`<configuration><location inheritInChildApplications="false"><system.webServer><rewrite><rules>` + rule + `</rules></rewrite></system.webServer></location></configuration>`, "", False, NotInherited},
		"missing":               {rules(""), "", False, Missing},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			disk := folders{hostPath: string(iistree.Config(iistree.Options{})), siteRoot: test.site}
			if test.owa != "" {
				disk[owaRoot] = test.owa
			}
			got := Resolve(View{Host: hostPath, Redirection: redirect, Files: disk}, []Target{{ID: "M1", Content: wanted}})[0]
			if got.Status != test.wantStatus || got.Reason != test.wantReason {
				t.Errorf("%+v, want %s, %s", got, test.wantStatus, test.wantReason)
			}
		})
	}
}

func TestTargetsWithoutRewriteContentHaveNoStatus(t *testing.T) {
	disk := folders{hostPath: string(iistree.Config(iistree.Options{}))}
	got := Resolve(View{Host: hostPath, Redirection: redirect, Files: disk}, []Target{{ID: "A1", Content: apphost.Wanted{DisabledPools: []string{"DefaultAppPool"}}}})
	if len(got) != 1 || got[0].Status != "" || got[0].ID != "A1" {
		t.Errorf("%+v", got)
	}
}
