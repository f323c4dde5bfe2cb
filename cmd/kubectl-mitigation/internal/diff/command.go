package diff

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/fleet"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/insight"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/rolloutcmd"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/terminal"
)

// Exit codes, as those of kubectl diff and diff(1): what is more than 1 means that nothing was compared.
const (
	exitDifferent = 1
	exitTrouble   = 2
)

// defaultLimit is how many pools a person reads one by one.
const defaultLimit = 20

// Commands has the one command.
func Commands() []cli.Command {
	return []cli.Command{{
		Name: "diff", Arguments: "[POOL]", Optional: true,
		Summary:   "compare what is wished with what servers report; with -f, say what a change of policy would do",
		Example:   "kubectl mitigation diff -A\nkubectl mitigation diff -f pools/ -R\nkubectl kustomize . | kubectl mitigation diff -f - -o json",
		Completes: []cli.Completion{{Kinds: []cli.Kind{cli.Pools}}}, Bind: bind,
	}}
}

type command struct {
	world      cli.World
	connection *fleet.Connection
	files      []string
	recursive  bool
	manager    string
	all        bool
	output     string
	limit      int
}

func bind(w cli.World, flags *pflag.FlagSet) func(context.Context, []string) error {
	c := &command{world: w, connection: fleet.Bind(flags)}
	flags.StringArrayVarP(&c.files, "filename", "f", nil, "`file` or folder of manifests to compare with the cluster, or - for the standard input; may be repeated")
	flags.BoolVarP(&c.recursive, "recursive", "R", false, "with --filename: folders in folders, too")
	flags.StringVar(&c.manager, "field-manager", "", "with --filename: `name` of the field manager that applies the files for real; found out from the object if absent")
	flags.BoolVarP(&c.all, "all-namespaces", "A", false, "without --filename: pools of all namespaces")
	flags.StringVarP(&c.output, "output", "o", "text", "`form`: text, json or yaml")
	flags.IntVar(&c.limit, "limit", defaultLimit, "text: `number` of pools that are shown; 0 for all")
	cli.OneOf(flags, "output", "text", "json", "yaml")
	return func(ctx context.Context, operands []string) error {
		same, err := c.run(ctx, operands)
		_, misused := errors.AsType[cli.UsageError](err)
		switch {
		case misused:
			return err
		case err != nil:
			// A script must not take trouble for a difference, which exit code 1 is here.
			fmt.Fprintf(w.Stderr, "kubectl-mitigation diff: %v\n", err)
			return cli.ExitError{Code: exitTrouble}
		case !same:
			return cli.ExitError{Code: exitDifferent}
		}
		return nil
	}
}

func (c *command) run(ctx context.Context, operands []string) (same bool, err error) {
	switch {
	case len(operands) > 1:
		return false, cli.Misused("POOL: want one at most, not %d", len(operands))
	case !slices.Contains([]string{"text", "json", "yaml"}, c.output):
		return false, cli.Misused("--output: %q: want text, json or yaml", c.output)
	case c.limit < 0:
		return false, cli.Misused("--limit: want no negative value")
	case len(c.files) > 0 && (c.all || len(operands) > 0):
		return false, cli.Misused("--filename: a preview is of all pools: want no POOL and no --all-namespaces")
	case len(c.files) == 0 && (c.recursive || c.manager != ""):
		return false, cli.Misused("--recursive, --field-manager: need --filename")
	}
	config, namespace, err := c.connection.Config()
	if err != nil {
		return false, cli.UsageError{Err: err}
	}
	reader, err := fleet.NewReader(config)
	if err != nil {
		return false, cli.UsageError{Err: err}
	}
	if len(c.files) > 0 {
		return c.preview(ctx, config, reader, namespace)
	}
	return c.status(ctx, reader, namespace, operands)
}

// status compares plans with reports.
func (c *command) status(ctx context.Context, reader fleet.Reader, namespace string, operands []string) (bool, error) {
	if c.all {
		namespace = metav1.NamespaceAll
	}
	name := ""
	if len(operands) == 1 {
		key, err := c.connection.ParseKey(operands[0], namespace, "POOL")
		switch {
		case err != nil:
			return false, cli.UsageError{Err: err}
		case c.all && !strings.Contains(operands[0], "/"):
			return false, cli.Misused("--all-namespaces, POOL: want one of them")
		}
		namespace, name = key.Namespace, key.Name
	}
	f, err := insight.Read(ctx, reader, namespace, c.world.Now())
	if err != nil {
		return false, err
	}
	pools := f.Shown()
	if name != "" {
		pools = slices.DeleteFunc(slices.Clone(pools), func(p emsv1.PoolMitigationConfig) bool { return p.Name != name })
		if len(pools) == 0 {
			return false, fmt.Errorf("pool %s/%s: there is none", namespace, name)
		}
	}
	d := Compare(f, pools)
	d.Notes = append(d.Notes, f.Unseen...)
	return d.Same, rolloutcmd.Write(c.world.Stdout, c.output, d, func() []string {
		return d.Render(terminal.Detect(c.world.Stdout, c.world.Getenv), c.limit)
	})
}

// preview compares what would be planned with what is.
func (c *command) preview(ctx context.Context, config *rest.Config, reader fleet.Reader, namespace string) (bool, error) {
	manifests, others, err := readFiles(c.files, c.recursive, c.world.Stdin, namespace)
	if err != nil {
		return false, err
	}
	f, err := insight.Read(ctx, reader, metav1.NamespaceAll, c.world.Now())
	if err != nil {
		return false, err
	}
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return false, cli.UsageError{Err: err}
	}
	d := &dryRun{client: client, manager: c.manager}
	p := &ChangePreview{Time: c.world.Now().UTC().Truncate(time.Second), Same: true, Notes: append([]string{}, f.Unseen...)}
	var after changed
	if p.Objects, after, err = d.all(ctx, manifests); err != nil {
		return false, err
	}
	p.Notes = append(p.Notes, d.notes...)
	for _, o := range p.Objects {
		p.Same = p.Same && o.Action == objectSame
	}
	if p.Pools = []PoolChange{}; !p.Same {
		var notes []string
		p.Pools, notes = Foresee(f, after)
		p.Notes = append(p.Notes, notes...)
	}
	if len(others) > 0 {
		p.Notes = append(p.Notes, "left out, because policy does not come from them: "+counted(others))
	}
	return p.Same, rolloutcmd.Write(c.world.Stdout, c.output, p, func() []string {
		return p.Render(terminal.Detect(c.world.Stdout, c.world.Getenv), c.limit)
	})
}

func counted(kinds map[string]int) string {
	var parts []string
	for kind, n := range kinds {
		parts = append(parts, fmt.Sprintf("%d %s", n, kind))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}
