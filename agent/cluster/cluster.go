package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mitigation.dev/ems/agent/documents"
	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/agent/skew"
	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

const (
	// FieldOwner owns what the agent writes.
	FieldOwner = "ems-agent"

	// fetchTimeout limits one fetch of a bundle: at most 1.5 MiB, which takes thirteen seconds at 1 Mbit/s.
	fetchTimeout = 20 * time.Second
	// writeTimeout limits one write of the status.
	writeTimeout = 10 * time.Second
)

var (
	// ErrUnheard means that nothing has been heard of the PoolServer since the start.
	ErrUnheard = errors.New("the cluster has not been heard of yet")
	// ErrNotEnrolled means that the cluster has no PoolServer of the server's name.
	ErrNotEnrolled = errors.New("the cluster has no such PoolServer; enrol the server")
	// ErrPlanUnreadable means that the plan holds something that this agent does not know.
	ErrPlanUnreadable = errors.New("the plan cannot be read")
)

// Options of a Cluster. All are required but CredentialExpiry, Clock, Memory and Log.
type Options struct {
	Client    client.WithWatch
	Recorder  events.EventRecorder
	Namespace string
	// Pool is the name of the pool's MitigationPlan, Server that of the server's PoolServer.
	Pool   string
	Server string
	// CredentialExpiry is when the credential ends that the agent uses now. Default: nobody knows.
	CredentialExpiry func() time.Time
	// Clock is how the server's clock compares with that of the API server. Default: nobody knows.
	Clock func() skew.Told
	// Memory keeps when conditions changed, for the time without a cluster. Default: the process alone remembers it.
	Memory Memory
	Log    logr.Logger
	// Listing makes watches begin with a list, which takes a request more. Clients in memory need it.
	Listing bool
	// Now and Random (numbers from 0 up to 1) say when reports are made. Default: those of the system.
	Now    func() time.Time
	Random func() float64
}

// Cluster is the agent's view of the cluster.
type Cluster struct {
	Options

	plans   *single
	servers *single
	changes chan struct{}

	mu sync.Mutex
	// sent is the status that was written last, and over which version of the PoolServer. Until the watch delivers another
	// version it counts as what stands there.
	sent     *emsv1.PoolServerStatus
	sentOver string
	// found are the conditions as this server found them last, whether the cluster was told or not.
	found []metav1.Condition
	// wrote is the status that was written last, or is being written.
	wrote atomic.Pointer[emsv1.PoolServerStatus]
	// held is the report that is held back, if one is.
	held held
	// overload is what the API server said to reports that it could not carry out.
	overload overload
	// relieved says that the API server was away and is back, which ends the pause of reports. It is set by the watches, which must not
	// wait for a report.
	relieved atomic.Bool
}

// New makes a view of the cluster; Run starts it.
func New(o Options) *Cluster {
	if o.Log.GetSink() == nil {
		o.Log = logr.Discard()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	c := &Cluster{Options: o, changes: make(chan struct{}, 1)}
	c.recall()
	c.plans = c.watch(&emsv1.MitigationPlan{}, o.Pool, func() client.ObjectList { return &emsv1.MitigationPlanList{} })
	c.servers = c.watch(&emsv1.PoolServer{}, o.Server, func() client.ObjectList { return &emsv1.PoolServerList{} })
	return c
}

func (c *Cluster) notify() {
	select {
	case c.changes <- struct{}{}:
	default: // one is waiting already
	}
}

// Changes delivers after the plan or the PoolServer changed, once for any number of changes.
func (c *Cluster) Changes() <-chan struct{} { return c.changes }

// Run watches until the context ends.
func (c *Cluster) Run(ctx context.Context) {
	var running sync.WaitGroup
	running.Go(func() { c.plans.run(ctx) })
	running.Go(func() { c.servers.run(ctx) })
	running.Wait()
}

// Plan returns the pool's plan, nil if the pool has none. known is false while the cluster has not said which of both it is.
func (c *Cluster) Plan() (plan *enforce.Plan, known bool, err error) {
	if !c.plans.HasSynced() {
		return nil, false, nil
	}
	object, exists, err := c.plans.GetByKey(c.Namespace + "/" + c.Pool)
	if err != nil {
		return nil, false, fmt.Errorf("cluster: plan: %w", err)
	}
	p, ok := object.(*emsv1.MitigationPlan)
	if !exists || !ok {
		return nil, true, nil
	}
	plan, err = planOf(p)
	if err != nil {
		return nil, false, fmt.Errorf("cluster: %w: %w", ErrPlanUnreadable, err)
	}
	plan.NotEnrolled = c.notEnrolled()
	return plan, true, nil
}

// notEnrolled reports whether the cluster is known to have no PoolServer of this server in the pool. As long as it has not
// said so, the server counts as enrolled: a plan must not wait for the other watch.
func (c *Cluster) notEnrolled() bool {
	if !c.servers.HasSynced() {
		return false
	}
	object, exists, err := c.servers.GetByKey(c.Namespace + "/" + c.Server)
	server, ok := object.(*emsv1.PoolServer)
	return err == nil && (!exists || !ok || server.Spec.PoolName != c.Pool)
}

// Bundle implements documents.Source.
func (c *Cluster) Bundle(ctx context.Context, name string) (documents.Bundle, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	var bundle emsv1.MitigationBundle
	err := c.Client.Get(ctx, client.ObjectKey{Name: name}, &bundle)
	switch {
	case apierrors.IsNotFound(err):
		return documents.Bundle{}, fmt.Errorf("cluster: bundle %q: %w", name, documents.ErrNotFound)
	case err != nil:
		return documents.Bundle{}, fmt.Errorf("cluster: bundle %q: %w", name, err)
	}
	return documents.Bundle{
		Product: string(bundle.Spec.Product), Document: bundle.Spec.Document, RevocationLists: bundle.Spec.RevocationLists,
	}, nil
}

// Report writes the status of the PoolServer if it differs from what stands there, and records the events. The error wraps
// ErrUnheard or ErrNotEnrolled while there is nothing to write to. A HeldError says that it is written later.
func (c *Cluster) Report(ctx context.Context, r Report) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	object, exists, err := c.servers.GetByKey(c.Namespace + "/" + c.Server)
	if err != nil {
		return fmt.Errorf("cluster: PoolServer %q: %w", c.Server, err)
	}
	if c.CredentialExpiry != nil {
		r.CredentialExpiry = c.CredentialExpiry()
	}
	if c.Clock != nil {
		r.Clock = c.Clock()
	}
	server, ok := object.(*emsv1.PoolServer)
	switch {
	case (!exists || !ok) && !c.servers.HasSynced():
		c.keep(statusOf(emsv1.PoolServerStatus{Conditions: c.found}, 0, r).Conditions)
		return fmt.Errorf("cluster: PoolServer %q: %w", c.Server, ErrUnheard)
	case !exists || !ok:
		c.sent = nil
		return fmt.Errorf("cluster: PoolServer %q: %w", c.Server, ErrNotEnrolled)
	}
	old := server.Status
	if c.sent != nil && c.sentOver == server.ResourceVersion {
		old = *c.sent
	}
	base := old
	base.Conditions = catchUp(old.Conditions, c.found, c.Now())
	status := statusOf(base, server.Generation, r)
	c.keep(status.Conditions)
	if !equality.Semantic.DeepEqual(old, status) {
		if until := c.hold(&old, &status, r.Window); !until.IsZero() {
			return &HeldError{Until: until}
		}
		if c.relieved.Swap(false) {
			c.overload = overload{}
		}
		if until := c.overload.pause(c.Now(), urgent(&old, &status)); !until.IsZero() {
			return &HeldError{Until: until, After: c.overload.last}
		}
		err := c.write(ctx, status)
		c.overload.tried(err, c.Now(), c.Random())
		if err != nil {
			return err
		}
		c.sent, c.sentOver = &status, server.ResourceVersion
	}
	c.held = held{}
	list := announcements(old.Mitigations, status.Mitigations, eventful(r.Changes, r.Window))
	list = append(list, localAnnouncements(old.Local, status.Local)...)
	record(c.Recorder, server, append(list, trustAnnouncements(old.Conditions, status.Conditions)...))
	return nil
}

// write writes a status.
func (c *Cluster) write(ctx context.Context, status emsv1.PoolServerStatus) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	c.wrote.Store(&status)
	err := c.Client.Status().Apply(ctx, applyConfigurationOf(c.Namespace, c.Server, status), client.FieldOwner(FieldOwner), client.ForceOwnership)
	if err != nil {
		return fmt.Errorf("cluster: status of PoolServer %q: %w", c.Server, err)
	}
	return nil
}
