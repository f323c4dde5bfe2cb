package agent

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mitigation.dev/ems/agent/credential"
	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// testPatience limits each request of a test. It is what an agent gives one fetch.
const testPatience = 20 * time.Second

// Step is one part of a test of the connection.
type Step struct {
	Name   string
	Detail string
	// Err is why it failed; nil if it did not.
	Err error
}

// TestConnection goes the way of the agent to the API server, through the same connection with the same credential: name,
// TCP, TLS with the pinned authority, token, and everything that an agent has to read. It tells of each step as it is done, and
// reports whether all went well. After a step that failed those that need it are not tried.
func TestConnection(ctx context.Context, o Options, tell func(Step)) bool {
	if o.Kubeconfig == "" {
		if err := o.takeIdentity(); err != nil {
			tell(Step{Name: "Identity", Err: err})
			return false
		}
		if _, err := credential.Open(o.StateDir).Load(); err != nil {
			tell(Step{Name: "Identity", Err: err})
			return false
		}
	}
	reached, err := connect(o)
	if err != nil {
		tell(Step{Name: "Identity", Err: err})
		return false
	}
	tell(Step{Name: "Identity", Detail: fmt.Sprintf("%s/%s of pool %s", o.Namespace, o.Server, o.Pool)})

	var t trace
	var server emsv1.PoolServer
	err = get(httptrace.WithClientTrace(ctx, t.hooks()), reached.Client, client.ObjectKey{Namespace: o.Namespace, Name: o.Server}, &server)
	for _, step := range t.taken() {
		tell(step)
		if step.Err != nil {
			return false
		}
	}
	if err == nil && server.Spec.PoolName != o.Pool {
		err = fmt.Errorf("it belongs to pool %q", server.Spec.PoolName)
	}
	if !say(tell, "PoolServer", o.Namespace+"/"+o.Server, err) {
		return false
	}
	var plan emsv1.MitigationPlan
	err = get(ctx, reached.Client, client.ObjectKey{Namespace: o.Namespace, Name: o.Pool}, &plan)
	if !say(tell, "Plan", fmt.Sprintf("generation %d, %d mitigations", plan.Generation, len(plan.Spec.Mitigations)), err) {
		return false
	}
	if len(plan.Spec.Mitigations) == 0 {
		return say(tell, "Bundle", "the plan needs none", nil)
	}
	var bundle emsv1.MitigationBundle
	err = get(ctx, reached.Client, client.ObjectKey{Name: plan.Spec.Mitigations[0].BundleName}, &bundle)
	return say(tell, "Bundle", fmt.Sprintf("%s, %d bytes", plan.Spec.Mitigations[0].BundleName, len(bundle.Spec.Document)), err)
}

func get(ctx context.Context, c client.Client, key client.ObjectKey, object client.Object) error {
	ctx, cancel := context.WithTimeout(ctx, testPatience)
	defer cancel()
	return c.Get(ctx, key, object)
}

// say tells of a step with what follows from its error.
func say(tell func(Step), name, detail string, err error) bool {
	hint := ""
	switch {
	case apierrors.IsUnauthorized(err):
		hint = "the token is refused: enrol the server again, and look at its clock"
	case apierrors.IsForbidden(err):
		hint = "the server lacks rights: bind the roles ems-agent and ems-agent-bundles to the ServiceAccounts of its namespace"
	case apierrors.IsNotFound(err) && name == "PoolServer":
		hint = "the cluster does not know the server: enrol it"
	case apierrors.IsNotFound(err) && name == "Plan":
		hint = "the pool has no plan: look at its PoolMitigationConfig"
	}
	if hint != "" {
		err = fmt.Errorf("%w; %s", err, hint)
	}
	tell(Step{Name: name, Detail: detail, Err: err})
	return err == nil
}

// trace notes what becomes of the first connection. Its hooks are called from several goroutines.
type trace struct {
	mu sync.Mutex
	// resolved, connected and shaken are steps; without a name they were not taken.
	resolved, connected, shaken Step
}

func (t *trace) hooks() *httptrace.ClientTrace {
	note := func(step *Step, with Step) {
		t.mu.Lock()
		defer t.mu.Unlock()
		// One address that answers is enough, whatever becomes of the others of the name.
		if step.Name == "" || step.Err != nil {
			*step = with
		}
	}
	return &httptrace.ClientTrace{
		DNSDone: func(i httptrace.DNSDoneInfo) {
			var addresses []string
			for _, a := range i.Addrs {
				addresses = append(addresses, a.String())
			}
			note(&t.resolved, Step{"Name", strings.Join(addresses, ", "), i.Err})
		},
		ConnectDone: func(_, address string, err error) { note(&t.connected, Step{"TCP", address, err}) },
		TLSHandshakeDone: func(s tls.ConnectionState, err error) {
			if errors.Is(err, context.Canceled) {
				return
			}
			who := ""
			if len(s.PeerCertificates) > 0 {
				c := s.PeerCertificates[0]
				who = fmt.Sprintf("%s, %s until %s", tls.VersionName(s.Version), cmp.Or(c.Subject.CommonName, c.Subject.String()), c.NotAfter.UTC().Format(time.RFC3339))
			}
			note(&t.shaken, Step{"TLS", who, err})
		},
	}
}

// taken gives the steps in their order.
func (t *trace) taken() []Step {
	t.mu.Lock()
	defer t.mu.Unlock()
	var steps []Step
	for _, s := range []Step{t.resolved, t.connected, t.shaken} {
		if s.Name != "" {
			steps = append(steps, s)
		}
	}
	return steps
}
