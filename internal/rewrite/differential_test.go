package rewrite

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

// differentialPatterns are patterns as rules have them, and forms that lead filters astray.
// None has what RE2 reads otherwise or refuses: \s (RE2 knows ASCII only), "$" before a line
// end, look-ahead and back references, and captures in alternatives of a repeated group,
// which ECMAScript empties in each round. The texts have no characters that fold into ASCII
// (the long s, the Kelvin sign): ECMAScript leaves them alone, RE2 does not.
var differentialPatterns = []string{
	`.*`, `(.*)`, `^(.*)$`, `.`, `^$`, `autodiscover`, `^blog/([_0-9a-z-]+)/([0-9]+)`, `^article/([0-9]+)/([_0-9a-z-]+)$`,
	`.*autodiscover\.json.*\@.*Powershell.*`, `(.*)X-BEResource=(.+)/(.+)~(.+)`, `\$\{jndi:`, `(?:^ecp/|^owa/).*`,
	`\.(config|ini|bak)$`, `(^|/)\.(git|svn|hg)`, `^(a|ab)(c|bcd)(d*)$`, `^(?:a|b)*?c`, `a{2,3}b?`, `(a|b|)c`, `((?:a)|(?:b))+`,
	`x*y+z?`, `[^/]+/[^/]*$`, `^fo?bar$`, `(abc)?d`, `(ab){2}c`, `^a|b$`, `[a-c][^a-c]`, `\d+\D\w\W`, `^/?(.*)/$`, `a(b|.)c`,
	`(a*)(b*)`, `(?:ab|a)(?:bc|c)?`, `^(.+?)(/.*)?$`, `[[:alpha:]]+[[:digit:]]`, `a\.b|c\.d`, `^a.c$`, `(?:)`, `\/\-\_`,
	`([a-z]+)=([0-9]*)(&|$)`, `^[^?]*\?(.*)$`, `(q|r)=x\|y`,
}

// Where RE2 can compile a pattern, it and the engine agree about matches and captures. The
// prefilters and the forms that need no engine are on the engine's side. The texts hold no
// line ends, which ".", "$" and \s of RE2 treat otherwise.
func TestAgreesWithRE2(t *testing.T) {
	const rounds = 2_600
	words := []string{"autodiscover", ".json", "@", "Powershell", "blog/", "article/", "12", "X-BEResource=", "~", "${jndi:", "ecp/", "owa/", ".config", ".git", "foo", "fbar", "abc", "ab", "q=x|y", "/-_", "?"}
	const letters = `aAbBcCdDxyzXYZ0129/._-=&?~:@ %{}()"+äÖß`
	runes := []rune(letters)
	random := rand.New(rand.NewPCG(1, 2))
	compared, matches := 0, 0
	for _, text := range differentialPatterns {
		for _, ignoreCase := range []bool{true, false} {
			flags := ""
			if ignoreCase {
				flags = "(?i)"
			}
			re2, err := regexp.Compile(flags + text)
			if err != nil {
				t.Fatal(err)
			}
			p := newPattern(ECMAScript, text, ignoreCase, new(maxWideTotal))
			if p.fault+p.unknown != "" {
				t.Fatalf("%s: %s%s", text, p.fault, p.unknown)
			}
			var in subject
			for range rounds / 2 {
				input := ""
				for range random.IntN(6) {
					if random.IntN(3) == 0 {
						input += words[random.IntN(len(words))]
					} else {
						input += string(runes[random.IntN(len(runes))])
					}
				}
				in.set(input)
				if diff := differs(p, re2, &in); diff != "" {
					t.Fatalf("pattern %q (ignoreCase %t) on %q: %s", text, ignoreCase, input, diff)
				}
				compared++
				if re2.MatchString(input) {
					matches++
				}
			}
		}
	}
	// Without enough of both kinds the comparison would say little.
	if compared < 100_000 || matches < compared/10 || matches > compared*9/10 {
		t.Errorf("%d comparisons with %d matches", compared, matches)
	}
}

func differs(p *pattern, re2 *regexp.Regexp, in *subject) string {
	want := re2.FindStringSubmatch(in.text)
	matched, _, err := p.match(in)
	if err != nil || matched != (want != nil) {
		return fmt.Sprintf("match %t %v, RE2 %t", matched, err, want != nil)
	}
	captures, matched, _, err := p.capture(in, nil)
	if err != nil || matched != (want != nil) {
		return fmt.Sprintf("capture %t %v, RE2 %t", matched, err, want != nil)
	}
	if matched && strings.Join(captures, "\x00") != strings.Join(want, "\x00") {
		return fmt.Sprintf("captures %q, RE2 %q", captures, want)
	}
	return ""
}

// The filters never exclude what the engine matches, and the form for one line matches the
// same, for patterns of any form.
func FuzzFilter(f *testing.F) {
	for _, pattern := range differentialPatterns {
		f.Add(pattern, "abcX-BEResource=1/2~3", true)
	}
	f.Fuzz(func(t *testing.T, text, input string, ignoreCase bool) {
		p := newPattern(ECMAScript, text, ignoreCase, new(maxWideTotal))
		if p.re == nil {
			return
		}
		var in subject
		in.set(input)
		want, err := p.re.MatchRunes([]rune(input))
		if err != nil {
			return
		}
		if got, _, err := p.match(&in); err == nil && got != want {
			t.Fatalf("pattern %q on %q: %t with filter %+v, %t without", text, input, got, p.filter, want)
		}
	})
}

// Wildcards agree with the regular expressions that say the same.
func TestWildcardsAgreeWithRE2(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	pick := func(letters string, most int) string {
		out := ""
		for range random.IntN(most) {
			out += string(letters[random.IntN(len(letters))])
		}
		return out
	}
	matches := 0
	for range 20_000 {
		text, input := pick("ab*?", 7), pick("abB", 9)
		re2 := regexp.MustCompile(`(?is)^` + strings.NewReplacer(`\*`, `(.*?)`, `\?`, `.`).Replace(regexp.QuoteMeta(text)) + `$`)
		p := newPattern(Wildcard, text, true, nil)
		var in subject
		in.set(input)
		if diff := differs(p, re2, &in); diff != "" {
			t.Fatalf("wildcard %q on %q: %s", text, input, diff)
		}
		if re2.MatchString(input) {
			matches++
		}
	}
	if matches < 1000 {
		t.Errorf("%d matches", matches)
	}
}
