package testenv

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// Environment is a running control plane with a client of full rights.
type Environment struct {
	// Config reaches the API server with full rights.
	Config *rest.Config
	// Client reads and writes without a cache.
	Client client.Client
	// Scheme knows the built-in kinds and those of EMS.
	Scheme *apiruntime.Scheme

	env *envtest.Environment
}

// Scheme returns a scheme with the built-in kinds and those of EMS.
func Scheme() *apiruntime.Scheme {
	scheme := apiruntime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(emsv1.AddToScheme(scheme))
	return scheme
}

// Root returns the folder of the repository.
func Root() string {
	_, file, _, ok := runtime.Caller(0)
	Expect(ok).To(BeTrue(), "the caller's source file must be known")
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// AssetsDirectory returns the folder with kube-apiserver, etcd and kubectl.
func AssetsDirectory() string {
	if dir := os.Getenv("KUBEBUILDER_ASSETS"); dir != "" {
		return dir
	}
	return filepath.Join(Root(), "bin", "k8s")
}

// Start starts the control plane and installs the CRDs. It fails the running test if that does not work.
func Start() *Environment {
	scheme := Scheme()
	env := &envtest.Environment{
		BinaryAssetsDirectory: AssetsDirectory(),
		CRDDirectoryPaths:     []string{filepath.Join(Root(), "config", "crd", "bases")},
		ErrorIfCRDPathMissing: true,
	}
	config, err := env.Start()
	if err != nil {
		// It may have come half way, and what runs then has nobody else to stop it.
		_ = env.Stop()
	}
	Expect(err).NotTo(HaveOccurred(), "the control plane must start; `make controlplane` obtains it")
	c, err := client.New(config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	return &Environment{Config: config, Client: c, Scheme: scheme, env: env}
}

// User returns a configuration for a user of the given name and groups, for tests of access rights.
func (e *Environment) User(name string, groups ...string) *rest.Config {
	user, err := e.env.AddUser(envtest.User{Name: name, Groups: groups}, nil)
	Expect(err).NotTo(HaveOccurred())
	return user.Config()
}

// Stop stops the control plane.
func (e *Environment) Stop() {
	if e == nil {
		return
	}
	Expect(e.env.Stop()).To(Succeed())
}

// RunManager runs a manager with what setup registers until the returned function is called. The function waits until
// the manager has stopped.
func (e *Environment) RunManager(ctx context.Context, setup func(ctrl.Manager) error) (stop func()) {
	mgr, err := ctrl.NewManager(e.Config, ctrl.Options{
		Scheme:  e.Scheme,
		Metrics: metricsserver.Options{BindAddress: "0"},
		// Every suite runs several managers in one process, one after the other.
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	Expect(err).NotTo(HaveOccurred())
	Expect(setup(mgr)).To(Succeed())
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	return func() {
		cancel()
		Eventually(done).WithTimeout(time.Minute).Should(Receive(BeNil()))
	}
}

// Namespace creates a namespace with a name of its own.
func (e *Environment) Namespace(ctx context.Context) string {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	Expect(e.Client.Create(ctx, namespace)).To(Succeed())
	return namespace.Name
}
