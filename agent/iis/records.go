package iis

import (
	"mitigation.dev/ems/agent/iis/switchoff"
	"mitigation.dev/ems/agent/journal"
)

// offRecords are the records of what was switched off, kept equal to the disk.
type offRecords struct {
	store   *journal.Store
	known   map[switchoff.Key]switchoff.Record
	damaged map[switchoff.Key]bool // whose record is set aside
}

var _ switchoff.Records = (*offRecords)(nil)

func loadOffRecords(store *journal.Store) (*offRecords, error) {
	r := &offRecords{store: store, known: map[switchoff.Key]switchoff.Record{}, damaged: map[switchoff.Key]bool{}}
	for _, kind := range []switchoff.Kind{switchoff.Pool, switchoff.Service} {
		records, err := journal.Load[switchoff.Record](store, string(kind))
		if err != nil {
			return nil, err
		}
		for name, rec := range records {
			r.known[switchoff.Key{Kind: kind, Name: key(name)}] = rec
		}
		names, err := store.Damaged(string(kind))
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			k := switchoff.Key{Kind: kind, Name: key(n)}
			if _, ok := r.known[k]; !ok {
				r.known[k], r.damaged[k] = switchoff.Running(kind, n), true
			}
		}
	}
	return r, nil
}

// Record implements switchoff.Records.
func (r *offRecords) Record(k switchoff.Key) (switchoff.Record, bool) {
	rec, ok := r.known[k]
	return rec, ok
}

// Put implements switchoff.Records.
func (r *offRecords) Put(kind switchoff.Kind, rec switchoff.Record) error {
	if err := r.store.Put(string(kind), key(rec.Name), rec); err != nil {
		return err
	}
	r.known[switchoff.Key{Kind: kind, Name: key(rec.Name)}] = rec
	return nil
}

// Delete implements switchoff.Records.
func (r *offRecords) Delete(k switchoff.Key) error {
	if err := r.store.Delete(string(k.Kind), k.Name); err != nil {
		return err
	}
	if r.damaged[k] {
		if err := r.store.Resolve(string(k.Kind), k.Name); err != nil {
			return err
		}
	}
	delete(r.known, k)
	delete(r.damaged, k)
	return nil
}

// pools names the pools with a record.
func (r *offRecords) pools() []string {
	var names []string
	for _, t := range r.all() {
		if t.Kind == switchoff.Pool {
			names = append(names, t.Name)
		}
	}
	return names
}

// all gives every target with a record, pools first, by name.
func (r *offRecords) all() []switchoff.Target {
	var out []switchoff.Target
	for _, kind := range []switchoff.Kind{switchoff.Pool, switchoff.Service} {
		names := map[string]string{}
		for k, rec := range r.known {
			if k.Kind == kind {
				names[k.Name] = rec.Name
			}
		}
		for _, k := range sortedKeys(names) {
			out = append(out, switchoff.Target{Kind: kind, Name: names[k]})
		}
	}
	return out
}
