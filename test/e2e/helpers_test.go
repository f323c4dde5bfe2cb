package e2e_test

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/rewrite"
	"mitigation.dev/ems/test/harness"
)

// member is a server of a pool that a test asks for.
type member struct {
	name    string
	options harness.ServerOptions
}

func members(names ...string) []member {
	list := make([]member, 0, len(names))
	for _, name := range names {
		list = append(list, member{name: name})
	}
	return list
}

// fixture is a pool with its servers and what was on their disks before their agents were started.
type fixture struct {
	harness.Pool

	servers []*harness.Server
	start   map[string]harness.Snapshot
}

// newPool makes a pool whose servers believe the publisher. Its agents run. prepare, if given, changes each server after the
// first snapshot and before its agent starts. All of it goes when the container or test ends.
func newPool(ctx context.Context, name string, list []member, prepare ...func(*harness.Server)) *fixture {
	GinkgoHelper()
	f := &fixture{
		Pool:  harness.Pool{Name: name, Namespace: "pool-" + name, FQDN: name + ".contoso.com", Rollout: harness.AtOnce()},
		start: map[string]harness.Snapshot{},
	}
	Expect(env.AddPool(ctx, f.Pool)).To(Succeed())
	DeferCleanup(f.remove)
	for _, m := range list {
		m.options.Believes = map[string]emsv1.TrustPolicy{feedName: env.Publisher.Trust()}
		server, err := env.AddServer(ctx, f.Pool, m.name, m.options)
		Expect(err).NotTo(HaveOccurred())
		f.start[m.name], err = server.Snapshot()
		Expect(err).NotTo(HaveOccurred())
		for _, change := range prepare {
			change(server)
		}
		Expect(server.Agent.Start()).To(Succeed())
		f.servers = append(f.servers, server)
	}
	return f
}

// remove stops the agents and deletes the objects. The plan too: no garbage collector runs here.
func (f *fixture) remove(ctx SpecContext) {
	for _, s := range f.servers {
		s.Agent.Stop()
	}
	in := client.InNamespace(f.Namespace)
	Expect(env.Client.DeleteAllOf(ctx, &emsv1.PoolServer{}, in)).To(Succeed())
	Expect(env.Client.DeleteAllOf(ctx, &emsv1.PoolMitigationConfig{}, in)).To(Succeed())
	Expect(env.Client.DeleteAllOf(ctx, &emsv1.MitigationPlan{}, in)).To(Succeed())
}

// server returns one server by name.
func (f *fixture) server(name string) *harness.Server {
	GinkgoHelper()
	for _, s := range f.servers {
		if s.Name == name {
			return s
		}
	}
	Fail("no server " + name)
	return nil
}

// waitFor waits until all servers report a state of every given mitigation.
func (f *fixture) waitFor(ctx context.Context, state emsv1.MitigationState, ids ...string) {
	GinkgoHelper()
	for _, id := range ids {
		Expect(env.WaitForState(ctx, limit, f.servers, id, state)).To(Succeed())
	}
}

// configure changes the pool's policy by a merge patch, as an operator would.
func (f *fixture) configure(ctx context.Context, spec string) {
	GinkgoHelper()
	kubectl(ctx, "patch", "poolmitigationconfig", f.Name, "-n", f.Namespace, "--type=merge", "-p", `{"spec":`+spec+`}`)
}

// block and unblock are policies for configure.
const (
	block   = `{"blocked":[{"id":"M1","reason":"end-to-end test"}]}`
	unblock = `{"blocked":null}`
)

// outcomes are what becomes of a request on every server.
func (f *fixture) outcomes(target string) func(Gomega) []rewrite.Outcome {
	return func(g Gomega) []rewrite.Outcome {
		kinds := make([]rewrite.Outcome, 0, len(f.servers))
		for _, s := range f.servers {
			outcome, err := s.Request("GET", target)
			g.Expect(err).NotTo(HaveOccurred())
			kinds = append(kinds, outcome.Outcome)
		}
		return kinds
	}
}

// differences lists what is different from the start on all servers.
func (f *fixture) differences(g Gomega) []string {
	var all []string
	for _, s := range f.servers {
		now, err := s.Snapshot()
		g.Expect(err).NotTo(HaveOccurred())
		for _, d := range now.Differences(f.start[s.Name]) {
			all = append(all, s.Name+": "+d)
		}
	}
	return all
}

// snapshots of all servers.
func (f *fixture) snapshots() map[string]harness.Snapshot {
	GinkgoHelper()
	all := map[string]harness.Snapshot{}
	for _, s := range f.servers {
		snapshot, err := s.Snapshot()
		Expect(err).NotTo(HaveOccurred())
		all[s.Name] = snapshot
	}
	return all
}

// deleteRules puts applicationHost.config of a server back to how it was before the agent came, by hand.
func (f *fixture) deleteRules(s *harness.Server) {
	GinkgoHelper()
	for name, content := range f.start[s.Name] {
		if strings.HasSuffix(name, "applicationHost.config") {
			Expect(s.WriteConfig([]byte(content))).To(Succeed())
			return
		}
	}
	Fail("no applicationHost.config on " + s.Name)
}

// publish makes the endpoint serve a document of the next sequence, and waits until the feed has accepted it.
func publish(ctx context.Context, configs ...ocs.Config) {
	GinkgoHelper()
	document, err := env.Publisher.Publish(configs...)
	Expect(err).NotTo(HaveOccurred())
	env.Endpoint.Serve(document)
	expectReady(poll(ctx), emsv1.DocumentAcceptedReason)
}

func poll(ctx context.Context) *emsv1.MitigationFeed {
	GinkgoHelper()
	feed, err := env.Poll(ctx, feedName, limit)
	Expect(err).NotTo(HaveOccurred())
	return feed
}

func expectReady(feed *emsv1.MitigationFeed, reason string) {
	GinkgoHelper()
	ready := meta.FindStatusCondition(feed.Status.Conditions, emsv1.ReadyCondition)
	Expect(ready).NotTo(BeNil())
	Expect(*ready).To(And(HaveField("Status", metav1.ConditionTrue), HaveField("Reason", reason)), harness.ReadyText(feed.Status.Conditions))
}

// kubectl runs kubectl and expects it to succeed.
func kubectl(ctx context.Context, arguments ...string) string {
	GinkgoHelper()
	output, err := env.Kubectl.Run(ctx, arguments...)
	Expect(err).NotTo(HaveOccurred())
	return output
}

// waitReady waits for objects as an operator does.
func waitReady(ctx context.Context, arguments ...string) {
	GinkgoHelper()
	kubectl(ctx, append([]string{"wait", "--for=condition=Ready", "--timeout=" + limit.String()}, arguments...)...)
}

// title is a column's title: words with one blank between them. Columns are apart by three.
var title = regexp.MustCompile(`\S+( \S+)*`)

// table reads what kubectl get prints: one map from titles to values for each row.
func table(output string) []map[string]string {
	lines := strings.Split(strings.TrimRight(output, "\n"), "\n")
	columns := title.FindAllStringIndex(lines[0], -1)
	var rows []map[string]string
	for _, line := range lines[1:] {
		row := map[string]string{}
		for i, c := range columns {
			end := len(line)
			if i+1 < len(columns) {
				end = min(end, columns[i+1][0])
			}
			if c[0] < end {
				row[lines[0][c[0]:c[1]]] = strings.TrimSpace(line[c[0]:end])
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// eventsAbout lists the events about an object, as reason and note.
func eventsAbout(ctx context.Context, namespace, name string) func(Gomega) []string {
	return func(g Gomega) []string {
		var list eventsv1.EventList
		g.Expect(env.Client.List(ctx, &list, client.InNamespace(namespace))).To(Succeed())
		var events []string
		for _, e := range list.Items {
			if e.Regarding.Name == name {
				events = append(events, e.Reason+": "+e.Note)
			}
		}
		return events
	}
}

// reported is what a server reports, for Eventually.
func reported(ctx context.Context, s *harness.Server) func(Gomega) *emsv1.PoolServer {
	return func(g Gomega) *emsv1.PoolServer {
		server, err := env.Reported(ctx, s)
		g.Expect(err).NotTo(HaveOccurred())
		return server
	}
}

// haveReady matches an object's conditions by Ready and whether Stalled is there.
func haveReady(status metav1.ConditionStatus, reason string) OmegaMatcher {
	return WithTransform(func(s *emsv1.PoolServer) string {
		ready := meta.FindStatusCondition(s.Status.Conditions, emsv1.ReadyCondition)
		if ready == nil {
			return "not judged yet"
		}
		return fmt.Sprintf("%s/%s", ready.Status, ready.Reason)
	}, Equal(fmt.Sprintf("%s/%s", status, reason)))
}

// watcher looks at the configuration files all the time and remembers when one is not whole.
type watcher struct {
	mu       sync.Mutex
	looks    int
	problems []string
	stop     func()
}

// watch begins to look. The names of our rules on a server have to be one of the allowed sets at every moment.
func watch(servers []*harness.Server, allowed ...string) *watcher {
	end, done := make(chan struct{}), make(chan struct{})
	w := &watcher{stop: func() { close(end); <-done }}
	go func() {
		defer close(done)
		ticker := time.NewTicker(2 * time.Millisecond)
		defer ticker.Stop()
		for {
			for _, s := range servers {
				w.look(s, allowed)
			}
			select {
			case <-end:
				return
			case <-ticker.C:
			}
		}
	}()
	return w
}

func (w *watcher) look(s *harness.Server, allowed []string) {
	names, err := s.RuleNames()
	problem := ""
	if err != nil {
		problem = err.Error()
	} else if set := strings.Join(names, "; "); !slices.Contains(allowed, set) {
		problem = fmt.Sprintf("server %s: rules %q", s.Name, set)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks++
	if problem != "" {
		w.problems = append(w.problems, problem)
	}
}

// result returns the number of looks and what was wrong.
func (w *watcher) result() (looks int, problems []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.looks, w.problems
}

// duration is what an environment variable says, for those who have more time than a test of everything.
func duration(variable string, otherwise time.Duration) time.Duration {
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	value, err := time.ParseDuration(text)
	if err != nil {
		panic(variable + ": " + err.Error()) // while the tree of tests is built there is no test to fail
	}
	return value
}
