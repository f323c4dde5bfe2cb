package controllers

import (
	"encoding/json"
	"fmt"
	"runtime"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/shard"
)

func TestEveryManagerKeepsTheServersOfItsPools(t *testing.T) {
	selector := func(mine shard.Name) labels.Selector {
		for object, of := range ShardCacheOptions(mine).ByObject {
			if _, ok := object.(*emsv1.PoolServer); ok {
				return of.Label
			}
		}
		t.Fatal("all servers are kept")
		return nil
	}
	europe := labels.Set{emsv1.ShardLabel: "europe"}
	for name, tc := range map[string]struct {
		mine                  shard.Name
		wantEurope, wantOwner bool
	}{
		"the main one":         {wantOwner: true},
		"the one of the shard": {mine: "europe", wantEurope: true},
		"another one":          {mine: "asia"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := selector(tc.mine).Matches(europe); got != tc.wantEurope {
				t.Errorf("a server of europe is kept: %t", got)
			}
			if got := selector(tc.mine).Matches(labels.Set{}); got != tc.wantOwner {
				t.Errorf("a server without a mark is kept: %t", got)
			}
		})
	}
}

// leaseOf is the metadata of a Lease, as the API server sends it.
func leaseOf(i int) *metav1.PartialObjectMetadata {
	name := fmt.Sprintf("fe%05d", i)
	full := &metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{APIVersion: coordinationv1.SchemeGroupVersion.String(), Kind: "Lease"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "pool-frontends", Name: name, UID: types.UID(fmt.Sprintf("0f0a7e4c-1111-4222-8333-%012d", i)), ResourceVersion: fmt.Sprint(1_000_000 + i),
			CreationTimestamp: metav1.NewTime(time.Unix(1_900_000_000, 0)),
			Labels:            map[string]string{"ems.mitigation.dev/pool": "frontends", "ems.mitigation.dev/server": name},
			OwnerReferences:   []metav1.OwnerReference{{APIVersion: "ems.mitigation.dev/v1alpha1", Kind: "PoolServer", Name: name, UID: types.UID(fmt.Sprintf("1f0a7e4c-1111-4222-8333-%012d", i))}},
		},
	}
	for _, manager := range []string{"kubectl-mitigation", "ems-agent"} {
		full.ManagedFields = append(full.ManagedFields, metav1.ManagedFieldsEntry{Manager: manager, Operation: "Update", APIVersion: "coordination.k8s.io/v1", FieldsType: "FieldsV1"})
	}
	text, _ := json.Marshal(full)
	sent := &metav1.PartialObjectMetadata{}
	_ = json.Unmarshal(text, sent)
	return sent
}

// heapOf is what each of many objects takes that a transform has gone over.
func heapOf(t *testing.T, transform func(any) (any, error)) int {
	t.Helper()
	const objects = 10_000
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	kept := make([]any, objects)
	for i := range kept {
		var err error
		if kept[i], err = transform(leaseOf(i)); err != nil {
			t.Fatal(err)
		}
	}
	after := heap()
	runtime.KeepAlive(kept)
	return int(after-before) / objects
}

// Every manager keeps something of the Lease of each server of the fleet, whoever's it is.
func TestALeaseTakesLittle(t *testing.T) {
	little := heapOf(t, nameAndVersion)
	t.Logf("%d bytes for a Lease, %d with all of its metadata but managed fields", little, heapOf(t, cache.TransformStripManagedFields()))
	if little > 1024 {
		t.Errorf("a Lease takes %d bytes, want less than a kilobyte", little)
	}
	lease := leaseOf(7)
	if _, err := nameAndVersion(lease); err != nil || lease.Name != "fe00007" || lease.Namespace == "" || lease.ResourceVersion == "" {
		t.Errorf("%+v, %v: what liveness looks at is gone", lease, err)
	}
	if gone, err := nameAndVersion("what is no object"); err != nil || gone != "what is no object" {
		t.Errorf("%v, %v", gone, err)
	}
}
