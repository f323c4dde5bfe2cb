package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// Options of an Environment. All are required.
type Options struct {
	// Root is the folder of the repository.
	Root string
	// Dir receives everything that the environment writes. It must be empty or not exist.
	Dir      string
	Programs Programs
}

// Environment is the whole system on this machine.
type Environment struct {
	Options

	ControlPlane *ControlPlane
	Endpoint     *Endpoint
	Publisher    *Publisher
	// Kubectl and Client have full rights.
	Kubectl *Kubectl
	Client  client.Client
	// Manager is its process, once StartManager was called, and ManagerFlags are what it gets beside the usual ones.
	Manager      *Process
	ManagerFlags []string

	started   processes
	probePort string

	mu      sync.Mutex
	servers []*Server
	// sites counts the sites that have an address, all on sitePort.
	sites, sitePort int
}

// New prepares an environment. Stop must be called in the end, whatever happens.
func New(options Options) (*Environment, error) {
	e := &Environment{Options: options}
	if err := os.MkdirAll(options.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("harness: %w", err)
	}
	var err error
	if e.ControlPlane, err = newControlPlane(options, &e.started); err != nil {
		return nil, err
	}
	e.Kubectl = &Kubectl{
		Path: options.Programs.Kubectl, Kubeconfig: filepath.Join(options.Dir, "kubeconfig"), cacheDir: filepath.Join(options.Dir, "kubectl-cache"),
	}
	if err := e.ControlPlane.AdminKubeconfig(e.Kubectl.Kubeconfig); err != nil {
		return nil, err
	}
	if e.Publisher, err = NewPublisher(); err != nil {
		return nil, err
	}
	if e.Endpoint, err = newEndpoint(); err != nil {
		return nil, err
	}
	return e, nil
}

// Stop ends everything, the last started first, and waits until it is gone.
func (e *Environment) Stop() {
	e.started.stop()
	e.Endpoint.Down()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.servers {
		_ = s.site.Close()
	}
}

// Processes are all that were started, in order.
func (e *Environment) Processes() []*Process { return e.started.all() }

// StartControlPlane starts etcd and the API server, and waits until they are ready.
func (e *Environment) StartControlPlane(ctx context.Context) error {
	if err := e.ControlPlane.Start(ctx); err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), emsv1.AddToScheme(scheme)); err != nil {
		return fmt.Errorf("harness: %w", err)
	}
	var err error
	if e.Client, err = client.New(e.ControlPlane.Config(), client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("harness: client: %w", err)
	}
	return nil
}

// Install installs the CRDs, the roles, the admission policies and the manager's namespace from config/, as an operator would.
func (e *Environment) Install(ctx context.Context) error {
	config := func(parts ...string) string {
		return filepath.Join(append([]string{e.Root, "config"}, parts...)...)
	}
	for _, arguments := range [][]string{
		{"apply", "--server-side", "-k", config("crd")},
		{"apply", "--server-side", "-f", config("manager", "namespace.yaml")},
		{"apply", "--server-side", "-k", config("rbac")},
		{"apply", "--server-side", "-k", config("admission")},
		{"wait", "--for=condition=Established", "--timeout=60s", "crd", "-l", "app.kubernetes.io/part-of=ems"},
	} {
		if _, err := e.Kubectl.Run(ctx, arguments...); err != nil {
			return fmt.Errorf("harness: install: %w", err)
		}
	}
	// kubectl would believe for hours that the category "ems" has no kinds.
	if err := os.RemoveAll(e.Kubectl.cacheDir); err != nil {
		return fmt.Errorf("harness: install: %w", err)
	}
	return nil
}

// managerNamespace is the manager's own, as in config/manager.
const managerNamespace = "ems-system"

// StartManager starts the manager, with the rights of its service account, and waits until it is ready. Called again, it
// starts a manager that has ended.
func (e *Environment) StartManager(ctx context.Context) error {
	if e.Manager == nil {
		kubeconfig := filepath.Join(e.Dir, "manager.kubeconfig")
		if err := e.serviceAccountKubeconfig(kubeconfig, managerNamespace, "ems-manager"); err != nil {
			return err
		}
		ports, err := freePorts(1)
		if err != nil {
			return err
		}
		e.probePort = ports[0]
		e.Manager = e.started.add(&Process{
			Name: "manager", Path: e.Programs.Manager, LogPath: filepath.Join(e.Dir, "logs", "manager.log"),
			Args: append([]string{
				"--kubeconfig=" + kubeconfig, "--namespace=" + managerNamespace, "--zap-time-encoding=rfc3339nano",
				"--metrics-bind-address=0", "--health-probe-bind-address=" + net.JoinHostPort(loopback, e.probePort),
			}, e.ManagerFlags...),
		})
	}
	if !e.Manager.Running() {
		if err := e.Manager.Start(); err != nil {
			return err
		}
	}
	return waitHTTP(ctx, e.Manager, http.DefaultClient, "http://"+net.JoinHostPort(loopback, e.probePort)+"/readyz")
}

// serviceAccountKubeconfig writes a kubeconfig for a client that RBAC cannot tell from a service account.
func (e *Environment) serviceAccountKubeconfig(path, namespace, name string) error {
	return e.ControlPlane.UserKubeconfig(path, "system:serviceaccount:"+namespace+":"+name,
		"system:serviceaccounts", serviceAccounts(namespace))
}

// serviceAccounts is the group of all service accounts of a namespace.
func serviceAccounts(namespace string) string { return "system:serviceaccounts:" + namespace }

// Diagnose says what a person would want to know of a failure: how everything stands, and the ends of the logs.
func (e *Environment) Diagnose(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	var text strings.Builder
	for _, arguments := range [][]string{
		{"get", "ems", "-A", "-o", "wide"},
		{"get", "events.events.k8s.io", "-A"},
	} {
		output, err := e.Kubectl.Run(ctx, arguments...)
		fmt.Fprintf(&text, "--- kubectl %s\n%s", strings.Join(arguments, " "), output)
		if err != nil {
			fmt.Fprintf(&text, "%v\n", err)
		}
	}
	for _, p := range e.Processes() {
		lines := 15
		if p == e.ControlPlane.Etcd || p == e.ControlPlane.APIServer {
			lines = 3
		}
		fmt.Fprintf(&text, "--- %s (running: %t), end of %s\n%s\n", p.Name, p.Running(), p.LogPath, p.Tail(lines))
	}
	return text.String()
}
