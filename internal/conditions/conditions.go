package conditions

import (
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// maxMessageBytes keeps messages readable and statuses small; the API allows 32 KiB.
const maxMessageBytes = 1024

// Outcome is where an object stands, in one word and one sentence.
type Outcome struct {
	Reason  string
	Message string

	ready, stalled bool
}

// Done says that what the spec asks for is done.
func Done(reason, message string) Outcome {
	return Outcome{Reason: reason, Message: message, ready: true}
}

// Working says that it is not done yet and goes on by itself.
func Working(reason, message string) Outcome {
	return Outcome{Reason: reason, Message: message}
}

// Stalled says that it is not done and that a person has to act; the message says what to do.
func Stalled(reason, message string) Outcome {
	return Outcome{Reason: reason, Message: message, stalled: true}
}

// IsReady reports whether the outcome is Done.
func (o Outcome) IsReady() bool { return o.ready }

// Set writes the outcome for the given generation of the object and reports whether Ready changed in status, reason or
// message.
func Set(conditions *[]metav1.Condition, generation int64, o Outcome) bool {
	ready := metav1.Condition{
		Type: emsv1.ReadyCondition, Status: metav1.ConditionFalse, ObservedGeneration: generation,
		Reason: o.Reason, Message: Truncate(o.Message),
	}
	abnormal := ready
	abnormal.Status = metav1.ConditionTrue
	switch {
	case o.ready:
		ready.Status = metav1.ConditionTrue
		meta.RemoveStatusCondition(conditions, emsv1.ReconcilingCondition)
		meta.RemoveStatusCondition(conditions, emsv1.StalledCondition)
	case o.stalled:
		abnormal.Type = emsv1.StalledCondition
		meta.RemoveStatusCondition(conditions, emsv1.ReconcilingCondition)
		meta.SetStatusCondition(conditions, abnormal)
	default:
		abnormal.Type = emsv1.ReconcilingCondition
		meta.RemoveStatusCondition(conditions, emsv1.StalledCondition)
		meta.SetStatusCondition(conditions, abnormal)
	}
	before := meta.FindStatusCondition(*conditions, emsv1.ReadyCondition)
	changed := before == nil || before.Status != ready.Status || before.Reason != ready.Reason || before.Message != ready.Message
	meta.SetStatusCondition(conditions, ready)
	return changed
}

// Current returns the outcome that Set wrote last; the zero Outcome if it has not.
func Current(conditions []metav1.Condition) Outcome {
	ready := meta.FindStatusCondition(conditions, emsv1.ReadyCondition)
	if ready == nil {
		return Outcome{}
	}
	return Outcome{
		Reason: ready.Reason, Message: ready.Message,
		ready:   ready.Status == metav1.ConditionTrue,
		stalled: meta.IsStatusConditionTrue(conditions, emsv1.StalledCondition),
	}
}

// Truncate cuts a message to the length that conditions carry, at the border of a character.
func Truncate(message string) string { return Cut(message, maxMessageBytes) }

// Cut cuts a message to at most so many bytes, at the border of a character, with an ellipsis at its end.
func Cut(message string, most int) string {
	if len(message) <= most {
		return message
	}
	end := max(0, most-len("…"))
	for end > 0 && !utf8.RuneStart(message[end]) {
		end--
	}
	return message[:end] + "…"
}
