package diff

import (
	"fmt"
	"strings"

	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/insight"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/terminal"
)

// Render is the picture of a preview.
func (c *ChangePreview) Render(style terminal.Style, limit int) []string {
	var lines []string
	same := 0
	for _, o := range c.Objects {
		if o.Action == objectSame {
			same++
			continue
		}
		lines = append(lines, style.Wrap("", "    ", terminal.Clean(o.words()))...)
	}
	if same > 0 {
		lines = append(lines, fmt.Sprintf("= %s of the files as in the cluster", insight.Plural(same, "object")))
	}
	if len(c.Objects) == 0 {
		lines = append(lines, "The files hold no MitigationConfiguration and no PoolMitigationConfig.")
	}
	pools := c.Pools
	if limit > 0 && len(pools) > limit {
		pools = pools[:limit]
	}
	for i := range pools {
		lines = append(lines, "")
		lines = append(lines, pools[i].render(style)...)
	}
	if more := len(c.Pools) - len(pools); more > 0 {
		lines = append(lines, "", insight.Plural(more, "more pool")+" would get another plan; --limit 0 shows all.")
	}
	if len(c.Pools) == 0 && !c.Same {
		lines = append(lines, "", "No server would do anything else than now.")
	}
	if len(c.Notes) > 0 {
		lines = append(lines, "")
	}
	for _, note := range c.Notes {
		lines = append(lines, style.Wrap("? ", "  ", terminal.Clean(note))...)
	}
	return lines
}

func (o *ObjectChange) words() string {
	name := o.Name
	if o.Namespace != "" {
		name = o.Namespace + "/" + name
	}
	if o.Action == objectCreate {
		return fmt.Sprintf("+ %s %s (%s): new", o.Kind, name, o.File)
	}
	return fmt.Sprintf("~ %s %s (%s): %s", o.Kind, name, o.File, strings.Join(o.Fields, ", "))
}

func (p *PoolChange) render(style terminal.Style) []string {
	lines := []string{style.Paint(terminal.Strong, p.Namespace+"/"+p.Name) + ": " + insight.Plural(p.Servers, "server")}
	for i := range p.Mitigations {
		m := &p.Mitigations[i]
		sign, tone := "~", terminal.Warning
		switch m.Action {
		case wouldApply, wouldRelease:
			sign, tone = "+", terminal.Good
		case wouldRevert:
			sign, tone = "-", terminal.Alarm
		}
		wrapped := style.Wrap("  "+sign+" ", "      ", terminal.Clean(m.words()))
		wrapped[0] = style.Paint(tone, wrapped[0])
		lines = append(lines, wrapped...)
		if m.HeldBy != "" && m.Action != wouldHold {
			why := m.HeldBy
			if m.After.StateMessage != "" {
				why += ": " + m.After.StateMessage
			}
			lines = append(lines, style.Wrap("      held by ", "        ", terminal.Clean(why))...)
		}
	}
	return lines
}

// words say what would become of a mitigation.
func (m *Consequence) words() string {
	text := fmt.Sprintf("%s revision %d", m.ID, m.Revision)
	switch m.Action {
	case wouldApply:
		text += " would be applied" + m.numbers("to")
	case wouldRevert:
		text += " would be removed" + m.numbers("from") + ": " + why(m.After.Reason, m.After.Message)
		return text
	case wouldFreeze:
		return text + " would stay where it is in place, and be applied nowhere else: " + why(m.After.Reason, m.After.Message)
	case wouldAudit:
		return text + " would only be looked at (Audit); where it is in place it stays"
	case wouldRelease:
		text += " would go on" + m.numbers("to")
	case wouldHold:
		return fmt.Sprintf("%s would stop where it is, while %s still %s: %s", text, insight.Plural(m.Later, "server"), map[bool]string{true: "waits", false: "wait"}[m.Later == 1], why(m.After.StateReason, m.After.StateMessage))
	case wouldAlter:
		text += " would be rolled out otherwise"
	}
	if m.After.Profile != "" {
		text += ", profile " + m.After.Profile
	}
	if m.After.Stage != "" && m.After.State != "Complete" {
		text += ", stage " + m.After.Stage
	}
	return text
}

func (m *Consequence) numbers(preposition string) string {
	switch {
	case m.Now+m.Later == 0:
		return ", which concerns no server"
	case m.Later == 0:
		return fmt.Sprintf(" %s %s", preposition, insight.Plural(m.Now, "server"))
	case m.Now == 0:
		return fmt.Sprintf(" %s no server at once, %s when the rollout reaches them", preposition, insight.Number(m.Later))
	}
	return fmt.Sprintf(" %s %s at once, %s when the rollout reaches them", preposition, insight.Plural(m.Now, "server"), insight.Number(m.Later))
}

func why(reason, message string) string { return strings.TrimSuffix(reason+": "+message, ": ") }
