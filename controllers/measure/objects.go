package measure

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/rollout"
	"mitigation.dev/ems/internal/shard"
)

const (
	// maxPools is how many pools have series of their own, of which servers have six.
	maxPools = 200
	// maxMitigations is how many mitigations have, of which each has nine. A document has at most 256 Configs; real ones have about ten.
	maxMitigations = 100
	// maxFeeds is how many feeds have.
	maxFeeds = 100
	// maxShards is how many shards have.
	maxShards = 50
)

var (
	mitigationInfo = prometheus.NewDesc("ems_mitigation_info",
		"1 for each mitigation, with what is known of it, at most 100, active ones and the graver ones first.",
		[]string{"mitigation", "revision", "severity", "lifecycle", "feed"}, nil)
	mitigationPublished = prometheus.NewDesc("ems_mitigation_published_timestamp_seconds",
		"Unix time at which the document of an active mitigation was signed, as far as it proves or says it, else when it was accepted. Of those of ems_mitigation_info.",
		[]string{"mitigation"}, nil)
	mitigationServers = prometheus.NewDesc("ems_mitigation_servers",
		"Servers of all pools by how they stand with a mitigation that a pool's plan applies, of those of ems_mitigation_info. "+
			"state is applied, pending, failed, ineffective, blocked, not_applicable or other.",
		[]string{"mitigation", "state"}, nil)
	poolInfo = prometheus.NewDesc("ems_pool_info",
		"1 for each pool, with what happens in it: Enforce, Audit, Disabled or Suspended. At most 200.",
		[]string{"namespace", "pool", "mode"}, nil)
	suspendedSince = prometheus.NewDesc("ems_suspended_since_timestamp_seconds",
		"Unix time since which a mitigation has been suspended in a pool, of the one that has been for longest. At most 200, those for longest first.",
		[]string{"namespace", "pool"}, nil)
	serversByState = prometheus.NewDesc("ems_servers",
		"Servers by how they stand. state is protected, excepted, outdated, unprotected, failed or silent; each server has one. "+
			"At most 200 pools of a manager, those with servers in trouble first; the others are summed up as pool _others, of a shard as _others_SHARD. Of the manager that leads.",
		[]string{"namespace", "pool", "state"}, nil)
	poolsWithoutManager = prometheus.NewDesc("ems_pools_without_manager",
		"Pools that nobody plans, because no manager works for the shard that their label names or because it has not got all of their servers, for each shard "+
			"that a label names. At most 50.",
		[]string{"shard"}, nil)
	feedReady = prometheus.NewDesc("ems_feed_ready",
		"1 for a feed whose document is read and accepted, else 0, with the reason of its Ready condition. At most 100.",
		[]string{"feed", "reason"}, nil)
	feedMaxAge = prometheus.NewDesc("ems_feed_max_age_seconds",
		"How long a feed may go without being read before it is stale. At most 100.",
		[]string{"feed"}, nil)
)

// severities are those of a mitigation, the graver first.
var severities = []emsv1.Severity{"Critical", "High", "Medium", "Low"}

// measureMitigations exports the mitigations. origins are those that the manager that leads has seen: a document that is signed anew does not
// make its mitigations younger.
func measureMitigations(from objects, origins map[emsv1.MitigationID]origin) []prometheus.Metric {
	feeds := make(map[string]*emsv1.AcceptedDocument, len(from.feeds))
	for i := range from.feeds {
		feeds[from.feeds[i].Name] = &from.feeds[i].Status.Document
	}
	list := make([]*emsv1.Mitigation, 0, len(from.mitigations))
	for i := range from.mitigations {
		list = append(list, &from.mitigations[i])
	}
	gravity := func(m *emsv1.Mitigation) int {
		if at := slices.Index(severities, m.Spec.Severity); at >= 0 {
			return at
		}
		return len(severities)
	}
	slices.SortFunc(list, func(a, b *emsv1.Mitigation) int {
		active := func(m *emsv1.Mitigation) int {
			if m.Spec.Lifecycle == emsv1.LifecycleActive {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(active(a), active(b)), cmp.Compare(gravity(a), gravity(b)), strings.Compare(a.Name, b.Name))
	})
	list = list[:min(len(list), maxMitigations)]
	wanted := wantedServers(from.pools)
	var out []prometheus.Metric
	for _, m := range list {
		id := string(m.Spec.ID)
		out = append(out, gauge(mitigationInfo, 1, id, strconv.FormatInt(m.Spec.Revision, 10), string(m.Spec.Severity), string(m.Spec.Lifecycle), m.Spec.FeedName))
		if document := feeds[m.Spec.FeedName]; m.Spec.Lifecycle == emsv1.LifecycleActive && document != nil && document.Digest == m.Spec.DocumentDigest {
			at := publishedAt(document)
			if at.IsZero() {
				at = timeOf(document.AcceptedTime)
			}
			if o := origins[m.Spec.ID]; o.revision == m.Spec.Revision && !o.published.IsZero() && o.published.Before(at) {
				at = o.published
			}
			if !at.IsZero() {
				out = append(out, gauge(mitigationPublished, float64(at.Unix()), id))
			}
		}
		counts := wanted[m.Spec.ID]
		for at, state := range countNames {
			out = append(out, gauge(mitigationServers, float64(counts[at]), id, state))
		}
	}
	return out
}

// publishedAt is when a document was signed, as its counter-signature proves, else as it says itself; zero if it does neither.
func publishedAt(document *emsv1.AcceptedDocument) time.Time {
	if at := timeOf(document.SignedTime); !at.IsZero() {
		return at
	}
	return timeOf(document.IssuedTime)
}

// countNames are the values of a label, in the order of countsOf.
var countNames = [...]string{"applied", "pending", "failed", "ineffective", "blocked", "not_applicable", "other"}

func countsOf(c *emsv1.ServerCounts) [len(countNames)]int32 {
	var out [len(countNames)]int32
	for i, n := range []*int32{c.Applied, c.Pending, c.Failed, c.Ineffective, c.Blocked, c.NotApplicable, c.Other} {
		out[i] = ptr.Deref(n, 0)
	}
	return out
}

// wantedServers sums up the servers of the pools whose plans apply a mitigation, or keep it off by a block.
func wantedServers(pools []emsv1.PoolMitigationConfig) map[emsv1.MitigationID][len(countNames)]int32 {
	sums := map[emsv1.MitigationID][len(countNames)]int32{}
	for i := range pools {
		for j := range pools[i].Status.Mitigations {
			m := &pools[i].Status.Mitigations[j]
			if m.Desired != emsv1.DesiredApply && !policy.Reason(m.Reason).Blocked() {
				continue
			}
			sum := sums[m.ID]
			for at, n := range countsOf(&m.Servers) {
				sum[at] += n
			}
			sums[m.ID] = sum
		}
	}
	return sums
}

func measurePools(pools []emsv1.PoolMitigationConfig, plans []emsv1.MitigationPlan) []prometheus.Metric {
	var out []prometheus.Metric
	list := make([]*emsv1.PoolMitigationConfig, 0, len(pools))
	for i := range pools {
		list = append(list, &pools[i])
	}
	slices.SortFunc(list, func(a, b *emsv1.PoolMitigationConfig) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	for _, p := range list[:min(len(list), maxPools)] {
		out = append(out, gauge(poolInfo, 1, p.Namespace, p.Name, cmp.Or(p.Status.Summary.Mode, string(p.Spec.GetMode()))))
	}
	type suspension struct {
		namespace, pool string
		since           time.Time
	}
	var suspended []suspension
	for i := range plans {
		plan := &plans[i]
		var since time.Time
		for j := range plan.Spec.Mitigations {
			m := &plan.Spec.Mitigations[j]
			at := timeOf(m.Transition.Time)
			if policy.Reason(m.Reason) == policy.Suspended && m.Transition.Action == string(rollout.Suspended) && (since.IsZero() || at.Before(since)) {
				since = at
			}
		}
		if !since.IsZero() {
			suspended = append(suspended, suspension{plan.Namespace, plan.Name, since})
		}
	}
	slices.SortFunc(suspended, func(a, b suspension) int {
		return cmp.Or(a.since.Compare(b.since), strings.Compare(a.namespace, b.namespace), strings.Compare(a.pool, b.pool))
	})
	for _, s := range suspended[:min(len(suspended), maxPools)] {
		out = append(out, gauge(suspendedSince, float64(s.since.Unix()), s.namespace, s.pool))
	}
	return out
}

func measureFeeds(feeds []emsv1.MitigationFeed) []prometheus.Metric {
	var out []prometheus.Metric
	for i := range feeds[:min(len(feeds), maxFeeds)] {
		feed := &feeds[i]
		out = append(out, gauge(feedMaxAge, feed.Spec.MaxAge().Seconds(), feed.Name))
		c := meta.FindStatusCondition(feed.Status.Conditions, emsv1.ReadyCondition)
		if c == nil {
			continue
		}
		ready := 0.0
		if c.Status == "True" {
			ready = 1
		}
		out = append(out, gauge(feedReady, ready, feed.Name, c.Reason))
	}
	return out
}

// measureAbandoned counts the pools of each shard that nobody plans. A pool that moves is one of them for some seconds.
func measureAbandoned(pools []emsv1.PoolMitigationConfig) []prometheus.Metric {
	counts := map[shard.Name]int{}
	for i := range pools {
		of := shard.Of(&pools[i])
		abandoned := 0
		if c := meta.FindStatusCondition(pools[i].Status.Conditions, emsv1.ReadyCondition); c != nil && (c.Reason == emsv1.NoManagerReason || c.Reason == emsv1.TakingOverReason) {
			abandoned = 1
		}
		if of != shard.Main || abandoned > 0 {
			counts[of] += abandoned
		}
	}
	names := slices.SortedFunc(maps.Keys(counts), func(a, b shard.Name) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	var out []prometheus.Metric
	for _, name := range names[:min(len(names), maxShards)] {
		out = append(out, gauge(poolsWithoutManager, float64(counts[name]), string(name)))
	}
	return out
}

// measureServers exports how servers stand, of the pools that were looked at. The pool of all beyond the limit is another one for each
// manager, so that whoever takes the maximum or the sum of all managers gets the right number.
func measureServers(pools map[types.NamespacedName][standings]int, mine shard.Name) []prometheus.Metric {
	keys := make([]types.NamespacedName, 0, len(pools))
	for key := range pools {
		keys = append(keys, key)
	}
	trouble := func(key types.NamespacedName) int {
		c := pools[key]
		return c[failed] + c[unprotected] + c[silent]
	}
	slices.SortFunc(keys, func(a, b types.NamespacedName) int {
		calm := func(key types.NamespacedName) int { return min(1, trouble(key)) }
		return cmp.Or(cmp.Compare(calm(b), calm(a)), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	var out []prometheus.Metric
	add := func(namespace, pool string, counts [standings]int) {
		for state, name := range standingNames {
			out = append(out, gauge(serversByState, float64(counts[state]), namespace, pool, name))
		}
	}
	var rest [standings]int
	for i, key := range keys {
		if i < maxPools {
			add(key.Namespace, key.Name, pools[key])
			continue
		}
		for state, n := range pools[key] {
			rest[state] += n
		}
	}
	if len(keys) > maxPools {
		beyond := others
		if mine != shard.Main {
			beyond += "_" + string(mine)
		}
		add(others, beyond, rest)
	}
	return out
}
