package chart_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
)

// root is the folder of the repository, from the folder that tests run in.
const root = "../.."

var chartDir = filepath.Join(root, "config", "chart", "ems")

// assets is the folder with the programs of the control plane.
func assets() string {
	if folder := os.Getenv("KUBEBUILDER_ASSETS"); folder != "" {
		return folder
	}
	return filepath.Join(root, "bin", "k8s")
}

// programPath returns the absolute path of Helm, and skips the test where nobody has built it.
func programPath(t testing.TB) string {
	t.Helper()
	path, asked := os.LookupEnv("EMS_HELM")
	if !asked {
		path = filepath.Join(root, "bin", "tools", "helm")
	} else if !filepath.IsAbs(path) {
		path = filepath.Join(root, path)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		if asked {
			t.Fatalf("EMS_HELM: %v", err)
		}
		t.Skip("needs Helm, which make chart builds")
	}
	return path
}

// helm runs Helm with nothing of the user's own: no repositories, plugins or cluster.
func helm(t testing.TB, kubeconfig string, args ...string) (string, error) {
	t.Helper()
	home := t.TempDir()
	command := exec.CommandContext(t.Context(), programPath(t), args...)
	command.Env = append(os.Environ(), "HELM_CONFIG_HOME="+home, "HELM_CACHE_HOME="+home, "HELM_DATA_HOME="+home,
		"HELM_PLUGINS="+home, "KUBECONFIG="+kubeconfig)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return stdout.String(), fmt.Errorf("helm %s: %w\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

// template renders the chart as a release "ems" and fails the test if that does not work.
func template(t testing.TB, namespace string, args ...string) string {
	t.Helper()
	out, err := helm(t, os.DevNull, append([]string{"template", "ems", chartDir, "--namespace", namespace}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// objects parses manifests.
func objects(t testing.TB, manifests string) []*unstructured.Unstructured {
	t.Helper()
	var all []*unstructured.Unstructured
	decoder := utilyaml.NewYAMLOrJSONDecoder(strings.NewReader(manifests), 4096)
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(object); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("manifests: %v", err)
		}
		if len(object.Object) > 0 {
			all = append(all, object)
		}
	}
}

// identity names an object for people.
func identity(object *unstructured.Unstructured) string {
	return object.GetKind() + " " + object.GetNamespace() + "/" + object.GetName()
}

// byIdentity maps objects by identity; twice the same is an error of the test.
func byIdentity(t testing.TB, all []*unstructured.Unstructured) map[string]*unstructured.Unstructured {
	t.Helper()
	found := map[string]*unstructured.Unstructured{}
	for _, object := range all {
		if found[identity(object)] != nil {
			t.Fatalf("%s is rendered twice", identity(object))
		}
		found[identity(object)] = object
	}
	return found
}

// withoutMarks takes Helm's own labels and annotations off an object.
func withoutMarks(object *unstructured.Unstructured) *unstructured.Unstructured {
	object = object.DeepCopy()
	own := []string{"app.kubernetes.io/managed-by", "app.kubernetes.io/instance", "app.kubernetes.io/version", "helm.sh/chart", "helm.sh/resource-policy"}
	drop := func(from map[string]string) map[string]string {
		kept := map[string]string{}
		for key, value := range from {
			if !slices.Contains(own, key) {
				kept[key] = value
			}
		}
		return kept
	}
	object.SetLabels(drop(object.GetLabels()))
	object.SetAnnotations(drop(object.GetAnnotations()))
	return object
}
