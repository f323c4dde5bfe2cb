package chart_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/test/testenv"
)

// cluster is a control plane without anything of EMS.
type cluster struct {
	config     *rest.Config
	client     client.Client
	kubeconfig string
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a control plane; make chart brings one")
	}
	programPath(t)
	log.SetLogger(logr.Discard())
	env := &envtest.Environment{BinaryAssetsDirectory: assets()}
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Error(err)
		}
	})
	config, err := env.Start()
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{config: config, client: clientFor(t, config), kubeconfig: filepath.Join(t.TempDir(), "kubeconfig")}
	admin, err := env.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	content, err := admin.KubeConfig()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.kubeconfig, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

func clientFor(t *testing.T, config *rest.Config) client.Client {
	t.Helper()
	c, err := client.New(config, client.Options{Scheme: testenv.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// managerOf is a client of the ServiceAccount that the manager has in a namespace.
func (c *cluster) managerOf(t *testing.T, namespace string) client.Client {
	t.Helper()
	config := rest.CopyConfig(c.config)
	config.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + namespace + ":ems-manager",
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
	}
	return clientFor(t, config)
}

// kubectl runs kubectl with manifests as its input.
func (c *cluster) kubectl(t *testing.T, manifests string, args ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), filepath.Join(assets(), "kubectl"), append([]string{"--cache-dir=" + t.TempDir()}, args...)...)
	command.Env = append(os.Environ(), "KUBECONFIG="+c.kubeconfig)
	command.Stdin = strings.NewReader(manifests)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return stdout.String(), errors.Join(err, errors.New(stderr.String()))
	}
	return stdout.String(), nil
}

// must fails the test on an error, with what the program said.
func must(t *testing.T) func(output string, err error) string {
	t.Helper()
	return func(output string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
		return output
	}
}

// eventually repeats a check until it holds: policies take a moment to act.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-ticker.C:
		}
	}
}

// olderChart is a copy of the chart as an earlier version may have been: a version less, and a kind without a field that it has now.
func olderChart(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "ems")
	if err := os.CopyFS(folder, os.DirFS(chartDir)); err != nil {
		t.Fatal(err)
	}
	for file, change := range map[string][2]string{
		"Chart.yaml": {"\nversion: 0.0.0-dev\n", "\nversion: 0.0.0-alpha\n"},
		"templates/generated/crd/ems.mitigation.dev_poolservers.yaml": {"\n              hostName:\n", "\n              formerName:\n"},
	} {
		path := filepath.Join(folder, file)
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(content), change[0]) != 1 {
			t.Fatalf("%s: %q is not there once", file, change[0])
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(content), change[0], change[1], 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func poolServer(name string) *emsv1.PoolServer {
	return &emsv1.PoolServer{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "pool-a"}, Spec: emsv1.PoolServerSpec{PoolName: "frontends", HostName: name + ".contoso.example"},
	}
}

func plan() *emsv1.MitigationPlan {
	return &emsv1.MitigationPlan{ObjectMeta: metav1.ObjectMeta{Name: "frontends", Namespace: "pool-a"}, Spec: emsv1.MitigationPlanSpec{Mode: emsv1.ModeAudit}}
}

// current is the plan as it is stored.
func current(t *testing.T, c *cluster) *emsv1.MitigationPlan {
	t.Helper()
	stored := &emsv1.MitigationPlan{}
	if err := c.client.Get(t.Context(), client.ObjectKeyFromObject(plan()), stored); err != nil {
		t.Fatal(err)
	}
	return stored
}

// TestLifeOfARelease follows one cluster from the first installation on. Its steps depend on each other.
func TestLifeOfARelease(t *testing.T) {
	c := startCluster(t)
	ctx := t.Context()
	create := func(t *testing.T, object client.Object) {
		t.Helper()
		if err := c.client.Create(ctx, object); err != nil {
			t.Fatal(err)
		}
	}
	create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "pool-a"}})

	if !t.Run("an earlier version is installed in a namespace of its own", func(t *testing.T) {
		must(t)(helm(t, c.kubeconfig, "install", "ems", olderChart(t), "--namespace", "emergency", "--create-namespace"))
		var older emsv1.PoolServer
		eventually(t, "the kinds are served", func() error { return c.client.Create(ctx, poolServer("web01")) })
		if err := c.client.Get(ctx, types.NamespacedName{Namespace: "pool-a", Name: "web01"}, &older); err != nil {
			t.Fatal(err)
		}
		if older.Spec.HostName != "" {
			t.Fatalf("the earlier version does not know hostName, and keeps %q", older.Spec.HostName)
		}
	}) {
		return
	}

	if !t.Run("the manager of that namespace is the manager, and no other", func(t *testing.T) {
		eventually(t, "policies act", func() error {
			if err := c.managerOf(t, "ems-system").Create(ctx, plan(), client.DryRunAll); !apierrors.IsForbidden(err) {
				return errors.Join(errors.New("a manager of another namespace is not refused"), err)
			}
			return nil
		})
		eventually(t, "the manager may write", func() error { return c.managerOf(t, "emergency").Create(ctx, plan()) })
	}) {
		return
	}

	if !t.Run("an upgrade brings the new field and keeps what is stored", func(t *testing.T) {
		must(t)(helm(t, c.kubeconfig, "upgrade", "ems", chartDir, "--namespace", "emergency"))
		eventually(t, "the new field is kept", func() error {
			var server emsv1.PoolServer
			if err := c.client.Get(ctx, types.NamespacedName{Namespace: "pool-a", Name: "web01"}, &server); err != nil {
				return err
			}
			if server.Spec.PoolName != "frontends" {
				t.Fatalf("stored before the upgrade: %+v", server.Spec)
			}
			server.Spec.HostName = "web01.contoso.example"
			if err := c.client.Update(ctx, &server); err != nil {
				return err
			}
			if server.Spec.HostName == "" {
				return errors.New("the field is still unknown")
			}
			return nil
		})
	}) {
		return
	}

	if !t.Run("a rollback brings the earlier version and keeps what is stored", func(t *testing.T) {
		must(t)(helm(t, c.kubeconfig, "rollback", "ems", "1", "--namespace", "emergency"))
		var server emsv1.PoolServer
		if err := c.client.Get(ctx, types.NamespacedName{Namespace: "pool-a", Name: "web01"}, &server); err != nil {
			t.Fatal(err)
		}
		must(t)(helm(t, c.kubeconfig, "upgrade", "ems", chartDir, "--namespace", "emergency"))
	}) {
		return
	}

	if !t.Run("a second release is refused", func(t *testing.T) {
		_, err := helm(t, c.kubeconfig, "install", "second", chartDir, "--namespace", "another", "--create-namespace")
		if err == nil || !strings.Contains(err.Error(), "invalid ownership metadata") {
			t.Fatalf("want a refusal, got %v", err)
		}
	}) {
		return
	}

	if !t.Run("uninstalling leaves kinds and data", func(t *testing.T) {
		must(t)(helm(t, c.kubeconfig, "uninstall", "ems", "--namespace", "emergency"))
		if err := c.client.Get(ctx, types.NamespacedName{Namespace: "pool-a", Name: "web01"}, &emsv1.PoolServer{}); err != nil {
			t.Fatal(err)
		}
		if err := c.client.Get(ctx, client.ObjectKeyFromObject(plan()), &emsv1.MitigationPlan{}); err != nil {
			t.Fatal(err)
		}
		var deployments appsv1.DeploymentList
		if err := c.client.List(ctx, &deployments); err != nil || len(deployments.Items) != 0 {
			t.Fatalf("deployments: %d, %v", len(deployments.Items), err)
		}
	}) {
		return
	}

	if !t.Run("the overlay makes a manager of its namespace the manager", func(t *testing.T) {
		must(t)(c.kubectl(t, "", "apply", "--server-side", "--force-conflicts", "-k", filepath.Join(root, "config", "samples", "overlay")))
		eventually(t, "the manager may write", func() error { return c.managerOf(t, "emergency").Update(ctx, current(t, c), client.DryRunAll) })
		eventually(t, "policies act", func() error {
			if err := c.managerOf(t, "ems-system").Update(ctx, current(t, c), client.DryRunAll); !apierrors.IsForbidden(err) {
				return errors.Join(errors.New("a manager of another namespace is not refused"), err)
			}
			return nil
		})
	}) {
		return
	}

	t.Run("what kustomize installed can be taken over, and the kinds that were left", func(t *testing.T) {
		must(t)(c.kubectl(t, "", "apply", "--server-side", "--force-conflicts", "-k", filepath.Join(root, "config", "default")))
		if _, err := helm(t, c.kubeconfig, "install", "ems", chartDir, "--namespace", "ems-system"); err == nil {
			t.Error("without --take-ownership Helm must not touch what is another's")
		}
		must(t)(helm(t, c.kubeconfig, "install", "ems", chartDir, "--namespace", "ems-system", "--take-ownership"))
		if err := c.client.Get(ctx, client.ObjectKeyFromObject(plan()), &emsv1.MitigationPlan{}); err != nil {
			t.Fatal(err)
		}
	})
}

// standIns are the kinds of the Prometheus operator with any content.
const standIns = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: servicemonitors.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  scope: Namespaced
  names: {kind: ServiceMonitor, plural: servicemonitors}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: prometheusrules.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  scope: Namespaced
  names: {kind: PrometheusRule, plural: prometheusrules}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`

func TestTheAPIServerTakesEverySetOfValues(t *testing.T) {
	c := startCluster(t)
	must(t)(c.kubectl(t, standIns, "apply", "-f", "-"))
	must(t)(c.kubectl(t, "", "create", "namespace", "ems-system"))
	must(t)(c.kubectl(t, "", "label", "namespace", "ems-system", "pod-security.kubernetes.io/enforce=restricted"))
	for name, args := range map[string][]string{
		"as it is":         nil,
		"everything":       fullValues(),
		"as little as can": {"--set", "metrics.enabled=false,serviceAccount.create=false,page.enabled=false", "--set", "replicas=0"},
		"without kinds":    {"--set", "crds.install=false"},
	} {
		t.Run(name, func(t *testing.T) {
			rendered := template(t, "ems-system", args...)
			eventually(t, "server-side dry run", func() error {
				_, err := c.kubectl(t, rendered, "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-")
				return err
			})
			admitPod(t, c, rendered)
		})
	}
}

// admitPod asks the API server for a pod as the Deployment would, in a namespace that enforces the profile restricted.
func admitPod(t *testing.T, c *cluster, rendered string) {
	t.Helper()
	for _, object := range objects(t, rendered) {
		if object.GetKind() != "Deployment" {
			continue
		}
		text, err := object.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var deployment appsv1.Deployment
		if err := json.Unmarshal(text, &deployment); err != nil {
			t.Fatal(err)
		}
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "try-", Namespace: "ems-system"}, Spec: deployment.Spec.Template.Spec}
		pod.Spec.PriorityClassName = ""
		if err := c.client.Create(t.Context(), pod.DeepCopy(), client.DryRunAll); err != nil {
			t.Errorf("the profile restricted refuses the manager: %v", err)
		}
		pod.Spec.Containers[0].SecurityContext.Capabilities = nil
		if err := c.client.Create(t.Context(), pod, client.DryRunAll); !apierrors.IsForbidden(err) {
			t.Errorf("a pod that keeps its capabilities is not refused, so that nothing was shown: %v", err)
		}
		return
	}
	t.Error("no Deployment is rendered")
}
