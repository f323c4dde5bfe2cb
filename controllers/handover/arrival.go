package handover

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/members"
	"mitigation.dev/ems/internal/shard"
)

// names is how many names of servers are asked for at a time.
const names = 2000

// Missing counts servers of a pool that the manager of a shard has yet to get: at least one, if any is missing, and none, if it has all
// of them in its cache. It asks the API server, past the cache.
func Missing(ctx context.Context, cache, past client.Reader, pool *emsv1.PoolMitigationConfig, mine shard.Name) (int, error) {
	missing := 0
	err := members.Pages(ctx, past, func(servers []emsv1.PoolServer) bool {
		for i := range servers {
			if servers[i].Spec.PoolName == pool.Name {
				missing++
			}
		}
		return missing == 0
	}, client.InNamespace(pool.Namespace), client.MatchingLabelsSelector{Selector: mine.Others()})
	if err != nil || missing > 0 {
		return missing, err
	}
	// None is another's. Those that are marked as ours are in the cache when their events have come.
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(emsv1.GroupVersion.WithKind("PoolServerList"))
	for {
		err := past.List(ctx, list, client.InNamespace(pool.Namespace), client.MatchingLabelsSelector{Selector: mine.Servers()},
			client.Limit(names), client.Continue(list.Continue))
		if err != nil {
			return 0, fmt.Errorf("list names of PoolServers: %w", err)
		}
		for i := range list.Items {
			switch err := cache.Get(ctx, client.ObjectKeyFromObject(&list.Items[i]), &emsv1.PoolServer{}, client.UnsafeDisableDeepCopy); {
			case apierrors.IsNotFound(err):
				missing++
			case err != nil:
				return 0, fmt.Errorf("get PoolServer: %w", err)
			}
		}
		if list.Continue == "" {
			return missing, nil
		}
	}
}
