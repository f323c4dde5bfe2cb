package redos

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAnalyse(t *testing.T) {
	tests := map[string]struct {
		pattern    string
		ignoreCase bool
		want       string
	}{
		"a text":                                          {`powershell`, true, "linear"},
		"the empty pattern matches at once":               {``, true, "linear"},
		"a loop that cannot fail":                         {`(.*)`, true, "linear"},
		"an anchored loop":                                {`^a*$`, true, "linear"},
		"a loop at each place of a search":                {`a*$`, true, "polynomial of degree 2"},
		"a lazy loop at each place of a search":           {`a*?$`, true, "polynomial of degree 2"},
		"a lazy loop at the end takes nothing":            {`xa*?`, true, "linear"},
		"a loop after a character of its own":             {`/[^/]*$`, true, "linear"},
		"a loop that can pass its begin":                  {`/.*$`, true, "polynomial of degree 2"},
		"loops that share no text":                        {`^[a-m]*[n-z]*$`, false, "linear"},
		"case makes loops share text":                     {`^[a-z]*[A-Z]*$`, true, "polynomial of degree 2"},
		"without it they share none":                      {`^[a-z]*[A-Z]*$`, false, "linear"},
		"separators keep loops apart":                     {`^[^/]*/[^/]*/[^/]*$`, true, "linear"},
		"three loops over the same":                       {`^.*.*.*x`, true, "polynomial of degree 3"},
		"a copied loop":                                   {`^(?:.*x){3}y`, true, "polynomial of degree 3"},
		"loops on alternative ways do not add":            {`^(?:a*a*x|b*b*b*y)$`, true, "polynomial of degree 3"},
		"a repetition within a repetition":                {`^(a+)+$`, true, "exponential"},
		"the same behind a way that takes precedence":     {`^(?:a|(a+)+x)`, true, "linear"},
		"the same before a way that matches then":         {`^(?:(a+)+x|a)`, true, "exponential"},
		"a repetition within one that cannot fail":        {`^(a+)+`, true, "linear"},
		"alternatives that begin alike":                   {`^(?:ab|a|b)*$`, true, "exponential"},
		"alternatives that do not":                        {`^(?:ab|c)*$`, true, "linear"},
		"two ways to take nothing":                        {`^(?:(?:|)a)*$`, true, "exponential"},
		"a first iteration may be empty":                  {`^(?:(?:a?)+b)*$`, true, "exponential"},
		"an optional part in a loop":                      {`^(?:a?b)*$`, true, "linear"},
		"a loop of optional parts":                        {`^(?:a?b?)*$`, true, "exponential"},
		"a class and one of its characters":               {`^(?:\w|a)*$`, true, "exponential"},
		"a small count is taken literally":                {`^a{0,9}a{0,9}$`, true, "linear"},
		"a large count is as good as none":                {`^a{0,99}a{0,99}$`, true, "at most polynomial of degree 2"},
		"a large count in a loop":                         {`^(?:a{50,60})*$`, true, "at most exponential"},
		"ambiguous, but nothing can make it fail":         {`^(?:a|\w|\W)*$`, true, "linear"},
		"anything at all at the end":                      {`^a*(?:\n|.)*`, true, "linear"},
		"anything at the end of a search":                 {`x.*`, true, "linear"},
		"but not before an anchor":                        {`x.*$`, true, "polynomial of degree 2"},
		"anything at the begin of a search":               {`.*x`, true, "polynomial of degree 2"},
		"anything at the begin of the input":              {`^.*x`, true, "linear"},
		"a look-ahead adds its cost":                      {`(?=.*a)b`, true, "at most polynomial of degree 2"},
		"two look-aheads in a row do not multiply":        {`^(?=.*a)(?=.*b)c`, true, "at most linear"},
		"a negative look-ahead with exponential content":  {`^(?!(?:a|a)*$)b`, true, "at most exponential"},
		"a look-ahead that is never tried far":            {`^(?!theword).*$`, true, "at most linear"},
		"a word boundary may be anywhere":                 {`^\w*\b\w*$`, true, "at most polynomial of degree 2"},
		"a back reference takes what its group takes":     {`^(.*)x\1$`, true, "at most polynomial of degree 2"},
		"a back reference to an anchored group":           {`(^a*)\1$`, true, "at most polynomial of degree 2"},
		"a back reference in its own group is empty":      {`^(?:(a\1))*$`, true, "at most linear"},
		"a POSIX class":                                   {`^[[:alpha:]]*[[:lower:]]*$`, false, "polynomial of degree 2"},
		"a POSIX class that shares no text":               {`^[[:alpha:]]*[[:digit:]]*$`, false, "linear"},
		"no case joins ASCII and what is beyond":          {"^k*\u212a*$", true, "linear"},
		"case beyond ASCII":                               {`^é*É*$`, true, "polynomial of degree 2"},
		"the dot and a line end":                          {`^.*\n*$`, true, "linear"},
		"an anchor that not all alternatives have":        {`^a|b*$`, true, "polynomial of degree 2"},
		"an anchor that is never at the begin":            {`(?:x^a)*$`, true, "linear"},
		"nothing follows the end":                         {`^(?:a*)*$b`, true, "exponential"},
		"a pattern that accepts before it would be tried": {`^(?:|(a+)+$)`, true, "linear"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			o := Options{IgnoreCase: tc.ignoreCase}
			r, err := Analyse(tc.pattern, o)
			if err != nil {
				t.Fatal(err)
			}
			if r.String() != tc.want {
				t.Errorf("%q is %s, want %s; attack %s", tc.pattern, r, tc.want, r.Attack)
			}
			if !r.Approximate {
				provesReport(t, tc.pattern, r, o)
			}
			if (r.Suggestion == "") != (r.Complexity == Linear) {
				t.Errorf("suggestion %q for %s", r.Suggestion, r)
			}
		})
	}
}

func TestAnalyseRefuses(t *testing.T) {
	tests := map[string]struct {
		pattern string
		budget  int
		want    error
	}{
		"a pattern that IIS cannot read":         {`(?<=a)b`, 0, ErrInvalidPattern},
		"a pattern beyond the limit":             {strings.Repeat("a", MaxPatternLength+1), 0, ErrTooComplex},
		"copies beyond the limit":                {`(((a{32}){32}){32}){32}`, 0, ErrTooComplex},
		"references within references":           {`(a)(\1)(\2)(\3)(\4)(\5)(\6)(\7)(\8)(\9)`, 0, ErrTooComplex},
		"a pattern that would exceed its budget": {`.*a.*b.*c.*`, 100, ErrTooComplex},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if r, err := Analyse(tc.pattern, Options{Budget: tc.budget}); !errors.Is(err, tc.want) {
				t.Errorf("%v, error %v, want %v", r, err, tc.want)
			}
		})
	}
}

// With a small budget the bound remains, without a proof; it is never below the truth.
func TestBudgetCostsPrecisionOnly(t *testing.T) {
	const pattern = `(.*)X-BEResource=(.+)/(.+)~(.+)`
	exact, err := Analyse(pattern, Options{})
	if err != nil {
		t.Fatal(err)
	}
	bounded := 0
	for budget := 1000; budget < DefaultBudget; budget *= 2 {
		r, err := Analyse(pattern, Options{Budget: budget})
		if err != nil {
			if bounded > 0 {
				t.Errorf("budget %d: %v, although less was enough", budget, err)
			}
			continue
		}
		bounded++
		if less(r, exact) {
			t.Errorf("budget %d: %s, which is less than %s", budget, r, exact)
		}
		if !r.Approximate && !cmp.Equal(r.Attack, exact.Attack) {
			t.Errorf("budget %d: attack %s, want %s", budget, r.Attack, exact.Attack)
		}
	}
	if bounded < 3 {
		t.Errorf("only %d budgets were enough", bounded)
	}
}

func TestJudge(t *testing.T) {
	tests := map[string]struct {
		report       Report
		acknowledged bool
		want         Decision
	}{
		"linear":                              {Report{Complexity: Linear, Degree: 1}, false, Allowed},
		"degree 2 is warned of":               {Report{Complexity: Polynomial, Degree: 2}, false, Warned},
		"degree 2 needs no acknowledgement":   {Report{Complexity: Polynomial, Degree: 2}, true, Warned},
		"degree 3 without acknowledgement":    {Report{Complexity: Polynomial, Degree: 3}, false, Refused},
		"degree 3 with it":                    {Report{Complexity: Polynomial, Degree: 3}, true, Warned},
		"degree 11 with it":                   {Report{Complexity: Polynomial, Degree: 11}, true, Warned},
		"exponential":                         {Report{Complexity: Exponential}, false, Refused},
		"exponential, whoever acknowledges":   {Report{Complexity: Exponential}, true, Refused},
		"a bound is judged like the real one": {Report{Complexity: Exponential, Approximate: true}, true, Refused},
		"nothing known is not allowed":        {Report{}, true, Refused},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := Judge(tc.report, tc.acknowledged)
			if got.Decision != tc.want {
				t.Errorf("%v, want %s", got, tc.want)
			}
			if (got.Reason == "") != (got.Decision == Allowed) {
				t.Errorf("reason %q for %s", got.Reason, got.Decision)
			}
		})
	}
}

func TestJudgeSaysWhatToDo(t *testing.T) {
	r, err := Analyse(`.*autodiscover\.json.*Powershell.*`, Options{IgnoreCase: true})
	if err != nil {
		t.Fatal(err)
	}
	const want = `matching cost is polynomial of degree 3, which the document does not acknowledge; ` +
		`for example on "a" + "a"×n + "autodiscover.jsona"×n; ` +
		`a search needs no ".*" at the begin or end: "autodiscover\\.json.*Powershell" is polynomial of degree 2; ` +
		`the search, which tries each place of the input, and the repetitions at character 1, character 21 can take the same text: ` +
		`begin the pattern with "^" if it belongs to the begin of the input, or let them exclude each other's text, as "[^/]*" followed by "/" does`
	if diff := cmp.Diff(Verdict{Refused, want}, Judge(r, false)); diff != "" {
		t.Error(diff)
	}
}

func TestSuggestions(t *testing.T) {
	tests := map[string]struct{ pattern, want, unwanted string }{
		"a leading .*":                    {`.*\.php$`, `"\\.php$" is linear`, "change"},
		"a leading capture":               {`(.*)\.htm$`, `"\\.htm$" is linear (the numbers of back references change)`, ""},
		"both ends":                       {`.*[A-Z].*`, `"[A-Z]" is linear`, "change"},
		"an end that is escaped":          {`.*a\.*`, `"a\\.*" is linear`, ""},
		"an anchored .* that saves a try": {`^.*a.*b`, "the repetitions at character 2, character 5", "a search needs no"},
		"ends of alternatives":            {`.*a.*b|c.*`, "the repetitions at", "a search needs no"},
		"a repetition in a search":        {`a+$`, "the search tries each place of the input, and the repetition at character 1 ", ""},
		"repetitions that share text":     {`^a*b?a*$`, "the repetitions at character 2, character 6 can take the same text", "search"},
		"a repetition within another one": {`^x(a+)+$`, "what is repeated around character 4 can take the same text", "search"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := Analyse(tc.pattern, Options{IgnoreCase: true})
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(r.Suggestion, tc.want) {
				t.Errorf("%q is %s: suggestion %q, want %q in it", tc.pattern, r, r.Suggestion, tc.want)
			}
			if tc.unwanted != "" && strings.Contains(r.Suggestion, tc.unwanted) {
				t.Errorf("%q is %s: suggestion %q, want no %q in it", tc.pattern, r, r.Suggestion, tc.unwanted)
			}
		})
	}
}

func TestAttack(t *testing.T) {
	a := Attack{Prefix: "x", Pumps: []Pump{{Text: "ab", Then: "-"}, {Text: "c"}}, Suffix: "\n"}
	if got := a.Build(2); got != "xabab-cc\n" {
		t.Errorf("%q", got)
	}
	if got := a.Build(-1); got != "x-\n" {
		t.Errorf("%q", got)
	}
	if got := a.String(); got != `"x" + "ab"×n + "-" + "c"×n + "\n"` {
		t.Error(got)
	}
	if got := (Attack{}).String(); got != "" {
		t.Error(got)
	}
}
