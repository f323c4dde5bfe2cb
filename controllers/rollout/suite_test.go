package rollout_test

import (
	"testing"

	"mitigation.dev/ems/test/testenv"
)

var env *testenv.Environment

func TestRollout(t *testing.T) { testenv.RunSuite(t, "Rollout suite", &env) }
