package cluster

import (
	"testing"
	"time"
)

func TestReconnectingIsSpreadAndSoon(t *testing.T) {
	var first, last [2]time.Duration // the shortest and the longest
	for range 2000 {
		backoff := reconnect()
		for n := range 20 {
			pause := backoff.Step()
			seen := &last
			if n == 0 {
				seen = &first
			}
			if seen[0] == 0 || pause < seen[0] {
				seen[0] = pause
			}
			seen[1] = max(seen[1], pause)
		}
	}
	if first[0] < 50*time.Millisecond || first[1] > 500*time.Millisecond {
		t.Errorf("the first pauses are %s to %s", first[0], first[1])
	}
	if last[1] > 5*time.Second || last[1] < 4*time.Second {
		t.Errorf("the longest pause is %s, want nearly five seconds and no more", last[1])
	}
	spread := reconnect()
	for range 10 {
		spread.Step()
	}
	early := 0
	for range 1000 {
		backoff := *spread
		if backoff.Step() < 2750*time.Millisecond {
			early++
		}
	}
	if early < 400 || early > 600 {
		t.Errorf("%d of 1000 servers come in the first half of the time, want half of them", early)
	}
}
