package diff

import (
	"fmt"
	"strings"
	"time"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/insight"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/terminal"
)

// FleetDiff is what is wished against what servers report.
type FleetDiff struct {
	// Time of the look.
	Time time.Time `json:"time"`
	// Same says that every server is as it is wished.
	Same bool `json:"same"`
	// Pools that were looked at.
	Pools []PoolDiff `json:"pools"`
	// Notes tell what could not be found out; then Same is false.
	Notes []string `json:"notes"`
}

// PoolDiff is a pool.
type PoolDiff struct {
	// Namespace of the pool.
	Namespace string `json:"namespace"`
	// Name of the pool.
	Name string `json:"name"`
	// Servers of the pool.
	Servers int `json:"servers"`
	// Same says that every server of it is as it is wished.
	Same bool `json:"same"`
	// Mitigations of the plan that some servers do not have as it is wished.
	Mitigations []MitigationDiff `json:"mitigations"`
	// Unplanned are servers with mitigations in place that the plan does not mention, as SERVER: ID, ID.
	Unplanned []string `json:"unplanned,omitempty"`
}

// MitigationDiff is a mitigation that some servers of a pool do not have as it is wished.
type MitigationDiff struct {
	// ID of the mitigation.
	ID string `json:"id"`
	// Revision of the plan.
	Revision int64 `json:"revision"`
	// Desired is what the plan wants: Apply, Remove or Hold.
	Desired string `json:"desired"`
	// Reason why it wants that.
	Reason string `json:"reason"`
	// Stage that is released, and its place: tenth (2 of 4).
	Stage string `json:"stage,omitempty"`
	// WaitsFor is why the rollout goes no further.
	WaitsFor string `json:"waitsFor,omitempty"`
	// Counts of servers by standing: Failed, Drifted, Silent, Missing, Outdated, Leaving, Waiting, AsWished.
	Counts map[insight.Standing]int `json:"counts"`
	// Servers that are not as wished, the most urgent first.
	Servers []insight.ServerLine `json:"servers"`
}

// Compare sets what plans want against what servers report.
func Compare(f *insight.Fleet, pools []emsv1.PoolMitigationConfig) *FleetDiff {
	d := &FleetDiff{Time: f.Now.UTC().Truncate(time.Second), Same: true, Pools: []PoolDiff{}, Notes: []string{}}
	for i := range pools {
		pool := &pools[i]
		o, err := f.Of(pool)
		if err == nil && o.Plan == nil {
			err = fmt.Errorf("the manager has made no plan yet")
		}
		if err != nil {
			d.Notes = append(d.Notes, fmt.Sprintf("pool %s/%s: %s", pool.Namespace, pool.Name, err))
			d.Same = false
			continue
		}
		p := PoolDiff{Namespace: pool.Namespace, Name: pool.Name, Servers: len(o.Servers), Mitigations: []MitigationDiff{}}
		for j := range o.Plan.Spec.Mitigations {
			planned := &o.Plan.Spec.Mitigations[j]
			c := insight.Compare(o, planned)
			if c.Same() {
				continue
			}
			m := MitigationDiff{
				ID: string(planned.ID), Revision: planned.Revision, Desired: string(planned.Desired), Reason: planned.Reason,
				Counts: c.Counts, Servers: c.Servers,
			}
			if planned.Desired == emsv1.DesiredApply && planned.Rollout.ID != "" {
				m.Stage = insight.Stage(&planned.Rollout)
				m.WaitsFor = strings.TrimSuffix(planned.Rollout.Reason+": "+planned.Rollout.Message, ": ")
			}
			p.Mitigations = append(p.Mitigations, m)
		}
		for j := range o.Servers {
			if ids := insight.Unplanned(o, &o.Servers[j]); len(ids) > 0 {
				p.Unplanned = append(p.Unplanned, o.Servers[j].Name+": "+strings.Join(ids, ", "))
			}
		}
		p.Same = len(p.Mitigations)+len(p.Unplanned) == 0
		d.Same = d.Same && p.Same
		d.Pools = append(d.Pools, p)
	}
	return d
}

// signs of what is to happen at a server, as diff has them; those behind "!" wait for a person.
var signs = map[insight.Standing]string{
	insight.Missing: "+", insight.Outdated: "~", insight.Leaving: "-", insight.Waiting: ".", insight.Failed: "!", insight.Drifted: "!", insight.Silent: "?",
}

// what each standing is called in a diff.
var called = map[insight.Standing]string{
	insight.Missing: "to be applied", insight.Outdated: "to be updated", insight.Leaving: "to be removed", insight.Waiting: "waiting",
	insight.Failed: "failed", insight.Drifted: "drifted", insight.Silent: "silent",
}

// shown is how many servers of a standing are named.
const shown = 5

// Render is the picture of a comparison.
func (d *FleetDiff) Render(style terminal.Style, limit int) []string {
	if d.Same && len(d.Pools) == 0 {
		return []string{"There is no pool to compare; -A looks at all namespaces."}
	}
	if d.Same {
		return []string{fmt.Sprintf("%s: every server is as it is wished.", insight.Plural(len(d.Pools), "pool"))}
	}
	var lines []string
	same, left := 0, 0
	for i := range d.Pools {
		p := &d.Pools[i]
		switch {
		case p.Same:
			same++
			continue
		case limit > 0 && i-same >= limit:
			left++
			continue
		}
		lines = append(lines, p.render(style)...)
	}
	if left > 0 {
		lines = append(lines, fmt.Sprintf("%s with differences are not shown; --limit 0 shows all.", insight.Plural(left, "more pool")))
	}
	if same > 0 {
		lines = append(lines, fmt.Sprintf("%s: every server is as it is wished.", insight.Plural(same, "pool")))
	}
	for _, note := range d.Notes {
		lines = append(lines, style.Wrap("? ", "  ", terminal.Clean(note))...)
	}
	return lines
}

func (p *PoolDiff) render(style terminal.Style) []string {
	lines := []string{style.Paint(terminal.Strong, fmt.Sprintf("%s/%s", p.Namespace, p.Name)) + ": " + insight.Plural(p.Servers, "server")}
	for _, m := range p.Mitigations {
		text := fmt.Sprintf("%s revision %d: %s (%s)", m.ID, m.Revision, m.Desired, m.Reason)
		if m.Stage != "" {
			text += ", stage " + m.Stage
		}
		lines = append(lines, style.Wrap("  ", "      ", terminal.Clean(text))...)
		byStanding := map[insight.Standing][]insight.ServerLine{}
		for _, s := range m.Servers {
			byStanding[s.Standing] = append(byStanding[s.Standing], s)
		}
		for _, standing := range insight.Standings {
			if list := byStanding[standing]; len(list) > 0 {
				lines = append(lines, rows(style, standing, list, m.WaitsFor)...)
			}
		}
	}
	for _, u := range p.Unplanned {
		lines = append(lines, style.Paint(terminal.Warning, "  ! ")+terminal.Clean(u)+": in place, and the plan does not mention it")
	}
	return lines
}

// rows are the servers of a standing: each that has something to say by itself, the others in a row.
func rows(style terminal.Style, standing insight.Standing, list []insight.ServerLine, waitsFor string) []string {
	var names []string
	for _, s := range list[:min(len(list), shown)] {
		names = append(names, s.Name)
	}
	text := fmt.Sprintf("%d %s: %s", len(list), called[standing], strings.Join(names, ", "))
	if more := len(list) - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	if standing == insight.Waiting && waitsFor != "" {
		text += "; " + waitsFor
	}
	tone := insight.Tone(insight.LevelOf(standing))
	lines := style.Wrap("    "+signs[standing]+" ", "      ", terminal.Clean(text))
	lines[0] = style.Paint(tone, lines[0])
	said := map[string]bool{}
	for _, s := range list {
		if s.Message == "" || standing == insight.Waiting || said[s.Message] || len(said) == shown {
			continue
		}
		said[s.Message] = true
		lines = append(lines, style.Wrap("        ", "        ", terminal.Clean(s.Name+" says: "+s.Message))...)
	}
	return lines
}
