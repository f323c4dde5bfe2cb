package members

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// poolNameIndex is the field that PoolServers are indexed by.
const poolNameIndex = "spec.poolName"

// Index indexes servers by pool. It has to be called once for each manager, before it starts.
func Index(ctx context.Context, indexer client.FieldIndexer) error {
	err := indexer.IndexField(ctx, &emsv1.PoolServer{}, poolNameIndex,
		func(o client.Object) []string { return []string{o.(*emsv1.PoolServer).Spec.PoolName} })
	if err != nil {
		return fmt.Errorf("index PoolServers by pool: %w", err)
	}
	return nil
}

// Of returns the servers of a pool. Labels, lists and pointers in them are those of the cache: they are for reading only.
func Of(ctx context.Context, c client.Reader, pool types.NamespacedName) ([]emsv1.PoolServer, error) {
	var list emsv1.PoolServerList
	err := c.List(ctx, &list, client.InNamespace(pool.Namespace), client.MatchingFields{poolNameIndex: pool.Name}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("list PoolServers: %w", err)
	}
	return list.Items, nil
}

// pageSize is how many servers are asked for at a time: some five megabytes, where each has a hundred mitigations.
const pageSize = 500

// Pages reads servers past the cache, page by page, until there are no more or the function wants none. What it is given is overwritten
// by the next page.
func Pages(ctx context.Context, past client.Reader, look func([]emsv1.PoolServer) (more bool), options ...client.ListOption) error {
	list := &emsv1.PoolServerList{}
	for {
		if err := past.List(ctx, list, append(slices.Clone(options), client.Limit(pageSize), client.Continue(list.Continue))...); err != nil {
			return fmt.Errorf("list PoolServers: %w", err)
		}
		if !look(list.Items) || list.Continue == "" {
			return nil
		}
	}
}

// Reported is what a server says of a mitigation; nil if nothing. Agents report in the order of the plan, so the place of the mitigation there
// finds it mostly at once: a thousand servers with a hundred mitigations are five million comparisons otherwise.
func Reported(server *emsv1.PoolServer, id emsv1.MitigationID, place int) *emsv1.ServerMitigation {
	list := server.Status.Mitigations
	if place >= 0 && place < len(list) && list[place].ID == id {
		return &list[place]
	}
	for i := range list {
		if list[i].ID == id {
			return &list[i]
		}
	}
	return nil
}
