package eventcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	typed "k8s.io/client-go/kubernetes/typed/events/v1"

	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/fleet"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/rolloutcmd"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/terminal"
	"mitigation.dev/ems/internal/pause"
)

// Commands has the one command.
func Commands() []cli.Command {
	return []cli.Command{{
		Name: "events", Summary: "say what happened to feeds, mitigations, pools and servers lately",
		Example: "kubectl mitigation events -A --since 15m\nkubectl mitigation events --for server/fe01 --watch", Bind: bind,
	}}
}

// namespaced are the kinds of objects with a namespace.
var namespaced = []string{"PoolMitigationConfig", "PoolServer", "MitigationPlan"}

type command struct {
	world      cli.World
	connection *fleet.Connection
	about      string
	since      time.Duration
	watch, all bool
	each       bool
	output     string

	source    typed.EventsGetter
	namespace string
	object    *Object
}

func bind(w cli.World, flags *pflag.FlagSet) func(context.Context, []string) error {
	c := &command{world: w, connection: fleet.Bind(flags)}
	flags.StringVar(&c.about, "for", "", "only what is about this object, as `KIND/NAME` or KIND/NAMESPACE/NAME: feed, mitigation, pool, server, configuration, plan")
	flags.DurationVar(&c.since, "since", 0, "only what happened within this `time`, such as 1h; all that the cluster has kept if 0")
	flags.BoolVarP(&c.watch, "watch", "w", false, "go on, with a line for each event that comes")
	flags.BoolVarP(&c.all, "all-namespaces", "A", false, "events of all namespaces")
	flags.BoolVar(&c.each, "each", false, "a line for each object, where the same happened to several")
	flags.StringVarP(&c.output, "output", "o", "table", "`form`: table, json or yaml; with --watch json and yaml print a document for each event")
	cli.OneOf(flags, "output", "table", "json", "yaml")
	return func(ctx context.Context, operands []string) error {
		if err := c.open(operands); err != nil {
			return err
		}
		if c.watch {
			return c.follow(ctx)
		}
		list, err := Read(ctx, c.source, c.namespace)
		if err != nil {
			return err
		}
		return c.print(c.choose(list))
	}
}

func (c *command) open(operands []string) error {
	switch {
	case len(operands) > 0:
		return cli.Misused("argument %q: not expected; --for names an object", operands[0])
	case !slices.Contains([]string{"table", "json", "yaml"}, c.output):
		return cli.Misused("--output: %q: want table, json or yaml", c.output)
	case c.since < 0:
		return cli.Misused("--since: want no negative value")
	}
	config, namespace, err := c.connection.Config()
	if err != nil {
		return cli.UsageError{Err: err}
	}
	if c.namespace = namespace; c.all {
		c.namespace = metav1.NamespaceAll
	}
	if c.about != "" {
		object, err := c.parse(namespace)
		if err != nil {
			return err
		}
		if c.object = &object; object.Namespace != "" {
			c.namespace = object.Namespace
		} else {
			c.namespace = metav1.NamespaceAll // What servers say of a mitigation is in theirs.
		}
	}
	if c.source, err = Open(config); err != nil {
		return cli.UsageError{Err: err}
	}
	return nil
}

// parse reads the object of --for.
func (c *command) parse(namespace string) (Object, error) {
	word, name, found := strings.Cut(c.about, "/")
	kind := cli.KindNamed(word)
	if !found || kind == "" || name == "" {
		return Object{}, cli.Misused("--for: %q: want KIND/NAME, with a kind of feed, mitigation, pool, server, configuration or plan", c.about)
	}
	if !slices.Contains(namespaced, kind) {
		if strings.Contains(name, "/") {
			return Object{}, cli.Misused("--for: %q: a %s has no namespace", c.about, kind)
		}
		return Object{Kind: kind, Name: strings.ToLower(name)}, nil
	}
	key, err := c.connection.ParseKey(name, namespace, "--for")
	if err != nil {
		return Object{}, cli.UsageError{Err: err}
	}
	return Object{Kind: kind, Namespace: key.Namespace, Name: key.Name}, nil
}

// choose keeps what was asked for.
func (c *command) choose(list []eventsv1.Event) []eventsv1.Event {
	if c.object != nil {
		list = About(list, *c.object)
	}
	if c.since == 0 {
		return list
	}
	oldest := c.world.Now().Add(-c.since)
	return slices.DeleteFunc(slices.Clone(list), func(e eventsv1.Event) bool { return one(&e).LastTime.Before(oldest) })
}

func (c *command) print(list []eventsv1.Event) error {
	shown := &EventList{Events: Gather(list)}
	if c.each {
		shown.Events = Each(list)
	}
	return rolloutcmd.Write(c.world.Stdout, c.output, shown, func() []string {
		return Table(shown.Events, c.world.Now(), terminal.Detect(c.world.Stdout, c.world.Getenv))
	})
}

// retry is the wait before a watch that could not be begun is begun again.
const retry = 2 * time.Second

// follow prints what there is and then what comes, by watches that begin where the list ended. When the API server no longer has what
// came after that, the list is read again, and what was shown is not shown twice.
func (c *command) follow(ctx context.Context) error {
	group := make(chan error, 2)
	shown := make(chan eventsv1.Event)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	list := namespaces(c.namespace)
	for _, n := range list {
		go func() { group <- c.followOne(ctx, n, shown) }()
	}
	seen := map[types.UID]string{}
	for ended := 0; ended < len(list); {
		select {
		case e := <-shown:
			if seen[e.UID] == e.ResourceVersion {
				continue
			}
			seen[e.UID] = e.ResourceVersion
			if err := c.line(&e); err != nil {
				return err
			}
		case err := <-group:
			if ended++; err != nil && !errors.Is(err, context.Canceled) {
				return err
			}
		}
	}
	return nil
}

// followOne reads one namespace and goes on watching it until the context ends. The first list must succeed.
func (c *command) followOne(ctx context.Context, namespace string, out chan<- eventsv1.Event) error {
	for first := true; ; first = false {
		list, version, err := read(ctx, c.source, namespace)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && first:
			return err
		case err == nil:
			slices.SortStableFunc(list, func(a, b eventsv1.Event) int { return one(&a).LastTime.Compare(one(&b).LastTime) })
			for _, e := range c.choose(keep(list, c.namespace)) {
				if err := send(ctx, out, e); err != nil {
					return err
				}
			}
			if err := c.watchFrom(ctx, namespace, version, out); err != nil {
				return err
			}
		}
		if err := pause.For(ctx, retry); err != nil {
			return err
		}
	}
}

// watchFrom watches until the API server has forgotten what came after the version; the error is that of the context.
func (c *command) watchFrom(ctx context.Context, namespace, version string, out chan<- eventsv1.Event) error {
	for {
		w, err := c.source.Events(namespace).Watch(ctx, options(metav1.ListOptions{ResourceVersion: version, AllowWatchBookmarks: true}))
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case apierrors.IsResourceExpired(err) || apierrors.IsGone(err):
			return nil
		case err != nil:
			if err := pause.For(ctx, retry); err != nil {
				return err
			}
			continue
		}
		gone, err := c.pass(ctx, w, &version, out)
		w.Stop()
		if gone || err != nil {
			return err
		}
	}
}

// pass hands on what a watch brings until it ends. It reports whether the API server no longer has what came after the version.
func (c *command) pass(ctx context.Context, w watch.Interface, version *string, out chan<- eventsv1.Event) (gone bool, err error) {
	for {
		var change watch.Event
		var open bool
		select {
		case change, open = <-w.ResultChan():
		case <-ctx.Done():
			return false, ctx.Err()
		}
		if !open {
			return false, ctx.Err()
		}
		event, ok := change.Object.(*eventsv1.Event)
		if !ok || change.Type == watch.Error {
			return true, nil
		}
		*version = event.ResourceVersion
		if change.Type != watch.Added && change.Type != watch.Modified {
			continue
		}
		for _, e := range c.choose(keep([]eventsv1.Event{*event}, c.namespace)) {
			if err := send(ctx, out, e); err != nil {
				return false, err
			}
		}
	}
}

func send(ctx context.Context, out chan<- eventsv1.Event, e eventsv1.Event) error {
	select {
	case out <- e:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// line prints one event.
func (c *command) line(e *eventsv1.Event) error {
	shown := one(e)
	switch c.output {
	case "json":
		encoder := json.NewEncoder(c.world.Stdout)
		encoder.SetEscapeHTML(false)
		return encoder.Encode(&shown)
	case "yaml":
		return rolloutcmd.Write(c.world.Stdout, c.output, &shown, nil)
	}
	text := fmt.Sprintf("%s %s %s %s", shown.LastTime.Format(time.RFC3339), shown.Type, shown.Reason, shown.object())
	if shown.Count > 1 {
		text += fmt.Sprintf(" (%d times)", shown.Count)
	}
	_, err := fmt.Fprintln(c.world.Stdout, terminal.Clean(text+": "+shown.Message))
	return err
}
