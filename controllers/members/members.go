package members

import (
	"context"
	"fmt"

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
