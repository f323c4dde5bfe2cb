package xmltree_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mitigation.dev/ems/internal/ocs/xmltree"
)

var limits = xmltree.Limits{Bytes: 1000, Depth: 3, Elements: 5, Attributes: 2}

func TestParseReadsTheTree(t *testing.T) {
	got, err := xmltree.Parse([]byte("<?xml version=\"1.0\"?>\n<a x=\"1 &lt; 2\">one<!-- cut --> two\n<b/><c><![CDATA[<&]]></c></a>\n"), limits)
	if err != nil {
		t.Fatal(err)
	}
	want := &xmltree.Node{
		Name: "a", Attrs: []xmltree.Attr{{Name: "x", Value: "1 < 2"}}, Text: "one two\n", Line: 2,
		Children: []*xmltree.Node{{Name: "b", Line: 3}, {Name: "c", Text: "<&", Line: 3}},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(xmltree.Node{})); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
}

func TestRawIsTheVerbatimElement(t *testing.T) {
	input := []byte("<a>\n <b  k='v' >x<c/></b> <d/></a>")
	root, err := xmltree.Parse(input, limits)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(root.Child("b").Raw(input)), "<b  k='v' >x<c/></b>"; got != want {
		t.Errorf("Raw of b = %q, want %q", got, want)
	}
	if got, want := string(root.Child("d").Raw(input)), "<d/>"; got != want {
		t.Errorf("Raw of d = %q, want %q", got, want)
	}
	if root.Child("e") != nil {
		t.Error("Child finds an element that is not there")
	}
}

func TestParseRefuses(t *testing.T) {
	cases := map[string]struct {
		input    string
		wantKind error
		wantLine int
		wantText string
	}{
		"nothing":                      {"", xmltree.ErrMalformed, 1, "no root element"},
		"white space only":             {" \n ", xmltree.ErrMalformed, 2, "no root element"},
		"an open element":              {"<a>\n<b></b>", xmltree.ErrMalformed, 2, `"a" of line 1 is not closed`},
		"crossing tags":                {"<a>\n<b></a></b>", xmltree.ErrMalformed, 2, "does not fit"},
		"an end tag too many":          {"<a/></a>", xmltree.ErrMalformed, 1, "without a start tag"},
		"two roots":                    {"<a/>\n<b/>", xmltree.ErrMalformed, 2, "after the root"},
		"text after the root":          {"<a/>x", xmltree.ErrMalformed, 1, "outside the root"},
		"a byte order mark":            {"\ufeff<a/>", xmltree.ErrMalformed, 1, "outside the root"},
		"a document type":              {"<!DOCTYPE a [<!ENTITY e 'x'>]><a/>", xmltree.ErrMalformed, 1, "document type"},
		"an undeclared entity":         {"<a>&e;</a>", xmltree.ErrMalformed, 1, "entity"},
		"a processing instruction":     {"<a><?php x?></a>", xmltree.ErrMalformed, 1, "processing instruction"},
		"a late declaration":           {" <?xml version=\"1.0\"?><a/>", xmltree.ErrMalformed, 1, "processing instruction"},
		"another encoding":             {"<?xml version=\"1.0\" encoding=\"utf-16\"?><a/>", xmltree.ErrMalformed, 1, "encoding"},
		"bytes that are not UTF-8":     {"<a>\n\xff</a>", xmltree.ErrMalformed, 2, "not UTF-8"},
		"a repeated attribute":         {"<a x='1' x='2'/>", xmltree.ErrMalformed, 1, `repeats attribute "x"`},
		"too many bytes":               {"<a>" + strings.Repeat(" ", 1000) + "</a>", xmltree.ErrLimit, 1, "allowed are 1000"},
		"too deep nesting":             {"<a><b><c><d/></c></b></a>", xmltree.ErrLimit, 1, "deeper than 3"},
		"too many elements":            {"<a><b/><b/><b/><b/><b/></a>", xmltree.ErrLimit, 1, "more than 5 elements"},
		"too many attributes":          {"<a x='1' y='2' z='3'/>", xmltree.ErrLimit, 1, "has 3 attributes"},
		"an unescaped sign in a value": {"<a x='<'/>", xmltree.ErrMalformed, 1, "<"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := xmltree.Parse([]byte(tc.input), limits)
			var located *xmltree.Error
			if !errors.As(err, &located) || !errors.Is(err, tc.wantKind) {
				t.Fatalf("error %v, want an *Error that wraps %q", err, tc.wantKind)
			}
			if located.Line != tc.wantLine || !strings.Contains(err.Error(), tc.wantText) {
				t.Errorf("error %q, want line %d and the words %q", err, tc.wantLine, tc.wantText)
			}
		})
	}
}

func TestTextInManyPiecesIsReadInLinearTime(t *testing.T) {
	const pieces = 100_000
	input := []byte("<a>" + strings.Repeat("x<!---->", pieces) + "</a>")
	root, err := xmltree.Parse(input, xmltree.Limits{Bytes: len(input), Depth: 1, Elements: 1, Attributes: 0})
	if err != nil {
		t.Fatal(err)
	}
	if len(root.Text) != pieces {
		t.Errorf("text of %d bytes, want %d", len(root.Text), pieces)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"<a/>", "<a x='1'>t<b/>u</a>", "<?xml version=\"1.0\"?><a><!-- c --></a>", "<a:b xmlns:a='u'/>", "<a>&#10;&lt;</a>", "<a><![CDATA[x]]></a>"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		wide := xmltree.Limits{Bytes: 1 << 16, Depth: 16, Elements: 1000, Attributes: 16}
		root, err := xmltree.Parse(input, wide)
		if err != nil {
			var located *xmltree.Error
			if !errors.As(err, &located) || located.Line < 1 || located.Column < 1 {
				t.Fatalf("error without a place: %v", err)
			}
			return
		}
		if err := rereads(root, input, wide); err != nil {
			t.Fatal(err)
		}
	})
}

// rereads checks that the verbatim bytes of every element are a document with the same
// tree.
func rereads(n *xmltree.Node, input []byte, limits xmltree.Limits) error {
	again, err := xmltree.Parse(n.Raw(input), limits)
	if err != nil {
		return fmt.Errorf("element %q: %w", n.Name, err)
	}
	options := []cmp.Option{cmpopts.IgnoreUnexported(xmltree.Node{}), cmpopts.IgnoreFields(xmltree.Node{}, "Line")}
	if diff := cmp.Diff(n, again, options...); diff != "" {
		return fmt.Errorf("element %q reads differently by itself:\n%s", n.Name, diff)
	}
	for _, child := range n.Children {
		if err := rereads(child, input, limits); err != nil {
			return err
		}
	}
	return nil
}
