package explain

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

func TestOnServer(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	use := emsv1.LocalUse{By: "alice", Time: new(metav1.NewTime(at)), Reason: "login fails"}
	ends := new(metav1.NewTime(at.Add(time.Hour)))
	for name, tc := range map[string]struct {
		local emsv1.ServerLocal
		now   time.Time
		want  string
	}{
		"nothing":         {now: at},
		"the kill switch": {emsv1.ServerLocal{KillSwitch: use}, at, "the kill switch of this server was thrown by alice at 2026-03-01T12:00:00Z: login fails"},
		"a parent is blocked": {
			emsv1.ServerLocal{Blocked: []emsv1.LocalBlock{{ID: "m1", Use: use}}}, at, "m1 is blocked on this server, by alice at 2026-03-01T12:00:00Z: login fails",
		},
		"another one is blocked": {emsv1.ServerLocal{Blocked: []emsv1.LocalBlock{{ID: "M10", Use: use}}}, at, ""},
		"an action is blocked":   {emsv1.ServerLocal{Blocked: []emsv1.LocalBlock{{ID: "M1.2.3", Use: use}}}, at, ""},
		"before the block ends": {
			emsv1.ServerLocal{Blocked: []emsv1.LocalBlock{{ID: "M1.2", Use: use, ExpiryTime: ends}}}, at, "M1.2 is blocked on this server, by alice at 2026-03-01T12:00:00Z: login fails",
		},
		"when the block ends": {emsv1.ServerLocal{Blocked: []emsv1.LocalBlock{{ID: "M1.2", Use: use, ExpiryTime: ends}}}, at.Add(time.Hour), ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := onServer(tc.local, "M1.2", tc.now); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}
