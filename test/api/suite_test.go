package api_test

import (
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"mitigation.dev/ems/test/testenv"
)

var env *testenv.Environment

func TestAPI(t *testing.T) { testenv.RunSuite(t, "API suite", &env) }

// parse reads one object as a user would write it, so that the schema is tested and not the Go types.
func parse(manifest string) *unstructured.Unstructured {
	GinkgoHelper()
	object := &unstructured.Unstructured{}
	Expect(yaml.Unmarshal([]byte(manifest), &object.Object)).To(Succeed())
	return object
}

// create creates an object until the end of the test, as somebody at a terminal.
func create(ctx SpecContext, manifest string) *unstructured.Unstructured {
	GinkgoHelper()
	object := parse(manifest)
	Expect(env.Client.Create(ctx, object, client.FieldOwner("somebody"))).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { Expect(env.Client.Delete(ctx, object)).To(Succeed()) })
	return object
}
