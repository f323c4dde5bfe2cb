package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// teller prints the story with the time since its beginning, and counts checks.
type teller struct {
	out            io.Writer
	begin          time.Time
	checks, failed int
}

func newTeller(out io.Writer) *teller { return &teller{out: out, begin: time.Now()} }

func (t *teller) elapsed() time.Duration { return time.Since(t.begin) }

func (t *teller) line(mark, format string, args ...any) {
	_, _ = fmt.Fprintf(t.out, "%7.1fs %s %s\n", t.elapsed().Seconds(), mark, fmt.Sprintf(format, args...))
}

// chapter begins a part of the story.
func (t *teller) chapter(format string, args ...any) {
	_, _ = fmt.Fprintln(t.out)
	t.line("──", format, args...)
}

// say tells something that happened.
func (t *teller) say(format string, args ...any) { t.line("  ", format, args...) }

// check tells whether something is as it should be.
func (t *teller) check(holds bool, format string, args ...any) {
	t.checks++
	mark := "✓ "
	if !holds {
		t.failed++
		mark = "✗ "
	}
	t.line(mark, format, args...)
}

// checkError checks that there is no error, and tells it otherwise.
func (t *teller) checkError(err error, format string, args ...any) {
	t.check(err == nil, format, args...)
	if err != nil {
		t.text(err.Error())
	}
}

// text prints what a program said, indented.
func (t *teller) text(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		_, _ = fmt.Fprintf(t.out, "             %s\n", strings.TrimRight(line, "\n"))
	}
}

// result prints the numbers at the end.
func (t *teller) result() {
	_, _ = fmt.Fprintln(t.out)
	if t.failed > 0 {
		t.line("✗ ", "%d of %d checks failed", t.failed, t.checks)
		return
	}
	t.line("✓ ", "%d checks, all hold", t.checks)
}
