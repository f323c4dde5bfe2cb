package iis

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"sort"

	"mitigation.dev/ems/agent/iis/refusal"
)

const (
	kindAttempt = "attempt"
	// maxCrashes is how often the agent may end while it applies one revision. Once can be a loss of power; twice at the
	// same revision is more likely the revision.
	maxCrashes = 2
)

// attemptRecord says that a revision of a mitigation is being applied, or that applying it has ended processes.
type attemptRecord struct {
	ID       string `json:"id"`
	Revision int64  `json:"revision"`
	// Content identifies what was to be applied.
	Content string `json:"content"`
	// Prior is what was there before the first attempt.
	Prior *Mitigation `json:"prior,omitempty"`
	// Process is applying it, "" when nobody does.
	Process string `json:"process,omitempty"`
	Crashes int    `json:"crashes,omitempty"`
}

// newProcess makes a name for this process, that no other one has.
func newProcess() string { return rand.Text() }

// ContentOf identifies what a mitigation puts on a server. The document that it came with does not matter.
func ContentOf(m Mitigation) string {
	data, err := json.Marshal(struct {
		Revision  int64
		Actions   []Action
		Placement string
	}{m.Revision, m.Actions, m.Placement})
	if err != nil {
		return "" // strings and bytes always can
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// countCrashes finds attempts whose process ended before they did. The caller holds the lock, so no other process is alive
// that could be at it.
//
// A damaged record is put aside for good: what is lost with it is a count, which begins anew.
func (l *ledger) countCrashes(process string) error {
	damaged, err := l.store.Damaged(kindAttempt)
	if err != nil {
		return err
	}
	for _, name := range damaged {
		if err := l.store.Resolve(kindAttempt, name); err != nil {
			return err
		}
	}
	for _, k := range sortedKeys(l.attempts) {
		rec := l.attempts[k]
		if rec.Process == "" || rec.Process == process {
			continue
		}
		rec.Process = ""
		rec.Crashes++
		if err := l.putAttempt(rec); err != nil {
			return err
		}
	}
	return nil
}

func (l *ledger) putAttempt(rec attemptRecord) error {
	if err := l.store.Put(kindAttempt, key(rec.ID), rec); err != nil {
		return err
	}
	l.attempts[key(rec.ID)] = rec
	return nil
}

func (l *ledger) deleteAttempt(k string) error {
	if err := l.store.Delete(kindAttempt, k); err != nil {
		return err
	}
	delete(l.attempts, k)
	return nil
}

// crashes counts how often applying m has ended a process.
func (l *ledger) crashes(m Mitigation) int {
	if rec, ok := l.attempts[key(m.ID)]; ok && rec.Content == ContentOf(m) {
		return rec.Crashes
	}
	return 0
}

// crashLoop refuses a mitigation that has ended too many processes, and gives what shall be there instead.
func (l *ledger) crashLoop(m Mitigation) (instead *Mitigation, err error) {
	n := l.crashes(m)
	if n < maxCrashes {
		return nil, nil
	}
	instead = l.mitigations[key(m.ID)].current()
	if instead != nil && ContentOf(*instead) == ContentOf(m) {
		instead = l.attempts[key(m.ID)].Prior
	}
	return instead, refusal.New(CrashLoop,
		"revision %d: the agent ended %d times while it applied it, so it was taken back: look for the cause in the agent's log and the Windows event log; "+
			"a new revision is tried, and this one too after it was blocked and unblocked", m.Revision, n)
}

// unfinished reports whether m is, or was left, in the middle of being applied.
func (r *run) unfinished(m Mitigation) bool {
	return alters(r.led.mitigations[key(m.ID)].current(), m) || r.led.crashes(m) > 0
}

// admit chooses which mitigations have to wait for another round, because applying them together with others has ended a
// process: those that never did go first, then the suspects one by one, so that the guilty one is known by the next crash.
func (r *run) admit() {
	var suspects []Mitigation
	others := false
	for _, m := range r.wanted {
		switch n := r.led.crashes(m); {
		case n >= maxCrashes, !r.unfinished(m), r.survived[ContentOf(m)]:
		case n > 0:
			suspects = append(suspects, m)
		default:
			others = true
		}
	}
	if !others && len(suspects) > 0 {
		suspects = suspects[1:]
	}
	r.waiting = map[string]error{}
	for _, m := range suspects {
		r.waiting[key(m.ID)] = refusal.New(CrashLoop, "waits, because the agent ended while it applied it together with others")
	}
}

// begin puts into the journal that a mitigation is being applied.
func (r *run) begin(m Mitigation) error {
	k := key(m.ID)
	rec, ok := r.led.attempts[k]
	content := ContentOf(m)
	if ok && rec.Content == content && rec.Process == r.process {
		return nil
	}
	if !ok || rec.Content != content {
		rec = attemptRecord{ID: m.ID, Revision: m.Revision, Content: content, Prior: r.led.mitigations[k].current()}
		if rec.Prior != nil && ContentOf(*rec.Prior) == content {
			rec.Prior = nil
		}
	}
	rec.Process = r.process
	return journalFailed(r.led.putAttempt(rec))
}

// beginUnknown begins what this process has not yet looked at: reading its content may be what ends processes. Afterwards
// a mitigation that is refused on every pass costs no more writes.
func (r *run) beginUnknown() error {
	for _, m := range r.wanted {
		if r.waiting[key(m.ID)] != nil || r.survived[ContentOf(m)] || !r.unfinished(m) || r.led.crashes(m) >= maxCrashes {
			continue
		}
		if err := r.begin(m); err != nil {
			return err
		}
	}
	return nil
}

// beginChosen begins what is about to be changed.
func (r *run) beginChosen() error {
	for _, ch := range r.plan.chosen {
		if ch.altered && !ch.orphan && r.led.crashes(ch.mitigation) < maxCrashes {
			if err := r.begin(ch.mitigation); err != nil {
				return err
			}
		}
	}
	return nil
}

// end says that no attempt of this process is under way. It must not run when the process ends by a panic, so it is not
// deferred. Crashes are forgotten when the mitigation is in place, or not wanted any more.
func (r *run) end(outcomes []Outcome) {
	applied := map[string]bool{}
	for _, o := range outcomes {
		applied[key(o.ID)] = o.State == Applied
	}
	want := map[string]Mitigation{}
	for _, m := range r.wanted {
		k := key(m.ID)
		want[k] = m
		if r.plan != nil && r.waiting[k] == nil {
			r.survived[ContentOf(m)] = true
		}
	}
	for _, k := range sortedKeys(r.led.attempts) {
		rec := r.led.attempts[k]
		m, wanted := want[k]
		var err error
		switch {
		case !wanted, rec.Content != ContentOf(m), applied[k], rec.Crashes == 0:
			err = r.led.deleteAttempt(k)
		case rec.Process != "":
			rec.Process = ""
			err = r.led.putAttempt(rec)
		}
		if err != nil {
			// If the process ends before this could be repaired, one crash too many is counted.
			r.log.Error(err, "Could not note that nothing is under way", "mitigation", rec.ID)
		}
	}
}

// forgetSurvivors drops what is not wanted any more.
func (s *Server) forgetSurvivors(wanted []Mitigation) {
	still := map[string]bool{}
	for _, m := range wanted {
		if c := ContentOf(m); s.survived[c] {
			still[c] = true
		}
	}
	s.survived = still
}

// merge joins the outcomes of two rounds of one Reconcile.
func merge(earlier, later []Outcome) []Outcome {
	said := map[string]int{}
	for i, o := range later {
		said[key(o.ID)] = i
	}
	for _, o := range earlier {
		if i, ok := said[key(o.ID)]; ok {
			later[i].Changed = later[i].Changed || o.Changed
		} else {
			later = append(later, o)
		}
	}
	sort.SliceStable(later, func(i, j int) bool { return key(later[i].ID) < key(later[j].ID) })
	return later
}
