package rolloutcmd

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/types"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/sheet"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/steer"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/terminal"
)

// defaultEvents is how many events a table shows.
const defaultEvents = 100

// RolloutHistory is what happened to mitigations, the newest last.
type RolloutHistory struct {
	Events []RolloutEvent `json:"events"`
}

// RolloutEvent is one thing that happened in a pool.
type RolloutEvent struct {
	Time       time.Time `json:"time"`
	Namespace  string    `json:"namespace"`
	Pool       string    `json:"pool"`
	Mitigation string    `json:"mitigation"`
	Revision   int64     `json:"revision"`
	Attempt    int32     `json:"attempt,omitempty"`
	Action     string    `json:"action"`
	By         string    `json:"by,omitempty"`
	Message    string    `json:"message,omitempty"`
}

// historyCommand is what runs "rollout history".
type historyCommand struct {
	world  cli.World
	scope  *scope
	output string
	limit  int
}

func bindHistory(w cli.World, flags *pflag.FlagSet) func(context.Context, []string) error {
	c := &historyCommand{world: w, scope: bindScope(flags)}
	flags.StringVarP(&c.output, "output", "o", "table", "`form`: table, json, yaml or csv")
	cli.OneOf(flags, "output", "table", "json", "yaml", "csv")
	flags.IntVar(&c.limit, "limit", -1, "`number` of events, the newest; 0 for all; -1 is 100 for a table and all for the other forms")
	return c.run
}

func (c *historyCommand) run(ctx context.Context, operands []string) error {
	id, err := c.check(operands)
	if err != nil {
		return err
	}
	client, sources, wanted, err := c.scope.open(ctx, false)
	if err != nil {
		return err
	}
	m := newMirror()
	if err := m.read(ctx, client, sources); err != nil {
		return err
	}
	in := m.input(c.world.Now(), id, wanted)
	for _, key := range wanted {
		if !slices.ContainsFunc(in.pools, func(p *emsv1.PoolMitigationConfig) bool { return p.Namespace == key.Namespace && p.Name == key.Name }) {
			return fmt.Errorf("pool %s: there is none", key)
		}
	}
	history := merge(in)
	left := 0
	if c.limit > 0 {
		left = max(0, len(history.Events)-c.limit)
		history.Events = history.Events[left:]
	}
	if c.output == "csv" {
		return c.csv(history)
	}
	style := terminal.Detect(c.world.Stdout, c.world.Getenv)
	return write(c.world.Stdout, c.output, history, func() []string { return table(history, left, style) })
}

func (c *historyCommand) check(operands []string) (id string, err error) {
	if len(operands) > 1 {
		return "", cli.Misused("ID: want one at most, not %d", len(operands))
	}
	if len(operands) == 1 {
		parsed, err := steer.ParseID(operands[0])
		if err != nil {
			return "", err
		}
		id = string(parsed)
	}
	switch {
	case !slices.Contains([]string{"table", "json", "yaml", "csv"}, c.output):
		return "", cli.Misused("--output: %q: want table, json, yaml or csv", c.output)
	case c.limit < -1:
		return "", cli.Misused("--limit: %d: want 0 or a number above it", c.limit)
	case c.limit < 0 && c.output == "table":
		c.limit = defaultEvents
	}
	return id, nil
}

// merge puts the histories of pools together by time. What a plan says of a moment ago may not be in its pool's history yet.
func merge(in *input) *RolloutHistory {
	history := &RolloutHistory{Events: []RolloutEvent{}}
	for _, pool := range in.pools {
		key := types.NamespacedName{Namespace: pool.Namespace, Name: pool.Name}
		if len(in.wanted) > 0 && !slices.Contains(in.wanted, key) {
			continue
		}
		seen := map[RolloutEvent]bool{}
		add := func(e RolloutEvent) {
			e.Namespace, e.Pool = pool.Namespace, pool.Name
			same := e
			same.By, same.Message, same.Mitigation = "", "", strings.ToLower(e.Mitigation)
			if in.id != "" && !strings.EqualFold(in.id, e.Mitigation) || e.Time.IsZero() || seen[same] {
				return
			}
			seen[same] = true
			history.Events = append(history.Events, e)
		}
		for _, h := range pool.Status.History {
			add(RolloutEvent{
				Time: value(moment(h.Time)), Mitigation: string(h.ID), Revision: h.Revision, Attempt: h.Attempt, Action: h.Action, By: h.By, Message: h.Message,
			})
		}
		if plan := in.plans[key]; plan != nil {
			for i := range plan.Spec.Mitigations {
				e := &plan.Spec.Mitigations[i]
				t := &e.Transition
				add(RolloutEvent{
					Time: value(moment(t.Time)), Mitigation: string(e.ID), Revision: e.Revision, Attempt: e.Rollout.Attempt, Action: t.Action, By: t.By, Message: t.Message,
				})
			}
		}
	}
	slices.SortStableFunc(history.Events, func(a, b RolloutEvent) int {
		return cmp.Or(a.Time.Compare(b.Time), strings.Compare(a.Namespace+"/"+a.Pool, b.Namespace+"/"+b.Pool))
	})
	return history
}

// table is the history for people. In narrow windows an event has two lines.
func table(history *RolloutHistory, left int, style terminal.Style) []string {
	if len(history.Events) == 0 {
		return []string{"Nothing has happened yet."}
	}
	var lines []string
	if left > 0 {
		lines = style.Wrap("", "  ", fmt.Sprintf("%s before these. --limit 0 shows all.", plural(left, "event")))
	}
	widths := [4]int{}
	cells := make([][4]string, len(history.Events))
	for i, e := range history.Events {
		what := fmt.Sprintf("%s r%d", terminal.Clean(e.Mitigation), e.Revision)
		if e.Attempt > 1 {
			what += fmt.Sprintf(" attempt %d", e.Attempt)
		}
		cells[i] = [4]string{e.Time.Format(time.RFC3339), e.Namespace + "/" + e.Pool, what, terminal.Clean(e.Action)}
		for j, cell := range cells[i] {
			widths[j] = max(widths[j], len(cell))
		}
	}
	columns := widths[0] + widths[1] + widths[2] + widths[3] + 8
	const least = 30 // columns that a message needs to be read
	for i, e := range history.Events {
		rest := cmp.Or(terminal.Clean(e.By), "-")
		if e.Message != "" {
			rest += ": " + terminal.Clean(e.Message)
		}
		if style.Width >= columns+least {
			var first strings.Builder
			for j, cell := range cells[i] {
				first.WriteString(terminal.Pad(cell, widths[j]) + "  ")
			}
			lines = append(lines, style.Wrap(first.String(), strings.Repeat(" ", columns), rest)...)
			continue
		}
		lines = append(lines, style.Wrap("", "  ", strings.Join(cells[i][:], " "))...)
		lines = append(lines, style.Wrap("  ", "  ", rest)...)
	}
	return lines
}

// csv is the history for spreadsheets.
func (c *historyCommand) csv(history *RolloutHistory) error {
	var rows [][]string
	for _, e := range history.Events {
		rows = append(rows, []string{
			e.Time.Format(time.RFC3339), e.Namespace, e.Pool, e.Mitigation, strconv.FormatInt(e.Revision, 10),
			strconv.Itoa(int(e.Attempt)), e.Action, e.By, e.Message,
		})
	}
	return sheet.CSV(c.world.Stdout, []string{"time", "namespace", "pool", "mitigation", "revision", "attempt", "action", "by", "message"}, rows)
}
