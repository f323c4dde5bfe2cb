//go:build !windows

package docs_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/test/docs/walk"
)

var (
	updatePages = flag.Bool("update", false, "write what commands print into the pages")
	onlyPages   = flag.String("page", "", "run the commands of pages whose path contains this")
	builtIn     = flag.String("programs", "", "folder with our programs, instead of building them")
)

// Reasons that several commands share.
const (
	docker = "needs Docker and a registry"
	nodes  = "needs a cluster with nodes; test/api creates what it applies"
	etcd   = "needs the tools of etcd; TestRestoreOfAnOldBackup goes back by a copy of the data folder"
)

// notRun are the commands that cannot be run here, with the reason: the page, and the first line of the command.
var notRun = map[[2]string]string{
	{"README.md", "make playground"}:                                                 "docs/quickstart.md has it",
	{"README.md", "make demo"}:                                                       "phase demo of .ci/run",
	{"README.md", "make test"}:                                                       "phase test of .ci/run, which this is part of",
	{"CONTRIBUTING.md", "make help         # all targets"}:                           "they are what continuous integration runs",
	{"docs/quickstart.md", "git clone https://github.com/contoso/ems.git && cd ems"}: "the address is where your copy is",

	{"docs/guides/fleet-page.md", "kubectl port-forward --namespace ems-system service/ems-manager-page 8444:443"}:                                             "needs a cluster with nodes; test/browser and test/access read the page",
	{"docs/guides/first-pool.md", "make docker-build VERSION=v0.0.0-dev"}:                                                                                      docker,
	{"docs/guides/first-pool.md", "docker tag ems-manager:v0.0.0-dev registry.example.com/ems-manager:v0.0.0-dev"}:                                             docker,
	{"docs/guides/first-pool.md", "docker push registry.example.com/ems-manager:v0.0.0-dev"}:                                                                   docker,
	{"docs/guides/first-pool.md", "kubectl apply --server-side -k config/default"}:                                                                             nodes,
	{"docs/guides/first-pool.md", "kubectl -n ems-system rollout status deployment/ems-manager"}:                                                               nodes,
	{"docs/guides/first-pool.md", "kubectl apply -f config/samples/mitigationfeed_exchange.yaml"}:                                                              "the feed needs the Internet; test/api creates the manifest",
	{"docs/spec/v1alpha1/poolserver.md", "ems-agent.exe service install --start"}:                                                                              "Windows; test/windows runs it under Wine",
	{"docs/operations/air-gapped.md", "curl -sO http://crl.contoso.com/issuing.crl"}:                                                                           "the list of somebody's authority",
	{"docs/operations/disaster-recovery.md", "etcdctl snapshot save etcd.db"}:                                                                                  etcd,
	{"docs/operations/disaster-recovery.md", "etcdutl snapshot restore etcd.db --data-dir /var/lib/etcd-restored --bump-revision 1000000000 --mark-compacted"}: etcd,
	{"docs/operations/disaster-recovery.md", "kubectl -n ems-system rollout restart deployment/ems-manager"}:                                                   nodes,

	{"docs/reference/metrics.md", `ems-agent.exe service install --metrics-file "C:\Program Files\windows_exporter\textfile_inputs\ems-agent.prom"`}:                                   "Windows; cmd/ems-agent tests the flag's path",
	{"docs/spec/v1alpha1/mitigationbundle.md", "kubectl get mitigationbundle \"$bundle\" -o jsonpath='{.spec.revocationLists[0]}' | base64 -d | openssl crl -inform der -noout -text"}: "the feed of the fleet has no revocation list",
}

// scenarioOf are scenarios of pages that do not say theirs.
var scenarioOf = map[string]string{
	"docs/reference/metrics.md": scenarioCluster,
	"docs/operations/enroll.md": scenarioCluster,
}

// before is a setup for pages that do not have theirs.
var before = map[string]string{
	"docs/operations/enroll.md": `kubectl apply -f config/samples/poolmitigationconfig.yaml
printf 'pool,server,hostName\nfrontends,fe01,fe01.contoso.example\nfrontends,fe02,fe02.contoso.example\n' > servers.csv`,
}

// generated pages are made from the commands themselves.
func generated(path string) bool {
	return strings.HasPrefix(path, "docs/reference/kubectl-mitigation") || path == "docs/reference/v1alpha1.md"
}

// pages reads every page with commands.
func pages(t *testing.T) []*walk.Page {
	t.Helper()
	var found []*walk.Page
	for _, path := range markdown(t) {
		if generated(path) {
			continue
		}
		p, err := walk.Parse(path, readFile(t, path))
		if err != nil {
			t.Error(err)
			continue
		}
		if p.Scenario == "" {
			p.Scenario = scenarioOf[path]
		}
		if setup, ok := before[path]; ok {
			p.Blocks = slices.Insert(p.Blocks, 0, walk.Block{Language: walk.Hidden, Commands: []walk.Command{{Text: setup}}})
		}
		if len(p.Blocks) > 0 {
			found = append(found, p)
		}
	}
	return found
}

// reasonNotToRun is that of the table.
func reasonNotToRun(page *walk.Page, c walk.Command) (reason string, found bool) {
	first, _, _ := strings.Cut(c.Text, "\n")
	reason, found = notRun[[2]string{page.Path, first}]
	return reason, found
}

// isRun tells whether this test runs a command.
func isRun(p *walk.Page, b walk.Block, c walk.Command) bool {
	_, excused := reasonNotToRun(p, c)
	return !excused && len(p.CoveredBy(b)) == 0
}

func TestEveryCommandIsRun(t *testing.T) {
	used := map[[2]string]bool{}
	commands := 0
	for _, p := range pages(t) {
		checkTestsOf(t, p)
		for _, b := range p.Blocks {
			if len(b.Commands) == 0 && len(p.TestedBy) == 0 {
				t.Errorf("%s:%d: a console without a line that begins with $: nobody knows what to type", p.Path, b.Line)
			}
			for _, c := range b.Commands {
				commands++
				if _, found := reasonNotToRun(p, c); found {
					first, _, _ := strings.Cut(c.Text, "\n")
					used[[2]string{p.Path, first}] = true
				}
				if isRun(p, b, c) && !slices.Contains(scenarios, p.Scenario) {
					t.Errorf("%s:%d: nothing runs %q: the page needs <!-- docs:scenario … --> (one of %s) or <!-- docs:tested-by … -->, or the command a line in notRun",
						p.Path, c.Line, c.Text, strings.Join(scenarios, ", "))
				}
			}
		}
	}
	for entry := range notRun {
		if !used[entry] {
			t.Errorf("notRun has %q of %s, which is not there", entry[1], entry[0])
		}
	}
	if commands < 150 {
		t.Errorf("only %d commands were found; does the test still understand the documents?", commands)
	}
}

// checkTestsOf makes sure that tests that a page names are there and speak of the page.
func checkTestsOf(t *testing.T, p *walk.Page) {
	t.Helper()
	for _, files := range p.TestedBy {
		for _, file := range files {
			content, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
			switch {
			case err != nil:
				t.Errorf("%s: docs:tested-by: %v", p.Path, err)
			case !strings.HasSuffix(file, "_test.go") || !strings.Contains(string(content), filepath.Base(p.Path)):
				t.Errorf("%s: docs:tested-by: %s is no test that speaks of the page", p.Path, file)
			}
		}
	}
}

// TestCommandsOfThePages runs them.
func TestCommandsOfThePages(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("needs a control plane, which -short leaves out")
	}
	f := newFixture(t)
	ran := 0
	for _, scenario := range scenarios {
		for _, p := range pages(t) {
			if p.Scenario != scenario || !strings.Contains(p.Path, *onlyPages) {
				continue
			}
			f.enter(t, scenario)
			t.Run(p.Path, func(t *testing.T) { ran += f.run(t, p) })
		}
	}
	t.Logf("%d commands were run", ran)
	if ran < 80 && *onlyPages == "" {
		t.Errorf("only %d commands were run", ran)
	}
}

// run runs a page in a shell of its own.
func (f *fixture) run(t *testing.T, p *walk.Page) (ran int) {
	f.reset(t)
	folder := f.folder(t)
	shell, err := walk.Open(t.Context(), folder, f.environ(folder))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = shell.Close() }() // what it runs was judged already
	written := newWriter(t, p)
	for _, b := range p.Blocks {
		for i, c := range b.Commands {
			if !isRun(p, b, c) || b.Given {
				continue
			}
			ran++
			exit := 0
			if i == len(b.Commands)-1 {
				exit = b.Exit
			}
			got, err := runCommand(t, shell, b, c, exit)
			got = strings.ReplaceAll(got, folder+"/", "")
			var differs *differsError
			switch {
			case errors.As(err, &differs) && *updatePages:
				written.replace(c, got)
			case err != nil:
				t.Errorf("%s:%d: $ %s\n%v", p.Path, c.Line, c.Text, err)
			}
			if errors.Is(err, walk.ErrOver) || t.Context().Err() != nil {
				return ran // the shell is of no use any more
			}
		}
	}
	written.save(t)
	return ran
}

// differsError is an output that is not what the page shows.
type differsError struct{ difference string }

func (e *differsError) Error() string { return "the page says (-), the command (+):\n" + e.difference }

const (
	// commandLimit is for the slowest command of a page; those that wait have limits of their own.
	commandLimit = 100 * time.Second
	// settles is how long what is only looked at may take to become what the page shows.
	settles = 30 * time.Second
)

// looks are commands that may be repeated until they show what the page shows: they change nothing.
var looks = []string{"kubectl get ", "kubectl events ", "kubectl describe ", "kubectl mitigation rollout status", "kubectl mitigation explain", "kubectl mitigation get", "kubectl mitigation tree", "kubectl mitigation check", "curl ", "grep "}

// runCommand runs one command, again where it only looks and does not see yet what the page shows.
func runCommand(t *testing.T, shell *walk.Shell, b walk.Block, c walk.Command, exit int) (output string, err error) {
	t.Helper()
	if b.Until != "" {
		return shell.Background(t.Context(), c.Text, b.Until, 30*time.Minute)
	}
	isLook := slices.ContainsFunc(looks, func(look string) bool { return strings.HasPrefix(c.Text, look) })
	deadline := time.Now().Add(settles)
	if *updatePages {
		deadline = time.Now() // the page is wrong on purpose
	}
	for {
		output, code, err := shell.Run(t.Context(), c.Text, commandLimit)
		if err != nil {
			return output, err
		}
		err = compare(b, c, output, code, exit)
		if err == nil || !isLook || time.Now().After(deadline) {
			return output, err
		}
		select {
		case <-t.Context().Done():
			return output, t.Context().Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// compare judges a command by its exit code and by what the page shows of its output.
func compare(b walk.Block, c walk.Command, output string, code, exit int) error {
	if code != exit {
		return fmt.Errorf("exit code %d, want %d:\n%s", code, exit, output)
	}
	if c.Output == "" || b.Example {
		return nil
	}
	want, got := c.Output, output
	if b.Columns {
		want, got = walk.FirstLine(want), walk.FirstLine(got)
	}
	if diff := cmp.Diff(walk.Normalise(want), walk.Normalise(got)); diff != "" {
		return &differsError{diff}
	}
	return nil
}

// writer puts outputs into a page.
type writer struct {
	file  string
	lines []string
	edits []edit
}

type edit struct {
	first, count int
	output       string
}

func newWriter(t *testing.T, p *walk.Page) *writer {
	t.Helper()
	return &writer{file: filepath.Join(root, filepath.FromSlash(p.Path)), lines: strings.Split(readFile(t, p.Path), "\n")}
}

func (w *writer) replace(c walk.Command, output string) {
	first := c.Line - 1 + strings.Count(c.Text, "\n") + 1
	w.edits = append(w.edits, edit{first: first, count: strings.Count(c.Output, "\n"), output: strings.TrimRight(output, "\n")})
}

// save writes the page if anything was replaced. Later lines go first, so that the numbers of the earlier ones stay right.
func (w *writer) save(t *testing.T) {
	t.Helper()
	if len(w.edits) == 0 {
		return
	}
	for _, e := range slices.Backward(w.edits) {
		w.lines = slices.Replace(w.lines, e.first, e.first+e.count, strings.Split(e.output, "\n")...)
	}
	if err := os.WriteFile(w.file, []byte(strings.Join(w.lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
}
