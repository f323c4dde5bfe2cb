package insighttest

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// Event makes an Event as the manager and agents record them, that long before Evening.
func Event(kind, namespace, name, reason, note string, before time.Duration) eventsv1.Event {
	in := namespace
	if in == "" {
		in = metav1.NamespaceDefault
	}
	at := metav1.NewMicroTime(Evening.Add(-before))
	return eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: in, Name: fmt.Sprintf("%s.%s.%x", name, strings.ToLower(reason), at.Unix()), UID: types.UID(name + reason + note)},
		EventTime:  at, Reason: reason, Note: note, Type: corev1.EventTypeNormal, Action: "Apply", ReportingController: "ems-agent", ReportingInstance: "ems-agent-1",
		Regarding: corev1.ObjectReference{APIVersion: emsv1.GroupVersion.String(), Kind: kind, Namespace: namespace, Name: name},
	}
}

// Events are those of a halt: six servers that applied revision 3, one that failed on revision 4, and what the manager said.
func Events() []eventsv1.Event {
	var list []eventsv1.Event
	for i := range 6 {
		e := Event("PoolServer", "frontends", fmt.Sprintf("mail%02d", i+1), "MitigationApplied", "Revision 3 of M1 is in place", 5*time.Hour-time.Duration(i)*time.Second)
		e.Related = &corev1.ObjectReference{APIVersion: emsv1.GroupVersion.String(), Kind: "Mitigation", Name: "m1"}
		list = append(list, e)
	}
	failed := Event("PoolServer", "frontends", "mail04", "MitigationFailed", `M1 failed (GateFailed): http check "owa": status 500, was 200`, 28*time.Minute)
	failed.Type, failed.Related = corev1.EventTypeWarning, &corev1.ObjectReference{APIVersion: emsv1.GroupVersion.String(), Kind: "Mitigation", Name: "m1"}
	halted := Event("PoolMitigationConfig", "frontends", "mail", "HaltedByFailures", "M1 revision 4: 1 server failed, 0 may", 27*time.Minute)
	halted.Type, halted.ReportingController = corev1.EventTypeWarning, "ems-rollout"
	read := Event("MitigationFeed", "", "contoso", "DocumentAccepted", "2 mitigations of sequence 12", 6*time.Hour)
	read.ReportingController, read.Action = "ems-feed", "Poll"
	read.Series = &eventsv1.EventSeries{Count: 4, LastObservedTime: metav1.NewMicroTime(Evening.Add(-25 * time.Minute))}
	return append(list, failed, halted, read)
}
