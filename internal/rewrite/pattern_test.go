package rewrite_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"mitigation.dev/ems/internal/rewrite"
)

func TestCheckPattern(t *testing.T) {
	cases := map[string]struct {
		syntax  rewrite.Syntax
		pattern string
		wantOK  bool
	}{
		"look-ahead":                            {rewrite.ECMAScript, `(?=.*autodiscover)(?=.*powershell)`, true},
		"negative look-ahead":                   {rewrite.ECMAScript, `^(?!owa/).*`, true},
		"back reference":                        {rewrite.ECMAScript, `(a)\1`, true},
		"repetitions":                           {rewrite.ECMAScript, `a{2}b{2,}c{2,3}d*?e+?f??(?:g)+`, true},
		"classes and escapes":                   {rewrite.ECMAScript, `[\]^a-z\d\x41\u0041-]\cA\/\@\-\.\t[[:alpha:]]`, true},
		"an escaped brace":                      {rewrite.ECMAScript, `\$\{jndi:`, true},
		"an empty pattern":                      {rewrite.ECMAScript, ``, true},
		"an asterisk as wildcard":               {rewrite.Wildcard, `*`, true},
		"an asterisk as text":                   {rewrite.ExactMatch, `*(`, true},
		"an asterisk alone":                     {rewrite.ECMAScript, `*`, false},
		"a repetition after a bar":              {rewrite.ECMAScript, `a|+`, false},
		"a repeated repetition":                 {rewrite.ECMAScript, `a**`, false},
		"a repeated anchor":                     {rewrite.ECMAScript, `^*`, false},
		"a repeated look-ahead":                 {rewrite.ECMAScript, `(?=a)*`, false},
		"a brace that is no repetition":         {rewrite.ECMAScript, `^/{C:1}`, false},
		"a repetition with a huge bound":        {rewrite.ECMAScript, `a{1000000}`, false},
		"a repetition with swapped bounds":      {rewrite.ECMAScript, `a{3,2}`, false},
		"look-behind":                           {rewrite.ECMAScript, `(?<=a)b`, false},
		"a named group":                         {rewrite.ECMAScript, `(?<n>a)`, false},
		"an inline option":                      {rewrite.ECMAScript, `(?i)a`, false},
		"an atomic group":                       {rewrite.ECMAScript, `(?>a)`, false},
		"a question mark that ends it":          {rewrite.ECMAScript, `(?`, false},
		"a property class":                      {rewrite.ECMAScript, `\p{L}`, false},
		"an unknown escape in a class":          {rewrite.ECMAScript, `[\k]`, false},
		"a back reference to nothing":           {rewrite.ECMAScript, `(a)\2`, false},
		"a huge back reference":                 {rewrite.ECMAScript, `(a)\99999999999999999999`, false},
		"an open group":                         {rewrite.ECMAScript, `(a`, false},
		"a group closed twice":                  {rewrite.ECMAScript, `(a))`, false},
		"an open class":                         {rewrite.ECMAScript, `[a`, false},
		"a class with a swapped range":          {rewrite.ECMAScript, `[z-a]`, false},
		"a backslash at the end":                {rewrite.ECMAScript, `a\`, false},
		"a pattern of 2,049 characters":         {rewrite.ECMAScript, strings.Repeat("a", 2049), false},
		"a wildcard of 2,049 characters":        {rewrite.Wildcard, strings.Repeat("a", 2049), false},
		"a pattern of exactly 2,048 characters": {rewrite.ECMAScript, strings.Repeat("ü", 2048), true},
		"groups nested as deep as is read":      {rewrite.ECMAScript, strings.Repeat("(", 24) + "a" + strings.Repeat(")*", 24), true},
		"groups nested deeper":                  {rewrite.ECMAScript, strings.Repeat("(", 25) + "a" + strings.Repeat(")", 25), false},
		"groups that take minutes to be read":   {rewrite.ECMAScript, strings.Repeat("(", 530) + "a" + strings.Repeat(")*", 530), false},
		"many captures that are repeated":       {rewrite.ECMAScript, strings.Repeat("(", 20) + strings.Repeat("(a)", 60) + strings.Repeat(")*", 20), false},
		"repetitions of large repetitions":      {rewrite.ECMAScript, `((a{9999}){9999}){9999}`, true},
		"classes by name":                       {rewrite.ECMAScript, `[[:alpha:][:digit:]_.]+[^[:space:]]`, true},
		"a class of an unknown name":            {rewrite.ECMAScript, `[[:alhpa:]]`, false},
		"a bracket and a colon in brackets":     {rewrite.ECMAScript, `[[:]`, true},
		"a text with letters outside ASCII":     {rewrite.ECMAScript, `^größe/[äöü]+`, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := rewrite.CheckPattern(tc.syntax, tc.pattern)
			if tc.wantOK && err != nil {
				t.Errorf("pattern %q is refused: %v", tc.pattern, err)
			}
			if !tc.wantOK && !errors.Is(err, rewrite.ErrInvalidRule) {
				t.Errorf("pattern %q: error %v, want one that wraps ErrInvalidRule", tc.pattern, err)
			}
		})
	}
}

// The engine gets "." and the negated escapes in another form; they must mean the same.
func TestAnyCharacterAndNegatedEscapes(t *testing.T) {
	cases := map[string]struct {
		pattern string
		input   string
		want    bool
	}{
		"a dot takes any letter":              {`^a.c$`, "axc", true},
		"a dot takes no line end":             {`^a.c$`, "a\nc", false},
		"a dot takes no line separator":       {`^a.c$`, "a\u2028c", false},
		"an escaped dot is a dot":             {`^a\.c$`, "axc", false},
		"a dot in brackets is a dot":          {`^a[.]c$`, "axc", false},
		"no digit":                            {`^\D+$`, "ab-ü", true},
		"no digit refuses a digit":            {`^\D+$`, "a1", false},
		"no blank":                            {`^\S+$`, "a-1", true},
		"no blank refuses a tab":              {`^\S+$`, "a\tb", false},
		"no word character":                   {`^\W+$`, "-/ü", true},
		"no word character refuses k":         {`^\W+$`, "k", false},
		"the Kelvin sign is no letter k here": {`^\W+$`, "\u212a", true},
		"letters by name":                     {`^[[:alpha:]]+$`, "aZ", true},
		"letters by name refuse a digit":      {`^[[:alpha:]]+$`, "a1", false},
		"punctuation by name":                 {`^[[:punct:]]+$`, "!]^`~-[", true},
		"punctuation by name refuses a space": {`^[[:punct:]]+$`, "! ", false},
		"a negated class by name":             {`^[^[:digit:][:space:]]+$`, "a-b", true},
		"a colon in brackets":                 {`^[[:]+$`, "[:", true},
		"negated escapes in brackets":         {`^[\D]+$`, "ab", true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := evaluate(t, site(t, when("{HTTP_X}", tc.pattern)), rewrite.Request{Path: "/", Headers: http.Header{"X": {tc.input}}})
			if got.Blocked() != tc.want {
				t.Errorf("pattern %q on %q: %s, want a match %t", tc.pattern, tc.input, got, tc.want)
			}
		})
	}
}

func FuzzCheckPattern(f *testing.F) {
	for _, seed := range []string{`(?=.*a)(?=.*b)`, `a{2,3}?`, `[\]a-z]+\.(x|y)`, `(a)\1`, `\u0041\x41\cA`, `^$`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		err := rewrite.CheckPattern(rewrite.ECMAScript, pattern)
		if err != nil && !errors.Is(err, rewrite.ErrInvalidRule) {
			t.Fatalf("untyped error %v", err)
		}
	})
}
