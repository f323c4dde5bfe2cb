// Package v1alpha1 holds the API of EMS: the custom resources of the group ems.mitigation.dev.
//
// # Usage
//
// Operators write MitigationFeed (where signed documents come from), MitigationConfiguration (policy above
// the pools) and PoolMitigationConfig (policy of one pool). The manager writes MitigationBundle, Mitigation
// and MitigationPlan. Enrolment writes the spec of a PoolServer, the agent on that server its status.
//
// # Considerations
//
// The package imports nothing but apimachinery, so that others can use the types without EMS' own
// dependencies. Defaults are not written into objects: a field left out stays left out and shows what its
// owner wanted; the accessors of the types (GetMode, Interval …) say what absence means.
//
// +kubebuilder:object:generate=true
// +kubebuilder:ac:generate=true
// +groupName=ems.mitigation.dev
package v1alpha1
