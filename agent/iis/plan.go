package iis

import (
	"fmt"
	"sort"

	"mitigation.dev/ems/agent/iis/apphost"
	"mitigation.dev/ems/agent/iis/refusal"
)

// chosen is one mitigation that shall be on the server after this Reconcile.
type chosen struct {
	mitigation Mitigation
	content    apphost.Wanted
	// fresh means that it is not what the journal has as current, so that failing to install it falls back to that.
	fresh bool
	// altered means that what it puts on the server is not what the journal has as current. A mitigation that only comes
	// with a newer document is fresh, to be recorded, but not altered.
	altered bool
	// orphan means that only the file record knows it; its own record is damaged, and it is kept as it is.
	orphan bool
}

// plan is the decision of a Reconcile: what shall be on the server, and why not the rest.
type plan struct {
	chosen   []chosen
	failures map[string]error // by key of the id
}

func (p *plan) content() apphost.Wanted {
	var w apphost.Wanted
	for _, c := range p.chosen {
		w = w.Append(c.content)
	}
	return w
}

func (p *plan) owned() []owned {
	out := make([]owned, 0, len(p.chosen))
	for _, c := range p.chosen {
		if !c.content.Empty() {
			out = append(out, owned{ID: c.mitigation.ID, Revision: c.mitigation.Revision, Content: c.content})
		}
	}
	return out
}

// pools lists the pools that shall be off, in order, under one spelling each.
func (p *plan) pools() []string {
	byKey := map[string]string{}
	for _, c := range p.chosen {
		for _, name := range c.content.DisabledPools {
			if _, ok := byKey[key(name)]; !ok {
				byKey[key(name)] = name
			}
		}
	}
	names := make([]string, 0, len(byKey))
	for _, k := range sortedKeys(byKey) {
		names = append(names, byKey[k])
	}
	return names
}

// users gives the chosen mitigations that want a pool off.
func (p *plan) users(pool string) []chosen {
	var out []chosen
	for _, c := range p.chosen {
		for _, name := range c.content.DisabledPools {
			if key(name) == key(pool) {
				out = append(out, c)
				break
			}
		}
	}
	return out
}

// decide chooses what shall be on the server. It is a pure function: base is the configuration without us, blocked holds
// mitigations whose fresh revision was found impossible at run time. Each mitigation is checked together with those
// chosen before it, in the order of the ids; one that is refused falls back to the revision that is there.
func decide(led *ledger, base *apphost.Config, wanted []Mitigation, blocked map[string]error) *plan {
	p := &plan{failures: map[string]error{}}
	sum := apphost.Wanted{}
	try := func(m Mitigation, fresh, altered bool) error {
		content, err := m.content()
		if err != nil {
			return err
		}
		if err := base.Check(sum.Append(content)); err != nil {
			return err
		}
		sum = sum.Append(content)
		p.chosen = append(p.chosen, chosen{mitigation: m, content: content, fresh: fresh, altered: altered})
		return nil
	}
	wantedKeys := map[string]bool{}
	for _, m := range wanted {
		k := key(m.ID)
		wantedKeys[k] = true
		current := led.mitigations[k].current()
		fresh := current == nil || !same(*current, m)
		err := blocked[k]
		if err == nil || !fresh {
			err = try(m, fresh, alters(current, m))
		}
		if err == nil {
			continue
		}
		if fresh && current != nil {
			if keepErr := try(*current, false, false); keepErr == nil {
				err = refusal.Wrap(refusal.Of(err, ConfigurationWriteFailed), err, "revision %d cannot be installed and revision %d stays", m.Revision, current.Revision)
			}
		}
		p.failures[k] = err
	}
	for _, o := range led.file.Owned {
		k := key(o.ID)
		if _, known := led.mitigations[k]; known || wantedKeys[k] || !led.damaged[k] {
			continue
		}
		if err := base.Check(sum.Append(o.Content)); err != nil {
			continue // its place is gone
		}
		sum = sum.Append(o.Content)
		p.chosen = append(p.chosen, chosen{mitigation: Mitigation{ID: o.ID, Revision: o.Revision}, content: o.Content, orphan: true})
		p.failures[k] = refusal.New(JournalCorrupt,
			"record of mitigation %q: damaged and set aside: what it installed stays until the mitigation is wanted once more, or the .corrupt file is deleted", o.ID)
	}
	sort.SliceStable(p.chosen, func(i, j int) bool { return key(p.chosen[i].mitigation.ID) < key(p.chosen[j].mitigation.ID) })
	return p
}

// alters reports whether a mitigation puts something else on the server than the current one, which may be nil.
func alters(current *Mitigation, m Mitigation) bool {
	return current == nil || current.Revision != m.Revision || !same(current.Actions, m.Actions)
}

// failedFor gives the outcome of a mitigation that failed.
func failedFor(m Mitigation, err error) Outcome {
	return Outcome{ID: m.ID, Revision: m.Revision, State: Failed, Reason: refusal.Of(err, ConfigurationWriteFailed), Message: fmt.Sprint(err)}
}
