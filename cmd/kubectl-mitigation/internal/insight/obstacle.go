package insight

import (
	"fmt"
	"time"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/steer"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/policy/fromapi"
)

// Obstacle is an entry or a switch of policy that keeps a mitigation from servers, or agrees to it for a time.
type Obstacle struct {
	// Object that says so, as KIND/NAME or KIND/NAMESPACE/NAME.
	Object string `json:"object"`
	// Field of the object: spec.blocked, spec.suspendedMitigations, spec.approved, spec.suspend or spec.mitigations.
	Field string `json:"field"`
	// ID that the entry speaks of; absent for what concerns every mitigation.
	ID string `json:"id,omitempty"`
	// Owner who answers for it.
	Owner string `json:"owner,omitempty"`
	// Reason that was given.
	Reason string `json:"reason,omitempty"`
	// Until is when it stops counting; absent if it does not end by itself.
	Until *time.Time `json:"until,omitempty"`
	// Expired says that it has stopped counting and can be removed.
	Expired bool `json:"expired"`
}

// Text is an obstacle in a line.
func (o *Obstacle) Text(now time.Time) string {
	text := o.Object + " " + o.Field
	if o.ID != "" {
		text += "[" + o.ID + "]"
	}
	switch {
	case o.Expired:
		text += ", expired " + Ago(*o.Until, now)
	case o.Until != nil:
		text += fmt.Sprintf(", until %s (%s)", o.Until.Format(time.RFC3339), In(*o.Until, now))
	default:
		text += ", without an end"
	}
	if o.Owner != "" {
		text += ", by " + o.Owner
	}
	if o.Reason != "" {
		text += ": " + o.Reason
	}
	return text
}

// ConfigurationObstacles are those of a configuration that concern a mitigation; without an id all of them.
func ConfigurationObstacles(c *emsv1.MitigationConfiguration, id string, now time.Time) []Obstacle {
	said := fromapi.Configuration(c)
	object := "MitigationConfiguration/" + c.Name
	out := switches(object, c.Annotations, said.Suspended, said.Disabled)
	out = append(out, exceptions(object, "spec.blocked", said.Blocked, id, now)...)
	out = append(out, exceptions(object, "spec.suspendedMitigations", said.SuspendedMitigations, id, now)...)
	return append(out, approvals(object, said.Approved, id, now)...)
}

// PoolObstacles are those of a pool.
func PoolObstacles(p *emsv1.PoolMitigationConfig, id string, now time.Time) []Obstacle {
	said := fromapi.Pool(p)
	object := "PoolMitigationConfig/" + said.Name
	out := switches(object, p.Annotations, said.Suspended, said.Disabled)
	out = append(out, exceptions(object, "spec.blocked", said.Blocked, id, now)...)
	return append(out, approvals(object, said.Approved, id, now)...)
}

func switches(object string, annotations map[string]string, suspended, disabled bool) []Obstacle {
	var out []Obstacle
	if suspended {
		out = append(out, Obstacle{Object: object, Field: "spec.suspend", Reason: annotations[steer.SuspendedBecause]})
	}
	if disabled {
		out = append(out, Obstacle{Object: object, Field: "spec.mitigations"})
	}
	return out
}

func exceptions(object, field string, list []policy.Exception, id string, now time.Time) []Obstacle {
	var out []Obstacle
	for _, e := range list {
		if id == "" || policy.Covers(e.ID, id) || policy.Covers(id, e.ID) {
			out = append(out, Obstacle{Object: object, Field: field, ID: e.ID, Owner: e.Owner, Reason: e.Reason, Until: end(e.Expiry), Expired: !e.Counts(now)})
		}
	}
	return out
}

func approvals(object string, list []policy.Approval, id string, now time.Time) []Obstacle {
	var out []Obstacle
	for _, a := range list {
		if id == "" || policy.Covers(a.ID, id) {
			out = append(out, Obstacle{Object: object, Field: "spec.approved", ID: a.ID, Owner: a.Owner, Reason: a.Reason, Until: end(a.Expiry), Expired: !a.Counts(now)})
		}
	}
	return out
}

func end(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC())
}
