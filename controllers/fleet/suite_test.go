package fleet_test

import (
	"testing"

	"mitigation.dev/ems/test/testenv"
)

var env *testenv.Environment

func TestFleet(t *testing.T) { testenv.RunSuite(t, "Fleet suite", &env) }
