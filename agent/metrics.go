package agent

import (
	"context"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"mitigation.dev/ems/agent/cluster"
	"mitigation.dev/ems/agent/lease"
	"mitigation.dev/ems/agent/metricsfile"
	"mitigation.dev/ems/internal/trust"
)

// measure hands what a pass did to the metrics.
func (l *loop) measure(r cluster.Report) {
	p := metricsfile.Pass{At: l.clock.Now(), PlanGeneration: r.PlanGeneration, Impeded: r.Problem != nil}
	if r.Switches != nil {
		_, p.KillSwitch = r.Switches.Kill()
	}
	if r.Trust != nil {
		for _, a := range r.Trust.Anchors {
			switch a.Kind {
			case trust.KindRoot, trust.KindTimestampRoot, trust.KindIssuer:
			default:
				continue // lists come and go
			}
			if p.TrustExpiry.IsZero() || a.NotAfter.Before(p.TrustExpiry) {
				p.TrustExpiry = a.NotAfter
			}
		}
	}
	for _, m := range r.Results {
		p.Mitigations = append(p.Mitigations, metricsfile.Mitigation{ID: m.ID, State: string(m.State), Effective: m.Effective, Revision: m.Revision})
	}
	for _, c := range r.Changes {
		p.Changes = append(p.Changes, metricsfile.Change(c.Kind))
	}
	l.metrics.Pass(p)
}

// answered are Leases that tell when the API server takes a renewal.
type answered struct {
	lease.Leases
	tell func()
}

// Patch renews a Lease.
func (a answered) Patch(ctx context.Context, name string, pt types.PatchType, data []byte, opts metav1.PatchOptions, subresources ...string) (*coordinationv1.Lease, error) {
	renewed, err := a.Leases.Patch(ctx, name, pt, data, opts, subresources...)
	if err == nil {
		a.tell()
	}
	return renewed, err
}

// metricsFile is the file that the options ask for; nil if they do not.
func (o *Options) metricsFile(expiry func() time.Time) *metricsfile.File {
	if o.MetricsFile == "" {
		return nil
	}
	return metricsfile.New(metricsfile.Options{Path: o.MetricsFile, Clock: clock.RealClock{}, Log: o.Log.WithName("metrics"), CredentialExpiry: expiry})
}
