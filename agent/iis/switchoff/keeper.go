package switchoff

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"mitigation.dev/ems/agent/iis/control"
	"mitigation.dev/ems/agent/iis/refusal"
)

const (
	// patience is how long a target may take to come to rest. IIS gives worker processes shutdownTimeLimit, 90 seconds by
	// default, and then ends them; Windows gives a service 20 seconds at most to answer and lets it take its time after
	// that. The rest is for a server under load.
	patience = 120 * time.Second
	// acknowledgement is how long a service may go on saying that it runs after it has taken the order to stop. The order returns
	// when the service's handler has it, which may leave the change of state to another thread; Windows gives it 30 seconds
	// (SetServiceStatus in the documentation of services).
	acknowledgement = 30 * time.Second
	// acknowledging is the time between two looks in the meantime, which is a moment as a rule.
	acknowledging = 100 * time.Millisecond
	// interval is the time between two looks at a target that is on its way. Windows tells of changes of services, but not
	// under every version and not of pools.
	interval = time.Second
)

// Record is how a target was before it was switched off.
type Record struct {
	Name string `json:"name"`
	// Prior is its state.
	Prior string `json:"prior"`
	// StartType of a service.
	StartType control.StartType `json:"startType,omitempty"`
}

// Running makes the record of a target whose own record was lost: nearly all pools and services run, and one too many that
// runs is seen sooner than one too few.
func Running(kind Kind, name string) Record {
	if kind == Pool {
		return Record{Name: name, Prior: string(control.PoolStarted)}
	}
	return Record{Name: name, Prior: string(control.ServiceRunning), StartType: control.StartAutomatic}
}

// wasOn reports whether the target has to be started to be as it was.
func (r Record) wasOn() bool {
	switch r.Prior {
	case string(control.PoolStarted), string(control.ServiceRunning), string(control.ServicePaused):
		return true
	}
	return false
}

// Records keep records on the disk. Put and Delete return when the disk has it.
type Records interface {
	Record(key Key) (Record, bool)
	Put(kind Kind, rec Record) error
	Delete(key Key) error
}

// Options of a Keeper. Pools and Services are required.
type Options struct {
	Pools    control.PoolController
	Services control.ServiceController
	Clock    clock.Clock
	Log      logr.Logger
}

// Keeper switches targets off and on. One call runs at a time.
type Keeper struct {
	pools    control.PoolController
	services control.ServiceController
	clock    clock.Clock
	log      logr.Logger

	mu     sync.Mutex
	fights map[Key]*fight
	// settings are fights over the settings of pools in the configuration file.
	settings map[Key]*fight
}

// New makes a keeper.
func New(o Options) *Keeper {
	return &Keeper{pools: o.Pools, services: o.Services, clock: o.Clock, log: o.Log, fights: map[Key]*fight{}, settings: map[Key]*fight{}}
}

// Forget ends all fights: what was found on again is switched off at the next call, however often that has happened.
func (k *Keeper) Forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fights, k.settings = map[Key]*fight{}, map[Key]*fight{}
}

// Off makes sure that a target is off, having recorded how it was before. changed says that it was on. The error is that of
// the context, or a *refusal.Error; one with the reason StateContested may come although the target is off.
func (k *Keeper) Off(ctx context.Context, r Records, t Target) (changed bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.subject(t)
	f, seen := k.fights[t.Key()]
	if !seen {
		f = &fight{}
		k.fights[t.Key()] = f
	}
	now, err := k.settled(ctx, s, f)
	if missing(err) && t.Optional {
		return false, nil
	}
	if err != nil {
		return false, k.refuse(ctx, t, err, s)
	}
	_, known := r.Record(t.Key())
	at := k.clock.Now()
	if !now.off && (f.off || known && !seen) {
		f.again(at)
		k.log.Info("Another program undid what a mitigation needs", "target", t.String(), "state", now.words, "times", f.count)
	}
	if !now.off && f.waiting(at) {
		return false, f.contested(t.String(), "switched it on again")
	}
	if !known {
		if err := r.Put(t.Kind, now.record); err != nil {
			return false, refusal.Wrap(refusal.JournalFailed, err, "%s: was not touched", t)
		}
	}
	if !now.off {
		f.touched(at)
		if err := k.switchOff(ctx, s, f, now); err != nil {
			return false, k.refuse(ctx, t, err, s)
		}
		changed = true
	}
	f.off = true
	if f.forget(k.clock.Now()) {
		k.log.Info("Nobody switches it on any more", "target", t.String())
	}
	return changed, f.contested(t.String(), "switched it on again")
}

// errAgain means that a target came back at once.
var errAgain = errors.New("right after it was switched off: another program switches it on")

func (k *Keeper) switchOff(ctx context.Context, s subject, f *fight, now sight) error {
	if err := s.switchOff(ctx, now); err != nil {
		return err
	}
	now, err := k.obeyed(ctx, s, f, now.process)
	if err != nil {
		return err
	}
	if !now.off {
		f.again(k.clock.Now())
		f.touched(k.clock.Now())
		return fmt.Errorf("is %s %w", now.words, errAgain)
	}
	return nil
}

// obeyed gives the state of a target that was switched off, after waiting while the service says that it runs in the process that
// has to end. Another process means that somebody started the service again.
func (k *Keeper) obeyed(ctx context.Context, s subject, f *fight, process uint32) (sight, error) {
	begin := k.clock.Now()
	for {
		now, err := k.settled(ctx, s, f)
		if err != nil || !now.on || process == 0 || now.process != process {
			return now, err
		}
		at := k.clock.Now()
		switch waited := at.Sub(begin); {
		case at.Before(f.patient):
			return now, fmt.Errorf("goes on running although it was told to stop, and is not waited for until %s", f.patient.UTC().Format(time.RFC3339))
		case waited >= acknowledgement:
			f.patient = at.Add(maxBackOff)
			return now, fmt.Errorf("goes on running, %s after it was told to stop", acknowledgement)
		}
		select {
		case <-ctx.Done():
			return now, ctx.Err()
		case <-k.clock.After(acknowledging):
		}
	}
}

// refuse gives an error its reason.
func (k *Keeper) refuse(ctx context.Context, t Target, err error, s subject) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	stop, _ := s.reasons()
	switch {
	case errors.Is(err, errAgain):
		if contested := k.fights[t.Key()].contested(t.String(), "switched it on again"); contested != nil {
			return contested
		}
	case errors.Is(err, control.ErrPoolNotFound):
		return refusal.Wrap(refusal.PoolNotFound, err, "%s", t)
	case errors.Is(err, control.ErrServiceNotFound):
		return refusal.Wrap(refusal.ServiceNotFound, err, "%s", t)
	case errors.Is(err, control.ErrDependentsRunning):
		return refusal.Wrap(stop, err, "%s: a mitigation has to name those services first, or they have to be stopped by hand", t)
	}
	return refusal.Wrap(stop, err, "%s", t)
}

func missing(err error) bool {
	return errors.Is(err, control.ErrPoolNotFound) || errors.Is(err, control.ErrServiceNotFound)
}

// settled gives the state of a target, after waiting while it is on its way.
func (k *Keeper) settled(ctx context.Context, s subject, f *fight) (sight, error) {
	begin := k.clock.Now()
	for {
		now, err := s.look(ctx)
		if err != nil || !now.passing {
			return now, err
		}
		at := k.clock.Now()
		switch waited := at.Sub(begin); {
		case at.Before(f.patient):
			return now, fmt.Errorf("still %s, and is not waited for until %s", now.words, f.patient.UTC().Format(time.RFC3339))
		case waited >= patience:
			f.patient = at.Add(maxBackOff)
			return now, fmt.Errorf("still %s after %s", now.words, patience)
		}
		select {
		case <-ctx.Done():
			return now, ctx.Err()
		case <-k.clock.After(interval):
		}
	}
}

// Restore brings targets back as their records say, and forgets those that are. The result has an error for every target
// that is not as it was; its record stays, so that the next Restore tries again. All services can be started again before
// the first of them is started, since one may need another. Pools come first, so that whoever watches them finds them running.
func (k *Keeper) Restore(ctx context.Context, r Records, targets []Target) map[Key]error {
	k.mu.Lock()
	defer k.mu.Unlock()
	targets = slices.Clone(targets)
	sort.SliceStable(targets, func(i, j int) bool { return targets[i].Kind == Pool && targets[j].Kind != Pool })
	failed := map[Key]error{}
	seal := func(ctx context.Context, t Target, rec Record) error { return k.subject(t).seal(ctx, rec) }
	for _, step := range []func(context.Context, Target, Record) error{k.allow, k.start, seal} {
		for _, t := range targets {
			rec, ok := r.Record(t.Key())
			if !ok || failed[t.Key()] != nil {
				continue
			}
			if err := step(ctx, t, rec); err != nil && !missing(err) {
				_, reason := k.subject(t).reasons()
				failed[t.Key()] = refusal.Wrap(reason, err, "%s: start it by hand", t)
			}
		}
	}
	for _, t := range targets {
		if _, ok := r.Record(t.Key()); !ok || failed[t.Key()] != nil {
			continue
		}
		if err := r.Delete(t.Key()); err != nil {
			failed[t.Key()] = refusal.Wrap(refusal.JournalFailed, err, "%s: is as it was before, and its record could not be removed", t)
			continue
		}
		if f := k.fights[t.Key()]; f != nil {
			f.off = false
		}
		delete(k.settings, t.Key())
	}
	return failed
}

func (k *Keeper) allow(ctx context.Context, t Target, rec Record) error {
	s := k.subject(t)
	now, err := s.look(ctx)
	if err != nil {
		return err
	}
	return s.allow(ctx, rec, now)
}

func (k *Keeper) start(ctx context.Context, t Target, rec Record) error {
	if !rec.wasOn() {
		return nil
	}
	s := k.subject(t)
	f := k.fights[t.Key()]
	if f == nil {
		f = &fight{}
	}
	now, err := k.settled(ctx, s, f)
	if err != nil || now.on {
		return err
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	if now, err = k.settled(ctx, s, f); err == nil && !now.on {
		err = fmt.Errorf("is %s right after it was started", now.words)
	}
	return err
}

// Settings notes whether the settings that keep a pool off stand in the configuration file, while nothing but their repair
// is to be written. wait says that another program keeps changing them and that the repair has to wait.
func (k *Keeper) Settings(pool string, right bool) (wait bool, contested error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := Target{Kind: Pool, Name: pool}
	f := k.settings[t.Key()]
	if f == nil {
		f = &fight{}
		k.settings[t.Key()] = f
	}
	now := k.clock.Now()
	if !right && f.off {
		f.again(now)
	}
	wait = !right && f.waiting(now)
	if !wait {
		if !right {
			f.touched(now)
		}
		f.off = true // or is as soon as the caller has written them
		f.forget(now)
	}
	return wait, f.contested(t.String(), "changed its autoStart or startMode")
}
