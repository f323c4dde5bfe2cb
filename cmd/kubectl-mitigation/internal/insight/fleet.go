package insight

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/explain"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/fleet"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/rolloutcmd"
	"mitigation.dev/ems/internal/policy/fromapi"
)

// Resources of the API.
const (
	Feeds          = "mitigationfeeds"
	Mitigations    = "mitigations"
	Configurations = "mitigationconfigurations"
	Pools          = "poolmitigationconfigs"
	Plans          = "mitigationplans"
	Servers        = "poolservers"
)

// Fleet is what was read of a cluster.
type Fleet struct {
	Now time.Time
	// Namespace is the one that is looked at; all of them if it is empty.
	Namespace      string
	Feeds          []emsv1.MitigationFeed
	Mitigations    []emsv1.Mitigation
	Configurations []emsv1.MitigationConfiguration
	// Pools and Plans are those of the cluster, as far as the user may see them.
	Pools []emsv1.PoolMitigationConfig
	Plans []emsv1.MitigationPlan
	// Servers are those of the namespace.
	Servers []emsv1.PoolServer
	// Unseen tells what the user may not read, and what cannot be said therefore.
	Unseen []string

	members map[types.NamespacedName][]emsv1.PoolServer
}

// NoServers in place of a namespace leaves out the servers, of which there are the most.
const NoServers = "-"

// Read reads the fleet; of the servers those of the namespace, all of them if it is empty.
func Read(ctx context.Context, r fleet.Reader, namespace string, now time.Time) (*Fleet, error) {
	f := &Fleet{Now: now, Namespace: namespace}
	var feeds emsv1.MitigationFeedList
	var mitigations emsv1.MitigationList
	var configurations emsv1.MitigationConfigurationList
	var pools emsv1.PoolMitigationConfigList
	var plans emsv1.MitigationPlanList
	var servers emsv1.PoolServerList
	for _, needed := range []struct {
		resource, loss string
		list           runtime.Object
	}{
		{Mitigations, "", &mitigations},
		{Configurations, "", &configurations},
		{Feeds, "the products of the feeds are not known", &feeds},
		{Pools, "whether other pools hold a rollout is not known", &pools},
		{Plans, "whether other pools hold a rollout is not known", &plans},
	} {
		err := r.List(ctx, needed.resource, "", needed.list)
		if apierrors.IsForbidden(err) && needed.loss != "" {
			f.Unseen = append(f.Unseen, fmt.Sprintf("%s: list %s: %s", needed.loss, needed.resource, strings.TrimSpace(err.Error())))
			if err = nil; needed.resource != Feeds && namespace != "" && namespace != NoServers {
				err = r.List(ctx, needed.resource, namespace, needed.list)
			}
		}
		switch {
		case apierrors.IsForbidden(err):
			return nil, fmt.Errorf("list %s: %w; bind the role ems-viewer for the cluster", needed.resource, err)
		case err != nil:
			return nil, fmt.Errorf("list %s: %w", needed.resource, err)
		}
	}
	if namespace != NoServers {
		if err := r.List(ctx, Servers, namespace, &servers); err != nil {
			return nil, fmt.Errorf("list %s: %w", Servers, err)
		}
	}
	f.Feeds, f.Mitigations, f.Configurations = feeds.Items, mitigations.Items, configurations.Items
	f.Pools, f.Plans, f.Servers = pools.Items, plans.Items, servers.Items
	f.sort()
	return f, nil
}

// sort brings everything into the order in which it is shown.
func (f *Fleet) sort() {
	slices.SortFunc(f.Feeds, func(a, b emsv1.MitigationFeed) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(f.Mitigations, func(a, b emsv1.Mitigation) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(f.Pools, func(a, b emsv1.PoolMitigationConfig) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	slices.SortFunc(f.Servers, func(a, b emsv1.PoolServer) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
}

// Shown are the pools of the namespace that is looked at.
func (f *Fleet) Shown() []emsv1.PoolMitigationConfig {
	if f.Namespace == "" {
		return f.Pools
	}
	var out []emsv1.PoolMitigationConfig
	for i := range f.Pools {
		if f.Pools[i].Namespace == f.Namespace {
			out = append(out, f.Pools[i])
		}
	}
	return out
}

// Pool finds a pool; nil if there is none.
func (f *Fleet) Pool(key types.NamespacedName) *emsv1.PoolMitigationConfig {
	i := slices.IndexFunc(f.Pools, func(p emsv1.PoolMitigationConfig) bool { return p.Namespace == key.Namespace && p.Name == key.Name })
	if i < 0 {
		return nil
	}
	return &f.Pools[i]
}

// Plan finds the plan of a pool; nil if there is none.
func (f *Fleet) Plan(pool *emsv1.PoolMitigationConfig) *emsv1.MitigationPlan {
	i := slices.IndexFunc(f.Plans, func(p emsv1.MitigationPlan) bool { return p.Namespace == pool.Namespace && p.Name == pool.Name })
	if i < 0 {
		return nil
	}
	return &f.Plans[i]
}

// Mitigation finds a mitigation by its id; nil if there is none.
func (f *Fleet) Mitigation(id string) *emsv1.Mitigation {
	i := slices.IndexFunc(f.Mitigations, func(m emsv1.Mitigation) bool { return strings.EqualFold(string(m.Spec.ID), id) })
	if i < 0 {
		return nil
	}
	return &f.Mitigations[i]
}

// Members are the servers of a pool.
func (f *Fleet) Members(pool *emsv1.PoolMitigationConfig) []emsv1.PoolServer {
	if f.members == nil {
		f.members = map[types.NamespacedName][]emsv1.PoolServer{}
		for i := range f.Servers {
			key := types.NamespacedName{Namespace: f.Servers[i].Namespace, Name: f.Servers[i].Spec.PoolName}
			f.members[key] = append(f.members[key], f.Servers[i])
		}
	}
	return f.members[types.NamespacedName{Namespace: pool.Namespace, Name: pool.Name}]
}

// Of gathers what decisions about a pool are made from. The error says that a configuration cannot be understood, so that nobody knows
// what speaks for the pool.
func (f *Fleet) Of(pool *emsv1.PoolMitigationConfig) (*explain.Objects, error) {
	scope, err := fromapi.InScope(pool, f.Configurations)
	if err != nil {
		return nil, err
	}
	products := map[string]string{}
	for i := range f.Feeds {
		products[f.Feeds[i].Name] = string(f.Feeds[i].Spec.Product)
	}
	return &explain.Objects{
		Sight: fromapi.Sight{
			Pool: pool, Plan: f.Plan(pool), Configurations: scope, Mitigations: f.Mitigations, Servers: f.Members(pool),
			Pools: f.Pools, Plans: f.Plans, Now: f.Now,
		},
		Products: products, Unseen: f.Unseen,
	}, nil
}

// Rollouts says where the rollouts in some pools stand.
func (f *Fleet) Rollouts(pools []emsv1.PoolMitigationConfig) *rolloutcmd.RolloutStatus {
	return rolloutcmd.Look(pools, f.Plans, fromapi.Global(f.Configurations), f.Now)
}
