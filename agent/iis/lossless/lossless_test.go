package lossless

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
)

func utf16LE(s string, bom bool) []byte {
	var out []byte
	if bom {
		out = append(out, 0xFF, 0xFE)
	}
	for _, u := range utf16.Encode([]rune(s)) {
		out = binary.LittleEndian.AppendUint16(out, u)
	}
	return out
}

func TestScanRefuses(t *testing.T) {
	tests := map[string]struct {
		in           string
		wantLine     int
		wantColumn   int
		wantEncoding bool
		wantText     string
	}{
		"an element that is not closed":          {in: "<a>\n  <b>\n</a>", wantLine: 3, wantColumn: 1, wantText: `end tag "a" where "b" of line 2`},
		"a root that is never closed":            {in: "<a>\n<a/>", wantLine: 2, wantColumn: 5, wantText: "before element \"a\" of line 1 is closed"},
		"a second root":                          {in: "<a/>\n<b/>", wantLine: 2, wantColumn: 1, wantText: "second root"},
		"text outside of the root":               {in: "<a/>\r\n  x", wantLine: 2, wantColumn: 3, wantText: "text outside"},
		"an empty file":                          {in: "", wantLine: 1, wantColumn: 1, wantText: "no root element"},
		"a file of blanks":                       {in: " \n ", wantLine: 2, wantColumn: 2, wantText: "no root element"},
		"a document type declaration":            {in: "<!DOCTYPE a [<!ENTITY x 'y'>]><a/>", wantLine: 1, wantColumn: 1, wantText: "document type"},
		"an unknown entity":                      {in: "<a b='&nbsp;'/>", wantLine: 1, wantColumn: 7, wantText: "known reference"},
		"a bare ampersand":                       {in: "<a>x & y</a>", wantLine: 1, wantColumn: 6, wantText: "known reference"},
		"a reference to a forbidden character":   {in: "<a b='&#0;'/>", wantLine: 1, wantColumn: 7, wantText: "known reference"},
		"a reference with a sign":                {in: "<a b='&#+65;'/>", wantLine: 1, wantColumn: 7, wantText: "known reference"},
		"an attribute that stands twice":         {in: "<a b='1' b='2'/>", wantLine: 1, wantColumn: 10, wantText: "stands twice"},
		"an attribute without quotes":            {in: "<a b=1/>", wantLine: 1, wantColumn: 6, wantText: "not quoted"},
		"an attribute without value":             {in: "<a b/>", wantLine: 1, wantColumn: 5, wantText: "no value"},
		"attributes without a blank between":     {in: "<a b='1'c='2'/>", wantLine: 1, wantColumn: 9, wantText: "white space is missing"},
		"a less-than sign in a value":            {in: "<a b='<'/>", wantLine: 1, wantColumn: 7, wantText: "not allowed in the value"},
		"a value that is not closed":             {in: "<a b='1/>", wantLine: 1, wantColumn: 7, wantText: "not closed"},
		"a start tag that is not closed":         {in: "<a b='1'", wantLine: 1, wantColumn: 1, wantText: "not closed"},
		"two hyphens in a comment":               {in: "<a><!-- x -- y --></a>", wantLine: 1, wantColumn: 11, wantText: "inside a comment"},
		"a comment that is not closed":           {in: "<a><!-- x", wantLine: 1, wantColumn: 4, wantText: "comment is not closed"},
		"a comment cut before its last sign":     {in: "<a/><!-- x --", wantLine: 1, wantColumn: 12, wantText: "inside a comment"},
		"a CDATA section that is not closed":     {in: "<a><![CDATA[x</a>", wantLine: 1, wantColumn: 4, wantText: "CDATA section is not closed"},
		"the end of a CDATA section in text":     {in: "<a>x]]>y</a>", wantLine: 1, wantColumn: 5, wantText: "]]>"},
		"a declaration that is not at the start": {in: "\n<?xml version='1.0'?><a/>", wantLine: 2, wantColumn: 1, wantText: "very start"},
		"a control character":                    {in: "<a b='\x01'/>", wantLine: 1, wantColumn: 7, wantText: "U+0001"},
		"an end tag without a start tag":         {in: "</a>", wantLine: 1, wantColumn: 1, wantText: "without a start tag"},
		"a name with two colons":                 {in: "<a:b:c/>", wantLine: 1, wantColumn: 2, wantText: "colon"},
		"a file behind a byte order mark":        {in: "\xEF\xBB\xBF<a b/>", wantLine: 1, wantColumn: 5, wantText: "no value"},
		"elements nested too deep":               {in: strings.Repeat("<a>", MaxDepth+1), wantLine: 1, wantColumn: 3*MaxDepth + 1, wantText: "nested deeper"},
		"UTF-16 with a byte order mark":          {in: string(utf16LE("<a/>", true)), wantEncoding: true, wantText: "UTF-16"},
		"UTF-16 without a byte order mark":       {in: string(utf16LE("<a/>", false)), wantEncoding: true, wantText: "UTF-16"},
		"a byte that is not UTF-8":               {in: "<a>\n\xE9</a>", wantEncoding: true, wantText: "line 2, column 1: byte 0xE9"},
		"a declaration of another encoding":      {in: `<?xml version="1.0" encoding="windows-1252"?><a/>`, wantEncoding: true, wantText: "windows-1252"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Scan([]byte(tc.in))
			if err == nil {
				t.Fatal("the file was accepted")
			}
			if got := errors.Is(err, ErrEncoding); got != tc.wantEncoding {
				t.Errorf("errors.Is(%v, ErrEncoding) = %v", err, got)
			}
			var syntax *SyntaxError
			if errors.As(err, &syntax) != !tc.wantEncoding {
				t.Fatalf("error %v is of another type", err)
			}
			if syntax != nil && (syntax.Line != tc.wantLine || syntax.Column != tc.wantColumn) {
				t.Errorf("position %d:%d, want %d:%d (%v)", syntax.Line, syntax.Column, tc.wantLine, tc.wantColumn, err)
			}
			if !strings.Contains(err.Error(), tc.wantText) {
				t.Errorf("error %q does not say %q", err, tc.wantText)
			}
		})
	}
}

func TestLimitOfBytesIsReported(t *testing.T) {
	_, err := Scan(make([]byte, MaxBytes+1))
	if err == nil || !strings.Contains(err.Error(), "more than the limit") {
		t.Fatalf("error %v", err)
	}
}

func TestParseRefusesWhatOnlyTheSecondReaderRefuses(t *testing.T) {
	in := []byte(`<?xml version="1.1"?><a/>`)
	if _, err := Scan(in); err != nil {
		t.Fatalf("the first reader refuses it as well: %v", err)
	}
	_, err := Parse(in)
	if err == nil || !strings.Contains(err.Error(), "second XML reader") {
		t.Fatalf("error %v", err)
	}
}

func TestOffsetsPointAtTheSource(t *testing.T) {
	in := "\xEF\xBB\xBF<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<!-- <x/> -->\r\n<root>\r\n\t<x  a = 'it&apos;s' b=\"1&#xA;2\r\n3\" />\r\n\t<y>t</y >\r\n\t<![CDATA[<z/>]]>\r\n</root>\r\n  "
	doc, err := Parse([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	if doc.Elements != 3 {
		t.Fatalf("%d elements, want 3: markup in comments and CDATA is text", doc.Elements)
	}
	x, y := doc.Root.Child("x"), doc.Root.Child("y")
	got := map[string]string{
		"x start":  in[x.Start:x.StartEnd],
		"x all":    in[x.Start:x.End],
		"a":        in[x.Attrs()[0].Start:x.Attrs()[0].End],
		"a raw":    in[x.Attrs()[0].ValueStart:x.Attrs()[0].ValueEnd],
		"a value":  x.Value("a"),
		"b value":  x.Value("b"),
		"y end":    in[y.EndStart:y.End],
		"y inside": in[y.StartEnd:y.EndStart],
		"line end": doc.LineEndAt(x.Start),
		"indent":   doc.ChildIndent(doc.Root),
		"unit":     doc.IndentUnit(),
	}
	want := map[string]string{
		"x start": "<x  a = 'it&apos;s' b=\"1&#xA;2\r\n3\" />", "x all": "<x  a = 'it&apos;s' b=\"1&#xA;2\r\n3\" />",
		"a": "a = 'it&apos;s'", "a raw": "it&apos;s", "a value": "it's", "b value": "1\n2 3", "y end": "</y >",
		"y inside": "t", "line end": "\r\n", "indent": "\t", "unit": "\t",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !x.SelfClosing || y.SelfClosing || !x.Bare || y.Bare || doc.Root.Bare {
		t.Error("wrong self-closing or bare flags")
	}
	if doc.ElementAt(x.Start) != x || doc.ElementAt(strings.Index(in, "<x/>")) != nil || doc.ElementAt(strings.Index(in, "<z/>")) != nil {
		t.Error("ElementAt confuses elements with text")
	}
}

func TestLineEndFollowsThePlace(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"lines of LF":           {in: "<a>\n<b/></a>", want: "\n"},
		"lines of CRLF":         {in: "<a>\r\n<b/></a>", want: "\r\n"},
		"LF in a file of CRLF":  {in: "<a>\r\n\n<b/></a>", want: "\n"},
		"only the line after":   {in: "<a><b/>\n</a>", want: "\n"},
		"a file of one line":    {in: "<a><b/></a>", want: "\r\n"},
		"a file that begins LF": {in: "\n<a><b/></a>", want: "\n"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			doc, err := Scan([]byte(tc.in))
			if err != nil {
				t.Fatal(err)
			}
			if got := doc.LineEndAt(strings.Index(tc.in, "<b/>")); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestApply(t *testing.T) {
	tests := map[string]struct {
		splices []Splice
		want    string
		wantErr bool
	}{
		"nothing":                      {want: "abcdef"},
		"any order":                    {splices: []Splice{{Start: 4, End: 5, New: []byte("E")}, {Start: 0, End: 1}}, want: "bcdEf"},
		"two insertions at one offset": {splices: []Splice{{Start: 2, End: 2, New: []byte("1")}, {Start: 2, End: 2, New: []byte("2")}}, want: "ab12cdef"},
		"overlap":                      {splices: []Splice{{Start: 0, End: 3}, {Start: 2, End: 4}}, wantErr: true},
		"past the end":                 {splices: []Splice{{Start: 5, End: 7}}, wantErr: true},
		"backwards":                    {splices: []Splice{{Start: 3, End: 2}}, wantErr: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			data := []byte("abcdef")
			got, err := Apply(data, tc.splices)
			if (err != nil) != tc.wantErr || string(got) != tc.want {
				t.Errorf("got %q, %v", got, err)
			}
			if string(data) != "abcdef" {
				t.Error("the input was changed")
			}
		})
	}
}

func TestEscapedAttributeComesBack(t *testing.T) {
	in := "a<b>&\"c'\t\r\nd\u00e9"
	doc, err := Parse([]byte(`<x v="` + EscapeAttr(in) + `"/>`))
	if err != nil {
		t.Fatal(err)
	}
	if got := doc.Root.Value("v"); got != in {
		t.Errorf("got %q, want %q", got, in)
	}
}

func TestTheOutlineSeesWhatTheScannerSees(t *testing.T) {
	for name, tc := range map[string]struct {
		in           string
		wantElements int // 0 for refused
	}{
		"one element":                    {"<a/>", 1},
		"a bracket in a value":           {"<a b=\">\" c='/>'><d/></a>", 2},
		"tags in a comment and in CDATA": {"<a><!-- <b> --><![CDATA[<c>]]></a>", 1},
		"an instruction with a bracket":  {"<?x a>b?><a></a>", 1},
		"blanks in tags":                 {"<a\n><b\t/></a\r\n>", 2},
		"a missing end":                  {"<a><b/>", 0},
		"an end in the wrong place":      {"<a><b></a></b>", 0},
		"an end without a start":         {"<a/></a>", 0},
		"a comment that does not end":    {"<a><!-- </a>", 0},
		"a comment of two hyphens":       {"<a><!--></a>", 0},
		"a value that does not end":      {"<a b=\"></a>", 0},
		"a document type declaration":    {"<!DOCTYPE a><a/>", 0},
		"a tag that does not end":        {"<a", 0},
		"an end tag with nothing in it":  {"<a></></a>", 0},
	} {
		t.Run(name, func(t *testing.T) {
			o := readOutline([]byte(tc.in))
			if (o.err != nil) != (tc.wantElements == 0) {
				t.Fatalf("error %v", o.err)
			}
			doc, err := Scan([]byte(tc.in))
			if (err != nil) != (tc.wantElements == 0) {
				t.Fatalf("the scanner gives %v", err)
			}
			if err == nil && (o.elements != tc.wantElements || o.elements != doc.Elements || o.order != doc.order) {
				t.Errorf("outline %+v, document has %d elements, %d", o, doc.Elements, doc.order)
			}
		})
	}
	a, b := readOutline([]byte("<a><b/><c/></a>")), readOutline([]byte("<a><b><c/></b></a>"))
	if a.order == b.order {
		t.Error("nesting makes no difference")
	}
}

func TestALargeFileIsReadTwiceAsWell(t *testing.T) {
	data := []byte("<a>" + strings.Repeat("<b c=\"d\">e</b>\n", maxStandard/12) + "</a>")
	doc, err := Parse(data)
	if err != nil || doc.Elements != maxStandard/12+1 || len(data) <= maxStandard {
		t.Fatalf("error %v", err)
	}
	if err := doc.CrossCheck(); err != nil {
		t.Fatalf("error %v", err)
	}
	doc.order++
	if err := doc.CrossCheck(); err == nil {
		t.Error("readers that disagree were believed")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"<a/>", "\xEF\xBB\xBF<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<a b='c'>\r\n <!-- d --> <e/>&#xA;<![CDATA[f]]></a >\n",
		"<a><b></a></b>", "<a b=\"&lt;&#65;\"><?pi x?></a>", "<a:b xmlns:a='u'/>", string(utf16LE("<a/>", true)), "<a><!-- -- --></a>",
		"<a b = '>\"/' c=\"'\"\td='&#9;e'/>", "<a b='1'><c\n/><d e=''></d></a>", "<a b:c=\"d\u00e9\" \u00e9='f'/>",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		doc, err := Parse(data)
		if scanned, scanErr := Scan(data); scanErr == nil && standardCheck(scanned) == nil && err != nil {
			t.Fatalf("only the outline refuses it: %v", err)
		}
		if !bytes.Equal(before, data) {
			t.Fatal("the input was changed")
		}
		if err != nil {
			return
		}
		checkTree(t, doc, doc.Root, 0, len(data))
		checkAttributes(t, doc)
		if out, err := Apply(data, nil); err != nil || !bytes.Equal(out, data) {
			t.Fatalf("no splice changes the file: %v", err)
		}
	})
}

func checkTree(t *testing.T, doc *Document, e *Element, from, to int) {
	t.Helper()
	if e.Start < from || e.StartEnd <= e.Start || e.EndStart < e.StartEnd || e.End < e.EndStart || e.End > to {
		t.Fatalf("element %q has offsets %d %d %d %d within %d %d", e.Name, e.Start, e.StartEnd, e.EndStart, e.End, from, to)
	}
	if !bytes.HasPrefix(doc.Data[e.Start:], []byte("<"+e.Name)) || doc.ElementAt(e.Start) != e {
		t.Fatalf("element %q does not stand at %d", e.Name, e.Start)
	}
	for _, a := range e.Attrs() {
		if a.Start < e.Start || a.ValueStart <= a.Start || a.ValueEnd < a.ValueStart || a.End != a.ValueEnd+1 || a.End > e.StartEnd {
			t.Fatalf("attribute %q has wrong offsets", a.Name)
		}
	}
	at := e.StartEnd
	for _, c := range e.Children {
		checkTree(t, doc, c, at, e.EndStart)
		at = c.End
	}
}

// checkAttributes compares the attributes, which are read from their tags a second time, with those that encoding/xml sees.
func checkAttributes(t *testing.T, doc *Document) {
	t.Helper()
	var got, want []string
	var walk func(e *Element)
	walk = func(e *Element) {
		for _, a := range e.Attrs() {
			got = append(got, e.Name+" "+a.Name)
			if found := e.Attr(a.Name); found == nil || *found != a || e.Value(a.Name) != a.Value {
				t.Fatalf("attribute %q of %q is %+v and %+v", a.Name, e.Name, a, found)
			}
		}
		for _, c := range e.Children {
			walk(c)
		}
	}
	walk(doc.Root)
	full := func(n xml.Name) string { return strings.TrimPrefix(n.Space+":"+n.Local, ":") }
	dec := xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(doc.Data, utf8BOM)))
	for {
		token, err := dec.RawToken()
		if err != nil {
			break // the end, since Parse has had it read already
		}
		if start, ok := token.(xml.StartElement); ok {
			for _, a := range start.Attr {
				want = append(want, full(start.Name)+" "+full(a.Name))
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

// TestRealFiles reads the public configuration files that EMS_TESTDATA points at.
func TestRealFiles(t *testing.T) {
	dir := os.Getenv("EMS_TESTDATA")
	if dir == "" {
		t.Skip("EMS_TESTDATA is not set: no real configuration files to read")
	}
	names, err := filepath.Glob(filepath.Join(dir, "iis-configs", "*"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no files: %v", err)
	}
	malformed := map[string]string{
		"DefaultWebSite_web1.config":       "line ",
		"original2_missing_closing.config": "before element",
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			doc, err := Parse(data)
			for suffix, text := range malformed {
				if strings.HasSuffix(name, suffix) {
					if err == nil || !strings.Contains(err.Error(), text) {
						t.Fatalf("a malformed file gives %v", err)
					}
					return
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			checkAttributes(t, doc)
		})
	}
}

// benchmarkFile has the size of an applicationHost.config of Exchange.
func benchmarkFile() []byte {
	var file bytes.Buffer
	file.WriteString("<configuration>\r\n")
	for file.Len() < 175_000 {
		file.WriteString("    <location path=\"Default Web Site/owa\">\r\n        <system.webServer>\r\n            <handlers accessPolicy=\"Read, Script\" />\r\n        </system.webServer>\r\n    </location>\r\n")
	}
	file.WriteString("</configuration>\r\n")
	return file.Bytes()
}

func BenchmarkParse(b *testing.B) {
	data := benchmarkFile()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		agreed = agreements{} // as if the file was another one each time
		if _, err := Parse(data); err != nil {
			b.Fatal(err)
		}
	}
}
