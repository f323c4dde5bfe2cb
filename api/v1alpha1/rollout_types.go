package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// RolloutProfile is a ready-made set of stages and waits.
//
// +kubebuilder:validation:Enum=Emergency;Fast;Standard;Manual
type RolloutProfile string

// The profiles. docs/spec/v1alpha1/poolmitigationconfig.md has their stages and waits.
const (
	// ProfileEmergency waits for seconds, ignores windows, and goes on when a gate has no data.
	ProfileEmergency RolloutProfile = "Emergency"
	// ProfileFast waits for minutes. It is what severity Critical chooses.
	ProfileFast RolloutProfile = "Fast"
	// ProfileStandard waits for hours. It is what any other severity chooses.
	ProfileStandard RolloutProfile = "Standard"
	// ProfileManual asks a person before each stage.
	ProfileManual RolloutProfile = "Manual"
)

// ApprovalPoint says when a person has to agree.
//
// +kubebuilder:validation:Enum=None;Before;After
type ApprovalPoint string

// When a person has to agree.
const (
	// ApprovalNone asks nobody. It is what absence means.
	ApprovalNone ApprovalPoint = "None"
	// ApprovalBefore asks before the stage or ring begins.
	ApprovalBefore ApprovalPoint = "Before"
	// ApprovalAfter asks when its servers have passed the gate.
	ApprovalAfter ApprovalPoint = "After"
)

// FailureAction says what becomes of a stage whose gate failed.
//
// +kubebuilder:validation:Enum=Revert;Hold
type FailureAction string

// What becomes of the servers of a stage whose gate failed.
const (
	// FailureRevert takes them back to the revision before. It is what absence means.
	FailureRevert FailureAction = "Revert"
	// FailureHold leaves those that did not fail as they are.
	FailureHold FailureAction = "Hold"
)

// RolloutProgress says whether a rollout moves.
//
// +kubebuilder:validation:Enum=Running;Paused
type RolloutProgress string

// Whether a rollout moves.
const (
	// ProgressRunning lets stages follow each other. It is what absence means.
	ProgressRunning RolloutProgress = "Running"
	// ProgressPaused begins no further stage.
	ProgressPaused RolloutProgress = "Paused"
)

// WindowPolicy says whether a window allows or denies changes.
//
// +kubebuilder:validation:Enum=Allow;Deny
type WindowPolicy string

// Whether a window allows or denies changes.
const (
	// WindowAllow begins stages only inside of such a window.
	WindowAllow WindowPolicy = "Allow"
	// WindowDeny begins no stage inside of such a window, whatever else allows it.
	WindowDeny WindowPolicy = "Deny"
)

// RolloutOrderAction is what a person wants of one rollout.
//
// +kubebuilder:validation:Enum=Pause;Promote;Retry;Abort
type RolloutOrderAction string

// What a person can want of one rollout.
const (
	// OrderPause begins no further stage while the order stands.
	OrderPause RolloutOrderAction = "Pause"
	// OrderPromote passes the stage that the order names, or with none all of them, whatever gate, approval, window and
	// failures say. It also goes on after a halt.
	OrderPromote RolloutOrderAction = "Promote"
	// OrderRetry begins the attempt that the order names, from the first stage, after a halt or an abort.
	OrderRetry RolloutOrderAction = "Retry"
	// OrderAbort takes every server back to the revision before, whether the rollout runs or is complete.
	OrderAbort RolloutOrderAction = "Abort"
)

// RolloutState is where the rollout of a mitigation stands in a pool.
//
// +kubebuilder:validation:Enum=Waiting;Progressing;Paused;Halted;Aborted;Complete
type RolloutState string

// Where a rollout can stand.
const (
	// RolloutWaiting means that no stage may begin yet: a ring before, an approval or a window is waited for.
	RolloutWaiting RolloutState = "Waiting"
	// RolloutProgressing means that the servers of a stage are at work or under observation.
	RolloutProgressing RolloutState = "Progressing"
	// RolloutPaused means that a person, or a gate without data, holds the rollout.
	RolloutPaused RolloutState = "Paused"
	// RolloutHalted means that too many servers failed. It stays so until a person acts or another revision comes.
	RolloutHalted RolloutState = "Halted"
	// RolloutAborted means that a person took the revision back.
	RolloutAborted RolloutState = "Aborted"
	// RolloutComplete means that every stage passed; servers that come later follow at once.
	RolloutComplete RolloutState = "Complete"
)

// RolloutStage is one step of a rollout within a pool.
//
// +kubebuilder:validation:XValidation:rule="has(self.servers) || has(self.serverNames) || has(self.serverSelector)",message="a stage says how many servers it takes, or which: servers, serverNames or serverSelector"
type RolloutStage struct {
	// name of the stage.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +required
	Name string `json:"name,omitempty"`

	// servers is how many servers have the mitigation when the stage is done, as a count or a percentage of the
	// pool, rounded up; at least one. Without it the stage takes those that serverNames and serverSelector name.
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:Pattern=`^(100|[1-9]?[0-9])%$`
	// +optional
	Servers *intstr.IntOrString `json:"servers,omitempty"`

	// serverNames are servers that the stage begins with.
	// +kubebuilder:validation:MaxItems=20
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +listType=set
	// +optional
	ServerNames []string `json:"serverNames,omitempty"`

	// serverSelector chooses servers that the stage begins with by the labels of their PoolServer. Of more than fit
	// beside serverNames into 20, the first by name count.
	// +optional
	ServerSelector *metav1.LabelSelector `json:"serverSelector,omitempty"`

	// bakeSeconds is how long each server of the stage has to stay healthy with the mitigation before the next stage begins.
	// Defaults to 0.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=604800
	// +optional
	BakeSeconds *int32 `json:"bakeSeconds,omitempty"`

	// minRequests is how many requests each server must have logged meanwhile, where its sites write an access log. A server
	// that sees fewer has no data to judge by. Defaults to 0.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	// +optional
	MinRequests *int32 `json:"minRequests,omitempty"`

	// approval says when a person has to agree, by spec.approved. Defaults to None.
	// +optional
	Approval ApprovalPoint `json:"approval,omitempty"`
}

// RolloutWindow is a recurring time in which changes are allowed or denied.
type RolloutWindow struct {
	// policy says whether the window allows or denies changes; Deny wins.
	// +required
	Policy WindowPolicy `json:"policy,omitempty"`

	// cron is when the window opens, in the five-field form.
	// +kubebuilder:validation:MinLength=9
	// +kubebuilder:validation:MaxLength=128
	// +required
	Cron string `json:"cron,omitempty"`

	// timeZone is the IANA name of the zone that cron is read in. Defaults to UTC.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +optional
	TimeZone string `json:"timeZone,omitempty"`

	// durationSeconds is how long the window stays open.
	// +kubebuilder:validation:Minimum=60
	// +kubebuilder:validation:Maximum=604800
	// +required
	DurationSeconds int32 `json:"durationSeconds,omitempty"`
}

// RolloutOrder is what a person wants of the rollout of one mitigation.
//
// +kubebuilder:validation:XValidation:rule="self.action == 'Retry' ? has(self.attempt) : (self.action == 'Promote' || !has(self.attempt))",message="attempt belongs to action Retry, which needs it: one more than the attempt that the pool's status shows; and to Promote"
// +kubebuilder:validation:XValidation:rule="self.action != 'Retry' || !has(self.attempt) || self.attempt > 1",message="Retry begins attempt 2 or a higher one"
// +kubebuilder:validation:XValidation:rule="!has(self.stage) || self.action == 'Promote'",message="stage belongs to action Promote"
type RolloutOrder struct {
	// id of the mitigation.
	// +required
	ID MitigationID `json:"id,omitempty"`

	// revision that the order is about. It counts for no other.
	// +kubebuilder:validation:Minimum=1
	// +required
	Revision int64 `json:"revision,omitempty"`

	// action is what shall happen.
	// +required
	Action RolloutOrderAction `json:"action,omitempty"`

	// stage is the last stage that Promote passes. Without it the mitigation is released to every server.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Stage string `json:"stage,omitempty"`

	// attempt is the number of the attempt that Retry begins. An attempt that has begun is not begun again, so the order may stay.
	// For Promote it is the attempt whose stages are passed; without it those of every attempt of the revision are, also of one
	// that begins after a block was taken back.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	// +optional
	Attempt int32 `json:"attempt,omitempty"`

	// reason says why, for those who come across the order later.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +required
	Reason string `json:"reason,omitempty"`

	// owner is the person or team to ask about the order.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Owner string `json:"owner,omitempty"`
}

// Approval is a person's agreement to the rollout of a mitigation.
type Approval struct {
	// id of the mitigation. A parent id covers its children.
	// +required
	ID MitigationID `json:"id,omitempty"`

	// revision that was looked at. Without it every revision is approved, also those to come.
	// +kubebuilder:validation:Minimum=1
	// +optional
	Revision int64 `json:"revision,omitempty"`

	// stages and rings, by name, that the approval is for. Without any it is for all of them.
	// +kubebuilder:validation:MaxItems=20
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	// +listType=set
	// +optional
	Stages []string `json:"stages,omitempty"`

	// reason says why, for those who come across the approval later.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +required
	Reason string `json:"reason,omitempty"`

	// owner is the person or team who approved.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Owner string `json:"owner,omitempty"`

	// expiryTime is when the approval stops counting. A stage that has begun stays begun.
	// +optional
	ExpiryTime *metav1.Time `json:"expiryTime,omitempty"`
}

// RolloutSpec says how a mitigation spreads over the servers of a pool.
//
// +kubebuilder:validation:MinProperties=1
type RolloutSpec struct {
	// profile is a ready-made set of stages. Without it the mitigation's severity chooses one: Fast for Critical, Standard
	// for any other.
	// +optional
	Profile RolloutProfile `json:"profile,omitempty"`

	// stages replace those of the profile. A last stage for the servers that are left is added if the stages do not say it.
	// +kubebuilder:validation:MaxItems=20
	// +listType=map
	// +listMapKey=name
	// +optional
	Stages []RolloutStage `json:"stages,omitempty"`

	// maxFailures is how many servers may fail before the rollout halts. Defaults to 0.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100000
	// +optional
	MaxFailures *int32 `json:"maxFailures,omitempty"`

	// progressDeadlineSeconds is how long a stage may take beyond its bake time before the rollout counts as stuck. Servers
	// that are silent or have no data are waited for until then; after it the rollout pauses, with profile Emergency it goes
	// on. Defaults to 600, with profile Emergency to 60.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=604800
	// +optional
	ProgressDeadlineSeconds int32 `json:"progressDeadlineSeconds,omitempty"`

	// onFailure says what becomes of the servers of a failed stage. Defaults to Revert.
	// +optional
	OnFailure FailureAction `json:"onFailure,omitempty"`

	// progress says whether rollouts move. Defaults to Running. What is released stays released.
	// +optional
	Progress RolloutProgress `json:"progress,omitempty"`

	// pausedUntilTime pauses rollouts until then.
	// +optional
	PausedUntilTime *metav1.Time `json:"pausedUntilTime,omitempty"`

	// windows say when stages may begin. Without an Allow window every time is allowed. Removals do not wait, and profile
	// Emergency ignores windows.
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	// +optional
	Windows []RolloutWindow `json:"windows,omitempty"`

	// orders are what people want of single rollouts.
	// +kubebuilder:validation:MaxItems=256
	// +listType=map
	// +listMapKey=id
	// +optional
	Orders []RolloutOrder `json:"orders,omitempty"`
}
