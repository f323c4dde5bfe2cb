package handover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/internal/shard"
	"mitigation.dev/ems/test/kstatus"
)

const managers = "ems-system"

// cluster is what the API server has. What a manager has of it is another client.
type cluster struct {
	*testing.T

	client client.WithWatch
	// refuse fails every mark.
	refuse error
	lists  int
}

func newCluster(t *testing.T, objects ...client.Object) *cluster {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{emsv1.AddToScheme, coordinationv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c := &cluster{T: t}
	under := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&emsv1.PoolMitigationConfig{}).WithObjects(objects...).
		WithIndex(&emsv1.PoolServer{}, "spec.poolName", func(o client.Object) []string { return []string{o.(*emsv1.PoolServer).Spec.PoolName} }).Build()
	c.client = interceptor.NewClient(under, interceptor.Funcs{
		Patch: func(ctx context.Context, next client.WithWatch, o client.Object, patch client.Patch, options ...client.PatchOption) error {
			if c.refuse != nil {
				return c.refuse
			}
			return next.Patch(ctx, o, patch, options...)
		},
		List: func(ctx context.Context, next client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			if _, servers := list.(*emsv1.PoolServerList); servers {
				c.lists++
			}
			return next.List(ctx, list, options...)
		},
	})
	return c
}

// seenBy is what the manager of a shard has in its cache.
func (c *cluster) seenBy(mine shard.Name) client.Client {
	return interceptor.NewClient(c.client, interceptor.Funcs{
		Get: func(ctx context.Context, next client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
			err := next.Get(ctx, key, o, options...)
			if server, ok := o.(*emsv1.PoolServer); ok && err == nil && !mine.Marked(server) {
				return notFound(key)
			}
			return err
		},
		List: func(ctx context.Context, next client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			if _, servers := list.(*emsv1.PoolServerList); servers {
				options = append(slices.Clone(options), client.MatchingLabelsSelector{Selector: mine.Servers()})
			}
			return next.List(ctx, list, options...)
		},
	})
}

func pool(name, of string) *emsv1.PoolMitigationConfig {
	p := &emsv1.PoolMitigationConfig{ObjectMeta: metav1.ObjectMeta{Namespace: "vienna", Name: name, Generation: 3}}
	if of != "" {
		p.Labels = map[string]string{emsv1.ShardLabel: of}
	}
	return p
}

// server is marked with a shard; "-" is the mark without a name.
func server(name, pool, of string) *emsv1.PoolServer {
	s := &emsv1.PoolServer{ObjectMeta: metav1.ObjectMeta{Namespace: "vienna", Name: name, Labels: map[string]string{"rack": "r1"}}, Spec: emsv1.PoolServerSpec{PoolName: pool}}
	if of != "" {
		s.Labels[emsv1.ShardLabel] = strings.Trim(of, "-")
	}
	return s
}

// marks are the servers with their marks.
func (c *cluster) marks() string {
	c.Helper()
	var list emsv1.PoolServerList
	if err := c.client.List(c.Context(), &list); err != nil {
		c.Fatal(err)
	}
	var out []string
	for i := range list.Items {
		s := &list.Items[i]
		mark, marked := s.Labels[emsv1.ShardLabel]
		if marked && mark == "" {
			mark = "-"
		}
		out = append(out, s.Name+":"+mark)
		if s.Labels["rack"] != "r1" {
			c.Errorf("%s has lost another label", s.Name)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestAManagerHandsOverWhatIsNotItsOwn(t *testing.T) {
	for name, tc := range map[string]struct {
		mine, pool string
		servers    []*emsv1.PoolServer
		want       string
	}{
		"its own pool stays":                  {pool: "", servers: []*emsv1.PoolServer{server("a", "frontends", "")}, want: "a:"},
		"the main one to a shard":             {pool: "europe", servers: []*emsv1.PoolServer{server("a", "frontends", ""), server("b", "frontends", "")}, want: "a:europe b:europe"},
		"a shard to the main one":             {mine: "europe", pool: "", servers: []*emsv1.PoolServer{server("a", "frontends", "europe")}, want: "a:"},
		"a shard to another":                  {mine: "europe", pool: "asia", servers: []*emsv1.PoolServer{server("a", "frontends", "europe")}, want: "a:asia"},
		"what it does not have is not its":    {mine: "europe", pool: "asia", servers: []*emsv1.PoolServer{server("a", "frontends", ""), server("b", "frontends", "africa")}, want: "a: b:africa"},
		"other pools of the namespace stay":   {pool: "europe", servers: []*emsv1.PoolServer{server("a", "backends", ""), server("b", "frontends", "")}, want: "a: b:europe"},
		"an empty label is the main one's":    {mine: "europe", pool: "-", servers: []*emsv1.PoolServer{server("a", "frontends", "europe")}, want: "a:"},
		"servers of a pool that is not there": {mine: "europe", pool: "gone", servers: []*emsv1.PoolServer{server("a", "frontends", "europe")}, want: "a:europe"},
	} {
		t.Run(name, func(t *testing.T) {
			objects := []client.Object{pool("frontends", strings.Trim(tc.pool, "-"))}
			if tc.pool == "-" {
				objects[0].SetLabels(map[string]string{emsv1.ShardLabel: ""})
			}
			if tc.pool == "gone" {
				objects = nil
			}
			for _, s := range tc.servers {
				objects = append(objects, s)
			}
			c := newCluster(t, objects...)
			r := &Reconciler{Client: c.seenBy(shard.Name(tc.mine)), Recorder: events.NewFakeRecorder(10), Shard: shard.Name(tc.mine)}
			if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "vienna", Name: "frontends"}}); err != nil {
				t.Fatal(err)
			}
			if got := c.marks(); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

func TestAHandoverThatIsRefusedIsToldAndTriedAgain(t *testing.T) {
	c := newCluster(t, pool("frontends", "europe"), server("a", "frontends", ""))
	c.refuse = errors.New("poolservers is forbidden")
	recorder := events.NewFakeRecorder(10)
	r := &Reconciler{Client: c.seenBy(shard.Main), Recorder: recorder}
	_, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "vienna", Name: "frontends"}})
	if err == nil {
		t.Fatal("nobody tries it again")
	}
	if event := <-recorder.Events; !strings.Contains(event, failed) || !strings.Contains(event, `the manager of shard "europe"`) {
		t.Errorf("event %q", event)
	}
}

func TestMissing(t *testing.T) {
	late := server("b", "frontends", "europe")
	for name, tc := range map[string]struct {
		servers []client.Object
		// late are marked already, and not in the cache yet.
		late string
		want bool
	}{
		"all are there":                  {servers: []client.Object{server("a", "frontends", "europe"), late}},
		"one is not handed over":         {servers: []client.Object{server("a", "frontends", ""), late}, want: true},
		"one is marked with nobody":      {servers: []client.Object{server("a", "frontends", "-"), late}, want: true},
		"one is a third manager's":       {servers: []client.Object{server("a", "frontends", "asia"), late}, want: true},
		"one is on its way to the cache": {servers: []client.Object{server("a", "frontends", "europe"), late}, late: "b", want: true},
		"another pool does not count":    {servers: []client.Object{server("a", "backends", ""), late}},
		"no servers":                     {},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, tc.servers...)
			behind := interceptor.NewClient(c.client, interceptor.Funcs{
				Get: func(ctx context.Context, next client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
					if key.Name == tc.late {
						return notFound(key)
					}
					return next.Get(ctx, key, o, options...)
				},
			})
			n, err := Missing(t.Context(), behind, c.client, pool("frontends", "europe"), "europe")
			if err != nil || n > 0 != tc.want {
				t.Errorf("%d missing, error %v", n, err)
			}
		})
	}
}

// watchful is the main manager's watch over others, in the hands of a test.
type watchful struct {
	*cluster
	*Watch

	clock    *clocktesting.FakeClock
	recorder *events.FakeRecorder
}

func newWatch(t *testing.T, objects ...client.Object) *watchful {
	t.Helper()
	c := newCluster(t, objects...)
	w := &watchful{cluster: c, clock: clocktesting.NewFakeClock(time.Unix(1_900_000_000, 0)), recorder: events.NewFakeRecorder(100)}
	w.Watch = &Watch{Client: c.seenBy(shard.Main), Reader: c.client, Recorder: w.recorder, Namespace: managers, Clock: w.clock}
	return w
}

func (w *watchful) look(after time.Duration) {
	w.Helper()
	w.clock.Step(after)
	if err := w.Look(w.Context()); err != nil {
		w.Fatal(err)
	}
}

// renew makes somebody hold the Lease of a shard, or nobody.
func (w *watchful) renew(of shard.Name, holder string) {
	w.Helper()
	l := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: managers, Name: of.Lease()}}
	if err := w.client.Get(w.Context(), client.ObjectKeyFromObject(l), l); err != nil {
		if err := w.client.Create(w.Context(), l); err != nil {
			w.Fatal(err)
		}
	}
	l.Spec.HolderIdentity, l.Spec.RenewTime = &holder, new(metav1.NewMicroTime(w.clock.Now()))
	if err := w.client.Update(w.Context(), l); err != nil {
		w.Fatal(err)
	}
}

func (w *watchful) reason(name string) string {
	w.Helper()
	p := &emsv1.PoolMitigationConfig{}
	if err := w.client.Get(w.Context(), types.NamespacedName{Namespace: "vienna", Name: name}, p); err != nil {
		w.Fatal(err)
	}
	if len(p.Status.Conditions) == 0 {
		return ""
	}
	if problems := kstatus.Check(p, p.Generation, ptr.Deref(p.Status.ObservedGeneration, 0)); len(problems) > 0 {
		w.Errorf("conditions of %s: %v", name, problems)
	}
	return conditions.Current(p.Status.Conditions).Reason
}

func TestAShardWithoutManagerIsTold(t *testing.T) {
	w := newWatch(t, pool("frontends", "europe"), pool("backends", "asia"), pool("edge", ""))
	want := func(frontends, backends string) {
		t.Helper()
		got := map[string]string{"frontends": w.reason("frontends"), "backends": w.reason("backends"), "edge": w.reason("edge")}
		if diff := cmp.Diff(map[string]string{"frontends": frontends, "backends": backends, "edge": ""}, got); diff != "" {
			t.Errorf("reasons (-want +got):\n%s", diff)
		}
	}
	w.renew("europe", "pod-1")
	w.look(0)
	want("", "")
	for range 5 {
		w.renew("europe", "pod-1")
		w.look(interval)
	}
	want("", emsv1.NoManagerReason)
	event := <-w.recorder.Events
	if !strings.Contains(event, "Warning NoManager") || !strings.Contains(event, "--shard=asia") || !strings.Contains(event, "shard-asia.manager.ems.mitigation.dev") {
		t.Errorf("event %q", event)
	}
	if n := len(w.recorder.Events); n != 0 {
		t.Errorf("%d more events: it is told again and again", n)
	}

	// The one of asia comes; its own look at the pool writes another status, which stays.
	w.renew("asia", "pod-7")
	p := &emsv1.PoolMitigationConfig{}
	if err := w.client.Get(t.Context(), types.NamespacedName{Namespace: "vienna", Name: "backends"}, p); err != nil {
		t.Fatal(err)
	}
	p.Status.ObservedGeneration = new(p.Generation)
	conditions.Set(&p.Status.Conditions, p.Generation, conditions.Done(emsv1.InSyncReason, "all 1 servers are in sync with the plan"))
	if err := w.client.Status().Update(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	w.look(interval)
	want("", emsv1.InSyncReason)

	// The one of europe is stopped in order, and that of asia dies.
	w.renew("europe", "")
	for range 5 {
		w.look(interval)
	}
	want(emsv1.NoManagerReason, emsv1.NoManagerReason)
}

func TestALabelThatIsNoNameIsTold(t *testing.T) {
	w := newWatch(t, pool("frontends", "Europe_1"))
	for range 6 {
		w.look(interval)
	}
	if got := w.reason("frontends"); got != emsv1.NoManagerReason {
		t.Fatalf("reason %q", got)
	}
	if event := <-w.recorder.Events; !strings.Contains(event, "no manager can work for") || !strings.Contains(event, "correct the label") {
		t.Errorf("event %q", event)
	}
}

func TestServersThatAManagerLeftBehindAreFound(t *testing.T) {
	w := newWatch(t, pool("frontends", "europe"),
		server("a", "frontends", "europe"), server("b", "frontends", "europe"), server("x", "frontends", "typo"), server("y", "frontends", "-"), server("z", "gone", "typo"))
	w.renew("europe", "pod-1")
	w.look(0)
	const first = "a:europe b:europe x:europe y:europe z:typo"
	if got := w.marks(); got != first {
		t.Fatalf("at the first look %q, want %q: nobody has those that are marked with what nobody is", got, first)
	}
	// The manager dies, and its pool is given to the main one. While it might be alive, it hands them over itself.
	p := &emsv1.PoolMitigationConfig{}
	if err := w.client.Get(t.Context(), types.NamespacedName{Namespace: "vienna", Name: "frontends"}, p); err != nil {
		t.Fatal(err)
	}
	p.Labels = nil
	if err := w.client.Update(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	w.look(interval)
	if got := w.marks(); got != first {
		t.Errorf("after %s %q, want %q", interval, got, first)
	}
	for range 4 {
		w.look(interval)
	}
	if got := w.marks(); got != "a: b: x: y: z:typo" {
		t.Errorf("%q: its servers were left behind", got)
	}
}

func TestWithOneManagerNothingIsAskedAgain(t *testing.T) {
	w := newWatch(t, pool("frontends", ""), server("a", "frontends", ""))
	for i := range 100 {
		w.look(interval)
		if w.lists > 1 {
			t.Fatalf("servers are listed at look %d, and nobody uses shards", i+1)
		}
	}
}

func TestServersAreLookedForNowAndThen(t *testing.T) {
	w := newWatch(t, pool("frontends", "europe"))
	looks := int(sweepEvery/interval) * 3
	for range looks {
		w.renew("europe", fmt.Sprint(looks))
		w.look(interval)
	}
	if w.lists < 3 || w.lists > 5 {
		t.Errorf("%d times in %s, want about 3", w.lists, time.Duration(looks)*interval)
	}
}

func notFound(key client.ObjectKey) error {
	return apierrors.NewNotFound(emsv1.GroupVersion.WithResource("poolservers").GroupResource(), key.String())
}
