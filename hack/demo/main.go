package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"mitigation.dev/ems/test/harness"
	"mitigation.dev/ems/test/iistree"
)

// Exit codes.
const (
	exitFailure     = 1
	exitUsage       = 2
	exitInterrupted = 130
)

// options are the flags.
type options struct {
	once          bool
	playground    bool
	document      string
	feedWithTrust string
}

func main() {
	var o options
	flag.BoolVar(&o.once, "once", isSet("ONCE"), "check every step, stop everything, and exit with 1 if a step does not hold (default: $ONCE)")
	flag.BoolVar(&o.playground, "playground", false, "tell no story: leave a fleet running for docs/quickstart.md, in bin/playground")
	flag.StringVar(&o.document, "feed-document", os.Getenv("FEED_DOCUMENT"), "file with a signed document to serve instead of a fresh one (default: $FEED_DOCUMENT)")
	flag.StringVar(&o.feedWithTrust, "feed-trust", os.Getenv("FEED_TRUST"),
		"manifest of a MitigationFeed whose spec.trust judges that document (default: $FEED_TRUST, then config/samples/mitigationfeed_exchange.yaml)")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "demo: argument %q: not expected\n", flag.Arg(0))
		os.Exit(exitUsage)
	}
	os.Exit(run(o))
}

// isSet tells whether an environment variable says yes.
func isSet(name string) bool {
	value := os.Getenv(name)
	return value != "" && value != "0" && value != "false"
}

func run(o options) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go harness.EndWithParent(ctx, cancel)

	t := newTeller(os.Stdout)
	env, err := prepare(ctx, o, t)
	if err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		return exitFailure
	}
	keep := false
	defer func() {
		t.say("Stopping everything")
		env.Stop()
		if !keep {
			_ = os.RemoveAll(env.Dir)
		}
		t.say("Nothing is left running")
	}()

	if o.playground {
		return runPlayground(ctx, env, t)
	}
	err = tell(ctx, o, env, t)
	if ctx.Err() != nil {
		return exitInterrupted
	}
	if err != nil || t.failed > 0 && o.document == "" { // that a given document is refused tells nothing of the system
		keep = true
		t.say("What there is to see (all logs: %s):", filepath.Join(env.Dir, "logs"))
		t.text(env.Diagnose(ctx))
	}
	if err != nil {
		t.checkError(err, "the story goes on")
	}
	t.result()
	if !o.once {
		showNext(env, t)
		<-ctx.Done()
		return 0
	}
	if t.failed > 0 {
		return exitFailure
	}
	return 0
}

// prepare finds the programs and a folder to work in.
func prepare(ctx context.Context, o options, t *teller) (*harness.Environment, error) {
	root, err := harness.FindRoot()
	if err != nil {
		return nil, err
	}
	dir, err := workFolder(o, root)
	if err != nil {
		return nil, err
	}
	env, err := prepareIn(ctx, root, dir, t)
	if err != nil {
		_ = os.RemoveAll(dir)
	}
	return env, err
}

func prepareIn(ctx context.Context, root, dir string, t *teller) (*harness.Environment, error) {
	var programs harness.Programs
	built := filepath.Join(root, "bin")
	if !programs.SetBuilt(built) {
		t.say("the programs are not all in bin; building them (`make demo` does it beforehand)")
	} else if info, err := os.Stat(programs.Manager); err == nil {
		t.say("bin/manager and bin/ems-agent as they were built %s", info.ModTime().Format(time.DateTime))
	}
	return harness.Prepare(ctx, dir, built)
}

// workFolder is one that is easy to type when people shall use it, and one of its own when nobody looks.
func workFolder(o options, root string) (string, error) {
	if o.once && !o.playground {
		return os.MkdirTemp("", "ems-demo-")
	}
	dir := filepath.Join(root, "bin", "demo")
	if o.playground {
		dir = filepath.Join(root, "bin", "playground")
	}
	if err := takeOver(dir); err != nil {
		return "", err
	}
	return dir, nil
}

// takeOver empties a folder unless another demonstration that still runs uses it.
func takeOver(dir string) error {
	owner := filepath.Join(dir, "pid")
	if content, err := os.ReadFile(owner); err == nil {
		var pid int
		if _, err := fmt.Sscan(string(content), &pid); err == nil && alive(pid) {
			return fmt.Errorf("another demonstration runs already (process %d) and uses %s", pid, dir)
		}
	}
	return errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755), os.WriteFile(owner, fmt.Appendln(nil, os.Getpid()), 0o644))
}

func alive(pid int) bool {
	process, err := os.FindProcess(pid)
	return err == nil && process.Signal(syscall.Signal(0)) == nil
}

func showNext(env *harness.Environment, t *teller) {
	t.chapter("Everything keeps running. In another terminal, in %s:", env.Root)
	t.text(fmt.Sprintf(`export KUBECONFIG=$PWD/%[1]s
alias kubectl=%[2]s
kubectl get mitigations
kubectl get ems -A
kubectl get poolservers -A -o wide
kubectl apply -f config/samples/poolmitigationconfig.yaml     # blocks M1: its rule disappears from every server
kubectl describe poolserver fe01 -n pool-frontends            # what happened there
bin/kubectl-mitigation rollout status -A                      # how far every mitigation has come
cat %[3]s
Ctrl-C here stops everything and removes %[4]s.`, shorten(env, env.Kubectl.Kubeconfig), shorten(env, env.Kubectl.Path),
		shorten(env, filepath.Join(env.Dir, "servers", pool.Namespace, serverNames[0], "disk", filepath.FromSlash(iistree.ConfigFile))), shorten(env, env.Dir)))
}
