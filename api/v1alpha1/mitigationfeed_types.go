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
//
// +kubebuilder:validation:XValidation:rule="self.mode != 'Require' || has(self.crls) || has(self.urls)",message="mode Require without crls or urls would refuse every document"
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

	// urls are where the manager fetches certificate revocation lists, in DER or PEM, beside those in crls. It hands
	// them to the agents with the feed's bundles; agents fetch nothing themselves. Nothing is fetched in mode Off.
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=8
	// +kubebuilder:validation:items:MaxLength=2048
	// +kubebuilder:validation:items:XValidation:rule="isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHost() != ''",message="each of urls must be an absolute http or https URL"
	// +listType=set
	// +optional
	URLs []string `json:"urls,omitempty"`

	// maxAgeSeconds is how old a list may be, even before its nextUpdate. Without it nextUpdate alone counts.
	// +kubebuilder:validation:Minimum=60
	// +kubebuilder:validation:Maximum=31536000
	// +optional
	MaxAgeSeconds int64 `json:"maxAgeSeconds,omitempty"`
}

// TrustLevel says what becomes of a document that fails a check: Enforce refuses it, Log accepts it and reports what
// was found.
//
// +kubebuilder:validation:Enum=Enforce;Log
type TrustLevel string

// The levels of checks.
const (
	// EnforceLevel refuses a document that fails the check.
	EnforceLevel TrustLevel = "Enforce"
	// LogLevel accepts it, and the condition TrustChecksPassed says what was found.
	LogLevel TrustLevel = "Log"
)

// TrustLevels sets the levels of the checks that have one. What says whose content a document is, and that it is
// unchanged, has none: the chain to a root and its validity, codeSigning, sizes of keys, signature, digest,
// counter-signature and order are always enforced.
//
// +kubebuilder:validation:MinProperties=1
type TrustLevels struct {
	// issuerPins is the level of trust.issuerPins. Defaults to Enforce.
	// +optional
	IssuerPins TrustLevel `json:"issuerPins,omitempty"`

	// subject is the level of trust.subject. Defaults to Enforce.
	// +optional
	Subject TrustLevel `json:"subject,omitempty"`

	// extendedKeyUsages is the level of trust.extendedKeyUsages. Defaults to Enforce.
	// +optional
	ExtendedKeyUsages TrustLevel `json:"extendedKeyUsages,omitempty"`

	// revocation is the level of trust.revocation. Defaults to Enforce.
	// +optional
	Revocation TrustLevel `json:"revocation,omitempty"`
}

// TrustPolicy says whose signatures are accepted. The agent's own policy is a file on the server of the same
// structure and never comes from the cluster.
//
// +kubebuilder:validation:XValidation:rule="!has(self.levels) || !has(self.levels.issuerPins) || (has(self.issuerPins) && size(self.issuerPins) > 0)",message="levels.issuerPins needs issuerPins"
// +kubebuilder:validation:XValidation:rule="!has(self.levels) || !has(self.levels.subject) || has(self.subject)",message="levels.subject needs subject"
// +kubebuilder:validation:XValidation:rule="!has(self.levels) || !has(self.levels.extendedKeyUsages) || (has(self.extendedKeyUsages) && size(self.extendedKeyUsages) > 0)",message="levels.extendedKeyUsages needs extendedKeyUsages"
// +kubebuilder:validation:XValidation:rule="!has(self.levels) || !has(self.levels.revocation) || (has(self.revocation) && self.revocation.mode != 'Off')",message="levels.revocation needs revocation with mode Prefer or Require"
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

	// levels say which checks only report what they find, to try them out before they are enforced. Without it all of
	// them refuse.
	// +optional
	Levels TrustLevels `json:"levels,omitzero"`

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

// FetchLimits bound what an answer of an endpoint may cost, so that endless and slow ones are cut.
//
// +kubebuilder:validation:MinProperties=1
type FetchLimits struct {
	// maxBytes is the largest document that is taken. Defaults to 1048576, the largest that the format allows.
	// +kubebuilder:validation:Minimum=1024
	// +kubebuilder:validation:Maximum=1048576
	// +optional
	MaxBytes int32 `json:"maxBytes,omitempty"`

	// connectTimeoutSeconds is how long name resolution and connection may take together, and as long again the TLS
	// handshake. Defaults to 5.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=60
	// +optional
	ConnectTimeoutSeconds int32 `json:"connectTimeoutSeconds,omitempty"`

	// headerTimeoutSeconds is how long the endpoint may take from the request to the headers of its answer.
	// Defaults to 10.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=300
	// +optional
	HeaderTimeoutSeconds int32 `json:"headerTimeoutSeconds,omitempty"`

	// minimumBytesPerSecond is the lowest average rate of an answer that takes longer than ten seconds. Defaults to 512.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1048576
	// +optional
	MinimumBytesPerSecond int32 `json:"minimumBytesPerSecond,omitempty"`
}

// PushState says how a feed stands with push.
//
// +kubebuilder:validation:Enum=Connected;NotOffered;Disconnected;Disabled
type PushState string

// The values of a PushState.
const (
	// PushConnected means that the endpoint tells at once when it has another document.
	PushConnected PushState = "Connected"
	// PushNotOffered means that the endpoint does not offer push; the feed is polled.
	PushNotOffered PushState = "NotOffered"
	// PushDisconnected means that the requests for push fail, or that the manager watches as many feeds as it can already;
	// the feed is polled.
	PushDisconnected PushState = "Disconnected"
	// PushDisabled means that spec.push or spec.polling is Disabled.
	PushDisabled PushState = "Disabled"
)

// MitigationFeedSpec says where signed documents come from and whose signature they need.
//
// +kubebuilder:validation:XValidation:rule="has(self.url) != has(self.configMapRef)",message="set exactly one of url and configMapRef"
// +kubebuilder:validation:XValidation:rule="!has(self.proxyURL) || has(self.url)",message="proxyURL goes with url"
// +kubebuilder:validation:XValidation:rule="!has(self.caBundle) || has(self.url)",message="caBundle goes with url"
// +kubebuilder:validation:XValidation:rule="!has(self.push) || has(self.url)",message="push goes with url"
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

	// push says whether to ask the endpoint to tell at once when it has another document, beside polling. Endpoints that
	// do not offer it are polled. Defaults to Enabled.
	// +optional
	Push Switch `json:"push,omitempty"`

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

	// limits bound what an answer of the endpoint may cost.
	// +optional
	Limits FetchLimits `json:"limits,omitzero"`

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

// RevocationListStatus describes one certificate revocation list.
type RevocationListStatus struct {
	// issuer of the list, and of the certificates that it speaks of.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +required
	Issuer string `json:"issuer,omitempty"`

	// number of the list, in decimal. Absent for a list without one.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Number string `json:"number,omitempty"`

	// thisUpdateTime is when the list was issued.
	// +optional
	ThisUpdateTime *metav1.Time `json:"thisUpdateTime,omitempty"`

	// nextUpdateTime is when the list ends. Absent for a list without an end.
	// +optional
	NextUpdateTime *metav1.Time `json:"nextUpdateTime,omitempty"`

	// source is the URL that the list was fetched from, or spec.trust.revocation.crls.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +required
	Source string `json:"source,omitempty"`
}

// RevocationStatus says which certificate revocation lists a feed hands to the agents.
type RevocationStatus struct {
	// bundleName is the MitigationBundle that holds the lists: that of the accepted document.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	BundleName string `json:"bundleName,omitempty"`

	// digest is the SHA-256, in hex, over the lists in DER, sorted by their bytes and put one after the other.
	// +kubebuilder:validation:MinLength=64
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	// +required
	Digest string `json:"digest,omitempty"`

	// lists describes each list of the bundle.
	// +kubebuilder:validation:MaxItems=8
	// +listType=atomic
	// +optional
	Lists []RevocationListStatus `json:"lists,omitempty"`

	// lastReadTime is when every URL was last read successfully, whether or not the lists had changed.
	// +optional
	LastReadTime *metav1.Time `json:"lastReadTime,omitempty"`
}

// MitigationFeedStatus is what the manager knows of a feed.
type MitigationFeedStatus struct {
	// conditions are Ready, Fresh, TrustAnchorsCurrent and TrustChecksPassed, and Reconciling or Stalled while they are True.
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

	// revocation says which certificate revocation lists the agents are handed. Absent while there are none.
	// +optional
	Revocation RevocationStatus `json:"revocation,omitzero"`

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

	// push says whether the endpoint tells of new documents at once. Absent for a feed without a URL, and until it is known.
	// +optional
	Push PushState `json:"push,omitempty"`

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
// +kubebuilder:printcolumn:name="Push",type=string,priority=1,JSONPath=`.status.push`
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
