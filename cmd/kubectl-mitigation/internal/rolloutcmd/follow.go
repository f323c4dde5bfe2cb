package rolloutcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/terminal"
	"mitigation.dev/ems/internal/pause"
)

// follow shows the status until nothing moves any more, the time is over, or the user has enough.
func (c *statusCommand) follow(ctx context.Context) (err error) {
	watching, stop := context.WithCancel(ctx)
	m := newMirror()
	wait := m.follow(watching, c.client, c.sources)
	defer func() { stop(); wait() }()

	var over <-chan time.Time
	if c.timeout > 0 {
		timer := time.NewTimer(c.timeout)
		defer timer.Stop()
		over = timer.C
	}
	view := c.newView()
	defer func() { err = errors.Join(view.close(), err) }()
	clock := time.NewTicker(tick)
	defer clock.Stop()
	var status *RolloutStatus
	for {
		select {
		case <-ctx.Done():
			return c.end(status)
		case <-over:
			return c.end(status)
		case <-clock.C:
			if status == nil || !view.live() {
				continue
			}
			status.Time = c.world.Now().UTC()
			if err := view.show(status, nil); err != nil {
				return err
			}
			continue
		case <-m.changed:
		}
		if pause.For(ctx, settle) != nil {
			return c.end(status)
		}
		synced, trouble := m.state(c.sources)
		if !synced {
			if hopeless(trouble) {
				return trouble
			}
			if err := view.wait(trouble); err != nil {
				return err
			}
			continue
		}
		next, err := c.look(ctx, m)
		if err != nil {
			return err
		}
		status = next
		if err := view.show(status, trouble); err != nil {
			return err
		}
		if judge(status) != moving {
			return exit(judge(status))
		}
	}
}

// end is the exit code of what was seen last.
func (c *statusCommand) end(status *RolloutStatus) error {
	if status == nil {
		return errors.New("the API server has not answered")
	}
	if v := judge(status); v != moving {
		return exit(v)
	}
	return cli.ExitError{Code: exitMoving}
}

// hopeless is what does not pass by waiting.
func hopeless(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsNotFound(err)
}

// view shows one status after the other: in place on a terminal, else as documents or as lines for what has changed.
type view struct {
	command *statusCommand
	screen  *terminal.Screen
	trouble error
	last    map[string]string
	printed string
}

func (c *statusCommand) newView() *view {
	v := &view{command: c}
	if c.output == "table" && terminal.Detect(c.world.Stdout, c.world.Getenv).Live {
		v.screen = terminal.NewScreen(c.world.Stdout)
	}
	return v
}

func (v *view) live() bool { return v.screen != nil }

// wait tells why there is nothing to show yet.
func (v *view) wait(trouble error) error {
	if trouble == nil || v.trouble != nil && v.trouble.Error() == trouble.Error() {
		return nil
	}
	v.trouble = trouble
	_, err := fmt.Fprintf(v.command.world.Stderr, "waiting for the API server: %s\n", terminal.Clean(trouble.Error()))
	return err
}

func (v *view) show(status *RolloutStatus, trouble error) error {
	c := v.command
	switch {
	case v.screen != nil:
		return v.draw(status, trouble)
	case c.output != "table":
		// The time alone is no change.
		what, err := json.Marshal(RolloutStatus{Summaries: status.Summaries, Rollouts: status.Rollouts})
		if err != nil || string(what) == v.printed {
			return err
		}
		v.printed = string(what)
		return c.print(status, terminal.Style{})
	default:
		return v.append(status, trouble)
	}
}

func (v *view) draw(status *RolloutStatus, trouble error) error {
	c := v.command
	style := terminal.Detect(c.world.Stdout, c.world.Getenv)
	picture := render(status, layout{style: style, limit: c.limit, quiet: c.id != ""})
	if trouble != nil {
		picture = append(picture, "")
		for _, line := range style.Wrap("", "  ", terminal.Clean("The connection is lost, and tried again: "+trouble.Error())) {
			picture = append(picture, style.Paint(terminal.Alarm, line))
		}
	}
	return v.screen.Draw(style, picture)
}

// append prints everything once, and then a line for each rollout that has changed.
func (v *view) append(status *RolloutStatus, trouble error) error {
	c := v.command
	if trouble != nil && (v.trouble == nil || v.trouble.Error() != trouble.Error()) {
		fmt.Fprintf(c.world.Stderr, "%s the connection is lost, and tried again: %s\n", status.Time.Format(time.RFC3339), terminal.Clean(trouble.Error()))
	}
	v.trouble = trouble
	first := v.last == nil
	if first {
		v.last = map[string]string{}
		if err := c.print(status, terminal.Detect(c.world.Stdout, c.world.Getenv)); err != nil {
			return err
		}
	}
	now := map[string]string{}
	for i := range status.Rollouts {
		r := &status.Rollouts[i]
		key := r.Key() + " " + r.Mitigation
		now[key] = line(r, time.Time{})
		if first || v.last[key] == now[key] {
			continue
		}
		if _, err := fmt.Fprintln(c.world.Stdout, line(r, status.Time)); err != nil {
			return err
		}
	}
	v.last = now
	return nil
}

func (v *view) close() error {
	if v.screen == nil {
		return nil
	}
	return v.screen.Close()
}
