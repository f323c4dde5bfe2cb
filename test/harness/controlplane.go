package harness

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// startLimit is how long etcd and the API server have to become ready: a few seconds when the machine is idle.
const startLimit = 2 * time.Minute

// ControlPlane is an etcd and a kube-apiserver. Both can be killed and started again: ports, keys and data stay.
type ControlPlane struct {
	Etcd, APIServer *Process

	dir       string
	authority *authority
	url       string
	etcdURL   string
	admin     pair
}

// newControlPlane prepares the processes and their keys below the folder of the options.
func newControlPlane(options Options, own *processes) (*ControlPlane, error) {
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	c := &ControlPlane{dir: options.Dir}
	dir := c.dir
	if c.authority, err = newAuthority("EMS harness control plane"); err != nil {
		return nil, err
	}
	if c.admin, err = c.authority.user("harness-admin", "system:masters"); err != nil {
		return nil, err
	}
	c.url = "https://" + net.JoinHostPort(loopback, ports[0])
	c.etcdURL = "http://" + net.JoinHostPort(loopback, ports[1])
	peerURL := "http://" + net.JoinHostPort(loopback, ports[2])
	arguments, err := c.apiServerArguments(ports[0])
	if err != nil {
		return nil, err
	}
	c.Etcd = own.add(&Process{
		Name: "etcd", Path: options.Programs.Etcd, LogPath: filepath.Join(dir, "logs", "etcd.log"),
		Args: []string{
			"--data-dir=" + filepath.Join(dir, "etcd"), "--log-level=warn",
			"--listen-client-urls=" + c.etcdURL, "--advertise-client-urls=" + c.etcdURL,
			"--listen-peer-urls=" + peerURL, "--initial-advertise-peer-urls=" + peerURL, "--initial-cluster=default=" + peerURL,
			// What is at stake is the end of processes, not of the machine: the kernel keeps what was written.
			"--unsafe-no-fsync",
		},
	})
	c.APIServer = own.add(&Process{
		Name: "kube-apiserver", Path: options.Programs.APIServer,
		LogPath: filepath.Join(dir, "logs", "kube-apiserver.log"), Args: arguments,
	})
	return c, nil
}

func (c *ControlPlane) apiServerArguments(port string) ([]string, error) {
	serving, err := c.authority.server()
	if err != nil {
		return nil, err
	}
	// What the API server signs the tokens of service accounts with: those of the agents.
	tokens, err := c.authority.issue(certificateTemplate(c.authority.certificate.Subject))
	if err != nil {
		return nil, err
	}
	keys := filepath.Join(c.dir, "keys")
	if err := os.MkdirAll(keys, 0o700); err != nil {
		return nil, fmt.Errorf("control plane: %w", err)
	}
	file := func(name string) string { return filepath.Join(keys, name) }
	for name, content := range map[string][]byte{
		"ca.crt": c.authority.pem(), "tls.crt": serving.certificate, "tls.key": serving.key,
		"tokens.crt": tokens.certificate, "tokens.key": tokens.key, "audit.yaml": []byte(auditPolicy),
	} {
		if err := os.WriteFile(file(name), content, 0o600); err != nil {
			return nil, fmt.Errorf("control plane: %w", err)
		}
	}
	return []string{
		"--etcd-servers=" + c.etcdURL,
		"--bind-address=" + loopback, "--secure-port=" + port,
		// A machine without any network has no address to find here; this one (RFC 5737) is nobody's, and nobody asks it.
		"--advertise-address=192.0.2.1", "--endpoint-reconciler-type=none",
		"--cert-dir=" + keys, "--tls-cert-file=" + file("tls.crt"), "--tls-private-key-file=" + file("tls.key"),
		"--client-ca-file=" + file("ca.crt"), "--authorization-mode=RBAC",
		"--service-account-issuer=" + c.url, "--service-account-key-file=" + file("tokens.crt"),
		"--service-account-signing-key-file=" + file("tokens.key"),
		"--service-cluster-ip-range=10.0.0.0/24",
		"--audit-policy-file=" + file("audit.yaml"), "--audit-log-path=" + c.auditLog(),
		// Without a controller manager nobody would create the service accounts that it asks for.
		"--disable-admission-plugins=ServiceAccount",
	}, nil
}

// Start starts what does not run and waits until the API server is ready.
func (c *ControlPlane) Start(ctx context.Context) error {
	if !c.Etcd.Running() {
		if err := c.Etcd.Start(); err != nil {
			return err
		}
		if err := waitHTTP(ctx, c.Etcd, http.DefaultClient, c.etcdURL+"/health"); err != nil {
			return err
		}
	}
	if !c.APIServer.Running() {
		if err := c.APIServer.Start(); err != nil {
			return err
		}
	}
	client, err := rest.HTTPClientFor(c.Config())
	if err != nil {
		return fmt.Errorf("control plane: %w", err)
	}
	return waitHTTP(ctx, c.APIServer, client, c.url+"/readyz")
}

// waitHTTP waits until a process answers with 200.
func waitHTTP(ctx context.Context, p *Process, client *http.Client, url string) error {
	err := Wait(ctx, startLimit, p.Name+" to be ready at "+url, func(ctx context.Context) (bool, string) {
		if !p.Running() {
			return false, "the process has ended"
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return false, err.Error()
		}
		response, err := client.Do(request)
		if err != nil {
			return false, err.Error()
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK, response.Status
	})
	if err != nil {
		return fmt.Errorf("%w; end of its log:\n%s", err, p.Tail(20))
	}
	return nil
}

// Config reaches the API server with full rights.
func (c *ControlPlane) Config() *rest.Config {
	return &rest.Config{
		Host: c.url, QPS: -1,
		TLSClientConfig: rest.TLSClientConfig{CAData: c.authority.pem(), CertData: c.admin.certificate, KeyData: c.admin.key},
	}
}

// AdminKubeconfig writes a kubeconfig with full rights.
func (c *ControlPlane) AdminKubeconfig(path string) error {
	return c.kubeconfig(path, "admin", c.admin)
}

// UserKubeconfig writes a kubeconfig for a new user, who has the rights that RBAC gives to the name and the groups.
func (c *ControlPlane) UserKubeconfig(path, name string, groups ...string) error {
	credentials, err := c.authority.user(name, groups...)
	if err != nil {
		return err
	}
	return c.kubeconfig(path, name, credentials)
}

func (c *ControlPlane) kubeconfig(path, user string, credentials pair) error {
	const cluster = "ems"
	config := clientcmdapi.NewConfig()
	config.Clusters[cluster] = &clientcmdapi.Cluster{Server: c.url, CertificateAuthorityData: c.authority.pem()}
	config.AuthInfos[user] = &clientcmdapi.AuthInfo{ClientCertificateData: credentials.certificate, ClientKeyData: credentials.key}
	config.Contexts[cluster] = &clientcmdapi.Context{Cluster: cluster, AuthInfo: user}
	config.CurrentContext = cluster
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return fmt.Errorf("kubeconfig of %s: %w", user, err)
	}
	return nil
}
