package agent

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/agent/eventlog"
	"mitigation.dev/ems/agent/skew"
)

func TestClockIsToldOfOnChangesAlone(t *testing.T) {
	var events []eventlog.ID
	o := Options{Events: func(id eventlog.ID, message string) {
		if message == "" {
			t.Error("an event without words")
		}
		events = append(events, id)
	}}
	var now skew.Told
	told := o.tellOfClock(func() skew.Told { return now })
	for _, now = range []skew.Told{{}, {Known: true}, {Known: true, Skewed: true, Ahead: -time.Minute}, {Known: true, Skewed: true, Ahead: time.Hour}, {Known: true}, {Known: true}} {
		if got := told(); got != now {
			t.Errorf("told %+v, want %+v", got, now)
		}
	}
	if diff := cmp.Diff([]eventlog.ID{eventlog.ClockSkewed, eventlog.ClockInSync}, events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	now.Skewed = true
	if got := (&Options{}).tellOfClock(func() skew.Told { return now })(); got != now {
		t.Errorf("without an event log: told %+v", got)
	}
}
