package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MitigationBundleSpec is one verified signed document and what is known of it.
//
// The fields in base64 have no format "byte": CEL reads values of that format as base64 of the other alphabet, that of URLs, so that
// a rule over a value with "+" or "/" fails, and with it every update. Their pattern takes what the format would.
//
// +kubebuilder:validation:XValidation:rule="self.feedName == oldSelf.feedName && self.product == oldSelf.product && self.document == oldSelf.document && self.digest == oldSelf.digest && has(self.publisher) == has(oldSelf.publisher) && (!has(self.publisher) || self.publisher == oldSelf.publisher) && has(self.sequence) == has(oldSelf.sequence) && (!has(self.sequence) || self.sequence == oldSelf.sequence) && has(self.issuedTime) == has(oldSelf.issuedTime) && (!has(self.issuedTime) || self.issuedTime == oldSelf.issuedTime) && has(self.expiryTime) == has(oldSelf.expiryTime) && (!has(self.expiryTime) || self.expiryTime == oldSelf.expiryTime)",message="of a MitigationBundle only revocationLists may change; a new document makes a new bundle"
type MitigationBundleSpec struct {
	// feedName is the MitigationFeed that the document came from.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	FeedName string `json:"feedName,omitempty"`

	// product of the feed, for mitigations that do not say what they are made for.
	// +required
	Product Product `json:"product,omitempty"`

	// document is the signed document, byte for byte as it was served, in base64, at most 1 MiB (1,398,104
	// characters).
	// +kubebuilder:validation:MinLength=4
	// +kubebuilder:validation:MaxLength=1398104
	// +kubebuilder:validation:Pattern=`^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$`
	// +kubebuilder:validation:Format=""
	// +required
	Document []byte `json:"document,omitempty"`

	// revocationLists are certificate revocation lists, each in DER, together at most 96 KiB. They are the only field
	// that may change. Nothing here is trusted: agents check each list's signature, and that it is newer than theirs.
	// The size leaves room in etcd, which takes 1,572,864 bytes: the largest document in base64 has 1,398,104, 96 KiB
	// in base64 have 131,072, and 43,688 are left for everything else.
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=4
	// +kubebuilder:validation:items:MaxLength=131072
	// +kubebuilder:validation:items:Pattern=`^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$`
	// +kubebuilder:validation:items:Format=""
	// +kubebuilder:validation:XValidation:rule="self.map(list, size(list) / 4 * 3 - (list.endsWith('==') ? 2 : list.endsWith('=') ? 1 : 0)).sum() <= 98304",message="revocationLists may have at most 98304 bytes together"
	// +listType=atomic
	// +optional
	RevocationLists [][]byte `json:"revocationLists,omitempty"`

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

// MitigationBundle is one verified signed document, immutable but for the revocation lists beside it. Agents fetch it
// and verify everything again.
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
