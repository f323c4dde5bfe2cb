package cluster

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// ChangeKind is what was done to the server.
type ChangeKind string

// The kinds of changes, which are also the reasons of events.
const (
	MitigationApplied ChangeKind = "MitigationApplied"
	MitigationRemoved ChangeKind = "MitigationRemoved"
	DriftRepaired     ChangeKind = "DriftRepaired"
	// MitigationReverted: a revision made the server worse and was taken back. The revision of the change is the one in its
	// place, or that which was removed.
	MitigationReverted ChangeKind = "MitigationReverted"
)

// Reasons of the events for a mitigation that began to fail, and for one that IIS began not to run.
const (
	mitigationFailed      = "MitigationFailed"
	mitigationIneffective = "MitigationIneffective"
)

// identityShared is the reason of the event for somebody else who works with the identity of the server.
const identityShared = "IdentityShared"

// Change is something that was done to the server for one mitigation.
type Change struct {
	Kind     ChangeKind
	ID       string
	Revision int64
}

// eachEvent is the longest window within which servers send an event for each change that went well. In a larger fleet the pool's events
// say it once for all servers, and each server's status and log say when: ten thousand events would cost the API server as much as the
// reports themselves, and nobody reads them.
const eachEvent = time.Second

// eventful are the changes that are worth an event.
func eventful(changes []Change, w Window) []Change {
	if w.Length <= eachEvent {
		return changes
	}
	return slices.DeleteFunc(slices.Clone(changes), func(c Change) bool { return c.Kind == MitigationApplied || c.Kind == MitigationRemoved })
}

// announcement is an event before it is recorded. id is the mitigation that it is about, empty for none.
type announcement struct{ id, kind, reason, action, note string }

// announcements are the events of a pass of the loop: what it changed, what began to fail, and what IIS began not to run. A
// mitigation that fails in the same way as before has been announced already.
func announcements(before, after []emsv1.ServerMitigation, changes []Change) []announcement {
	var list []announcement
	for _, c := range changes {
		switch c.Kind {
		case MitigationApplied:
			list = append(list, announcement{c.ID, corev1.EventTypeNormal, string(c.Kind), "Apply", fmt.Sprintf("Revision %d of %s is in place", c.Revision, c.ID)})
		case MitigationRemoved:
			list = append(list, announcement{c.ID, corev1.EventTypeNormal, string(c.Kind), "Remove", fmt.Sprintf("%s was removed", c.ID)})
		case MitigationReverted:
			list = append(list, announcement{c.ID, corev1.EventTypeWarning, string(c.Kind), "Revert", fmt.Sprintf("%s was taken back, because it did harm on this server or somewhere else in the pool", c.ID)})
		case DriftRepaired:
			list = append(list, announcement{c.ID, corev1.EventTypeWarning, string(c.Kind), "Repair", fmt.Sprintf("Something else had changed what %s put in place; revision %d was restored", c.ID, c.Revision)})
		}
	}
	was := make(map[emsv1.MitigationID]emsv1.ServerMitigation, len(before))
	for _, m := range before {
		was[m.ID] = m
	}
	ineffective := func(m emsv1.ServerMitigation) bool {
		return m.State == emsv1.StateApplied && m.Effective == emsv1.EffectiveFalse
	}
	for _, m := range after {
		old := was[m.ID]
		switch {
		case m.State == emsv1.StateFailed && (old.State != m.State || old.Reason != m.Reason):
			list = append(list, announcement{string(m.ID), corev1.EventTypeWarning, mitigationFailed, "Apply", fmt.Sprintf("%s failed (%s): %s", m.ID, m.Reason, m.Message)})
		case ineffective(m) && (!ineffective(old) || old.Reason != m.Reason):
			list = append(list, announcement{string(m.ID), corev1.EventTypeWarning, mitigationIneffective, "Verify", fmt.Sprintf("%s is in place, but IIS does not run it (%s): %s", m.ID, m.Reason, m.Message)})
		}
	}
	return list
}

// trustAnnouncements are the events for trust anchors that began to run out and for checks that began to fail, or that both
// are well again.
func trustAnnouncements(before, after []metav1.Condition) []announcement {
	var list []announcement
	for _, condition := range []string{emsv1.TrustAnchorsCurrentCondition, emsv1.TrustChecksPassedCondition} {
		was := meta.FindStatusCondition(before, condition)
		is := meta.FindStatusCondition(after, condition)
		switch {
		case is == nil, was != nil && was.Status == is.Status && was.Reason == is.Reason:
		case is.Status != metav1.ConditionTrue:
			list = append(list, announcement{kind: corev1.EventTypeWarning, reason: is.Reason, action: "CheckTrust", note: is.Message})
		case was != nil:
			list = append(list, announcement{kind: corev1.EventTypeNormal, reason: is.Reason, action: "CheckTrust", note: is.Message})
		}
	}
	return list
}

// TellShared sends the event that somebody else works with the identity of this server, too.
func (c *Cluster) TellShared(note string) {
	server := &emsv1.PoolServer{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Server}}
	record(c.Recorder, server, []announcement{{kind: corev1.EventTypeWarning, reason: identityShared, action: "Renew", note: note}})
}

// record sends the events. Each about a mitigation is related to it, because the recorder takes events that differ in their notes
// alone for repetitions of the first: of three mitigations applied at once, two would never be named.
func record(recorder events.EventRecorder, server *emsv1.PoolServer, list []announcement) {
	for _, a := range list {
		if a.id == "" {
			recorder.Eventf(server, nil, a.kind, a.reason, a.action, "%s", a.note)
			continue
		}
		mitigation := &emsv1.Mitigation{ObjectMeta: metav1.ObjectMeta{Name: strings.ToLower(a.id)}}
		recorder.Eventf(server, mitigation, a.kind, a.reason, a.action, "%s", a.note)
	}
}
