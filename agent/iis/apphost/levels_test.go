package apphost

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/agent/iis/refusal"
)

func TestDirectoriesOfPaths(t *testing.T) {
	c, err := Parse([]byte(file(`<system.applicationHost><sites>
  <site name="S">
    <application path="/"><virtualDirectory path="/" physicalPath="root" /><virtualDirectory path="/files" physicalPath="files" /></application>
    <application path="/app"><virtualDirectory path="/" physicalPath="app" /><virtualDirectory path="/files/deep" physicalPath="deep" /><virtualDirectoryDefaults allowSubDirConfig="false" /></application>
  </site>
  <site name="none" />
  <site name="T"><application path="/"><virtualDirectory path="/" physicalPath="t" /><virtualDirectory path="/open" physicalPath="open" allowSubDirConfig="true" /></application></site>
  <virtualDirectoryDefaults allowSubDirConfig="FALSE" />
</sites></system.applicationHost>`)))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		site, below string
		want        Directory
		wantNone    bool
	}{
		"the site itself": {"s", "", Directory{PhysicalPath: "root"}, false},
		"a folder below":  {"S", "a/b", Directory{PhysicalPath: "root", Below: "a/b"}, false},
		"a virtual directory of the root application":      {"S", "FILES/x", Directory{PhysicalPath: "files", Below: "x"}, false},
		"a name that only begins like one":                 {"S", "files2", Directory{PhysicalPath: "root", Below: "files2"}, false},
		"an application goes before the root's directory":  {"S", "app/files", Directory{PhysicalPath: "app", Below: "files"}, false},
		"the longest virtual directory of an application":  {"S", "/app/files/deep/x/", Directory{PhysicalPath: "deep", Below: "x"}, false},
		"the nearest default of allowSubDirConfig counts":  {"T", "", Directory{PhysicalPath: "t"}, false},
		"a virtual directory's own allowSubDirConfig wins": {"T", "open", Directory{PhysicalPath: "open", SubDirConfig: true}, false},
		"a site without an application":                    {"none", "", Directory{}, true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			site, ok := c.Site(tc.site)
			if !ok {
				t.Fatal("no such site")
			}
			got, ok := site.Directory(tc.below)
			if ok == tc.wantNone || got != tc.want {
				t.Errorf("directory %+v, %v", got, ok)
			}
		})
	}
	if c.HasSite("Other/S") {
		t.Error("a site that is not there was found")
	}
}

func TestPoolsThatAlwaysRunStopDoingSo(t *testing.T) {
	base := file(`<system.applicationHost><applicationPools>
      <add name="A" startMode='alwaysrunning' />
      <add name="B" autoStart="true" />
      <add name="C" startMode="OnDemand" autoStart="false" />
      <applicationPoolDefaults startMode="AlwaysRunning" />
    </applicationPools></system.applicationHost>
`)
	out, edits, err := render([]byte(base), Wanted{DisabledPools: []string{"A", "B", "C"}})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer(`name="A" startMode='alwaysrunning'`, `name="A" autoStart="false" startMode="OnDemand"`,
		`name="B" autoStart="true"`, `name="B" startMode="OnDemand" autoStart="false"`).Replace(base)
	if diff := cmp.Diff(want, string(out)); diff != "" {
		t.Fatal(diff)
	}
	back, exact, err := strip(out, edits)
	if err != nil || !exact || string(back) != base {
		t.Errorf("exact %v, error %v\n%s", exact, err, back)
	}
	back, _, err = strip(bytes.Replace(out, []byte(`startMode="OnDemand" autoStart`), []byte(`startMode="AlwaysRunning" autoStart`), 1), edits)
	if err != nil || !strings.Contains(string(back), `name="B" startMode="AlwaysRunning" autoStart="true"`) {
		t.Errorf("what somebody set after us must stay (error %v):\n%s", err, back)
	}
}

func TestServerVariablesAreAllowedOnceOnAWay(t *testing.T) {
	variables := func(path string, names ...string) Group {
		g := Group{Path: path, Section: ServerVariables}
		for _, n := range names {
			g.Items = append(g.Items, Item{Name: n, XML: []byte(`<add name="` + n + `"/>`)})
		}
		return g
	}
	base := []byte(file("  <location path=\"Other\"><system.webServer><rewrite><allowedServerVariables><add name=\"x_a\" /></allowedServerVariables></rewrite></system.webServer></location>\n"))
	w := Wanted{Groups: []Group{variables(site+"/owa", "X_A", "X_B"), variables(site, "X_A"), variables(site, "x_a", "X_C"), variables("Other", "X_A", "X_D")}}
	out, edits, err := render(base, w)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"X_A": 1, "x_a": 1, "X_B": 1, "X_C": 1, "X_D": 1} {
		if got := strings.Count(string(out), `<add name="`+name+`" />`); got != want {
			t.Errorf("%s stands %d times:\n%s", name, got, out)
		}
	}
	c, err := Parse(out)
	if err != nil {
		t.Fatal(err)
	}
	if f := c.Verify(w); len(f) > 0 {
		t.Errorf("findings %v", f)
	}
	back, exact, err := strip(out, edits)
	if err != nil || !exact || !bytes.Equal(back, base) {
		t.Errorf("exact %v, error %v\n%s", exact, err, back)
	}
	if _, _, err := render(base, Wanted{Groups: []Group{variables("", "X_A")}}); refusal.Of(err, "") != refusal.NameCollision {
		t.Errorf("a variable that a level below allows as well: %v", err)
	}
}

func TestTheSameTextAtAnotherLevelIsNotOurs(t *testing.T) {
	ours := Wanted{Groups: []Group{{Path: site, Section: ServerVariables, Items: []Item{{Name: "X_A", XML: []byte(`<add name="X_A"/>`)}}}}}
	section := func(path, inner string) string {
		return "  <location path=\"" + path + "\">\n    <system.webServer>\n      <rewrite>\n        <allowedServerVariables>" + inner + "\n        </allowedServerVariables>\n      </rewrite>\n    </system.webServer>\n  </location>\n"
	}
	theirs := "\n          <add name=\"X_A\" />"
	base := file(section("Other", theirs) + section(site, ""))
	out, edits, err := render([]byte(base), ours)
	if err != nil || string(out) != file(section("Other", theirs)+section(site, theirs)) {
		t.Fatalf("error %v\n%s", err, out)
	}
	back, exact, err := strip(out, edits)
	if err != nil || !exact || string(back) != base {
		t.Errorf("exact %v, error %v\n%s", exact, err, back)
	}
}
