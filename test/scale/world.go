package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/trust"
	"mitigation.dev/ems/test/harness"
)

const (
	feedName = "contoso"
	// policyName is the MitigationConfiguration of all pools.
	policyName = "organisation"
	// niceness is by how much the agents stand behind the API server, etcd and the manager. They do the work of as many machines as
	// there are servers, which would not take it from those.
	niceness = 5
)

// world is everything that runs.
type world struct {
	env      *harness.Environment
	client   client.WithWatch
	meter    *meter
	fleet    *fleet
	pools    []harness.Pool
	profiler *profiler

	// document is the file that feed serves.
	document string
	feed     *harness.Process
	// subscription is the MitigationFeed, which is made when the agents are there.
	subscription *emsv1.MitigationFeed
	// folders go in the end.
	folders []string
}

// newWorld starts everything but agents.
func newWorld(ctx context.Context, o options) (w *world, err error) {
	w = &world{}
	defer func() {
		if err != nil {
			w.end()
		}
	}()
	work, err := w.folder("")
	if err != nil {
		return w, err
	}
	if w.env, err = harness.Prepare(ctx, work, o.programs); err != nil {
		return w, err
	}
	profiles, err := freeAddress(ctx)
	if err != nil {
		return w, err
	}
	w.env.ManagerFlags = []string{"--pprof-bind-address=" + profiles}
	if w.profiler, err = newProfiler(o.out, o.profile, o.profileAfter, o.profileLength); err != nil {
		return w, err
	}
	if err := w.env.Start(ctx); err != nil {
		return w, errors.Join(err, errors.New(w.env.Diagnose(context.WithoutCancel(ctx))))
	}
	if w.client, err = client.NewWithWatch(w.env.ControlPlane.Config(), client.Options{Scheme: w.env.Client.Scheme()}); err != nil {
		return w, fmt.Errorf("client: %w", err)
	}
	if w.meter, err = newMeter(w.env); err != nil {
		return w, err
	}
	w.profiler.api, w.profiler.apiURL, w.profiler.managerURL = w.meter.client, w.meter.url, "http://"+profiles
	if err := harness.GiveWay(niceness); err != nil {
		return w, err
	}
	memory := o.memory
	if _, err := os.Stat(memory); err != nil {
		memory = "" // a system without such a folder
	}
	servers, err := w.folder(memory)
	if err != nil {
		return w, err
	}
	for i := range o.pools {
		name := fmt.Sprintf("pool%d", i)
		w.pools = append(w.pools, harness.Pool{Name: name, Namespace: "sim-" + name, FQDN: name + ".contoso.com", Rollout: emsv1.RolloutSpec{Profile: emsv1.ProfileEmergency}})
	}
	if w.fleet, err = newFleet(servers, w.pools, o.servers, w.env.Publisher.Trust()); err != nil {
		return w, err
	}
	if err := w.makePools(ctx); err != nil {
		return w, err
	}
	if err := w.enrol(ctx); err != nil {
		return w, err
	}
	return w, w.serveFeed(ctx, work)
}

// folder makes a folder that goes in the end.
func (w *world) folder(in string) (string, error) {
	dir, err := os.MkdirTemp(in, "ems-sim-")
	if err != nil {
		return "", fmt.Errorf("folder: %w", err)
	}
	w.folders = append(w.folders, dir)
	return dir, nil
}

// makePools makes the pools, those of small fleets with the health check that a bad mitigation fails. The site that answers for all servers
// shares its processors with all agents: with thousands it takes longer than a server may, which would halt every rollout.
func (w *world) makePools(ctx context.Context) error {
	for i := range w.pools {
		if len(w.fleet.servers) <= checked {
			w.pools[i].HealthChecks = emsv1.HealthChecks{HTTP: []emsv1.HTTPCheck{{
				Name: "owa", Scheme: "http", Port: int32(w.fleet.site.port), Path: harness.OWAHealth, //nolint:gosec // a port
			}}}
		}
		if err := w.env.AddPool(ctx, w.pools[i]); err != nil {
			return err
		}
	}
	return w.env.Apply(ctx, &emsv1.MitigationConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: policyName},
		Spec:       emsv1.MitigationConfigurationSpec{PoolSelector: &metav1.LabelSelector{}, Suspend: emsv1.SuspendNone},
	})
}

func (w *world) enrol(ctx context.Context) error {
	config := w.env.ControlPlane.Config()
	sign, err := readTokens(filepath.Join(w.env.Dir, "keys", "tokens.key"), config.Host)
	if err != nil {
		return err
	}
	return w.fleet.enrol(ctx, w.client, sign, config.Host, config.CAData)
}

// serveFeed serves a document by the program that publishers use, and makes a feed of it.
func (w *world) serveFeed(ctx context.Context, dir string) error {
	folder := filepath.Join(dir, "feed")
	if err := os.Mkdir(folder, 0o700); err != nil {
		return fmt.Errorf("feed: %w", err)
	}
	w.document = filepath.Join(folder, "document.xml")
	if _, err := w.publish(harness.PING1()); err != nil {
		return err
	}
	certificate, key, root, err := harness.ServerCertificate()
	if err != nil {
		return err
	}
	policy, err := yaml.Marshal(map[string]any{"apiVersion": trust.APIVersion, "feeds": map[string]emsv1.TrustPolicy{feedName: w.env.Publisher.Trust()}})
	if err != nil {
		return fmt.Errorf("feed: %w", err)
	}
	file := func(name string) string { return filepath.Join(folder, name) }
	for name, content := range map[string][]byte{"tls.pem": certificate, "tls.key": key, "trust.yaml": policy} {
		if err := os.WriteFile(file(name), content, 0o600); err != nil {
			return fmt.Errorf("feed: %w", err)
		}
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	w.feed = &harness.Process{
		Name: "feed serve", Path: w.env.Programs.Plugin, LogPath: filepath.Join(w.env.Dir, "logs", "feed.log"),
		Args: []string{
			"feed", "serve", "--document", w.document, "--listen", address, "--trust", file("trust.yaml"),
			"--tls-cert", file("tls.pem"), "--tls-key", file("tls.key"),
		},
	}
	if err := w.feed.Start(); err != nil {
		return err
	}
	if err := harness.Wait(ctx, time.Minute, "the feed to be served", func(context.Context) (bool, string) {
		said := w.feed.Tail(3)
		return strings.Contains(said, "Listening"), said
	}); err != nil {
		return err
	}
	w.subscription = &emsv1.MitigationFeed{
		ObjectMeta: metav1.ObjectMeta{Name: feedName},
		Spec: emsv1.MitigationFeedSpec{
			URL: "https://" + address + "/mitigations.xml", CABundle: string(root), Product: emsv1.ExchangeServer,
			Trust: w.env.Publisher.Trust(), IntervalSeconds: 3600, // as in the real service: what is sooner was pushed
		},
	}
	return nil
}

func freeAddress(ctx context.Context) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("feed: %w", err)
	}
	return listener.Addr().String(), listener.Close()
}

// publish puts a new signed document in place of the one before and returns when.
func (w *world) publish(configs ...ocs.Config) (time.Time, error) {
	document, err := w.env.Publisher.Publish(configs...)
	if err != nil {
		return time.Time{}, err
	}
	beside := w.document + ".new"
	if err := os.WriteFile(beside, document, 0o600); err != nil {
		return time.Time{}, fmt.Errorf("publish: %w", err)
	}
	at := time.Now()
	if err := os.Rename(beside, w.document); err != nil {
		return time.Time{}, fmt.Errorf("publish: %w", err)
	}
	return at, nil
}

// policy changes the MitigationConfiguration of all pools and returns when.
func (w *world) policy(ctx context.Context, spec map[string]any) (time.Time, error) {
	patch, err := json.Marshal(map[string]any{"spec": spec})
	if err != nil {
		return time.Time{}, fmt.Errorf("policy: %w", err)
	}
	o := &emsv1.MitigationConfiguration{ObjectMeta: metav1.ObjectMeta{Name: policyName}}
	at := time.Now()
	if err := w.client.Patch(ctx, o, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return at, fmt.Errorf("policy: %w", err)
	}
	return at, nil
}

// sighting is when something was seen.
type sighting struct {
	at  time.Time
	err error
}

// follow calls see for every version of the objects of a list, from those that are there on, until it reports that it has seen enough.
// When it returns, the watch is open.
func follow[T client.Object](ctx context.Context, w *world, list client.ObjectList, limit time.Duration, see func(T) bool) (<-chan sighting, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	events, err := w.client.Watch(ctx, list)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("follow: %w", err)
	}
	seen := make(chan sighting, 1)
	go func() {
		defer cancel()
		defer events.Stop()
		for event := range events.ResultChan() {
			if o, ok := event.Object.(T); ok && see(o) {
				seen <- sighting{at: time.Now()}
				return
			}
		}
		seen <- sighting{err: fmt.Errorf("follow %T: not seen within %s: %w", list, limit, context.Cause(ctx))}
	}()
	return seen, nil
}

// end ends everything and removes the folders.
func (w *world) end() {
	if w.fleet != nil {
		w.fleet.end()
	}
	if w.feed != nil {
		w.feed.Stop()
	}
	if w.env != nil {
		w.env.Stop()
	}
	for _, dir := range w.folders {
		_ = os.RemoveAll(dir)
	}
}
