package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"mitigation.dev/ems/internal/rewrite"
	"mitigation.dev/ems/internal/simulate"
)

func (c *Command) printAnswers(w io.Writer, view any, answers []simulate.Answer) error {
	if c.output == outputJSON {
		if view != nil {
			return printJSON(w, struct {
				Server  any               `json:"server"`
				Answers []simulate.Answer `json:"answers"`
			}{view, answers})
		}
		return printJSON(w, answers)
	}
	var out strings.Builder
	for i, answer := range answers {
		if i > 0 && c.trace {
			out.WriteString("\n")
		}
		out.WriteString(answer.Text)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func printJSON(w io.Writer, value any) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

func (c *Command) printSummary(w io.Writer, view any, s simulate.Summary) error {
	if c.output == outputJSON {
		if view != nil {
			return printJSON(w, struct {
				Server  any              `json:"server"`
				Summary simulate.Summary `json:"summary"`
			}{view, s})
		}
		return printJSON(w, s)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%12s requests", grouped(s.Requests))
	if s.From != nil {
		fmt.Fprintf(&out, " from %s to %s", s.From.Format(time.RFC3339), s.To.Format(time.RFC3339))
	}
	out.WriteString("\n")
	for _, outcome := range []rewrite.Outcome{
		rewrite.Passed, rewrite.Rewritten, rewrite.Redirected, rewrite.Responded, rewrite.Aborted, rewrite.Error,
	} {
		if n := s.Outcomes[outcome]; n > 0 {
			fmt.Fprintf(&out, "%12s %s\n", grouped(n), outcome)
		}
	}
	for _, line := range []struct {
		count int
		what  string
	}{
		{s.Unknown, "of them uncertain: Microsoft does not document what decides whether they are blocked"},
		{s.NotEvaluated, "not evaluated"},
		{s.Unreadable, "lines that are no requests"},
	} {
		if line.count > 0 {
			fmt.Fprintf(&out, "%12s %s\n", grouped(line.count), line.what)
		}
	}
	for _, e := range s.Problems {
		fmt.Fprintf(&out, "%12s %s\n", "", strings.TrimSpace(e.Request+" "+e.Problem))
	}
	for _, r := range s.Rules {
		writeRule(&out, r)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func writeRule(out *strings.Builder, r simulate.RuleCount) {
	fmt.Fprintf(out, "\n%12s %s", grouped(r.Count), r.Outcome)
	if r.Status > 0 {
		fmt.Fprintf(out, " %d", r.Status)
		if r.SubStatus > 0 {
			fmt.Fprintf(out, ".%d", r.SubStatus)
		}
	}
	if r.Rule != "" {
		fmt.Fprintf(out, " by rule %q", r.Rule)
		if r.Level != "" {
			fmt.Fprintf(out, " of %s", r.Level)
		}
	}
	out.WriteString("\n")
	if r.Served > 0 {
		fmt.Fprintf(out, "%12s of them were answered with a status below 400 when they were logged\n", grouped(r.Served))
	}
	for _, e := range r.Examples {
		fmt.Fprintf(out, "%12s line %d: %s", "", e.Line, e.Request)
		if e.URL != "" {
			fmt.Fprintf(out, " -> %s", e.URL)
		}
		if e.LoggedStatus > 0 {
			fmt.Fprintf(out, " (was %d)", e.LoggedStatus)
		}
		out.WriteString("\n")
		for line := range strings.Lines(e.Text) {
			fmt.Fprintf(out, "%12s   %s", "", line)
		}
	}
}

// grouped writes a number with a comma after every three digits.
func grouped(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// progress shows on a terminal how far a file has been read.
type progress struct {
	out  io.Writer
	size int64

	// An interrupted replay may still be reading.
	mu    sync.Mutex
	next  time.Time
	ended bool
}

// progressInterval is how often the bar is drawn.
const progressInterval = 200 * time.Millisecond

// newProgress shows nothing if the output is no terminal, or the size is not known.
func newProgress(out io.Writer, file *os.File) *progress {
	terminal, ok := out.(*os.File)
	if !ok || !isTerminal(terminal) {
		return &progress{}
	}
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return &progress{}
	}
	return &progress{out: out, size: info.Size()}
}

func isTerminal(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (p *progress) show(read int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); p.size > 0 && !p.ended && now.After(p.next) {
		p.next = now.Add(progressInterval)
		p.draw(read)
	}
}

// width is that of the bar in characters.
const width = 40

func (p *progress) draw(read int64) {
	filled := int(min(read, p.size) * width / p.size)
	fmt.Fprintf(p.out, "\r[%s%s] %3d %%", strings.Repeat("#", filled), strings.Repeat(" ", width-filled), min(read, p.size)*100/p.size)
}

// done wipes the bar away.
func (p *progress) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	if p.size > 0 {
		fmt.Fprintf(p.out, "\r%s\r", strings.Repeat(" ", width+8))
	}
}
