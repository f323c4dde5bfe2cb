package handover_test

import (
	"testing"

	"mitigation.dev/ems/test/testenv"
)

var env *testenv.Environment

func TestHandover(t *testing.T) { testenv.RunSuite(t, "Handover suite", &env) }
