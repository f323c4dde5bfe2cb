package pagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// Fleet is a client.Reader of what stands in it. Who changes it while somebody reads does so by Change.
type Fleet struct {
	mu sync.Mutex

	Feeds          []emsv1.MitigationFeed
	Mitigations    []emsv1.Mitigation
	Configurations []emsv1.MitigationConfiguration
	Pools          []emsv1.PoolMitigationConfig
	Plans          []emsv1.MitigationPlan
	Servers        []emsv1.PoolServer
	// Away makes every read fail.
	Away bool
}

// Change changes the fleet while nobody reads. Objects that were handed out must not be changed: replace them.
func (f *Fleet) Change(change func(*Fleet)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// Get implements client.Reader. Nothing of the page asks for single objects.
func (f *Fleet) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return errors.New("pagetest: the page reads lists")
}

// List implements client.Reader.
func (f *Fleet) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Away {
		return errors.New("pagetest: the cache is not started")
	}
	switch list := list.(type) {
	case *emsv1.MitigationFeedList:
		list.Items = slices.Clone(f.Feeds)
	case *emsv1.MitigationList:
		list.Items = slices.Clone(f.Mitigations)
	case *emsv1.MitigationConfigurationList:
		list.Items = slices.Clone(f.Configurations)
	case *emsv1.PoolMitigationConfigList:
		list.Items = slices.Clone(f.Pools)
	case *emsv1.MitigationPlanList:
		list.Items = slices.Clone(f.Plans)
	case *emsv1.PoolServerList:
		list.Items = slices.Clone(f.Servers)
	default:
		return fmt.Errorf("pagetest: %T: is not read by the page", list)
	}
	return nil
}
