package feed_test

import (
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"mitigation.dev/ems/test/testenv"
)

var env *testenv.Environment

func TestFeed(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a control plane; make test brings one")
	}
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(20 * time.Second)
	SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	RunSpecs(t, "Feed suite")
}

var _ = BeforeSuite(func() { env = testenv.Start() })

var _ = AfterSuite(func() { env.Stop() })
