package xmlsig

import (
	"errors"
	"testing"

	"github.com/beevik/etree"
	"github.com/google/go-cmp/cmp"
)

// TestCanonicalSignedInfoWithinItsDocument has the expected forms written by hand from the standards: signing and
// verifying share the code, so a mistake in it would agree with itself.
func TestCanonicalSignedInfoWithinItsDocument(t *testing.T) {
	const namespace = "http://www.w3.org/2000/09/xmldsig#"
	cases := map[string]struct {
		document               string
		wantExclusive, wantC14 string
	}{
		"a default namespace that the Signature replaces": {
			document:      `<a xmlns="urn:a"><Signature xmlns="` + namespace + `"><SignedInfo><X/></SignedInfo></Signature></a>`,
			wantExclusive: `<SignedInfo xmlns="` + namespace + `"><X></X></SignedInfo>`,
			wantC14:       `<SignedInfo xmlns="` + namespace + `"><X></X></SignedInfo>`,
		},
		"prefixes from every level, the nearest counts": {
			document:      `<a xmlns:p="urn:far" xmlns:q="urn:q"><d:Signature xmlns:d="` + namespace + `" xmlns:p="urn:near"><d:SignedInfo/></d:Signature></a>`,
			wantExclusive: `<d:SignedInfo xmlns:d="` + namespace + `"></d:SignedInfo>`,
			wantC14:       `<d:SignedInfo xmlns:d="` + namespace + `" xmlns:p="urn:near" xmlns:q="urn:q"></d:SignedInfo>`,
		},
		"a declaration on SignedInfo itself": {
			document:      `<a xmlns:d="urn:other"><d:Signature xmlns:d="` + namespace + `"><d:SignedInfo xmlns:d="` + namespace + `"/></d:Signature></a>`,
			wantExclusive: `<d:SignedInfo xmlns:d="` + namespace + `"></d:SignedInfo>`,
			wantC14:       `<d:SignedInfo xmlns:d="` + namespace + `"></d:SignedInfo>`,
		},
		"xml: attributes are inherited by C14N 1.0 only": {
			document:      `<a xml:lang="en" xml:space="preserve"><Signature xmlns="` + namespace + `"><SignedInfo/></Signature></a>`,
			wantExclusive: `<SignedInfo xmlns="` + namespace + `"></SignedInfo>`,
			wantC14:       `<SignedInfo xmlns="` + namespace + `" xml:lang="en" xml:space="preserve"></SignedInfo>`,
		},
		"a default namespace undone for prefixed elements": {
			document:      `<a xmlns="urn:a" xmlns:d="` + namespace + `"><d:Signature xmlns=""><d:SignedInfo/></d:Signature></a>`,
			wantExclusive: `<d:SignedInfo xmlns:d="` + namespace + `"></d:SignedInfo>`,
			wantC14:       `<d:SignedInfo xmlns:d="` + namespace + `"></d:SignedInfo>`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for method, want := range map[Canonicalization]string{ExclusiveC14N: tc.wantExclusive, InclusiveC14N: tc.wantC14} {
				root, err := parseTree([]byte(tc.document))
				if err != nil {
					t.Fatal(err)
				}
				got, err := canonicalSignedInfo(root.ChildElements()[0].ChildElements()[0], method)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, string(got)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", method, diff)
				}
			}
		})
	}
}

func TestOnlyAChildOfTheRootIsLeftOut(t *testing.T) {
	root := mustParse(t, []byte(`<a><b><Signature/></b><c/></a>`))
	for _, element := range []*etree.Element{root, root.FindElement("b/Signature"), etree.NewElement("Signature")} {
		_, err := canonicalRoot(root, element, ExclusiveC14N, 0)
		var refusal *Error
		if !errors.As(err, &refusal) || refusal.Class != ClassShape {
			t.Errorf("element %s: error %v, want a refusal of its shape", element.GetPath(), err)
		}
	}
}
