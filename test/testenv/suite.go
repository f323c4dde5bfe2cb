package testenv

import (
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// RunSuite runs the specs of a package on a control plane of their own, which env points to while they run. Waiting is
// generous, since two slow cores may share an API server, etcd, a manager and the tests.
func RunSuite(t *testing.T, name string, env **Environment) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a control plane; make test brings one")
	}
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(20 * time.Second)
	SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	BeforeSuite(func() { *env = Start() })
	AfterSuite(func() { (*env).Stop() })
	RunSpecs(t, name)
}
