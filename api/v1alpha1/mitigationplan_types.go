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

// UnreleasedAction says what becomes of servers that a mitigation is not released to.
//
// +kubebuilder:validation:Enum=Keep;Revert
type UnreleasedAction string

// What becomes of servers that a mitigation is not released to.
const (
	// UnreleasedKeep leaves them as they are. A server that has nothing, or a revision older than the fallback, gets the
	// fallback.
	UnreleasedKeep UnreleasedAction = "Keep"
	// UnreleasedRevert takes them to the fallback; without one the mitigation is removed from them.
	UnreleasedRevert UnreleasedAction = "Revert"
)

// PlanFallback is the good revision before the one that is being rolled out.
type PlanFallback struct {
	// rollout is the id of the rollout that proved it good.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +required
	Rollout string `json:"rollout,omitempty"`

	// revision of the mitigation.
	// +kubebuilder:validation:Minimum=1
	// +required
	Revision int64 `json:"revision,omitempty"`

	// bundleName is the MitigationBundle that holds its signed document. It is of the same feed.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +required
	BundleName string `json:"bundleName,omitempty"`

	// documentDigest is the digest that the verified document must have.
	// +kubebuilder:validation:MinLength=64
	// +kubebuilder:validation:MaxLength=64
	// +required
	DocumentDigest string `json:"documentDigest,omitempty"`
}

// PlanGate is what a server has to go through with a mitigation before it counts as good.
//
// +kubebuilder:validation:MinProperties=1
type PlanGate struct {
	// bakeSeconds is how long the server has to stay healthy. Defaults to 0: one look.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=604800
	// +optional
	BakeSeconds *int32 `json:"bakeSeconds,omitempty"`

	// minRequests is how many requests must have been logged meanwhile, where there is an access log. Defaults to 0.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	// +optional
	MinRequests *int32 `json:"minRequests,omitempty"`
}

// PlanRollout is how far the mitigation has come. Servers follow id, gate and unreleased; the rest is the manager's memory,
// which has to survive it.
type PlanRollout struct {
	// id of the rollout: revision, attempt, mode and the beginning of the content's digest. Servers name it in what they
	// report, and never go back to one that failed on them.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +required
	ID string `json:"id,omitempty"`

	// attempt counts from 1.
	// +kubebuilder:validation:Minimum=1
	// +required
	Attempt int32 `json:"attempt,omitempty"`

	// state of the rollout.
	// +required
	State RolloutState `json:"state,omitempty"`

	// reason is one word for why it is there. Servers that wait show it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +required
	Reason string `json:"reason,omitempty"`

	// message says why in words.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +optional
	Message string `json:"message,omitempty"`

	// profile that the stages come from. Absent if the pool says its own.
	// +optional
	Profile RolloutProfile `json:"profile,omitempty"`

	// stage is the name of the stage that is released. Absent while none is.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Stage string `json:"stage,omitempty"`

	// stageNumber counts the released stage from 1; 0 means that none is.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=21
	// +required
	StageNumber *int32 `json:"stageNumber,omitempty"`

	// stages is how many there are.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=21
	// +required
	Stages int32 `json:"stages,omitempty"`

	// startTime is when the attempt began.
	// +required
	StartTime *metav1.Time `json:"startTime,omitempty"`

	// stageTime is when the stage was released. Absent while none is.
	// +optional
	StageTime *metav1.Time `json:"stageTime,omitempty"`

	// completionTime is when every stage had passed.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`

	// unreleased says what becomes of servers that the mitigation is not released to. Defaults to Keep.
	// +optional
	Unreleased UnreleasedAction `json:"unreleased,omitempty"`

	// forgivenFailures is how many servers had failed when a person promoted the rollout. They do not count again.
	// +kubebuilder:validation:Minimum=1
	// +optional
	ForgivenFailures int32 `json:"forgivenFailures,omitempty"`

	// gate of the released servers.
	// +optional
	Gate PlanGate `json:"gate,omitzero"`

	// fallback is the good revision before. Absent if there is none.
	// +optional
	Fallback PlanFallback `json:"fallback,omitzero"`
}

// PlanTransition is what last happened to a mitigation in the pool.
type PlanTransition struct {
	// action is one word for what happened.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +required
	Action string `json:"action,omitempty"`

	// time when it happened.
	// +required
	Time *metav1.Time `json:"time,omitempty"`

	// by names who caused it.
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

	// untilTime is when the reason stops counting, as the expiry of a block does. From then on servers no longer act on it.
	// +optional
	UntilTime *metav1.Time `json:"untilTime,omitempty"`

	// release says which servers the mitigation is released to.
	// +required
	Release Release `json:"release,omitzero"`

	// rollout is how far the mitigation has come. Absent while there is nothing to roll out, and in plans of older managers.
	// +optional
	Rollout PlanRollout `json:"rollout,omitzero"`

	// transition is what last happened to the mitigation in the pool. The pool's history is made of it.
	// +optional
	Transition PlanTransition `json:"transition,omitzero"`
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

// PlanHealthChecks are the pool's health checks beside mustPass.
//
// +kubebuilder:validation:MinProperties=1
type PlanHealthChecks struct {
	// http are requests that the local server has to answer well.
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=name
	// +optional
	HTTP []HTTPCheck `json:"http,omitempty"`

	// tcpPorts are ports of the local server that have to accept connections.
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

// PlanReporting says how servers show that they are alive, and when they report.
//
// +kubebuilder:validation:MinProperties=1
type PlanReporting struct {
	// leaseSeconds is how often a server renews its Lease. One that has not for twice as long and 20 seconds
	// counts as silent. Defaults to 60.
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=600
	// +optional
	LeaseSeconds int32 `json:"leaseSeconds,omitempty"`

	// windowSeconds is within which time, each at a moment of its own, servers report that something went well. Failures are
	// reported at once. Defaults to 0.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=60
	// +optional
	WindowSeconds *int32 `json:"windowSeconds,omitempty"`
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

	// healthChecks are what servers look at before and after they put a mitigation in place.
	// +optional
	HealthChecks PlanHealthChecks `json:"healthChecks,omitzero"`

	// reporting says how servers show that they are alive, and when they report.
	// +optional
	Reporting PlanReporting `json:"reporting,omitzero"`

	// repairRequest is any text; another one makes agents look at everything anew and try again what they had given up.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	RepairRequest string `json:"repairRequest,omitempty"`

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
	//
	// One manager writes all of it. So it is one field for server-side apply: who manages which part of it would be two fifths of what
	// every agent of the pool is sent with each change.
	// +structType=atomic
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
