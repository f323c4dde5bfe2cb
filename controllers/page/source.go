package page

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/shard"
)

const (
	// lookAgainAfter is how long one look at the cache serves everybody who reads: with 10,000 servers, each in trouble, a look
	// takes up to a tenth of a second on a busy machine.
	lookAgainAfter = time.Second
	// readTimeout ends a look while the caches are not filled yet.
	readTimeout = 5 * time.Second
)

// source reads the manager's cache.
type source struct {
	reader client.Reader
	clock  clock.PassiveClock
	shard  shard.Name

	mu   sync.Mutex
	last *sight
}

// look returns what there is, at most a second old.
func (s *source) look(ctx context.Context) (*sight, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	if s.last != nil && now.Sub(s.last.now) < lookAgainAfter && !now.Before(s.last.now) {
		return s.last, nil
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	seen, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	s.last = newSight(seen, now, s.shard)
	return s.last, nil
}

// objects are what pages are made of, as the cache has them: they are for reading only.
type objects struct {
	feeds          []emsv1.MitigationFeed
	mitigations    []emsv1.Mitigation
	configurations []emsv1.MitigationConfiguration
	pools          []emsv1.PoolMitigationConfig
	plans          []emsv1.MitigationPlan
	servers        []emsv1.PoolServer
}

func (s *source) read(ctx context.Context) (objects, error) {
	var feeds emsv1.MitigationFeedList
	var mitigations emsv1.MitigationList
	var configurations emsv1.MitigationConfigurationList
	var pools emsv1.PoolMitigationConfigList
	var plans emsv1.MitigationPlanList
	var servers emsv1.PoolServerList
	for _, list := range []client.ObjectList{&feeds, &mitigations, &configurations, &pools, &plans, &servers} {
		if err := s.reader.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return objects{}, fmt.Errorf("read the cache: %w", err)
		}
	}
	return objects{feeds.Items, mitigations.Items, configurations.Items, pools.Items, plans.Items, servers.Items}, nil
}

// sight is one look at everything, put in order. Nothing in it is changed afterwards: many read it at once.
type sight struct {
	clockwork
	objects

	// mitigationAt and poolAt find objects by name and key.
	mitigationAt map[string]*emsv1.Mitigation
	poolAt       map[types.NamespacedName]*poolSight
	serverAt     map[types.NamespacedName]*standing
	// byName has all pools.
	byName []*poolSight
}

// poolSight is a pool with what belongs to it.
type poolSight struct {
	*emsv1.PoolMitigationConfig

	// plan is nil while there is none.
	plan    *emsv1.MitigationPlan
	planned map[string]*emsv1.PlannedMitigation
	status  map[string]*emsv1.PoolMitigationStatus
	// manager puts into words whose the pool is, if it is another manager's; its servers are then not here.
	manager string
	// servers with trouble come first.
	servers []*standing
	tally   tally
}

// size is the number of servers. Those of another manager's pool that one counts.
func (p *poolSight) size() int {
	if p.manager == "" {
		return len(p.servers)
	}
	return int(ptr.Deref(p.Status.Servers, 0))
}

// silent is the number of servers that are silent.
func (p *poolSight) silent() int {
	if p.manager == "" {
		return p.tally.of(signSilent)
	}
	return int(ptr.Deref(p.Status.Silent, 0))
}

func (p *poolSight) key() string { return p.Namespace + "/" + p.Name }

// fold is how ids are compared.
func fold(id emsv1.MitigationID) string { return strings.ToLower(string(id)) }

// newSight puts in order what the manager of a shard has.
func newSight(seen objects, now time.Time, mine shard.Name) *sight {
	s := &sight{
		clockwork: clockwork{now}, objects: seen, mitigationAt: map[string]*emsv1.Mitigation{},
		poolAt: map[types.NamespacedName]*poolSight{}, serverAt: make(map[types.NamespacedName]*standing, len(seen.servers)),
	}
	slices.SortFunc(s.mitigations, compareMitigations)
	slices.SortFunc(s.feeds, func(a, b emsv1.MitigationFeed) int { return strings.Compare(a.Name, b.Name) })
	for i := range s.mitigations {
		s.mitigationAt[s.mitigations[i].Name] = &s.mitigations[i]
	}
	for i := range s.pools {
		p := &poolSight{
			PoolMitigationConfig: &s.pools[i], planned: map[string]*emsv1.PlannedMitigation{}, status: map[string]*emsv1.PoolMitigationStatus{},
		}
		if !mine.Has(p) {
			p.manager = shard.Of(p).Manager()
		}
		for j := range p.Status.Mitigations {
			p.status[fold(p.Status.Mitigations[j].ID)] = &p.Status.Mitigations[j]
		}
		s.poolAt[types.NamespacedName{Namespace: p.Namespace, Name: p.Name}] = p
		s.byName = append(s.byName, p)
	}
	for i := range s.plans {
		plan := &s.plans[i]
		if p := s.poolAt[types.NamespacedName{Namespace: plan.Namespace, Name: plan.Name}]; p != nil {
			p.plan = plan
			for j := range plan.Spec.Mitigations {
				p.planned[fold(plan.Spec.Mitigations[j].ID)] = &plan.Spec.Mitigations[j]
			}
		}
	}
	s.standings()
	slices.SortFunc(s.byName, func(a, b *poolSight) int { return strings.Compare(a.key(), b.key()) })
	return s
}

// standings says where each server stands.
func (s *sight) standings() {
	all := make([]standing, len(s.servers))
	for i := range s.servers {
		server := &s.servers[i]
		p := s.poolAt[types.NamespacedName{Namespace: server.Namespace, Name: server.Spec.PoolName}]
		all[i] = stand(server, p)
		s.serverAt[types.NamespacedName{Namespace: server.Namespace, Name: server.Name}] = &all[i]
		if p != nil && p.manager == "" {
			p.servers = append(p.servers, &all[i])
			p.tally.add(all[i].Sign)
		}
	}
	for _, p := range s.byName {
		slices.SortFunc(p.servers, func(a, b *standing) int {
			return cmp.Or(cmp.Compare(a.Sign.rank(), b.Sign.rank()), strings.Compare(a.Server.Name, b.Server.Name))
		})
	}
}

var severities = []emsv1.Severity{"Critical", "Important", "Moderate", "Low"}

// compareMitigations puts what is in force first, and the gravest of it first.
func compareMitigations(a, b emsv1.Mitigation) int {
	lifecycle := func(m *emsv1.Mitigation) int {
		if m.Spec.Lifecycle == emsv1.LifecycleActive || m.Spec.Lifecycle == "" {
			return 0
		}
		return 1
	}
	severity := func(m *emsv1.Mitigation) int {
		if at := slices.Index(severities, m.Spec.Severity); at >= 0 {
			return at
		}
		return len(severities)
	}
	return cmp.Or(cmp.Compare(lifecycle(&a), lifecycle(&b)), cmp.Compare(severity(&a), severity(&b)), strings.Compare(a.Name, b.Name))
}
