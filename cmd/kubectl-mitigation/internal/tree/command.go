package tree

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/types"

	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/fleet"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/insight"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/rolloutcmd"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/terminal"
)

const (
	// defaultPools is how many pools of a mitigation a person reads one by one, maxServers how many servers of a pool.
	defaultPools, maxServers = 20, 5
)

// Commands has the one command.
func Commands() []cli.Command {
	return []cli.Command{{
		Name: "tree", Arguments: "[POOL|ID]", Optional: true,
		Summary:   "show which feed brings which mitigation to which pool, and which servers are not as they are wished",
		Example:   "kubectl mitigation tree -A\nkubectl mitigation tree M1 -A\nkubectl mitigation tree frontends/mail",
		Completes: []cli.Completion{{Kinds: []cli.Kind{cli.Pools, cli.Mitigations}}}, Bind: bind,
	}}
}

func bind(w cli.World, flags *pflag.FlagSet) func(context.Context, []string) error {
	connection := fleet.Bind(flags)
	var output string
	var all bool
	var limit int
	flags.StringVarP(&output, "output", "o", "text", "`form`: text, json or yaml")
	flags.BoolVarP(&all, "all-namespaces", "A", false, "pools of all namespaces")
	flags.IntVar(&limit, "limit", defaultPools, "text: `number` of pools of a mitigation that are shown one by one, those first that need attention; 0 for all, and for all their servers")
	cli.OneOf(flags, "output", "text", "json", "yaml")
	return func(ctx context.Context, operands []string) error {
		switch {
		case len(operands) > 1:
			return cli.Misused("POOL or ID: want one at most, not %d", len(operands))
		case !slices.Contains([]string{"text", "json", "yaml"}, output):
			return cli.Misused("--output: %q: want text, json or yaml", output)
		case limit < 0:
			return cli.Misused("--limit: want no negative value")
		}
		reader, namespace, err := connection.Open()
		if err != nil {
			return cli.UsageError{Err: err}
		}
		if all {
			namespace = ""
		}
		var key types.NamespacedName
		if len(operands) == 1 && strings.Contains(operands[0], "/") {
			if key, err = connection.ParseKey(operands[0], namespace, "POOL"); err != nil {
				return cli.UsageError{Err: err}
			}
			namespace = key.Namespace
		}
		f, err := insight.Read(ctx, reader, namespace, w.Now())
		if err != nil {
			return err
		}
		choice := Choice{Pool: key}
		if len(operands) == 1 && key.Name == "" {
			if choice, err = choose(f, operands[0]); err != nil {
				return err
			}
		}
		if choice.Pool.Name != "" && f.Pool(choice.Pool) == nil {
			return fmt.Errorf("pool %s: there is none", choice.Pool)
		}
		t := Grow(f, choice)
		l := limits{limit, maxServers}
		if limit == 0 {
			l.servers = 0
		}
		return rolloutcmd.Write(w.Stdout, output, t, func() []string { return render(t, l, terminal.Detect(w.Stdout, w.Getenv)) })
	}
}

// choose finds out whether a word is the id of a mitigation or the name of a pool that is shown.
func choose(f *insight.Fleet, word string) (Choice, error) {
	var found []Choice
	if m := f.Mitigation(word); m != nil {
		found = append(found, Choice{ID: string(m.Spec.ID)})
	}
	shown := f.Shown()
	for i := range shown {
		if shown[i].Name == word {
			found = append(found, Choice{Pool: types.NamespacedName{Namespace: shown[i].Namespace, Name: word}})
		}
	}
	switch len(found) {
	case 0:
		return Choice{}, fmt.Errorf("%s: neither a mitigation nor a pool of the namespaces that are looked at; -A looks at all of them", word)
	case 1:
		return found[0], nil
	}
	var names []string
	for _, c := range found {
		if c.ID != "" {
			names = append(names, "mitigation "+c.ID)
			continue
		}
		names = append(names, "pool "+c.Pool.String())
	}
	return Choice{}, cli.Misused("%s: is several things: %s; name a pool as NAMESPACE/NAME", word, strings.Join(names, ", "))
}
