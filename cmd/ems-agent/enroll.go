package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"mitigation.dev/ems/agent"
	"mitigation.dev/ems/agent/cluster"
	"mitigation.dev/ems/agent/enroll"
	"mitigation.dev/ems/agent/facts"
	"mitigation.dev/ems/agent/identity"
)

// fromInput instead of an enrolment string means that it comes by the standard input.
const fromInput = "-"

// runEnroll is "ems-agent enroll": it exchanges an enrolment string for the credential of this server.
func runEnroll(arguments []string, stdin io.Reader, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("ems-agent enroll", flag.ContinueOnError)
	flags.SetOutput(stderr)
	token := flags.String("token", "", `enrolment string that "kubectl mitigation enroll" printed, or `+fromInput+" to read it from the standard input, where no other user of the server sees it")
	stateDir := flags.String("state-dir", agent.DefaultPaths().StateDir, "folder for the agent's state, the same that the agent is started with")
	server := flags.String("server", "", "name of the PoolServer that this server is (default: the host name, short and in lower case)")
	proxy := flags.String("proxy", "", "HTTP proxy on the way to the API server, http://HOST:PORT, or "+cluster.NoProxy+" (default: what HTTPS_PROXY and NO_PROXY of the environment say)")
	if err := flags.Parse(arguments); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return exitUsage
	}
	options, err := enrolOptions(flags.Args(), *token, *stateDir, *server, *proxy, stdin)
	if err != nil {
		fmt.Fprintf(stderr, "ems-agent enroll: usage:\n%v\nSee ems-agent enroll -help.\n", err)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	result, err := enroll.Run(ctx, options)
	if err != nil {
		fmt.Fprintf(stderr, "ems-agent: %v\n", err)
		return exitFailure
	}
	c := result.Credential
	if result.Already {
		fmt.Fprintf(stdout, "This server has used this string already, and is enrolled as %s of pool %s.\n", c.Identity, c.Pool)
		return 0
	}
	fmt.Fprintf(stdout, "Enrolled as %s of pool %s at %s. The agent renews the credential from now on; it ends at %s if the agent does not run until then.\n",
		c.Identity, c.Pool, c.URL, c.Expires.UTC().Format("2006-01-02 15:04:05Z"))
	return 0
}

// enrolOptions checks the flags and reads the string.
func enrolOptions(operands []string, token, stateDir, server, proxy string, stdin io.Reader) (enroll.Options, error) {
	var problems []error
	if len(operands) > 0 {
		// Not quoted: it may be the string.
		problems = append(problems, errors.New("arguments without a flag: not expected"))
	}
	choose, err := cluster.ParseProxy(proxy)
	if err != nil {
		problems = append(problems, fmt.Errorf("-proxy: %w", err))
	}
	if stateDir == "" {
		problems = append(problems, errors.New("-state-dir: required"))
	}
	if server == "" {
		if server, err = facts.HostName(); err != nil {
			problems = append(problems, fmt.Errorf("-server: not given: %w", err))
		}
	}
	if token == fromInput && len(problems) == 0 {
		content, err := io.ReadAll(io.LimitReader(stdin, 2*identity.MaxEncoded))
		if err != nil {
			problems = append(problems, fmt.Errorf("-token: %w", err))
		}
		token = string(content)
	}
	if cmp.Or(token, fromInput) == fromInput {
		if len(problems) == 0 {
			problems = append(problems, errors.New("-token: required"))
		}
		return enroll.Options{}, errors.Join(problems...)
	}
	if _, err := identity.Decode(token); err != nil {
		problems = append(problems, fmt.Errorf("-token: %w", err))
	}
	return enroll.Options{Text: token, StateDir: stateDir, HostName: server, Proxy: choose}, errors.Join(problems...)
}
