package describe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/eventcmd"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/explain"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/fleet"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/insight"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/rolloutcmd"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/terminal"
)

// The kinds of pages, as people name them.
const (
	kindMitigation = "mitigation"
	kindPool       = "pool"
	kindServer     = "server"
	kindFeed       = "feed"
)

var kinds = []string{kindMitigation, kindPool, kindServer, kindFeed}

// kindOf is the kind of page that a word means; empty if it means none.
func kindOf(word string) string {
	return map[string]string{
		"Mitigation": kindMitigation, "PoolMitigationConfig": kindPool, "PoolServer": kindServer, "MitigationFeed": kindFeed,
	}[cli.KindNamed(word)]
}

// Commands has the one command.
func Commands() []cli.Command {
	return []cli.Command{{
		Name: "describe", Arguments: "[mitigation|pool|server|feed] [NAMESPACE/]NAME",
		Summary: "tell everything about a mitigation, a pool, a server or a feed on one page",
		Example: "kubectl mitigation describe M1\nkubectl mitigation describe pool frontends/mail\nkubectl mitigation describe server fe01 -o yaml",
		Completes: []cli.Completion{
			{Words: kinds, Kinds: []cli.Kind{cli.Mitigations, cli.Pools, cli.Servers, cli.Feeds}},
			{Kinds: []cli.Kind{cli.Mitigations, cli.Pools, cli.Servers, cli.Feeds}},
		},
		Bind: bind,
	}}
}

// page is what can be printed.
type page interface {
	Render(style terminal.Style) []string
}

func bind(w cli.World, flags *pflag.FlagSet) func(context.Context, []string) error {
	connection := fleet.Bind(flags)
	var output string
	flags.StringVarP(&output, "output", "o", "text", "`form`: text, json or yaml")
	cli.OneOf(flags, "output", "text", "json", "yaml")
	return func(ctx context.Context, operands []string) error {
		if !slices.Contains([]string{"text", "json", "yaml"}, output) {
			return cli.Misused("--output: %q: want text, json or yaml", output)
		}
		kind, name, err := parse(operands)
		if err != nil {
			return err
		}
		config, namespace, err := connection.Config()
		if err != nil {
			return cli.UsageError{Err: err}
		}
		reader, err := fleet.NewReader(config)
		if err != nil {
			return cli.UsageError{Err: err}
		}
		key, err := connection.ParseKey(name, namespace, "NAME")
		if err != nil {
			return cli.UsageError{Err: err}
		}
		if kind == "" {
			if kind, err = guess(ctx, reader, key, strings.Contains(name, "/")); err != nil {
				return err
			}
		}
		source, err := eventcmd.Open(config)
		if err != nil {
			return cli.UsageError{Err: err}
		}
		in := key.Namespace
		if kind == kindMitigation || kind == kindFeed {
			in = ""
		}
		f, err := insight.Read(ctx, reader, serversOf(kind, key), w.Now())
		if err != nil {
			return err
		}
		events, err := eventcmd.Read(ctx, source, in)
		if err != nil {
			f.Unseen = append(f.Unseen, "events are not shown: "+err.Error())
		}
		p, err := describe(f, kind, key, events)
		if err != nil {
			return err
		}
		return rolloutcmd.Write(w.Stdout, output, p, func() []string { return p.Render(terminal.Detect(w.Stdout, w.Getenv)) })
	}
}

// serversOf is the namespace whose servers a page speaks of.
func serversOf(kind string, key types.NamespacedName) string {
	if kind == kindPool || kind == kindServer {
		return key.Namespace
	}
	return insight.NoServers
}

// parse reads [TYPE] NAME or TYPE/NAME.
func parse(operands []string) (kind, name string, err error) {
	switch len(operands) {
	case 1:
		// A pool could be in a namespace named "pool"; whoever has that gives the type.
		first, rest, found := strings.Cut(operands[0], "/")
		if kind = kindOf(first); found && kind != "" {
			return kind, rest, nil
		}
		return "", operands[0], nil
	case 2:
		if kind = kindOf(operands[0]); kind == "" {
			return "", "", cli.Misused("%q: want mitigation, pool, server or feed", operands[0])
		}
		return kind, operands[1], nil
	}
	return "", "", cli.Misused("want a type and a name, not %d arguments", len(operands))
}

// guess finds out what has a name. What the user may not read does not count.
func guess(ctx context.Context, reader fleet.Reader, key types.NamespacedName, namespaced bool) (string, error) {
	var found []string
	var refused []error
	look := func(kind string, err error) error {
		switch {
		case err == nil:
			found = append(found, kind)
		case apierrors.IsForbidden(err):
			refused = append(refused, err)
		case !apierrors.IsNotFound(err):
			return err
		}
		return nil
	}
	err := errors.Join(
		look(kindPool, reader.Get(ctx, insight.Pools, key, &emsv1.PoolMitigationConfig{})),
		look(kindServer, reader.Get(ctx, insight.Servers, key, &emsv1.PoolServer{})),
	)
	if !namespaced {
		own := types.NamespacedName{Name: strings.ToLower(key.Name)}
		err = errors.Join(err,
			look(kindMitigation, reader.Get(ctx, insight.Mitigations, own, &emsv1.Mitigation{})),
			look(kindFeed, reader.Get(ctx, insight.Feeds, types.NamespacedName{Name: key.Name}, &emsv1.MitigationFeed{})),
		)
	}
	switch {
	case err != nil:
		return "", err
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return "", cli.Misused("%s: is a %s: say which before the name", key.Name, strings.Join(found, " and a "))
	case len(refused) > 0:
		return "", refused[0]
	}
	return "", fmt.Errorf("%s: neither a mitigation nor a feed, and neither a pool nor a server of namespace %s", key.Name, key.Namespace)
}

// describe makes the page.
func describe(f *insight.Fleet, kind string, key types.NamespacedName, events []eventsv1.Event) (page, error) {
	switch kind {
	case kindMitigation:
		if p := Mitigation(f, key.Name, events); p != nil {
			return p, nil
		}
	case kindFeed:
		if i := slices.IndexFunc(f.Feeds, func(feed emsv1.MitigationFeed) bool { return feed.Name == key.Name }); i >= 0 {
			return Feed(f, &f.Feeds[i], events), nil
		}
	case kindPool:
		if pool := f.Pool(key); pool != nil {
			return Pool(f, pool, events), nil
		}
	case kindServer:
		i := slices.IndexFunc(f.Servers, func(s emsv1.PoolServer) bool { return s.Namespace == key.Namespace && s.Name == key.Name })
		if i < 0 {
			break
		}
		var o *explain.Objects
		if pool := f.Pool(types.NamespacedName{Namespace: key.Namespace, Name: f.Servers[i].Spec.PoolName}); pool != nil {
			var err error
			if o, err = f.Of(pool); err != nil {
				return nil, err
			}
		}
		return Server(f, &f.Servers[i], o, events), nil
	}
	name := key.String()
	if kind == kindMitigation || kind == kindFeed {
		name = key.Name
	}
	return nil, fmt.Errorf("%s %s: there is none", kind, name)
}
