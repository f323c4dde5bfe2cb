package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Mode says whether mitigations are put in place or only looked at.
//
// +kubebuilder:validation:Enum=Enforce;Audit
type Mode string

// The modes of a pool.
const (
	// ModeEnforce puts mitigations in place. It is what absence means.
	ModeEnforce Mode = "Enforce"
	// ModeAudit changes nothing on the servers; agents report what they would do. What was in place before the
	// mode was switched to Audit stays as it is.
	ModeAudit Mode = "Audit"
)

// DisabledAction says what becomes of applied mitigations while mitigations are disabled.
//
// +kubebuilder:validation:Enum=Keep;Remove
type DisabledAction string

// What becomes of applied mitigations while mitigations are disabled.
const (
	// KeepWhenDisabled leaves what is applied in place and applies nothing new. It is what absence means.
	KeepWhenDisabled DisabledAction = "Keep"
	// RemoveWhenDisabled removes what is applied.
	RemoveWhenDisabled DisabledAction = "Remove"
)

// Placement says which file rules go to.
//
// +kubebuilder:validation:Enum=ApplicationHost;WebConfig
type Placement string

// The files that rules can go to.
const (
	// PlacementApplicationHost puts rules into <location> elements of applicationHost.config, where sites cannot lock
	// them out and no deployment of a site overwrites them. It is what absence means.
	PlacementApplicationHost Placement = "ApplicationHost"
	// PlacementWebConfig puts them into the web.config of the site or path.
	PlacementWebConfig Placement = "WebConfig"
)

// HTTPCheck is a request to the local server that has to be answered well.
type HTTPCheck struct {
	// name of the check.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +required
	Name string `json:"name,omitempty"`

	// scheme is http or https. Defaults to https.
	// +kubebuilder:validation:Enum=http;https
	// +optional
	Scheme string `json:"scheme,omitempty"`

	// port on the local server. Defaults to the scheme's.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	// +optional
	Port int32 `json:"port,omitempty"`

	// path and query of the request.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	// +required
	Path string `json:"path,omitempty"`

	// host is the Host header and, over TLS, the name that the certificate must bear.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +optional
	Host string `json:"host,omitempty"`

	// statuses are the HTTP status codes that count as well. Defaults to 200.
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:Minimum=100
	// +kubebuilder:validation:items:Maximum=599
	// +listType=set
	// +optional
	Statuses []int32 `json:"statuses,omitempty"`

	// body is text that the answer must contain.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Body string `json:"body,omitempty"`
}

// HealthChecks say how a server proves that a mitigation does no harm. They are made before the mitigation is put in place and
// after, until its stage has baked; a server on which one came out well before and does not afterwards takes the mitigation back
// by itself. Sites, application pools and the mitigation's own samples are looked at without being named here.
//
// +kubebuilder:validation:MinProperties=1
type HealthChecks struct {
	// mustPass are requests that no mitigation may block. A server that finds, before it applies a mitigation, that its rules
	// would newly block one of them does not apply it (SamplesFailed).
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:XValidation:rule="self.all(r, r.url.startsWith('/'))",message="a url is path and query of the request, and begins with a slash"
	// +listType=atomic
	// +optional
	MustPass []SampleRequest `json:"mustPass,omitempty"`

	// http are requests that the local server has to answer well.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=name
	// +optional
	HTTP []HTTPCheck `json:"http,omitempty"`

	// tcpPorts are ports of the local server that have to accept connections.
	//
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:Minimum=1
	// +kubebuilder:validation:items:Maximum=65535
	// +listType=set
	// +optional
	TCPPorts []int32 `json:"tcpPorts,omitempty"`

	// services are Windows services that have to run.
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	// +listType=set
	// +optional
	Services []string `json:"services,omitempty"`
}

// PoolMitigationConfigSpec is the policy of one pool.
//
// +kubebuilder:validation:MinProperties=1
type PoolMitigationConfigSpec struct {
	// poolFQDN is the pool's name in the network: pool1.contoso.com.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$`
	// +optional
	PoolFQDN string `json:"poolFQDN,omitempty"`

	// mitigations switches the applying of mitigations on and off for the pool; whenDisabled says what becomes of
	// applied ones. Defaults to Enabled.
	// +optional
	Mitigations Switch `json:"mitigations,omitempty"`

	// whenDisabled says what becomes of applied mitigations while mitigations are disabled, here or above.
	// Defaults to Keep.
	// +optional
	WhenDisabled DisabledAction `json:"whenDisabled,omitempty"`

	// suspend is the kill switch: Revert removes every mitigation from the pool. Defaults to None.
	// +optional
	Suspend SuspendMode `json:"suspend,omitempty"`

	// mode says whether mitigations are put in place or only looked at. Defaults to Enforce.
	// +optional
	Mode Mode `json:"mode,omitempty"`

	// blocked lists mitigations that are not applied in the pool, and removed where they are.
	// +kubebuilder:validation:MaxItems=256
	// +listType=map
	// +listMapKey=id
	// +optional
	Blocked []Exception `json:"blocked,omitempty"`

	// approved lists mitigations that a person has agreed to, for rollouts that ask for it.
	// +kubebuilder:validation:MaxItems=256
	// +listType=map
	// +listMapKey=id
	// +optional
	Approved []Approval `json:"approved,omitempty"`

	// placement says which file the rules of a site or path go to: ApplicationHost for a <location> element of
	// applicationHost.config, WebConfig for the site's own web.config. Rules for the whole server and allowed server
	// variables are in applicationHost.config in any case. A change moves what is in place. Defaults to ApplicationHost.
	// +optional
	Placement Placement `json:"placement,omitempty"`

	// rollout says how a mitigation spreads over the pool's servers.
	// +optional
	Rollout RolloutSpec `json:"rollout,omitzero"`

	// healthChecks say how a server proves that a mitigation does no harm.
	// +optional
	HealthChecks HealthChecks `json:"healthChecks,omitzero"`

	// telemetry Disabled leaves the pool's servers out of diagnostic data. Defaults to Enabled, by which they are part of it if
	// the organisation sends any.
	// +optional
	Telemetry Switch `json:"telemetry,omitempty"`
}

// GetMode returns the mode, Enforce when absent.
func (s *PoolMitigationConfigSpec) GetMode() Mode {
	if s.Mode == "" {
		return ModeEnforce
	}
	return s.Mode
}

// PoolRolloutStatus is how far a mitigation has come in a pool.
//
// +kubebuilder:validation:MinProperties=1
type PoolRolloutStatus struct {
	// state of the rollout.
	// +optional
	State RolloutState `json:"state,omitempty"`

	// reason is one word for why it is there.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Reason string `json:"reason,omitempty"`

	// message says why in words, and what to do.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	Message string `json:"message,omitempty"`

	// profile that the stages come from. Absent if the pool says its own.
	// +optional
	Profile RolloutProfile `json:"profile,omitempty"`

	// attempt counts from 1; an order with action Retry begins the next one.
	// +kubebuilder:validation:Minimum=1
	// +optional
	Attempt int32 `json:"attempt,omitempty"`

	// stage is the name of the stage that is released.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Stage string `json:"stage,omitempty"`

	// stageNumber counts the released stage from 1; 0 means that none is.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=21
	// +optional
	StageNumber *int32 `json:"stageNumber,omitempty"`

	// stages is how many there are.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=21
	// +optional
	Stages int32 `json:"stages,omitempty"`

	// released is the number of servers that the mitigation is released to.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Released *int32 `json:"released,omitempty"`

	// passed is the number of released servers that passed the gate or do not need the mitigation.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Passed *int32 `json:"passed,omitempty"`

	// failed is the number of released servers whose gate failed.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Failed *int32 `json:"failed,omitempty"`

	// startTime is when the attempt began.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`

	// stageTime is when the stage was released.
	// +optional
	StageTime *metav1.Time `json:"stageTime,omitempty"`
}

// PoolHistoryEntry is one thing that happened to a mitigation in a pool.
type PoolHistoryEntry struct {
	// time when it happened.
	// +required
	Time *metav1.Time `json:"time,omitempty"`

	// id of the mitigation.
	// +required
	ID MitigationID `json:"id,omitempty"`

	// revision it was about.
	// +kubebuilder:validation:Minimum=1
	// +required
	Revision int64 `json:"revision,omitempty"`

	// attempt it was about.
	// +kubebuilder:validation:Minimum=1
	// +optional
	Attempt int32 `json:"attempt,omitempty"`

	// action is one word for what happened.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +required
	Action string `json:"action,omitempty"`

	// by names who caused it: the owner of an order, a block or an approval, the publisher's feed, or EMS itself.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	By string `json:"by,omitempty"`

	// message says why in words.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Message string `json:"message,omitempty"`
}

// PoolMitigationStatus is where one mitigation stands in a pool.
type PoolMitigationStatus struct {
	// id of the mitigation.
	// +required
	ID MitigationID `json:"id,omitempty"`

	// desired is what the plan wants.
	// +required
	Desired DesiredState `json:"desired,omitempty"`

	// reason is why the plan wants it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +required
	Reason string `json:"reason,omitempty"`

	// revision that the plan wants.
	// +kubebuilder:validation:Minimum=1
	// +optional
	Revision int64 `json:"revision,omitempty"`

	// servers counts the pool's servers by state.
	// +optional
	Servers ServerCounts `json:"servers,omitzero"`

	// failing names servers that could not do what the plan wants, at most 20 of them, in order.
	// +kubebuilder:validation:MaxItems=20
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +listType=set
	// +optional
	Failing []string `json:"failing,omitempty"`

	// rollout tells how far the mitigation has come. Absent while nothing is rolled out.
	// +optional
	Rollout PoolRolloutStatus `json:"rollout,omitzero"`

	// ineffective names servers that have the mitigation in place, but whose IIS does not run all of it, at most 20 of them,
	// in order.
	// +kubebuilder:validation:MaxItems=20
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +listType=set
	// +optional
	Ineffective []string `json:"ineffective,omitempty"`
}

// PoolSummary puts a pool in a few words for tables.
type PoolSummary struct {
	// mode is what happens in the pool now, whoever decided it: Enforce, Audit, Disabled or Suspended.
	// +kubebuilder:validation:Enum=Enforce;Audit;Disabled;Suspended
	// +optional
	Mode string `json:"mode,omitempty"`

	// inSync tells how many of the pool's servers are as the plan wants them: 3/3.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +optional
	InSync string `json:"inSync,omitempty"`

	// applied lists the mitigations that are in place on at least one server.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Applied string `json:"applied,omitempty"`

	// rollout says how far the rollout is that needs attention most: "M1 canary 1/3", "M1 Halted".
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Rollout string `json:"rollout,omitempty"`

	// blocked lists the mitigations that policy blocks in the pool.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Blocked string `json:"blocked,omitempty"`

	// failed lists the mitigations that failed on at least one server.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Failed string `json:"failed,omitempty"`
}

// PoolMitigationConfigStatus is where a pool stands.
type PoolMitigationConfigStatus struct {
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

	// servers is the number of servers in the pool.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Servers *int32 `json:"servers,omitempty"`

	// silent is the number of servers that have not shown for a while that they are alive.
	// +kubebuilder:validation:Minimum=0
	// +optional
	Silent *int32 `json:"silent,omitempty"`

	// summary puts the pool in a few words.
	// +optional
	Summary PoolSummary `json:"summary,omitzero"`

	// history is what happened last to mitigations in the pool, the newest last; at most 100 entries.
	// +kubebuilder:validation:MaxItems=100
	// +listType=atomic
	// +optional
	History []PoolHistoryEntry `json:"history,omitempty"`

	// mitigations tells where each mitigation of the plan stands.
	// +kubebuilder:validation:MaxItems=2048
	// +listType=map
	// +listMapKey=id
	// +optional
	Mitigations []PoolMitigationStatus `json:"mitigations,omitempty"`
}

// PoolMitigationConfig is the policy of one pool of servers, and where the pool stands.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=pmc,categories=ems
// +kubebuilder:printcolumn:name="Mode",type=string,JSONPath=`.status.summary.mode`
// +kubebuilder:printcolumn:name="In Sync",type=string,JSONPath=`.status.summary.inSync`
// +kubebuilder:printcolumn:name="Applied",type=string,JSONPath=`.status.summary.applied`
// +kubebuilder:printcolumn:name="Rollout",type=string,JSONPath=`.status.summary.rollout`
// +kubebuilder:printcolumn:name="Blocked",type=string,JSONPath=`.status.summary.blocked`
// +kubebuilder:printcolumn:name="Failed",type=string,JSONPath=`.status.summary.failed`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="FQDN",type=string,priority=1,JSONPath=`.spec.poolFQDN`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type PoolMitigationConfig struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is the policy of the pool.
	// +required
	Spec PoolMitigationConfigSpec `json:"spec,omitzero"`

	// status is where the pool stands.
	// +optional
	Status PoolMitigationConfigStatus `json:"status,omitzero"`
}

// GetConditions returns the conditions of the status.
func (c *PoolMitigationConfig) GetConditions() []metav1.Condition { return c.Status.Conditions }

// PoolMitigationConfigList is a list of PoolMitigationConfig.
//
// +kubebuilder:object:root=true
type PoolMitigationConfigList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []PoolMitigationConfig `json:"items"`
}
