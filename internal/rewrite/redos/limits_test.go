package redos

import (
	"errors"
	"testing"
)

// Patterns of the greatest length are analysed, or called too complex; the budget bounds the
// time of both.
func TestLongPatterns(t *testing.T) {
	known := map[string]string{
		"one literal":                   "linear",
		"list of names":                 "linear",
		"list of names behind anything": "linear",
		"suffixes without number":       "at most polynomial of degree 2",
		"classes":                       "at most polynomial of degree 2",
	}
	for name, pattern := range longPatterns() {
		t.Run(name, func(t *testing.T) {
			r, err := Analyse(pattern, Options{IgnoreCase: true})
			switch want, ok := known[name]; {
			case !ok && !errors.Is(err, ErrTooComplex):
				t.Errorf("%s, error %v, want %v", r, err, ErrTooComplex)
			case ok && err != nil:
				t.Error(err)
			case ok && r.String() != want:
				t.Errorf("%s, want %s", r, want)
			}
		})
	}
}
