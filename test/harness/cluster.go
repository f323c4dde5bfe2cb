package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/yaml"

	"mitigation.dev/ems/agent/iis/standin"
	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/test/iistree"
)

// Pool is a pool of servers; it has a namespace of its own.
type Pool struct {
	Name, Namespace, FQDN string
	// Rollout and HealthChecks are those of its PoolMitigationConfig.
	Rollout      emsv1.RolloutSpec
	HealthChecks emsv1.HealthChecks
	// Mode is Enforce if empty.
	Mode emsv1.Mode
}

// Config is the pool's PoolMitigationConfig.
func (p Pool) Config() *emsv1.PoolMitigationConfig {
	return &emsv1.PoolMitigationConfig{
		ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: p.Namespace},
		Spec:       emsv1.PoolMitigationConfigSpec{PoolFQDN: p.FQDN, Mode: p.Mode, Rollout: p.Rollout, HealthChecks: p.HealthChecks},
	}
}

// AtOnce releases a mitigation to every server of a pool in one stage, whatever fails, for tests of something else than rollouts.
func AtOnce() emsv1.RolloutSpec {
	return emsv1.RolloutSpec{
		Stages:      []emsv1.RolloutStage{{Name: "all", Servers: new(intstr.FromString("100%"))}},
		MaxFailures: new(int32(1000)),
	}
}

// Apply applies objects by kubectl.
func (e *Environment) Apply(ctx context.Context, objects ...client.Object) error {
	text, err := e.Manifests(objects...)
	if err != nil {
		return err
	}
	_, err = e.Kubectl.ApplyText(ctx, text)
	return err
}

// Manifests are objects as a person would write them into a file.
func (e *Environment) Manifests(objects ...client.Object) ([]byte, error) {
	var manifests bytes.Buffer
	for _, o := range objects {
		gvk, err := apiutil.GVKForObject(o, e.Client.Scheme())
		if err != nil {
			return nil, fmt.Errorf("harness: manifest: %w", err)
		}
		o.GetObjectKind().SetGroupVersionKind(gvk)
		text, err := yaml.Marshal(o)
		if err != nil {
			return nil, fmt.Errorf("harness: manifest: %w", err)
		}
		manifests.WriteString("---\n")
		manifests.Write(text)
	}
	return manifests.Bytes(), nil
}

// AddPool creates a pool without servers, in a new namespace, and lets the agents in that namespace do their work.
func (e *Environment) AddPool(ctx context.Context, pool Pool) error {
	group := []rbacv1.Subject{{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: serviceAccounts(pool.Namespace)}}
	clusterRole := func(name string) rbacv1.RoleRef {
		return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}
	}
	return e.Apply(ctx,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: pool.Namespace}},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "ems-agents", Namespace: pool.Namespace}, RoleRef: clusterRole("ems-agent"), Subjects: group,
		},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "ems-agents-" + pool.Namespace}, RoleRef: clusterRole("ems-agent-bundles"), Subjects: group,
		},
		pool.Config(),
	)
}

// ServerOptions describe a server. The zero value is an Exchange server that M1 is for.
type ServerOptions struct {
	// Tree describes its files. Server and line ends are set.
	Tree iistree.Options
	// Build of Exchange Server; VulnerableBuild if empty.
	Build string
	// Believes is its trust policy by feed.
	Believes map[string]emsv1.TrustPolicy
	// Enrolment are flags of its enrolment beside the usual ones.
	Enrolment []string
}

// AddServer makes the files of a server and enrols it in its pool. Its agent is ready to be started.
func (e *Environment) AddServer(ctx context.Context, pool Pool, name string, options ServerOptions) (*Server, error) {
	dir := filepath.Join(e.Dir, "servers", pool.Namespace, name)
	s := &Server{Name: name, Pool: pool, Root: filepath.Join(dir, "disk"), TrustFile: filepath.Join(dir, "trust.yaml")}
	options.Tree.Server, options.Tree.CRLF = s.HostName(), true
	if err := e.locate(s); err != nil {
		return nil, err
	}
	if options.Tree.Sites == nil {
		options.Tree.Sites = iistree.DefaultSites()
		options.Tree.Sites[0].Address, options.Tree.Sites[0].Port = s.address, s.port
		options.Tree.Sites[0].Applications = []iistree.Application{{Path: ECPPath, Pool: ECPPool}}
	}
	if err := iistree.Write(s.Root, options.Tree); err != nil {
		return nil, err
	}
	if err := standin.NewServices(s.Root, nil).Set(services()); err != nil {
		return nil, fmt.Errorf("server %s: %w", name, err)
	}
	if err := s.serve(); err != nil {
		return nil, err
	}
	e.mu.Lock()
	e.servers = append(e.servers, s)
	e.mu.Unlock()
	s.StateDir = filepath.Join(dir, "state")
	if err := os.MkdirAll(s.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("server %s: %w", name, err)
	}
	if err := s.Believe(options.Believes); err != nil {
		return nil, err
	}
	if err := e.enrol(ctx, s, s.StateDir, options.Enrolment...); err != nil {
		return nil, err
	}
	if options.Build == "" {
		options.Build = VulnerableBuild
	}
	s.Agent = e.started.add(&Process{
		Name: "agent on " + name, Path: e.Programs.Agent, LogPath: filepath.Join(e.Dir, "logs", pool.Namespace+"-"+name+".log"),
		Args: []string{
			"--iis-root=" + s.Root, "--state-dir=" + s.StateDir, "--trust-file=" + s.TrustFile,
			"--product=" + string(emsv1.ExchangeServer), "--role=Mailbox", "--build=" + options.Build,
		},
	})
	return s, nil
}

// Feed is a MitigationFeed for the endpoint that believes whom trust says.
func (e *Environment) Feed(name string, trust emsv1.TrustPolicy) *emsv1.MitigationFeed {
	return &emsv1.MitigationFeed{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: emsv1.MitigationFeedSpec{
			URL: e.Endpoint.URL, CABundle: e.Endpoint.CABundle, Product: emsv1.ExchangeServer, Trust: trust,
			// The shortest: what shall be seen at once is asked for by Poll.
			IntervalSeconds: 60,
		},
	}
}

// Poll asks the manager to poll a feed now, and waits until it has and the result stands in the feed's status.
func (e *Environment) Poll(ctx context.Context, feed string, limit time.Duration) (*emsv1.MitigationFeed, error) {
	request := strconv.FormatInt(time.Now().UnixNano(), 10)
	_, err := e.Kubectl.Run(ctx, "annotate", "--overwrite", "mitigationfeed", feed, emsv1.ReconcileRequestAnnotation+"="+request)
	if err != nil {
		return nil, err
	}
	var seen emsv1.MitigationFeed
	err = Wait(ctx, limit, "feed "+feed+" to be polled", func(ctx context.Context) (bool, string) {
		if err := e.Client.Get(ctx, client.ObjectKey{Name: feed}, &seen); err != nil {
			return false, err.Error()
		}
		return seen.Status.LastHandledReconcileAt == request, ReadyText(seen.Status.Conditions)
	})
	return &seen, err
}

// ReadyText shows the Ready condition for people.
func ReadyText(conditions []metav1.Condition) string {
	ready := meta.FindStatusCondition(conditions, emsv1.ReadyCondition)
	if ready == nil {
		return "not judged yet"
	}
	return fmt.Sprintf("Ready=%s, %s: %s", ready.Status, ready.Reason, ready.Message)
}

// Reported reads what the agent of a server reports.
func (e *Environment) Reported(ctx context.Context, s *Server) (*emsv1.PoolServer, error) {
	var reported emsv1.PoolServer
	if err := e.Client.Get(ctx, client.ObjectKey{Namespace: s.Pool.Namespace, Name: s.Name}, &reported); err != nil {
		return nil, fmt.Errorf("server %s: %w", s.Name, err)
	}
	return &reported, nil
}

// StateOf is what a server reports of a mitigation; the zero value if nothing.
func StateOf(reported *emsv1.PoolServer, id string) emsv1.ServerMitigation {
	for _, m := range reported.Status.Mitigations {
		if string(m.ID) == id {
			return m
		}
	}
	return emsv1.ServerMitigation{}
}

// WaitForState waits until all servers report a state of a mitigation.
func (e *Environment) WaitForState(ctx context.Context, limit time.Duration, servers []*Server, id string, state emsv1.MitigationState) error {
	return Wait(ctx, limit, fmt.Sprintf("%s to be %s on %d servers", id, state, len(servers)), func(ctx context.Context) (bool, string) {
		var waiting []error
		for _, s := range servers {
			reported, err := e.Reported(ctx, s)
			switch m := StateOf(reportedOrEmpty(reported), id); {
			case err != nil:
				waiting = append(waiting, err)
			case m.State != state:
				waiting = append(waiting, fmt.Errorf("%s on %s: %s (%s) %s; %s", id, s.Name, m.State, m.Reason, m.Message, ReadyText(reported.Status.Conditions)))
			}
		}
		err := errors.Join(waiting...)
		return err == nil, fmt.Sprint(err)
	})
}

func reportedOrEmpty(reported *emsv1.PoolServer) *emsv1.PoolServer {
	if reported == nil {
		return &emsv1.PoolServer{}
	}
	return reported
}
