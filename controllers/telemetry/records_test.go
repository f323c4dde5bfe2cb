package telemetry

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/shard"
)

// Servers of pools that other managers work for are not in the cache of the one that sends.
func TestEveryServerHasARecordWhoeversItIs(t *testing.T) {
	for name, tc := range map[string]struct {
		shard     string
		wantPages int
	}{
		"one manager asks for nothing":      {},
		"several managers":                  {shard: "europe", wantPages: 1},
		"one manager, and an empty label":   {shard: "-"},
		"a shard that nobody has a pool in": {shard: "asia", wantPages: 1},
	} {
		t.Run(name, func(t *testing.T) {
			scheme := runtime.NewScheme()
			if err := emsv1.AddToScheme(scheme); err != nil {
				t.Fatal(err)
			}
			var objects []client.Object
			for i, of := range []string{"", tc.shard} {
				labels := map[string]string{}
				switch of {
				case "":
				case "-":
					labels[emsv1.ShardLabel] = ""
				default:
					labels[emsv1.ShardLabel] = of
				}
				namespace := fmt.Sprintf("pool-%d", i)
				objects = append(objects, &emsv1.PoolMitigationConfig{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "frontends", Labels: labels}})
				if of == "-" {
					labels = nil // as its manager marks it
				}
				for j := range 3 {
					server := &emsv1.PoolServer{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("fe%d", j), Labels: labels, UID: types.UID(uuid.NewString())}}
					server.Spec.PoolName = "frontends"
					objects = append(objects, server)
				}
			}
			all := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
			pages := 0
			servers := func(list client.ObjectList) bool { _, is := list.(*emsv1.PoolServerList); return is }
			r := &Reconciler{
				Client: interceptor.NewClient(all, interceptor.Funcs{List: func(ctx context.Context, next client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
					if servers(list) {
						options = append(slices.Clone(options), client.MatchingLabelsSelector{Selector: shard.Main.Servers()})
					}
					return next.List(ctx, list, options...)
				}}),
				Reader: interceptor.NewClient(all, interceptor.Funcs{List: func(ctx context.Context, next client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
					if servers(list) {
						pages++
					}
					return next.List(ctx, list, options...)
				}}),
			}
			records, err := r.records(t.Context(), uuid.New())
			if err != nil || len(records) != 6 || pages != tc.wantPages {
				t.Fatalf("%d records after %d pages, error %v, want 6 after %d", len(records), pages, err, tc.wantPages)
			}
			seen := map[string]bool{}
			for _, record := range records {
				seen[fmt.Sprint(record.DeviceID)] = true
			}
			if len(seen) != 6 {
				t.Errorf("a server is there twice: %v", records)
			}
		})
	}
}
