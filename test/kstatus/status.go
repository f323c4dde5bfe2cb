package kstatus

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// Object is an object of this API that has a status.
type Object interface {
	metav1.Object
	Conditioned
}

// Status is how generic tools read an object.
type Status string

// The statuses that an object of this API can have, in the words of kstatus.
const (
	// Current means that the object is as its spec wants it.
	Current Status = "Current"
	// InProgress means that it is on its way there.
	InProgress Status = "InProgress"
	// Failed means that it will not get there by itself.
	Failed Status = "Failed"
	// Terminating means that it is being deleted.
	Terminating Status = "Terminating"
)

// Of computes the status of an object as kstatus does for kinds that it has no rules of their own for: deletion, then
// status.observedGeneration where present, then the first of Reconciling and Stalled that is True, then Ready; an
// object without Ready counts as Current. The error says that the object could not be read.
func Of(object Object) (Status, error) {
	if object.GetDeletionTimestamp() != nil {
		return Terminating, nil
	}
	observed, present, err := observedGeneration(object)
	if err != nil {
		return "", err
	}
	if present && observed != object.GetGeneration() {
		return InProgress, nil
	}
	return ofConditions(object.GetConditions()), nil
}

func ofConditions(conditions []metav1.Condition) Status {
	result := Current
	for _, c := range conditions {
		switch {
		case c.Type == emsv1.ReconcilingCondition && c.Status == metav1.ConditionTrue:
			return InProgress
		case c.Type == emsv1.StalledCondition && c.Status == metav1.ConditionTrue:
			return Failed
		case c.Type == emsv1.ReadyCondition && c.Status != metav1.ConditionTrue:
			result = InProgress
		}
	}
	return result
}

// observedGeneration reads status.observedGeneration through the JSON form, since the kinds share no Go type for it.
func observedGeneration(object Object) (value int64, present bool, err error) {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return 0, false, fmt.Errorf("object: %q: cannot be read: %w", object.GetName(), err)
	}
	value, present, err = unstructured.NestedInt64(fields, "status", "observedGeneration")
	if err != nil {
		return 0, false, fmt.Errorf("object: %q: status.observedGeneration: %w", object.GetName(), err)
	}
	return value, present, nil
}
