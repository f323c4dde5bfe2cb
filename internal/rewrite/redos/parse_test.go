package redos

import (
	"errors"
	"strings"
	"testing"

	"github.com/dlclark/regexp2/v2"
)

func TestParseRefuses(t *testing.T) {
	tests := map[string]struct{ pattern, want string }{
		"a look-behind":                       {`(?<=a)b`, `at character 3: "(?" is followed by`},
		"a named group":                       {`(?<n>a)`, `at character 3: "(?" is followed by`},
		"inline options":                      {`(?i)a`, `at character 3: "(?" is followed by`},
		"a property class":                    {`\p{L}`, `"\\p" is no known escape`},
		"a named back reference":              {`(a)\k<n>`, `"\\k" is no known escape`},
		"a group that is not closed":          {`(a`, "a group is not closed"},
		"a group that is not open":            {`a)`, `at character 2: ")" without "("`},
		"a bracket that is not closed":        {`[a`, `"[" is not closed`},
		"an empty bracket":                    {`[]`, "an empty bracket"},
		"an empty negated bracket":            {`[^]`, "an empty bracket"},
		"a range in the wrong order":          {`[z-a]`, "wrong order"},
		"bounds in the wrong order":           {`a{3,2}`, "wrong order"},
		"a bound of too many digits":          {`a{100000}`, `"{" is no repetition`},
		"a brace that is none":                {`a{,2}`, `"{" is no repetition`},
		"a brace alone":                       {`{`, `"{" is no repetition`},
		"a repetition of nothing":             {`*a`, "does not follow an expression"},
		"a repetition in an alternative":      {`a|+`, "does not follow an expression"},
		"a repetition of a repetition":        {`a**`, "does not follow an expression"},
		"a repetition of an anchor":           {`^*`, "does not follow an expression"},
		"a repetition of a look-ahead":        {`(?=a)*`, "does not follow an expression"},
		"a reference to a later group":        {`\1(a)`, "back reference"},
		"a reference beyond all numbers":      {`(a)\99999999999999999999`, "back reference"},
		"a backslash at the end":              {`a\`, "a backslash at the end"},
		"an unknown POSIX class":              {`[[:word:]]`, `unknown character class or collating element "word"`},
		"a collating element":                 {`[[.a.]]`, "unknown character class"},
		"an incomplete hexadecimal escape":    {`\x4`, "no known escape"},
		"hexadecimal digits that are none":    {"\\x\x10\x11", "no known escape"},
		"a back reference within a bracket":   {`(a)[\1]`, "no known escape"},
		"a second question mark after a lazy": {`a???`, "does not follow an expression"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := parse(tc.pattern, false, newBudget(0))
			if !errors.Is(err, ErrInvalidPattern) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q in it", err, tc.want)
			}
		})
	}
}

// The plain matcher, which runs on what was parsed, has to find what an engine finds.
func TestParsedPatternsMatchLikeAnEngine(t *testing.T) {
	patterns := []string{
		`a`, `.`, `^a`, `a$`, `^$`, `a|b`, `a|`, `(a)(b)?\2c`, `(a+)b\1`, `(?:ab)+`, `a{2}`, `a{2,}`, `a{1,2}b`, `a+?b`, `a??b`,
		`[ab]`, `[^ab]`, `[a-c]`, `[-a]`, `[a-]`, `[\w-.]`, `[a\]b]`, `[\d_]`, `[\b]`, `\d`, `\D`, `\w`, `\W`, `\s`, `\S`, `\t`, `\x41`,
		`\u0062`, `\cA`, `\0`, `\.`, `\/`, `\-`, `\ba`, `a\b`, `\Ba`, `(?=a)\w`, `(?!a)\w`, `^(?!ab).`, `(?=.*b)a`, `]`, `}`, `é`, `[é-ü]`,
		`(a|ab)(c|bcd)(d*)`, `(?:a|b)*c`, `((a)|b)+`, `(a*)*c`, `(?:a?)+b`, `a.c`, `[^a]b`, `x*`,
	}
	inputs := []string{
		"", "a", "A", "b", "ab", "aba", "abab", "aab", "abc", "abcd", "aac", "c", "-", ".", "]", "}", "\b", "\t", "\n", "a\nc", "\x01", "\x00",
		" ", "_", "5", "5a", "/", "É", "é", "aé", "é a", "xa", "aaab", "\u212a", "\u00a0", "xbcd",
	}
	for _, ignoreCase := range []bool{false, true} {
		options := regexp2.ECMAScript
		if ignoreCase {
			options |= regexp2.IgnoreCase
		}
		more := randomPatterns(60)
		if ignoreCase {
			more = nil // the engine needs long to read classes then
		}
		for _, pattern := range append(more, patterns...) {
			re := regexp2.MustCompile(pattern, options)
			for _, input := range inputs {
				want, err := re.MatchString(input)
				if err != nil {
					t.Fatal(err)
				}
				_, got, err := stepsOf(t, pattern, input, Options{IgnoreCase: ignoreCase}, 1_000_000)
				if err != nil || got != want {
					t.Errorf("%q on %q, case ignored %t: %t, want %t, error %v", pattern, input, ignoreCase, got, want, err)
				}
			}
		}
	}
}
