package redos

import (
	"errors"
	"math"
	"testing"
	"unicode/utf8"
)

// fuzzBudget is small, so that many patterns are tried; it is the bound of the work.
const fuzzBudget = 300_000

func FuzzAnalyse(f *testing.F) {
	for _, pattern := range []string{
		`.*autodiscover\.json.*\@.*Powershell.*`, `(?=.*autodiscover)(?=.*powershell)`, `^(([a-z])+.)+[A-Z]([a-z])+$`, `^(.*?,){11}P`,
		`(a*)*b`, `(a|a?)+$`, `^(.+)\.(\d+)\.(php|js)$`, `\bbr(?!;q=0)\b`, `(a+)x\1{2,40}`, `[[:alpha:]-\w]{3}[^]]`, `((?:(?:|a)*?b)+|$)*^`,
		`\u212a\x4b\cA[\b-\f]\0`, `(((a{32}){32}){32}){32}`, `((((((((`, `[^/`, "\xff*\U0001f600+$",
	} {
		f.Add(pattern, true)
		f.Add(pattern, false)
	}
	f.Fuzz(func(t *testing.T, pattern string, ignoreCase bool) {
		o := Options{IgnoreCase: ignoreCase, Budget: fuzzBudget}
		r, err := Analyse(pattern, o)
		if err != nil {
			if !errors.Is(err, ErrInvalidPattern) && !errors.Is(err, ErrTooComplex) {
				t.Fatalf("%q: %v", pattern, err)
			}
			return
		}
		if !utf8.ValidString(r.Attack.Build(2)) {
			t.Errorf("%q: attack %+q", pattern, r.Attack.Build(2))
		}
		if r.Approximate || r.Complexity == Linear {
			return
		}
		provesLeast(t, pattern, r, o)
	})
}

// provesLeast checks the number of ways that an attack must have at the very least: each
// repetition adds a way to each loop of the chain, or doubles all ways.
func provesLeast(t *testing.T, pattern string, r Report, o Options) {
	t.Helper()
	const n = 8
	input := r.Attack.Build(n)
	if len(pattern)*len(input) > 20_000 {
		return
	}
	least := math.Pow(n, float64(r.Degree-1))
	if r.Complexity == Exponential {
		least = math.Pow(2, n)
	}
	if got := tallyOf(t, pattern, input, o); got < least {
		t.Errorf("%q is %s: %v steps on %s, want at least %v", pattern, r, got, r.Attack, least)
	}
}
