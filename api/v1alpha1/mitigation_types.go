package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Severity is how grave the hole is that a mitigation covers.
//
// +kubebuilder:validation:Enum=Low;Moderate;Important;Critical
type Severity string

// Lifecycle says whether the publisher stands behind a mitigation.
//
// +kubebuilder:validation:Enum=Active;Superseded;Withdrawn
type Lifecycle string

// The states of a mitigation's lifecycle.
const (
	// LifecycleActive means that the newest accepted document lists the mitigation.
	LifecycleActive Lifecycle = "Active"
	// LifecycleSuperseded means that another active mitigation of the same document replaces it.
	LifecycleSuperseded Lifecycle = "Superseded"
	// LifecycleWithdrawn means that the newest accepted document no longer lists the mitigation. It is removed
	// from all servers; the object stays, so that servers that come back late are told, until it is deleted.
	LifecycleWithdrawn Lifecycle = "Withdrawn"
)

// ActionType says what an action changes.
//
// +kubebuilder:validation:Enum=DoNothing;UrlRewrite;AppPool;Service
type ActionType string

// ActionScope says what an action's target is part of.
//
// +kubebuilder:validation:Enum=Server;Site
type ActionScope string

// SampleExpectation says what must become of a sample request.
//
// +kubebuilder:validation:Enum=Blocked;Passed
type SampleExpectation string

// AffectedBranch is a range of builds on one release branch that needs the mitigation.
type AffectedBranch struct {
	// from is the first affected build.
	// +kubebuilder:validation:MinLength=7
	// +kubebuilder:validation:MaxLength=43
	// +required
	From string `json:"from,omitempty"`

	// fixedIn is the first build that no longer needs the mitigation. Without it there is no fix yet.
	// +kubebuilder:validation:MinLength=7
	// +kubebuilder:validation:MaxLength=43
	// +optional
	FixedIn string `json:"fixedIn,omitempty"`
}

// AffectedProduct is a product that needs the mitigation.
type AffectedProduct struct {
	// name of the product.
	// +required
	Name Product `json:"name,omitempty"`

	// role of the server within the product. Without it every role is meant.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Role string `json:"role,omitempty"`

	// branches are the affected builds. Without any, every build is.
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	// +optional
	Branches []AffectedBranch `json:"branches,omitempty"`
}

// MitigationAction is one change that a mitigation makes.
type MitigationAction struct {
	// id of the action: M1.1.
	// +required
	ID MitigationID `json:"id,omitempty"`

	// type says what the action changes.
	// +required
	Type ActionType `json:"type,omitempty"`

	// scope says what the target is part of.
	// +required
	Scope ActionScope `json:"scope,omitempty"`

	// target is the site, site/path, application pool or service.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Target string `json:"target,omitempty"`

	// description in the publisher's words.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Description string `json:"description,omitempty"`

	// value is what is written: IIS configuration in XML, Stopped, Disabled, or DoNothing. It is for reading
	// here; agents take it from the signed document. Values of more than 16,384 characters are cut.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16384
	// +optional
	Value string `json:"value,omitempty"`
}

// MitigationSample is a request with what must become of it while the mitigation is in place.
type MitigationSample struct {
	// expect says what must become of the request.
	// +required
	Expect SampleExpectation `json:"expect,omitempty"`

	// request that is tried.
	// +required
	Request SampleRequest `json:"request,omitzero"`
}

// MitigationSpec is one Config of a signed document in readable form.
//
// +kubebuilder:validation:XValidation:rule="self.feedName == oldSelf.feedName",message="a mitigation belongs to one feed; feedName cannot change"
// +kubebuilder:validation:XValidation:rule="self.id == oldSelf.id",message="id cannot change"
type MitigationSpec struct {
	// id of the mitigation as the publisher spells it. The object's name is its lower-case form.
	// +required
	ID MitigationID `json:"id,omitempty"`

	// revision of the mitigation; a higher one replaces a lower one as a whole.
	// +kubebuilder:validation:Minimum=1
	// +required
	Revision int64 `json:"revision,omitempty"`

	// lifecycle says whether the publisher stands behind the mitigation.
	// +required
	Lifecycle Lifecycle `json:"lifecycle,omitempty"`

	// supersededBy is the mitigation that replaces this one, while lifecycle is Superseded.
	// +optional
	SupersededBy MitigationID `json:"supersededBy,omitempty"`

	// feedName is the MitigationFeed that provides the mitigation.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	FeedName string `json:"feedName,omitempty"`

	// bundleName is the MitigationBundle that holds the signed original.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	BundleName string `json:"bundleName,omitempty"`

	// documentDigest is the digest of that bundle's document.
	// +kubebuilder:validation:MinLength=64
	// +kubebuilder:validation:MaxLength=64
	// +required
	DocumentDigest string `json:"documentDigest,omitempty"`

	// contentDigest is the SHA-256, in hex, over what the mitigation does and to whom: its actions and its applicability. Another
	// one begins another rollout, even where a publisher forgot to raise the revision.
	// +kubebuilder:validation:MinLength=64
	// +kubebuilder:validation:MaxLength=64
	// +optional
	ContentDigest string `json:"contentDigest,omitempty"`

	// sequence of that document. Absent for documents of version 1.0.4.
	// +kubebuilder:validation:Minimum=1
	// +optional
	Sequence int64 `json:"sequence,omitempty"`

	// description in the publisher's words.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Description string `json:"description,omitempty"`

	// severity of the hole that the mitigation covers.
	// +optional
	Severity Severity `json:"severity,omitempty"`

	// cves that the mitigation is about.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	// +listType=atomic
	// +optional
	CVEs []string `json:"cves,omitempty"`

	// supersedes lists the mitigations that this one replaces.
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	// +optional
	Supersedes []MitigationID `json:"supersedes,omitempty"`

	// applicability lists what needs the mitigation. Without any, the feed's product does.
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	// +optional
	Applicability []AffectedProduct `json:"applicability,omitempty"`

	// actions are the changes that the mitigation makes, as one unit.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=id
	// +required
	Actions []MitigationAction `json:"actions,omitempty"`

	// sideEffects say what users and administrators will notice.
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	// +listType=atomic
	// +optional
	SideEffects []string `json:"sideEffects,omitempty"`

	// samples are requests that must be blocked or must pass while the mitigation is in place.
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	// +optional
	Samples []MitigationSample `json:"samples,omitempty"`
}

// MitigationStatus is where a mitigation stands across all pools.
type MitigationStatus struct {
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

	// types are the kinds of change that the actions make, comma-separated, for people.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +optional
	Types string `json:"types,omitempty"`

	// applied tells in words how many servers have the mitigation, out of those that should: 3/3.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +optional
	Applied string `json:"applied,omitempty"`

	// servers counts servers by state over all pools.
	// +optional
	Servers ServerCounts `json:"servers,omitzero"`

	// pools is the number of pools whose plan holds the mitigation.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Pools *int32 `json:"pools,omitempty"`

	// blockedPools is the number of pools in which policy blocks the mitigation.
	// +kubebuilder:validation:Minimum=0
	// +optional
	BlockedPools *int32 `json:"blockedPools,omitempty"`
}

// Mitigation is one mitigation of a signed document in readable form, and where it stands.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=mit,categories=ems
// +kubebuilder:printcolumn:name="Type",type=string,JSONPath=`.status.types`
// +kubebuilder:printcolumn:name="Severity",type=string,JSONPath=`.spec.severity`
// +kubebuilder:printcolumn:name="Lifecycle",type=string,JSONPath=`.spec.lifecycle`
// +kubebuilder:printcolumn:name="Applied",type=string,JSONPath=`.status.applied`
// +kubebuilder:printcolumn:name="Failed",type=integer,JSONPath=`.status.servers.failed`
// +kubebuilder:printcolumn:name="Blocked Pools",type=integer,JSONPath=`.status.blockedPools`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Revision",type=integer,priority=1,JSONPath=`.spec.revision`
// +kubebuilder:printcolumn:name="CVE",type=string,priority=1,JSONPath=`.spec.cves`
// +kubebuilder:printcolumn:name="Feed",type=string,priority=1,JSONPath=`.spec.feedName`
// +kubebuilder:printcolumn:name="Description",type=string,priority=1,JSONPath=`.spec.description`
// +kubebuilder:validation:XValidation:rule="self.metadata.name == self.spec.id.lowerAscii()",message="a mitigation is named by the lower-case form of its id"
type Mitigation struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is the mitigation as the signed document has it.
	// +required
	Spec MitigationSpec `json:"spec,omitzero"`

	// status is where the mitigation stands across all pools.
	// +optional
	Status MitigationStatus `json:"status,omitzero"`
}

// GetConditions returns the conditions of the status.
func (m *Mitigation) GetConditions() []metav1.Condition { return m.Status.Conditions }

// MitigationList is a list of Mitigation.
//
// +kubebuilder:object:root=true
type MitigationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Mitigation `json:"items"`
}
