package sheet

import (
	"encoding/csv"
	"encoding/xml"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/terminal"
)

// replacement stands for what XML 1.0 has no place for.
const replacement = '\uFFFD'

// Clean makes of a text one that a file can hold: what is no character of XML 1.0 (section 2.2) becomes U+FFFD, and every line ends
// with a line feed alone.
func Clean(text string) string {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\r':
			return '\n'
		case r == '\t', r == '\n', r >= 0x20 && r <= 0xD7FF, r >= 0xE000 && r <= 0xFFFD && r != utf8.RuneError, r >= 0x10000 && r <= utf8.MaxRune:
			return r
		default:
			return replacement
		}
	}, text)
}

// formula finds what a spreadsheet would calculate: one of the signs, also in full width, at the beginning of what some spreadsheet takes
// for a cell.
var formula = regexp.MustCompile(`(^|[;\t\n])([\s"]*)([=+\-@＝＋－＠])`)

// Guard takes the power of a formula from a cell, by an apostrophe before the sign, which spreadsheets take for "this is text".
func Guard(text string) string { return formula.ReplaceAllString(text, "$1$2'$3") }

// CSV writes rows below a header as RFC 4180 wants them, with line ends of CR LF.
func CSV(w io.Writer, header []string, rows [][]string) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	if err := out.Write(header); err != nil {
		return err
	}
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, text := range row {
			cells[i] = Guard(Clean(text))
		}
		if err := out.Write(cells); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// Document names the elements of an XML document: Root holds one Item for each row, and has the attributes.
type Document struct {
	Root, Item string
	// Attributes are names and values, in pairs.
	Attributes []string
}

// XML writes rows as elements, each cell as an element of the name of its column.
func XML(w io.Writer, document Document, names []string, rows [][]string) error {
	var out strings.Builder
	fmt.Fprintf(&out, "%s<%s", xml.Header, document.Root)
	for i := 0; i+1 < len(document.Attributes); i += 2 {
		fmt.Fprintf(&out, " %s=\"%s\"", document.Attributes[i], escaped(document.Attributes[i+1]))
	}
	out.WriteString(">\n")
	for _, row := range rows {
		fmt.Fprintf(&out, "  <%s>\n", document.Item)
		for i, text := range row {
			fmt.Fprintf(&out, "    <%s>%s</%[1]s>\n", names[i], escaped(text))
		}
		fmt.Fprintf(&out, "  </%s>\n", document.Item)
	}
	fmt.Fprintf(&out, "</%s>\n", document.Root)
	_, err := io.WriteString(w, out.String())
	return err
}

func escaped(text string) string {
	var out strings.Builder
	// A Builder fails no write.
	_ = xml.EscapeText(&out, []byte(Clean(text)))
	return out.String()
}

// Column is one of a table. Tone may be nil.
type Column struct {
	Head string
	Tone func(text string) terminal.Tone
}

// Table writes rows in columns as wide as their widest cell, with three blanks between them as kubectl does. On a terminal, the last
// column is cut where the line ends: a description of 300 characters would tear the table apart. Without a head there are rows alone.
func Table(w io.Writer, style terminal.Style, columns []Column, rows [][]string, head bool) error {
	const gap = "   "
	widths := make([]int, len(columns))
	shown := make([][]string, 0, len(rows)+1)
	if head {
		heads := make([]string, len(columns))
		for i, c := range columns {
			heads[i] = c.Head
		}
		shown = append(shown, heads)
	}
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, text := range row {
			if cells[i] = terminal.Clean(text); cells[i] == "" {
				cells[i] = "-"
			}
		}
		shown = append(shown, cells)
	}
	for _, cells := range shown {
		for i, text := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(text))
		}
	}
	var out strings.Builder
	for n, cells := range shown {
		room := style.Width
		for i, text := range cells {
			padded := terminal.Pad(text, widths[i])
			if i == len(cells)-1 {
				if padded = text; style.Live {
					padded = style.Cut(text, max(room, len(columns[i].Head)))
				}
			}
			room -= utf8.RuneCountInString(padded) + len(gap)
			if tone := columns[i].Tone; tone != nil && (n > 0 || !head) {
				padded = strings.Replace(padded, text, style.Paint(tone(text), text), 1)
			}
			out.WriteString(padded)
			if i < len(cells)-1 {
				out.WriteString(gap)
			}
		}
		out.WriteString("\n")
	}
	_, err := io.WriteString(w, out.String())
	return err
}
