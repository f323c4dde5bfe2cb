package eventcmd

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	typed "k8s.io/client-go/kubernetes/typed/events/v1"

	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/fleet"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/insight/insighttest"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/terminal"
)

var update = flag.Bool("update", false, "write the golden files")

func TestTables(t *testing.T) {
	many := insighttest.Events()
	for i := range 2000 {
		many = append(many, insighttest.Event("PoolServer", "branches", fmt.Sprintf("shop%04d", i), "DriftRepaired", "Something else had changed what M1 put in place; revision 3 was restored", 10*time.Minute))
	}
	for name, test := range map[string]struct {
		list  []Event
		width int
	}{
		"gathered":   {Gather(insighttest.Events()), 120},
		"each":       {Each(insighttest.Events()), 120},
		"narrow":     {Gather(insighttest.Events()), 60},
		"thousands":  {Gather(many), 120},
		"nothing":    {Gather(nil), 120},
		"one-object": {Gather(About(insighttest.Events(), Object{Kind: "PoolServer", Namespace: "frontends", Name: "mail04"})), 120},
		"mitigation": {Gather(About(insighttest.Events(), Object{Kind: "Mitigation", Name: "m1"})), 120},
	} {
		t.Run(name, func(t *testing.T) {
			insighttest.Golden(t, *update, name, Table(test.list, insighttest.Evening, terminal.Plain(test.width)))
		})
	}
}

// TestGathering: nothing is lost, and only what says the same is put together.
func TestGathering(t *testing.T) {
	event := func(name, note string) eventsv1.Event {
		return insighttest.Event("PoolServer", "a", name, "R", note, time.Minute)
	}
	for name, test := range map[string]struct {
		events []eventsv1.Event
		want   []string
	}{
		"two objects stay two":                 {[]eventsv1.Event{event("x", "n"), event("y", "n")}, []string{"x 1 1", "y 1 1"}},
		"three become one":                     {[]eventsv1.Event{event("z", "n"), event("x", "n"), event("y", "n")}, []string{"x 3 3"}},
		"a name in the words does not divide":  {[]eventsv1.Event{event("x1", "x1 is up"), event("y1", "y1 is up"), event("z1", "z1 is up")}, []string{"x1 3 3"}},
		"other words do":                       {[]eventsv1.Event{event("x", "n"), event("y", "m"), event("z", "o")}, []string{"x 1 1", "y 1 1", "z 1 1"}},
		"one object several times is one, too": {[]eventsv1.Event{event("x", "n"), event("x", "n")}, []string{"x 1 2"}},
	} {
		var got []string
		for _, e := range Gather(test.events) {
			got = append(got, fmt.Sprint(e.Name, " ", e.Objects, " ", e.Count))
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestObjects(t *testing.T) {
	for text, want := range map[string]Object{
		"feed/contoso": {Kind: "MitigationFeed", Name: "contoso"}, "Mitigation/M1": {Kind: "Mitigation", Name: "m1"},
		"pools/mail": {Kind: "PoolMitigationConfig", Namespace: "here", Name: "mail"}, "server/there/fe01": {Kind: "PoolServer", Namespace: "there", Name: "fe01"},
		"mconf/global": {Kind: "MitigationConfiguration", Name: "global"},
	} {
		got, err := commandFor(text).parse("here")
		if err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"feed", "pod/x", "feed/", "/x", "feed/a/b", "pool/a/b/c"} {
		_, err := commandFor(text).parse("here")
		if _, misused := errors.AsType[cli.UsageError](err); !misused {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func commandFor(text string) *command {
	return &command{about: text, connection: fleet.Bind(pflag.NewFlagSet("", pflag.ContinueOnError))}
}

// source is a cluster that gives events out. Each watch sends what the test says, then ends.
type source struct {
	mu      sync.Mutex
	lists   [][]eventsv1.Event
	watches [][]watch.Event
	asked   []string
}

func (s *source) Events(namespace string) typed.EventInterface {
	return &events{source: s, namespace: namespace}
}

type events struct {
	typed.EventInterface

	source    *source
	namespace string
}

func (e *events) List(_ context.Context, o metav1.ListOptions) (*eventsv1.EventList, error) {
	s := e.source
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, "list "+e.namespace+" "+o.Continue+" "+o.FieldSelector)
	list := &eventsv1.EventList{ListMeta: metav1.ListMeta{ResourceVersion: "7"}}
	if e.namespace == metav1.NamespaceDefault || len(s.lists) == 0 {
		return list, nil
	}
	list.Items, s.lists = s.lists[0], s.lists[1:]
	return list, nil
}

func (e *events) Watch(_ context.Context, o metav1.ListOptions) (watch.Interface, error) {
	s := e.source
	s.mu.Lock()
	defer s.mu.Unlock()
	w := watch.NewFakeWithChanSize(10, false)
	if e.namespace == metav1.NamespaceDefault {
		return w, nil
	}
	s.asked = append(s.asked, "watch from "+o.ResourceVersion)
	if len(s.watches) == 0 {
		return w, nil
	}
	for _, change := range s.watches[0] {
		w.Action(change.Type, change.Object)
	}
	if s.watches = s.watches[1:]; len(s.watches) > 0 {
		w.Stop()
	}
	return w, nil
}

// lines counts what was written and ends the context at the last line.
type lines struct {
	strings.Builder

	want int
	stop func()
}

func (l *lines) Write(p []byte) (int, error) {
	n, err := l.Builder.Write(p)
	if l.want--; l.want == 0 {
		l.stop()
	}
	return n, err
}

// TestFollowing: a watch that ends goes on where it was, one that expired begins anew, and nothing is shown twice.
func TestFollowing(t *testing.T) {
	event := func(name, version string) *eventsv1.Event {
		e := insighttest.Event("PoolServer", "a", name, "R", "note of "+name, time.Minute)
		e.ResourceVersion = version
		return &e
	}
	first, second, third := event("one", "3"), event("two", "8"), event("three", "9")
	s := &source{
		lists: [][]eventsv1.Event{{*first}, {*first, *second, *third}},
		watches: [][]watch.Event{
			{{Type: watch.Added, Object: second}, {Type: watch.Bookmark, Object: &eventsv1.Event{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "8"}}}},
			{{Type: watch.Error, Object: &metav1.Status{Reason: metav1.StatusReasonExpired}}},
			{},
		},
	}
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	out := &lines{want: 3, stop: stop}
	c := &command{world: cli.World{Stdout: out, Now: func() time.Time { return insighttest.Evening }}, source: s, namespace: "a", watch: true, output: "table"}
	if err := c.follow(ctx); err != nil {
		t.Fatal(err)
	}
	want := "2026-05-14T19:59:00Z Normal R poolserver/a/one: note of one\n2026-05-14T19:59:00Z Normal R poolserver/a/two: note of two\n2026-05-14T19:59:00Z Normal R poolserver/a/three: note of three\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
	if asked := strings.Join(s.asked, "\n"); !strings.Contains(asked, "watch from 7") || !strings.Contains(asked, "watch from 8") || !strings.Contains(asked, "regarding.apiVersion=ems.mitigation.dev/v1alpha1") {
		t.Error(asked)
	}
}

// refusing is a cluster that lets nobody see events.
type refusing struct{ typed.EventInterface }

func (r refusing) Events(string) typed.EventInterface { return r }

func (refusing) List(context.Context, metav1.ListOptions) (*eventsv1.EventList, error) {
	return nil, apierrors.NewForbidden(eventsv1.Resource("events"), "", errors.New("no rights"))
}

func TestWhatCannotBeReadIsAnError(t *testing.T) {
	c := &command{source: refusing{}, namespace: "a"}
	if err := c.follow(t.Context()); !apierrors.IsForbidden(err) {
		t.Errorf("%v", err)
	}
	if _, err := Read(t.Context(), refusing{}, "a"); !apierrors.IsForbidden(err) {
		t.Errorf("%v", err)
	}
}

// TestOnlyTheNamespaceAndTheClustersOwn: events about cluster-scoped objects are shown, those of others are not.
func TestOnlyTheNamespaceAndTheClustersOwn(t *testing.T) {
	list := keep(insighttest.Events(), "branches")
	if len(list) != 1 || list[0].Regarding.Kind != "MitigationFeed" {
		t.Errorf("%d events", len(list))
	}
	if got := len(keep(insighttest.Events(), "")); got != len(insighttest.Events()) {
		t.Errorf("%d events", got)
	}
}
