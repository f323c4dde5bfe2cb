package chart_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// kustomize renders a folder of config/.
func kustomize(t testing.TB, folder string) string {
	t.Helper()
	kubectl := filepath.Join(assets(), "kubectl")
	if _, err := os.Stat(kubectl); err != nil {
		t.Skip("needs kubectl, which make controlplane brings")
	}
	command := exec.CommandContext(t.Context(), kubectl, "kustomize", filepath.Join(root, "config", folder))
	output, err := command.Output()
	if err != nil {
		t.Fatalf("kubectl kustomize %s: %v", folder, err)
	}
	return string(output)
}

// sameObjects compares manifests, apart from the marks that Helm makes and the Namespace that it cannot own.
func sameObjects(t *testing.T, fromKustomize, fromHelm string) {
	t.Helper()
	rendered := objects(t, fromKustomize)
	for _, object := range rendered {
		// Some versions of kustomize take policies for objects of a namespace. The API server does not care: TestLifeOfARelease.
		if strings.HasPrefix(object.GetKind(), "ValidatingAdmissionPolicy") {
			object.SetNamespace("")
		}
	}
	want, got := byIdentity(t, rendered), byIdentity(t, objects(t, fromHelm))
	maps.DeleteFunc(want, func(name string, _ *unstructured.Unstructured) bool { return strings.HasPrefix(name, "Namespace ") })
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
		t.Fatalf("other objects (-kustomize +helm):\n%s", diff)
	}
	if len(want) < 35 {
		t.Fatalf("only %d objects are compared: something is missing from both", len(want))
	}
	for name := range want {
		if diff := cmp.Diff(withoutMarks(want[name]).Object, withoutMarks(got[name]).Object); diff != "" {
			t.Errorf("%s differs (-kustomize +helm):\n%s", name, diff)
		}
	}
}

func TestTheChartIsConfigDefault(t *testing.T) {
	sameObjects(t, kustomize(t, "default"), template(t, "ems-system"))
}

func TestTheOverlayIsTheChartInAnotherNamespace(t *testing.T) {
	sameObjects(t, kustomize(t, "samples/overlay"), template(t, "emergency",
		"--set", "image.repository=registry.contoso.example/ems/ems-manager", "--set", "image.tag=v1.0.0", "--set", "replicas=2"))
}

func TestEverythingFollowsNamespaceAndServiceAccount(t *testing.T) {
	rendered := template(t, "emergency", "--set", "serviceAccount.name=responder")
	all := byIdentity(t, objects(t, rendered))
	for _, object := range all {
		text, err := object.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "ems-system") {
			t.Errorf("%s still names ems-system: %s", identity(object), text)
		}
		if strings.Contains(string(text), ":emergency:ems-manager") || strings.Contains(string(text), `"kind":"ServiceAccount","name":"ems-manager"`) {
			t.Errorf("%s still names the ServiceAccount ems-manager: %s", identity(object), text)
		}
	}
	for _, policy := range []string{"ems-manager-objects", "ems-agent-own-poolserver"} {
		text, err := all["ValidatingAdmissionPolicy /"+policy].MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "'system:serviceaccount:emergency:responder'") {
			t.Errorf("policy %s does not know the manager: %s", policy, text)
		}
	}
}

// TestEveryShardHasItsManager holds the chart against the sample for kustomize, where the name comes by way of a label.
func TestEveryShardHasItsManager(t *testing.T) {
	values := []string{"--set", "shards[0].name=europe", "--set", "shards[1].name=asia", "--set", "extraArgs={--client-certificates}"}
	got := byIdentity(t, objects(t, template(t, "ems-system", values...)))
	want := byIdentity(t, objects(t, kustomize(t, "samples/shards")))
	maps.DeleteFunc(want, func(name string, _ *unstructured.Unstructured) bool { return strings.HasPrefix(name, "Namespace ") })
	identities := func(all map[string]*unstructured.Unstructured) []string {
		var names []string
		for name := range all {
			// Some versions of kustomize take policies for objects of a namespace.
			names = append(names, strings.Replace(name, "ValidatingAdmissionPolicy ems-system/", "ValidatingAdmissionPolicy /", 1))
		}
		slices.Sort(names)
		return names
	}
	if diff := cmp.Diff(identities(want), identities(got)); diff != "" {
		t.Errorf("other objects (-kustomize +helm):\n%s", diff)
	}
	for _, name := range []string{"europe", "asia"} {
		for from, tc := range map[string]struct {
			all     map[string]*unstructured.Unstructured
			wantArg string
		}{
			"kustomize": {all: want, wantArg: "--shard=$(SHARD)"},
			"helm":      {all: got, wantArg: "--shard=" + name},
		} {
			object := tc.all["Deployment ems-system/ems-manager-"+name]
			if object == nil {
				t.Fatalf("%s: no Deployment for %s in %v", from, name, slices.Sorted(maps.Keys(tc.all)))
			}
			text, err := object.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			if shard := object.GetLabels()["ems.mitigation.dev/shard"]; shard != name {
				t.Errorf("%s: the manager of %s is labelled %q", from, name, shard)
			}
			if !strings.Contains(string(text), `"`+tc.wantArg+`"`) {
				t.Errorf("%s: the manager of %s is not told %s: %s", from, name, tc.wantArg, text)
			}
			for _, of := range []string{"8444", "--client-certificates", `"app.kubernetes.io/component":"manager"`} {
				if strings.Contains(string(text), of) {
					t.Errorf("%s: the manager of %s has %s, which is the main manager's: %s", from, name, of, text)
				}
			}
		}
	}
	text, err := got["Deployment ems-system/ems-manager"].MarshalJSON()
	if err != nil || !strings.Contains(string(text), "--client-certificates") || strings.Contains(string(text), "--shard") {
		t.Errorf("the main manager has not its own flags: %s (%v)", text, err)
	}
}

func TestWrongValuesAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		args        []string
		wantMessage string
	}{
		"a value that does not exist":                    {[]string{"--set", "replica=2"}, "replica"},
		"a value that does not exist further down":       {[]string{"--set", "crds.instal=true"}, "instal"},
		"replicas that are no number":                    {[]string{"--set", "replicas=two"}, "replicas"},
		"fewer replicas than none":                       {[]string{"--set", "replicas=-1"}, "replicas"},
		"a digest that is none":                          {[]string{"--set", "image.digest=latest"}, "digest"},
		"a digest within the repository":                 {[]string{"--set", "image.repository=ems@sha256:00"}, "repository"},
		"no repository":                                  {[]string{"--set", "image.repository="}, "repository"},
		"a pull policy that does not exist":              {[]string{"--set", "image.pullPolicy=Sometimes"}, "pullPolicy"},
		"a ServiceAccount that cannot exist":             {[]string{"--set", "serviceAccount.name=Ems_Manager"}, "serviceAccount"},
		"an interval without a unit":                     {[]string{"--set-string", "serviceMonitor.interval=30"}, "interval"},
		"a network that is an address":                   {[]string{"--set", "networkPolicy.egressCIDRs={10.0.0.1}"}, "egressCIDRs"},
		"a port that does not exist":                     {[]string{"--set", "networkPolicy.publisherPorts={70000}"}, "publisherPorts"},
		"telemetry without TLS":                          {[]string{"--set", "telemetry.url=http://telemetry.contoso.com/"}, "telemetry"},
		"telemetry with a password":                      {[]string{"--set", "telemetry.url=https://user:password@telemetry.contoso.com/"}, "telemetry"},
		"an authority that is no certificate":            {[]string{"--set", "telemetry.caBundle=contoso"}, "telemetry"},
		"a flag that is none":                            {[]string{"--set", "extraArgs={verbose}"}, "extraArgs"},
		"a budget that keeps every replica":              {[]string{"--set", "podDisruptionBudget.enabled=true"}, "less than replicas"},
		"a monitor of metrics that are off":              {[]string{"--set", "serviceMonitor.enabled=true", "--set", "metrics.enabled=false"}, "metrics.enabled"},
		"a reader of metrics without its namespace":      {[]string{"--set", "serviceMonitor.enabled=true", "--set", "serviceMonitor.prometheus.serviceAccountName=p"}, "say where its ServiceAccount is"},
		"a shard without a name":                         {[]string{"--set", "shards[0].replicas=2"}, "shards"},
		"a shard with a name that no Lease can have":     {[]string{"--set", "shards[0].name=Europe"}, "shards"},
		"a shard with a value that does not exist":       {[]string{"--set", "shards[0].name=europe", "--set", "shards[0].replica=2"}, "replica"},
		"a cluster without ValidatingAdmissionPolicy v1": {[]string{"--kube-version", "1.29.9"}, "kubeVersion"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := helm(t, os.DevNull, append([]string{"template", "ems", chartDir}, tc.args...)...)
			if err == nil || !strings.Contains(err.Error(), tc.wantMessage) {
				t.Errorf("want an error about %q, got %v", tc.wantMessage, err)
			}
		})
	}
}

func TestValuesReachTheManager(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0123456789abcdef", 4)
	for name, tc := range map[string]struct {
		args     []string
		want     []string
		wantGone []string
	}{
		"the version of the chart is the tag":   {want: []string{"image: ems-manager:v0.0.0-dev"}},
		"a digest wins over a tag":              {args: []string{"--set", "image.tag=v1", "--set", "image.digest=" + digest}, want: []string{"image: ems-manager@" + digest}},
		"a certificate is mounted and used":     {args: []string{"--set", "metrics.certificateSecret=tls"}, want: []string{"--metrics-cert-dir=/etc/ems/metrics", "secretName: tls", "mountPath: /etc/ems/metrics"}},
		"a page that is off is not listened":    {args: []string{"--set", "page.enabled=false", "--set", "page.certificateSecret=tls"}, wantGone: []string{"--page-bind-address", "ems-manager-page", "containerPort: 8444", "volumes:"}},
		"nothing is sent unless there is a URL": {args: []string{"--set", "telemetry.proxyURL=http://proxy:3128"}, wantGone: []string{"--telemetry"}},
		"telemetry goes where the URL says": {
			args: []string{"--set", "telemetry.url=https://telemetry.contoso.com/v1", "--set-literal", "telemetry.caBundle=-----BEGIN CERTIFICATE-----\nMII=", "--set", "telemetry.proxyURL=http://proxy:3128"},
			want: []string{"--telemetry-url=https://telemetry.contoso.com/v1", `--telemetry-ca-bundle=-----BEGIN CERTIFICATE-----\nMII=`, "--telemetry-proxy-url=http://proxy:3128"},
		},
		"a page has a certificate of its own":    {args: []string{"--set", "page.certificateSecret=tls"}, want: []string{"--page-cert-dir=/etc/ems/page", "mountPath: /etc/ems/page"}, wantGone: []string{"/etc/ems/metrics"}},
		"metrics that are off are not listened":  {args: []string{"--set", "metrics.enabled=false"}, wantGone: []string{"--metrics-bind-address", "ems-manager-metrics", "containerPort: 8443"}},
		"kinds are kept by default":              {want: []string{"helm.sh/resource-policy: keep"}},
		"kinds are not kept where nobody wants":  {args: []string{"--set", "crds.keep=false"}, wantGone: []string{"helm.sh/resource-policy"}},
		"kinds are left to others":               {args: []string{"--set", "crds.install=false"}, wantGone: []string{"kind: CustomResourceDefinition"}},
		"flags are added":                        {args: []string{"--set", "extraArgs={--zap-log-level=debug}"}, want: []string{"- --zap-log-level=debug"}},
		"a ServiceAccount of somebody else":      {args: []string{"--set", "serviceAccount.create=false", "--set", "serviceAccount.name=theirs"}, want: []string{"serviceAccountName: theirs"}, wantGone: []string{"kind: ServiceAccount\nmetadata"}},
		"Prometheus is given the role it needs":  {args: []string{"--set", "serviceMonitor.enabled=true", "--set", "serviceMonitor.prometheus.serviceAccountName=p", "--set", "serviceMonitor.prometheus.namespace=m"}, want: []string{"name: ems-metrics-readers", "insecureSkipVerify: true"}},
		"a known authority is verified":          {args: []string{"--set", "serviceMonitor.enabled=true", "--set", "metrics.certificateSecret=tls", "--set", "serviceMonitor.authority.secret=ca"}, want: []string{"serverName: ems-manager-metrics.ems-system.svc"}, wantGone: []string{"insecureSkipVerify"}},
		"a policy without metrics lets none in":  {args: []string{"--set", "networkPolicy.enabled=true", "--set", "metrics.enabled=false", "--set", "page.enabled=false"}, want: []string{"ingress: []"}},
		"each port is opened once":               {args: []string{"--set", "networkPolicy.enabled=true"}, want: []string{"- port: 6443"}},
		"a policy may be narrowed to a network":  {args: []string{"--set", "networkPolicy.enabled=true", "--set", "networkPolicy.egressCIDRs={10.0.0.0/8}"}, want: []string{"cidr: 10.0.0.0/8"}},
		"a budget is for several replicas":       {args: []string{"--set", "podDisruptionBudget.enabled=true", "--set", "replicas=3"}, want: []string{"kind: PodDisruptionBudget", "minAvailable: 1"}},
		"nothing optional is there by itself":    {wantGone: []string{"kind: NetworkPolicy", "kind: PodDisruptionBudget", "kind: ServiceMonitor", "kind: PrometheusRule", "name: ems-dashboards"}},
		"a feed is no part of the chart at all":  {args: fullValues(), wantGone: []string{"\nkind: MitigationFeed\n"}},
		"the priority class is for those who do": {args: []string{"--set", "priorityClassName=system-cluster-critical"}, want: []string{"priorityClassName: system-cluster-critical"}},
	} {
		t.Run(name, func(t *testing.T) {
			rendered := template(t, "ems-system", tc.args...)
			for _, text := range tc.want {
				if !strings.Contains(rendered, text) {
					t.Errorf("want %q in the manifests", text)
				}
			}
			for _, text := range tc.wantGone {
				if strings.Contains(rendered, text) {
					t.Errorf("want no %q in the manifests", text)
				}
			}
		})
	}
}

// fullValues are all options at once.
func fullValues() []string {
	return []string{
		"--set", "replicas=3", "--set", "podDisruptionBudget.enabled=true", "--set", "networkPolicy.enabled=true",
		"--set", "networkPolicy.egressCIDRs={10.0.0.0/8,fd00::/8}",
		"--set", "networkPolicy.ingressFrom[0].namespaceSelector.matchLabels.team=monitoring",
		"--set", "serviceMonitor.enabled=true", "--set", "serviceMonitor.labels.release=prometheus",
		"--set", "serviceMonitor.prometheus.serviceAccountName=prometheus", "--set", "serviceMonitor.prometheus.namespace=monitoring",
		"--set", "serviceMonitor.authority.secret=authority", "--set", "metrics.certificateSecret=metrics-tls", "--set", "page.certificateSecret=page-tls",
		"--set", "prometheusRule.enabled=true", "--set", "prometheusRule.labels.release=prometheus", "--set", "dashboards.enabled=true",
		"--set", "priorityClassName=system-cluster-critical", "--set", "nodeSelector.pool=control",
		"--set", "tolerations[0].operator=Exists", "--set", "podAnnotations.team=security",
		"--set", "image.pullSecrets[0].name=registry", "--set", "image.pullPolicy=IfNotPresent",
		"--set", "serviceAccount.annotations.team=security", "--set", "extraArgs={--zap-log-level=info}",
	}
}
