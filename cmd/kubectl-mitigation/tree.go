package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/fleet"
)

// displayName is what people type, whether or not kubectl is the one that runs the program.
const displayName = "kubectl mitigation"

// helpWidth wraps what is said of flags.
const helpWidth = 130

// branches say what commands have in common that begin with the same word.
var branches = map[string]string{
	"feed":    "check, sign, verify and serve documents of mitigations",
	"bundle":  "carry a document to a cluster that cannot reach the publisher",
	"rollout": "look at rollouts, and have a say in them",
}

// tree makes a tree of all commands.
func (p *program) tree() *cobra.Command {
	root := p.branch("kubectl-mitigation", "")
	root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: displayName}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetHelpFunc(func(c *cobra.Command, _ []string) { p.help(p.stdout, c) })
	root.SetUsageFunc(func(c *cobra.Command) error { p.help(p.stderr, c); return nil })
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		if errors.Is(err, pflag.ErrHelp) {
			return err
		}
		return usageError{Err: err}
	})
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	for _, c := range commands() {
		parent := root
		words := strings.Fields(c.Name)
		for _, word := range words[:len(words)-1] {
			parent = p.below(parent, word)
		}
		parent.AddCommand(p.leaf(c, words[len(words)-1]))
	}
	root.InitDefaultHelpCmd()
	return root
}

// below is the branch of a name, made where there is none.
func (p *program) below(parent *cobra.Command, name string) *cobra.Command {
	for _, c := range parent.Commands() {
		if c.Name() == name {
			return c
		}
	}
	c := p.branch(name, branches[name])
	parent.AddCommand(c)
	return c
}

// branch is a word of a command that is none by itself. It reads no flags: what is wrong is the word behind it.
func (p *program) branch(name, summary string) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: summary, SilenceErrors: true, SilenceUsage: true, DisableFlagParsing: true, Args: cobra.ArbitraryArgs,
		SuggestionsMinimumDistance: 2,
		RunE:                       func(c *cobra.Command, arguments []string) error { return p.unknown(c, arguments) },
	}
}

// unknown says that there is no such command, and what may have been meant.
func (p *program) unknown(c *cobra.Command, arguments []string) error {
	isHelp := func(argument string) bool { return argument == "--help" || argument == "-h" }
	if slices.ContainsFunc(arguments, isHelp) {
		p.help(p.stdout, c)
		return nil
	}
	words := strings.Fields(strings.TrimPrefix(c.CommandPath(), c.Root().CommandPath()))
	if len(arguments) == 0 {
		p.help(p.stderr, c) // Half a command: what can follow says it all.
		return cli.ExitError{Code: exitUsage}
	}
	if i := slices.IndexFunc(arguments, func(a string) bool { return !strings.HasPrefix(a, "-") }); i >= 0 {
		suggestions := c.SuggestionsFor(arguments[i])
		words = append(words, arguments[i])
		for k := range suggestions {
			suggestions[k] = strings.TrimSpace(strings.Join(words[:len(words)-1], " ") + " " + suggestions[k])
		}
		if len(suggestions) > 0 {
			fmt.Fprintf(p.stderr, "kubectl-mitigation: unknown command %q. Did you mean %s?\n", strings.Join(words, " "), strings.Join(suggestions, " or "))
			return cli.ExitError{Code: exitUsage}
		}
	} else {
		words = append(words, arguments[0])
	}
	fmt.Fprintf(p.stderr, "kubectl-mitigation: unknown command %q\n", strings.Join(words, " "))
	p.help(p.stderr, c)
	return cli.ExitError{Code: exitUsage}
}

// leaf is a command.
func (p *program) leaf(c cli.Command, name string) *cobra.Command {
	made := &cobra.Command{
		Use: strings.TrimSpace(name + " " + c.Arguments), Short: c.Summary, Example: c.Example,
		SilenceErrors: true, SilenceUsage: true, DisableFlagsInUseLine: true, Args: cobra.ArbitraryArgs,
	}
	run := c.Bind(p.world(), made.Flags())
	made.RunE = func(cmd *cobra.Command, operands []string) error {
		switch {
		case c.Arguments == "" && len(operands) > 0:
			return misused("argument %q: not expected", operands[0])
		case c.Arguments != "" && !c.Optional && len(operands) == 0:
			return misused("%s: missing", c.Arguments)
		}
		return run(cmd.Context(), operands)
	}
	p.complete(made, c)
	return made
}

// help explains a command, or lists those below it.
func (p *program) help(w io.Writer, c *cobra.Command) {
	if c.HasAvailableSubCommands() {
		p.overview(w, c)
		return
	}
	path := strings.TrimPrefix(strings.TrimPrefix(c.CommandPath(), c.Root().CommandPath()), " ")
	fmt.Fprintf(w, "%s\n\nUsage:\n  %s %s\n", sentence(c.Short), displayName, strings.TrimSpace(path+" [flags]"+strings.TrimPrefix(c.Use, c.Name())))
	if c.Example != "" {
		fmt.Fprintf(w, "\nExamples:\n  %s\n", strings.ReplaceAll(c.Example, "\n", "\n  "))
	}
	own, common := pflag.NewFlagSet("", pflag.ContinueOnError), false
	c.Flags().VisitAll(func(flag *pflag.Flag) {
		if fleet.IsCommon(flag) {
			common = true
			return
		}
		own.AddFlag(flag)
	})
	if own.HasAvailableFlags() {
		fmt.Fprintf(w, "\nFlags:\n%s", own.FlagUsagesWrapped(helpWidth))
	}
	if common {
		fmt.Fprintf(w, "\nThe flags of kubectl that choose a cluster and a user, such as --context and --as: %s options.\n", displayName)
	}
}

func sentence(text string) string { return strings.ToUpper(text[:1]) + text[1:] + "." }

// overview lists the commands below one, all of them by their full names.
func (p *program) overview(w io.Writer, c *cobra.Command) {
	below := strings.TrimSpace(strings.TrimPrefix(c.CommandPath(), c.Root().CommandPath()))
	if below == "" {
		fmt.Fprintln(w, "Protect pools of servers with emergency mitigations: look, steer, roll out, publish.")
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "Usage:\n  %s COMMAND [flags]\n", strings.TrimSpace(displayName+" "+below))
	for _, g := range groups() {
		first := true
		for _, command := range g.commands {
			if below != "" && !strings.HasPrefix(command.Name, below+" ") {
				continue
			}
			if first {
				fmt.Fprintf(w, "\n%s:\n", g.title)
				first = false
			}
			summary, _, _ := strings.Cut(command.Summary, ";")
			fmt.Fprintf(w, "  %-20s %s\n", command.Name, summary)
		}
	}
	fmt.Fprintf(w, "\n%s COMMAND --help explains a command. Exit codes: 0 as asked, 1 failed or \"no\", 2 wrong usage, 3 not yet.\n", displayName)
}

// bindOptions lists the flags that the help of single commands leaves out.
func bindOptions(w cli.World, _ *pflag.FlagSet) func(context.Context, []string) error {
	return func(context.Context, []string) error {
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		fleet.Bind(flags)
		_, err := fmt.Fprintf(w.Stdout, "Every command with a cluster takes the flags of kubectl that choose it, and the user. Where --server names a server of a pool\n"+
			"(get, export, enroll), the API server is that of the kubeconfig and --context:\n%s", flags.FlagUsagesWrapped(helpWidth))
		return err
	}
}
