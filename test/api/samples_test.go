package api_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mitigation.dev/ems/test/testenv"
)

// What is a sample, and what a document shows as one, is checked where the user would send it: a real API server.

var _ = Describe("Samples", func() {
	samples := filepath.Join(testenv.Root(), "config", "samples")

	for _, file := range filesBelow(samples, ".yaml") {
		if filepath.Base(file) == "kustomization.yaml" || strings.HasPrefix(file, filepath.Join(samples, "gitops")) {
			continue // Built as a whole below.
		}
		if strings.HasPrefix(file, filepath.Join(samples, "publish")) {
			continue // Mitigations as publishers write them, no manifests: cmd/kubectl-mitigation tests them.
		}
		It("are accepted: "+relative(file), func(ctx SpecContext) {
			expectAccepted(ctx, objects(read(file)))
		})
	}

	It("are accepted as the GitOps folder builds them", func(ctx SpecContext) {
		all := kustomize(ctx, filepath.Join(samples, "gitops"))
		Expect(len(all)).To(BeNumerically(">", 5), "the folder must bring its organisation and its pools")
		expectAccepted(ctx, all)
	})

	It("show no drift: what is applied from Git is there word for word", func(ctx SpecContext) {
		const manager = "gitops"
		for _, object := range kustomize(ctx, filepath.Join(samples, "gitops")) {
			wanted := object.DeepCopy()
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: object.GetNamespace()}}
			if namespace.Name != "" {
				Expect(client.IgnoreAlreadyExists(env.Client.Create(ctx, namespace))).To(Succeed())
			}
			apply := client.ApplyConfigurationFromUnstructured(object)
			Expect(env.Client.Apply(ctx, apply, client.FieldOwner(manager), client.ForceOwnership)).To(Succeed())
			live := &unstructured.Unstructured{}
			live.SetGroupVersionKind(wanted.GroupVersionKind())
			Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(wanted), live)).To(Succeed())
			if wanted.GetKind() != "Namespace" { // Kubernetes adds a label and a finalizer.
				got, err := json.Marshal(live.Object["spec"])
				Expect(err).NotTo(HaveOccurred())
				want, err := json.Marshal(wanted.Object["spec"])
				Expect(err).NotTo(HaveOccurred())
				Expect(got).To(MatchJSON(want), "%s %q", wanted.GetKind(), wanted.GetName())
				Expect(live.GetLabels()).To(Equal(wanted.GetLabels()))
				DeferCleanup(func(ctx SpecContext) error { return client.IgnoreNotFound(env.Client.Delete(ctx, live)) })
			}
			// Applied again, as Flux does every ten minutes, it writes nothing.
			Expect(env.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(wanted), client.FieldOwner(manager), client.ForceOwnership)).To(Succeed())
			again := live.DeepCopy()
			Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(live), again)).To(Succeed())
			Expect(again.GetResourceVersion()).To(Equal(live.GetResourceVersion()), "%s %q", wanted.GetKind(), wanted.GetName())
		}
	})

	It("tell Flux and Argo CD how to judge health", func(ctx SpecContext) {
		shipped := objects(read(filepath.Join(testenv.Root(), "config", "flux", "healthcheckexprs.yaml")))[0]
		want, _, err := unstructured.NestedSlice(shipped.Object, "spec", "healthCheckExprs")
		Expect(err).NotTo(HaveOccurred())
		Expect(want).To(HaveLen(5))
		kustomizations := 0
		for _, object := range kustomize(ctx, filepath.Join(samples, "gitops", "clusters", "flux")) {
			if object.GetKind() != "Kustomization" {
				continue
			}
			kustomizations++
			got, _, err := unstructured.NestedSlice(object.Object, "spec", "healthCheckExprs")
			Expect(err).NotTo(HaveOccurred())
			Expect(got).To(HaveLen(len(want)), object.GetName())
			path, _, err := unstructured.NestedString(object.Object, "spec", "path")
			Expect(err).NotTo(HaveOccurred())
			Expect(filepath.Join(samples, "gitops", path, "kustomization.yaml")).To(BeARegularFile())
		}
		Expect(kustomizations).To(BeNumerically(">", 3))

		checks := 0
		for _, object := range kustomize(ctx, filepath.Join(samples, "gitops", "clusters", "argocd")) {
			data, _, err := unstructured.NestedStringMap(object.Object, "data")
			Expect(err).NotTo(HaveOccurred())
			for key, script := range data {
				if strings.HasPrefix(key, "resource.customizations.health.ems.mitigation.dev_") {
					checks++
					Expect(script).To(Equal(string(read(filepath.Join(testenv.Root(), "config", "argocd", "health.lua")))), key)
				}
			}
		}
		Expect(checks).To(Equal(5))
	})

	It("would not be accepted with a misspelt field", func(ctx SpecContext) {
		object := objects(read(filepath.Join(samples, "mitigationconfiguration_global.yaml")))[0]
		Expect(unstructured.SetNestedField(object.Object, "Enabled", "spec", "mitigation")).To(Succeed())
		Expect(dryRun(ctx, object)).To(MatchError(ContainSubstring("spec.mitigation")))
	})
})

var _ = Describe("Manifests in the documents", func() {
	docs := filepath.Join(testenv.Root(), "docs")
	for _, file := range append(filesBelow(docs, ".md"), filesBelow(filepath.Join(testenv.Root(), "config"), ".md")...) {
		for _, manifest := range manifestsIn(read(file)) {
			It("are accepted: "+relative(file), func(ctx SpecContext) {
				expectAccepted(ctx, objects(manifest))
			})
		}
	}
})

// yamlBlock is a block of YAML in a document.
var yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)\n```$")

// manifestsIn returns the blocks of a document that are whole manifests of ours; excerpts have no apiVersion.
func manifestsIn(document []byte) [][]byte {
	var manifests [][]byte
	for _, block := range yamlBlock.FindAllSubmatch(document, -1) {
		if bytes.Contains(block[1], []byte("apiVersion: ems.mitigation.dev/v1alpha1\n")) {
			manifests = append(manifests, block[1])
		}
	}
	return manifests
}

// kustomize builds a folder.
func kustomize(ctx SpecContext, folder string) []*unstructured.Unstructured {
	GinkgoHelper()
	built := exec.CommandContext(ctx, filepath.Join(testenv.AssetsDirectory(), "kubectl"), "kustomize", folder)
	var complaints bytes.Buffer
	built.Stderr = &complaints
	manifests, err := built.Output()
	Expect(err).NotTo(HaveOccurred(), "%s", complaints.String())
	return objects(manifests)
}

// expectAccepted sends every object as a dry run, after creating the namespaces that they are in.
func expectAccepted(ctx SpecContext, all []*unstructured.Unstructured) {
	GinkgoHelper()
	Expect(all).NotTo(BeEmpty())
	for _, object := range all {
		if name := object.GetNamespace(); name != "" {
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
			Expect(client.IgnoreAlreadyExists(env.Client.Create(ctx, namespace))).To(Succeed())
		}
	}
	for _, object := range all {
		Expect(dryRun(ctx, object)).To(Succeed(), "%s %q", object.GetKind(), object.GetName())
	}
}

// dryRun applies an object without effect, as kubectl apply --server-side --dry-run=server does. Unlike a dry run of a
// creation it also works for what exists, and it refuses fields that the schema does not know.
func dryRun(ctx SpecContext, object *unstructured.Unstructured) error {
	return env.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.DryRunAll, client.FieldOwner("samples"))
}

// objects reads all documents of a YAML stream.
func objects(stream []byte) []*unstructured.Unstructured {
	GinkgoHelper()
	var all []*unstructured.Unstructured
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(stream), 4096)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return all
		}
		Expect(err).NotTo(HaveOccurred())
		if len(object.Object) > 0 {
			all = append(all, object)
		}
	}
}

// filesBelow lists the files of a folder with the given ending, in order. It is called while the tree of specs is built, where
// nothing can fail but by panic, which Ginkgo reports.
func filesBelow(folder, ending string) []string {
	var files []string
	err := filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasSuffix(path, ending) {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		panic(err)
	}
	return files
}

func read(file string) []byte {
	content, err := os.ReadFile(file)
	if err != nil {
		panic(err)
	}
	return content
}

func relative(file string) string {
	path, err := filepath.Rel(testenv.Root(), file)
	if err != nil {
		panic(err)
	}
	return filepath.ToSlash(path)
}
