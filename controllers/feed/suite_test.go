package feed_test

import (
	"testing"

	"mitigation.dev/ems/test/testenv"
)

var env *testenv.Environment

func TestFeed(t *testing.T) { testenv.RunSuite(t, "Feed suite", &env) }
