package policytest

import (
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/schedule"
)

// Namespace and PoolName are where the table's pool lives.
const (
	Namespace = "exchange"
	PoolName  = "frontend"
)

// Objects are the API objects that say what a case says.
type Objects struct {
	Pool *emsv1.PoolMitigationConfig
	// Configurations are sorted by name. They have no selectors: all of them are taken to be in scope.
	Configurations []emsv1.MitigationConfiguration
	// Mitigation has what decisions depend on, and no document.
	Mitigation *emsv1.Mitigation
}

// Objects returns the case as API objects.
func (c Case) Objects() Objects {
	pool := &emsv1.PoolMitigationConfig{ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: PoolName}}
	pool.Spec.Mitigations = onOff(c.Pool.Disabled)
	pool.Spec.Blocked, pool.Spec.Approved = exceptions(c.Pool.Blocked), approvals(c.Pool.Approved)
	pool.Spec.Rollout.Windows = windows(c.PoolWindows)
	if c.Pool.Suspended {
		pool.Spec.Suspend = emsv1.SuspendRevert
	}
	if c.Pool.RemoveWhenDisabled {
		pool.Spec.WhenDisabled = emsv1.RemoveWhenDisabled
	}
	if c.Audit {
		pool.Spec.Mode = emsv1.ModeAudit
	}

	objects := Objects{Pool: pool}
	for _, from := range c.Configurations {
		configuration := emsv1.MitigationConfiguration{ObjectMeta: metav1.ObjectMeta{Name: from.Name}}
		spec := &configuration.Spec
		spec.Mitigations = onOff(from.Disabled)
		if from.Suspended {
			spec.Suspend = emsv1.SuspendRevert
		}
		spec.Blocked, spec.SuspendedMitigations = exceptions(from.Blocked), exceptions(from.SuspendedMitigations)
		spec.Approved = approvals(from.Approved)
		if from.Name == emsv1.GlobalConfigurationName {
			spec.Rollout.Windows = windows(c.GlobalWindows)
			for _, f := range c.FixedBuilds {
				spec.FixedBuilds = append(spec.FixedBuilds, emsv1.FixedBuild{ID: emsv1.MitigationID(f.ID), Build: f.Build.String()})
			}
		}
		objects.Configurations = append(objects.Configurations, configuration)
	}

	mitigation := &emsv1.Mitigation{ObjectMeta: metav1.ObjectMeta{Name: strings.ToLower(c.Mitigation.ID)}}
	mitigation.Spec.ID, mitigation.Spec.Revision = emsv1.MitigationID(c.Mitigation.ID), c.Revision
	mitigation.Spec.Lifecycle = emsv1.Lifecycle(c.Mitigation.Lifecycle)
	mitigation.Spec.SupersededBy = emsv1.MitigationID(c.Mitigation.SupersededBy)
	for _, id := range c.Mitigation.ActionIDs {
		mitigation.Spec.Actions = append(mitigation.Spec.Actions, emsv1.MitigationAction{ID: emsv1.MitigationID(id)})
	}
	objects.Mitigation = mitigation
	return objects
}

func onOff(disabled bool) emsv1.Switch {
	if disabled {
		return emsv1.Disabled
	}
	return emsv1.Enabled
}

func expiry(at time.Time) *metav1.Time {
	if at.IsZero() {
		return nil
	}
	return new(metav1.NewTime(at))
}

func exceptions(list []policy.Exception) []emsv1.Exception {
	var out []emsv1.Exception
	for _, e := range list {
		out = append(out, emsv1.Exception{ID: emsv1.MitigationID(e.ID), Reason: e.Reason, Owner: e.Owner, ExpiryTime: expiry(e.Expiry)})
	}
	return out
}

func approvals(list []policy.Approval) []emsv1.Approval {
	var out []emsv1.Approval
	for _, a := range list {
		out = append(out, emsv1.Approval{
			ID: emsv1.MitigationID(a.ID), Revision: a.Revision, Stages: a.Stages, Reason: a.Reason, Owner: a.Owner, ExpiryTime: expiry(a.Expiry),
		})
	}
	return out
}

func windows(set schedule.Set) []emsv1.RolloutWindow {
	var out []emsv1.RolloutWindow
	for _, w := range set {
		out = append(out, emsv1.RolloutWindow{
			Policy: emsv1.WindowPolicy(w.Policy), Cron: w.Cron, TimeZone: w.TimeZone,
			DurationSeconds: int32(w.Duration / time.Second), //nolint:gosec // at most a week
		})
	}
	return out
}
