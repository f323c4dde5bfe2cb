package rolloutcmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/steer"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/terminal"
	"mitigation.dev/ems/internal/policy/fromapi"
	"mitigation.dev/ems/internal/rollout"
)

// pausedBecause is the annotation that keeps the reason of "pause --all": spec.rollout.progress has no place for one.
const pausedBecause = "ems.mitigation.dev/rollouts-paused-because"

// maxReason is what the API takes for a reason.
const maxReason = 1024

var (
	ordersPath   = []string{"rollout", "orders"}
	progressPath = []string{"rollout", "progress"}
)

// orderCommand is what runs a verb.
type orderCommand struct {
	world cli.World
	flags *steer.Flags
	verb  verb
	// resume takes a pause back.
	resume   bool
	revision int64
	stage    string
	full     bool
	every    bool
	yes      bool
	// asks says whether there is a person to ask.
	asks bool
}

func bindVerb(v verb) func(cli.World, *pflag.FlagSet) func(context.Context, []string) error {
	return func(w cli.World, flags *pflag.FlagSet) func(context.Context, []string) error {
		c := bindOrder(w, flags, steer.Has{Reason: true, Targets: true})
		c.verb = v
		flags.Int64Var(&c.revision, "revision", 0, "`number` of the revision that is meant; the planned one if 0")
		switch v.name {
		case "pause":
			flags.BoolVar(&c.every, "all", false, "every rollout, of whatever mitigation, until resume --all")
		case "promote":
			flags.StringVar(&c.stage, "stage", "", "`name` of the last stage that is passed; the released one if absent")
			flags.BoolVar(&c.full, "full", false, "release to every server at once, without any further gate")
		}
		return c.run
	}
}

func bindResume(w cli.World, flags *pflag.FlagSet) func(context.Context, []string) error {
	c := bindOrder(w, flags, steer.Has{Targets: true})
	c.resume = true
	flags.BoolVar(&c.every, "all", false, "take back what pause --all has done")
	return c.run
}

func bindOrder(w cli.World, flags *pflag.FlagSet, has steer.Has) *orderCommand {
	c := &orderCommand{world: w, flags: steer.BindFlags(flags, w, has.WithShort()), asks: terminal.IsTerminal(w.Stdin) && terminal.IsTerminal(w.Stderr)}
	flags.BoolVar(&c.yes, "yes", false, "do not ask before something that affects every pool")
	return c
}

func (c *orderCommand) run(ctx context.Context, operands []string) error {
	if err := c.flags.Check(); err != nil {
		return err
	}
	w := wish{verb: c.verb, revision: c.revision, stage: c.stage, full: c.full}
	if err := c.read(&w, operands); err != nil {
		return err
	}
	session, err := c.flags.Open()
	if err != nil {
		return err
	}
	targets, err := session.Targets()
	if err != nil {
		return err
	}
	switch {
	case c.resume && c.every:
		return session.Each(ctx, targets, "rollouts resumed", c.resumeAll)
	case c.resume:
		return session.Each(ctx, targets, string(w.id)+" resumed", func(t steer.Target, d *steer.Document) error { return takeBack(t, d, w.id) })
	}
	w.owner = session.Owner(ctx)
	if c.every {
		if err := c.confirm(targets, "This pauses every rollout in every pool."); err != nil {
			return err
		}
		return session.Each(ctx, targets, "rollouts paused", func(_ steer.Target, d *steer.Document) error {
			d.Set(string(emsv1.ProgressPaused), progressPath...)
			d.Annotate(pausedBecause, w.owner+": "+w.reason)
			return nil
		})
	}
	return c.write(ctx, session, targets, w)
}

// read judges operands and flags.
func (c *orderCommand) read(w *wish, operands []string) error {
	switch {
	case c.every && len(operands) > 0:
		return cli.Misused("ID, --all: want one of them")
	case c.every && c.revision != 0:
		return cli.Misused("--revision, --all: want one of them")
	case !c.every:
		operand, err := steer.One(operands, "ID")
		if err != nil {
			return err
		}
		if w.id, err = steer.ParseID(operand); err != nil {
			return err
		}
	}
	switch {
	case c.revision < 0:
		return cli.Misused("--revision: %d: want a number above 0", c.revision)
	case c.stage != "" && c.full:
		return cli.Misused("--stage, --full: want one of them")
	case c.resume:
		return nil
	}
	var err error
	if w.reason, err = c.flags.Reason(); err != nil {
		return err
	}
	if len(w.reason) > maxReason {
		return cli.Misused("--reason: %d bytes: want %d at most", len(w.reason), maxReason)
	}
	return nil
}

// write decides on every target before it writes the first: a list of pools with a mistake in it changes nothing.
func (c *orderCommand) write(ctx context.Context, session *steer.Session, targets []steer.Target, w wish) error {
	reader, err := openCluster(session.Config)
	if err != nil {
		return cli.UsageError{Err: err}
	}
	asks := map[steer.Target]ask{}
	var wrong []error
	for _, t := range targets {
		standings, err := reader.standings(ctx, t, w.id)
		if err == nil {
			asks[t], err = decide(w, t.Words(), standings)
		}
		wrong = append(wrong, err)
	}
	if err := errors.Join(wrong...); err != nil {
		return err
	}
	for _, t := range targets {
		a := asks[t]
		for _, note := range a.notes {
			c.flags.Note("%s", note)
		}
		about := fmt.Sprintf("This is about %s revision %d in every pool: %s.", a.order.ID, a.order.Revision, counted(a.affected))
		if err := c.confirm([]steer.Target{t}, about); err != nil {
			return err
		}
		err := session.Each(ctx, []steer.Target{t}, said(w.verb, a.order), func(_ steer.Target, d *steer.Document) error {
			return d.Put(a.order, ordersPath...)
		})
		wrong = append(wrong, err)
	}
	return errors.Join(wrong...)
}

// said tells what was ordered; what comes of it is the manager's.
func said(v verb, o emsv1.RolloutOrder) string {
	text := fmt.Sprintf("%s revision %d %s", o.ID, o.Revision, v.past)
	switch {
	case o.Action == emsv1.OrderPromote && o.Stage != "":
		text += " past stage " + o.Stage
	case o.Action == emsv1.OrderPromote:
		text += " to every server"
	case o.Action == emsv1.OrderRetry:
		text += fmt.Sprintf(", attempt %d", o.Attempt)
	}
	return text
}

// standings reads where a mitigation stands: three objects for a pool, two lists and one object for the organisation.
func (c *cluster) standings(ctx context.Context, t steer.Target, id emsv1.MitigationID) ([]standing, error) {
	m := newMirror()
	sources := []source{{resource: planResource, namespace: t.Namespace, name: t.Name}, {resource: poolResource, namespace: t.Namespace, name: t.Name}}
	if t == steer.Global {
		sources = []source{{resource: planResource}, {resource: poolResource}}
	}
	if err := m.read(ctx, c, sources); err != nil {
		return nil, err
	}
	configuration := source{resource: configResource, name: emsv1.GlobalConfigurationName}
	// Who may steer a pool need not be allowed to read what is above it.
	if err := m.read(ctx, c, []source{configuration}); err != nil && !apierrors.IsForbidden(err) {
		return nil, err
	}
	in := m.input(time.Time{}, string(id), nil)
	if len(in.pools) == 0 && t != steer.Global {
		return nil, fmt.Errorf("%s: there is none", t.Words())
	}
	var standings []standing
	for _, pool := range in.pools {
		key := types.NamespacedName{Namespace: pool.Namespace, Name: pool.Name}
		s := standing{pool: key.String()}
		if plan := in.plans[key]; plan != nil {
			s.entry = entryOf(plan, id)
		}
		if s.entry != nil {
			s.stages = stagesOf(pool, in.global, s.entry.Rollout.Profile)
		}
		for i := range pool.Spec.Rollout.Orders {
			if order := &pool.Spec.Rollout.Orders[i]; t == steer.Global && strings.EqualFold(string(order.ID), string(id)) {
				s.own = order
			}
		}
		standings = append(standings, s)
	}
	return standings, nil
}

// stagesOf names the stages of a rollout: those of its profile, or without one those that pool or organisation say.
func stagesOf(pool *emsv1.PoolMitigationConfig, global *emsv1.MitigationConfiguration, profile emsv1.RolloutProfile) []string {
	var above []emsv1.MitigationConfiguration
	if global != nil {
		above = append(above, *global)
	}
	settings, _ := fromapi.PoolSettings(pool, above) // what cannot be used of it holds rollouts, and is no matter of their stages
	if profile != "" {
		settings.Profile, settings.Stages = rollout.Profile(profile), nil
	} else if len(settings.Stages) == 0 {
		return nil
	}
	_, _, stages := settings.For("")
	var names []string
	for _, stage := range stages {
		names = append(names, stage.Name)
	}
	return names
}

func entryOf(plan *emsv1.MitigationPlan, id emsv1.MitigationID) *emsv1.PlannedMitigation {
	for i := range plan.Spec.Mitigations {
		if entry := &plan.Spec.Mitigations[i]; strings.EqualFold(string(entry.ID), string(id)) {
			return entry
		}
	}
	return nil
}

// takeBack removes a pause, and nothing else: other orders have done their work, or shall do it.
func takeBack(t steer.Target, d *steer.Document, id emsv1.MitigationID) error {
	spec, err := live(t, d)
	if err != nil {
		return err
	}
	for _, order := range spec.Orders {
		if !strings.EqualFold(string(order.ID), string(id)) {
			continue
		}
		if order.Action != emsv1.OrderPause {
			return fmt.Errorf("%s: the order for %s is %s, and no pause", t.Words(), id, order.Action)
		}
		return d.Drop(string(id), ordersPath...)
	}
	return fmt.Errorf("%s: no order pauses %s; rollout status says who holds it", t.Words(), id)
}

// resumeAll takes spec.rollout.progress back.
func (c *orderCommand) resumeAll(t steer.Target, d *steer.Document) error {
	spec, err := live(t, d)
	if err != nil {
		return err
	}
	if until := spec.PausedUntilTime; until != nil && until.After(c.world.Now()) {
		c.flags.Note("%s: spec.rollout.pausedUntilTime holds rollouts until %s all the same", t.Words(), until.UTC().Format(time.RFC3339))
	}
	if spec.Progress != emsv1.ProgressPaused {
		return nil
	}
	if len(d.Others(progressPath...)) > 0 {
		d.Set(string(emsv1.ProgressRunning), progressPath...)
	} else {
		d.Unset(progressPath...)
	}
	d.Unannotate(pausedBecause)
	return nil
}

// live is the rollout part of the object as it stands.
func live(t steer.Target, d *steer.Document) (emsv1.RolloutSpec, error) {
	if t.Namespace == "" {
		var configuration emsv1.MitigationConfiguration
		err := d.Live(&configuration)
		return configuration.Spec.Rollout, err
	}
	var pool emsv1.PoolMitigationConfig
	err := d.Live(&pool)
	return pool.Spec.Rollout, err
}

// confirm asks before something that affects every pool.
func (c *orderCommand) confirm(targets []steer.Target, about string) error {
	everywhere := len(targets) == 1 && targets[0] == steer.Global
	if !everywhere || c.yes || !c.asks || c.flags.Options().DryRun != steer.DryRunNone {
		return nil
	}
	fmt.Fprintf(c.world.Stderr, "%s\nGo on? [y/N] ", about)
	answer, err := bufio.NewReader(c.world.Stdin).ReadString('\n')
	if answer = strings.ToLower(strings.TrimSpace(answer)); err != nil && answer == "" || answer != "y" && answer != "yes" {
		return errors.New("nothing was changed")
	}
	return nil
}
