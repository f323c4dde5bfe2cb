package apphost

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mitigation.dev/ems/agent/iis/lossless"
	"mitigation.dev/ems/test/iistree"
)

// TestRealFilesRoundTrip puts rules and pool settings into public configuration files and takes them out again.
func TestRealFilesRoundTrip(t *testing.T) {
	dir := os.Getenv("EMS_TESTDATA")
	if dir == "" {
		t.Skip("EMS_TESTDATA is not set: no real configuration files to edit")
	}
	names, err := filepath.Glob(filepath.Join(dir, "iis-configs", "*"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no files: %v", err)
	}
	edited, refused := 0, 0
	for _, name := range names {
		original, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for variant, data := range variants(original) {
			t.Run(filepath.Base(name)+"/"+variant, func(t *testing.T) {
				if doc, err := lossless.Parse(data); err == nil && doc.Root.Name != "configuration" {
					return // a schema file
				}
				before := bytes.Clone(data)
				c, err := Parse(data)
				if strings.HasSuffix(name, "DefaultWebSite_web1.config") || strings.HasSuffix(name, "original2_missing_closing.config") {
					if err == nil {
						t.Fatal("a malformed file was accepted")
					}
					if _, _, err := render(data, Wanted{Groups: []Group{group(site, "EMS T1.1 x")}}); err == nil || !bytes.Equal(before, data) {
						t.Fatal("a malformed file was edited")
					}
					refused++
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				roundTrip(t, c, data)
				edited++
			})
		}
	}
	if edited < 100 || refused != 10 {
		t.Errorf("%d files edited, %d refused", edited, refused)
	}
}

// variants gives a file as it is, with the other line ends, with and without byte order mark.
func variants(data []byte) map[string][]byte {
	other := bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	if bytes.Equal(other, data) {
		other = bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n"))
	}
	flip := func(d []byte) []byte {
		if rest, ok := bytes.CutPrefix(d, []byte("\xEF\xBB\xBF")); ok {
			return rest
		}
		return append([]byte("\xEF\xBB\xBF"), d...)
	}
	return map[string][]byte{"as it is": data, "other line ends": other, "other mark": flip(data), "both": flip(other), "tabs and blanks mixed": mixed(data)}
}

// mixed indents every third line with tabs.
func mixed(data []byte) []byte {
	lines := bytes.SplitAfter(data, []byte("\n"))
	for i := 0; i < len(lines); i += 3 {
		rest := bytes.TrimLeft(lines[i], " ")
		lines[i] = append(bytes.Repeat([]byte("\t"), (len(lines[i])-len(rest)+3)/4), rest...)
	}
	return bytes.Join(lines, nil)
}

// everything has all sections that a level can have.
func everything(t *testing.T, path, prefix string) Wanted {
	t.Helper()
	inner := `<rules><rule name="in"><match url=".*"/><serverVariables><set name="HTTP_X" value="1"/></serverVariables><action type="AbortRequest"/></rule></rules>`
	if path == "" {
		inner = `<globalRules><rule name="all"><match url=".*"/><action type="AbortRequest"/></rule></globalRules>` + inner
	}
	w, err := ReadContent([]byte("<rewrite>"+inner+`<outboundRules><preConditions><preCondition name="p"><add input="{RESPONSE_STATUS}" pattern="200"/></preCondition></preConditions>`+
		`<rule name="out" preCondition="p"><match customTags="t" pattern="x"/></rule><customTags><tags name="t"><tag name="a" attribute="b"/></tags></customTags></outboundRules>`+
		`<rewriteMaps><rewriteMap name="map of `+prefix+`"><add key="k" value="v"/></rewriteMap></rewriteMaps>`+
		`<allowedServerVariables><add name="HTTP_X_`+prefix+`"/></allowedServerVariables></rewrite>`), path, "EMS "+prefix)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func roundTrip(t *testing.T, c *Config, data []byte) {
	t.Helper()
	paths := []string{site}
	for _, s := range c.Sites() {
		paths = append(paths, s.Name)
	}
	for i, l := range c.locations() {
		if p := locationPath(l); p != "" && i%7 == 0 {
			paths = append(paths, p)
		}
	}
	w := Wanted{}
	for i, p := range paths {
		w.Groups = append(w.Groups, group(p, "EMS T1."+string(rune('a'+i))+" x", "EMS T2."+string(rune('a'+i))+" y"))
	}
	for _, p := range c.Pools() {
		w.DisabledPools = append(w.DisabledPools, p.Name)
	}
	all := everything(t, "", "T3").Append(w)
	for i, p := range paths {
		all = all.Append(everything(t, p, "T4."+string(rune('a'+i))))
	}
	for name, wanted := range map[string]Wanted{
		"rules": {Groups: w.Groups[:1]}, "pools": {DisabledPools: w.DisabledPools}, "rules of all sites": w,
		"the server": everything(t, "", "T3"), "one site": everything(t, paths[0], "T3"), "everything": all,
	} {
		out, edits, err := render(data, wanted)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		rendered, err := Parse(out)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if f := rendered.Verify(wanted); len(f) > 0 {
			t.Fatalf("%s: findings %v", name, f)
		}
		back, exact, err := strip(out, edits)
		if err != nil || !exact || !bytes.Equal(back, data) {
			t.Fatalf("%s: exact %v, error %v, same bytes %v", name, exact, err, bytes.Equal(back, data))
		}
		if n := bytes.Count(out, []byte("\n")) - bytes.Count(out, []byte("\r\n")); n != bytes.Count(data, []byte("\n"))-bytes.Count(data, []byte("\r\n")) && bytes.Contains(data, []byte("\r\n")) {
			t.Fatalf("%s: bare LF written into a CRLF file", name)
		}
	}
}

func FuzzRenderStrip(f *testing.F) {
	f.Add(iistree.Config(iistree.Options{}), site, "a")
	f.Add(iistree.Config(iistree.Options{CRLF: true}), "Exchange Back End/owa", "b")
	f.Add([]byte("\xEF\xBB\xBF<configuration/>"), "x", "c")
	f.Add([]byte("<configuration><location path='x'><system.webServer><rewrite><rules><clear/></rules></rewrite></system.webServer></location></configuration>"), "X/", "d")
	f.Add([]byte("<configuration>\n<location path='x'/>\t<location path='x' overrideMode='Deny'><system.webServer/></location></configuration>"), "x", "e\"&\t")
	f.Fuzz(func(t *testing.T, base []byte, path, name string) {
		content, err := ReadContent([]byte("<rewrite><rules><rule name=\""+lossless.EscapeAttr(name)+"\"><match url=\".*\"></match><action type=\"AbortRequest\"/></rule></rules></rewrite>"), path, "EMS F1.1")
		if err != nil {
			return
		}
		w := Wanted{Groups: []Group{content.Groups[0], group(path+"/sub", "EMS F2.1 x")}}
		if c, err := Parse(base); err == nil {
			for _, p := range c.Pools() {
				if p.Name != "" {
					w.DisabledPools = append(w.DisabledPools, p.Name)
				}
			}
		}
		out, edits, err := render(base, w)
		if err != nil {
			return
		}
		c, err := Parse(out)
		if err != nil {
			t.Fatalf("the result is not readable: %v", err)
		}
		if f := c.Missing(w); len(f) > 0 {
			t.Fatalf("findings %v in\n%s", f, out)
		}
		back, exact, err := strip(out, edits)
		if err != nil || !exact || !bytes.Equal(back, base) {
			t.Fatalf("exact %v, error %v\nbase %q\nout  %q\nback %q", exact, err, base, out, back)
		}
	})
}

// bigConfig is about as large as the file of an Exchange server with 43 locations, 175 KB.
func bigConfig() []byte {
	o := iistree.Options{CRLF: true}
	for i := range 170 {
		o.Sites = append(o.Sites, iistree.Site{Name: "Site " + string(rune('A'+i%26)) + strings.Repeat("x", i/26), Port: 8000 + i, Pool: "DefaultAppPool"})
	}
	return iistree.Config(o)
}

func BenchmarkRender(b *testing.B) {
	base := bigConfig()
	w := Wanted{Groups: []Group{group("Site A", "EMS M1.1 a", "EMS M1.1 b"), group("Site Bx", "EMS M2.1 a")}, DisabledPools: []string{"MSExchangeECPAppPool"}}
	b.SetBytes(int64(len(base)))
	for b.Loop() {
		if _, _, err := render(base, w); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStrip(b *testing.B) {
	base := bigConfig()
	w := Wanted{Groups: []Group{group("Site A", "EMS M1.1 a", "EMS M1.1 b"), group("Site Bx", "EMS M2.1 a")}, DisabledPools: []string{"MSExchangeECPAppPool"}}
	out, edits, err := render(base, w)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(out)))
	for b.Loop() {
		if _, _, err := strip(out, edits); err != nil {
			b.Fatal(err)
		}
	}
}
