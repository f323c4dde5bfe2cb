//go:build !windows

package docs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/test/harness"
)

// Scenarios of pages: what is there before their first command. Each has what the one before it has, so that all are built once, one
// after the other.
const (
	// scenarioNone is a shell with our programs.
	scenarioNone = "none"
	// scenarioCluster is an API server with what config/ installs, the manager excepted; without any object of ours before each page.
	scenarioCluster = "cluster"
	// scenarioPlayground is what "make playground" leaves running.
	scenarioPlayground = "playground"
	// scenarioFleet is the playground with the feed "contoso" and the pool in mode Enforce: everything is applied everywhere, before
	// each page.
	scenarioFleet = "fleet"
)

// scenarios in the order in which they are built.
var scenarios = []string{scenarioNone, scenarioCluster, scenarioPlayground, scenarioFleet}

// fixtureLimit of whatever is waited for.
const fixtureLimit = 90 * time.Second

// fixture is what pages are run on.
type fixture struct {
	at      string
	env     *harness.Environment
	servers []*harness.Server
	root    string
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	root, err := harness.FindRoot()
	must(t, err)
	var programs harness.Programs
	must(t, programs.FindControlPlane(root))
	if *builtIn == "" || !programs.SetBuilt(*builtIn) {
		must(t, programs.Build(t.Context(), root, t.TempDir()))
	}
	f := &fixture{at: scenarioNone, root: root}
	f.env, err = harness.New(harness.Options{Root: root, Dir: t.TempDir(), Programs: programs})
	must(t, err)
	t.Cleanup(f.env.Stop)
	return f
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// enter builds what a scenario has more than the ones before.
func (f *fixture) enter(t *testing.T, scenario string) {
	t.Helper()
	for _, next := range scenarios {
		if rank(next) <= rank(f.at) || rank(next) > rank(scenario) {
			continue
		}
		begin := time.Now()
		switch next {
		case scenarioCluster:
			must(t, f.env.StartControlPlane(t.Context()))
			must(t, f.env.Install(t.Context()))
		case scenarioPlayground:
			f.sweep(t)
			var err error
			f.servers, err = f.env.Playground(t.Context(), fixtureLimit)
			must(t, err)
			// A server that nobody has touched, for pages that enrol one.
			must(t, os.CopyFS(filepath.Join(f.env.Dir, "spare"), os.DirFS(f.servers[0].Root)))
		case scenarioFleet:
			document, err := f.env.Publisher.Publish(harness.PING1(), harness.M1(), m3(), harness.ECP1())
			must(t, err)
			f.env.Endpoint.Serve(document)
			must(t, f.env.Apply(t.Context(), f.env.Feed(harness.PlaygroundFeed, f.env.Publisher.Trust())))
			_, err = f.env.Poll(t.Context(), harness.PlaygroundFeed, fixtureLimit)
			must(t, err)
		}
		t.Logf("scenario %s is there after %s", next, time.Since(begin).Round(100*time.Millisecond))
		f.at = next
	}
}

func rank(scenario string) int {
	for i, s := range scenarios {
		if s == scenario {
			return i
		}
	}
	return -1
}

// m3 is a second rule, beside M1.
func m3() ocs.Config {
	c := harness.OWA1(2)
	c.ID, c.Actions[0].ID = "M3", "M3.1"
	return c
}

// reset gives the next page what its scenario promises, whatever the page before has left.
func (f *fixture) reset(t *testing.T) {
	t.Helper()
	switch f.at {
	case scenarioCluster:
		f.sweep(t)
	case scenarioFleet:
		pool := harness.PlaygroundPool()
		pool.Mode, pool.Rollout = emsv1.ModeEnforce, harness.AtOnce()
		f.replace(t, pool.Config())
		f.replace(t, f.env.Feed(harness.PlaygroundFeed, f.env.Publisher.Trust()))
		f.kubectl(t, "delete", "mitigationconfigurations", "--all")
		must(t, f.env.Apply(t.Context(), &emsv1.MitigationConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: emsv1.GlobalConfigurationName}, Spec: emsv1.MitigationConfigurationSpec{Mitigations: emsv1.Enabled, Rollout: harness.AtOnce()},
		}))
		for _, id := range []string{"PING1", "M1", "M3", "ECP1"} {
			if err := f.env.WaitForState(t.Context(), fixtureLimit, f.servers, id, emsv1.StateApplied); err != nil {
				t.Fatalf("%v\n%s", err, f.env.Diagnose(t.Context()))
			}
		}
		f.kubectl(t, "wait", "--for=condition=Ready", "--timeout="+fixtureLimit.String(), "mitigations", "--all")
	}
}

// replace writes an object as it is, so that nothing that a page added stays.
func (f *fixture) replace(t *testing.T, object client.Object) {
	t.Helper()
	manifest, err := f.env.Manifests(object)
	must(t, err)
	file := filepath.Join(t.TempDir(), "object.yaml")
	must(t, os.WriteFile(file, manifest, 0o600))
	// kubectl reads the object before it writes it, and the manager may say something of it in between.
	const tries = 10
	for try := 1; ; try++ {
		_, err := f.env.Kubectl.Run(t.Context(), "replace", "-f", file)
		if err == nil || try == tries || !strings.Contains(err.Error(), "(Conflict)") {
			must(t, err)
			return
		}
	}
}

// sweep removes what pages have made in the cluster.
func (f *fixture) sweep(t *testing.T) {
	t.Helper()
	const ours = "mitigationfeeds,mitigationconfigurations,mitigations,mitigationbundles,poolmitigationconfigs,mitigationplans,poolservers"
	f.kubectl(t, "delete", ours, "--all", "--all-namespaces", "--wait=false")
	f.kubectl(t, "delete", "serviceaccounts,secrets,rolebindings", "--all", "-n", harness.PlaygroundPool().Namespace)
	f.kubectl(t, "delete", "clusterrolebinding", "ems-agents-pool-frontends", "--ignore-not-found")
}

func (f *fixture) kubectl(t *testing.T, arguments ...string) {
	t.Helper()
	if _, err := f.env.Kubectl.Run(t.Context(), arguments...); err != nil {
		t.Fatal(err)
	}
}

// folder is the one that a page is run in: like a checkout, as far as pages speak of its files.
func (f *fixture) folder(t *testing.T) string {
	t.Helper()
	folder, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	must(t, os.Mkdir(filepath.Join(folder, "bin"), 0o700))
	must(t, os.Symlink(filepath.Join(f.root, "config"), filepath.Join(folder, "config")))
	must(t, os.Symlink(f.env.Dir, filepath.Join(folder, "bin", "playground")))
	return folder
}

// environ is that of a person who has our programs on the PATH and a kubeconfig with full rights.
func (f *fixture) environ(folder string) []string {
	path := strings.Join(append(f.env.Folders(), os.Getenv("PATH")), string(os.PathListSeparator))
	environment := append(os.Environ(), "HOME="+folder, "TERM=dumb", "LC_ALL=C.UTF-8", "EMS_SOURCE="+f.root, "EDITOR=true", "KUBE_EDITOR=true", "PATH="+path)
	return append(environment, f.env.PlaygroundVariables(f.servers)...)
}
