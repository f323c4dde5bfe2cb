package v1alpha1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// DefaultInterval is how often a feed is polled when its spec does not say: hourly, as the real services do.
	DefaultInterval = time.Hour
	// DefaultMaxAge is how long a feed may go without a successful read before it counts as stale: three missed
	// polls of the default interval.
	DefaultMaxAge = 3 * time.Hour
)

// RevocationMode says how certificate revocation lists are used.
//
// +kubebuilder:validation:Enum=Off;Prefer;Require
type RevocationMode string

// UndatedDocuments says what happens to documents of version 1.0.4 without a counter-signature.
//
// +kubebuilder:validation:Enum=Refuse;Accept
type UndatedDocuments string

// CertificateSubject names the subject that a signer's certificate must have.
//
// +kubebuilder:validation:MinProperties=1
type CertificateSubject struct {
	// organization (O) that the certificate must name.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Organization string `json:"organization,omitempty"`

	// commonName (CN) that the certificate must name.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	CommonName string `json:"commonName,omitempty"`
}

// Revocation says how revoked signer certificates are found.
type Revocation struct {
	// mode is Off (do not look), Prefer (refuse what a valid list revokes) or Require (refuse without a valid
	// list, too).
	// +required
	Mode RevocationMode `json:"mode,omitempty"`

	// crls are certificate revocation lists in PEM.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=262144
	// +optional
	CRLs string `json:"crls,omitempty"`

	// maxAgeSeconds is how old a list may be, even before its nextUpdate. Without it nextUpdate alone counts.
	// +kubebuilder:validation:Minimum=60
	// +kubebuilder:validation:Maximum=31536000
	// +optional
	MaxAgeSeconds int64 `json:"maxAgeSeconds,omitempty"`
}

// TrustPolicy says whose signatures are accepted. The agent's own policy is a file on the server of the same
// structure and never comes from the cluster.
type TrustPolicy struct {
	// roots are the only certificates that a signer's chain may end in, in PEM.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	// +kubebuilder:validation:XValidation:rule="self.contains('-----BEGIN CERTIFICATE-----')",message="roots must hold at least one certificate in PEM"
	// +required
	Roots string `json:"roots,omitempty"`

	// issuerPins are SHA-256 digests, in hex, of the public key (SubjectPublicKeyInfo) of the authority that
	// issued the signer's certificate. With pins, one of them must match. Without pins, any authority under the
	// roots may issue signers.
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:Pattern=`^[0-9a-f]{64}$`
	// +kubebuilder:validation:items:MinLength=64
	// +kubebuilder:validation:items:MaxLength=64
	// +listType=set
	// +optional
	IssuerPins []string `json:"issuerPins,omitempty"`

	// subject is what the signer's certificate must name.
	// +optional
	Subject CertificateSubject `json:"subject,omitzero"`

	// extendedKeyUsages are object identifiers that the signer's certificate must carry beside codeSigning, which
	// is always required.
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:Pattern=`^[0-2](\.(0|[1-9][0-9]*)){1,20}$`
	// +kubebuilder:validation:items:MinLength=3
	// +kubebuilder:validation:items:MaxLength=128
	// +listType=set
	// +optional
	ExtendedKeyUsages []string `json:"extendedKeyUsages,omitempty"`

	// timestampRoots are the only certificates that a counter-signature's chain may end in, in PEM. With them, a
	// document stays verifiable after its signer's certificate has expired.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	// +kubebuilder:validation:XValidation:rule="self.contains('-----BEGIN CERTIFICATE-----')",message="timestampRoots must hold at least one certificate in PEM"
	// +optional
	TimestampRoots string `json:"timestampRoots,omitempty"`

	// revocation says how revoked signer certificates are found. Defaults to mode Off.
	// +optional
	Revocation Revocation `json:"revocation,omitzero"`

	// undatedDocuments says what happens to documents of version 1.0.4 that carry no accepted counter-signature
	// and hence nothing that orders them. Defaults to Refuse.
	// +optional
	UndatedDocuments UndatedDocuments `json:"undatedDocuments,omitempty"`
}

// ConfigMapKeyReference names one key of a ConfigMap in the manager's own namespace.
type ConfigMapKeyReference struct {
	// name of the ConfigMap.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name,omitempty"`

	// key whose value (data or binaryData) is the signed document.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Key string `json:"key,omitempty"`
}

// MitigationFeedSpec says where signed documents come from and whose signature they need.
//
// +kubebuilder:validation:XValidation:rule="has(self.url) != has(self.configMapRef)",message="set exactly one of url and configMapRef"
// +kubebuilder:validation:XValidation:rule="!has(self.proxyURL) || has(self.url)",message="proxyURL goes with url"
// +kubebuilder:validation:XValidation:rule="!has(self.caBundle) || has(self.url)",message="caBundle goes with url"
type MitigationFeedSpec struct {
	// url is the OCS endpoint that serves the signed document.
	// +kubebuilder:validation:MinLength=8
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHost() != ''",message="url must be an absolute http or https URL"
	// +optional
	URL string `json:"url,omitempty"`

	// configMapRef names a ConfigMap in the manager's namespace that holds the signed document, for sites
	// without a network path to the publisher.
	// +optional
	ConfigMapRef ConfigMapKeyReference `json:"configMapRef,omitzero"`

	// product that documents of this feed are made for, where a mitigation does not say.
	// +required
	Product Product `json:"product,omitempty"`

	// trust says whose signatures the manager accepts. Agents check again by the policy on their own disk.
	// +required
	Trust TrustPolicy `json:"trust,omitzero"`

	// polling switches the polling of the feed on and off; what was accepted stays either way.
	// Defaults to Enabled.
	// +optional
	Polling Switch `json:"polling,omitempty"`

	// intervalSeconds is the time between two polls, before jitter. Defaults to 3600.
	// +kubebuilder:validation:Minimum=60
	// +kubebuilder:validation:Maximum=86400
	// +optional
	IntervalSeconds int32 `json:"intervalSeconds,omitempty"`

	// timeoutSeconds limits one whole download. Defaults to 60.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=600
	// +optional
	TimeoutSeconds int32 `json:"timeoutSeconds,omitempty"`

	// maxAgeSeconds is how long the feed may go without a successful read before it counts as stale.
	// Defaults to 10800, or to three intervals if that is more.
	// +kubebuilder:validation:Minimum=60
	// +kubebuilder:validation:Maximum=31536000
	// +optional
	MaxAgeSeconds int32 `json:"maxAgeSeconds,omitempty"`

	// proxyURL is the HTTP proxy to the endpoint. Without it the manager connects directly.
	// +kubebuilder:validation:MinLength=8
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHost() != ''",message="proxyURL must be an absolute http or https URL"
	// +optional
	ProxyURL string `json:"proxyURL,omitempty"`

	// caBundle holds the certificates, in PEM, that the endpoint's TLS certificate must chain to. Without it the
	// manager's system roots count.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	// +optional
	CABundle string `json:"caBundle,omitempty"`
}

// Interval returns the time between two polls, before jitter.
func (s *MitigationFeedSpec) Interval() time.Duration {
	if s.IntervalSeconds == 0 {
		return DefaultInterval
	}
	return time.Duration(s.IntervalSeconds) * time.Second
}

// MaxAge returns how long the feed may go without a successful read.
func (s *MitigationFeedSpec) MaxAge() time.Duration {
	if s.MaxAgeSeconds == 0 {
		return max(DefaultMaxAge, 3*s.Interval())
	}
	return time.Duration(s.MaxAgeSeconds) * time.Second
}

// Timeout returns the limit of one whole download; zero leaves the choice to the downloader.
func (s *MitigationFeedSpec) Timeout() time.Duration {
	return time.Duration(s.TimeoutSeconds) * time.Second
}

// AcceptedDocument describes the signed document that a feed's Mitigations come from.
type AcceptedDocument struct {
	// bundleName is the MitigationBundle that holds the document.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	BundleName string `json:"bundleName,omitempty"`

	// digest is the SHA-256, in hex, of the canonical signed content.
	// +kubebuilder:validation:MinLength=64
	// +kubebuilder:validation:MaxLength=64
	// +required
	Digest string `json:"digest,omitempty"`

	// version of the document format.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +optional
	Version string `json:"version,omitempty"`

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

	// signedTime is the time that an accepted counter-signature proves.
	// +optional
	SignedTime *metav1.Time `json:"signedTime,omitempty"`

	// signer is the subject of the signing certificate.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Signer string `json:"signer,omitempty"`

	// signerExpiryTime is when the first of the certificates between the signer and its root runs out. Without an
	// accepted counter-signature the document is no longer verifiable from then on.
	// +optional
	SignerExpiryTime *metav1.Time `json:"signerExpiryTime,omitempty"`

	// acceptedTime is when the manager accepted the document.
	// +optional
	AcceptedTime *metav1.Time `json:"acceptedTime,omitempty"`
}

// RefusedConfig is one Config of a document that was refused alone.
type RefusedConfig struct {
	// id of the Config, as far as it could be read.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +required
	ID string `json:"id,omitempty"`

	// reason is one word for the rule that was broken.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +required
	Reason string `json:"reason,omitempty"`

	// message says what was wrong and where.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Message string `json:"message,omitempty"`
}

// MitigationFeedStatus is what the manager knows of a feed.
type MitigationFeedStatus struct {
	// conditions are Ready, Fresh and TrustAnchorsCurrent, and Reconciling or Stalled while they are True.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation of the spec that the status speaks of.
	// +kubebuilder:validation:Minimum=0
	// +optional
	ObservedGeneration *int64 `json:"observedGeneration,omitempty"`

	// document is the accepted document. It stays when a later one is refused.
	// +optional
	Document AcceptedDocument `json:"document,omitzero"`

	// highestSequence is the highest sequence ever accepted; nothing below it is accepted again.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:XValidation:rule="self >= oldSelf",message="highestSequence never goes back"
	// +optional
	HighestSequence int64 `json:"highestSequence,omitempty"`

	// mitigations is the number of mitigations that the accepted document provides.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Mitigations *int32 `json:"mitigations,omitempty"`

	// refused lists the Configs of the accepted document that were refused alone.
	// +kubebuilder:validation:MaxItems=256
	// +listType=atomic
	// +optional
	Refused []RefusedConfig `json:"refused,omitempty"`

	// lastReadTime is when the feed was last read successfully, whether or not it had changed.
	// +optional
	LastReadTime *metav1.Time `json:"lastReadTime,omitempty"`

	// eTag is the validator of the last accepted answer, sent with the next poll.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	ETag string `json:"eTag,omitempty"`

	// failures is the number of failed polls in a row; it sets the time to the next one.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Failures *int32 `json:"failures,omitempty"`

	// lastHandledReconcileAt is the value of the annotation reconcile.ems.mitigation.dev/requestedAt that was
	// last acted on.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`
}

// MitigationFeed is a source of signed mitigation documents.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=mfeed,categories=ems
// +kubebuilder:printcolumn:name="Product",type=string,JSONPath=`.spec.product`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Fresh",type=string,JSONPath=`.status.conditions[?(@.type=="Fresh")].status`
// +kubebuilder:printcolumn:name="Mitigations",type=integer,JSONPath=`.status.mitigations`
// +kubebuilder:printcolumn:name="Sequence",type=integer,JSONPath=`.status.document.sequence`
// +kubebuilder:printcolumn:name="Last Read",type=date,JSONPath=`.status.lastReadTime`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="URL",type=string,priority=1,JSONPath=`.spec.url`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 50",message="the name of a feed may have at most 50 characters, since bundles and labels bear it"
type MitigationFeed struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec says where signed documents come from and whose signature they need.
	// +required
	Spec MitigationFeedSpec `json:"spec,omitzero"`

	// status is what the manager knows of the feed.
	// +optional
	Status MitigationFeedStatus `json:"status,omitzero"`
}

// GetConditions returns the conditions of the status.
func (f *MitigationFeed) GetConditions() []metav1.Condition { return f.Status.Conditions }

// MitigationFeedList is a list of MitigationFeed.
//
// +kubebuilder:object:root=true
type MitigationFeedList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []MitigationFeed `json:"items"`
}
