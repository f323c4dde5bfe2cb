//go:build !windows

package steer_test

import (
	"testing"

	"mitigation.dev/ems/test/testenv"
)

var env *testenv.Environment

func TestSteer(t *testing.T) { testenv.RunSuite(t, "Steer suite", &env) }
