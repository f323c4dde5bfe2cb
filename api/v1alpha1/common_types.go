package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MitigationID is the id of a mitigation or of one of its parts as the publisher spells it: M1, M1.1, PING1.
// Ids are compared without regard to case, and a parent covers its children (M1 covers M1.1).
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^[A-Za-z][A-Za-z0-9]*(\.[0-9]+)*$`
type MitigationID string

// Product is a server product that mitigations are made for.
//
// +kubebuilder:validation:Enum=ExchangeServer;SkypeForBusinessServer;SharePointServer;IIS
type Product string

// The products that documents may name.
const (
	ExchangeServer         Product = "ExchangeServer"
	SkypeForBusinessServer Product = "SkypeForBusinessServer"
	SharePointServer       Product = "SharePointServer"
	IISServer              Product = "IIS"
)

// Switch is a setting that is on or off.
//
// +kubebuilder:validation:Enum=Enabled;Disabled
type Switch string

// The values of a Switch.
const (
	Enabled  Switch = "Enabled"
	Disabled Switch = "Disabled"
)

// SuspendMode is the position of a kill switch.
//
// +kubebuilder:validation:Enum=None;Revert
type SuspendMode string

// The positions of a kill switch.
const (
	// SuspendNone leaves policy to decide. It is what absence means.
	SuspendNone SuspendMode = "None"
	// SuspendRevert removes every mitigation in scope until it is taken back.
	SuspendRevert SuspendMode = "Revert"
)

// Exception is one entry of a blocked or approved list.
type Exception struct {
	// id is the mitigation, or a part of one, that the entry is about. A parent id covers its children.
	// +required
	ID MitigationID `json:"id,omitempty"`

	// reason says why the entry is there, for those who come across it later.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +required
	Reason string `json:"reason,omitempty"`

	// owner is the person or team to ask about the entry.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Owner string `json:"owner,omitempty"`

	// expiryTime is when the entry stops counting. Without it the entry counts until it is deleted.
	// +optional
	ExpiryTime *metav1.Time `json:"expiryTime,omitempty"`
}

// FixedBuild says that a mitigation is not needed on a release branch from a build on.
type FixedBuild struct {
	// id is the mitigation that the build makes unnecessary. A parent id covers its children.
	// +required
	ID MitigationID `json:"id,omitempty"`

	// build is the first fixed build, four numbers: 15.2.2562.43. It speaks for its own release branch only,
	// which is its first three numbers.
	// +kubebuilder:validation:MinLength=7
	// +kubebuilder:validation:MaxLength=43
	// +kubebuilder:validation:Pattern=`^[0-9]{1,10}\.[0-9]{1,10}\.[0-9]{1,10}\.[0-9]{1,10}$`
	// +required
	Build string `json:"build,omitempty"`
}

// HTTPHeader is one header of a request.
type HTTPHeader struct {
	// name of the header.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +required
	Name string `json:"name,omitempty"`

	// value of the header. Without it the header is sent empty.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	// +optional
	Value string `json:"value,omitempty"`
}

// SampleRequest is a request that a rule is tried against.
type SampleRequest struct {
	// method of the request. Defaults to GET.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +optional
	Method string `json:"method,omitempty"`

	// url is path and query of the request, as sent.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	// +required
	URL string `json:"url,omitempty"`

	// host is the Host header. Without it any host is meant.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +optional
	Host string `json:"host,omitempty"`

	// headers are further headers of the request.
	// +kubebuilder:validation:MaxItems=64
	// +listType=atomic
	// +optional
	Headers []HTTPHeader `json:"headers,omitempty"`
}

// ServerCounts tells how many servers are in which state with regard to a mitigation.
type ServerCounts struct {
	// total is the number of servers looked at.
	// +kubebuilder:validation:Minimum=0
	// +required
	Total *int32 `json:"total,omitempty"`

	// applied is the number of servers that have the mitigation in place, without those on which it is ineffective.
	// +kubebuilder:validation:Minimum=0
	// +required
	Applied *int32 `json:"applied,omitempty"`

	// pending is the number of servers that have not yet reported the state the plan wants.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Pending *int32 `json:"pending,omitempty"`

	// failed is the number of servers that could not do what the plan wants.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Failed *int32 `json:"failed,omitempty"`

	// ineffective is the number of servers that have the mitigation in place, but whose IIS does not run all of it.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Ineffective *int32 `json:"ineffective,omitempty"`

	// blocked is the number of servers on which the mitigation is blocked and removed.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Blocked *int32 `json:"blocked,omitempty"`

	// notApplicable is the number of servers that do not need the mitigation: other product, or fixed.
	// +kubebuilder:validation:Minimum=0
	// +optional
	NotApplicable *int32 `json:"notApplicable,omitempty"`

	// other is the number of servers that are as the plan wants them without any of the above: held, removed,
	// or only audited.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Other *int32 `json:"other,omitempty"`
}
