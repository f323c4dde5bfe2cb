package sheet_test

import (
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/sheet"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/terminal"
)

func TestGuard(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"words stay":                            {"PowerShell - inbound", "PowerShell - inbound"},
		"a formula":                             {"=HYPERLINK(\"http://x\")", "'=HYPERLINK(\"http://x\")"},
		"a command of old spreadsheets":         {"@SUM(1)", "'@SUM(1)"},
		"a sign in full width":                  {"＝1+1", "'＝1+1"},
		"behind blanks":                         {"  +1", "  '+1"},
		"behind a semicolon, another separator": {"harmless;=1+1", "harmless;'=1+1"},
		"quoted behind a semicolon":             {`harmless;"=1+1"`, `harmless;"'=1+1"`},
		"behind a tab":                          {"harmless\t-1", "harmless\t'-1"},
		"on a line of its own":                  {"harmless\n=1", "harmless\n'=1"},
		"what is text already":                  {"'=1", "'=1"},
		"an address":                            {"it@contoso.com", "it@contoso.com"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := sheet.Guard(tc.text); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestFilesAreAsTheirFormatsWant(t *testing.T) {
	names, rows := []string{"ID", "Description"}, [][]string{{"M1", "a \"quoted\", <b>bold</b> & long\r\ntext\x00"}, {"M2", ""}}
	var table, document bytes.Buffer
	if err := sheet.CSV(&table, names, rows); err != nil {
		t.Fatal(err)
	}
	wantCSV := "ID,Description\r\nM1,\"a \"\"quoted\"\", <b>bold</b> & long\r\ntext\uFFFD\"\r\nM2,\r\n"
	if diff := cmp.Diff(wantCSV, table.String()); diff != "" {
		t.Errorf("CSV: -want +got:\n%s", diff)
	}
	if err := sheet.XML(&document, sheet.Document{Root: "List", Item: "Item", Attributes: []string{"time", "<now>"}}, names, rows); err != nil {
		t.Fatal(err)
	}
	wantXML := xml.Header + `<List time="&lt;now&gt;">
  <Item>
    <ID>M1</ID>
    <Description>a &#34;quoted&#34;, &lt;b&gt;bold&lt;/b&gt; &amp; long&#xA;text` + "\uFFFD" + `</Description>
  </Item>
  <Item>
    <ID>M2</ID>
    <Description></Description>
  </Item>
</List>
`
	if diff := cmp.Diff(wantXML, document.String()); diff != "" {
		t.Errorf("XML: -want +got:\n%s", diff)
	}
}

func TestTable(t *testing.T) {
	columns := []sheet.Column{{Head: "ID"}, {Head: "STATUS", Tone: func(string) terminal.Tone { return terminal.Good }}, {Head: "DESCRIPTION"}}
	rows := [][]string{{"M1", "Applied", "what \x1b[2J a publisher writes"}, {"M2", "Failed", ""}}
	for name, tc := range map[string]struct {
		style terminal.Style
		head  bool
		want  string
	}{
		"no terminal shows all":   {terminal.Plain(20), true, "ID   STATUS    DESCRIPTION\nM1   Applied   what ?[2J a publisher writes\nM2   Failed    -\n"},
		"without headings":        {terminal.Plain(80), false, "M1   Applied   what ?[2J a publisher writes\nM2   Failed    -\n"},
		"a terminal cuts the end": {terminal.Style{Width: 30, Live: true}, false, "M1   Applied   what ?[2J a...\nM2   Failed    -\n"},
		"colours":                 {terminal.Style{Width: 80, Live: true, Color: true}, false, "M1   \x1b[32mApplied\x1b[0m   what ?[2J a publisher writes\nM2   \x1b[32mFailed\x1b[0m    -\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := sheet.Table(&out, tc.style, columns, rows, tc.head); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, out.String()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

var seeds = []string{"", "M1", "=1+1", "a;=1", "\r\n", "\r", "\x00\x01\xff", "]]>", "<!--", "&amp;", "\"", "\"\"=1", "\ufffe", "\U0010ffff", "a,b", " =1", "\ufeff=1"}

// FuzzCSV: what is written is read again as it was, but for what is guarded, and no cell is a formula, whatever separates cells.
func FuzzCSV(f *testing.F) {
	for _, s := range seeds {
		f.Add(s, "x")
		f.Add("x", s)
	}
	dangerous := regexp.MustCompile(`^[\s"]*[=+\-@＝＋－＠]`)
	f.Fuzz(func(t *testing.T, one, two string) {
		var out bytes.Buffer
		if err := sheet.CSV(&out, []string{"One", "Two"}, [][]string{{one, two}}); err != nil {
			t.Fatal(err)
		}
		read, err := csv.NewReader(bytes.NewReader(out.Bytes())).ReadAll()
		if err != nil {
			t.Fatalf("%q: %v", &out, err)
		}
		want := [][]string{{"One", "Two"}, {sheet.Guard(sheet.Clean(one)), sheet.Guard(sheet.Clean(two))}}
		if diff := cmp.Diff(want, read); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		for _, cell := range read[1] {
			for _, part := range strings.FieldsFunc(cell, func(r rune) bool { return r == ';' || r == '\t' || r == '\n' }) {
				if dangerous.MatchString(part) {
					t.Errorf("%q holds a formula: %q", cell, part)
				}
			}
		}
	})
}

// FuzzXML: what is written is well-formed, and is read again as it was.
func FuzzXML(f *testing.F) {
	for _, s := range seeds {
		f.Add(s, "x")
		f.Add("x", s)
	}
	f.Fuzz(func(t *testing.T, attribute, text string) {
		var out bytes.Buffer
		if err := sheet.XML(&out, sheet.Document{Root: "List", Item: "Item", Attributes: []string{"of", attribute}}, []string{"Text"}, [][]string{{text}, {"x"}}); err != nil {
			t.Fatal(err)
		}
		var read struct {
			Of    string `xml:"of,attr"`
			Items []struct {
				Text string
			} `xml:"Item"`
		}
		decoder := xml.NewDecoder(&out)
		if err := decoder.Decode(&read); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if _, err := decoder.Token(); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if read.Of != sheet.Clean(attribute) || len(read.Items) != 2 || read.Items[0].Text != sheet.Clean(text) {
			t.Errorf("read %+v of %q and %q", read, attribute, text)
		}
	})
}
