package rewrite

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestRequirements(t *testing.T) {
	cases := map[string]struct {
		pattern string
		want    filter
	}{
		"nothing":                          {``, filter{}},
		"any text":                         {`.*`, filter{}},
		"a text":                           {`autodiscover`, filter{contains: []string{"autodiscover"}}},
		"the longest of several texts":     {`.*autodiscover\.json.*\@.*Powershell.*`, filter{contains: []string{"autodiscover.json"}}},
		"look-ahead demands its text":      {`(?=.*autodiscover)(?=.*powershell)`, filter{contains: []string{"autodiscover"}}},
		"a negative one demands nothing":   {`^(?!owa)x`, filter{contains: []string{"x"}}},
		"a beginning":                      {`^article/([0-9]+)/`, filter{prefixes: []string{"article/"}, contains: []string{"article/"}}},
		"an end":                           {`^(.*[^/])/$`, filter{suffixes: []string{"/"}, contains: []string{"/"}}},
		"alternatives at the end":          {`\.(config|ini)$`, filter{suffixes: []string{".config", ".ini"}, contains: []string{".config", ".ini"}}},
		"alternatives of other length":     {`^(TRACE|TRACK)$`, filter{prefixes: []string{"TRACE", "TRACK"}, suffixes: []string{"TRACE", "TRACK"}, contains: []string{"TRACE", "TRACK"}}},
		"an alternative without text":      {`a(b|.)c`, filter{contains: []string{"a"}}},
		"an anchor in an alternative":      {`(^|/)\.(git|hg)`, filter{contains: []string{".git", ".hg"}}},
		"anchors do not hold outside":      {`^a|b$`, filter{contains: []string{"a", "b"}}},
		"alternatives with anchors":        {`(?:^ecp/|^owa/).*`, filter{contains: []string{"ecp/", "owa/"}}},
		"an optional character":            {`^fo?bar$`, filter{prefixes: []string{"f"}, suffixes: []string{"bar"}, contains: []string{"bar"}}},
		"an optional group":                {`(abc)?d`, filter{contains: []string{"d"}}},
		"a repeated group":                 {`(abc){2,3}d`, filter{contains: []string{"abc"}}},
		"a repeated character":             {`ab+c`, filter{contains: []string{"ab"}}},
		"a repetition that may be none":    {`ab{0,2}c`, filter{contains: []string{"a"}}},
		"an escaped character":             {`\$\{jndi:`, filter{contains: []string{"${jndi:"}}},
		"an escape that is a class":        {`ab\dcde`, filter{contains: []string{"cde"}}},
		"a back reference":                 {`(ab)\1`, filter{contains: []string{"ab"}}},
		"a bracket in a bracket":           {`[[]ab[\]]c`, filter{contains: []string{"ab"}}},
		"a letter outside of ASCII":        {`größe`, filter{contains: []string{"gr"}}},
		"a dollar sign in the middle":      {`a$b`, filter{contains: []string{"a"}}},
		"too many alternatives":            {`x(a|b|c|d)(e|f|g|h)y`, filter{contains: []string{"xa", "xb", "xc", "xd"}}},
		"alternatives beyond the limit":    {`(a|b|c|d|e|f|g|h|i|j|k|l|m)z`, filter{contains: []string{"z"}}},
		"a group that is looked for twice": {`((a|b)c){1}x`, filter{contains: []string{"ac", "bc"}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := checkECMAScript(tc.pattern); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, requirements(tc.pattern), cmp.AllowUnexported(filter{}), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWidePartsAreRationed(t *testing.T) {
	left := 2
	for i, want := range []bool{true, false, true} {
		text := []string{`[\D]`, `[\D][\W]`, `[\S]`}[i]
		if p := newPattern(ECMAScript, text, true, &left); (p.unknown == "") != want {
			t.Errorf("%s: %q, want it to be compiled: %t", text, p.unknown, want)
		}
	}
	if p := newPattern(ECMAScript, `[\D]`, false, &left); left != 0 || p.unknown != "" {
		t.Errorf("%d left; with regard to case: %q", left, p.unknown)
	}
}
