package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// RolloutProfile is a ready-made set of stages and waits.
//
// +kubebuilder:validation:Enum=Emergency;Fast;Standard;Manual
type RolloutProfile string

// ApprovalPoint says when a person has to agree.
//
// +kubebuilder:validation:Enum=None;Before;After
type ApprovalPoint string

// FailureAction says what becomes of a stage whose gate failed.
//
// +kubebuilder:validation:Enum=Revert;Hold
type FailureAction string

// RolloutProgress says whether a rollout moves.
//
// +kubebuilder:validation:Enum=Running;Paused
type RolloutProgress string

// WindowPolicy says whether a window allows or denies changes.
//
// +kubebuilder:validation:Enum=Allow;Deny
type WindowPolicy string

// RolloutStage is one step of a rollout within a pool.
type RolloutStage struct {
	// name of the stage.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +required
	Name string `json:"name,omitempty"`

	// servers is how many servers have the mitigation when the stage is done, as a count or a percentage of the
	// pool.
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

	// bakeSeconds is how long the stage's servers have to stay healthy before the next stage begins.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=604800
	// +optional
	BakeSeconds *int32 `json:"bakeSeconds,omitempty"`

	// approval says when a person has to agree. Defaults to None.
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

// RolloutSpec says how a mitigation spreads over the servers of a pool.
// In this version every mitigation goes to all servers at once whatever stands here; the fields are accepted
// without effect.
//
// +kubebuilder:validation:MinProperties=1
type RolloutSpec struct {
	// profile is a ready-made set of stages. Without it the mitigation's severity chooses one.
	// Accepted without effect in this version.
	// +optional
	Profile RolloutProfile `json:"profile,omitempty"`

	// stages replace those of the profile. Accepted without effect in this version.
	// +kubebuilder:validation:MaxItems=20
	// +listType=map
	// +listMapKey=name
	// +optional
	Stages []RolloutStage `json:"stages,omitempty"`

	// maxFailures is how many servers of a stage may fail before the rollout halts. Defaults to 0.
	// Accepted without effect in this version.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100000
	// +optional
	MaxFailures *int32 `json:"maxFailures,omitempty"`

	// progressDeadlineSeconds is how long a stage may take before the rollout counts as stuck.
	// Accepted without effect in this version.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=604800
	// +optional
	ProgressDeadlineSeconds int32 `json:"progressDeadlineSeconds,omitempty"`

	// onFailure says what becomes of the servers of a failed stage. Defaults to Revert.
	// Accepted without effect in this version.
	// +optional
	OnFailure FailureAction `json:"onFailure,omitempty"`

	// progress says whether the rollout moves. Defaults to Running. Accepted without effect in this version.
	// +optional
	Progress RolloutProgress `json:"progress,omitempty"`

	// pausedUntilTime pauses the rollout until then. Accepted without effect in this version.
	// +optional
	PausedUntilTime *metav1.Time `json:"pausedUntilTime,omitempty"`

	// windows say when changes may be made. Accepted without effect in this version.
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	// +optional
	Windows []RolloutWindow `json:"windows,omitempty"`
}
