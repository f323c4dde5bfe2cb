package state

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/agent/journal"
	"mitigation.dev/ems/agent/journal/durable"
	"mitigation.dev/ems/internal/replay"
)

const (
	kindPlan   = "plan"
	kindFeed   = "feed"
	kindChange = "change"
	kindLists  = "lists"
	// kindHistory is what a server has been through with a mitigation.
	kindHistory = "history"
	kindRepair  = "repair"
	// kindReport is what the cluster has to be told of.
	kindReport = "report"

	// planName is the name of the only plan that a server has.
	planName = "pool"
	// changesName is the name of the only record of changes.
	changesName = "mitigations"
	// repairName is the name of the only record of repairs.
	repairName = "request"
	// conditionsName is the name of the only record of conditions, untoldName that of changes that the cluster was not told of.
	conditionsName = "conditions"
	untoldName     = "untold"
	// repairHereName is that of repairs that somebody at the server asked for.
	repairHereName = "request-here"

	// MaxAccepted is how many accepted documents of a feed are remembered. Two or three are in use at once while a newer
	// one is staged; the rest allows an operator to go back a while.
	MaxAccepted = 64
)

// Feed is what the server has seen of one feed.
type Feed struct {
	Seen replay.Seen `json:"seen"`
	// Accepted documents, the newest last, at most MaxAccepted.
	Accepted []Accepted `json:"accepted,omitempty"`
}

// Accepted is one document that this server verified and accepted.
type Accepted struct {
	Digest string `json:"digest"`
	// Product of the feed, for mitigations that do not say what they are made for.
	Product string    `json:"product,omitempty"`
	At      time.Time `json:"at"`
}

// Find returns the record of an accepted document.
func (f Feed) Find(digest string) (Accepted, bool) {
	for _, a := range f.Accepted {
		if a.Digest == digest {
			return a, true
		}
	}
	return Accepted{}, false
}

// With returns the feed after one more document was accepted.
func (f Feed) With(seen replay.Seen, a Accepted) Feed {
	list := append(slices.Clone(f.Accepted), a)
	return Feed{Seen: seen, Accepted: list[max(0, len(list)-MaxAccepted):]}
}

// Lists are the revocation lists of a feed that the server was handed.
type Lists struct {
	// Handled says what the lists were taken from, so that the same is not looked at twice.
	Handled string `json:"handled,omitempty"`
	// DER are the lists that were believed, the newest of each issuer.
	DER [][]byte `json:"der,omitempty"`
	// Refused says which of those that were handed last were not believed, and why.
	Refused []string `json:"refused,omitempty"`
}

// Memory is a folder of records. Its methods may be called from several goroutines.
type Memory struct {
	mu    sync.Mutex
	store *journal.Store
}

// Open opens the memory in a folder and makes the folder when it is missing.
func Open(dir string) (*Memory, error) {
	store, err := journal.Open(dir, durable.OS{})
	if err != nil {
		return nil, fmt.Errorf("agent state: %w", err)
	}
	return &Memory{store: store}, nil
}

// Plan returns the plan that was saved last, nil if there is none.
func (m *Memory) Plan() (*enforce.Plan, error) {
	plan, ok, err := load[enforce.Plan](m, kindPlan, planName)
	if err != nil || !ok {
		return nil, err
	}
	return &plan, nil
}

// SavePlan keeps a plan; nil forgets the one that is kept.
func (m *Memory) SavePlan(plan *enforce.Plan) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if plan == nil {
		return wrap(m.store.Delete(kindPlan, planName))
	}
	return wrap(m.store.Put(kindPlan, planName, plan))
}

// Feed returns what was seen of a feed; the zero value for one that is new.
func (m *Memory) Feed(name string) (Feed, error) {
	feed, _, err := load[Feed](m, kindFeed, name)
	return feed, err
}

// Feeds returns what was seen of every feed, by name.
func (m *Memory) Feeds() (map[string]Feed, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	feeds, err := journal.Load[Feed](m.store, kindFeed)
	return feeds, wrap(err)
}

// SaveFeed keeps what was seen of a feed.
func (m *Memory) SaveFeed(name string, feed Feed) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return wrap(m.store.Put(kindFeed, name, feed))
}

// Lists returns the revocation lists of a feed; the zero value for one that has none.
func (m *Memory) Lists(feed string) (Lists, error) {
	lists, _, err := load[Lists](m, kindLists, feed)
	return lists, err
}

// SaveLists keeps the revocation lists of a feed.
func (m *Memory) SaveLists(feed string, lists Lists) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return wrap(m.store.Put(kindLists, feed, lists))
}

// Changes returns when the server was last changed for each mitigation, by lower-case id.
func (m *Memory) Changes() (map[string]time.Time, error) {
	changes, _, err := load[map[string]time.Time](m, kindChange, changesName)
	if changes == nil {
		changes = map[string]time.Time{}
	}
	return changes, err
}

// SaveChanges keeps the times of the last changes.
func (m *Memory) SaveChanges(changes map[string]time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return wrap(m.store.Put(kindChange, changesName, changes))
}

// Histories returns what the server has been through with each mitigation, by lower-case id.
func (m *Memory) Histories() (map[string]enforce.History, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	records, err := journal.Load[enforce.History](m.store, kindHistory)
	if err != nil {
		return nil, wrap(err)
	}
	histories := make(map[string]enforce.History, len(records))
	for id, h := range records {
		histories[strings.ToLower(id)] = h
	}
	return histories, nil
}

// SaveHistory keeps what the server has been through with a mitigation; one that says nothing is deleted.
func (m *Memory) SaveHistory(id string, h enforce.History) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h.Empty() {
		return wrap(m.store.Delete(kindHistory, strings.ToLower(id)))
	}
	return wrap(m.store.Put(kindHistory, strings.ToLower(id), h))
}

// Repaired returns the request that was last answered; empty if none was.
func (m *Memory) Repaired() (string, error) {
	request, _, err := load[string](m, kindRepair, repairName)
	return request, err
}

// SaveRepaired keeps the request that was answered.
func (m *Memory) SaveRepaired(request string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return wrap(m.store.Put(kindRepair, repairName, request))
}

// RepairedHere returns the request of somebody at the server that was last answered; empty if none was.
func (m *Memory) RepairedHere() (string, error) {
	request, _, err := load[string](m, kindRepair, repairHereName)
	return request, err
}

// SaveRepairedHere keeps the request of somebody at the server that was answered.
func (m *Memory) SaveRepairedHere(request string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return wrap(m.store.Put(kindRepair, repairHereName, request))
}

// Conditions returns the conditions that were kept last; none if none were.
func (m *Memory) Conditions() ([]metav1.Condition, error) {
	conditions, _, err := load[[]metav1.Condition](m, kindReport, conditionsName)
	return conditions, err
}

// SaveConditions keeps conditions.
func (m *Memory) SaveConditions(conditions []metav1.Condition) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return wrap(m.store.Put(kindReport, conditionsName, conditions))
}

// Untold is a change of the server that the cluster was not told of yet.
type Untold struct {
	Kind     string `json:"kind"`
	ID       string `json:"id"`
	Revision int64  `json:"revision,omitempty"`
}

// Untold returns the changes that were kept last.
func (m *Memory) Untold() ([]Untold, error) {
	list, _, err := load[[]Untold](m, kindReport, untoldName)
	return list, err
}

// SaveUntold keeps changes; none forgets those that are kept.
func (m *Memory) SaveUntold(list []Untold) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(list) == 0 {
		return wrap(m.store.Delete(kindReport, untoldName))
	}
	return wrap(m.store.Put(kindReport, untoldName, list))
}

// Damaged names the records that were found damaged and set aside.
func (m *Memory) Damaged() ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var damaged []string
	for _, kind := range []string{kindPlan, kindFeed, kindChange, kindLists, kindHistory, kindRepair, kindReport} {
		names, err := m.store.Damaged(kind)
		if err != nil {
			return nil, wrap(err)
		}
		for _, n := range names {
			damaged = append(damaged, kind+" "+n)
		}
	}
	return damaged, nil
}

func load[T any](m *Memory, kind, name string) (T, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all, err := journal.Load[T](m.store, kind)
	if err != nil {
		var none T
		return none, false, wrap(err)
	}
	for n, record := range all {
		if strings.EqualFold(n, name) {
			return record, true, nil
		}
	}
	var none T
	return none, false, nil
}

func wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("agent state: %w", err)
}
