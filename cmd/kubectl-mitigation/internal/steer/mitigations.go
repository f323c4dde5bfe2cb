package steer

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/fleet"
	"mitigation.dev/ems/internal/policy/fromapi"
)

// mitigation finds the mitigation that an id names, or names a part of; nil if the cluster knows none.
func mitigation(ctx context.Context, reader fleet.Reader, id string) (*emsv1.Mitigation, error) {
	for name := strings.ToLower(id); ; {
		var m emsv1.Mitigation
		err := reader.Get(ctx, "mitigations", types.NamespacedName{Name: name}, &m)
		switch {
		case err == nil:
			return &m, nil
		case !apierrors.IsNotFound(err):
			return nil, fmt.Errorf("get mitigations %s: %w", name, err)
		}
		dot := strings.LastIndexByte(name, '.')
		if dot < 0 {
			return nil, nil
		}
		name = name[:dot]
	}
}

// explainID says what an id covers, since an entry for M1 speaks of M1.1 too, and one for M1.1 not of the rest of M1. It is said
// beside the result, so what keeps it from being found out is no error.
func (s *Session) explainID(ctx context.Context, id string) {
	reader, err := fleet.NewReader(s.Config)
	if err != nil {
		return
	}
	m, err := mitigation(ctx, reader, id)
	switch {
	case err != nil:
	case m == nil:
		s.flags.Note("the cluster knows no mitigation %s: the entry counts once one of that id comes", id)
	default:
		if text := covers(m, id); text != "" {
			s.flags.Note("%s", text)
		}
	}
}

func covers(m *emsv1.Mitigation, id string) string {
	var in, out []string
	for _, action := range m.Spec.Actions {
		own := string(action.ID)
		if strings.EqualFold(own, id) || strings.HasPrefix(strings.ToLower(own), strings.ToLower(id)+".") {
			in = append(in, own)
		} else {
			out = append(out, own)
		}
	}
	switch {
	case strings.EqualFold(id, string(m.Spec.ID)) && len(in) > 1:
		return fmt.Sprintf("%s covers its parts %s", m.Spec.ID, strings.Join(in, ", "))
	case strings.EqualFold(id, string(m.Spec.ID)):
		return ""
	case len(in) == 0:
		return fmt.Sprintf("mitigation %s has no part %s, only %s", m.Spec.ID, id, strings.Join(out, ", "))
	case len(out) == 0:
		return fmt.Sprintf("%s is all that mitigation %s does", id, m.Spec.ID)
	default:
		return fmt.Sprintf("%s is a part of mitigation %s: the rest, %s, stays as it is", id, m.Spec.ID, strings.Join(out, ", "))
	}
}

// planned is the revision of a mitigation that the plan of a pool has, or for a configuration that the cluster knows as the newest.
func (s *Session) planned(ctx context.Context, target Target, id string) (int64, error) {
	reader, err := fleet.NewReader(s.Config)
	if err != nil {
		return 0, err
	}
	if target.Namespace == "" {
		m, err := mitigation(ctx, reader, id)
		if err != nil {
			return 0, err
		}
		if m == nil {
			return 0, fmt.Errorf("%s: the cluster knows no mitigation of that id: give --revision", id)
		}
		return m.Spec.Revision, nil
	}
	var plan emsv1.MitigationPlan
	if err := reader.Get(ctx, "mitigationplans", types.NamespacedName(target), &plan); err != nil {
		return 0, fmt.Errorf("%s: its plan: %w", target.Words(), err)
	}
	// An approval for M1.1 is one for M1, of which it is a part; a parent covers its children.
	i := slices.IndexFunc(plan.Spec.Mitigations, func(m emsv1.PlannedMitigation) bool { return strings.EqualFold(string(m.ID), id) })
	if i < 0 {
		return 0, fmt.Errorf("%s: its plan has no mitigation %s", target.Words(), id)
	}
	return plan.Spec.Mitigations[i].Revision, nil
}

// explainStages tells of approved stages that the rollout does not have: nobody would ask for them, and somebody would wait. It says
// so beside the result, so what keeps it from being found out is no error.
func (s *Session) explainStages(ctx context.Context, target Target, approval emsv1.Approval) {
	if target.Namespace == "" {
		return // Pools have stages of their own.
	}
	reader, err := fleet.NewReader(s.Config)
	if err != nil {
		return
	}
	var pool emsv1.PoolMitigationConfig
	if err := reader.Get(ctx, "poolmitigationconfigs", types.NamespacedName(target), &pool); err != nil {
		return
	}
	var organisation []emsv1.MitigationConfiguration
	var global emsv1.MitigationConfiguration
	switch err := reader.Get(ctx, "mitigationconfigurations", types.NamespacedName{Name: emsv1.GlobalConfigurationName}, &global); {
	case err == nil:
		organisation = append(organisation, global)
	case !apierrors.IsNotFound(err):
		return // Who may not read it does not know the stages either.
	}
	m, err := mitigation(ctx, reader, string(approval.ID))
	if err != nil || m == nil {
		return
	}
	settings, err := fromapi.PoolSettings(&pool, organisation)
	if err != nil {
		return
	}
	_, _, stages := settings.For(string(m.Spec.Severity))
	var there, unknown []string
	for _, stage := range stages {
		there = append(there, stage.Name)
	}
	for _, name := range approval.Stages {
		if !slices.Contains(there, name) {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		s.flags.Note("%s has no stage %s for %s, but %s; a ring is approved with --organization",
			target.Words(), strings.Join(unknown, ", "), approval.ID, strings.Join(there, ", "))
	}
}

func bindRepair(w cli.World, flags *pflag.FlagSet) func(context.Context, []string) error {
	f := BindFlags(flags, w, Has{})
	return func(ctx context.Context, operands []string) error {
		if err := f.Check(); err != nil {
			return err
		}
		for _, text := range operands {
			if _, err := f.Connection.ParseKey(text, "", "POOL or SERVER"); err != nil {
				return cli.UsageError{Err: err}
			}
		}
		session, err := f.Open()
		if err != nil {
			return err
		}
		reader, err := fleet.NewReader(session.Config)
		if err != nil {
			return err
		}
		var targets []Target
		for _, text := range operands {
			key, err := f.Connection.ParseKey(text, session.Namespace, "POOL or SERVER")
			if err != nil {
				return cli.UsageError{Err: err}
			}
			target, err := f.poolOf(ctx, reader, key)
			if err != nil {
				return err
			}
			if !slices.Contains(targets, target) {
				targets = append(targets, target)
			}
		}
		// Any other value counts once; this one says when it was asked, and by whom.
		value := w.Now().UTC().Format(time.RFC3339Nano)
		if owner := session.Owner(ctx); owner != "" {
			value = cutOwner(value + " by " + owner)
		}
		return session.Each(ctx, targets, "repair requested", func(_ Target, d *Document) error {
			d.Annotate(emsv1.RepairRequestAnnotation, value)
			return nil
		})
	}
}

// poolOf finds the pool of that name, or that of the server. The request goes by the plan, which all servers of a pool share.
func (f *Flags) poolOf(ctx context.Context, reader fleet.Reader, key types.NamespacedName) (Target, error) {
	var pool emsv1.PoolMitigationConfig
	err := reader.Get(ctx, "poolmitigationconfigs", key, &pool)
	if err == nil {
		return Target(key), nil
	}
	var server emsv1.PoolServer
	if !apierrors.IsNotFound(err) {
		return Target{}, fmt.Errorf("pool %s: %w", key, err)
	}
	if err := reader.Get(ctx, "poolservers", key, &server); err != nil {
		return Target{}, fmt.Errorf("%s: neither a pool nor a server: %w", key, err)
	}
	f.Note("server %s gets its requests by the plan of its pool: every server of %s looks anew", key.Name, server.Spec.PoolName)
	return Target{key.Namespace, server.Spec.PoolName}, nil
}

// convert decodes what came from JSON into a type of the API.
func convert(from, into any) error {
	content, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(content, into)
}
