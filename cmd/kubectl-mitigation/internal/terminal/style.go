package terminal

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// DefaultWidth is that of lines where nobody says how wide they may be.
const DefaultWidth = 100

// minWidth is the least that is drawn for: a narrower window wraps.
const minWidth = 20

// Style says how to draw.
type Style struct {
	// Width and Height are those of the window in columns and lines; a Height of 0 means without end.
	Width, Height int
	// Color allows colours, Unicode characters that are not ASCII.
	Color, Unicode bool
	// Live means that a picture can be drawn again in place.
	Live bool
}

// Plain is the style of what is no terminal.
func Plain(width int) Style { return Style{Width: max(width, minWidth)} }

// Tone is what a text wants to say by its colour, beside its words.
type Tone int

// The tones.
const (
	Normal Tone = iota
	Good
	Warning
	Alarm
	Faint
	Strong
)

// Paint gives a text its tone. The text must not hold another one.
func (s Style) Paint(tone Tone, text string) string {
	if !s.Color || text == "" {
		return text
	}
	code := map[Tone]string{Good: "32", Warning: "33", Alarm: "1;31", Faint: "2", Strong: "1"}[tone]
	if code == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Kind is what a part of a bar stands for.
type Kind int

// The kinds of parts, in the order in which they are drawn best.
const (
	Done Kind = iota
	Busy
	Bad
	Open
)

// Part is one part of a bar.
type Part struct {
	Size int
	Kind Kind
}

var glyphs = map[Kind]struct {
	unicode, ascii string
	tone           Tone
}{
	Done: {"█", "#", Good},
	Busy: {"▒", "=", Warning},
	Bad:  {"×", "x", Alarm},
	Open: {"░", ".", Faint},
}

// Bar draws parts side by side, width columns in all, brackets included. A part that is not empty gets a column at least, as
// long as there are columns: one failed server among ten thousand is what the reader looks for.
func (s Style) Bar(width int, parts ...Part) string {
	room := max(width-2, 1)
	columns := share(room, parts)
	var out strings.Builder
	out.WriteString("[")
	for i, part := range parts {
		glyph := glyphs[part.Kind]
		text := glyph.ascii
		if s.Unicode {
			text = glyph.unicode
		}
		out.WriteString(s.Paint(glyph.tone, strings.Repeat(text, columns[i])))
	}
	if all := sum(columns); all < room {
		out.WriteString(strings.Repeat(" ", room-all))
	}
	out.WriteString("]")
	return out.String()
}

// share gives every part its columns: one for what is not empty, the rest by size, and what rounding leaves to the largest.
func share(room int, parts []Part) []int {
	columns := make([]int, len(parts))
	total, largest := 0, -1
	for i, part := range parts {
		total += max(part.Size, 0)
		if part.Size > 0 && (largest < 0 || part.Size > parts[largest].Size) {
			largest = i
		}
	}
	if total == 0 {
		return columns
	}
	for i, part := range parts {
		if part.Size > 0 {
			columns[i] = max(1, part.Size*room/total)
		}
	}
	for used := sum(columns); used != room; used = sum(columns) {
		if used < room {
			columns[largest] += room - used
			continue
		}
		widest := 0
		for i := range columns {
			if columns[i] >= columns[widest] {
				widest = i
			}
		}
		columns[widest]--
	}
	return columns
}

func sum(values []int) int {
	all := 0
	for _, v := range values {
		all += v
	}
	return all
}

// Clean takes out of foreign text what a terminal would obey or a reader not see: control characters and marks of direction.
// Line ends become blanks.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == utf8.RuneError:
			return '?'
		default:
			return r
		}
	}, text)
}

// Cut shortens a text without colours to width columns.
func (s Style) Cut(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	mark := "..."
	if s.Unicode {
		mark = "…"
	}
	keep := width - utf8.RuneCountInString(mark)
	if keep <= 0 {
		return string([]rune(text)[:max(width, 0)])
	}
	return strings.TrimRight(string([]rune(text)[:keep]), " ") + mark
}

// Pad fills a text without colours up to width columns.
func Pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
}

// Wrap breaks a text without colours into lines of the style's width, at blanks where there are any. The first line begins with
// first, the others with rest.
func (s Style) Wrap(first, rest, text string) []string {
	var lines []string
	line, start := first, true
	flush := func() {
		lines = append(lines, strings.TrimRight(line, " "))
		line, start = rest, true
	}
	for word := range strings.FieldsSeq(text) {
		runes := []rune(word)
		for len(runes) > 0 {
			room := s.Width - utf8.RuneCountInString(line)
			if !start {
				room-- // the blank before
			}
			switch {
			case len(runes) <= room && start:
				line, start, runes = line+string(runes), false, nil
			case len(runes) <= room:
				line, runes = line+" "+string(runes), nil
			case !start:
				flush()
			default:
				// Longer than a line: nothing is left out, it is only broken.
				room = min(max(room, 1), len(runes))
				line, runes = line+string(runes[:room]), runes[room:]
				flush()
			}
		}
	}
	if !start || len(lines) == 0 {
		flush()
	}
	return lines
}
