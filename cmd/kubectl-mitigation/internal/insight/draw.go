package insight

import (
	"strings"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/rolloutcmd"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/terminal"
)

// Level is how well something stands.
type Level int

// The levels.
const (
	Good Level = iota
	// Moving goes on by itself.
	Moving
	// Waits for a time, a person or somebody else, and nothing is wrong.
	Waits
	// Warns of something that will be wrong, or may be.
	Warns
	// Bad wants a person.
	Bad
	// Unclear could not be found out.
	Unclear
)

// marks read without colour; each level has one of its own in ASCII, too.
var marks = map[Level]struct {
	unicode, ascii string
	tone           terminal.Tone
}{
	Good:    {"✔", "+", terminal.Good},
	Moving:  {"▸", ">", terminal.Normal},
	Waits:   {"…", ".", terminal.Faint},
	Warns:   {"!", "!", terminal.Warning},
	Bad:     {"✖", "x", terminal.Alarm},
	Unclear: {"?", "?", terminal.Warning},
}

// Mark is the sign of a level: one column.
func Mark(style terminal.Style, level Level) string {
	m := marks[level]
	if style.Unicode {
		return style.Paint(m.tone, m.unicode)
	}
	return style.Paint(m.tone, m.ascii)
}

// Tone is the colour of a level.
func Tone(level Level) terminal.Tone { return marks[level].tone }

// LevelOf is how well a server stands.
func LevelOf(s Standing) Level {
	switch s {
	case AsWished:
		return Good
	case Failed, Drifted:
		return Bad
	case Silent:
		return Warns
	case Waiting:
		return Waits
	default:
		return Moving
	}
}

// Condition is a condition of an object.
type Condition struct {
	// Type of the condition.
	Type string `json:"type"`
	// Status is True, False or Unknown.
	Status string `json:"status"`
	// Reason in one word.
	Reason string `json:"reason"`
	// Message in words.
	Message string `json:"message,omitempty"`
	// Since is when the status changed last.
	Since time.Time `json:"since"`
}

// Conditions brings conditions into the form in which they are shown: Ready first.
func Conditions(list []metav1.Condition) []Condition {
	out := []Condition{}
	for _, c := range list {
		shown := Condition{Type: c.Type, Status: string(c.Status), Reason: c.Reason, Message: c.Message, Since: c.LastTransitionTime.UTC()}
		if c.Type == "Ready" {
			out = append([]Condition{shown}, out...)
			continue
		}
		out = append(out, shown)
	}
	return out
}

// Span is a length of time for people: 5m, 3d.
func Span(d time.Duration) string { return duration.HumanDuration(max(0, d).Truncate(time.Second)) }

// Ago is how long ago a time was.
func Ago(t, now time.Time) string { return Span(now.Sub(t)) + " ago" }

// In is how far away a time is.
func In(t, now time.Time) string { return "in " + Span(t.Sub(now)) }

// Page is a text in sections that fits into a width.
type Page struct {
	style terminal.Style
	lines []string
}

// NewPage begins a page.
func NewPage(style terminal.Style) *Page { return &Page{style: style} }

// Lines are those of the page.
func (p *Page) Lines() []string { return p.lines }

// Title is the first line: a sign, a name, and what it is in words.
func (p *Page) Title(level Level, name, words string) {
	mark := Mark(p.style, level)
	lines := p.style.Wrap("  ", "  ", terminal.Clean(name+words))
	if head := "  " + terminal.Clean(name); strings.HasPrefix(lines[0], head) {
		lines[0] = mark + " " + p.style.Paint(terminal.Strong, strings.TrimPrefix(head, "  ")) + strings.TrimPrefix(lines[0], head)
	} else {
		lines[0] = mark + strings.TrimPrefix(lines[0], " ")
	}
	p.lines = append(p.lines, lines...)
}

// Section begins a part of the page.
func (p *Page) Section(title string) {
	p.lines = append(p.lines, "", p.style.Paint(terminal.Strong, title))
}

// Text adds a paragraph to a section.
func (p *Page) Text(text string) {
	p.lines = append(p.lines, p.style.Wrap("  ", "    ", terminal.Clean(text))...)
}

// labelWidth is that of the longest name of a field.
const labelWidth = 14

// Field adds a named value; nothing if there is none.
func (p *Page) Field(name, value string) {
	if value == "" {
		return
	}
	p.lines = append(p.lines, p.style.Wrap("  "+terminal.Pad(name, labelWidth)+"  ", strings.Repeat(" ", labelWidth+4), terminal.Clean(value))...)
}

// Table adds columns; the last one is wrapped. Nothing is added without rows.
func (p *Page) Table(head []string, rows [][]string) {
	p.lines = append(p.lines, Table(p.style, "  ", head, rows)...)
}

// Hints are commands to go on with. A command is not broken into lines: it is to be copied.
func (p *Page) Hints(hints []rolloutcmd.Hint) {
	if len(hints) == 0 {
		return
	}
	p.Section("Next")
	for _, h := range hints {
		p.lines = append(p.lines, p.style.Wrap("  ", "  ", "# "+terminal.Clean(h.When))...)
		p.lines = append(p.lines, "    "+terminal.Clean(h.Command))
	}
}

// least is what the last column of a table needs to be read.
const least = 24

// Table makes lines of columns. The last one is wrapped; where the others leave no room for it, it stands below.
func Table(style terminal.Style, indent string, head []string, rows [][]string) []string {
	if len(rows) == 0 {
		return nil
	}
	widths := make([]int, len(head))
	cells := make([][]string, 0, len(rows)+1)
	for _, row := range append([][]string{head}, rows...) {
		cleaned := make([]string, len(head))
		for i, cell := range row {
			if cleaned[i] = terminal.Clean(cell); cleaned[i] == "" {
				cleaned[i] = "-"
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cleaned[i]))
		}
		cells = append(cells, cleaned)
	}
	last, columns := len(head)-1, utf8.RuneCountInString(indent)
	for _, width := range widths[:last] {
		columns += width + 2
	}
	narrow := style.Width < columns+least && style.Width < columns+widths[last]
	var lines []string
	for i, row := range cells {
		var first strings.Builder
		first.WriteString(indent)
		for j := range row[:last] {
			first.WriteString(terminal.Pad(row[j], widths[j]) + "  ")
		}
		switch {
		case narrow && row[last] == "-":
			lines = append(lines, strings.TrimRight(first.String(), " "))
		case narrow:
			lines = append(lines, strings.TrimRight(first.String(), " "))
			lines = append(lines, style.Wrap(indent+"    ", indent+"    ", row[last])...)
		default:
			lines = append(lines, style.Wrap(first.String(), strings.Repeat(" ", columns), row[last])...)
		}
		if i == 0 {
			for j := range lines {
				lines[j] = style.Paint(terminal.Faint, lines[j])
			}
		}
	}
	return lines
}

// Plural counts things.
func Plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return Number(n) + " " + what + "s"
}
