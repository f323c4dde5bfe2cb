package metricsfile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"mitigation.dev/ems/agent/journal/durable"
	"mitigation.dev/ems/internal/pause"
	"mitigation.dev/ems/internal/version"
)

const (
	// Ending is that of the files that collectors read.
	Ending = ".prom"

	// minInterval is between two writes.
	minInterval = 15 * time.Second
	// maxMitigations bounds the series of one server. A document has at most 256 Configs; real ones have about ten.
	maxMitigations = 200
	// mode of the file: the collector runs as somebody else, and nothing in it is secret.
	mode = 0o644
)

// Options of a File. All are required but Log and CredentialExpiry.
type Options struct {
	// Path of the file. It ends with Ending.
	Path  string
	Clock clock.WithTicker
	Log   logr.Logger
	// CredentialExpiry is when the agent's credential ends; zero if nobody knows.
	CredentialExpiry func() time.Time
}

// Pass is what one pass of the agent did and found.
type Pass struct {
	At time.Time
	// PlanGeneration is that of the plan that was followed; 0 for none.
	PlanGeneration int64
	// Impeded says that something keeps the agent from its work.
	Impeded bool
	// KillSwitch says that somebody threw the kill switch of the server.
	KillSwitch bool
	// TrustExpiry is when the first of the certificates runs out that trust rests on; zero if nobody knows.
	TrustExpiry time.Time
	Mitigations []Mitigation
	Changes     []Change
}

// Mitigation is where one stands, in the words of a PoolServer.
type Mitigation struct {
	ID, State, Effective string
	Revision             int64
}

// Change is something that was done to the server. The values are the reasons of the cluster's events.
type Change string

// The kinds of changes.
const (
	Applied  Change = "MitigationApplied"
	Removed  Change = "MitigationRemoved"
	Repaired Change = "DriftRepaired"
	Reverted Change = "MitigationReverted"
)

const failed = "Failed"

// states are those of a mitigation.
var states = []string{"Applied", "Removed", "Held", "Audited", "NotApplicable", "Pending", failed}

// File is the file with what is in it.
type File struct {
	Options

	changed chan struct{}
	problem string

	mu      sync.Mutex
	last    Pass
	contact time.Time
	// failing are the mitigations that failed in the last pass.
	failing                                        map[string]bool
	applied, removed, repaired, reverted, failures int
}

// New makes a File; Run writes it.
func New(o Options) *File {
	if o.Log.GetSink() == nil {
		o.Log = logr.Discard()
	}
	if o.CredentialExpiry == nil {
		o.CredentialExpiry = func() time.Time { return time.Time{} }
	}
	return &File{Options: o, changed: make(chan struct{}, 1), failing: map[string]bool{}}
}

// Pass takes what a pass did and found.
func (f *File) Pass(p Pass) {
	if f == nil {
		return
	}
	f.mu.Lock()
	for _, c := range p.Changes {
		switch c {
		case Applied:
			f.applied++
		case Removed:
			f.removed++
		case Repaired:
			f.repaired++
		case Reverted:
			f.reverted++
		}
	}
	failing := map[string]bool{}
	for _, m := range p.Mitigations {
		if m.State == failed {
			key := strings.ToLower(m.ID)
			failing[key] = true
			if !f.failing[key] {
				f.failures++
			}
		}
	}
	f.last, f.failing = p, failing
	f.mu.Unlock()
	f.notify()
}

// Contact notes that the API server answered.
func (f *File) Contact(at time.Time) {
	if f == nil {
		return
	}
	f.mu.Lock()
	f.contact = at
	f.mu.Unlock()
	f.notify()
}

func (f *File) notify() {
	select {
	case f.changed <- struct{}{}:
	default: // one is waiting already
	}
}

// Run writes the file after changes until the context ends, and then once more.
func (f *File) Run(ctx context.Context) {
	if f == nil {
		return
	}
	defer f.write()
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.changed:
		}
		if !f.write() {
			f.notify() // once more, as soon as it may be
		}
		if pause.On(ctx, f.Clock, minInterval) != nil {
			return
		}
	}
}

// write exchanges the file, and tells of a problem once.
func (f *File) write() bool {
	err := replace(f.Path, []byte(f.text()))
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	if problem != f.problem && problem != "" {
		f.Log.Info("Metrics cannot be written and will be tried again", "file", f.Path, "problem", problem)
	} else if problem != f.problem {
		f.Log.Info("Metrics are written again", "file", f.Path)
	}
	f.problem = problem
	return err == nil
}

// replace exchanges a file. One that is not there is made empty first, since new bytes get the rights of the file that they replace.
func replace(path string, data []byte) error {
	empty, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err == nil {
		err = empty.Close()
	} else if errors.Is(err, os.ErrExist) {
		err = nil
	}
	if err == nil {
		err = durable.WriteFile(durable.OS{}, path, data)
	}
	if err != nil {
		return fmt.Errorf("metrics file: %w", err)
	}
	return nil
}

// text is what is in the file.
func (f *File) text() string {
	expiry := f.CredentialExpiry()
	f.mu.Lock()
	defer f.mu.Unlock()
	var t text
	t.family("ems_agent_build_info", gauge, "1, with the version of the agent, the commit and the Go release that it was built from.")
	t.sample("ems_agent_build_info", 1, "version", version.Version, "commit", version.Commit(), "goversion", runtime.Version())
	t.at("ems_agent_last_pass_timestamp_seconds", "Unix time at which the agent last looked at the server.", f.last.At)
	t.at("ems_agent_last_contact_timestamp_seconds", "Unix time at which the API server last took the agent's sign of life.", f.contact)
	t.at("ems_agent_credential_expiry_timestamp_seconds", "Unix time at which the credential ends that the agent uses now. It is renewed long before.", expiry)
	t.at("ems_agent_trust_anchor_expiry_timestamp_seconds", "Unix time at which the first of the certificates runs out that the server's trust rests on.", f.last.TrustExpiry)
	t.one("ems_agent_plan_generation", gauge, "Generation of the plan that the agent follows, 0 without one.", float64(f.last.PlanGeneration))
	t.one("ems_agent_impeded", gauge, "1 while something keeps the agent from its work, which its log tells.", number(f.last.Impeded))
	t.one("ems_agent_kill_switch", gauge, "1 while the kill switch of the server is thrown.", number(f.last.KillSwitch))
	f.mitigations(&t)
	t.one("ems_agent_mitigations_applied_total", counter, "Mitigations that were put in place.", float64(f.applied))
	t.one("ems_agent_mitigations_removed_total", counter, "Mitigations that were removed because they are no longer wanted.", float64(f.removed))
	t.one("ems_agent_mitigation_failures_total", counter, "Times that a mitigation began to fail.", float64(f.failures))
	t.one("ems_agent_rollbacks_total", counter, "Mitigations that were taken back because the server got worse with them.", float64(f.reverted))
	t.one("ems_agent_drift_repairs_total", counter, "Mitigations that were put back into place after somebody had changed them.", float64(f.repaired))
	return t.String()
}

func (f *File) mitigations(t *text) {
	const count, info = "ems_agent_mitigations", "ems_agent_mitigation_info"
	number := map[string]int{}
	for _, m := range f.last.Mitigations {
		number[m.State]++
	}
	t.family(count, gauge, "Mitigations by their state on the server.")
	for _, state := range states {
		t.sample(count, float64(number[state]), "state", state)
	}
	if len(f.last.Mitigations) == 0 {
		return
	}
	list := slices.SortedFunc(slices.Values(f.last.Mitigations), func(a, b Mitigation) int { return strings.Compare(a.ID, b.ID) })
	t.family(info, gauge, "1 for each mitigation, with its state on the server, the revision in place and whether IIS runs it. At most 200.")
	for _, m := range list[:min(len(list), maxMitigations)] {
		t.sample(info, 1, "mitigation", m.ID, "revision", strconv.FormatInt(m.Revision, 10), "state", m.State, "effective", m.Effective)
	}
}

func number(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
