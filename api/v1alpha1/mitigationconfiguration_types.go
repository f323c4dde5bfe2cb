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

	// telemetry says whether diagnostic data is sent, and where to; global only. Without it, what the manager was installed
	// with counts, which is to send nothing unless it was given an endpoint.
	// +optional
	Telemetry *TelemetrySpec `json:"telemetry,omitempty"`
}

// TelemetrySpec says whether diagnostic data is sent, and where to. There is no endpoint but one of your own. An empty one says
// no more than its absence.
//
// +kubebuilder:validation:XValidation:rule="!has(self.mode) || self.mode != 'Enabled' || has(self.url)",message="telemetry that is Enabled needs a url: an endpoint of your own, since there is no other"
// +kubebuilder:validation:XValidation:rule="has(self.url) || !(has(self.caBundle) || has(self.proxyURL))",message="caBundle and proxyURL go with url"
type TelemetrySpec struct {
	// mode switches the sending on and off. Defaults to Disabled; without mode and url, what the manager was installed with counts.
	// +optional
	Mode Switch `json:"mode,omitempty"`

	// url is the endpoint that diagnostic data is sent to, once an hour, by POST over TLS.
	// +kubebuilder:validation:MinLength=9
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() == 'https' && url(self).getHost() != '' && !self.matches('^https://[^/?#]*@')",message="url must be an absolute https URL without a user or password"
	// +optional
	URL string `json:"url,omitempty"`

	// caBundle holds the certificates, in PEM, that the endpoint's TLS certificate must chain to. Without it the
	// manager's system roots count.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	// +optional
	CABundle string `json:"caBundle,omitempty"`

	// proxyURL is the HTTP proxy to the endpoint. Without it the manager connects directly.
	// +kubebuilder:validation:MinLength=8
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHost() != ''",message="proxyURL must be an absolute http or https URL"
	// +optional
	ProxyURL string `json:"proxyURL,omitempty"`
}

// TelemetryResult is how the sending of diagnostic data goes.
//
// +kubebuilder:validation:Enum=Disabled;Pending;Sent;Failed
type TelemetryResult string

// How the sending of diagnostic data goes.
const (
	// TelemetryDisabled means that nothing is sent.
	TelemetryDisabled TelemetryResult = "Disabled"
	// TelemetryPending means that nothing has been sent since it was switched on.
	TelemetryPending TelemetryResult = "Pending"
	// TelemetrySent means that the endpoint took what was sent last.
	TelemetrySent TelemetryResult = "Sent"
	// TelemetryFailed means that it did not; message says why. It is tried again at nextTime.
	TelemetryFailed TelemetryResult = "Failed"
)

// TelemetryStatus tells what becomes of diagnostic data.
//
// +kubebuilder:validation:MinProperties=1
type TelemetryStatus struct {
	// result is how it went last.
	// +optional
	Result TelemetryResult `json:"result,omitempty"`

	// message says what is wrong, or why nothing is sent.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Message string `json:"message,omitempty"`

	// organizationID stands for the organisation in what is sent. It was made at random when diagnostic data was switched on
	// first, and never changes.
	// +kubebuilder:validation:MinLength=36
	// +kubebuilder:validation:MaxLength=36
	// +optional
	OrganizationID string `json:"organizationID,omitempty"`

	// lastSentTime is when the endpoint last took everything.
	// +optional
	LastSentTime *metav1.Time `json:"lastSentTime,omitempty"`

	// nextTime is when it is sent, or tried again, next. Absent while nothing is to be sent.
	// +optional
	NextTime *metav1.Time `json:"nextTime,omitempty"`

	// servers is how many servers were in what was sent last.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Servers *int32 `json:"servers,omitempty"`

	// failures is how often it failed since the endpoint last took everything.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Failures *int32 `json:"failures,omitempty"`
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

	// telemetry tells what becomes of diagnostic data; global only.
	// +optional
	Telemetry TelemetryStatus `json:"telemetry,omitzero"`
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
