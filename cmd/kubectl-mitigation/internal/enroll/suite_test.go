//go:build !windows

// The control plane of the tests does not compile for Windows.

package enroll

import (
	"testing"

	"github.com/go-logr/logr"
	crlog "sigs.k8s.io/controller-runtime/pkg/log"

	"mitigation.dev/ems/test/testenv"
)

var env *testenv.Environment

func TestEnroll(t *testing.T) {
	crlog.SetLogger(logr.Discard())
	testenv.RunSuite(t, "Enroll suite", &env)
}
