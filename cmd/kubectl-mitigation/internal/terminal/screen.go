package terminal

import (
	"fmt"
	"io"
	"strings"
)

// Screen draws pictures over each other.
type Screen struct {
	out           io.Writer
	lines         int
	width, height int
	open          bool
}

// NewScreen returns a screen; nothing is written before the first picture.
func NewScreen(out io.Writer) *Screen { return &Screen{out: out} }

// Draw puts a picture in the place of the one before. What does not fit into the window is left out, and the last line says so:
// a cursor cannot go back above the window's upper edge.
func (c *Screen) Draw(style Style, picture []string) error {
	if style.Height > 1 && len(picture) > style.Height-1 {
		shown := max(style.Height-2, 0)
		left := style.Cut(fmt.Sprintf("(%d more lines do not fit into the window)", len(picture)-shown), style.Width)
		picture = append(append([]string{}, picture[:shown]...), style.Paint(Faint, left))
	}
	var out strings.Builder
	switch resized := c.open && (style.Width != c.width || style.Height != c.height); {
	case !c.open:
		out.WriteString("\x1b[?25l")
	case resized:
		// The terminal has broken the old lines anew, nobody knows into how many.
		out.WriteString("\x1b[2J\x1b[H")
	case c.lines > 0:
		fmt.Fprintf(&out, "\x1b[%dA\r", c.lines)
	}
	for _, line := range picture {
		out.WriteString(line)
		out.WriteString("\x1b[K\n")
	}
	out.WriteString("\x1b[J")
	c.open, c.lines, c.width, c.height = true, len(picture), style.Width, style.Height
	_, err := io.WriteString(c.out, out.String())
	return err
}

// Close leaves the last picture and gives the cursor back.
func (c *Screen) Close() error {
	if !c.open {
		return nil
	}
	c.open = false
	_, err := io.WriteString(c.out, "\x1b[?25h")
	return err
}
