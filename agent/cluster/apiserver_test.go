//go:build !windows

// The control plane that tests start does not run on Windows.
package cluster

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onsi/gomega"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/test/testenv"
)

// requests are those that a connection makes: "LIST", "WATCH", or the method.
type requests struct {
	mu   sync.Mutex
	seen []string
	// watches are how long each watch was asked to last.
	watches []time.Duration
}

func (r *requests) wrap(next http.RoundTripper) http.RoundTripper {
	return tripper(func(request *http.Request) (*http.Response, error) {
		kind := request.Method
		if query := request.URL.Query(); query.Get("watch") == "true" {
			kind = "WATCH"
			seconds, _ := strconv.Atoi(query.Get("timeoutSeconds"))
			r.mu.Lock()
			r.watches = append(r.watches, time.Duration(seconds)*time.Second)
			r.mu.Unlock()
		} else if kind == http.MethodGet && query.Has("fieldSelector") {
			kind = "LIST"
		}
		r.mu.Lock()
		r.seen = append(r.seen, kind)
		r.mu.Unlock()
		return next.RoundTrip(request)
	})
}

type tripper func(*http.Request) (*http.Response, error)

func (t tripper) RoundTrip(request *http.Request) (*http.Response, error) { return t(request) }

// TestAgentNeverLists looks at the requests that a real API server gets.
func TestAgentNeverLists(t *testing.T) {
	gomega.RegisterTestingT(t)
	env := testenv.Start()
	t.Cleanup(env.Stop)
	namespace := env.Namespace(t.Context())
	server := &emsv1.PoolServer{}
	server.Namespace, server.Name, server.Spec.PoolName = namespace, "fe01", "frontends"
	planned := &emsv1.MitigationPlan{}
	planned.Namespace, planned.Name, planned.Spec.Mode = namespace, "frontends", emsv1.ModeEnforce
	planned.Spec.Sources = []emsv1.PlanSource{{Kind: "PoolMitigationConfig", Name: "frontends", Generation: ptr.To[int64](1)}}
	for _, o := range []client.Object{server, planned} {
		if err := env.Client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	var seen requests
	config := rest.CopyConfig(env.Config)
	config.Wrap(seen.wrap)
	connection, err := ConnectConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	a := &api{T: t, client: connection.Client}
	a.cluster = New(Options{Client: connection.Client, Recorder: connection.Recorder, Namespace: namespace, Pool: "frontends", Server: "fe01", Clock: connection.Clock.Told})
	a.start()
	if err := a.cluster.Report(t.Context(), Report{PlanGeneration: 1}); err != nil {
		t.Fatal(err)
	}
	planned.Spec.RepairRequest = "now"
	if err := env.Client.Update(t.Context(), planned); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	a.until("the plan arrives", func() bool { p, known, err := a.cluster.Plan(); return err == nil && known && p.RepairRequest == "now" })
	t.Logf("the plan arrived within %v", time.Since(began))
	if err := env.Client.Delete(t.Context(), planned); err != nil {
		t.Fatal(err)
	}
	a.until("the plan is gone", func() bool { p, known, err := a.cluster.Plan(); return err == nil && known && p == nil })
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if got := strings.Join(seen.seen, ","); got != "WATCH,WATCH,PATCH" {
		t.Errorf("requests: %s, want two watches and one write", got)
	}
	// docs/operations/enroll.md promises the end of them.
	if len(seen.watches) != 2 || slices.Min(seen.watches) < watchFor || slices.Max(seen.watches) > time.Hour {
		t.Errorf("watches of %v", seen.watches)
	}
	if told := connection.Clock.Told(); !told.Known || told.Skewed {
		t.Errorf("clock: %+v", told)
	}
}
