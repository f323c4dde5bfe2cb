package explain

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Write prints an explanation for people.
func (x *Explanation) Write(w io.Writer) error {
	var b strings.Builder
	where := "pool " + x.Namespace + "/" + x.Pool
	if x.Server != "" {
		where = fmt.Sprintf("server %s/%s of pool %s", x.Namespace, x.Server, x.Pool)
	}
	fmt.Fprintf(&b, "%s\n%s", where, x.Mitigation)
	if x.Revision > 0 {
		fmt.Fprintf(&b, ", revision %d", x.Revision)
	}
	fmt.Fprintf(&b, ": %s (%s)\n", x.Desired, x.Reason)
	if x.Message != "" {
		fmt.Fprintf(&b, "  %s\n", x.Message)
	}
	if x.Until != nil {
		fmt.Fprintf(&b, "  until %s\n", x.Until.Format(time.RFC3339))
	}
	fmt.Fprintf(&b, "\nHow this comes about, at %s\n", x.Time.Format(time.RFC3339))
	for i, s := range x.Steps {
		mark := " "
		if s.Decisive {
			mark = ">"
		}
		fmt.Fprintf(&b, "%s %2d. %s\n      %s\n", mark, i+1, s.Question, s.Answer)
		if s.Source != "" {
			fmt.Fprintf(&b, "      [%s]\n", s.Source)
		}
	}
	x.Rollout.write(&b)
	x.Reported.write(&b, x.Server)
	section(&b, "Not as planned", x.Behind)
	section(&b, "Notes", x.Notes)
	if len(x.Next) > 0 {
		b.WriteString("\nWhat to do\n")
		for _, h := range x.Next {
			fmt.Fprintf(&b, "  %s:\n    %s\n", h.When, h.Command)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func section(b *strings.Builder, title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", title)
	for _, line := range lines {
		fmt.Fprintf(b, "  %s\n", line)
	}
}

func (r *Rollout) write(b *strings.Builder) {
	if r == nil {
		return
	}
	fmt.Fprintf(b, "\nThe rollout\n  %s: %s (%s)\n", r.ID, r.State, r.Reason)
	if r.Message != "" {
		fmt.Fprintf(b, "  %s\n", r.Message)
	}
	stage := "no stage is released"
	if r.Stage != "" {
		stage = fmt.Sprintf("stage %d, %s", r.Number, r.Stage)
	}
	fmt.Fprintf(b, "  %s: released to %d of %d servers; %d passed, %d failed, %d have not said yet\n", stage, r.Released, r.Servers, r.Passed, r.Failed, r.Waiting)
	for _, failing := range r.Failing {
		fmt.Fprintf(b, "    failed: %s\n", failing)
	}
	if r.Profile != "" {
		fmt.Fprintf(b, "  stages of profile %s:\n", r.Profile)
	} else {
		b.WriteString("  stages, as the policy says them:\n")
	}
	for i, stage := range r.Stages {
		fmt.Fprintf(b, "    %d. %s\n", i+1, stage)
	}
	if r.Ring != "" {
		fmt.Fprintf(b, "  ring: %s\n", r.Ring)
	}
	if r.RingSays != "" {
		fmt.Fprintf(b, "  other pools: %s\n", r.RingSays)
	}
	if r.Windows != "" {
		fmt.Fprintf(b, "  windows: %s\n", r.Windows)
	}
}

func (r *Reported) write(b *strings.Builder, server string) {
	if server == "" {
		return
	}
	b.WriteString("\nThe server says\n")
	if r == nil {
		b.WriteString("  nothing about the mitigation\n")
		return
	}
	fmt.Fprintf(b, "  %s", r.State)
	if r.Reason != "" {
		fmt.Fprintf(b, " (%s)", r.Reason)
	}
	if r.Revision > 0 {
		fmt.Fprintf(b, "; revision %d is in place", r.Revision)
	}
	if r.Effective != "" {
		fmt.Fprintf(b, "; effective: %s", r.Effective)
	}
	b.WriteByte('\n')
	if r.Message != "" {
		fmt.Fprintf(b, "  %s\n", r.Message)
	}
	if r.Verdict != "" {
		about := "this rollout"
		if !r.Current {
			about = "an earlier rollout"
		}
		fmt.Fprintf(b, "  verdict on %s: %s", about, r.Verdict)
		if r.VerdictMessage != "" {
			fmt.Fprintf(b, ": %s", r.VerdictMessage)
		}
		b.WriteByte('\n')
	}
}

// WriteTable prints a line for each explanation.
func WriteTable(w io.Writer, list []Explanation) error {
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	head := "MITIGATION\tREVISION\tDESIRED\tREASON\tROLLOUT"
	server := len(list) > 0 && list[0].Server != ""
	if server {
		head += "\tSERVER SAYS"
	}
	fmt.Fprintln(table, head+"\tWHY")
	for i := range list {
		x := &list[i]
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s", x.Mitigation, number(x.Revision), x.Desired, x.Reason, x.Rollout.short())
		if server {
			fmt.Fprintf(table, "\t%s", x.Reported.short())
		}
		why := x.Message
		if len(x.Behind) > 0 {
			why = x.Behind[0]
		}
		fmt.Fprintf(table, "\t%s\n", blank(why))
	}
	return table.Flush()
}

func number(n int64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

func blank(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func (r *Rollout) short() string {
	switch {
	case r == nil:
		return "-"
	case r.Stage == "" || r.State == "Complete":
		return r.State
	default:
		return r.State + " in " + r.Stage
	}
}

func (r *Reported) short() string {
	switch {
	case r == nil:
		return "-"
	case r.Verdict != "" && r.Current:
		return r.State + ", " + r.Verdict
	default:
		return r.State
	}
}
