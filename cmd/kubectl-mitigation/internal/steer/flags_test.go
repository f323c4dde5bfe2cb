package steer_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/steer"
)

var now = time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)

// TestMisuse: what is wrong with a call is said before a cluster is looked for, and there is none here.
func TestMisuse(t *testing.T) {
	for line, want := range map[string]string{
		"block":                                                       "ID: want one, not 0",
		"block M1 M2 --pool x":                                        "ID: want one, not 2",
		"block 1M --pool x":                                           `"1M": not an id of a mitigation`,
		"block M1. --pool x":                                          `"M1.": not an id of a mitigation`,
		"block M1 --reason x":                                         "--pool, --organization, --configuration: want one of them",
		"block M1 --pool x":                                           "--reason: missing",
		"block M1 --pool x --reason _":                                "--reason: missing",
		"block M1 --pool a/b/c --reason x":                            `--pool: "a/b/c": want the form NAME or NAMESPACE/NAME`,
		"block M1 --pool a/b -n c --reason x":                         `--namespace, --pool: "c" and "a": want one namespace`,
		"block M1 --pool x --organization --reason x":                 "want only one of them",
		"block M1 --pool x --reason x --dry-run yes":                  `--dry-run: "yes": want none, client or server`,
		"block M1 --pool x --reason x -o wide":                        `--output: "wide": want yaml, json or name`,
		"block M1 --pool x --reason x --expires soon":                 `--expires: "soon": want a time from now`,
		"block M1 --pool x --reason x --expires 0d":                   `--expires: "0d": want a time from now`,
		"block M1 --pool x --reason x --expires -1h":                  `--expires: "-1h": has passed`,
		"block M1 --pool x --reason x --expires 2020-01-01T00:00:00Z": `has passed`,
		"unblock --pool x":                                            "ID: want one, not 0",
		"unblock M1":                                                  "want one of them",
		"suspend --organization":                                      "ID, --all: want one of them",
		"suspend M1 --all --organization":                             "ID, --all: want one of them",
		"suspend M1 --pool x --reason x":                              "a pool has no kill switch for a single mitigation",
		"suspend --all --organization --expires 1h":                   "has no expiry",
		"unsuspend M1 --pool x":                                       "a pool has no kill switch for a single mitigation",
		"unsuspend --organization":                                    "ID, --all: want one of them",
		"approve M1 --pool x --reason x --revision -1":                "--revision: -1: want 1 or more",
		"approve M1 --reason x":                                       "want one of them",
		"enable":                                                      "want one of them",
		"disable --pool x --when-disabled Stop":                       `--when-disabled: "Stop": want Keep or Remove`,
		"disable --organization --when-disabled Keep":                 "--when-disabled: needs --pool",
		"repair a/b/c":                                                "POOL or SERVER",
		"block M1 --pool x --reason x --kubeconfig no-such-file":      "kubeconfig: ",
	} {
		t.Run(line, func(t *testing.T) {
			err := call(t, line)
			if _, ok := errors.AsType[cli.UsageError](err); !ok {
				t.Fatalf("error = %v, want one about the usage", err)
			}
			if !strings.Contains(err.Error(), want) {
				t.Errorf("error = %q, lacks %q", err, want)
			}
		})
	}
}

func call(t *testing.T, line string) error {
	t.Helper()
	words := strings.Fields(line)
	for i := range words {
		words[i] = strings.ReplaceAll(words[i], "_", " ")
	}
	for _, c := range steer.Commands() {
		if c.Name != words[0] {
			continue
		}
		flags := pflag.NewFlagSet(c.Name, pflag.ContinueOnError)
		flags.SetOutput(io.Discard)
		run := c.Bind(cli.World{Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{}, Now: func() time.Time { return now }}, flags)
		operands, rest := []string(nil), words[1:]
		for {
			if err := flags.Parse(rest); err != nil {
				t.Fatal(err)
			}
			if flags.NArg() == 0 {
				return run(t.Context(), operands)
			}
			operands, rest = append(operands, flags.Arg(0)), flags.Args()[1:]
		}
	}
	t.Fatalf("no verb %q", words[0])
	return nil
}
