package telemetry_test

import (
	"testing"

	"mitigation.dev/ems/test/testenv"
)

var env *testenv.Environment

func TestTelemetry(t *testing.T) { testenv.RunSuite(t, "Telemetry suite", &env) }
