package logfile

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxLine bounds a line in bytes: a message holds an excerpt of a file or a document at most.
const maxLine = 16 << 10

// timeFormat has milliseconds, always the same number of them, so that lines sort.
const timeFormat = "2006-01-02T15:04:05.000Z"

// Levels of lines.
const (
	LevelDebug       = "Debug"
	LevelInformation = "Information"
	LevelWarning     = "Warning"
	LevelError       = "Error"
)

// Field is a name with a value.
type Field struct {
	Name  string
	Value any
}

// Line writes a record. The component is the part of the program that says it.
func Line(at time.Time, component, level, message string, fields ...Field) []byte {
	var b strings.Builder
	b.WriteString(at.UTC().Format(timeFormat))
	b.WriteByte(',')
	escape(&b, component, ",")
	b.WriteString(",S:LogLevel=")
	b.WriteString(level)
	b.WriteString(";S:Message=")
	escape(&b, message, "")
	for _, f := range fields {
		b.WriteString(";S:")
		escape(&b, f.Name, "=")
		b.WriteByte('=')
		escape(&b, text(f.Value), "")
	}
	return append(cut(b.String()), '\r', '\n')
}

// text gives a value as people read it.
func text(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	case error:
		return v.Error()
	case time.Time:
		return v.UTC().Format(time.RFC3339)
	case fmt.Stringer:
		return v.String()
	}
	return fmt.Sprint(value)
}

// escape writes text so that it cannot end its field or its line. More are further characters with a meaning there.
func escape(b *strings.Builder, text, more string) {
	for _, r := range text {
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == ';', r == '\\', strings.ContainsRune(more, r):
			b.WriteByte('\\')
			b.WriteRune(r)
		case unicode.IsControl(r), r == '\u2028', r == '\u2029', unicode.Is(unicode.Bidi_Control, r):
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
}

// cut bounds a line, at the beginning of a character.
func cut(line string) []byte {
	if len(line) <= maxLine {
		return []byte(line)
	}
	end := maxLine
	for end > 0 && !utf8.RuneStart(line[end]) {
		end--
	}
	return []byte(line[:end] + " ... (cut)")
}
