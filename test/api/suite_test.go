package api_test

import (
	"testing"

	"mitigation.dev/ems/test/testenv"
)

var env *testenv.Environment

func TestAPI(t *testing.T) { testenv.RunSuite(t, "API suite", &env) }
