package measure

import (
	"testing"

	"mitigation.dev/ems/test/testenv"
)

var env *testenv.Environment

func TestMeasure(t *testing.T) { testenv.RunSuite(t, "Measure suite", &env) }
