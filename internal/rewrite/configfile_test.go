package rewrite_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/rewrite"
)

const serverFile = "\uFEFF" + `<?xml version="1.0" encoding="UTF-8"?>
<!-- <location path="Default Web Site"><system.webServer><rewrite><rules><rule name="no"/></rules></rewrite></system.webServer></location> -->
<configuration>
  <location path="Default Web Site/owa"><system.webServer><rewrite><rules><rule name="folder"><match url="^deep$"/><action type="AbortRequest"/></rule></rules></rewrite></system.webServer></location>
  <location path="default web site"><system.webServer><rewrite><rules><rule name="site"><match url="^site$"/><action type="AbortRequest"/></rule></rules></rewrite></system.webServer></location>
  <location path="Other"><system.webServer><rewrite><rules><rule name="other"><match url=".*"/><action type="AbortRequest"/></rule></rules></rewrite></system.webServer></location>
  <location path="Default Web Site/bad"><system.webServer><rewrite><rules><rule/></rules></rewrite></system.webServer></location>
  <system.webServer>
    <rewrite><globalRules><rule name="global"><match url="^global$"/><action type="AbortRequest"/></rule></globalRules></rewrite>
  </system.webServer>
</configuration>`

func TestConfigurationFiles(t *testing.T) {
	levels, err := rewrite.ServerLevels("applicationHost.config", []byte(serverFile), "Default Web Site")
	if err != nil {
		t.Fatal(err)
	}
	folder, err := rewrite.FolderLevels("web.config", []byte(`<configuration><location path="sub"><system.webServer><rewrite><rules><rule name="sub"><match url="^x$"/><action type="AbortRequest"/></rule></rules></rewrite></system.webServer></location>
		<location path="."><system.webServer><rewrite><rules><remove name="site"/></rules></rewrite></system.webServer></location></configuration>`), "/app")
	if err != nil {
		t.Fatal(err)
	}
	var places []string
	for _, l := range append(levels, folder...) {
		places = append(places, l.Path+" "+l.Name)
	}
	want := []string{
		"/ applicationHost.config", "/ applicationHost.config, location default web site", "/owa/ applicationHost.config, location Default Web Site/owa",
		"/bad/ applicationHost.config, location Default Web Site/bad", "/app/ web.config, location .", "/app/sub/ web.config, location sub",
	}
	if diff := cmp.Diff(want, places); diff != "" {
		t.Error(diff)
	}
	s := rewrite.NewSite(rewrite.Options{}, append(levels, folder...)...)
	for target, want := range map[string]string{
		"/global": `Aborted by rule "global"`, "/site": `Aborted by rule "site"`, "/owa/deep": `Aborted by rule "folder"`,
		"/other": passed, "/bad/x": "Error 500.19: attribute name is missing", "/app/sub/x": `Aborted by rule "sub"`, "/app/site": passed,
	} {
		if got := summary(evaluate(t, s, get(target))); got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
	if got := evaluate(t, s, get("/bad/x")); got.Fault.String() != "applicationHost.config:7:75: rewrite/rules/rule[1]: attribute name is missing (500.19)" {
		t.Errorf("fault %s", got.Fault)
	}
	if _, err := rewrite.ServerLevels("x.config", []byte("<configuration>"), "Other"); !errors.Is(err, rewrite.ErrInvalidConfiguration) || !strings.Contains(err.Error(), "x.config:1:16") {
		t.Errorf("error %v of a file that is not well-formed", err)
	}
	source := `<configuration><system.webServer><rewrite><rewriteMaps configSource="maps.config"/></rewrite></system.webServer></configuration>`
	if _, err := rewrite.FolderLevels("web.config", []byte(source), "/"); !errors.Is(err, rewrite.ErrUnsupported) {
		t.Errorf("error %v of a section in another file", err)
	}
}

// IIS reads other encodings, so that nobody can say here that it refuses them.
func TestEncodingsOfConfigurationFiles(t *testing.T) {
	const rest = `<configuration><system.webServer><rewrite><rules/></rewrite></system.webServer></configuration>`
	for name, tc := range map[string]struct {
		content string
		want    error
	}{
		"none is declared":      {rest, nil},
		"UTF-8":                 {`<?xml version="1.0" encoding="utf-8"?>` + rest, nil},
		"a byte order mark":     {"\uFEFF" + `<?xml version='1.0' encoding='UTF-8'?>` + rest, nil},
		"a code page":           {`<?xml version="1.0" encoding="windows-1252"?>` + rest, rewrite.ErrUnsupported},
		"another one":           {`<?xml version='1.0' encoding='iso-8859-1' ?>` + rest, rewrite.ErrUnsupported},
		"UTF-16":                {"\xff\xfe<\x00", rewrite.ErrUnsupported},
		"UTF-16, the other way": {"\xfe\xff\x00<", rewrite.ErrUnsupported},
		"UTF-8 that is broken":  {`<?xml version="1.0" encoding="utf-8"?><configuration a="` + "\xe4" + `"/>`, rewrite.ErrInvalidConfiguration},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := rewrite.FolderLevels("web.config", []byte(tc.content), "/")
			if !errors.Is(err, tc.want) || (err != nil && !strings.Contains(err.Error(), "web.config")) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
		})
	}
}

// allFiles is a file system that has every file.
type allFiles struct{ files }

func (allFiles) IsFile(string) bool { return true }

// Real configuration files are read whole, and their rules do what their authors say.
func TestRealConfigurationFiles(t *testing.T) {
	folder := os.Getenv("EMS_TESTDATA")
	if folder == "" {
		t.Skip("EMS_TESTDATA is not set: the published files are not available")
	}
	names, err := filepath.Glob(filepath.Join(folder, "iis-configs", "*config"))
	if err != nil || len(names) == 0 {
		t.Fatalf("%d files, %v", len(names), err)
	}
	malformed := 0
	read := func(name string) []rewrite.Level {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		levels, err := rewrite.FolderLevels(filepath.Base(name), content, "/")
		if errors.Is(err, rewrite.ErrInvalidConfiguration) {
			malformed++
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, l := range levels {
			if l.Err != nil {
				t.Errorf("%s: %v", l.Name, l.Err)
			}
		}
		return levels
	}
	sites := map[string]*rewrite.Site{}
	for _, name := range names {
		short := strings.SplitN(filepath.Base(name), "__", 3)[1]
		levels := read(name)
		sites[short] = rewrite.NewSite(rewrite.Options{Files: files{}}, levels...)
		sites[short+" with all files"] = rewrite.NewSite(rewrite.Options{Files: allFiles{}}, levels...)
	}
	if malformed != 2 {
		t.Errorf("%d files are not well-formed, want 2", malformed)
	}
	for _, tc := range []struct {
		site, target string
		want         rewrite.Outcome
	}{
		{"grav", "/user/accounts/admin.yaml", rewrite.Rewritten},
		{"grav with all files", "/user/accounts/admin.yaml", rewrite.Redirected},
		{"grav with all files", "/user/accounts/ann/face.png", rewrite.Passed},
		{"grav with all files", "/plugins/.env.local", rewrite.Redirected},
		{"grav", "/blog/first-post", rewrite.Rewritten},
		{"typo3", "/typo3conf/ext/a/Resources/Private/x.txt", rewrite.Responded},
		{"typo3", "/app/settings.yaml", rewrite.Responded},
		{"BookStack", "/books/one", rewrite.Rewritten},
		{"BookStack", "/x.css", rewrite.Passed},
		{"silverstripe-installer", "/about-us/", rewrite.Rewritten},
	} {
		got := evaluate(t, sites[tc.site], get(tc.target))
		if got.Outcome != tc.want || got.Verdict() == rewrite.Unknown {
			t.Errorf("%s: %s: %s, want %s", tc.site, tc.target, got, tc.want)
		}
	}
}
