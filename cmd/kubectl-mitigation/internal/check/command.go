package check

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/fleet"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/insight"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/rolloutcmd"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/terminal"
	"mitigation.dev/ems/internal/pause"
)

const (
	// exitWrong says that something is wrong.
	exitWrong = 1
	// between is the time between two looks with --wait.
	between = 2 * time.Second
)

// Commands has the one command.
func Commands() []cli.Command {
	return []cli.Command{{
		Name: "check", Summary: "say whether the manager, the feeds and the fleet are well, and what to do next; with --pre, whether EMS can be installed",
		Example: "kubectl mitigation check --pre\nkubectl mitigation check --wait 2m\nkubectl mitigation check --strict -o json", Bind: bind,
	}}
}

type command struct {
	world       cli.World
	connection  *fleet.Connection
	pre, strict bool
	wait        time.Duration
	output      string
}

func bind(w cli.World, flags *pflag.FlagSet) func(context.Context, []string) error {
	c := &command{world: w, connection: fleet.Bind(flags)}
	flags.BoolVar(&c.pre, "pre", false, "before an installation: whether this cluster and your rights are enough")
	flags.BoolVar(&c.strict, "strict", false, "exit code 1 on warnings, and on what could not be found out, too")
	flags.DurationVar(&c.wait, "wait", 0, "look again until all is well, for this `time` at most, such as 2m")
	flags.StringVarP(&c.output, "output", "o", "text", "`form`: text, json or yaml")
	cli.OneOf(flags, "output", "text", "json", "yaml")
	return c.run
}

func (c *command) run(ctx context.Context, operands []string) error {
	switch {
	case len(operands) > 0:
		return cli.Misused("argument %q: not expected", operands[0])
	case !slices.Contains([]string{"text", "json", "yaml"}, c.output):
		return cli.Misused("--output: %q: want text, json or yaml", c.output)
	case c.wait < 0:
		return cli.Misused("--wait: want no negative value")
	}
	config, _, err := c.connection.Config()
	if err != nil {
		return cli.UsageError{Err: err}
	}
	a, err := newAsker(config, c.world.Now)
	if err != nil {
		return cli.UsageError{Err: err}
	}
	r, err := c.until(ctx, a)
	if err != nil {
		return err
	}
	err = rolloutcmd.Write(c.world.Stdout, c.output, r, func() []string { return r.Render(terminal.Detect(c.world.Stdout, c.world.Getenv)) })
	if err != nil {
		return err
	}
	if !r.Well(c.strict) {
		return cli.ExitError{Code: exitWrong}
	}
	return nil
}

// until looks until all is well, the last time when the time to wait is over; once without such a time.
func (c *command) until(ctx context.Context, a *asker) (*Health, error) {
	end := time.Now().Add(c.wait)
	for {
		last := !time.Now().Before(end)
		r := c.look(ctx, a)
		if r.Well(c.strict) || last {
			return r, ctx.Err()
		}
		if err := pause.For(ctx, min(between, time.Until(end))); err != nil {
			return nil, err
		}
	}
}

func (c *command) look(ctx context.Context, a *asker) *Health {
	if c.pre {
		return JudgeBefore(a.gatherBefore(ctx))
	}
	return Judge(a.gather(ctx))
}

var levels = map[string]insight.Level{
	resultOK: insight.Good, resultWarning: insight.Warns, resultFailed: insight.Bad, resultUnknown: insight.Unclear,
}

// column is the width of the longest name of a check.
const column = 10

// Render is the report for people.
func (r *Health) Render(style terminal.Style) []string {
	var lines []string
	for _, i := range r.Items {
		text := i.What
		if i.Why != "" {
			text += ": " + i.Why
		}
		first := "  " + terminal.Pad(i.Check, column) + "  "
		wrapped := style.Wrap(first, strings.Repeat(" ", len(first)), terminal.Clean(text))
		wrapped[0] = insight.Mark(style, levels[i.Result]) + strings.TrimPrefix(wrapped[0], " ")
		lines = append(lines, wrapped...)
		if i.Next != "" {
			// A command is not broken into lines: it is to be copied.
			lines = append(lines, strings.Repeat(" ", len(first))+style.Paint(terminal.Strong, terminal.Clean(i.Next)))
		}
	}
	return append(lines, r.sum())
}

func (r *Health) sum() string {
	if r.Failed+r.Warnings+r.Unknown == 0 {
		return "All is well."
	}
	var parts []string
	if r.Failed > 0 {
		parts = append(parts, fmt.Sprintf("%d wrong", r.Failed))
	}
	if r.Warnings > 0 {
		parts = append(parts, insight.Plural(r.Warnings, "warning"))
	}
	if r.Unknown > 0 {
		parts = append(parts, fmt.Sprintf("%d unknown", r.Unknown))
	}
	return strings.Join(parts, ", ") + "."
}
