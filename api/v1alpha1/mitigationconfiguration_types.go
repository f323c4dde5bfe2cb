package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// GlobalConfigurationName is the name of the one MitigationConfiguration that speaks for the organisation.
const GlobalConfigurationName = "global"

// Ring is a set of pools that get a mitigation together, after the pools of the rings before it.
type Ring struct {
	// name of the ring.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +required
	Name string `json:"name,omitempty"`

	// poolSelector chooses the pools of the ring by the labels of their PoolMitigationConfig.
	// +required
	PoolSelector *metav1.LabelSelector `json:"poolSelector,omitempty"`

	// bakeSeconds is how long the next ring waits after the last pool of this one has completed. Defaults to 0.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=604800
	// +optional
	BakeSeconds *int32 `json:"bakeSeconds,omitempty"`

	// approval says when a person has to agree, by spec.approved. Defaults to None.
	// +optional
	Approval ApprovalPoint `json:"approval,omitempty"`
}

// MitigationConfigurationSpec is policy above the pools.
//
// +kubebuilder:validation:MinProperties=1
type MitigationConfigurationSpec struct {
	// poolSelector chooses the pools that the configuration speaks for, by the labels of their
	// PoolMitigationConfig. The configuration named global speaks for every pool and has none.
	// +optional
	PoolSelector *metav1.LabelSelector `json:"poolSelector,omitempty"`

	// mitigations switches the applying of mitigations on and off. Feeds are read either way, and what becomes of
	// applied mitigations the pool's whenDisabled says. Defaults to Enabled. A pool applies mitigations
	// only if every configuration in scope and the pool itself say so.
	// +optional
	Mitigations Switch `json:"mitigations,omitempty"`

	// suspend is the kill switch: Revert removes every mitigation from every pool in scope. Defaults to None.
	// +optional
	Suspend SuspendMode `json:"suspend,omitempty"`

	// blocked lists mitigations that are not applied, and removed where they are, in every pool in scope.
	// +kubebuilder:validation:MaxItems=256
	// +listType=map
	// +listMapKey=id
	// +optional
	Blocked []Exception `json:"blocked,omitempty"`

	// fixedBuilds lists builds that make a mitigation unnecessary, for when the publisher's data lags.
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	// +optional
	FixedBuilds []FixedBuild `json:"fixedBuilds,omitempty"`

	// suspendedMitigations is the kill switch for single mitigations: they are removed from every pool in scope, in Audit mode
	// and while mitigations are disabled too.
	// +kubebuilder:validation:MaxItems=256
	// +listType=map
	// +listMapKey=id
	// +optional
	SuspendedMitigations []Exception `json:"suspendedMitigations,omitempty"`

	// approved lists mitigations that a person has agreed to, for rings, and for rollouts in every pool in scope.
	// +kubebuilder:validation:MaxItems=256
	// +listType=map
	// +listMapKey=id
	// +optional
	Approved []Approval `json:"approved,omitempty"`

	// rings order the pools for rollouts; global only. A pool belongs to the first ring that chooses it; those that none
	// chooses come last. A ring begins when every pool of the rings before it has completed the rollout.
	// +kubebuilder:validation:MaxItems=20
	// +listType=map
	// +listMapKey=name
	// +optional
	Rings []Ring `json:"rings,omitempty"`

	// rollout holds what counts for pools that do not say; global only. progress, pausedUntilTime and windows bind every
	// pool, beside its own; orders count where the pool has none for the same mitigation.
	// +optional
	Rollout RolloutSpec `json:"rollout,omitzero"`

	// telemetry switches diagnostic data on. Defaults to Disabled; global only. Accepted without effect in this
	// version: nothing is ever sent.
	// +optional
	Telemetry Switch `json:"telemetry,omitempty"`
}

// MitigationConfigurationStatus tells where the configuration is in effect.
type MitigationConfigurationStatus struct {
	// conditions are Ready, and Reconciling or Stalled while they are True.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation of the spec that the status speaks of.
	// +kubebuilder:validation:Minimum=0
	// +optional
	ObservedGeneration *int64 `json:"observedGeneration,omitempty"`

	// pools is the number of pools in scope.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Pools *int32 `json:"pools,omitempty"`

	// blocked lists the ids of spec.blocked that count now, for people.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Blocked string `json:"blocked,omitempty"`
}

// MitigationConfiguration is policy above the pools: the one named global for the organisation, others for the
// pools that their poolSelector chooses.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=mconf,categories=ems
// +kubebuilder:printcolumn:name="Mitigations",type=string,JSONPath=`.spec.mitigations`
// +kubebuilder:printcolumn:name="Suspend",type=string,JSONPath=`.spec.suspend`
// +kubebuilder:printcolumn:name="Blocked",type=string,JSONPath=`.status.blocked`
// +kubebuilder:printcolumn:name="Pools",type=integer,JSONPath=`.status.pools`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="self.metadata.name == 'global' ? !has(self.spec.poolSelector) : has(self.spec.poolSelector)",message="the configuration named global speaks for every pool and has no poolSelector; every other one needs a poolSelector"
// +kubebuilder:validation:XValidation:rule="self.metadata.name == 'global' || !(has(self.spec.rings) || has(self.spec.rollout) || has(self.spec.telemetry))",message="rings, rollout and telemetry belong in the configuration named global"
type MitigationConfiguration struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is the policy.
	// +required
	Spec MitigationConfigurationSpec `json:"spec,omitzero"`

	// status tells where the configuration is in effect.
	// +optional
	Status MitigationConfigurationStatus `json:"status,omitzero"`
}

// GetConditions returns the conditions of the status.
func (c *MitigationConfiguration) GetConditions() []metav1.Condition { return c.Status.Conditions }

// MitigationConfigurationList is a list of MitigationConfiguration.
//
// +kubebuilder:object:root=true
type MitigationConfigurationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []MitigationConfiguration `json:"items"`
}
