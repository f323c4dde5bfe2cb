//go:build !windows

// The control plane of the tests does not compile for Windows.

package rolloutcmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/spf13/pflag"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/test/testenv"
)

var env *testenv.Environment

func TestOnAnAPIServer(t *testing.T) { testenv.RunSuite(t, "Rollout verbs suite", &env) }

// terminalOf is a user of the cluster, behind a proxy that counts requests and can cut connections.
type terminalOf struct {
	kubeconfig string
	proxy      *httptest.Server
	stdin      io.Reader

	mu       sync.Mutex
	requests []string
	down     bool
}

func newTerminal(user *rest.Config, namespace string) *terminalOf {
	u := &terminalOf{kubeconfig: filepath.Join(GinkgoT().TempDir(), "kubeconfig"), stdin: strings.NewReader("")}
	target, err := url.Parse(user.Host)
	Expect(err).NotTo(HaveOccurred())
	transport, err := rest.TransportFor(user)
	Expect(err).NotTo(HaveOccurred())
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport, proxy.FlushInterval = transport, -1
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) {}
	u.proxy = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		u.requests = append(u.requests, r.Method+" "+strings.TrimPrefix(r.URL.Path, "/apis/ems.mitigation.dev/v1alpha1/"))
		down := u.down
		u.mu.Unlock()
		if down {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	DeferCleanup(u.proxy.Close)
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: u.proxy.URL}
	config.AuthInfos["u"] = &clientcmdapi.AuthInfo{}
	config.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u", Namespace: namespace}
	config.CurrentContext = "x"
	Expect(clientcmd.WriteToFile(*config, u.kubeconfig)).To(Succeed())
	return u
}

// cut ends every connection, as a restart of the API server does.
func (u *terminalOf) cut(down bool) {
	u.mu.Lock()
	u.down = down
	u.mu.Unlock()
	u.proxy.CloseClientConnections()
}

func (u *terminalOf) seen() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]string{}, u.requests...)
}

// output can be read while it is written.
type output struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buffer.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buffer.String()
}

// start runs a command as the program does.
func (u *terminalOf) start(ctx context.Context, stdout, stderr io.Writer, arguments ...string) int {
	w := cli.World{Stdout: stdout, Stderr: stderr, Stdin: u.stdin, Now: time.Now, Getenv: func(string) string { return "" }}
	for _, c := range Commands() {
		words := strings.Fields(c.Name)
		if len(arguments) < len(words) || strings.Join(arguments[:len(words)], " ") != c.Name {
			continue
		}
		flags := pflag.NewFlagSet(c.Name, pflag.ContinueOnError)
		flags.SetOutput(io.Discard)
		run := c.Bind(w, flags)
		rest := append([]string{"--kubeconfig", u.kubeconfig}, arguments[len(words):]...)
		var operands []string
		for len(rest) > 0 {
			if err := flags.Parse(rest); err != nil {
				fmt.Fprintln(stderr, err)
				return 2
			}
			if rest = flags.Args(); len(rest) > 0 {
				operands, rest = append(operands, rest[0]), rest[1:]
			}
		}
		return codeOf(run(ctx, operands), stderr)
	}
	Fail("no command " + strings.Join(arguments, " "))
	return 0
}

func codeOf(err error, stderr io.Writer) int {
	exit, silent := errors.AsType[cli.ExitError](err)
	if silent {
		return exit.Code
	}
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, err)
	if _, usage := errors.AsType[cli.UsageError](err); usage {
		return 2
	}
	return 1
}

func (u *terminalOf) run(ctx context.Context, arguments ...string) (code int, stdout, stderr string) {
	GinkgoHelper()
	var out, errs output
	code = u.start(ctx, &out, &errs, arguments...)
	return code, out.String(), errs.String()
}

// create makes the pool, its plan and its status in a namespace of its own.
func (p *poolOf) create(ctx context.Context) {
	GinkgoHelper()
	status := p.pool.Status
	Expect(env.Client.Create(ctx, p.pool, client.FieldOwner("flux"))).To(Succeed())
	p.pool.Status = status
	Expect(env.Client.Status().Update(ctx, p.pool)).To(Succeed())
	Expect(env.Client.Create(ctx, p.plan)).To(Succeed())
	p.entry, p.told = &p.plan.Spec.Mitigations[0], &p.pool.Status.Mitigations[0]
}

// write puts what has changed into the cluster, as the manager does.
func (p *poolOf) write(ctx context.Context) {
	GinkgoHelper()
	pool, plan := p.pool.DeepCopy(), p.plan.DeepCopy()
	Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(pool), pool)).To(Succeed())
	pool.Status = p.pool.Status
	Expect(env.Client.Status().Update(ctx, pool)).To(Succeed())
	Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(plan), plan)).To(Succeed())
	plan.Spec = p.plan.Spec
	Expect(env.Client.Update(ctx, plan)).To(Succeed())
}

// says makes a server that reports about M1.
func (p *poolOf) says(ctx context.Context, server, message string) {
	GinkgoHelper()
	object := &emsv1.PoolServer{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.pool.Namespace, Name: server},
		Spec:       emsv1.PoolServerSpec{PoolName: p.pool.Name},
	}
	Expect(env.Client.Create(ctx, object)).To(Succeed())
	object.Status.Mitigations = []emsv1.ServerMitigation{{
		ID: "M1", State: emsv1.StateFailed, Reason: "HealthCheckFailed",
		Gate: emsv1.ServerGate{Rollout: p.entry.Rollout.ID, Verdict: emsv1.GateFailed, Message: message},
	}}
	Expect(env.Client.Status().Update(ctx, object)).To(Succeed())
}

// allow gives a user rights on the objects of EMS in a namespace.
func allow(ctx context.Context, namespace, user string, verbs ...string) {
	GinkgoHelper()
	role := &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "reader"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{emsv1.GroupVersion.Group}, Resources: []string{"*"}, Verbs: verbs}},
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "reader"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "reader"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}},
	}
	Expect(env.Client.Create(ctx, role)).To(Succeed())
	Expect(env.Client.Create(ctx, binding)).To(Succeed())
}
