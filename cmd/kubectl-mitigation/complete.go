package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/fleet"
)

// completionTimeout is how long a person waits for a key to do something.
const completionTimeout = 2 * time.Second

// shells are those that scripts are made for.
var shells = []string{"bash", "zsh", "fish", "powershell"}

// bindCompletion prints the script of a shell.
func bindCompletion(w cli.World, _ *pflag.FlagSet) func(context.Context, []string) error {
	return func(_ context.Context, operands []string) error {
		if len(operands) != 1 || !slices.Contains(shells, operands[0]) {
			return misused("want one of %s", strings.Join(shells, ", "))
		}
		root := (&program{stdout: w.Stdout, stderr: w.Stderr, now: w.Now}).tree()
		switch operands[0] {
		case "bash":
			return root.GenBashCompletionV2(w.Stdout, true)
		case "zsh":
			return root.GenZshCompletion(w.Stdout)
		case "fish":
			return root.GenFishCompletion(w.Stdout, true)
		}
		return root.GenPowerShellCompletionWithDesc(w.Stdout)
	}
}

// complete says what shells offer for a command's arguments and flags.
func (p *program) complete(made *cobra.Command, c cli.Command) {
	made.ValidArgsFunction = func(cmd *cobra.Command, operands []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(c.Completes) == 0 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		offer := c.Completes[min(len(operands), len(c.Completes)-1)]
		if len(operands) >= len(c.Completes) && !strings.HasSuffix(c.Arguments, "...") && !strings.HasSuffix(c.Arguments, "...]") {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		if len(operands) > 0 && offer.After[operands[0]] != "" {
			offer.Kinds = []cli.Kind{offer.After[operands[0]]}
		}
		return p.offer(cmd, offer, operands, begun)
	}
	made.Flags().VisitAll(func(flag *pflag.Flag) {
		offer := cli.CompletionOf(flag)
		if len(offer.Kinds)+len(offer.Words) == 0 {
			return
		}
		if err := made.RegisterFlagCompletionFunc(flag.Name, func(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
			return p.offer(cmd, offer, nil, begun)
		}); err != nil {
			// Only a second function for the same flag is an error.
			cobra.CompErrorln(err.Error())
		}
	})
}

// offer are the words and names that go on from what is typed. A cluster that does not answer offers none: a shell has no place for
// errors.
func (p *program) offer(cmd *cobra.Command, offer cli.Completion, typed []string, begun string) ([]string, cobra.ShellCompDirective) {
	offered := slices.Clone(offer.Words)
	if len(offer.Kinds) > 0 {
		names, err := p.names(cmd, offer.Kinds, begun)
		if err != nil {
			cobra.CompDebugln(err.Error(), false)
		}
		offered = append(offered, names...)
	}
	slices.Sort(offered)
	offered = slices.DeleteFunc(slices.Compact(offered), func(word string) bool {
		return slices.Contains(typed, word) || !strings.HasPrefix(strings.ToLower(word), strings.ToLower(begun))
	})
	return offered, cobra.ShellCompDirectiveNoFileComp
}

// names reads names from the cluster that the flags typed so far choose.
func (p *program) names(cmd *cobra.Command, kinds []cli.Kind, begun string) ([]string, error) {
	connection := fleet.Again(cmd.Flags())
	if connection == nil {
		return nil, errors.New("the command takes no cluster")
	}
	connection.SetTimeout(completionTimeout)
	ctx, stop := context.WithTimeout(cmd.Context(), completionTimeout)
	defer stop()
	all, _ := cmd.Flags().GetBool("all-namespaces")
	var names []string
	for _, kind := range kinds {
		found, err := connection.Names(ctx, string(kind), begun, all)
		if err != nil {
			return names, fmt.Errorf("%s: %w", kind, err)
		}
		names = append(names, found...)
	}
	return names, nil
}
