package explain

import (
	"fmt"
	"time"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/policy"
)

// onServer says who keeps a mitigation off the server at the server itself, by what its agent reports; empty if nobody does.
func onServer(l emsv1.ServerLocal, id string, now time.Time) string {
	if l.KillSwitch.By != "" {
		return "the kill switch of this server was thrown " + told(l.KillSwitch)
	}
	for _, b := range l.Blocked {
		if policy.Covers(string(b.ID), id) && (b.ExpiryTime == nil || now.Before(b.ExpiryTime.Time)) {
			return fmt.Sprintf("%s is blocked on this server, %s", b.ID, told(b.Use))
		}
	}
	return ""
}

func told(u emsv1.LocalUse) string {
	text := "by " + u.By
	if u.Time != nil {
		text += " at " + u.Time.UTC().Format(time.RFC3339)
	}
	if u.Reason != "" {
		text += ": " + u.Reason
	}
	return text
}
