package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DesiredState is what the plan wants for one mitigation.
//
// +kubebuilder:validation:Enum=Apply;Remove;Hold
type DesiredState string

// What a plan can want for a mitigation.
const (
	// DesiredApply puts the mitigation in place on every released server that needs it.
	DesiredApply DesiredState = "Apply"
	// DesiredRemove takes the mitigation off every server.
	DesiredRemove DesiredState = "Remove"
	// DesiredHold leaves every server as it is.
	DesiredHold DesiredState = "Hold"
)

// ReleaseAll is the cut-off that releases every server: one more than the highest 32-bit hash.
const ReleaseAll int64 = 1 << 32

// Release says which servers of the pool a mitigation is released to.
type Release struct {
	// serverNames are servers that are released whatever their hash.
	// +kubebuilder:validation:MaxItems=20
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +listType=set
	// +optional
	ServerNames []string `json:"serverNames,omitempty"`

	// below is the cut-off: a server is released when its hash for the mitigation, a number from 0 to
	// 4,294,967,295, is lower. 0 releases none by hash, 4,294,967,296 releases all.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4294967296
	// +required
	Below *int64 `json:"below,omitempty"`
}

// PlannedMitigation is what the pool's servers shall do about one mitigation.
type PlannedMitigation struct {
	// id of the mitigation.
	// +required
	ID MitigationID `json:"id,omitempty"`

	// desired is what the servers shall do.
	// +required
	Desired DesiredState `json:"desired,omitempty"`

	// reason is one word for why.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +required
	Reason string `json:"reason,omitempty"`

	// message says why in words.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	Message string `json:"message,omitempty"`

	// revision to apply.
	// +kubebuilder:validation:Minimum=1
	// +required
	Revision int64 `json:"revision,omitempty"`

	// feedName is the feed whose trust policy, on the server's own disk, the document must satisfy.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	FeedName string `json:"feedName,omitempty"`

	// bundleName is the MitigationBundle that holds the signed document.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	BundleName string `json:"bundleName,omitempty"`

	// documentDigest is the digest that the verified document must have.
	// +kubebuilder:validation:MinLength=64
	// +kubebuilder:validation:MaxLength=64
	// +required
	DocumentDigest string `json:"documentDigest,omitempty"`

	// blockedActions are actions of the mitigation that policy blocks while the others are applied.
	// +kubebuilder:validation:MaxItems=32
	// +listType=set
	// +optional
	BlockedActions []MitigationID `json:"blockedActions,omitempty"`

	// release says which servers the mitigation is released to.
	// +required
	Release Release `json:"release,omitzero"`
}

// PlanRevocation says which certificate revocation lists of a feed the servers shall know.
type PlanRevocation struct {
	// feedName is the feed that the lists belong to.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	FeedName string `json:"feedName,omitempty"`

	// bundleName is the MitigationBundle that holds the lists.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	BundleName string `json:"bundleName,omitempty"`

	// digest is the SHA-256, in hex, over the lists in DER, sorted by their bytes and put one after the other. A server
	// that has other lists fetches the bundle.
	// +kubebuilder:validation:MinLength=64
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	// +required
	Digest string `json:"digest,omitempty"`
}

// PlanSource is a policy object that a plan was rendered from.
type PlanSource struct {
	// kind of the object.
	// +kubebuilder:validation:Enum=MitigationConfiguration;PoolMitigationConfig
	// +required
	Kind string `json:"kind,omitempty"`

	// name of the object.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name,omitempty"`

	// generation of the object.
	// +kubebuilder:validation:Minimum=0
	// +required
	Generation *int64 `json:"generation,omitempty"`
}

// MitigationPlanSpec is the rendered desired state of one pool.
type MitigationPlanSpec struct {
	// mode of the pool.
	// +required
	Mode Mode `json:"mode,omitempty"`

	// placement says which file the rules of a site or path go to. Defaults to ApplicationHost.
	// +optional
	Placement Placement `json:"placement,omitempty"`

	// mitigations says what the servers shall do about each mitigation. A mitigation that is not listed is left
	// as it is: only an explicit Remove takes protection away.
	// +kubebuilder:validation:MaxItems=2048
	// +listType=map
	// +listMapKey=id
	// +optional
	Mitigations []PlannedMitigation `json:"mitigations,omitempty"`

	// revocation says which revocation lists the servers shall know, for each feed of the mitigations that hands out
	// any. A feed that is not listed changes nothing: servers keep the lists they have.
	// +kubebuilder:validation:MaxItems=64
	// +listType=map
	// +listMapKey=feedName
	// +optional
	Revocation []PlanRevocation `json:"revocation,omitempty"`

	// mustPass are requests that no mitigation may block on the pool's servers. One that newly does is not applied.
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	// +optional
	MustPass []SampleRequest `json:"mustPass,omitempty"`

	// fixedBuilds are builds that make a mitigation unnecessary, of every configuration in scope.
	// +kubebuilder:validation:MaxItems=8192
	// +listType=atomic
	// +optional
	FixedBuilds []FixedBuild `json:"fixedBuilds,omitempty"`

	// sources are the policy objects that the plan was rendered from.
	// +kubebuilder:validation:MaxItems=256
	// +listType=atomic
	// +optional
	Sources []PlanSource `json:"sources,omitempty"`
}

// MitigationPlan is the rendered desired state of one pool, named like its PoolMitigationConfig. The pool's
// agents watch it by name.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=mplan,categories=ems
// +kubebuilder:printcolumn:name="Mode",type=string,JSONPath=`.spec.mode`
// +kubebuilder:printcolumn:name="Generation",type=integer,JSONPath=`.metadata.generation`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type MitigationPlan struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is the desired state.
	// +required
	Spec MitigationPlanSpec `json:"spec,omitzero"`
}

// MitigationPlanList is a list of MitigationPlan.
//
// +kubebuilder:object:root=true
type MitigationPlanList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []MitigationPlan `json:"items"`
}
