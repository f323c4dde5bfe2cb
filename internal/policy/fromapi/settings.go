package fromapi

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/rollout"
	"mitigation.dev/ems/internal/schedule"
)

// Global finds the configuration of that name; nil if there is none.
func Global(configurations []emsv1.MitigationConfiguration) *emsv1.MitigationConfiguration {
	at := slices.IndexFunc(configurations, func(c emsv1.MitigationConfiguration) bool { return c.Name == emsv1.GlobalConfigurationName })
	if at < 0 {
		return nil
	}
	return &configurations[at]
}

// Settings converts the rollout of one level. The error names every field that cannot be used, and from it on; what can be used is
// returned all the same, so that a pause or an abort counts in spite of a misspelt time zone.
func Settings(spec *emsv1.RolloutSpec) (rollout.Settings, error) {
	settings := rollout.Settings{
		Profile:          rollout.Profile(spec.Profile),
		ProgressDeadline: seconds(spec.ProgressDeadlineSeconds),
		OnFailure:        rollout.FailureAction(spec.OnFailure),
		Paused:           spec.Progress == emsv1.ProgressPaused,
		PausedUntil:      moment(spec.PausedUntilTime),
	}
	if spec.MaxFailures != nil {
		settings.MaxFailures = new(int(*spec.MaxFailures))
	}
	var errs []error
	for i := range spec.Stages {
		stage, err := stage(&spec.Stages[i])
		if err != nil {
			errs = append(errs, fmt.Errorf("spec.rollout.stages[%d] (%s): %w", i, spec.Stages[i].Name, err))
		}
		settings.Stages = append(settings.Stages, stage)
	}
	if windows := Windows(spec.Windows); len(windows) > 0 {
		if err := windows.Validate(); err != nil {
			errs = append(errs, prefixed("spec.rollout.", err)...)
		}
		settings.Windows = []schedule.Set{windows}
	}
	for _, o := range spec.Orders {
		settings.Orders = append(settings.Orders, rollout.Order{
			ID: string(o.ID), Revision: o.Revision, Action: rollout.OrderAction(o.Action), Stage: o.Stage, Attempt: int(o.Attempt),
			Reason: o.Reason, Owner: o.Owner,
		})
	}
	return settings, errors.Join(errs...)
}

// prefixed puts a prefix before each of the errors that were joined.
func prefixed(prefix string, err error) []error {
	joined, ok := err.(interface{ Unwrap() []error }) // What was joined, not what is wrapped.
	if !ok {
		return []error{fmt.Errorf("%s%w", prefix, err)}
	}
	var out []error
	for _, one := range joined.Unwrap() {
		out = append(out, fmt.Errorf("%s%w", prefix, one))
	}
	return out
}

// PoolSettings are what counts for a pool: its own rollout and the organisation's, which is that of the configuration named global among
// those in scope. What cannot be used pauses every rollout of the pool, since nobody knows what was meant: nothing new begins, and
// removals go on. The error says which object and field.
func PoolSettings(pool *emsv1.PoolMitigationConfig, configurations []emsv1.MitigationConfiguration) (rollout.Settings, error) {
	own, err := Settings(&pool.Spec.Rollout)
	if err != nil {
		err = fmt.Errorf("PoolMitigationConfig %q: %w", pool.Name, flat(err))
	}
	var global rollout.Settings
	var globalErr error
	if c := Global(configurations); c != nil {
		if global, globalErr = Settings(&c.Spec.Rollout); globalErr != nil {
			globalErr = fmt.Errorf("MitigationConfiguration %q: %w", c.Name, flat(globalErr))
		}
	}
	merged := rollout.Merge(own, global)
	if err = flat(errors.Join(err, globalErr)); err != nil {
		merged.Paused = true
	}
	return merged, err
}

// Rollouts says what a configuration has about rollouts that cannot be used; nil if it is all right.
func Rollouts(c *emsv1.MitigationConfiguration) error {
	if c.Name != emsv1.GlobalConfigurationName {
		return nil
	}
	_, err := Settings(&c.Spec.Rollout)
	_, ringsErr := Rings([]emsv1.MitigationConfiguration{*c})
	return flat(errors.Join(err, ringsErr))
}

// flat puts joined errors in one line.
func flat(err error) error {
	if err == nil {
		return nil
	}
	return &oneLineError{err}
}

type oneLineError struct{ error }

func (e *oneLineError) Error() string { return strings.ReplaceAll(e.error.Error(), "\n", "; ") }

func (e *oneLineError) Unwrap() error { return e.error }

// Windows converts the windows of one level.
func Windows(list []emsv1.RolloutWindow) schedule.Set {
	set := make(schedule.Set, 0, len(list))
	for _, w := range list {
		set = append(set, schedule.Window{
			Policy: schedule.Policy(w.Policy), Cron: w.Cron, TimeZone: w.TimeZone, Duration: seconds(w.DurationSeconds),
		})
	}
	return set
}

func stage(s *emsv1.RolloutStage) (rollout.Stage, error) {
	out := rollout.Stage{
		Name: s.Name, ServerNames: s.ServerNames, Bake: seconds(ptr.Deref(s.BakeSeconds, 0)),
		MinRequests: int(ptr.Deref(s.MinRequests, 0)), Approval: rollout.ApprovalPoint(s.Approval),
	}
	amount, err := amountOf(s.Servers)
	if err != nil {
		return out, fmt.Errorf("servers: %w", err)
	}
	out.Servers = amount
	if s.ServerSelector == nil {
		return out, nil
	}
	if out.Selects, err = selects(s.ServerSelector); err != nil {
		return out, fmt.Errorf("serverSelector: %w", err)
	}
	return out, nil
}

func amountOf(servers *intstr.IntOrString) (rollout.Amount, error) {
	if servers == nil {
		return rollout.Amount{}, nil
	}
	if servers.Type == intstr.Int {
		return rollout.Count(int(servers.IntVal)), nil
	}
	percent, err := strconv.Atoi(strings.TrimSuffix(servers.StrVal, "%"))
	if err != nil || !strings.HasSuffix(servers.StrVal, "%") || percent < 0 || percent > 100 {
		return rollout.Amount{}, fmt.Errorf("%q: neither a count nor a percentage", servers.StrVal)
	}
	return rollout.Percent(percent), nil
}

// selects turns a selector into a function, so that the planner needs to know nothing of selectors.
func selects(selector *metav1.LabelSelector) (func(map[string]string) bool, error) {
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return nil, err
	}
	return func(set map[string]string) bool { return s.Matches(labels.Set(set)) }, nil
}

// Rings converts the rings of the configuration named global among those given. A selector that cannot be used chooses nothing, and
// the error says so: rollouts must not go on then, since nobody knows which pools come first.
func Rings(configurations []emsv1.MitigationConfiguration) ([]rollout.Ring, error) {
	c := Global(configurations)
	if c == nil {
		return nil, nil
	}
	var rings []rollout.Ring
	var errs []error
	for i, r := range c.Spec.Rings {
		ring := rollout.Ring{
			Name: r.Name, Bake: seconds(ptr.Deref(r.BakeSeconds, 0)), Approval: rollout.ApprovalPoint(r.Approval),
			Selects: func(map[string]string) bool { return false },
		}
		if chosen, err := selects(r.PoolSelector); err != nil {
			errs = append(errs, fmt.Errorf("MitigationConfiguration %q: spec.rings[%d] (%s).poolSelector: %w", c.Name, i, r.Name, err))
		} else {
			ring.Selects = chosen
		}
		rings = append(rings, ring)
	}
	return rings, flat(errors.Join(errs...))
}

// seconds is a duration that the API gives in seconds.
func seconds(n int32) time.Duration { return time.Duration(n) * time.Second }
