package inventory

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// PoolMitigation is where a mitigation stands in a pool.
type PoolMitigation struct {
	Namespace string `json:"namespace"`
	Pool      string `json:"pool"`
	ID        string `json:"id"`
	// Type is what the mitigation changes: UrlRewrite, AppPool, Service, DoNothing; several with commas between them.
	Type   string `json:"type"`
	Status string `json:"status"`
	// Enforced is on how many servers the mitigation is in force, of Servers that need it.
	Enforced    int32      `json:"enforced"`
	Servers     int32      `json:"servers"`
	Failed      int32      `json:"failed"`
	Mode        string     `json:"mode"`
	Description string     `json:"description"`
	Severity    string     `json:"severity,omitempty"`
	CVEs        []string   `json:"cves,omitempty"`
	Revision    int64      `json:"revision,omitempty"`
	Stage       string     `json:"stage,omitempty"`
	BlockedBy   string     `json:"blockedBy,omitempty"`
	ExpiryTime  *time.Time `json:"expiryTime,omitempty"`
	Reason      string     `json:"reason"`
	Message     string     `json:"message,omitempty"`
}

// ServerMitigation is where a mitigation stands on a server.
type ServerMitigation struct {
	Namespace   string     `json:"namespace"`
	Pool        string     `json:"pool"`
	Server      string     `json:"server"`
	ID          string     `json:"id"`
	Type        string     `json:"type"`
	Status      string     `json:"status"`
	Description string     `json:"description"`
	Severity    string     `json:"severity,omitempty"`
	CVEs        []string   `json:"cves,omitempty"`
	Revision    int64      `json:"revision,omitempty"`
	Reason      string     `json:"reason,omitempty"`
	Message     string     `json:"message,omitempty"`
	ChangedTime *time.Time `json:"changedTime,omitempty"`
	// Ready is the reason of the server's condition Ready: whether what it says is of now.
	Ready string `json:"ready"`
}

// PoolRow is a pool in a few words.
type PoolRow struct {
	Namespace string `json:"namespace"`
	Pool      string `json:"pool"`
	FQDN      string `json:"fqdn,omitempty"`
	Mode      string `json:"mode"`
	InSync    string `json:"inSync"`
	Applied   string `json:"applied"`
	Blocked   string `json:"blocked"`
	Failed    string `json:"failed"`
	Rollout   string `json:"rollout"`
	Servers   int32  `json:"servers"`
	Silent    int32  `json:"silent"`
	Ready     string `json:"ready"`
	Reason    string `json:"reason"`
	Message   string `json:"message,omitempty"`
}

// ServerRow is a server in a few words.
type ServerRow struct {
	Namespace   string `json:"namespace"`
	Pool        string `json:"pool"`
	Server      string `json:"server"`
	Applied     string `json:"applied"`
	Blocked     string `json:"blocked"`
	Failed      string `json:"failed"`
	Ineffective string `json:"ineffective"`
	Ready       string `json:"ready"`
	Reason      string `json:"reason"`
	Message     string `json:"message,omitempty"`
	Product     string `json:"product"`
	Build       string `json:"build"`
	Agent       string `json:"agent"`
	System      string `json:"system,omitempty"`
}

// FeedRow is a feed in a few words.
type FeedRow struct {
	Feed         string     `json:"feed"`
	Product      string     `json:"product"`
	Ready        string     `json:"ready"`
	Reason       string     `json:"reason"`
	Message      string     `json:"message,omitempty"`
	Fresh        string     `json:"fresh"`
	Mitigations  int32      `json:"mitigations"`
	Sequence     int64      `json:"sequence"`
	LastReadTime *time.Time `json:"lastReadTime,omitempty"`
	Push         string     `json:"push,omitempty"`
	URL          string     `json:"url,omitempty"`
}

// objects are what the rows are made of.
type objects struct {
	mitigations []emsv1.Mitigation
	pools       []emsv1.PoolMitigationConfig
	plans       map[types.NamespacedName]*emsv1.MitigationPlan
	servers     []emsv1.PoolServer
	feeds       []emsv1.MitigationFeed
}

// known finds a mitigation; nil if the cluster knows none, or the user may not know.
func (o *objects) known(id emsv1.MitigationID) *emsv1.Mitigation {
	i := slices.IndexFunc(o.mitigations, func(m emsv1.Mitigation) bool { return strings.EqualFold(string(m.Spec.ID), string(id)) })
	if i < 0 {
		return nil
	}
	return &o.mitigations[i]
}

// poolMitigations are a row for each mitigation of the plan of each pool.
func (o *objects) poolMitigations() []PoolMitigation {
	rows := []PoolMitigation{}
	for i := range o.pools {
		pool := &o.pools[i]
		plan := o.plans[types.NamespacedName{Namespace: pool.Namespace, Name: pool.Name}]
		if plan == nil {
			continue
		}
		for k := range plan.Spec.Mitigations {
			rows = append(rows, o.poolMitigation(pool, plan, &plan.Spec.Mitigations[k]))
		}
	}
	slices.SortFunc(rows, func(a, b PoolMitigation) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Pool, b.Pool), natural(a.ID, b.ID))
	})
	return rows
}

func (o *objects) poolMitigation(pool *emsv1.PoolMitigationConfig, plan *emsv1.MitigationPlan, planned *emsv1.PlannedMitigation) PoolMitigation {
	var counts emsv1.ServerCounts
	for i := range pool.Status.Mitigations {
		if pool.Status.Mitigations[i].ID == planned.ID {
			counts = pool.Status.Mitigations[i].Servers
		}
	}
	row := PoolMitigation{
		Namespace: pool.Namespace, Pool: pool.Name, ID: string(planned.ID), Status: inPool(*planned, plan.Spec.Mode, counts),
		Enforced: ptr.Deref(counts.Applied, 0), Servers: ptr.Deref(counts.Total, 0) - ptr.Deref(counts.NotApplicable, 0), Failed: ptr.Deref(counts.Failed, 0),
		Mode: cmp.Or(pool.Status.Summary.Mode, string(plan.Spec.Mode)), Revision: planned.Revision, Stage: stage(planned.Rollout),
		BlockedBy: blocker(planned.Reason), ExpiryTime: moment(planned.UntilTime), Reason: planned.Reason, Message: planned.Message,
	}
	if m := o.known(planned.ID); m != nil {
		row.Type, row.Description, row.Severity, row.CVEs = kindsOf(m), m.Spec.Description, string(m.Spec.Severity), m.Spec.CVEs
	}
	return row
}

// serverMitigations are a row for each mitigation of each server: those of the plan, and those that the server speaks of beside them.
func (o *objects) serverMitigations() []ServerMitigation {
	rows := []ServerMitigation{}
	for i := range o.servers {
		server := &o.servers[i]
		var planned []emsv1.PlannedMitigation
		if plan := o.plans[types.NamespacedName{Namespace: server.Namespace, Name: server.Spec.PoolName}]; plan != nil {
			planned = plan.Spec.Mitigations
		}
		for k := range planned {
			said := emsv1.ServerMitigation{ID: planned[k].ID}
			if at := slices.IndexFunc(server.Status.Mitigations, func(m emsv1.ServerMitigation) bool { return m.ID == planned[k].ID }); at >= 0 {
				said = server.Status.Mitigations[at]
			}
			rows = append(rows, o.serverMitigation(server, &planned[k], said))
		}
		for _, said := range server.Status.Mitigations {
			if !slices.ContainsFunc(planned, func(p emsv1.PlannedMitigation) bool { return p.ID == said.ID }) {
				rows = append(rows, o.serverMitigation(server, nil, said))
			}
		}
	}
	slices.SortFunc(rows, func(a, b ServerMitigation) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Pool, b.Pool), natural(a.Server, b.Server), natural(a.ID, b.ID))
	})
	return rows
}

func (o *objects) serverMitigation(server *emsv1.PoolServer, planned *emsv1.PlannedMitigation, said emsv1.ServerMitigation) ServerMitigation {
	_, ready, _ := condition(server.Status.Conditions, "Ready")
	row := ServerMitigation{
		Namespace: server.Namespace, Pool: server.Spec.PoolName, Server: server.Name, ID: string(said.ID), Status: onServer(planned, said),
		Revision: said.Revision, Reason: said.Reason, Message: said.Message, ChangedTime: moment(said.ChangedTime), Ready: ready,
	}
	if row.Reason == "" && planned != nil {
		row.Reason, row.Message = planned.Reason, planned.Message
	}
	if m := o.known(said.ID); m != nil {
		row.Type, row.Description, row.Severity, row.CVEs = kindsOf(m), m.Spec.Description, string(m.Spec.Severity), m.Spec.CVEs
	}
	return row
}

func (o *objects) poolRows() []PoolRow {
	rows := []PoolRow{}
	for i := range o.pools {
		p := &o.pools[i]
		ready, reason, message := condition(p.Status.Conditions, "Ready")
		s := p.Status.Summary
		rows = append(rows, PoolRow{
			Namespace: p.Namespace, Pool: p.Name, FQDN: p.Spec.PoolFQDN, Mode: s.Mode, InSync: s.InSync, Applied: s.Applied, Blocked: s.Blocked, Failed: s.Failed,
			Rollout: s.Rollout, Servers: ptr.Deref(p.Status.Servers, 0), Silent: ptr.Deref(p.Status.Silent, 0), Ready: ready, Reason: reason, Message: message,
		})
	}
	slices.SortFunc(rows, func(a, b PoolRow) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Pool, b.Pool))
	})
	return rows
}

func (o *objects) serverRows() []ServerRow {
	rows := []ServerRow{}
	for i := range o.servers {
		p := &o.servers[i]
		ready, reason, message := condition(p.Status.Conditions, "Ready")
		s, f := p.Status.Summary, p.Status.Facts
		rows = append(rows, ServerRow{
			Namespace: p.Namespace, Pool: p.Spec.PoolName, Server: p.Name, Applied: s.Applied, Blocked: s.Blocked, Failed: s.Failed, Ineffective: s.Ineffective,
			Ready: ready, Reason: reason, Message: message, Product: string(f.Product), Build: f.Build, Agent: f.AgentVersion, System: f.OperatingSystem,
		})
	}
	slices.SortFunc(rows, func(a, b ServerRow) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Pool, b.Pool), natural(a.Server, b.Server))
	})
	return rows
}

func (o *objects) feedRows() []FeedRow {
	rows := []FeedRow{}
	for i := range o.feeds {
		f := &o.feeds[i]
		ready, reason, message := condition(f.Status.Conditions, "Ready")
		fresh, _, _ := condition(f.Status.Conditions, "Fresh")
		rows = append(rows, FeedRow{
			Feed: f.Name, Product: string(f.Spec.Product), Ready: ready, Reason: reason, Message: message, Fresh: fresh,
			Mitigations: ptr.Deref(f.Status.Mitigations, 0), Sequence: f.Status.Document.Sequence, LastReadTime: moment(f.Status.LastReadTime),
			Push: string(f.Status.Push), URL: f.Spec.URL,
		})
	}
	slices.SortFunc(rows, func(a, b FeedRow) int { return cmp.Compare(a.Feed, b.Feed) })
	return rows
}

func condition(list []metav1.Condition, kind string) (status, reason, message string) {
	for _, c := range list {
		if c.Type == kind {
			return string(c.Status), c.Reason, c.Message
		}
	}
	return "", "", ""
}

func moment(t *metav1.Time) *time.Time {
	if t == nil {
		return nil
	}
	return new(t.UTC())
}

// kindsOf are the types of the actions, each once, in their order.
func kindsOf(m *emsv1.Mitigation) string {
	var kinds []string
	for _, a := range m.Spec.Actions {
		if !slices.Contains(kinds, string(a.Type)) {
			kinds = append(kinds, string(a.Type))
		}
	}
	return strings.Join(kinds, ",")
}

// stage says how far a rollout has come: "canary 1/3", "complete".
func stage(r emsv1.PlanRollout) string {
	switch {
	case r.State == "":
		return ""
	case r.State == emsv1.RolloutComplete:
		return "complete"
	case r.Stage == "":
		return fmt.Sprintf("0/%d", r.Stages)
	default:
		return fmt.Sprintf("%s %d/%d", r.Stage, ptr.Deref(r.StageNumber, 0), r.Stages)
	}
}

// natural compares names whose numbers count: M2 before M10.
func natural(a, b string) int {
	for a != "" && b != "" {
		x, y := leading(a), leading(b)
		if isDigit(x[0]) && isDigit(y[0]) {
			p, q := strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
			if order := cmp.Or(cmp.Compare(len(p), len(q)), cmp.Compare(p, q), cmp.Compare(x, y)); order != 0 {
				return order
			}
		} else if order := cmp.Compare(x, y); order != 0 {
			return order
		}
		a, b = a[len(x):], b[len(y):]
	}
	return cmp.Compare(len(a), len(b))
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// leading is the part before digits begin or end.
func leading(text string) string {
	i := 1
	for i < len(text) && isDigit(text[i]) == isDigit(text[0]) {
		i++
	}
	return text[:i]
}
