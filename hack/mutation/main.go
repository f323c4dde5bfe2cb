package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"sync"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run returns the exit status: 0 when every mutant was killed, 1 when not, 2 for wrong usage.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	flags := flag.NewFlagSet("mutation", flag.ContinueOnError)
	flags.SetOutput(errs)
	pattern := flags.String("run", "", "only mutants whose step matches this regular `expression`")
	parallel := flags.Int("parallel", 2, "how many mutants are built and tested at a time")
	timeout := flags.Duration("timeout", time.Minute, "a test run that takes longer counts as failed")
	list := flags.Bool("list", false, "print the steps and run nothing")
	root := flags.String("root", ".", "the `folder` of go.mod")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	wanted, err := regexp.Compile(*pattern)
	if err != nil || *parallel < 1 || flags.NArg() > 0 {
		fmt.Fprintf(errs, "mutation: -run %q, -parallel %d, arguments %q: not usable\n", *pattern, *parallel, flags.Args())
		return 2
	}
	var chosen []mutant
	for _, m := range mutants() {
		if wanted.MatchString(m.step) {
			chosen = append(chosen, m)
		}
	}
	if *list {
		for _, m := range chosen {
			fmt.Fprintln(out, m.step)
		}
		return 0
	}
	return report(out, runAll(ctx, &runner{root: *root, timeout: *timeout}, chosen, *parallel, out))
}

// runAll prints each result as it comes and returns them in the order of the table.
func runAll(ctx context.Context, r *runner, chosen []mutant, parallel int, out io.Writer) []result {
	results := make([]result, len(chosen))
	next := make(chan int)
	var printing sync.Mutex
	var workers sync.WaitGroup
	for range parallel {
		workers.Go(func() {
			for i := range next {
				results[i] = r.test(ctx, chosen[i])
				printing.Lock()
				fmt.Fprintln(out, results[i])
				printing.Unlock()
			}
		})
	}
	for i := range chosen {
		next <- i
	}
	close(next)
	workers.Wait()
	return results
}

// report prints the sum, and once more what needs attention.
func report(out io.Writer, results []result) int {
	killed, code := 0, 0
	var remain []string
	for _, r := range results {
		if r.verdict == killedByTest {
			killed++
		} else {
			remain = append(remain, r.String())
			code = 1
		}
	}
	fmt.Fprintf(out, "\n%d mutants, %d killed\n", len(results), killed)
	if len(remain) > 0 {
		fmt.Fprintf(out, "not killed:\n  %s\n", strings.Join(remain, "\n  "))
	}
	if len(results) == 0 {
		return 1 // a filter that matches nothing proves nothing
	}
	return code
}
