package iis

import (
	"context"
	"slices"

	"mitigation.dev/ems/agent/iis/switchoff"
)

// targets gives what the actions of a mitigation switch off, in their order.
func (m Mitigation) targets() []switchoff.Target {
	var out []switchoff.Target
	for _, a := range m.Actions {
		switch a.Type {
		case ActionAppPool:
			out = append(out, switchoff.Target{Kind: switchoff.Pool, Name: a.Pool})
		case ActionService:
			out = append(out, switchoff.Target{Kind: switchoff.Service, Name: a.Service})
		}
	}
	return out
}

// targets gives what a mitigation switched off, by the record of the file.
func (o owned) targets() []switchoff.Target {
	var out []switchoff.Target
	for _, name := range o.Content.DisabledPools {
		out = append(out, switchoff.Target{Kind: switchoff.Pool, Name: name})
	}
	for _, name := range o.Services {
		out = append(out, switchoff.Target{Kind: switchoff.Service, Name: name})
	}
	return out
}

// once puts the prerequisites in front of targets and leaves out what comes twice. What a mitigation names itself is no
// mere prerequisite: the server has to have it.
func once(targets []switchoff.Target) []switchoff.Target {
	named := map[switchoff.Key]bool{}
	for _, t := range targets {
		named[t.Key()] = true
	}
	seen := map[switchoff.Key]bool{}
	var out []switchoff.Target
	for _, t := range append(switchoff.Prerequisites(targets), targets...) {
		t.Optional = t.Optional && !named[t.Key()]
		if !seen[t.Key()] {
			seen[t.Key()] = true
			out = append(out, t)
		}
	}
	return out
}

// targets lists what shall be off, in the order of switching off.
func (p *plan) targets() []switchoff.Target {
	var all []switchoff.Target
	for _, c := range p.chosen {
		all = append(all, c.targets...)
	}
	return once(all)
}

// users gives the chosen mitigations that want a target off, themselves or as a prerequisite.
func (p *plan) users(t switchoff.Target) []chosen {
	var out []chosen
	for _, c := range p.chosen {
		if wants(c.targets, t) {
			out = append(out, c)
		}
	}
	return out
}

func wants(targets []switchoff.Target, t switchoff.Target) bool {
	for _, own := range targets {
		if own.Key() == t.Key() || own.Requires(t) {
			return true
		}
	}
	return false
}

// currentTargets lists what the mitigations of the journal want off, as it was before a change under way.
func (l *ledger) currentTargets() []switchoff.Target {
	var all []switchoff.Target
	for _, k := range sortedKeys(l.mitigations) {
		if m := l.mitigations[k].Current; m != nil {
			all = append(all, m.targets()...)
		}
	}
	for _, name := range sortedKeys(l.files) {
		rec := l.files[name]
		state := rec.fileState
		if rec.Writing && rec.Old != nil {
			state = *rec.Old
		}
		for _, o := range state.Owned {
			all = append(all, o.targets()...)
		}
	}
	return once(all)
}

// targetUsers gives the ids of mitigations of the journal that want a target off.
func (l *ledger) targetUsers(t switchoff.Target) []string {
	var ids []string
	for _, k := range sortedKeys(l.mitigations) {
		rec := l.mitigations[k]
		for _, m := range []*Mitigation{rec.Current, rec.Next} {
			if m != nil && wants(m.targets(), t) {
				ids = append(ids, m.ID)
			}
		}
	}
	return ids
}

// switchOff switches off what the plan wants off. The result holds mitigations that cannot be installed for it.
func (r *run) switchOff(ctx context.Context) (impossible map[string]error, err error) {
	impossible = map[string]error{}
	for _, t := range r.plan.targets() {
		users := slices.DeleteFunc(r.plan.users(t), func(c chosen) bool { return impossible[key(c.mitigation.ID)] != nil })
		if len(users) == 0 {
			continue
		}
		changed, err := r.keeper.Off(ctx, r.led.off, t)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		for _, user := range users {
			k := key(user.mitigation.ID)
			r.changed[k] = r.changed[k] || changed
			switch {
			case err == nil:
			case user.fresh:
				impossible[k] = err
				r.changed[k] = false // what was switched off for it comes back
			default:
				r.late[k] = err
			}
		}
	}
	return impossible, nil
}

// restoreUnused brings back everything of the journal that is not in the list. What does not come back fails the
// mitigations that had it off; its record stays, so the next run tries again.
func (r *run) restoreUnused(ctx context.Context, used []switchoff.Target) {
	keep := map[switchoff.Key]bool{}
	for _, t := range used {
		keep[t.Key()] = true
	}
	var unused []switchoff.Target
	for _, t := range r.led.off.all() {
		if !keep[t.Key()] {
			unused = append(unused, t)
		}
	}
	users := map[switchoff.Key][]string{}
	for _, t := range unused {
		users[t.Key()] = r.led.targetUsers(t)
	}
	failed := r.keeper.Restore(ctx, r.led.off, unused)
	for _, t := range unused {
		err := failed[t.Key()]
		if err != nil {
			r.log.Error(err, "Could not bring back what was switched off", "target", t.String())
		}
		for _, id := range users[t.Key()] {
			if err != nil {
				r.late[key(id)] = err
			} else {
				r.changed[key(id)] = true
			}
		}
	}
}

// hold keeps off what is off, while the configuration file cannot be used.
func (r *run) hold(ctx context.Context) {
	for _, t := range r.led.currentTargets() {
		if _, known := r.led.off.Record(t.Key()); !known {
			continue
		}
		if _, err := r.keeper.Off(ctx, r.led.off, t); err != nil {
			r.log.Info("Cannot be kept off", "target", t.String(), "problem", err.Error())
		}
	}
}

// repairWaits reports whether nothing is to be written but settings of pools that another program keeps changing, and it
// is too early to do that again. Fights over settings are reported with the mitigations.
func (r *run) repairWaits(set *fileSet, write bool) bool {
	only := write && len(r.removals()) == 0
	wrong := map[switchoff.Key]bool{}
	for _, ch := range r.plan.chosen {
		only = only && !ch.altered
		for _, name := range sortedKeys(ch.parts) {
			if name != hostFile {
				only = only && !set.missing(name, ch.parts[name])
				continue
			}
			for _, f := range set.host.config.Missing(ch.parts[name]) {
				if f.Name != "" {
					only = false
					continue
				}
				wrong[switchoff.Target{Kind: switchoff.Pool, Name: f.Place}.Key()] = true
			}
		}
	}
	only = only && len(wrong) > 0
	waits := only
	for _, t := range r.plan.targets() {
		if t.Kind != switchoff.Pool {
			continue
		}
		// What is written for another reason as well is repaired along with it.
		right := !wrong[t.Key()] || !only
		waits = (r.contest(t, right) || right) && waits
	}
	return waits
}

// contest notes whether the settings of a pool are as wanted. wait means that it is too early to write them again.
func (r *run) contest(t switchoff.Target, right bool) (wait bool) {
	wait, contested := r.keeper.Settings(t.Name, right)
	if contested == nil {
		return wait
	}
	for _, user := range r.plan.users(t) {
		if k := key(user.mitigation.ID); r.late[k] == nil {
			r.late[k] = contested
		}
	}
	return wait
}

// acts reports whether a mitigation changes anything on a server.
func (m Mitigation) acts() bool {
	for _, a := range m.Actions {
		if a.Type != ActionDoNothing {
			return true
		}
	}
	return false
}
