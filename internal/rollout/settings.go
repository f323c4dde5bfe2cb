package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"mitigation.dev/ems/internal/schedule"
)

// Profile is a ready-made set of stages and waits.
type Profile string

// The profiles.
const (
	Emergency Profile = "Emergency"
	Fast      Profile = "Fast"
	Standard  Profile = "Standard"
	Manual    Profile = "Manual"
)

// ApprovalPoint says when a person has to agree. The zero value means never.
type ApprovalPoint string

// When a person has to agree.
const (
	ApprovalNone   ApprovalPoint = "None"
	ApprovalBefore ApprovalPoint = "Before"
	ApprovalAfter  ApprovalPoint = "After"
)

// FailureAction says what becomes of the servers of a failed stage. The zero value means FailureRevert.
type FailureAction string

// What becomes of the servers of a failed stage.
const (
	FailureRevert FailureAction = "Revert"
	FailureHold   FailureAction = "Hold"
)

// OrderAction is what a person wants of one rollout.
type OrderAction string

// What a person can want of one rollout.
const (
	OrderPause   OrderAction = "Pause"
	OrderPromote OrderAction = "Promote"
	OrderRetry   OrderAction = "Retry"
	OrderAbort   OrderAction = "Abort"
)

// Order is what a person wants of the rollout of one mitigation.
type Order struct {
	ID       string
	Revision int64
	Action   OrderAction
	// Stage is the last stage that Promote passes; empty for all.
	Stage string
	// Attempt is the number of the attempt that Retry begins.
	Attempt int
	Reason  string
	Owner   string
}

// Amount is how many servers have the mitigation when a stage is done.
type Amount struct {
	// Said tells an amount from none.
	Said bool
	// Percent makes Value a percentage of the pool, rounded up. Any amount is at least one server.
	Percent bool
	Value   int
}

// Count is an amount of n servers.
func Count(n int) Amount { return Amount{Said: true, Value: n} }

// Percent is an amount of n per cent of the pool.
func Percent(n int) Amount { return Amount{Said: true, Percent: true, Value: n} }

// Stage is one step of a rollout within a pool.
type Stage struct {
	Name    string
	Servers Amount
	// ServerNames are servers that the stage begins with.
	ServerNames []string
	// Selects chooses servers that the stage begins with by their labels; nil for none.
	Selects     func(labels map[string]string) bool
	Bake        time.Duration
	MinRequests int
	Approval    ApprovalPoint
}

// Settings say how mitigations spread over the servers of a pool. The zero value asks for what severity chooses.
type Settings struct {
	Profile Profile
	// Stages replace those of the profile.
	Stages []Stage
	// MaxFailures is how many servers may fail before a rollout halts; nil if not said, which means 0.
	MaxFailures *int
	// ProgressDeadline is how long a stage may take beyond its bake time; 0 if not said.
	ProgressDeadline time.Duration
	OnFailure        FailureAction
	Paused           bool
	PausedUntil      time.Time
	// Windows has one set for each level; all of them bind.
	Windows []schedule.Set
	Orders  []Order
}

// of returns the amount for a pool of n servers: at least one, and at most all.
func (a Amount) of(n int) int {
	wanted := a.Value
	if a.Percent {
		wanted = (n*min(a.Value, 100) + 99) / 100
	}
	return min(max(wanted, 1), n)
}

// Merge returns what counts for a pool: what it says itself, and of what it does not say the organisation's. Stages belong to
// the profile that they replace: a pool that names a profile does not get the organisation's stages. Pauses and windows of
// both bind. An order counts where the pool has none for the same mitigation.
func Merge(pool, global Settings) Settings {
	merged := pool
	if len(merged.Stages) == 0 && merged.Profile == "" {
		merged.Stages = global.Stages
	}
	merged.Profile = cmp.Or(pool.Profile, global.Profile)
	if merged.MaxFailures == nil {
		merged.MaxFailures = global.MaxFailures
	}
	merged.ProgressDeadline = cmp.Or(pool.ProgressDeadline, global.ProgressDeadline)
	merged.OnFailure = cmp.Or(pool.OnFailure, global.OnFailure)
	merged.Paused = pool.Paused || global.Paused
	if global.PausedUntil.After(pool.PausedUntil) {
		merged.PausedUntil = global.PausedUntil
	}
	merged.Windows = slices.Concat(pool.Windows, global.Windows)
	merged.Orders = slices.Clone(pool.Orders)
	for _, order := range global.Orders {
		if _, ok := orderFor(pool.Orders, order.ID); !ok {
			merged.Orders = append(merged.Orders, order)
		}
	}
	return merged
}

func orderFor(orders []Order, id string) (Order, bool) {
	for _, order := range orders {
		if strings.EqualFold(order.ID, id) {
			return order, true
		}
	}
	return Order{}, false
}

// ProfileFor returns the profile that counts for a mitigation: the one that is said, else severity chooses.
func (s Settings) ProfileFor(severity string) Profile {
	switch {
	case s.Profile != "":
		return s.Profile
	case strings.EqualFold(severity, "Critical"):
		return Fast
	default:
		return Standard
	}
}

// For returns what a mitigation of that severity is rolled out through: the profile, which says how to wait, and the stages.
// Own tells that the stages replace the profile's. The last stage always is the one for all servers.
func (s Settings) For(severity string) (profile Profile, own bool, stages []Stage) {
	profile = s.ProfileFor(severity)
	if len(s.Stages) == 0 {
		return profile, false, profile.stages()
	}
	stages = slices.Clone(s.Stages)
	last := stages[len(stages)-1]
	if all := last.Servers; !all.Said || !all.Percent || all.Value < 100 {
		stages = append(stages, Stage{Name: restName(stages), Servers: Percent(100), Bake: last.Bake, MinRequests: last.MinRequests})
	}
	return profile, true, stages
}

// restName returns a name for the last stage that no other has.
func restName(stages []Stage) string {
	name := "rest"
	for n := 2; slices.ContainsFunc(stages, func(s Stage) bool { return s.Name == name }); n++ {
		name = fmt.Sprintf("rest-%d", n)
	}
	return name
}

func (p Profile) stages() []Stage {
	stage := func(name string, servers Amount, bake time.Duration) Stage {
		return Stage{Name: name, Servers: servers, Bake: bake}
	}
	switch p {
	case Emergency:
		return []Stage{
			stage("first", Count(1), 15*time.Second), stage("tenth", Percent(10), 30*time.Second), stage("all", Percent(100), 30*time.Second),
		}
	case Fast:
		return []Stage{
			stage("first", Percent(1), time.Minute), stage("tenth", Percent(10), 2*time.Minute), stage("half", Percent(50), 5*time.Minute),
			stage("all", Percent(100), time.Minute),
		}
	case Manual:
		stages := []Stage{
			stage("first", Count(1), 5*time.Minute), stage("tenth", Percent(10), 5*time.Minute), stage("half", Percent(50), 5*time.Minute),
			stage("all", Percent(100), 5*time.Minute),
		}
		for i := range stages {
			stages[i].Approval = ApprovalBefore
		}
		return stages
	default: // Standard, and what a newer API may call a profile: the slowest that asks nobody.
		return []Stage{
			stage("first", Count(1), time.Hour), stage("tenth", Percent(10), 2*time.Hour), stage("half", Percent(50), 4*time.Hour),
			stage("all", Percent(100), 10*time.Minute),
		}
	}
}

func (s Settings) maxFailures() int {
	if s.MaxFailures == nil {
		return 0
	}
	return max(*s.MaxFailures, 0)
}

// Deadline is how long servers may be silent beyond the bake time.
func (s Settings) Deadline(profile Profile) time.Duration {
	switch {
	case s.ProgressDeadline > 0:
		return s.ProgressDeadline
	case profile == Emergency:
		return time.Minute
	default:
		return 10 * time.Minute
	}
}
