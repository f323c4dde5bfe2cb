package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MitigationBundleSpec is one verified signed document and what is known of it.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a MitigationBundle never changes; a new document makes a new bundle"
type MitigationBundleSpec struct {
	// feedName is the MitigationFeed that the document came from.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	FeedName string `json:"feedName,omitempty"`

	// product of the feed, for mitigations that do not say what they are made for.
	// +required
	Product Product `json:"product,omitempty"`

	// document is the signed document, byte for byte as it was served, at most 1 MiB (base64: 1,398,104
	// characters).
	// +kubebuilder:validation:MinLength=4
	// +kubebuilder:validation:MaxLength=1398104
	// +required
	Document []byte `json:"document,omitempty"`

	// digest is the SHA-256, in hex, of the canonical signed content. It identifies the document: unsigned
	// bytes may vary without breaking the signature.
	// +kubebuilder:validation:MinLength=64
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	// +required
	Digest string `json:"digest,omitempty"`

	// publisher as the document names it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Publisher string `json:"publisher,omitempty"`

	// sequence of the document. Absent for documents of version 1.0.4.
	// +kubebuilder:validation:Minimum=1
	// +optional
	Sequence int64 `json:"sequence,omitempty"`

	// issuedTime is when the publisher issued the document, as it says itself.
	// +optional
	IssuedTime *metav1.Time `json:"issuedTime,omitempty"`

	// expiryTime is until when the document may be newly accepted, as it says itself.
	// +optional
	ExpiryTime *metav1.Time `json:"expiryTime,omitempty"`
}

// MitigationBundle is one verified signed document, immutable. Agents fetch it and verify it again.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=mbundle,categories=ems
// +kubebuilder:printcolumn:name="Feed",type=string,JSONPath=`.spec.feedName`
// +kubebuilder:printcolumn:name="Sequence",type=integer,JSONPath=`.spec.sequence`
// +kubebuilder:printcolumn:name="Publisher",type=string,JSONPath=`.spec.publisher`
// +kubebuilder:printcolumn:name="Issued",type=date,JSONPath=`.spec.issuedTime`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Digest",type=string,priority=1,JSONPath=`.spec.digest`
type MitigationBundle struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is the document and what is known of it.
	// +required
	Spec MitigationBundleSpec `json:"spec,omitzero"`
}

// MitigationBundleList is a list of MitigationBundle.
//
// +kubebuilder:object:root=true
type MitigationBundleList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []MitigationBundle `json:"items"`
}
