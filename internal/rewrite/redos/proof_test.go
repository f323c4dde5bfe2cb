package redos

import (
	"math"
	"strings"
	"testing"
)

// growth returns the exponent with which steps grow from n to 2n repetitions.
func growth(steps func(n int) float64, n int) float64 {
	return math.Log2(steps(2*n) / steps(n))
}

// On generated patterns, no input of the form u v...v w may cost more than the analysis
// says, and its attack must cost as much as it says.
func TestReportHoldsForGeneratedPatterns(t *testing.T) {
	counts := map[Complexity]int{}
	for _, pattern := range randomPatterns(200) {
		r, err := Analyse(pattern, Options{})
		if err != nil {
			t.Errorf("%q: %v", pattern, err)
			continue
		}
		counts[r.Complexity]++
		if r.Approximate {
			t.Errorf("%q is reported as %s, but nothing in it is approximated", pattern, r)
		}
		provesReport(t, pattern, r, Options{})
		if r.Complexity == Exponential {
			continue
		}
		for _, u := range []string{"", "a"} {
			for _, v := range []string{"a", "b", "ab", "ba", "c", "aab"} {
				for _, w := range []string{"", "a", "!", "\n"} {
					input := Attack{Prefix: u, Pumps: []Pump{{Text: v}}, Suffix: w}
					if got := growthOfMost(t, pattern, input); got > float64(max(r.Degree, 1))+0.4 {
						t.Errorf("%q is reported as %s, but grows with exponent %.2f on %v", pattern, r, got, input)
					}
				}
			}
		}
	}
	for _, c := range []Complexity{Linear, Polynomial, Exponential} {
		if counts[c] < 20 {
			t.Errorf("only %d patterns are %s", counts[c], c)
		}
	}
}

// growthOfMost returns the growth without an attack, which may depend on whether the number
// of repetitions is even, or a multiple of three.
func growthOfMost(t *testing.T, pattern string, input Attack) float64 {
	t.Helper()
	count := func(n int) float64 { return 1 + tallyOf(t, pattern, input.Build(n), Options{}) }
	const n = 36
	got := growth(count, n)
	if got < 1.4 {
		return got
	}
	return growth(func(n int) float64 {
		most := 0.0
		for i := range 6 {
			most = max(most, count(n+i))
		}
		return most
	}, n)
}

// provesReport runs the attack of a report.
func provesReport(t *testing.T, pattern string, r Report, o Options) {
	t.Helper()
	if r.Complexity == Linear {
		if len(r.Attack.Pumps) > 0 {
			t.Errorf("%q is linear and has the attack %v", pattern, r.Attack)
		}
		return
	}
	count := func(n int) float64 { return tallyOf(t, pattern, r.Attack.Build(n), o) }
	if r.Approximate {
		count = func(n int) float64 {
			steps, _, err := stepsOf(t, pattern, r.Attack.Build(n), o, 50_000_000)
			if err != nil {
				t.Fatalf("%q: attack %v: %v", pattern, r.Attack, err)
			}
			return float64(steps)
		}
	}
	if r.Complexity == Exponential {
		for n := 12; n < 16; n++ {
			if ratio := count(n+1) / count(n); ratio < 1.9 {
				t.Errorf("%q: attack %v: repetition %d multiplies the steps by %.2f only", pattern, r.Attack, n+1, ratio)
			}
		}
		return
	}
	if got := growth(count, 250); math.Abs(got-float64(r.Degree)) > 0.15 {
		t.Errorf("%q: attack %v grows with exponent %.2f, want %d", pattern, r.Attack, got, r.Degree)
	}
}

// What is approximated has to be an upper bound.
func TestBoundsHoldForGeneratedPatterns(t *testing.T) {
	const limit = 1_000_000
	compared, reached := 0, 0
	parts := randomPatterns(90)
	for i := 0; i+2 < len(parts); i += 3 {
		a, b, c := parts[i], parts[i+1], parts[i+2]
		for _, pattern := range []string{
			"(?=" + a + ")" + b,
			"(?:" + a + ")(?!" + b + ")(?:" + c + ")",
			"(" + a + ")(?:" + b + `)\1$`,
			"(?:(?:" + a + `)\b(?:` + b + "))$",
			"^(?:" + a + "){0,40}(?:" + b + ")$",
		} {
			r, err := Analyse(pattern, Options{})
			if err != nil {
				t.Errorf("%q: %v", pattern, err)
				continue
			}
			if !r.Approximate && strings.ContainsAny(pattern, `\!=`) {
				t.Errorf("%q is reported as %s, but is approximated", pattern, r)
			}
			if r.Complexity == Exponential || r.Degree > 3 {
				continue
			}
			for _, v := range []string{"a", "b", "ab"} {
				for _, w := range []string{"", "!"} {
					got := growth(func(n int) float64 {
						most := 1.0
						for i := range 2 {
							steps, _, err := stepsOf(t, pattern, strings.Repeat(v, n+i)+w, Options{}, limit)
							if err != nil {
								t.Fatalf("%q is reported as %s: %v on %d of %q", pattern, r, err, n, v)
							}
							most = max(most, float64(steps))
						}
						return most
					}, 16)
					compared++
					if got > float64(max(r.Degree, 1))+0.5 {
						t.Errorf("%q is reported as %s, but grows with exponent %.2f on %q and %q", pattern, r, got, v, w)
					}
					if got > float64(r.Degree)-0.5 {
						reached++
					}
				}
			}
		}
	}
	if compared < 250 || reached < compared/4 {
		t.Errorf("%d comparisons, %d of them close to the bound", compared, reached)
	}
}
