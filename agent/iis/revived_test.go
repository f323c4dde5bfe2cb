package iis

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mitigation.dev/ems/agent/iis/apphost"
	"mitigation.dev/ems/test/iistree"
)

// change makes another program's change in a copy of a file.
func change(t *testing.T, data []byte) []byte {
	t.Helper()
	changed := strings.Replace(string(data), "<webLimits />", `<webLimits connectionTimeout="00:01:00" />`, 1)
	if changed == string(data) {
		t.Fatal("nothing to change")
	}
	return []byte(changed)
}

// write replaces applicationHost.config as a whole.
func (l *lab) write(data []byte) {
	l.t.Helper()
	if err := os.WriteFile(l.configPath(), data, 0o644); err != nil {
		l.t.Fatal(err)
	}
}

// TestWhatComesBackWithAStaleCopyGoesAgain has an administration tool read the file, the agent change it, and the tool save
// what it had read, with a change of its own. The file must be what it would be had the tool read it later.
func TestWhatComesBackWithAStaleCopyGoesAgain(t *testing.T) {
	m1, m2 := mitigation("M1", 1, rewrite("M1.1", "a")), mitigation("M1", 2, rewrite("M1.1", "b"))
	renamed := mitigation("M1", 2, rewrite("M1.9", "b"))
	other := mitigation("M2", 1, rewriteAt("M2.1", backEnd, "c"))
	all := mitigation("M3", 1, whole("M3.1", site), forServer("M3.2"), rewriteAt("M3.3", backEnd, "d"))
	tests := map[string]struct {
		steps [][]Mitigation // the tool reads after the first, and saves after the last
		spoil func(string) string
	}{
		"a rule":                                   {steps: [][]Mitigation{{m1}, nil}},
		"all content":                              {steps: [][]Mitigation{{all}, nil}},
		"one of two":                               {steps: [][]Mitigation{{m1, other}, {other}}},
		"one of two at one place":                  {steps: [][]Mitigation{{m1, all}, {all}}},
		"a rule from some changes ago":             {steps: [][]Mitigation{{m1}, {m2}, {m2, other}, nil}},
		"an older revision under a newer":          {steps: [][]Mitigation{{m1}, {m2}}},
		"an older revision with another name":      {steps: [][]Mitigation{{m1}, {renamed}}},
		"all content under something else":         {steps: [][]Mitigation{{all}, {m1, other}}},
		"a newer revision under the older":         {steps: [][]Mitigation{{m2}, {m1}}},
		"a rule whose installation came after":     {steps: [][]Mitigation{nil, {m1}}},
		"a removed rule under one that comes back": {steps: [][]Mitigation{{m1, other}, nil, {m1}}},
		"a rule that the tool indents otherwise": {steps: [][]Mitigation{{m1}, nil}, spoil: func(text string) string {
			return strings.Replace(text, `<match url="a" />`, "\t<match   url='a'/>", 1)
		}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, iistree.Options{CRLF: true})
			last := tc.steps[len(tc.steps)-1]
			l.write(change(t, l.original))
			l.reconcile(last...)
			want := l.read()
			l.reconcile()
			l.write(l.original)
			l.forget()

			for _, o := range l.reconcile(tc.steps[0]...) {
				l.wantState(o, Applied, "", true)
			}
			stale := change(t, l.read())
			for _, step := range tc.steps[1:] {
				l.reconcile(step...)
			}
			if tc.spoil != nil {
				spoilt := tc.spoil(string(stale))
				if spoilt == string(stale) {
					t.Fatal("nothing was spoilt")
				}
				stale = []byte(spoilt)
			}
			l.write(stale)
			l.open()
			for _, o := range l.reconcile(last...) {
				l.wantState(o, Applied, "", true)
			}
			if got := l.read(); !bytes.Equal(got, want) {
				t.Errorf("the file is\n%s\nwant\n%s", got, want)
			}
			for _, o := range l.reconcile(last...) {
				l.wantState(o, Applied, "", false)
			}
			for _, o := range l.reconcile(append(slices.Clone(last), mitigation("M9", 1, rewrite("M9.1", "z")))...) {
				if o.State != Applied {
					t.Errorf("outcome %+v", o)
				}
			}
			l.reconcile()
			if got := l.read(); !bytes.Equal(got, change(t, l.original)) {
				t.Errorf("after everything was removed the file is\n%s", got)
			}
		})
	}
}

// wantNothingRecorded looks for records of anything but what is gone from files that are still there.
func (l *lab) wantNothingRecorded() {
	l.t.Helper()
	led, err := l.server.loadLedger()
	if err != nil {
		l.t.Fatal(err)
	}
	if n := len(l.journal()); n != len(led.files) {
		l.t.Errorf("%d records, of which %d are of files: %v", n, len(led.files), l.journal())
	}
	for name, rec := range led.files {
		rec.Gone = nil
		if !rec.empty() || rec.Writing {
			l.t.Errorf("record of %s is left: %+v", name, rec)
		}
		if _, err := os.Stat(rec.Path); name != hostFile && err != nil {
			l.t.Errorf("record of %s is left: %v", name, err)
		}
	}
}

// forget starts the agent with an empty journal.
func (l *lab) forget() {
	l.t.Helper()
	if err := os.RemoveAll(l.state); err != nil {
		l.t.Fatal(err)
	}
	if err := os.MkdirAll(l.state, 0o700); err != nil {
		l.t.Fatal(err)
	}
	l.open()
}

// TestWrappersThatComeBackGoAsWell has the rule come back inside of wrappers that it did not need the last time.
func TestWrappersThatComeBackGoAsWell(t *testing.T) {
	l := newLab(t, iistree.Options{})
	m := mitigation("M1", 1, rewriteAt("M1.1", backEnd, "a"))
	l.reconcile(m)
	stale := change(t, l.read())
	l.reconcile()
	l.edit("</configuration>", `<location path="`+backEnd+`"><system.webServer><rewrite><rules></rules></rewrite></system.webServer></location></configuration>`)
	l.wantState(l.reconcile(m)["M1"], Applied, "", true)
	l.write(stale)
	l.reconcile(m)
	l.wantInFile("EMS M1.1", 1)
	l.reconcile()
	if got := l.read(); !bytes.Equal(got, change(t, l.original)) {
		t.Errorf("after everything was removed the file is\n%s", got)
	}
}

func TestAStaleCopyOfAWebConfigIsRepaired(t *testing.T) {
	l := newLab(t, iistree.Options{})
	const name = "inetpub/wwwroot/web.config"
	l.put(name, "<configuration>\r\n  <system.webServer>\r\n  </system.webServer>\r\n</configuration>\r\n")
	before := l.tree()
	m := inWebConfig(mitigation("M1", 1, whole("M1.1", site)))
	l.wantState(l.reconcile(m)["M1"], Applied, "", true)
	stale := l.tree()[name]
	l.wantState(l.reconcile()["M1"], Removed, "", true)
	l.put(name, stale)
	l.wantState(l.reconcile(m)["M1"], Applied, "", true)
	l.reconcile()
	l.put(name, stale)
	l.reconcile()
	l.wantTree(before)
	// Without the file nothing can come back into it.
	if err := os.Remove(l.file(name)); err != nil {
		t.Fatal(err)
	}
	l.reconcile()
	for _, left := range l.journal() {
		if strings.HasPrefix(left, "file-web.config") {
			t.Errorf("record left: %s", left)
		}
	}
}

// TestWhatAnAdministratorWroteStays puts elements there that resemble what was removed.
func TestWhatAnAdministratorWroteStays(t *testing.T) {
	m := mitigation("M1", 1, whole("M1.1", site))
	const in = `<location path="Default Web Site"><system.webServer><rewrite>%s</rewrite></system.webServer></location></configuration>`
	tests := map[string]struct {
		content string
		reason  string
	}{
		"a rule of our name with other content": {`<rules><rule name="EMS M1.1 in"><match url="own" /><action type="None" /></rule></rules>`, NameCollision},
		"a map of that name and content":        {`<rewriteMaps><rewriteMap name="blocked"><add key="/a" value="1" /></rewriteMap></rewriteMaps>`, NameCollision},
		"a server variable":                     {`<allowedServerVariables><add name="HTTP_X_EMS" /></allowedServerVariables>`, ""},
		"our content under another name": {`<rules><rule name="mine"><match url=".*" /><conditions><add input="{blocked:{REQUEST_URI}}" pattern="(.+)" /></conditions>` +
			`<serverVariables><set name="HTTP_X_EMS" value="1" /></serverVariables><action type="AbortRequest" /></rule></rules>`, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, iistree.Options{})
			l.reconcile(m)
			l.reconcile()
			l.wantOriginal()
			l.edit("</configuration>", fmt.Sprintf(in, tc.content))
			own := l.read()
			l.reconcile()
			if !bytes.Equal(l.read(), own) {
				t.Errorf("the file was changed:\n%s", l.read())
			}
			state := Applied
			if tc.reason != "" {
				state = Failed
			}
			l.wantState(l.reconcile(m)["M1"], state, tc.reason, state == Applied)
			l.reconcile()
			if !bytes.Equal(l.read(), own) {
				t.Errorf("after everything was removed the file is\n%s", l.read())
			}
		})
	}
}

// TestARevivedPoolSettingIsLeftAlone tells settings, which anybody may make, from elements that bear our names.
func TestARevivedPoolSettingIsLeftAlone(t *testing.T) {
	l := newLab(t, iistree.Options{})
	l.reconcile(mitigation("M1", 1, rewrite("M1.1", "a"), pool("M1.2", owaPool)))
	stale := l.read()
	l.reconcile()
	l.wantOriginal()
	l.write(stale)
	l.reconcile()
	l.wantInFile("EMS M1.1", 0)
	l.wantInFile(`autoStart="false"`, 1+strings.Count(string(l.original), `autoStart="false"`))
}

func TestThePastOfAFileIsBounded(t *testing.T) {
	insert := func(n, size int) apphost.Edit {
		return apphost.Edit{Kind: apphost.Insert, At: fmt.Sprint(n), After: []byte(strings.Repeat("x", size))}
	}
	edits := func(gone []apphost.Removed) (at []string) {
		for _, g := range gone {
			for _, e := range g.Edits {
				at = append(at, e.At)
			}
		}
		return at
	}
	var gone []apphost.Removed
	for n := range 3 * maxGone {
		gone = bury(gone, []apphost.Edit{insert(n, 1), {Kind: apphost.SetAttribute, After: []byte("x")}}, []apphost.Edit{insert(n+1, 1)})
	}
	if at := edits(gone); len(at) != maxGone || at[0] != fmt.Sprint(3*maxGone-1) {
		t.Errorf("%d edits are kept, %v", len(at), at)
	}
	if again := bury(gone, gone[1].Edits, nil); len(again) != maxGone || again[0].Edits[0].At != gone[1].Edits[0].At {
		t.Errorf("what goes again is not kept once and first: %v", edits(again))
	}
	if same := bury(gone, []apphost.Edit{insert(1000, 1)}, []apphost.Edit{insert(1000, 1)}); len(same) != maxGone || same[0].Edits[0].At == "1000" {
		t.Errorf("what is still there counts as gone: %v", edits(same))
	}
	if at := edits(bury(gone, []apphost.Edit{insert(1000, maxGoneBytes-1)}, nil)); !slices.Equal(at, []string{"1000", fmt.Sprint(3*maxGone - 1)}) {
		t.Errorf("kept beyond the bytes: %v", at)
	}

	l := newLab(t, iistree.Options{})
	for n := range int64(maxGone + 10) {
		l.reconcile(mitigation("M1", n+1, rewrite("M1.1", fmt.Sprint(n))))
	}
	led, err := l.server.loadLedger()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(edits(led.files[hostFile].Gone)); n != maxGone {
		t.Errorf("%d edits in the journal", n)
	}
	if info, err := os.Stat(filepath.Join(l.state, "journal", "file-applicationhost.config.json")); err != nil || info.Size() > 200_000 {
		t.Errorf("record of %d bytes (%v)", info.Size(), err)
	}
}

// TestAnUnchangedFileWithAPastIsNotRead is about what is kept of a file in which nothing of ours is left.
func TestAnUnchangedFileWithAPastIsNotRead(t *testing.T) {
	l := newLab(t, iistree.Options{})
	counter := &readCounter{FS: quickFS{}}
	l.fs = counter
	l.open()
	l.reconcile(mitigation("M1", 1, rewrite("M1.1", "a")))
	l.reconcile()
	if len(l.journal()) != 1 {
		t.Fatalf("journal %v", l.journal())
	}
	l.rest()
	l.reconcile()
	counter.reads = nil
	l.reconcile()
	if len(counter.reads) > 0 {
		t.Errorf("read %v", counter.reads)
	}
}
