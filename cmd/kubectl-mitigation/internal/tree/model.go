package tree

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/insight"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/rolloutcmd"
)

// Tree is what feeds bring to pools.
type Tree struct {
	// Time of the look.
	Time time.Time `json:"time"`
	// Feeds in the order of their names.
	Feeds []Feed `json:"feeds"`
	// Notes tell what could not be found out.
	Notes []string `json:"notes"`

	// namespace is the one whose pools were looked at; all of them if it is empty.
	namespace string
}

// Feed is a source of mitigations.
type Feed struct {
	// Name of the feed.
	Name string `json:"name"`
	// Ready is the status of its condition: True, False or Unknown.
	Ready string `json:"ready"`
	// Reason in one word.
	Reason string `json:"reason,omitempty"`
	// Message in words, unless the feed is ready.
	Message string `json:"message,omitempty"`
	// Sequence of the accepted document.
	Sequence int64 `json:"sequence,omitempty"`
	// LastRead is when it was last read successfully.
	LastRead *time.Time `json:"lastRead,omitempty"`
	// Mitigations that it brings.
	Mitigations []Mitigation `json:"mitigations"`
}

// Mitigation is one that a feed brings.
type Mitigation struct {
	// ID of the mitigation.
	ID string `json:"id"`
	// Revision that the feed brought last.
	Revision int64 `json:"revision"`
	// Severity of the hole.
	Severity string `json:"severity,omitempty"`
	// CVEs that it is about.
	CVEs []string `json:"cves,omitempty"`
	// Lifecycle is Active, Superseded or Withdrawn.
	Lifecycle string `json:"lifecycle"`
	// Pools whose plan has it, those that need attention first.
	Pools []Pool `json:"pools"`
}

// Pool is a pool that a mitigation goes to.
type Pool struct {
	// Namespace of the pool.
	Namespace string `json:"namespace"`
	// Name of the pool.
	Name string `json:"name"`
	// Mode of the pool: Enforce or Audit.
	Mode string `json:"mode"`
	// Desired is what the plan wants: Apply, Remove or Hold.
	Desired string `json:"desired"`
	// State of the rollout as rollout status says it.
	State string `json:"state"`
	// Reason in one word.
	Reason string `json:"reason"`
	// Message in words.
	Message string `json:"message,omitempty"`
	// Stage that is released, and its place: tenth (2 of 4).
	Stage string `json:"stage,omitempty"`
	// Counts of servers by standing: Failed, Drifted, Silent, Missing, Outdated, Leaving, Waiting, AsWished.
	Counts map[insight.Standing]int `json:"counts"`
	// Servers that are not as wished, the most urgent first.
	Servers []insight.ServerLine `json:"servers"`

	urgent, settled bool
}

// Choice is the part of the tree that is shown; all of it if it is empty.
type Choice struct {
	// ID of one mitigation.
	ID string
	// Pool is one pool.
	Pool types.NamespacedName
}

// Grow makes the tree of a fleet.
func Grow(f *insight.Fleet, choice Choice) *Tree {
	t := &Tree{Time: f.Now.UTC().Truncate(time.Second), Feeds: []Feed{}, Notes: append([]string{}, f.Unseen...), namespace: f.Namespace}
	byFeed := map[string][]Mitigation{}
	pools := t.pools(f, choice)
	for i := range f.Mitigations {
		m := &f.Mitigations[i]
		id := string(m.Spec.ID)
		found := pools[strings.ToLower(id)]
		if choice.ID != "" && !strings.EqualFold(choice.ID, id) || choice.Pool.Name != "" && len(found) == 0 {
			continue
		}
		sortPools(found)
		byFeed[m.Spec.FeedName] = append(byFeed[m.Spec.FeedName], Mitigation{
			ID: id, Revision: m.Spec.Revision, Severity: string(m.Spec.Severity), CVEs: m.Spec.CVEs, Lifecycle: string(m.Spec.Lifecycle), Pools: append([]Pool{}, found...),
		})
	}
	for i := range f.Feeds {
		feed := feedOf(&f.Feeds[i])
		feed.Mitigations = append(feed.Mitigations, byFeed[feed.Name]...)
		delete(byFeed, feed.Name)
		if choice == (Choice{}) || len(feed.Mitigations) > 0 {
			t.Feeds = append(t.Feeds, feed)
		}
	}
	// A feed that was deleted leaves its mitigations, and so does one that the user may not read.
	for _, name := range sortedKeys(byFeed) {
		t.Feeds = append(t.Feeds, Feed{Name: name, Ready: string(metav1.ConditionUnknown), Reason: "NotSeen", Message: "there is no such feed, or you may not read it", Mitigations: byFeed[name]})
	}
	return t
}

func sortedKeys[T any](m map[string]T) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// pools are those of each mitigation, by its id in lower case.
func (t *Tree) pools(f *insight.Fleet, choice Choice) map[string][]Pool {
	out := map[string][]Pool{}
	shown := f.Shown()
	if choice.Pool.Name != "" {
		shown = nil
		if pool := f.Pool(choice.Pool); pool != nil {
			shown = append(shown, *pool)
		}
	}
	rollouts := map[string]*rolloutcmd.Rollout{}
	status := f.Rollouts(shown)
	for i := range status.Rollouts {
		r := &status.Rollouts[i]
		rollouts[r.Key()+" "+strings.ToLower(r.Mitigation)] = r
	}
	for i := range shown {
		pool := &shown[i]
		o, err := f.Of(pool)
		if err != nil {
			t.Notes = append(t.Notes, fmt.Sprintf("pool %s/%s: %s", pool.Namespace, pool.Name, err))
			continue
		}
		if o.Plan == nil {
			t.Notes = append(t.Notes, fmt.Sprintf("pool %s/%s: the manager has made no plan yet", pool.Namespace, pool.Name))
			continue
		}
		for j := range o.Plan.Spec.Mitigations {
			planned := &o.Plan.Spec.Mitigations[j]
			id := strings.ToLower(string(planned.ID))
			if choice.ID != "" && !strings.EqualFold(choice.ID, id) {
				continue
			}
			comparison := insight.Compare(o, planned)
			p := Pool{
				Namespace: pool.Namespace, Name: pool.Name, Mode: string(o.Plan.Spec.Mode), Desired: string(planned.Desired), Reason: planned.Reason, Message: planned.Message,
				Stage: insight.Stage(&planned.Rollout), Counts: comparison.Counts, Servers: append([]insight.ServerLine{}, comparison.Servers...), settled: true,
			}
			if r := rollouts[pool.Namespace+"/"+pool.Name+" "+id]; r != nil {
				p.State, p.Reason, p.Message, p.urgent, p.settled = r.State, r.Reason, r.Message, r.Urgent(), r.Settled()
			}
			out[id] = append(out[id], p)
		}
	}
	return out
}

// level is how well a pool stands with a mitigation.
func (p *Pool) level() insight.Level {
	worst := insight.Good
	for _, s := range insight.Standings {
		if p.Counts[s] > 0 && s != insight.AsWished {
			worst = insight.LevelOf(s)
			break
		}
	}
	switch {
	case p.State == string(emsv1.RolloutHalted) || worst == insight.Bad:
		return insight.Bad
	case p.urgent:
		return insight.Warns
	case !p.settled && worst == insight.Good:
		return insight.Moving
	default:
		return worst
	}
}

// order of levels by urgency.
var order = []insight.Level{insight.Bad, insight.Warns, insight.Unclear, insight.Moving, insight.Waits, insight.Good}

func sortPools(pools []Pool) {
	slices.SortStableFunc(pools, func(a, b Pool) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.level()), slices.Index(order, b.level())), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
}

func feedOf(f *emsv1.MitigationFeed) Feed {
	feed := Feed{Name: f.Name, Ready: string(metav1.ConditionUnknown), Sequence: f.Status.Document.Sequence, Mitigations: []Mitigation{}}
	if f.Status.LastReadTime != nil {
		feed.LastRead = new(f.Status.LastReadTime.UTC())
	}
	if ready := meta.FindStatusCondition(f.Status.Conditions, emsv1.ReadyCondition); ready != nil {
		feed.Ready, feed.Reason = string(ready.Status), ready.Reason
		if ready.Status != metav1.ConditionTrue {
			feed.Message = ready.Message
		}
	}
	return feed
}

func (f *Feed) level() insight.Level {
	switch f.Ready {
	case string(metav1.ConditionTrue):
		return insight.Good
	case string(metav1.ConditionFalse):
		return insight.Bad
	default:
		return insight.Unclear
	}
}

// level of a mitigation is that of the pool where it stands worst; it waits where no pool has it.
func (m *Mitigation) level() insight.Level {
	if len(m.Pools) == 0 {
		return insight.Waits
	}
	return m.Pools[0].level()
}
