package terminal

import (
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/term"
)

// Detect returns the style for an output: plain, unless it is a terminal. COLUMNS counts for both.
func Detect(out io.Writer, getenv func(string) string) Style {
	style := Plain(DefaultWidth)
	if columns, err := strconv.Atoi(getenv("COLUMNS")); err == nil && columns > 0 {
		style.Width = max(columns, minWidth)
	}
	file, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return style
	}
	if width, height, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
		style.Width, style.Height = max(width, minWidth), height
	}
	return capable(style, getenv, obeys(file))
}

// capable says what a terminal can do; obeys, that it understands escape sequences.
func capable(style Style, getenv func(string) string, obeys bool) Style {
	style.Live = obeys && getenv("TERM") != "dumb"
	style.Color = style.Live && getenv("NO_COLOR") == ""
	style.Unicode = style.Live && speaksUTF8(getenv)
	return style
}

// IsTerminal says whether a person sits at the other end.
func IsTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

func speaksUTF8(getenv func(string) string) bool {
	if runtime.GOOS == "windows" {
		return true // Go writes UTF-16 to consoles, whatever their code page
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := getenv(name); value != "" {
			value = strings.ToLower(value)
			return strings.Contains(value, "utf-8") || strings.Contains(value, "utf8")
		}
	}
	return false
}
