package iis

import (
	"fmt"
	"sort"

	"mitigation.dev/ems/agent/iis/apphost"
	"mitigation.dev/ems/agent/iis/refusal"
	"mitigation.dev/ems/agent/iis/switchoff"
)

// chosen is one mitigation that shall be on the server after this Reconcile.
type chosen struct {
	mitigation Mitigation
	content    apphost.Wanted            // by sites and paths
	parts      map[string]apphost.Wanted // what goes into which file, by its name
	targets    []switchoff.Target        // what it switches off, without prerequisites
	// fresh means that it is not what the journal has as current, so that failing to install it falls back to that.
	fresh bool
	// altered means that what it puts on the server is not what the journal has as current. A mitigation that only comes
	// with a newer document is fresh, to be recorded, but not altered.
	altered bool
	// orphan means that only the file record knows it; its own record is damaged, and it is kept as it is.
	orphan bool
	// stuck means that a file of it cannot be used, so that it is kept as it is.
	stuck bool
}

// plan is the decision of a Reconcile: what shall be on the server, and why not the rest.
type plan struct {
	chosen   []chosen
	failures map[string]error // by key of the id
}

// content is everything that a file shall hold.
func (p *plan) content(file string) apphost.Wanted {
	var w apphost.Wanted
	for _, c := range p.chosen {
		w = w.Append(c.parts[file])
	}
	return w
}

// owned says for the record of a file whose everything in it is. Services are remembered with applicationHost.config.
func (p *plan) owned(file string) []owned {
	out := make([]owned, 0, len(p.chosen))
	for _, c := range p.chosen {
		o := owned{ID: c.mitigation.ID, Revision: c.mitigation.Revision, Content: c.parts[file]}
		for _, t := range c.targets {
			if t.Kind == switchoff.Service && file == hostFile {
				o.Services = append(o.Services, t.Name)
			}
		}
		if !o.Content.Empty() || len(o.Services) > 0 {
			out = append(out, o)
		}
	}
	return out
}

// sums is what was chosen so far.
type sums struct {
	logical apphost.Wanted
	files   map[string]apphost.Wanted
}

func (s *sums) add(logical apphost.Wanted, parts map[string]apphost.Wanted) {
	s.logical = s.logical.Append(logical)
	for name, part := range parts {
		s.files[name] = s.files[name].Append(part)
	}
}

// decide chooses what shall be on the server. It changes nothing: set holds the configuration without us, blocked the
// mitigations whose fresh revision was found impossible at run time. Each mitigation is checked together with those
// chosen before it, in the order of the ids; one that is refused falls back to the revision that is there. What has a part
// in a file that cannot be used stays as it is, in all of its files.
func decide(led *ledger, set *fileSet, wanted []Mitigation, blocked map[string]error) *plan {
	p := &plan{failures: map[string]error{}}
	sum := &sums{files: map[string]apphost.Wanted{}}
	try := func(m Mitigation, fresh, altered, gated bool) error {
		content, parts, err := set.place(m)
		if err != nil {
			return err
		}
		if err := set.check(content, parts, sum); err != nil {
			return err
		}
		if gated {
			if err := set.gate(m, content, parts, sum); err != nil {
				return err
			}
		}
		sum.add(content, parts)
		p.chosen = append(p.chosen, chosen{mitigation: m, content: content, parts: parts, targets: m.targets(), fresh: fresh, altered: altered})
		return nil
	}
	stuck := p.keepStuck(led, set, sum)
	wantedKeys := map[string]bool{}
	for _, m := range wanted {
		k := key(m.ID)
		wantedKeys[k] = true
		if err := stuck[k]; err != nil {
			p.failures[k] = err
			continue
		}
		current := led.mitigations[k].current()
		fresh := current == nil || !same(*current, m)
		err, instead := blocked[k], current
		if before, loop := led.crashLoop(m); loop != nil {
			instead = before
			if err != nil {
				instead = nil // not even that can be installed
			}
			err, fresh = loop, true
		}
		if err == nil || !fresh {
			// What is in place stays there even if its samples do not come out well any more: Effective tells.
			altered := alters(current, m)
			err = try(m, fresh, altered, altered)
		}
		if err == nil {
			continue
		}
		if fresh && instead != nil {
			if keepErr := try(*instead, current == nil || !same(*current, *instead), alters(current, *instead), false); keepErr == nil {
				err = refusal.Wrap(refusal.Of(err, ConfigurationWriteFailed), err, "revision %d cannot be installed and revision %d stays", m.Revision, instead.Revision)
			}
		}
		p.failures[k] = err
	}
	for k, err := range stuck {
		if !wantedKeys[k] {
			p.failures[k] = refusal.Wrap(refusal.Of(err, ConfigurationWriteFailed), err, "cannot be removed")
		}
	}
	p.keepOrphans(led, set, sum, wantedKeys)
	sort.SliceStable(p.chosen, func(i, j int) bool { return key(p.chosen[i].mitigation.ID) < key(p.chosen[j].mitigation.ID) })
	return p
}

// keepStuck chooses, as it is, every mitigation with a part in a file that cannot be used. The result says why, by key.
func (p *plan) keepStuck(led *ledger, set *fileSet, sum *sums) map[string]error {
	stuck := map[string]error{}
	for _, name := range sortedKeys(led.files) {
		if err := set.byName[name].err; err != nil {
			for _, o := range led.files[name].Owned {
				if k := key(o.ID); stuck[k] == nil {
					stuck[k] = err
				}
			}
		}
	}
	for _, k := range sortedKeys(stuck) {
		rec := led.mitigations[k]
		if rec.Current == nil {
			continue
		}
		ch := chosen{mitigation: *rec.Current, parts: map[string]apphost.Wanted{}, targets: rec.Current.targets(), stuck: true}
		for _, name := range sortedKeys(led.files) {
			if o, ok := led.part(name, k); ok {
				ch.parts[name] = o.Content
			}
		}
		sum.add(apphost.Wanted{}, ch.parts)
		p.chosen = append(p.chosen, ch)
	}
	return stuck
}

// keepOrphans chooses what only the records of files know, because the record of the mitigation is damaged.
func (p *plan) keepOrphans(led *ledger, set *fileSet, sum *sums, wanted map[string]bool) {
	found := map[string]*chosen{}
	for _, name := range sortedKeys(led.files) {
		for _, o := range led.files[name].Owned {
			k := key(o.ID)
			if _, known := led.mitigations[k]; known || wanted[k] || !led.damaged[k] {
				continue
			}
			if found[k] == nil {
				found[k] = &chosen{mitigation: Mitigation{ID: o.ID, Revision: o.Revision}, parts: map[string]apphost.Wanted{}, orphan: true}
			}
			found[k].parts[name] = o.Content
			found[k].content = found[k].content.Append(o.Content)
			found[k].targets = append(found[k].targets, o.targets()...)
		}
	}
	for _, k := range sortedKeys(found) {
		if set.check(apphost.Wanted{}, found[k].parts, sum) != nil {
			continue // its place is gone
		}
		sum.add(apphost.Wanted{}, found[k].parts)
		p.chosen = append(p.chosen, *found[k])
		p.failures[k] = refusal.New(JournalCorrupt,
			"record of mitigation %q: damaged and set aside: what it installed stays until the mitigation is wanted once more, or the .corrupt file is deleted", found[k].mitigation.ID)
	}
}

// alters reports whether a mitigation puts something else on the server than the current one, which may be nil.
func alters(current *Mitigation, m Mitigation) bool {
	return current == nil || current.Revision != m.Revision || current.Placement != m.Placement || !same(current.Actions, m.Actions)
}

// failedFor gives the outcome of a mitigation that failed.
func failedFor(m Mitigation, err error) Outcome {
	return Outcome{ID: m.ID, Revision: m.Revision, State: Failed, Reason: refusal.Of(err, ConfigurationWriteFailed), Message: fmt.Sprint(err)}
}
