package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mitigation.dev/ems/agent"
	"mitigation.dev/ems/agent/cluster"
	"mitigation.dev/ems/agent/credential"
	"mitigation.dev/ems/agent/facts"
	"mitigation.dev/ems/agent/identity"
	"mitigation.dev/ems/agent/iis/standin"
	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/rewrite"
	"mitigation.dev/ems/test/harness"
	"mitigation.dev/ems/test/iistree"
)

const (
	// parallel is how many servers are worked on at once where the work is that of this machine.
	parallel = 8
	// turns is how many agents make a pass at a time. On machines of their own none waits for another; here, if thousands took turns
	// with every step, a health check would take longer than a server may. A pass mostly waits for the API server, hence more turns than
	// processors.
	turns = 64
	// life of the tokens, the most that agents get.
	life = identity.MaxToken
)

// server is a simulated one.
type server struct {
	harness.Server
	*notes

	// begin is a digest of all files before the agent began.
	begin   [sha256.Size]byte
	stop    context.CancelFunc
	stopped chan struct{}
}

// fleet is all of them.
type fleet struct {
	servers  []*server
	messages *messages
	// failed receives the errors of agents that could not begin.
	failed chan error
	site   *site
}

// newFleet makes the files of servers below a folder. They have one site each, on a port and with addresses that the stand-in for
// IIS answers on.
func newFleet(dir string, pools []harness.Pool, count int, trust emsv1.TrustPolicy) (*fleet, error) {
	f := &fleet{messages: newMessages(), failed: make(chan error, count)}
	var err error
	if f.site, err = newSite(); err != nil {
		return nil, err
	}
	f.servers = make([]*server, count)
	var group errgroup.Group
	group.SetLimit(parallel)
	for i := range count {
		group.Go(func() error {
			pool := pools[i*len(pools)/count]
			name := fmt.Sprintf("web%05d", i)
			folder := filepath.Join(dir, name)
			s := &server{notes: newNotes(f.messages), stopped: make(chan struct{}), Server: harness.Server{
				Name: name, Pool: pool, Root: filepath.Join(folder, "disk"),
				StateDir: filepath.Join(folder, "state"), TrustFile: filepath.Join(folder, "trust.yaml"),
			}}
			address := f.site.add(i, s.Root)
			sites := iistree.DefaultSites()
			sites[0].Address, sites[0].Port = address, f.site.port
			tree := iistree.Options{Server: s.HostName(), CRLF: true, Sites: sites}
			err := errors.Join(iistree.Write(s.Root, tree), os.MkdirAll(s.StateDir, 0o700))
			if err == nil {
				err = errors.Join(standin.NewServices(s.Root, nil).Set(nil), s.Believe(map[string]emsv1.TrustPolicy{feedName: trust}))
			}
			if err == nil {
				s.begin, err = s.digest()
			}
			f.servers[i] = s
			return err
		})
	}
	return f, group.Wait()
}

// digest is that of all files of the server that matter.
func (s *server) digest() ([sha256.Size]byte, error) {
	files, err := s.Snapshot()
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	hash := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(hash, "%d %s %d %s", len(name), name, len(files[name]), files[name])
	}
	return [sha256.Size]byte(hash.Sum(nil)), nil
}

// enrol makes the objects that an enrolment makes, and the credentials on the servers.
func (f *fleet) enrol(ctx context.Context, c client.Client, sign *tokens, url string, ca []byte) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4 * parallel) // the requests wait for etcd most of the time
	for _, s := range f.servers {
		group.Go(func() error {
			labels := map[string]string{identity.PoolLabel: s.Pool.Name, identity.ServerLabel: s.Name}
			meta := metav1.ObjectMeta{Name: s.Name, Namespace: s.Pool.Namespace, Labels: labels}
			account := &corev1.ServiceAccount{ObjectMeta: meta, AutomountServiceAccountToken: new(false)}
			secret := &corev1.Secret{ObjectMeta: meta, Type: identity.SecretType}
			secret.Name = identity.AgentSecret(s.Name)
			for _, o := range []client.Object{
				&emsv1.PoolServer{ObjectMeta: meta, Spec: emsv1.PoolServerSpec{PoolName: s.Pool.Name, HostName: s.HostName()}},
				&coordinationv1.Lease{ObjectMeta: meta}, account, secret,
			} {
				if err := c.Create(ctx, o); err != nil {
					return fmt.Errorf("enrol %s: %w", s.Name, err)
				}
			}
			now := time.Now()
			token, err := sign.sign(s.Pool.Namespace, object{account.Name, string(account.UID)}, object{secret.Name, string(secret.UID)}, now, life)
			if err != nil {
				return err
			}
			return credential.Open(s.StateDir).Save(credential.Credential{
				Identity: credential.Identity{URL: url, CA: string(ca), Namespace: s.Pool.Namespace, Pool: s.Pool.Name, Server: s.Name},
				Grant:    credential.Grant{Token: token, Expires: now.Add(life), Life: life}, Received: now, Asked: life, Confirmed: true,
			})
		})
	}
	return group.Wait()
}

// start starts all agents at once.
func (f *fleet) start(ctx context.Context) error {
	together := agent.NewTurns(turns)
	for _, s := range f.servers {
		options := agent.Options{
			IISRoot: s.Root, StateDir: s.StateDir, TrustFile: s.TrustFile, Shared: true, Turns: together, Proxy: cluster.NoProxy, Log: logr.New(s.notes),
			Facts: facts.Facts{Product: string(emsv1.ExchangeServer), Role: "Mailbox", Build: harness.VulnerableBuild},
		}
		if err := options.Validate(); err != nil {
			return fmt.Errorf("agent of %s: %w", s.Name, err)
		}
		running, stop := context.WithCancel(ctx)
		s.stop = stop
		go func() {
			defer close(s.stopped)
			if err := agent.Run(running, options); err != nil {
				f.failed <- fmt.Errorf("agent of %s: %w", s.Name, err)
			}
		}()
	}
	return nil
}

// end ends all agents and the site.
func (f *fleet) end() {
	for _, s := range f.servers {
		if s != nil && s.stop != nil {
			s.stop()
		}
	}
	for _, s := range f.servers {
		if s != nil && s.stop != nil {
			<-s.stopped
		}
	}
	f.site.close()
}

// lookEvery is between two looks at whether all agents have come so far. What is measured are the times that they took down.
const lookEvery = 50 * time.Millisecond

// await waits until something has happened on every server and returns when, in the order of the servers. Servers on which it has not
// when the limit is over are part of the error; the others are returned all the same.
func (f *fleet) await(ctx context.Context, limit time.Duration, what string, happened func(*server) (time.Time, bool)) ([]time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	waiting := slices.Clone(f.servers)
	var times []time.Time
	for {
		waiting = slices.DeleteFunc(waiting, func(s *server) bool {
			at, ok := happened(s)
			if ok {
				times = append(times, at)
			}
			return ok
		})
		if len(waiting) == 0 {
			return times, nil
		}
		select {
		case err := <-f.failed:
			return times, err
		case <-ctx.Done():
			s := waiting[0]
			return times, fmt.Errorf("%s: not on %d of %d servers after %s, as %s (%v): %w", what, len(waiting), len(f.servers), limit, s.Name, s.all(), ctx.Err())
		case <-time.After(lookEvery):
		}
	}
}

// since makes durations of times.
func since(begin time.Time, times []time.Time) []time.Duration {
	durations := make([]time.Duration, 0, len(times))
	for _, t := range times {
		durations = append(durations, max(0, t.Sub(begin)))
	}
	return durations
}

// expectation is what the files of a server shall say.
type expectation struct {
	// untouched: every byte is as before. Otherwise the rule of M1 is there and does its work, and no other.
	untouched bool
}

// m1Rule is the name of the rule of M1 in the files, or the end of it.
const m1Rule = "PowerShell - inbound"

// check compares the files of one server with what is expected.
func (s *server) check(want expectation) error {
	if want.untouched {
		now, err := s.digest()
		if err == nil && now != s.begin {
			err = fmt.Errorf("%s: files are not as they were before", s.Name)
		}
		return err
	}
	names, err := s.RuleNames()
	if err != nil {
		return err
	}
	if len(names) != 1 || !strings.Contains(names[0], m1Rule) {
		return fmt.Errorf("%s: rules %q, want that of M1 alone", s.Name, names)
	}
	for target, outcome := range map[string]rewrite.Outcome{harness.ExploitRequest: rewrite.Aborted, harness.HarmlessRequest: rewrite.Passed} {
		result, err := s.Request("GET", target)
		if err != nil {
			return err
		}
		if result.Outcome != outcome {
			return fmt.Errorf("%s: %s: %v, want %v", s.Name, target, result.Outcome, outcome)
		}
	}
	return nil
}

// wrong lists the servers whose files are not as expected.
func (f *fleet) wrong(want expectation) []string {
	var group errgroup.Group
	group.SetLimit(parallel)
	var mu sync.Mutex
	var problems []string
	for _, s := range f.servers {
		group.Go(func() error {
			if err := s.check(want); err != nil {
				mu.Lock()
				defer mu.Unlock()
				problems = append(problems, err.Error())
			}
			return nil
		})
	}
	_ = group.Wait() // it returns no errors
	slices.Sort(problems)
	return problems
}

// lost lists servers of which the cluster has not heard what they said last.
func (f *fleet) lost(ctx context.Context, c client.Client) ([]string, error) {
	var problems []string
	reported := map[string]*emsv1.PoolServer{}
	list := emsv1.PoolServerList{}
	if err := c.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("lost updates: %w", err)
	}
	for i := range list.Items {
		reported[list.Items[i].Namespace+"/"+list.Items[i].Name] = &list.Items[i]
	}
	for _, s := range f.servers {
		there := reported[s.Pool.Namespace+"/"+s.Name]
		if there == nil {
			problems = append(problems, s.Name+": there is no such PoolServer")
			continue
		}
		for id, said := range s.all() {
			if is := harness.StateOf(there, id); string(is.State) != said.state || said.revision != 0 && is.Revision != said.revision {
				problems = append(problems, fmt.Sprintf("%s: %s: the cluster has %s revision %d, the server said %s revision %d", s.Name, id, is.State, is.Revision, said.state, said.revision))
			}
		}
	}
	return problems, nil
}
