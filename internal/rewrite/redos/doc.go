// Package redos tells, without running it, what a pattern costs at worst: how the time of a
// backtracking engine, such as the one of IIS, grows with the length of its input.
//
// IIS has no time limit for patterns. A pattern of exponential cost lets a request of forty
// characters occupy a thread for hours, and a mitigation brings patterns to servers by the
// hundred. A time limit where rules are evaluated is no replacement: engines differ in what
// they shortcut, so a pattern that is quick here can be slow there.
//
// # Usage
//
//	report, err := redos.Analyse(pattern, redos.Options{IgnoreCase: rule.IgnoreCase})
//	switch {
//	case errors.Is(err, redos.ErrTooComplex): // nothing is known: treat it as refused
//	case err != nil: // no pattern that IIS can read
//	}
//	verdict := redos.Judge(report, acknowledged)
//
// Report.Attack is the proof: Attack.Build(n) is an input of n repetitions. When n doubles,
// the steps of a backtracking matcher grow by the factor 2^Degree; if Exponential, they double
// with every single repetition.
//
// # How it works
//
// The pattern becomes an automaton whose paths are the ways in which a matcher can walk
// through an input. How many there are at most is the degree of ambiguity of Weber and Seidl:
// exponential if a word leads from a state back to it in two ways, and else a polynomial
// whose degree is the length of the longest chain of loops that one word leads from one into
// the next.
//
// A search is part of the automaton: a loop over any character in front of the pattern, with
// the lowest priority, because that is what trying the pattern at each place is. So `a*b` is
// of degree 2, as a matcher starts at each of n places and takes n characters from each. This is
// also how the checker recheck counts. A search for a pattern without loops is linear.
//
// Not all ways are tried: a matcher stops at the first that matches. So the automaton is
// joined with one that reads the input backwards and tells from which states the rest matches;
// of the ways from a state, those behind the first that matches are left out. That is why
// `(a+)+` is linear and `(a+)+$` is not, and why a trailing `.*` costs nothing. The idea is
// that of Sugiyama and Minamide (2014) and of Weideman and others (2016).
//
// The quick analysis without that comes first, as an upper bound; most patterns are known to be
// linear then.
//
// # Considerations
//
// Report.Approximate says that the cost is an upper bound. Word boundaries and look-aheads may
// hold or not, whatever the input; a look-ahead is tried once at its place, and what is in it
// adds to the cost. A back reference takes anything that its group can. Counts above 32 are
// taken for unbounded. An attack on such a pattern is likely but not proved. When the budget
// is spent after the quick analysis, there is none.
//
// A pattern of bounded cost can still be expensive: `^(a?){25}a{25}$` takes up to 2^25 steps, but
// not more for longer inputs, and is reported as linear. Only what grows is found.
//
// Anchors hold at the begin and end of the input, as the specification has it without its
// flag for lines. The C++ library of Microsoft also lets them hold at line feeds (microsoft/STL,
// issue 73); in an input with line feeds, which only decoded ones can be, a pattern that begins
// with "^" may then cost one degree more. See docs/decisions/0006.
package redos
