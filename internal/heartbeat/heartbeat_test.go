package heartbeat

import (
	"testing"
	"time"
)

func TestSilence(t *testing.T) {
	for name, tc := range map[string]struct{ period, want time.Duration }{
		"a small fleet is as quick as Kubernetes with its nodes": {10 * time.Second, 40 * time.Second},
		"without a word of the plan":                             {DefaultPeriod, 140 * time.Second},
		"a thousand servers":                                     {2 * time.Minute, 260 * time.Second},
		"ten thousand servers":                                   {4 * time.Minute, 500 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Silence(tc.period); got != tc.want {
				t.Errorf("Silence(%s) = %s, want %s", tc.period, got, tc.want)
			}
			// The renewal after one that did not come is a tenth of a period late and takes ten seconds.
			if next := tc.period*11/10 + 10*time.Second; Silence(tc.period) <= next {
				t.Errorf("a server is silent before its next renewal, %s after the last", next)
			}
		})
	}
}
