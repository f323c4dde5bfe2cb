package apphost

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/agent/iis/refusal"
	"mitigation.dev/ems/test/iistree"
)

const site = "Default Web Site"

func render(base []byte, w Wanted) ([]byte, []Edit, error) {
	c, err := Parse(base)
	if err != nil {
		return nil, nil, err
	}
	out, edits, err := c.Render(w)
	if err != nil {
		return nil, nil, err
	}
	return out.Data(), edits, nil
}

func strip(current []byte, edits []Edit) ([]byte, bool, error) {
	c, err := Parse(current)
	if err != nil {
		return nil, false, err
	}
	base, exact, err := c.Strip(edits)
	if err != nil {
		return nil, false, err
	}
	if err := base.CrossCheck(); err != nil {
		return nil, false, err
	}
	return base.Data(), exact, nil
}

func rule(name string) Item {
	return Item{Name: name, XML: []byte(`<rule name="` + name + `" stopProcessing="true"><match url=".*"></match>` +
		`<conditions><add input="{UrlDecode:{REQUEST_URI}}" pattern="(?=.*autodiscover)(?=.*powershell)"></add></conditions>` +
		`<action type="AbortRequest"></action></rule>`)}
}

func group(path string, names ...string) Group {
	g := Group{Path: path, Section: Rules}
	for _, n := range names {
		g.Items = append(g.Items, rule(n))
	}
	return g
}

// file is a small server with the given content in front of the end of the root, one line of the content per line.
func file(content string) string {
	return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<configuration>\n  <configSections>\n    <section name=\"x\" />\n  </configSections>\n" +
		content + "</configuration>\n"
}

func inLocation(rewrite string) string {
	return file("  <location path=\"Default Web Site\">\n    <system.webServer>\n" + rewrite + "    </system.webServer>\n  </location>\n")
}

const renderedRule = `<rule name="EMS M1.1 a" stopProcessing="true">
          <match url=".*" />
          <conditions>
            <add input="{UrlDecode:{REQUEST_URI}}" pattern="(?=.*autodiscover)(?=.*powershell)" />
          </conditions>
          <action type="AbortRequest" />
        </rule>`

func TestRenderPlacesRules(t *testing.T) {
	rules := "        " + renderedRule + "\n"
	tests := map[string]struct {
		base        string
		path        string
		want        string
		wantCreated []string
	}{
		"before the rules that are there": {
			base: inLocation("      <rewrite>\n      <rules>\n        <rule name=\"old\" />\n      </rules>\n      </rewrite>\n"),
			want: inLocation("      <rewrite>\n      <rules>\n" + rules + "        <rule name=\"old\" />\n      </rules>\n      </rewrite>\n"),
		},
		"behind a leading clear and remove": {
			base: inLocation("      <rewrite>\n      <rules>\n        <clear />\n        <remove name=\"x\" />\n        <rule name=\"old\" />\n      </rules>\n      </rewrite>\n"),
			want: inLocation("      <rewrite>\n      <rules>\n        <clear />\n        <remove name=\"x\" />\n" + rules + "        <rule name=\"old\" />\n      </rules>\n      </rewrite>\n"),
		},
		"behind a clear between rules": {
			base: inLocation("      <rewrite>\n      <rules>\n        <rule name=\"dead\" />\n        <clear />\n        <rule name=\"old\" />\n      </rules>\n      </rewrite>\n"),
			want: inLocation("      <rewrite>\n      <rules>\n        <rule name=\"dead\" />\n        <clear />\n" + rules + "        <rule name=\"old\" />\n      </rules>\n      </rewrite>\n"),
		},
		"in an expanded rules element": {
			base: inLocation("      <rewrite>\n      <rules  lockItem='true' />\n      </rewrite>\n"),
			want: inLocation("      <rewrite>\n      <rules  lockItem='true'>\n" + rules + "      </rules>\n      </rewrite>\n"),
		},
		"between the tags of an empty rules element": {
			base: inLocation("      <rewrite>\n      <rules></rules>\n      </rewrite>\n"),
			want: inLocation("      <rewrite>\n      <rules>\n" + rules + "      </rules>\n      </rewrite>\n"),
		},
		"in a new section of a location, as its first child": {
			base:        inLocation("    <rewrite>\n      </rewrite><handlers />\n"),
			want:        inLocation("    <rewrite>\n      <rules>\n" + rules + "      </rules>\n      </rewrite><handlers />\n"),
			wantCreated: []string{"rules"},
		},
		"in the location whose path differs in letter case and slashes": {
			base: strings.ReplaceAll(inLocation("      <rewrite>\n      <rules />\n      </rewrite>\n"), "Default Web Site", "/DEFAULT web site/"),
			want: strings.ReplaceAll(inLocation("      <rewrite>\n      <rules>\n"+rules+"      </rules>\n      </rewrite>\n"), "Default Web Site", "/DEFAULT web site/"),
		},
		"not in a location with an override mode, which a new one avoids": {
			base:        file("  <location path=\"Default Web Site\" overrideMode=\"Deny\">\n    <handlers />\n  </location>\n"),
			want:        file("  <location path=\"Default Web Site\" overrideMode=\"Deny\">\n    <handlers />\n  </location>\n" + newLocation("Default Web Site")),
			wantCreated: []string{"location", "system.webServer", "rewrite", "rules"},
		},
		"not in a location that applications below do not inherit": {
			base:        file("  <location path=\"Default Web Site\" inheritInChildApplications=\"false\">\n    <handlers />\n  </location>\n"),
			want:        file("  <location path=\"Default Web Site\" inheritInChildApplications=\"false\">\n    <handlers />\n  </location>\n" + newLocation("Default Web Site")),
			wantCreated: []string{"location", "system.webServer", "rewrite", "rules"},
		},
		"not in a location that stands in a comment": {
			base:        file("  <!-- <location path=\"Default Web Site\"><system.webServer/></location> -->\n"),
			want:        file(newLocation("Default Web Site") + "  <!-- <location path=\"Default Web Site\"><system.webServer/></location> -->\n"),
			wantCreated: []string{"location", "system.webServer", "rewrite", "rules"},
		},
		"in a new location for a path with special letters": {
			base:        file(""),
			path:        `R&D "x"/owa`,
			want:        file(newLocation(`R&amp;D &quot;x&quot;/owa`)),
			wantCreated: []string{"location", "system.webServer", "rewrite", "rules"},
		},
		"in an empty location element": {
			base:        file("  <location path=\"Default Web Site\"/>\n"),
			want:        file(newLocation("Default Web Site")),
			wantCreated: []string{"system.webServer", "rewrite", "rules"},
		},
		"in a system.webServer element that had to be opened": {
			base: file("  <location path=\"Default Web Site\">\n    <system.webServer />\n  </location>\n"),
			want: file("  <location path=\"Default Web Site\">\n    <system.webServer>\n" +
				strings.Join(strings.SplitAfter(newLocation("x"), "\n")[2:len(strings.SplitAfter(newLocation("x"), "\n"))-3], "") +
				"    </system.webServer>\n  </location>\n"),
			wantCreated: []string{"rewrite", "rules"},
		},
	}
	for name, tc := range tests {
		for _, newline := range []string{"\n", "\r\n"} {
			for _, bom := range []string{"", "\xEF\xBB\xBF"} {
				t.Run(fmt.Sprintf("%s/%q/%d", name, newline, len(bom)), func(t *testing.T) {
					path := tc.path
					if path == "" {
						path = site
					}
					base := []byte(bom + strings.ReplaceAll(tc.base, "\n", newline))
					want := bom + strings.ReplaceAll(tc.want, "\n", newline)
					out, edits, err := render(base, Wanted{Groups: []Group{group(path, "EMS M1.1 a")}})
					if err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(string(out), "\n")); diff != "" {
						t.Fatal(diff)
					}
					var created []string
					for _, w := range edits[0].Created {
						created = append(created, append([]string{"location"}, w.Way...)[len(w.Way)])
					}
					if !slices.Equal(created, tc.wantCreated) {
						t.Errorf("created %v, want %v", created, tc.wantCreated)
					}
					back, exact, err := strip(out, edits)
					if err != nil || !exact || !bytes.Equal(back, base) {
						t.Errorf("strip: exact %v, error %v\n%s", exact, err, cmp.Diff(string(base), string(back)))
					}
				})
			}
		}
	}
}

// newLocation is what Render writes for rule "EMS M1.1 a" at a path without location, with an indentation of two.
func newLocation(path string) string {
	return "  <location path=\"" + path + "\">\n    <system.webServer>\n      <rewrite>\n        <rules>\n          " +
		strings.ReplaceAll(renderedRule, "\n", "\n  ") + "\n        </rules>\n      </rewrite>\n    </system.webServer>\n  </location>\n"
}

func TestRenderChoosesAmongLocationsOfOnePath(t *testing.T) {
	plain := "  <location path=\"Default Web Site\">\n    <handlers />\n  </location>\n"
	withRules := "  <location path=\"Default Web Site\" overrideMode=\"Allow\">\n    <system.webServer>\n      <rewrite>\n        <rules />\n      </rewrite>\n    </system.webServer>\n  </location>\n"
	base := file(plain + withRules)
	out, _, err := render([]byte(base), Wanted{Groups: []Group{group(site, "EMS M1.1 a")}})
	if err != nil {
		t.Fatal(err)
	}
	if unchanged, _, _ := strings.Cut(base, "<rules />"); !strings.HasPrefix(string(out), unchanged) {
		t.Errorf("the section must stay in the location that has it:\n%s", out)
	}
}

func TestRenderSetsPools(t *testing.T) {
	pools := "  <system.applicationHost>\n    <applicationPools>\n      <add name=\"A\" queueLength=\"10\" />\n      <add autoStart='TRUE' name=\"B\" />\n" +
		"      <add name=\"C\" autoStart=\"False\" />\n    </applicationPools>\n  </system.applicationHost>\n"
	base := []byte(file(pools))
	out, edits, err := render(base, Wanted{DisabledPools: []string{"a", "B", "C", "A"}})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer(`name="A" `, `name="A" autoStart="false" `, `autoStart='TRUE'`, `autoStart="false"`).Replace(string(base))
	if diff := cmp.Diff(want, string(out)); diff != "" {
		t.Fatal(diff)
	}
	back, exact, err := strip(out, edits)
	if err != nil || !exact || !bytes.Equal(back, base) {
		t.Errorf("exact %v, error %v\n%s", exact, err, back)
	}
}

func TestRenderIsDeterministicAndIdempotentOverStrip(t *testing.T) {
	base := iistree.Config(iistree.Options{CRLF: true})
	w := Wanted{
		Groups:        []Group{group("Exchange Back End", "EMS M2.1 b"), group(site, "EMS M1.1 a", "EMS M1.1 b"), group("default web site", "EMS M3.1 c"), group(site+"/owa", "EMS M4.1 d")},
		DisabledPools: []string{"MSExchangeECPAppPool", "MSExchangeRestAppPool"},
	}
	first, edits, err := render(base, w)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		stripped, exact, err := strip(first, edits)
		if err != nil || !exact || !bytes.Equal(stripped, base) {
			t.Fatalf("exact %v, error %v", exact, err)
		}
		again, moreEdits, err := render(stripped, w)
		if err != nil || !bytes.Equal(again, first) || !cmp.Equal(edits, moreEdits) {
			t.Fatalf("the second rendering differs (error %v)", err)
		}
	}
	c, err := Parse(first)
	if err != nil {
		t.Fatal(err)
	}
	if f := c.Verify(w); len(f) > 0 {
		t.Errorf("findings %v", f)
	}
}

func TestStripAfterOthersChangedTheFile(t *testing.T) {
	rewrite := inLocation("      <rewrite>\n      <rules />\n      </rewrite>\n")
	none := inLocation("      <handlers />\n")
	tests := map[string]struct {
		base      string
		change    func(string) string
		want      func(base string) string // default: the base itself
		wantExact bool
	}{
		"a change elsewhere in the file": {
			base: none, change: replace(`name="x"`, `name="y"`), want: replace(`name="x"`, `name="y"`), wantExact: true,
		},
		"a rule that was altered": {
			base: none, change: replace(`pattern="(?=.*autodiscover)(?=.*powershell)"`, `pattern="nothing"`),
		},
		"a rule that was deleted, its wrappers left": {
			base: none, change: func(s string) string { return cut(s, "\n          <rule ", "</rule>") },
		},
		"a rule that was deleted from an expanded element": {
			base: rewrite, change: func(s string) string { return cut(s, "\n        <rule ", "</rule>") },
		},
		"everything of ours deleted": {
			base: none, change: func(string) string { return none },
		},
		"a foreign rule written into our wrapper": {
			base: none, change: replace("</rules>", "  <rule name=\"theirs\" />\n        </rules>"),
			want: func(string) string {
				return inLocation("      <rewrite>\n        <rules>\n          <rule name=\"theirs\" />\n        </rules>\n      </rewrite>\n      <handlers />\n")
			},
		},
		"a comment written into our wrapper": {
			base: none, change: replace("<rules>", "<rules><!-- keep -->"),
			want: func(string) string {
				return inLocation("      <rewrite>\n        <rules><!-- keep -->\n        </rules>\n      </rewrite>\n      <handlers />\n")
			},
		},
		"an attribute written on our wrapper": {
			base: none, change: replace("<rewrite>", "<rewrite lockItem=\"true\">"),
			want: func(string) string {
				return inLocation("      <rewrite lockItem=\"true\">\n      </rewrite>\n      <handlers />\n")
			},
		},
		"our block put into a comment": {
			base: none, change: func(s string) string {
				return strings.NewReplacer("      <rewrite>", "      <!--<rewrite>", "</rewrite>", "</rewrite>-->").Replace(s)
			},
			want: func(string) string {
				return strings.NewReplacer("      <rewrite>", "      <!--<rewrite>", "</rewrite>", "</rewrite>-->").Replace(
					inLocation("      <rewrite>\n        <rules>\n          " + strings.ReplaceAll(renderedRule, "\n", "\n  ") + "\n        </rules>\n      </rewrite>\n      <handlers />\n"))
			},
		},
		"our rule renamed, so that it is somebody else's": {
			base: rewrite, change: replace("EMS M1.1 a", "mine now"),
			want: func(string) string {
				return inLocation("      <rewrite>\n      <rules>\n        " + strings.ReplaceAll(renderedRule, "EMS M1.1 a", "mine now") + "\n      </rules>\n      </rewrite>\n")
			},
		},
		"the file written with other line ends": {
			base: none, change: func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
			want: func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
		},
		"the file written on one line": {
			base: none, change: oneLine, want: oneLine,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			out, edits, err := render([]byte(tc.base), Wanted{Groups: []Group{group(site, "EMS M1.1 a")}})
			if err != nil {
				t.Fatal(err)
			}
			changed := tc.change(string(out))
			if changed == string(out) {
				t.Fatal("the test changed nothing")
			}
			got, exact, err := strip([]byte(changed), edits)
			if err != nil {
				t.Fatal(err)
			}
			want := tc.base
			if tc.want != nil {
				want = tc.want(tc.base)
			}
			if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(string(got), "\n")); diff != "" {
				t.Error(diff)
			}
			if exact != tc.wantExact {
				t.Errorf("exact %v, want %v", exact, tc.wantExact)
			}
		})
	}
}

func replace(from, to string) func(string) string {
	return func(s string) string { return strings.ReplaceAll(s, from, to) }
}

func oneLine(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		b.WriteString(strings.TrimSpace(line))
	}
	return b.String()
}

func cut(s, from, to string) string {
	i := strings.Index(s, from)
	return s[:i] + s[i+strings.Index(s[i:], to)+len(to):]
}

func TestStripRestoresPools(t *testing.T) {
	tests := map[string]struct {
		prior, now, want string
		wantExact        bool
	}{
		"absent before": {prior: ``, now: ` autoStart="false"`, want: ``, wantExact: true},
		"absent before, moved by an administration tool": {prior: ``, now: ` queueLength="1" autoStart="false"`, want: ` queueLength="1"`, wantExact: true},
		"absent before, written with other quotes":       {prior: ``, now: ` autoStart='False'`, want: ``},
		"explicit before":                      {prior: ` autoStart='true'`, now: ` autoStart="false"`, want: ` autoStart='true'`, wantExact: true},
		"set back by somebody to what it was":  {prior: ` autoStart="true"`, now: ` autoStart="true"`, want: ` autoStart="true"`, wantExact: true},
		"switched on by somebody who wrote it": {prior: ``, now: ` autoStart="true"`, want: ` autoStart="true"`},
		"deleted by somebody":                  {prior: ` autoStart="true"`, now: ``, want: ``},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			pool := func(attrs string) []byte {
				return []byte(file("<system.applicationHost><applicationPools><add name=\"A\"" + attrs + " /></applicationPools></system.applicationHost>\n"))
			}
			_, edits, err := render(pool(tc.prior), Wanted{DisabledPools: []string{"A"}})
			if err != nil {
				t.Fatal(err)
			}
			got, exact, err := strip(pool(tc.now), edits)
			if err != nil || !bytes.Equal(got, pool(tc.want)) || exact != tc.wantExact {
				t.Errorf("exact %v, error %v\n%s", exact, err, got)
			}
		})
	}
	if _, exact, err := strip([]byte(file("")), []Edit{{Kind: SetAttribute, Path: "gone", Attribute: "autoStart", After: []byte(`autoStart="false"`)}}); err != nil || exact {
		t.Errorf("a pool that is gone: exact %v, error %v", exact, err)
	}
}

func TestCheckRefuses(t *testing.T) {
	good := string(iistree.Config(iistree.Options{}))
	top := func(rules string) func(string) string {
		return replace("        <httpProtocol>", "        <rewrite>"+rules+"</rewrite>\n        <httpProtocol>")
	}
	atSite := func(content string) func(string) string {
		return replace("    <location path=\"Default Web Site\">\n        <system.webServer>", "    <location path=\"Default Web Site\">\n        <system.webServer>"+content)
	}
	w := Wanted{Groups: []Group{group(site, "EMS M1.1 a")}}
	tests := map[string]struct {
		change     func(string) string
		wanted     Wanted
		wantReason string // "" for accepted
		wantText   string
	}{
		"nothing, on a plain server":          {wanted: w},
		"nothing, for a path below a site":    {wanted: Wanted{Groups: []Group{group(site+"/owa", "EMS M1.1 a")}}},
		"a site that is not there":            {wanted: Wanted{Groups: []Group{group("Intranet", "EMS M1.1 a")}}, wantReason: refusal.SiteNotFound, wantText: `"Intranet"`},
		"a pool that is not there":            {wanted: Wanted{DisabledPools: []string{"Nope"}}, wantReason: refusal.PoolNotFound, wantText: `"Nope"`},
		"a server without the section":        {change: replace(`<section name="rules" overrideModeDefault="Allow" />`, ""), wanted: w, wantReason: refusal.RewriteSectionMissing, wantText: "install"},
		"a section that no location may hold": {change: replace(`<section name="rules" `, `<section name="rules" allowLocation="False" `), wanted: w, wantReason: refusal.SectionLocked, wantText: "allowLocation"},
		"a server without the module":         {change: replace(`<add name="RewriteModule" image`, `<add name="OtherModule" image`), wanted: w, wantReason: refusal.RewriteModuleMissing, wantText: "globalModules"},
		"a module that is not enabled":        {change: replace(`<add name="RewriteModule" />`, ""), wanted: w, wantReason: refusal.RewriteModuleMissing, wantText: "<modules>"},
		"a site that removes the module":      {change: atSite(`<modules><remove name="RewriteModule" /></modules>`), wanted: w, wantReason: refusal.RewriteModuleMissing, wantText: site},
		"a site that clears the modules":      {change: atSite(`<modules><clear /></modules>`), wanted: w, wantReason: refusal.RewriteModuleMissing},
		"nothing, when another site removes the module": {
			change: replace("    <location path=\"Exchange Back End\">\n        <system.webServer>", "    <location path=\"Exchange Back End\">\n        <system.webServer><modules><clear /></modules>"), wanted: w},
		"rules locked at the server":           {change: top(`<rules lockItem="true" />`), wanted: w, wantReason: refusal.SectionLocked, wantText: "the server"},
		"rule elements locked":                 {change: top(`<rules lockElements="clear,rule" />`), wanted: w, wantReason: refusal.SectionLocked},
		"all elements locked but others":       {change: top(`<rules lockAllElementsExcept="clear" />`), wanted: w, wantReason: refusal.SectionLocked},
		"nothing, when only others are locked": {change: top(`<rules lockElements="clear" />`), wanted: w},
		"a section in another file":            {change: atSite(`<rewrite><rules configSource="rules.config" /></rewrite>`), wanted: w, wantReason: refusal.SectionLocked, wantText: "configSource"},
		"a section that applications do not inherit": {
			change: func(s string) string {
				return replace(`<location path="Default Web Site">`, `<location path="Default Web Site" inheritInChildApplications="false">`)(atSite(`<rewrite><rules /></rewrite>`)(s))
			}, wanted: w, wantReason: refusal.SectionLocked, wantText: "inheritInChildApplications"},
		"a rule of that name at the place":  {change: atSite(`<rewrite><rules><rule name="ems m1.1 A" /></rules></rewrite>`), wanted: w, wantReason: refusal.NameCollision, wantText: site},
		"a rule of that name at the server": {change: top(`<rules><rule name="EMS M1.1 a" /></rules>`), wanted: w, wantReason: refusal.NameCollision},
		"a rule of that name below": {
			change: replace(`<location path="Exchange Back End">`, `<location path="Default Web Site/owa"><system.webServer><rewrite><rules><rule name="EMS M1.1 a" /></rules></rewrite></system.webServer></location><location path="Exchange Back End">`),
			wanted: w, wantReason: refusal.NameCollision, wantText: "/owa"},
		"nothing, when a rule of that name is at another site": {
			change: replace("    <location path=\"Exchange Back End\">\n        <system.webServer>", "    <location path=\"Exchange Back End\">\n        <system.webServer><rewrite><rules><rule name=\"EMS M1.1 a\" /></rules></rewrite>"), wanted: w},
		"nothing, when a rule of that name is in a comment": {change: atSite(`<!-- <rewrite><rules><rule name="EMS M1.1 a" /></rules></rewrite> -->`), wanted: w},
		"two wanted rules of one name":                      {wanted: Wanted{Groups: []Group{group(site, "EMS M1.1 a"), group(site+"/owa", "EMS M1.1 a")}}, wantReason: refusal.NameCollision, wantText: "another mitigation"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			data := good
			if tc.change != nil {
				if data = tc.change(good); data == good {
					t.Fatal("the test changed nothing")
				}
			}
			c, err := Parse([]byte(data))
			if err != nil {
				t.Fatal(err)
			}
			err = c.Check(tc.wanted)
			if got := refusal.Of(err, ""); got != tc.wantReason {
				t.Fatalf("reason %q, want %q (%v)", got, tc.wantReason, err)
			}
			if err != nil && !strings.Contains(err.Error(), tc.wantText) {
				t.Errorf("message %q does not say %q", err, tc.wantText)
			}
		})
	}
}

func TestVerifyFinds(t *testing.T) {
	w := Wanted{Groups: []Group{group(site, "EMS M1.1 a", "EMS M1.1 b")}, DisabledPools: []string{"DefaultAppPool"}}
	rendered, _, err := render(iistree.Config(iistree.Options{}), w)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		change func(string) string
		want   []Finding
	}{
		"a rule that is gone":     {change: replace("EMS M1.1 a", "x"), want: []Finding{{site, "EMS M1.1 a", "is not there"}, {site, "EMS M1.1 a", "does not come first"}}},
		"a rule that was altered": {change: replace("<match url=\".*\" />", "<match url=\"x\" />"), want: []Finding{{site, "EMS M1.1 a", "was altered"}, {site, "EMS M1.1 b", "was altered"}}},
		"a rule in front":         {change: replace("<rules>\n                    <rule name=\"EMS M1.1 a\"", "<rules>\n<rule name=\"z\" />\n                    <rule name=\"EMS M1.1 a\""), want: []Finding{{site, "EMS M1.1 a", "does not come first"}}},
		"a clear behind":          {change: replace("                </rules>\n            </rewrite>", "                <clear /></rules>\n            </rewrite>"), want: []Finding{{site, "EMS M1.1 a", "is not there"}, {site, "EMS M1.1 b", "is not there"}, {site, "EMS M1.1 a", "does not come first"}}},
		"a remove behind":         {change: replace("                </rules>\n            </rewrite>", "                <remove name=\"ems M1.1 b\" /></rules>\n            </rewrite>"), want: []Finding{{site, "EMS M1.1 b", "is not there"}, {site, "EMS M1.1 b", "does not come first"}}},
		"a pool that starts":      {change: replace(`autoStart="false"`, `autoStart="true"`), want: []Finding{{"DefaultAppPool", "", "starts automatically"}}},
		"a pool that is gone":     {change: replace(`<add name="DefaultAppPool"`, `<add name="Other"`), want: []Finding{{"DefaultAppPool", "", "is not there"}}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			data := tc.change(string(rendered))
			if data == string(rendered) {
				t.Fatal("the test changed nothing")
			}
			c, err := Parse([]byte(data))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, c.Verify(w)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFacts(t *testing.T) {
	c, err := Parse(iistree.Config(iistree.Options{Server: "s9.contoso.example"}))
	if err != nil {
		t.Fatal(err)
	}
	application := func(path, pool, folder string) Application {
		return Application{Path: path, Pool: pool, Directories: []VirtualDirectory{{Path: "/", PhysicalPath: folder, SubDirConfig: true}}}
	}
	root, owa := `%SystemDrive%\inetpub\wwwroot`, `%SystemDrive%\inetpub\wwwroot\owa`
	wantSites := []Site{
		{Name: site, ID: "1", Bindings: []string{"http *:80:", "http *:80:s9.contoso.example"}, PhysicalPath: root, AutoStart: true,
			Applications: []Application{application("/", "DefaultAppPool", root), application("/owa", "DefaultAppPool", owa)}},
		{Name: "Exchange Back End", ID: "2", Bindings: []string{"http *:81:", "http *:81:s9.contoso.example"}, PhysicalPath: root, AutoStart: true,
			Applications: []Application{application("/", "MSExchangeOWAAppPool", root), application("/owa", "MSExchangeOWAAppPool", owa)}},
	}
	if diff := cmp.Diff(wantSites, c.Sites()); diff != "" {
		t.Error(diff)
	}
	if p := c.Pools(); len(p) != 5 || p[0] != (Pool{Name: "DefaultAppPool"}) || p[4].AutoStart != "true" {
		t.Errorf("pools %v", p)
	}
	if !c.RewriteModuleRegistered() || !c.RewriteSectionDeclared() || !c.RewriteModuleRunsAt(site) {
		t.Error("the rewrite module is not seen")
	}
	if _, err := Parse([]byte("<rewrite/>")); err == nil {
		t.Error("a file that is no configuration was accepted")
	}
}

func TestRefusalsAreTyped(t *testing.T) {
	_, _, err := render([]byte(file("")), Wanted{DisabledPools: []string{"x"}})
	var r *refusal.Error
	if !errors.As(err, &r) || r.Reason != refusal.PoolNotFound {
		t.Errorf("error %v", err)
	}
	_, _, err = render([]byte(file("")), Wanted{Groups: []Group{{Path: site, Section: Rules, Items: []Item{{Name: "a", XML: []byte(`<rule name="b"/>`)}}}}})
	if !errors.As(err, &r) || r.Reason != refusal.UnsupportedContent {
		t.Errorf("error %v", err)
	}
}

func TestRenderingWhatWasStrippedGivesTheFileThatWasRead(t *testing.T) {
	in := file("  <location path=\"S\">\n  </location>\n")
	w := Wanted{Groups: []Group{group("S", "EMS A")}}
	installed, edits, err := render([]byte(in), w)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse(installed)
	if err != nil {
		t.Fatal(err)
	}
	base, exact, err := c.Strip(edits)
	if err != nil || !exact || string(base.Data()) != in {
		t.Fatalf("exact %v, error %v: %s", exact, err, base.Data())
	}
	same, again, err := base.Render(w)
	if err != nil || same != c || len(again) != len(edits) {
		t.Errorf("it was read again: error %v", err)
	}
	other, _, err := base.Render(Wanted{Groups: []Group{group("S", "EMS B")}})
	if err != nil || other == c || bytes.Equal(other.Data(), installed) {
		t.Errorf("another rule gives the same file: error %v", err)
	}
}
