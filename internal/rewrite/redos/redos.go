package redos

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

var (
	// ErrInvalidPattern is wrapped when IIS cannot read the pattern, or when it is not known
	// how it reads it.
	ErrInvalidPattern = errors.New("invalid pattern")
	// ErrTooComplex is wrapped when the analysis exceeds a limit. Nothing is known about the
	// pattern then.
	ErrTooComplex = errors.New("pattern too complex to analyse")
)

const (
	// MaxPatternLength is the longest pattern that is analysed, in characters: the limit of
	// the document format.
	MaxPatternLength = 2048
	// DefaultBudget bounds the work of one analysis. A unit is about the visit of one edge;
	// where memory is needed it counts as several. All of it takes some 50 to 100 ms. Of 140
	// patterns of real configurations the most expensive one needs 1.7 million; most need
	// a few thousand.
	DefaultBudget = 4_000_000
)

// Complexity tells how the cost of a match grows with the length of the input.
type Complexity string

// The complexities.
const (
	Linear      Complexity = "Linear"
	Polynomial  Complexity = "Polynomial"
	Exponential Complexity = "Exponential"
)

// Options are the settings of an analysis.
type Options struct {
	// IgnoreCase is the ignoreCase of the rule. Note that it is true there by default.
	IgnoreCase bool
	// Budget bounds the work; 0 means DefaultBudget.
	Budget int
}

// Report is what is known about the cost of searching an input for a pattern.
type Report struct {
	Complexity Complexity `json:"complexity"`
	// Degree is n if the cost grows with the n-th power of the length of the input: 0 or 1 if
	// Linear, 2 or more if Polynomial. It is 0 if Exponential.
	Degree int `json:"degree"`
	// Attack is an input that costs that much. It is zero if Linear, and if the analysis
	// could only bound the cost.
	Attack Attack `json:"attack,omitzero"`
	// Approximate says that the cost is at most what is reported, and may be less: the
	// pattern has look-aheads, back references, word boundaries or repetitions of large
	// count, or an exact analysis would have exceeded the budget.
	Approximate bool `json:"approximate,omitempty"`
	// Suggestion says how to make the pattern cheaper; empty if Linear.
	Suggestion string `json:"suggestion,omitempty"`
	// Work is how much of the budget was spent.
	Work int `json:"-"`
}

// String returns the cost in words.
func (r Report) String() string {
	cost := "linear"
	switch r.Complexity {
	case Polynomial:
		cost = fmt.Sprintf("polynomial of degree %d", r.Degree)
	case Exponential:
		cost = "exponential"
	case Linear:
	}
	if r.Approximate {
		return "at most " + cost
	}
	return cost
}

// Attack describes inputs of growing length on which a pattern is as expensive as reported.
type Attack struct {
	Prefix string `json:"prefix"`
	// Pumps are repeated, each as often as the others, one for each loop of the chain.
	Pumps  []Pump `json:"pumps"`
	Suffix string `json:"suffix"`
}

// Pump is a part of an attack that is repeated.
type Pump struct {
	Text string `json:"text"`
	// Then follows once after the repetitions.
	Then string `json:"then,omitempty"`
}

// Build returns the input in which every pump is repeated n times.
func (a Attack) Build(n int) string {
	var b strings.Builder
	b.WriteString(a.Prefix)
	for _, pump := range a.Pumps {
		b.WriteString(strings.Repeat(pump.Text, max(n, 0)))
		b.WriteString(pump.Then)
	}
	b.WriteString(a.Suffix)
	return b.String()
}

// String returns the attack as an expression that shows every character.
func (a Attack) String() string {
	if len(a.Pumps) == 0 {
		return ""
	}
	var parts []string
	literal := func(s string) {
		if s != "" {
			parts = append(parts, fmt.Sprintf("%+q", s))
		}
	}
	literal(a.Prefix)
	for _, pump := range a.Pumps {
		parts = append(parts, fmt.Sprintf("%+q×n", pump.Text))
		literal(pump.Then)
	}
	literal(a.Suffix)
	return strings.Join(parts, " + ")
}

// Analyse determines what a backtracking engine spends, at worst, on searching an input for
// the pattern, without running it. The errors wrap ErrInvalidPattern or ErrTooComplex; of the
// report only Work is valid then.
func Analyse(pattern string, o Options) (Report, error) {
	if length := utf8.RuneCountInString(pattern); length > MaxPatternLength {
		return Report{}, fmt.Errorf("%w: %d characters, allowed are %d", ErrTooComplex, length, MaxPatternLength)
	}
	b := newBudget(o.Budget)
	r, err := analyse(pattern, o, b)
	if errors.Is(err, ErrTooComplex) {
		// Enough of the pattern to find it: what is too complex is long.
		err = fmt.Errorf("pattern %.64q: %w", pattern, err)
	}
	r.Work = b.total - max(b.left, 0)
	return r, err
}

func analyse(pattern string, o Options, b *budget) (Report, error) {
	root, err := parse(pattern, o.IgnoreCase, b)
	if err != nil {
		return Report{}, err
	}
	r, g, found, err := examine(root, b)
	if err != nil {
		return Report{}, err
	}
	if r.Complexity != Linear {
		r.Suggestion = suggest(pattern, root, r, g, found, o, b)
	}
	return r, nil
}

// examine does the analysis. It first takes the pattern as it would be if every way were
// tried. That is quick, and an upper bound: most patterns are known to be linear then.
func examine(root *node, b *budget) (Report, *graph, finding, error) {
	a, err := newAutomaton(root, b)
	if err != nil {
		return Report{}, nil, finding{}, err
	}
	g, found, err := measure(a, unknownSuffixes(a), b)
	if err != nil {
		return Report{}, nil, finding{}, err
	}
	r := newReport(found)
	r.Approximate = a.rough
	if r.Complexity == Linear {
		return r, g, found, nil
	}
	exact, exactFound, err := measureRest(a, false, b)
	if errors.Is(err, ErrTooComplex) {
		// The bound stands, without a proof.
		r.Approximate = true
		return r, g, found, nil
	}
	if err != nil {
		return Report{}, nil, finding{}, err
	}
	r = newReport(exactFound)
	r.Approximate = a.rough
	if r.Complexity == Linear {
		return r, exact, exactFound, nil
	}
	r.Attack = exact.attack(exactFound)
	if a.rough {
		// An attack on a look-ahead has to make it fail. If there is such a one, take it.
		if strict, strictFound, err := measureRest(a, true, b); err == nil {
			if s := newReport(strictFound); s.Complexity == r.Complexity && s.Degree == r.Degree {
				r.Attack = strict.attack(strictFound)
			}
		}
	}
	return r, exact, exactFound, nil
}

func measureRest(a *automaton, looks bool, b *budget) (*graph, finding, error) {
	s, err := newSuffixes(a, looks, b)
	if err != nil {
		return nil, finding{}, err
	}
	return measure(a, s, b)
}

func measure(a *automaton, s *suffixes, b *budget) (*graph, finding, error) {
	g, err := newGraph(a, s, b)
	if err != nil {
		return nil, finding{}, err
	}
	found, err := g.find()
	return g, found, err
}

func newReport(f finding) Report {
	switch {
	case f.exponential:
		return Report{Complexity: Exponential}
	case f.degree > 1:
		return Report{Complexity: Polynomial, Degree: f.degree}
	}
	return Report{Complexity: Linear, Degree: f.degree}
}

// budget counts the work that is left.
type budget struct{ total, left int }

func newBudget(total int) *budget {
	if total <= 0 {
		total = DefaultBudget
	}
	return &budget{total, total}
}

// spend takes an amount of work from the budget.
func (b *budget) spend(work int) error {
	if b.left -= work; b.left < 0 {
		return fmt.Errorf("%w: the budget of the analysis is spent", ErrTooComplex)
	}
	return nil
}

func tooComplex(what string, limit int) error {
	return fmt.Errorf("%w: more than %d %s", ErrTooComplex, limit, what)
}

func sorted(s []int32) []int32 {
	slices.Sort(s)
	return s
}
