package api_test

import (
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"mitigation.dev/ems/test/testenv"
)

var env *testenv.Environment

func TestAPI(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a control plane; make test brings one")
	}
	RegisterFailHandler(Fail)
	RunSpecs(t, "API suite")
}

var _ = BeforeSuite(func() { env = testenv.Start() })

var _ = AfterSuite(func() { env.Stop() })
