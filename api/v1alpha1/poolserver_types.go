package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MitigationState is where a mitigation stands on one server.
//
// +kubebuilder:validation:Enum=Applied;Removed;Held;Audited;NotApplicable;Pending;Failed
type MitigationState string

// The states of a mitigation on a server.
const (
	// StateApplied means that the mitigation is in place, checked by reading it back.
	StateApplied MitigationState = "Applied"
	// StateRemoved means that the mitigation is not in place, as the plan wants.
	StateRemoved MitigationState = "Removed"
	// StateHeld means that the server is left as it is, as the plan wants; reason says why.
	StateHeld MitigationState = "Held"
	// StateAudited means that the mitigation would be put in place if the pool were not in Audit mode.
	StateAudited MitigationState = "Audited"
	// StateNotApplicable means that the server does not need the mitigation, and that it is not in place.
	StateNotApplicable MitigationState = "NotApplicable"
	// StatePending means that the server has not been released yet.
	StatePending MitigationState = "Pending"
	// StateFailed means that the server could not do what the plan wants; what was there before stays.
	StateFailed MitigationState = "Failed"
)

// Effectiveness tells whether IIS runs what a mitigation put into its configuration.
//
// +kubebuilder:validation:Enum=True;False;Unknown
type Effectiveness string

// Whether IIS runs a mitigation.
const (
	// EffectiveTrue means that IIS runs all of it for every known URL of its target.
	EffectiveTrue Effectiveness = "True"
	// EffectiveFalse means that IIS does not, at least for some of them.
	EffectiveFalse Effectiveness = "False"
	// EffectiveUnknown means that this cannot be told from the configuration.
	EffectiveUnknown Effectiveness = "Unknown"
)

// PoolServerSpec says which pool a server belongs to.
type PoolServerSpec struct {
	// poolName is the PoolMitigationConfig, in the same namespace, that the server belongs to.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	PoolName string `json:"poolName,omitempty"`

	// hostName is the server's fully qualified name in the network.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +optional
	HostName string `json:"hostName,omitempty"`
}

// ServerFacts are what the agent found out about its server.
//
// +kubebuilder:validation:MinProperties=1
type ServerFacts struct {
	// product that is installed on the server.
	// +optional
	Product Product `json:"product,omitempty"`

	// role of the server within the product.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Role string `json:"role,omitempty"`

	// build of the product: 15.2.2562.43.
	// +kubebuilder:validation:MinLength=7
	// +kubebuilder:validation:MaxLength=43
	// +optional
	Build string `json:"build,omitempty"`

	// rewriteModule tells whether IIS can run URL Rewrite rules.
	// +kubebuilder:validation:Enum=Present;Missing;Unknown
	// +optional
	RewriteModule string `json:"rewriteModule,omitempty"`

	// agentVersion is the version of the agent.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +optional
	AgentVersion string `json:"agentVersion,omitempty"`

	// operatingSystem that the agent runs on: windows/amd64.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +optional
	OperatingSystem string `json:"operatingSystem,omitempty"`
}

// GateVerdict is what a server says of a mitigation under observation.
//
// +kubebuilder:validation:Enum=Baking;Passed;Failed;Inconclusive;NotNeeded
type GateVerdict string

// What a server can say of a mitigation under observation.
const (
	// GateBaking means that nothing is wrong so far and the bake time has not passed.
	GateBaking GateVerdict = "Baking"
	// GatePassed means that the server stayed healthy for the bake time.
	GatePassed GateVerdict = "Passed"
	// GateFailed means that the mitigation could not be put in place, or that the server got worse and took it back.
	GateFailed GateVerdict = "Failed"
	// GateInconclusive means that the bake time has passed and there is not enough to judge by.
	GateInconclusive GateVerdict = "Inconclusive"
	// GateNotNeeded means that the server does not need the mitigation.
	GateNotNeeded GateVerdict = "NotNeeded"
)

// ServerGate is how a server fared with a rollout.
type ServerGate struct {
	// rollout is the id of the rollout, as the plan has it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +required
	Rollout string `json:"rollout,omitempty"`

	// verdict of the server.
	// +required
	Verdict GateVerdict `json:"verdict,omitempty"`

	// message says what is wrong. Absent when nothing is.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Message string `json:"message,omitempty"`
}

// ServerMitigation is where one mitigation stands on a server.
//
// +structType=atomic
type ServerMitigation struct {
	// id of the mitigation.
	// +required
	ID MitigationID `json:"id,omitempty"`

	// state of the mitigation on the server.
	// +required
	State MitigationState `json:"state,omitempty"`

	// reason is one word for why.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Reason string `json:"reason,omitempty"`

	// message says what is wrong and what to do. Absent when nothing is wrong.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Message string `json:"message,omitempty"`

	// effective tells whether IIS runs the rules that are in place; reason and message say why not. Absent when no rules are.
	// +optional
	Effective Effectiveness `json:"effective,omitempty"`

	// gate is how the server fares with the rollout that it is part of. Absent before the rollout has reached it.
	// +optional
	Gate ServerGate `json:"gate,omitzero"`

	// lookAlikes are rules of others that do the same as one of the mitigation, with the file that they stand in. They are
	// left alone.
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	// +listType=atomic
	// +optional
	LookAlikes []string `json:"lookAlikes,omitempty"`

	// revision that is in place, if any is.
	// +kubebuilder:validation:Minimum=1
	// +optional
	Revision int64 `json:"revision,omitempty"`

	// document is the beginning of the digest of the signed document that the revision in place came from.
	// +kubebuilder:validation:MinLength=12
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Document string `json:"document,omitempty"`

	// changedTime is when the agent last changed the server for this mitigation.
	// +optional
	ChangedTime *metav1.Time `json:"changedTime,omitempty"`
}

// ObservedFeed is how far a server has followed a feed.
type ObservedFeed struct {
	// name of the feed.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	Name string `json:"name,omitempty"`

	// sequence is the highest sequence that the server has accepted; it never accepts a lower one.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:XValidation:rule="self >= oldSelf",message="sequence never goes back"
	// +optional
	Sequence int64 `json:"sequence,omitempty"`
}

// ServerSummary puts a server in a few words for tables.
type ServerSummary struct {
	// applied lists the mitigations in place, without those that are ineffective.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Applied string `json:"applied,omitempty"`

	// failed lists the mitigations that failed.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Failed string `json:"failed,omitempty"`

	// ineffective lists the mitigations in place that IIS does not run.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Ineffective string `json:"ineffective,omitempty"`

	// blocked lists the mitigations that are blocked and not in place.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Blocked string `json:"blocked,omitempty"`
}

// ServerCredential is what the agent works with.
//
// +kubebuilder:validation:MinProperties=1
type ServerCredential struct {
	// expiryTime is when the token ends that the agent uses now. It renews it long before.
	// +optional
	ExpiryTime *metav1.Time `json:"expiryTime,omitempty"`
}

// LocalUse is something that a person did on the server itself.
type LocalUse struct {
	// by is the user of the server's system who did it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +required
	By string `json:"by,omitempty"`

	// time when it was done.
	// +required
	Time *metav1.Time `json:"time,omitempty"`

	// reason that was given.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Reason string `json:"reason,omitempty"`
}

// LocalBlock is a mitigation that a person blocked on the server itself.
type LocalBlock struct {
	// id of the mitigation. A parent id covers its children.
	// +required
	ID MitigationID `json:"id,omitempty"`

	// use says who blocked it, when, and why.
	// +required
	Use LocalUse `json:"use,omitzero"`

	// expiryTime is when the block stops counting.
	// +optional
	ExpiryTime *metav1.Time `json:"expiryTime,omitempty"`
}

// ServerLocal is what people did on the server itself, with the agent's commands.
//
// +kubebuilder:validation:MinProperties=1
type ServerLocal struct {
	// killSwitch is there while every mitigation is kept off the server.
	// +optional
	KillSwitch LocalUse `json:"killSwitch,omitzero"`

	// blocked lists mitigations that are kept off the server.
	// +kubebuilder:validation:MaxItems=64
	// +listType=map
	// +listMapKey=id
	// +optional
	Blocked []LocalBlock `json:"blocked,omitempty"`

	// repair is the last time that somebody asked for a repair.
	// +optional
	Repair LocalUse `json:"repair,omitzero"`

	// recent are the last things that people did there, the newest first: also those that another one undid while the cluster
	// could not hear of them.
	// +kubebuilder:validation:MaxItems=8
	// +listType=atomic
	// +optional
	Recent []LocalEvent `json:"recent,omitempty"`
}

// LocalEvent is one thing that somebody did on the server itself.
type LocalEvent struct {
	// did says in words what was done.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +required
	Did string `json:"did,omitempty"`

	// use says who did it, when, and why.
	// +required
	Use LocalUse `json:"use,omitzero"`
}

// PoolServerStatus is what the agent reports of its server.
//
// Only the agent writes any of it but the conditions, so what belongs together is one field for server-side apply: with each report the API
// server compares and stores who manages which field. Feeds are not, because the rule that a sequence never goes back compares each with
// what it was.
type PoolServerStatus struct {
	// conditions are Ready, TrustAnchorsCurrent, TrustChecksPassed and ClockInSync, and Reconciling or Stalled while they are True.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation of the spec that the status speaks of.
	// +kubebuilder:validation:Minimum=0
	// +optional
	ObservedGeneration *int64 `json:"observedGeneration,omitempty"`

	// observedPlanGeneration is the generation of the MitigationPlan that the status speaks of.
	// +kubebuilder:validation:Minimum=1
	// +optional
	ObservedPlanGeneration int64 `json:"observedPlanGeneration,omitempty"`

	// facts are what the agent found out about its server.
	// +structType=atomic
	// +optional
	Facts ServerFacts `json:"facts,omitzero"`

	// summary puts the server in a few words.
	// +structType=atomic
	// +optional
	Summary ServerSummary `json:"summary,omitzero"`

	// mitigations tells where each mitigation of the plan, and each one found in place, stands.
	// +kubebuilder:validation:MaxItems=2048
	// +listType=map
	// +listMapKey=id
	// +optional
	Mitigations []ServerMitigation `json:"mitigations,omitempty"`

	// credential is what the agent works with. Absent if it does not come from an enrolment.
	// +structType=atomic
	// +optional
	Credential ServerCredential `json:"credential,omitzero"`

	// clockSkewSeconds is by how much the server's clock is ahead of that of the API server, negative if it is behind. Absent while
	// they agree.
	// +kubebuilder:validation:Minimum=-315360000
	// +kubebuilder:validation:Maximum=315360000
	// +optional
	ClockSkewSeconds *int64 `json:"clockSkewSeconds,omitempty"`

	// local is what people did on the server itself. Absent while there is nothing.
	// +structType=atomic
	// +optional
	Local ServerLocal `json:"local,omitzero"`

	// feeds tells how far the server has followed each feed.
	// +kubebuilder:validation:MaxItems=64
	// +listType=map
	// +listMapKey=name
	// +optional
	Feeds []ObservedFeed `json:"feeds,omitempty"`
}

// PoolServer is one server of a pool. Its name is the server's short name; its agent reports the status.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=psrv,categories=ems
// +kubebuilder:printcolumn:name="Pool",type=string,JSONPath=`.spec.poolName`
// +kubebuilder:printcolumn:name="Applied",type=string,JSONPath=`.status.summary.applied`
// +kubebuilder:printcolumn:name="Blocked",type=string,JSONPath=`.status.summary.blocked`
// +kubebuilder:printcolumn:name="Failed",type=string,JSONPath=`.status.summary.failed`
// +kubebuilder:printcolumn:name="Ineffective",type=string,JSONPath=`.status.summary.ineffective`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Build",type=string,JSONPath=`.status.facts.build`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Product",type=string,priority=1,JSONPath=`.status.facts.product`
// +kubebuilder:printcolumn:name="Rewrite",type=string,priority=1,JSONPath=`.status.facts.rewriteModule`
// +kubebuilder:printcolumn:name="Agent",type=string,priority=1,JSONPath=`.status.facts.agentVersion`
// +kubebuilder:printcolumn:name="Plan",type=integer,priority=1,JSONPath=`.status.observedPlanGeneration`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type PoolServer struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec says which pool the server belongs to.
	// +required
	Spec PoolServerSpec `json:"spec,omitzero"`

	// status is what the agent reports of its server.
	// +optional
	Status PoolServerStatus `json:"status,omitzero"`
}

// GetConditions returns the conditions of the status.
func (s *PoolServer) GetConditions() []metav1.Condition { return s.Status.Conditions }

// PoolServerList is a list of PoolServer.
//
// +kubebuilder:object:root=true
type PoolServerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []PoolServer `json:"items"`
}
