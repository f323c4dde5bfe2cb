package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	crlog "sigs.k8s.io/controller-runtime/pkg/log"

	"mitigation.dev/ems/agent/cluster"
	"mitigation.dev/ems/agent/documents"
	"mitigation.dev/ems/agent/facts"
	"mitigation.dev/ems/agent/health"
	"mitigation.dev/ems/agent/iis"
	"mitigation.dev/ems/agent/iis/drivers"
	"mitigation.dev/ems/agent/lease"
	"mitigation.dev/ems/agent/state"
	"mitigation.dev/ems/agent/switches"
	"mitigation.dev/ems/internal/policy"
)

// Run runs an agent until the context ends. It fails only if it cannot begin; whatever happens later it goes on.
func Run(ctx context.Context, o Options) error {
	if o.Log.GetSink() == nil {
		o.Log = logr.Discard()
	}
	if !o.Shared {
		// client-go and controller-runtime log through their own global loggers.
		klog.SetLogger(o.Log.WithName("client-go"))
		crlog.SetLogger(o.Log.WithName("client"))
	}
	if !o.Shared {
		release, err := state.Claim(o.StateDir)
		if err != nil {
			return fmt.Errorf("agent: %w", err)
		}
		defer release()
	}
	reached, err := connect(o)
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	memory, err := state.Open(memoryDir(o))
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	control := cluster.New(cluster.Options{
		Memory: memory,
		Client: reached.Client, Recorder: reached.Recorder, CredentialExpiry: reached.expiry, Clock: o.tellOfClock(reached.Clock.Told), Namespace: o.Namespace, Pool: o.Pool, Server: o.Server, Log: o.Log.WithName("cluster"),
	})
	loop, err := newLoop(o, control, memory, clock.RealClock{})
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	loop.metrics = o.metricsFile(reached.expiry)
	life := lease.New(lease.Options{
		Leases: answered{reached.Leases.Leases(o.Namespace), func() { loop.metrics.Contact(time.Now()) }}, Server: o.Server, Clock: clock.RealClock{}, Log: o.Log.WithName("lease"),
		Holder: holder(o.Server), Shared: o.tellOfAnother(control.TellShared),
	})
	loop.setPeriod = life.SetPeriod
	o.Log.Info("Agent starts", "server", o.Server, "namespace", o.Namespace, "pool", o.Pool)

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	background := make(chan error, 5)
	go func() { control.Run(ctx); background <- nil }()
	go func() { life.Run(ctx); background <- nil }()
	go func() { loop.metrics.Run(ctx); background <- nil }()
	go func() { background <- reached.Run(ctx) }()
	go func() {
		err := reached.keep(ctx)
		if err != nil {
			stop()
		}
		background <- err
	}()
	if o.Ready != nil {
		o.Ready()
	}
	files := loop.switches.Watch(ctx)
	if !o.Shared {
		files = either(ctx, watchFolder(ctx, o.configDir(), o.Log), files)
	}
	runTriggered(ctx, clock.RealClock{}, control.Changes(), files, work{pass: inTurn(o.Turns, loop.pass, control.Changes(), loop.concerned), leisure: loop.leisure})
	err = errors.Join(<-background, <-background, <-background, <-background, <-background)
	o.Log.Info("Agent stops")
	return err
}

// inTurn makes a pass wait for its turn, if there are turns. It finds what plan tells of meanwhile, and hurries if that concerns the server.
func inTurn(turns *Turns, pass func(context.Context) time.Time, plan <-chan struct{}, concerned func() bool) func(context.Context, bool) time.Time {
	return func(ctx context.Context, awaited bool) time.Time {
		if turns == nil {
			return pass(ctx)
		}
		if !turns.take(ctx, awaited, plan, concerned) {
			return time.Time{}
		}
		defer turns.release()
		return pass(ctx)
	}
}

// view is what the agent needs of the cluster in all.
type view interface {
	control
	documents.Source
}

// newLoop puts the parts of the loop together.
func newLoop(o Options, c view, memory *state.Memory, clk clock.WithTicker) (*loop, error) {
	store, err := documents.New(documents.Options{
		Dir: filepath.Join(o.StateDir, "documents"), TrustFile: o.TrustFile, Source: c, Memory: memory, Clock: clk, Log: o.Log.WithName("documents"),
	})
	if err != nil {
		return nil, err
	}
	pools, services := drivers.For(runtime.GOOS, o.IISRoot, o.AppCmd)
	options := iis.Options{
		Root: o.IISRoot, StateDir: filepath.Join(o.StateDir, "iis"), Pools: pools, Services: services, Clock: clk, Log: o.Log.WithName("iis"),
	}
	server, err := iis.New(options)
	if err != nil {
		return nil, err
	}
	sources := facts.Sources{Said: o.Facts, File: o.FactsFile, Registry: facts.Registry}
	l := &loop{
		name: o.Server, server: server, control: c, documents: store, memory: memory, clock: clk, log: o.Log,
		switches: switches.Open(o.StateDir), stateDir: o.StateDir,
		checker:   health.New(health.Options{Lister: drivers.ListerFor(runtime.GOOS, o.IISRoot, o.AppCmd), Services: services, Clock: clk}),
		preview:   func() (preview, error) { return iis.NewPreview(options) },
		facts:     func() (policy.Facts, error) { return facts.Read(sources) },
		announcer: announcer{write: o.Events}, random: rand.Float64,
	}
	l.recallUntold()
	return l, nil
}

// memoryDir is where the agent keeps its own records.
func memoryDir(o Options) string { return filepath.Join(o.StateDir, "agent") }
