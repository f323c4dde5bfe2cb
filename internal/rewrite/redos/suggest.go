package redos

import (
	"fmt"
	"slices"
	"strings"
)

// The ways to say "anything" at the begin and at the end of a pattern. A search needs
// neither. Those that begin or end a capture are longer, and come first.
var (
	leading  = []string{"^(.*?)", "^(.*)", "(.*?)", "(.*)", "^.*?", "^.*", ".*?", ".*"}
	trailing = []string{"(.*?)", "(.*)", ".*?", ".*"}
)

// suggest says how to make a pattern cheaper: by a pattern that was found to be cheaper, if
// there is one, and by what is wrong with this one.
func suggest(pattern string, root *node, r Report, g *graph, found finding, o Options, b *budget) string {
	var advice []string
	if text := withoutEnds(pattern, root, r, o, b); text != "" {
		advice = append(advice, text)
	}
	if text := g.blame(found); text != "" {
		advice = append(advice, text)
	}
	return strings.Join(advice, "; ")
}

// withoutEnds proposes the pattern without the leading and trailing ".*".
func withoutEnds(pattern string, root *node, r Report, o Options, b *budget) string {
	if root.kind == kindAlternate {
		return "" // the ends belong to one of the alternatives only
	}
	shorter, captures := pattern, false
	for _, end := range leading {
		if rest, ok := strings.CutPrefix(shorter, end); ok {
			shorter, captures = rest, strings.Contains(end, "(")
			break
		}
	}
	for _, end := range trailing {
		if rest, ok := strings.CutSuffix(shorter, end); ok && !strings.HasSuffix(rest, `\`) {
			shorter, captures = rest, captures || strings.Contains(end, "(")
			break
		}
	}
	if shorter == pattern {
		return ""
	}
	cut, err := parse(shorter, o.IgnoreCase, b)
	if err != nil {
		return ""
	}
	cheaper, _, _, err := examine(cut, b)
	if err != nil || !less(cheaper, r) {
		return ""
	}
	text := fmt.Sprintf(`a search needs no ".*" at the begin or end: %q is %s`, shorter, cheaper)
	if captures {
		text += " (the numbers of back references change)"
	}
	return text
}

// less tells whether one report is of lower cost than another.
func less(a, b Report) bool {
	if (a.Complexity == Exponential) != (b.Complexity == Exponential) {
		return b.Complexity == Exponential
	}
	return a.Degree < b.Degree
}

// blame names the parts of the pattern that can take the same text.
func (g *graph) blame(found finding) string {
	var parts []string
	searches := false
	for _, loop := range found.loops {
		for _, n := range []int{loop.from, loop.to} {
			state, _ := g.split(n)
			if state <= searchState {
				searches = true
				continue
			}
			at := g.states[state].at
			if part := fmt.Sprintf("character %d", at.from+1); !slices.Contains(parts, part) {
				parts = append(parts, part)
			}
		}
	}
	if found.exponential {
		return fmt.Sprintf("what is repeated around %s can take the same text in more than one way: "+
			"leave out a repetition within a repetition, as in (a+)+, or make alternatives begin differently", strings.Join(parts, ", "))
	}
	const exclude = `let them exclude each other's text, as "[^/]*" followed by "/" does`
	switch {
	case len(parts) == 0:
		return ""
	case searches && len(parts) == 1:
		return fmt.Sprintf(`the search tries each place of the input, and the repetition at %s then takes the rest of it: `+
			`begin the pattern with "^" if it belongs to the begin of the input, or let the repetition exclude what comes before it`, parts[0])
	case searches:
		return fmt.Sprintf(`the search, which tries each place of the input, and the repetitions at %s can take the same text: `+
			`begin the pattern with "^" if it belongs to the begin of the input, or %s`, strings.Join(parts, ", "), exclude)
	}
	return fmt.Sprintf("the repetitions at %s can take the same text: %s", strings.Join(parts, ", "), exclude)
}
