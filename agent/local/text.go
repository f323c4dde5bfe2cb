package local

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/agent/iis/effective"
)

// WriteJSON writes the report for programs. docs/guides/single-server.md describes it.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteText writes the report for people. The answer comes last, where the eye is on a terminal.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	if r.Command == CommandDiff && r.Problem == nil {
		r.writeDiff(&b)
	} else {
		r.writeHead(&b)
		r.writeMitigations(&b)
		r.writeChanges(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteNotes writes what of a text report does not belong to its output: what went wrong, and what to look at.
func (r *Report) WriteNotes(w io.Writer) error {
	var b strings.Builder
	for _, warning := range r.Warnings {
		fmt.Fprintf(&b, "Warning: %s\n", warning)
	}
	if r.Command == CommandDiff {
		for _, m := range r.Mitigations {
			if m.State == string(enforce.Failed) || m.ineffective() {
				fmt.Fprintf(&b, "%s: %s: %s\n", m.ID, m.Reason, m.Message)
			}
		}
		if r.Result == Unchanged {
			b.WriteString("Nothing would change.\n")
		}
	}
	if r.Problem != nil {
		fmt.Fprintf(&b, "%s: %s: %s\n", r.Result, r.Problem.Reason, r.Problem.Message)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) writeHead(b *strings.Builder) {
	if d := r.Document; d != nil {
		parts := []string{"feed " + d.Feed}
		if d.Publisher != "" {
			parts = append(parts, d.Publisher)
		}
		if d.Sequence > 0 {
			parts = append(parts, fmt.Sprintf("sequence %d", d.Sequence))
		}
		if !d.Expires.IsZero() {
			parts = append(parts, "expires "+moment(d.Expires))
		}
		fmt.Fprintf(b, "Document  %s: signature verified; %s\n", d.File, strings.Join(parts, ", "))
	}
	if s := r.Server; s != nil {
		known := strings.Join(strings.Fields(s.Product+" "+s.Role+" "+s.Build), " ")
		if known == "" && r.Document != nil {
			known = "product not known, which speaks for mitigations"
		}
		fmt.Fprintf(b, "Server    %s: %s; URL Rewrite %s\n", s.Root, cmp.Or(known, "product not known"), strings.ToLower(s.RewriteModule))
	}
}

func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func (r *Report) writeMitigations(b *strings.Builder) {
	if r.Problem == nil && len(r.Mitigations) == 0 {
		b.WriteString("\nNo mitigation is in place.\n")
	}
	if len(r.Mitigations) == 0 {
		return
	}
	b.WriteString("\n")
	table := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	changed := "CHANGED"
	if r.Command == CommandStatus {
		changed = "LAST CHANGE"
	}
	fmt.Fprintf(table, "ID\tSTATE\tREASON\tREVISION\tEFFECTIVE\t%s\tACTIONS\n", changed)
	for _, m := range r.Mitigations {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", m.ID, m.State, m.Reason, revision(m.Revision), cmp.Or(m.Effective, "-"), r.when(m), actions(m.Actions))
	}
	_ = table.Flush() // a strings.Builder takes everything
	var lines []string
	for _, m := range r.Mitigations {
		if m.Message != "" {
			lines = append(lines, m.ID+": "+m.Message)
		}
		for _, l := range m.LookAlikes {
			lines = append(lines, m.ID+": somebody else's rule does the same and was left alone: "+l)
		}
	}
	if len(lines) > 0 {
		fmt.Fprintf(b, "\n%s\n", strings.Join(lines, "\n"))
	}
}

// when is whether this command changed something, or when something was changed last.
func (r *Report) when(m Mitigation) string {
	switch {
	case r.Command == CommandStatus && m.LastChange.IsZero():
		return "-"
	case r.Command == CommandStatus:
		return moment(m.LastChange)
	case m.Changed && r.DryRun:
		return "would"
	case m.Changed:
		return "yes"
	}
	return "no"
}

func revision(n int64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

func actions(list []Action) string {
	texts := make([]string, 0, len(list))
	for _, a := range list {
		texts = append(texts, strings.TrimSpace(a.Type+" "+a.Target))
	}
	return cmp.Or(strings.Join(texts, "; "), "-")
}

func (r *Report) writeChanges(b *strings.Builder) {
	if len(r.Files)+len(r.Switches) > 0 {
		fmt.Fprintf(b, "\n%s:\n", r.would("Changed", "Would change"))
		for _, f := range r.Files {
			fmt.Fprintf(b, "  %s %s\n", f.Path, strings.ToLower(f.Change))
		}
		for _, s := range r.Switches {
			fmt.Fprintf(b, "  %s\n", s)
		}
	}
	if r.Problem == nil {
		fmt.Fprintf(b, "\n%s\n", r.answer())
	}
}

// String describes a switch, such as: service "Spooler" disabled.
func (s Switch) String() string {
	what := "service"
	if s.Kind == "Pool" {
		what = "application pool"
	}
	change := strings.ToLower(s.Change)
	switch s.Change {
	case "Stopped", "Started", "Disabled":
	default:
		change = "start type " + s.Change
	}
	return fmt.Sprintf("%s %q %s", what, s.Name, change)
}

func (r *Report) would(did, would string) string {
	if r.DryRun {
		return would
	}
	return did
}

// answer is the last line.
func (r *Report) answer() string {
	counts := map[string]int{}
	for _, m := range r.Mitigations {
		if m.ineffective() {
			counts[string(effective.False)]++
		} else {
			counts[m.State]++
		}
	}
	var parts []string
	for _, c := range []struct{ state, words string }{
		{string(enforce.Applied), "in place"}, {string(enforce.Removed), "removed"}, {string(enforce.NotApplicable), "not needed here"},
		{string(effective.False), "in place without effect"}, {StateMissing, "missing"}, {StateDrifted, "drifted"}, {string(enforce.Failed), "failed"},
	} {
		if n := counts[c.state]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, c.words))
		}
	}
	summary := cmp.Or(strings.Join(parts, ", "), "nothing in place")
	switch r.Result {
	case Changed:
		return r.would("Done: ", "Would be done: ") + summary + "."
	case Unchanged:
		if r.Command == CommandStatus {
			return "As it should be: " + summary + "."
		}
		return "Nothing to do: " + summary + "."
	case Failed, Refused:
	}
	return "NOT AS IT SHOULD BE: " + summary + "."
}

// writeDiff writes the differences. Lines before the first file are passed over by programs that apply a diff.
func (r *Report) writeDiff(b *strings.Builder) {
	for _, s := range r.Switches {
		fmt.Fprintf(b, "# %s\n", s)
	}
	for _, f := range r.Files {
		b.WriteString(f.Diff)
	}
}
