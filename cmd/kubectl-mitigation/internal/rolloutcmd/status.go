package rolloutcmd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/fleet"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/steer"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/terminal"
)

const (
	// defaultLimit is how many rollouts a person reads one by one.
	defaultLimit = 20
	// maxMessages is how many failing servers are asked for what they say, of all pools, and maxPerPool of one: the reason of a
	// halt is mostly the same on all of them.
	maxMessages, maxPerPool = 20, 5
	// settle gathers changes that come together: the plan and the pool's status of the same event.
	settle = 150 * time.Millisecond
	// tick is how often a terminal's clock goes on.
	tick = time.Second
)

// Exit codes of rollout status. 2 is wrong usage everywhere, which a script that waits must not take for progress.
const (
	exitFailed = 1
	exitMoving = 3
)

// scope is the part of the flags that says which pools are looked at.
type scope struct {
	connection *fleet.Connection
	all        bool
	pools      cli.Names
}

func bindScope(flags *pflag.FlagSet) *scope {
	s := &scope{connection: fleet.Bind(flags)}
	flags.BoolVarP(&s.all, "all-namespaces", "A", false, "pools of all namespaces")
	flags.Var(&s.pools, "pool", "`names` of pools, NAME or NAMESPACE/NAME with commas between them; may be repeated; every pool if absent")
	cli.OfKind(flags, "pool", cli.Pools)
	return s
}

// open returns a client, what has to be read of the cluster, and the pools that are meant; without any, all that is read.
func (s *scope) open(ctx context.Context, global bool) (c *cluster, sources []source, wanted []types.NamespacedName, err error) {
	if s.all && len(s.pools) > 0 {
		return nil, nil, nil, cli.Misused("--all-namespaces, --pool: want one of them")
	}
	config, namespace, err := s.connection.Config()
	if err != nil {
		return nil, nil, nil, cli.UsageError{Err: err}
	}
	namespaces := []string{namespace}
	if s.all {
		namespaces = []string{""}
	}
	if len(s.pools) > 0 {
		namespaces = nil
		for _, text := range s.pools {
			key, err := s.connection.ParseKey(text, namespace, "--pool")
			if err != nil {
				return nil, nil, nil, cli.UsageError{Err: err}
			}
			wanted = append(wanted, key)
			if !slices.Contains(namespaces, key.Namespace) {
				namespaces = append(namespaces, key.Namespace)
			}
		}
	}
	for _, n := range namespaces {
		sources = append(sources, source{resource: poolResource, namespace: n}, source{resource: planResource, namespace: n})
	}
	if c, err = openCluster(config); err != nil {
		return nil, nil, nil, cli.UsageError{Err: err}
	}
	if global && c.readsGlobal(ctx) {
		sources = append(sources, source{resource: configResource, name: emsv1.GlobalConfigurationName})
	}
	return c, sources, wanted, nil
}

// where says in words which pools are looked at.
func (s *scope) where(sources []source) string {
	if s.all || len(s.pools) > 0 || len(sources) == 0 {
		return "of these pools"
	}
	return fmt.Sprintf("in namespace %q", sources[0].namespace)
}

// wider says how to look at more pools, unless that was said already.
func (s *scope) wider() string {
	if s.all || len(s.pools) > 0 {
		return ""
	}
	return "-A looks at all namespaces, -n at another; "
}

// readsGlobal says whether the user may read the global configuration. Who may not still sees the pools, without their rings.
func (c *cluster) readsGlobal(ctx context.Context) bool {
	_, err := c.page(ctx, source{resource: configResource, name: emsv1.GlobalConfigurationName}, metav1.ListOptions{})
	return !apierrors.IsForbidden(err)
}

// statusCommand is what runs "rollout status".
type statusCommand struct {
	world   cli.World
	scope   *scope
	id      string
	watch   bool
	timeout time.Duration
	output  string
	limit   int

	client  *cluster
	sources []source
	wanted  []types.NamespacedName
	gates   map[serverKey]string
}

func bindStatus(w cli.World, flags *pflag.FlagSet) func(context.Context, []string) error {
	c := &statusCommand{world: w, scope: bindScope(flags), gates: map[serverKey]string{}}
	flags.BoolVarP(&c.watch, "watch", "w", false, "go on until nothing moves any more; drawn in place on a terminal, else a line for each change")
	flags.DurationVar(&c.timeout, "timeout", 0, "with --watch: end after this `time`, such as 10m; never if 0")
	flags.StringVarP(&c.output, "output", "o", "table", "`form`: table, json or yaml; with --watch json and yaml print a document for each change")
	cli.OneOf(flags, "output", "table", "json", "yaml")
	flags.IntVar(&c.limit, "limit", defaultLimit, "table: `number` of rollouts that are shown one by one, those first that need attention; 0 for all")
	return func(ctx context.Context, operands []string) error {
		if err := c.check(operands); err != nil {
			return err
		}
		var err error
		if c.client, c.sources, c.wanted, err = c.scope.open(ctx, true); err != nil {
			return err
		}
		if c.watch {
			return c.follow(ctx)
		}
		return c.once(ctx)
	}
}

func (c *statusCommand) check(operands []string) error {
	if len(operands) > 1 {
		return cli.Misused("ID: want one at most, not %d", len(operands))
	}
	if len(operands) == 1 {
		id, err := steer.ParseID(operands[0])
		if err != nil {
			return err
		}
		c.id = string(id)
	}
	switch {
	case !slices.Contains([]string{"table", "json", "yaml"}, c.output):
		return cli.Misused("--output: %q: want table, json or yaml", c.output)
	case c.timeout != 0 && !c.watch:
		return cli.Misused("--timeout: needs --watch")
	case c.timeout < 0, c.limit < 0:
		return cli.Misused("--timeout, --limit: want no negative value")
	}
	return nil
}

// once reads and prints the status.
func (c *statusCommand) once(ctx context.Context) error {
	m := newMirror()
	if err := m.read(ctx, c.client, c.sources); err != nil {
		return err
	}
	status, err := c.look(ctx, m)
	if err != nil {
		return err
	}
	if err := c.print(status, terminal.Detect(c.world.Stdout, c.world.Getenv)); err != nil {
		return err
	}
	return exit(judge(status))
}

func exit(v verdict) error {
	switch v {
	case failed:
		return cli.ExitError{Code: exitFailed}
	case moving:
		return cli.ExitError{Code: exitMoving}
	default:
		return nil
	}
}

// look makes the status of a mirror, and asks failing servers of the rollouts on top what they say.
func (c *statusCommand) look(ctx context.Context, m *mirror) (*RolloutStatus, error) {
	in := m.input(c.world.Now(), c.id, c.wanted)
	for _, key := range c.wanted {
		if !slices.ContainsFunc(in.pools, func(p *emsv1.PoolMitigationConfig) bool { return p.Namespace == key.Namespace && p.Name == key.Name }) {
			return nil, fmt.Errorf("pool %s: there is none", key)
		}
	}
	in.gates = c.gates
	status := look(in)
	if len(status.Rollouts) == 0 && c.id != "" {
		return nil, fmt.Errorf("mitigation %s: no plan %s has it; %skubectl get mitigations lists what there is", c.id, c.scope.where(c.sources), c.scope.wider())
	}
	if c.ask(ctx, status) {
		status = look(in)
	}
	return status, nil
}

// ask reads failing servers by name, each once per rollout.
func (c *statusCommand) ask(ctx context.Context, status *RolloutStatus) (learned bool) {
	asked := 0
	for i := range status.Rollouts {
		r := &status.Rollouts[i]
		for j, s := range r.Failing {
			key := r.serverKey(s.Name)
			if _, known := c.gates[key]; known || j >= maxPerPool || asked >= maxMessages {
				continue
			}
			asked++
			var server emsv1.PoolServer
			if err := c.client.get(ctx, serverResource, types.NamespacedName{Namespace: r.Namespace, Name: s.Name}, &server); err != nil {
				c.gates[key] = fmt.Sprintf("cannot be read: %v", err)
			} else if text := says(&server, r); text != "" {
				c.gates[key] = text
			}
			learned = true
		}
	}
	return learned
}

func (r *Rollout) serverKey(server string) serverKey {
	return serverKey{r.Namespace, server, strings.ToLower(r.Mitigation), r.ID}
}

// says is what a server reports on a rollout: its gate, or if that is about another one, the state of the mitigation.
func says(server *emsv1.PoolServer, r *Rollout) string {
	for _, m := range server.Status.Mitigations {
		if !strings.EqualFold(string(m.ID), r.Mitigation) {
			continue
		}
		if m.Gate.Rollout == r.ID && m.Gate.Message != "" {
			return m.Gate.Message
		}
		return strings.TrimSuffix(m.Reason+": "+m.Message, ": ")
	}
	return ""
}

func (c *statusCommand) print(status *RolloutStatus, style terminal.Style) error {
	return write(c.world.Stdout, c.output, status, func() []string {
		return render(status, layout{style: style, limit: c.limit, quiet: c.id != ""})
	})
}

// write prints a value in one of the forms.
func write(w io.Writer, form string, value any, table func() []string) error {
	var out bytes.Buffer
	switch form {
	case "json", "yaml":
		encoder := json.NewEncoder(&out)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(value); err != nil {
			return err
		}
		if form == "yaml" {
			content, err := yaml.JSONToYAML(out.Bytes())
			if err != nil {
				return err
			}
			out.Reset()
			out.WriteString("---\n")
			out.Write(content)
		}
	default:
		for _, line := range table() {
			out.WriteString(line)
			out.WriteByte('\n')
		}
	}
	_, err := w.Write(out.Bytes())
	return err
}
