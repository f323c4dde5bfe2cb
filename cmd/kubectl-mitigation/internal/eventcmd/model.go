package eventcmd

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	typed "k8s.io/client-go/kubernetes/typed/events/v1"
	"k8s.io/client-go/rest"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/insight"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/terminal"
)

// EventList is what happened, the newest last.
type EventList struct {
	// Events in the order of their last time.
	Events []Event `json:"events"`
}

// Event is one thing that happened, as often as it did.
type Event struct {
	// LastTime and FirstTime are when it happened last and first.
	LastTime time.Time `json:"lastTime"`
	// FirstTime is when it happened first.
	FirstTime time.Time `json:"firstTime"`
	// Type is Normal or Warning.
	Type string `json:"type"`
	// Reason in one word.
	Reason string `json:"reason"`
	// Action that was taken or that failed.
	Action string `json:"action,omitempty"`
	// Kind of the object that it is about.
	Kind string `json:"kind"`
	// Namespace of the object; absent for kinds without one.
	Namespace string `json:"namespace,omitempty"`
	// Name of the object; of several, the first one.
	Name string `json:"name"`
	// Objects is how many it happened to in the same way.
	Objects int `json:"objects"`
	// Related is the other object that it is about, as KIND/NAME.
	Related string `json:"related,omitempty"`
	// Count is how often it happened.
	Count int `json:"count"`
	// Message in words.
	Message string `json:"message,omitempty"`
	// By is the controller or agent that says so.
	By string `json:"by,omitempty"`
}

// Object is what events are about.
type Object struct{ Kind, Namespace, Name string }

// clusterEvents is where events of objects without a namespace are.
const clusterEvents = metav1.NamespaceDefault

// Open makes a client of the Events of a cluster.
func Open(config *rest.Config) (typed.EventsGetter, error) {
	client, err := typed.NewForConfig(rest.CopyConfig(config))
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	return client, nil
}

// pageSize is how many events one answer brings.
const pageSize = 500

func options(o metav1.ListOptions) metav1.ListOptions {
	o.FieldSelector = fields.OneTermEqualSelector("regarding.apiVersion", emsv1.GroupVersion.String()).String()
	return o
}

// namespaces are those that a question about one of them reads.
func namespaces(namespace string) []string {
	if namespace == metav1.NamespaceAll || namespace == clusterEvents {
		return []string{namespace}
	}
	return []string{namespace, clusterEvents}
}

// Read reads the Events about objects of EMS in a namespace, and of those without one; in all of them if it is empty.
func Read(ctx context.Context, source typed.EventsGetter, namespace string) ([]eventsv1.Event, error) {
	var all []eventsv1.Event
	for _, n := range namespaces(namespace) {
		list, _, err := read(ctx, source, n)
		if err != nil {
			return nil, err
		}
		all = append(all, keep(list, namespace)...)
	}
	return all, nil
}

// keep leaves out, of what the namespace "default" has, what is about objects of that namespace, unless it is the one that is looked at.
func keep(list []eventsv1.Event, namespace string) []eventsv1.Event {
	return slices.DeleteFunc(list, func(e eventsv1.Event) bool {
		return namespace != "" && e.Regarding.Namespace != "" && e.Regarding.Namespace != namespace
	})
}

func read(ctx context.Context, source typed.EventsGetter, namespace string) (all []eventsv1.Event, version string, err error) {
	o := options(metav1.ListOptions{Limit: pageSize})
	for {
		list, err := source.Events(namespace).List(ctx, o)
		if err != nil {
			return nil, "", fmt.Errorf("list events: %w", err)
		}
		all = append(all, list.Items...)
		if o.Continue = list.Continue; o.Continue == "" {
			return all, list.ResourceVersion, nil
		}
	}
}

// About chooses the events that are about an object, or related to it.
func About(list []eventsv1.Event, object Object) []eventsv1.Event {
	var out []eventsv1.Event
	for i := range list {
		if is(list[i].Regarding.Kind, list[i].Regarding.Namespace, list[i].Regarding.Name, object) ||
			list[i].Related != nil && is(list[i].Related.Kind, list[i].Related.Namespace, list[i].Related.Name, object) {
			out = append(out, list[i])
		}
	}
	return out
}

func is(kind, namespace, name string, o Object) bool {
	return kind == o.Kind && namespace == o.Namespace && strings.EqualFold(name, o.Name)
}

// one brings an Event into the form in which it is shown.
func one(e *eventsv1.Event) Event {
	out := Event{
		Type: e.Type, Reason: e.Reason, Action: e.Action, Kind: e.Regarding.Kind, Namespace: e.Regarding.Namespace, Name: e.Regarding.Name,
		Objects: 1, Count: max(1, int(e.DeprecatedCount)), Message: e.Note, By: cmp.Or(e.ReportingController, e.DeprecatedSource.Component),
	}
	if e.Related != nil {
		out.Related = e.Related.Kind + "/" + e.Related.Name
	}
	first := e.EventTime.Time
	if first.IsZero() {
		first = e.DeprecatedFirstTimestamp.Time
	}
	if first.IsZero() {
		first = e.CreationTimestamp.Time
	}
	last := first
	if t := e.DeprecatedLastTimestamp.Time; t.After(last) {
		last = t
	}
	if e.Series != nil {
		out.Count = max(out.Count, int(e.Series.Count))
		if t := e.Series.LastObservedTime.Time; t.After(last) {
			last = t
		}
	}
	out.FirstTime, out.LastTime = first.UTC(), last.UTC()
	return out
}

// Each has an entry for each Event, the newest last.
func Each(list []eventsv1.Event) []Event {
	out := make([]Event, 0, len(list))
	for i := range list {
		out = append(out, one(&list[i]))
	}
	byTime(out)
	return out
}

func byTime(list []Event) {
	slices.SortStableFunc(list, func(a, b Event) int {
		return cmp.Or(a.LastTime.Compare(b.LastTime), strings.Compare(a.Kind, b.Kind), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name), strings.Compare(a.Reason, b.Reason))
	})
}

// alike is from how many objects on the same thing is one entry.
const alike = 3

// Gather has one entry for what happened to several objects of a namespace in the same way, the newest last.
func Gather(list []eventsv1.Event) []Event {
	type key struct{ kind, namespace, kindOf, reason, action, related, message string }
	groups := map[key][]Event{}
	var order []key
	for _, e := range Each(list) {
		// A message may name the object itself, which then is all that differs.
		k := key{e.Kind, e.Namespace, e.Type, e.Reason, e.Action, e.Related, strings.ReplaceAll(e.Message, e.Name, "")}
		if len(groups[k]) == 0 {
			order = append(order, k)
		}
		groups[k] = append(groups[k], e)
	}
	out := []Event{}
	for _, k := range order {
		out = append(out, merged(groups[k])...)
	}
	byTime(out)
	return out
}

func merged(group []Event) []Event {
	names := map[string]bool{}
	for _, e := range group {
		names[e.Name] = true
	}
	if len(names) > 1 && len(names) < alike {
		return group
	}
	sum := group[0]
	sum.Objects, sum.Count = len(names), 0
	for _, e := range group {
		sum.Count += e.Count
		if e.LastTime.After(sum.LastTime) {
			sum.LastTime = e.LastTime
		}
		if e.FirstTime.Before(sum.FirstTime) {
			sum.FirstTime = e.FirstTime
		}
		if e.Name < sum.Name {
			sum.Name, sum.Message = e.Name, e.Message
		}
	}
	return []Event{sum}
}

// Head and Row make a table of events.
var Head = []string{"LAST SEEN", "TYPE", "REASON", "OBJECT", "COUNT", "MESSAGE"}

// Row is an event in the columns of Head.
func (e *Event) Row(now time.Time) []string {
	return []string{insight.Ago(e.LastTime, now), e.Type, e.Reason, e.object(), insight.Number(e.Count), e.Message}
}

func (e *Event) object() string {
	name := e.Name
	if e.Namespace != "" {
		name = e.Namespace + "/" + name
	}
	text := strings.ToLower(e.Kind) + "/" + name
	if e.Objects > 1 {
		text += fmt.Sprintf(" and %d more", e.Objects-1)
	}
	return text
}

// Table is a list of events for people.
func Table(list []Event, now time.Time, style terminal.Style) []string {
	if len(list) == 0 {
		return []string{"Nothing has been told of. Events are kept for an hour, unless the cluster is set up otherwise; `rollout history` goes back further."}
	}
	rows := make([][]string, 0, len(list))
	for i := range list {
		rows = append(rows, list[i].Row(now))
	}
	return insight.Table(style, "", Head, rows)
}
