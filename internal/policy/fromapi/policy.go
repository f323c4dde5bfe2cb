package fromapi

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/build"
	"mitigation.dev/ems/internal/policy"
)

// Configurations converts configurations in the order given.
func Configurations(list []emsv1.MitigationConfiguration) []policy.Configuration {
	out := make([]policy.Configuration, 0, len(list))
	for i := range list {
		out = append(out, Configuration(&list[i]))
	}
	return out
}

// Configuration converts a configuration as far as policy asks.
func Configuration(c *emsv1.MitigationConfiguration) policy.Configuration {
	return policy.Configuration{
		Name:                 c.Name,
		Disabled:             c.Spec.Mitigations == emsv1.Disabled,
		Suspended:            c.Spec.Suspend == emsv1.SuspendRevert,
		Blocked:              Exceptions(c.Spec.Blocked),
		SuspendedMitigations: Exceptions(c.Spec.SuspendedMitigations),
		Approved:             Approvals(c.Spec.Approved),
	}
}

// Pool converts the policy of a pool.
func Pool(pool *emsv1.PoolMitigationConfig) policy.Pool {
	return policy.Pool{
		Name:               pool.Namespace + "/" + pool.Name,
		Disabled:           pool.Spec.Mitigations == emsv1.Disabled,
		Suspended:          pool.Spec.Suspend == emsv1.SuspendRevert,
		RemoveWhenDisabled: pool.Spec.WhenDisabled == emsv1.RemoveWhenDisabled,
		Blocked:            Exceptions(pool.Spec.Blocked),
		Approved:           Approvals(pool.Spec.Approved),
	}
}

// Exceptions converts a list of blocked or suspended mitigations.
func Exceptions(list []emsv1.Exception) []policy.Exception {
	out := make([]policy.Exception, 0, len(list))
	for _, e := range list {
		out = append(out, policy.Exception{ID: string(e.ID), Reason: e.Reason, Owner: e.Owner, Expiry: moment(e.ExpiryTime)})
	}
	return out
}

// Approvals converts a list of approvals.
func Approvals(list []emsv1.Approval) []policy.Approval {
	out := make([]policy.Approval, 0, len(list))
	for _, a := range list {
		out = append(out, policy.Approval{
			ID: string(a.ID), Revision: a.Revision, Stages: a.Stages, Reason: a.Reason, Owner: a.Owner, Expiry: moment(a.ExpiryTime),
		})
	}
	return out
}

// PolicyMitigation converts a mitigation as far as policy asks.
func PolicyMitigation(m *emsv1.Mitigation) policy.Mitigation {
	out := policy.Mitigation{
		ID: string(m.Spec.ID), Lifecycle: policy.Lifecycle(m.Spec.Lifecycle), SupersededBy: string(m.Spec.SupersededBy),
	}
	for _, action := range m.Spec.Actions {
		out.ActionIDs = append(out.ActionIDs, string(action.ID))
	}
	return out
}

// Products converts the products and builds that a mitigation is made for.
func Products(list []emsv1.AffectedProduct) ([]policy.Product, error) {
	out := make([]policy.Product, 0, len(list))
	for i, affected := range list {
		product := policy.Product{Name: string(affected.Name), Role: affected.Role}
		for j, b := range affected.Branches {
			branch, err := branch(b)
			if err != nil {
				return nil, fmt.Errorf("spec.applicability[%d].branches[%d]: %w", i, j, err)
			}
			product.Branches = append(product.Branches, branch)
		}
		out = append(out, product)
	}
	return out, nil
}

func branch(b emsv1.AffectedBranch) (policy.Branch, error) {
	from, err := number(b.From)
	if err != nil {
		return policy.Branch{}, err
	}
	fixed, err := number(b.FixedIn)
	return policy.Branch{From: from, FixedIn: fixed}, err
}

// FixedBuilds converts what the operator says about builds.
func FixedBuilds(list []emsv1.FixedBuild) ([]policy.FixedBuild, error) {
	out := make([]policy.FixedBuild, 0, len(list))
	for i, f := range list {
		n, err := number(f.Build)
		if err != nil {
			return nil, fmt.Errorf("fixedBuilds[%d].build: %w", i, err)
		}
		out = append(out, policy.FixedBuild{ID: string(f.ID), Build: n})
	}
	return out, nil
}

// number reads a build; absent is zero, which is unknown.
func number(text string) (build.Number, error) {
	if text == "" {
		return build.Number{}, nil
	}
	return build.Parse(text)
}

// moment is the time of a field, zero when it is absent.
func moment(t *metav1.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}

// timestamp is the field of a time, absent when it is zero. The API keeps whole seconds.
func timestamp(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	return new(metav1.NewTime(t.Truncate(time.Second)))
}
