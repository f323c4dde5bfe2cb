package explain

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/fleet"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/steer"
	"mitigation.dev/ems/internal/policy/fromapi"
)

// Commands has the one command.
func Commands() []cli.Command {
	return []cli.Command{{
		Name: "explain", Arguments: "[NAMESPACE/]SERVER|POOL [ID]",
		Summary: "say why a mitigation is, or is not, on a server or in a pool, and what to do; without an id, of each one in a line", Bind: bind,
	}}
}

func bind(w cli.World, flags *pflag.FlagSet) func(context.Context, []string) error {
	connection := fleet.Bind(flags)
	var output string
	flags.StringVarP(&output, "output", "o", "text", "`format`: text, json or yaml")
	cli.OneOf(flags, "output", "text", "json", "yaml")
	return func(ctx context.Context, operands []string) error {
		const what = "SERVER or POOL"
		if len(operands) > 2 {
			return cli.Misused("%s, ID: want two at most, not %d", what, len(operands))
		}
		if !slices.Contains([]string{"text", "json", "yaml"}, output) {
			return cli.Misused("--output: %q: want text, json or yaml", output)
		}
		id := ""
		if len(operands) == 2 {
			if _, err := steer.ParseID(operands[1]); err != nil {
				return err
			}
			id = operands[1]
		}
		if _, err := connection.ParseKey(operands[0], "", what); err != nil {
			return cli.UsageError{Err: err}
		}
		reader, fallback, err := connection.Open()
		if err != nil {
			return cli.UsageError{Err: err}
		}
		key, err := connection.ParseKey(operands[0], fallback, what)
		if err != nil {
			return cli.UsageError{Err: err}
		}
		objects, err := Read(ctx, reader, key)
		if err != nil {
			return err
		}
		objects.Now = w.Now()
		return tell(w.Stdout, objects, id, output)
	}
}

// tell prints one explanation, or all of them.
func tell(w io.Writer, o *Objects, id, output string) error {
	if id != "" {
		x, ok := One(o, id)
		if parent := o.Parent(id); !ok && parent != "" {
			return fmt.Errorf("%s: is a part of mitigation %s: ask for that one", id, parent)
		}
		if !ok {
			return fmt.Errorf("%s: neither the cluster nor the plan of pool %s/%s nor the server knows a mitigation of that id", id, o.Pool.Namespace, o.Pool.Name)
		}
		if output == "text" {
			return x.Write(w)
		}
		return encode(w, x, output)
	}
	list := []Explanation{}
	for _, id := range o.IDs() {
		if x, ok := One(o, id); ok {
			list = append(list, x)
		}
	}
	if output == "text" {
		return WriteTable(w, list)
	}
	return encode(w, list, output)
}

func encode(w io.Writer, value any, output string) error {
	content, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	if output == "yaml" {
		if content, err = yaml.JSONToYAML(content); err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", content)
	return err
}

// Read reads what there is to know about a server, or if there is none of that name about a pool. What the user may not read is said
// in the explanation, if there is something to say without it.
func Read(ctx context.Context, r fleet.Reader, key types.NamespacedName) (*Objects, error) {
	o := &Objects{Products: map[string]string{}}
	poolKey := key
	var server emsv1.PoolServer
	switch err := r.Get(ctx, "poolservers", key, &server); {
	case err == nil:
		o.Server = &server
		poolKey.Name = server.Spec.PoolName
	case !apierrors.IsNotFound(err):
		return nil, fmt.Errorf("server %s: %w", key, err)
	}
	o.Pool = &emsv1.PoolMitigationConfig{}
	switch err := r.Get(ctx, "poolmitigationconfigs", poolKey, o.Pool); {
	case apierrors.IsNotFound(err) && o.Server == nil:
		return nil, fmt.Errorf("%s: neither a server nor a pool; a server or a pool comes first, then the id", key)
	case err != nil:
		return nil, fmt.Errorf("pool %s: %w", poolKey, err)
	}
	var plan emsv1.MitigationPlan
	switch err := r.Get(ctx, "mitigationplans", poolKey, &plan); {
	case err == nil:
		o.Plan = &plan
	case !apierrors.IsNotFound(err):
		return nil, fmt.Errorf("plan %s: %w", poolKey, err)
	}
	return o, o.readLists(ctx, r)
}

// readLists reads what the manager plans from beside the pool.
func (o *Objects) readLists(ctx context.Context, r fleet.Reader) error {
	var configurations emsv1.MitigationConfigurationList
	var mitigations emsv1.MitigationList
	var servers emsv1.PoolServerList
	for _, needed := range []struct {
		resource string
		list     runtime.Object
	}{{"mitigationconfigurations", &configurations}, {"mitigations", &mitigations}} {
		switch err := r.List(ctx, needed.resource, "", needed.list); {
		case apierrors.IsForbidden(err):
			return fmt.Errorf("list %s: %w; what the organisation says is needed to explain anything: bind the role ems-viewer for the cluster", needed.resource, err)
		case err != nil:
			return fmt.Errorf("list %s: %w", needed.resource, err)
		}
	}
	if err := r.List(ctx, "poolservers", o.Pool.Namespace, &servers); err != nil {
		return fmt.Errorf("list poolservers: %w", err)
	}
	scope, err := fromapi.InScope(o.Pool, configurations.Items)
	if err != nil {
		return fmt.Errorf("which configurations speak for the pool cannot be told, so that the manager leaves the plan as it is: %w", err)
	}
	o.Configurations, o.Mitigations = scope, mitigations.Items
	for _, s := range servers.Items {
		if s.Spec.PoolName == o.Pool.Name {
			o.Servers = append(o.Servers, s)
		}
	}
	var pools emsv1.PoolMitigationConfigList
	var plans emsv1.MitigationPlanList
	var feeds emsv1.MitigationFeedList
	for _, extra := range []struct {
		resource, loss string
		list           runtime.Object
	}{
		{"poolmitigationconfigs", "whether other pools hold the rollout is not known", &pools},
		{"mitigationplans", "whether other pools hold the rollout is not known", &plans},
		{"mitigationfeeds", "the product of the feeds is not known", &feeds},
	} {
		if err := r.List(ctx, extra.resource, "", extra.list); err != nil {
			o.Unseen = append(o.Unseen, fmt.Sprintf("%s: list %s: %s", extra.loss, extra.resource, strings.TrimSpace(err.Error())))
		}
	}
	o.Pools, o.Plans = pools.Items, plans.Items
	for i := range feeds.Items {
		o.Products[feeds.Items[i].Name] = string(feeds.Items[i].Spec.Product)
	}
	return nil
}
