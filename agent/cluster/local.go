package cluster

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/agent/switches"
	emsv1 "mitigation.dev/ems/api/v1alpha1"
	emsv1ac "mitigation.dev/ems/api/v1alpha1/applyconfiguration/api/v1alpha1"
	"mitigation.dev/ems/internal/conditions"
)

// Reasons of the events for what people do at the server.
const (
	killSwitchOn    = "KillSwitchOn"
	killSwitchOff   = "KillSwitchOff"
	blockedHere     = "BlockedOnServer"
	unblockedHere   = "UnblockedOnServer"
	repairRequested = "RepairRequested"
)

func localOf(s switches.Switches) emsv1.ServerLocal {
	var l emsv1.ServerLocal
	if use, on := s.Kill(); on {
		l.KillSwitch = useOf(use)
	}
	for _, b := range s.Blocked {
		block := emsv1.LocalBlock{ID: emsv1.MitigationID(b.ID), Use: useOf(b.Use)}
		if !b.Expires.IsZero() {
			block.ExpiryTime = new(metav1.NewTime(b.Expires.Truncate(time.Second)))
		}
		l.Blocked = append(l.Blocked, block)
	}
	if s.Repair != nil {
		l.Repair = useOf(*s.Repair)
	}
	for _, e := range s.Recent {
		l.Recent = append(l.Recent, emsv1.LocalEvent{Did: e.Did, Use: useOf(e.Use)})
	}
	return l
}

func useOf(u switches.Use) emsv1.LocalUse {
	return emsv1.LocalUse{By: u.By, Time: new(metav1.NewTime(u.Time.Truncate(time.Second))), Reason: u.Reason}
}

// localConfiguration states for server-side apply what people did; nil if they did nothing.
func localConfiguration(l emsv1.ServerLocal) *emsv1ac.ServerLocalApplyConfiguration {
	if l.KillSwitch.By == "" && l.Repair.By == "" && len(l.Blocked) == 0 && len(l.Recent) == 0 {
		return nil
	}
	use := func(u emsv1.LocalUse) *emsv1ac.LocalUseApplyConfiguration {
		if u.By == "" {
			return nil
		}
		return &emsv1ac.LocalUseApplyConfiguration{By: given(u.By), Time: u.Time, Reason: given(u.Reason)}
	}
	out := &emsv1ac.ServerLocalApplyConfiguration{KillSwitch: use(l.KillSwitch), Repair: use(l.Repair)}
	for _, b := range l.Blocked {
		out.WithBlocked(&emsv1ac.LocalBlockApplyConfiguration{ID: given(b.ID), Use: use(b.Use), ExpiryTime: b.ExpiryTime})
	}
	for _, e := range l.Recent {
		out.WithRecent(&emsv1ac.LocalEventApplyConfiguration{Did: given(e.Did), Use: use(e.Use)})
	}
	return out
}

// killed sums a report up while the kill switch of the server is on. What could not be removed comes first.
func killed(r Report) (conditions.Outcome, bool) {
	if r.Switches == nil {
		return conditions.Outcome{}, false
	}
	use, on := r.Switches.Kill()
	for _, m := range r.Results {
		if m.State == enforce.Failed {
			return conditions.Outcome{}, false
		}
	}
	if !on {
		return conditions.Outcome{}, false
	}
	return conditions.Stalled(emsv1.KillSwitchReason, fmt.Sprintf(
		"the kill switch was thrown at this server %s; nothing is in place and nothing comes until somebody says ems-agent kill-switch off there", use)), true
}

// localAnnouncements are the events for what people did at the server.
func localAnnouncements(before, after emsv1.ServerLocal) []announcement {
	var list []announcement
	say := func(kind, reason, action, id, format string, values ...any) {
		list = append(list, announcement{id, kind, reason, action, fmt.Sprintf(format, values...)})
	}
	switch {
	case after.KillSwitch.By != "" && !sameUse(before.KillSwitch, after.KillSwitch):
		say(corev1.EventTypeWarning, killSwitchOn, "Switch", "", "The kill switch was thrown at the server %s", toldOf(after.KillSwitch))
	case before.KillSwitch.By != "" && after.KillSwitch.By == "":
		say(corev1.EventTypeNormal, killSwitchOff, "Switch", "", "The kill switch at the server was taken back; it had been thrown %s", toldOf(before.KillSwitch))
	}
	was := map[string]emsv1.LocalBlock{}
	for _, b := range before.Blocked {
		was[strings.ToLower(string(b.ID))] = b
	}
	for _, b := range after.Blocked {
		key := strings.ToLower(string(b.ID))
		if old, there := was[key]; !there || !sameUse(old.Use, b.Use) {
			say(corev1.EventTypeWarning, blockedHere, "Block", string(b.ID), "%s was blocked at the server %s", b.ID, toldOf(b.Use))
		}
		delete(was, key)
	}
	for _, b := range before.Blocked {
		if _, gone := was[strings.ToLower(string(b.ID))]; gone {
			say(corev1.EventTypeNormal, unblockedHere, "Unblock", string(b.ID), "%s is not blocked at the server any more; it had been blocked %s", b.ID, toldOf(b.Use))
		}
	}
	if after.Repair.By != "" && !sameUse(before.Repair, after.Repair) {
		say(corev1.EventTypeNormal, repairRequested, "Repair", "", "A repair was asked for at the server %s", toldOf(after.Repair))
	}
	return list
}

func sameUse(a, b emsv1.LocalUse) bool {
	return a.By == b.By && a.Time.Equal(b.Time)
}

func toldOf(u emsv1.LocalUse) string {
	use := switches.Use{By: u.By, Reason: u.Reason}
	if u.Time != nil {
		use.Time = u.Time.Time
	}
	return use.String()
}
