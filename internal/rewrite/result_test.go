package rewrite_test

import (
	"os"
	"strings"
	"testing"

	"mitigation.dev/ems/internal/rewrite"
)

// The table of the documents has every open point, so that a name in a result can be looked up.
func TestOpenPointsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/reference/rewrite-semantics.md")
	if err != nil {
		t.Fatal(err)
	}
	points := rewrite.OpenPoints()
	for _, point := range points {
		if !strings.Contains(string(page), "`"+string(point)+"`") {
			t.Errorf("open point %s is not on the page", point)
		}
	}
	if len(points) != 25 {
		t.Errorf("%d open points", len(points))
	}
}

func TestVerdicts(t *testing.T) {
	cases := map[string]struct {
		outcome rewrite.Outcome
		want    rewrite.Verdict
		blocked bool
	}{
		"passed":     {rewrite.Passed, rewrite.Allowed, false},
		"rewritten":  {rewrite.Rewritten, rewrite.Allowed, false},
		"redirected": {rewrite.Redirected, rewrite.Blocked, true},
		"responded":  {rewrite.Responded, rewrite.Blocked, true},
		"aborted":    {rewrite.Aborted, rewrite.Blocked, true},
		"an error":   {rewrite.Error, rewrite.Failing, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := rewrite.Result{Outcome: tc.outcome}
			if r.Verdict() != tc.want || r.Blocked() != tc.blocked {
				t.Errorf("%s is %s, blocked %t", r.Outcome, r.Verdict(), r.Blocked())
			}
		})
	}
}
