package describe

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/eventcmd"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/insight"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/rolloutcmd"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/terminal"
)

// How many rows a page shows of what there may be thousands of.
const maxPools, maxTroubled = 20, 15

// level is that of the condition Ready.
func (c *Common) level() insight.Level {
	for _, condition := range c.Conditions {
		switch {
		case condition.Type == "Stalled" && condition.Status == "True":
			return insight.Bad
		case condition.Type != "Ready":
		case condition.Status == "True":
			return insight.Good
		case condition.Status == "Unknown":
			return insight.Unclear
		default:
			return c.working()
		}
	}
	return insight.Unclear
}

// working tells what is under way from what needs a person.
func (c *Common) working() insight.Level {
	for _, condition := range c.Conditions {
		if condition.Type == "Reconciling" && condition.Status == "True" {
			return insight.Moving
		}
	}
	return insight.Bad
}

// tail are the sections that every page ends with.
func (c *Common) tail(p *insight.Page) {
	var rows [][]string
	for _, condition := range c.Conditions {
		rows = append(rows, []string{condition.Type, condition.Status, condition.Reason, insight.Span(c.Time.Sub(condition.Since)), condition.Message})
	}
	if len(rows) > 0 {
		p.Section("Conditions")
		p.Table([]string{"TYPE", "STATUS", "REASON", "FOR", "MESSAGE"}, rows)
	}
	if len(c.Events) > 0 {
		p.Section("Events")
		rows = nil
		for i := range c.Events {
			e := &c.Events[i]
			rows = append(rows, e.Row(c.Time))
		}
		p.Table(eventcmd.Head, rows)
	}
	p.Hints(c.Next)
	if len(c.Notes) > 0 {
		p.Section("Notes")
		for _, note := range c.Notes {
			p.Text(note)
		}
	}
}

func obstacles(p *insight.Page, list []insight.Obstacle, now time.Time) {
	if len(list) == 0 {
		return
	}
	p.Section("Exceptions and switches")
	for i := range list {
		p.Text(list[i].Text(now))
	}
}

func transitions(p *insight.Page, list []rolloutcmd.RolloutEvent, now time.Time) {
	if len(list) == 0 {
		return
	}
	p.Section("Last transitions")
	var rows [][]string
	for _, t := range list {
		text := t.Message
		if t.By != "" {
			text = strings.TrimSuffix(t.By+": "+t.Message, ": ")
		}
		rows = append(rows, []string{insight.Ago(t.Time, now), t.Namespace + "/" + t.Pool, fmt.Sprintf("%s r%d", t.Mitigation, t.Revision), t.Action, text})
	}
	p.Table([]string{"WHEN", "POOL", "MITIGATION", "ACTION", "BY AND WHY"}, rows)
}

func (l *Line) row(first string) []string {
	why := l.Reason
	if l.Message != "" {
		why += ": " + l.Message
	}
	released, passed, failed := fmt.Sprintf("%d/%d", l.Released, l.Servers), fmt.Sprint(l.Passed), fmt.Sprint(l.Failed)
	if l.Stage == "" && l.Released == 0 || !l.rolledOut {
		released, passed, failed = "", "", ""
	}
	return []string{first, fmt.Sprint(l.Revision), l.Mode, l.State, l.Stage, released, passed, failed, why}
}

func lineHead(first string) []string {
	return []string{first, "REV", "MODE", "STATE", "STAGE", "RELEASED", "PASSED", "FAILED", "WHY"}
}

// Render is the page of a mitigation.
func (m *MitigationPage) Render(style terminal.Style) []string {
	p := insight.NewPage(style)
	p.Title(m.level(), "Mitigation "+m.ID, fmt.Sprintf(", revision %d", m.Revision))
	p.Field("description", m.Description)
	p.Field("severity", m.Severity)
	p.Field("CVE", strings.Join(m.CVEs, ", "))
	p.Field("lifecycle", strings.TrimSuffix(m.Lifecycle+", replaced by "+m.SupersededBy, ", replaced by "))
	p.Field("replaces", strings.Join(m.Supersedes, ", "))
	feed := m.Feed
	if m.Sequence > 0 {
		feed += fmt.Sprintf(", sequence %d", m.Sequence)
	}
	p.Field("feed", feed)
	for _, product := range m.Products {
		p.Field("needed by", product)
	}
	for _, fixed := range m.FixedBuilds {
		p.Field("fixed in", fixed)
	}
	if n := m.SamplesBlocked + m.SamplesPassed; n > 0 {
		p.Field("samples", fmt.Sprintf("%s must be blocked, %d must pass", insight.Plural(m.SamplesBlocked, "request"), m.SamplesPassed))
	}
	p.Section("Actions")
	for _, a := range m.Actions {
		text := a.ID + " " + a.Words
		if a.Description != "" {
			text += " (" + a.Description + ")"
		}
		p.Text(text)
	}
	if len(m.SideEffects) > 0 {
		p.Section("Declared side effects")
		for _, effect := range m.SideEffects {
			p.Text(effect)
		}
	}
	p.Section("Pools")
	var rows [][]string
	for i := range m.Pools[:min(len(m.Pools), maxPools)] {
		rows = append(rows, m.Pools[i].row(m.Pools[i].Namespace+"/"+m.Pools[i].Pool))
	}
	p.Table(lineHead("POOL"), rows)
	if len(m.Pools) == 0 {
		p.Text("no plan has it")
	}
	if len(m.Pools) > maxPools {
		p.Text(more(m.Pools[maxPools:]))
	}
	obstacles(p, m.Obstacles, m.Time)
	transitions(p, m.Transitions, m.Time)
	m.tail(p)
	return p.Lines()
}

// more counts pools that are not shown.
func more(lines []Line) string {
	counts := map[string]int{}
	for i := range lines {
		counts[lines[i].State]++
	}
	var parts []string
	for _, state := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[state], state))
	}
	return fmt.Sprintf("and %s: %s", insight.Plural(len(lines), "more pool"), strings.Join(parts, ", "))
}

// Render is the page of a pool.
func (m *PoolPage) Render(style terminal.Style) []string {
	p := insight.NewPage(style)
	p.Title(m.level(), "Pool "+m.Namespace+"/"+m.Name, ", "+m.Mode)
	p.Field("FQDN", m.FQDN)
	var labels []string
	for _, key := range slices.Sorted(maps.Keys(m.Labels)) {
		labels = append(labels, key+"="+m.Labels[key])
	}
	p.Field("labels", strings.Join(labels, ", "))
	p.Field("ring", m.Ring)
	profile := m.Profile
	if profile == "" {
		profile = "by severity"
	}
	p.Field("profile", profile)
	p.Field("policy of", strings.Join(m.Configurations, ", "))
	p.Field("servers", insight.Plural(m.Servers, "server")+": "+insight.CountsInWords(m.Counts))
	p.Section("Mitigations")
	var rows [][]string
	for i := range m.Mitigations {
		rows = append(rows, m.Mitigations[i].row(m.Mitigations[i].Mitigation))
	}
	p.Table(lineHead("ID"), rows)
	if len(rows) == 0 {
		p.Text("the plan has none")
	}
	if len(m.Troubled) > 0 {
		p.Section("Servers that are not as they are wished")
		rows = nil
		for _, t := range m.Troubled[:min(len(m.Troubled), maxTroubled)] {
			rows = append(rows, []string{t.Name, t.Mitigation, string(t.Standing), strings.TrimPrefix(strings.TrimSuffix(t.Reason+": "+t.Message, ": "), ": ")})
		}
		p.Table([]string{"SERVER", "MITIGATION", "STANDING", "WHY"}, rows)
		if left := len(m.Troubled) - maxTroubled; left > 0 {
			p.Text(fmt.Sprintf("and %s; kubectl mitigation diff %s/%s counts them", insight.Plural(left, "more row"), m.Namespace, m.Name))
		}
	}
	obstacles(p, m.Obstacles, m.Time)
	transitions(p, m.Transitions, m.Time)
	m.tail(p)
	return p.Lines()
}

// Render is the page of a server.
func (m *ServerPage) Render(style terminal.Style) []string {
	p := insight.NewPage(style)
	p.Title(m.level(), "Server "+m.Namespace+"/"+m.Name, ", pool "+m.Pool)
	p.Field("host name", m.HostName)
	p.Field("product", strings.Join(present(m.Product, m.Role, m.Build), ", "))
	p.Field("URL Rewrite", m.RewriteModule)
	p.Field("agent", strings.Join(present(m.AgentVersion, m.OperatingSystem), ", "))
	if m.PlanGeneration > 0 {
		p.Field("plan", fmt.Sprintf("generation %d; the server has followed %d", m.PlanGeneration, m.FollowedGeneration))
	}
	if m.CredentialExpiry != nil {
		p.Field("credential", "until "+m.CredentialExpiry.Format(time.RFC3339)+" ("+insight.In(*m.CredentialExpiry, m.Time)+"); the agent renews it before")
	}
	if m.ClockSkewSeconds != 0 {
		p.Field("clock", fmt.Sprintf("%+d s against the API server", m.ClockSkewSeconds))
	}
	for _, text := range m.Local {
		p.Field("at the server", text)
	}
	for _, feed := range m.Feeds {
		p.Field("feed", fmt.Sprintf("%s, sequence %d", feed.Name, feed.Sequence))
	}
	p.Section("Mitigations")
	var rows [][]string
	for _, x := range m.Mitigations {
		revision := ""
		if x.Revision > 0 {
			revision = fmt.Sprint(x.Revision)
		}
		why := x.Message
		if why == "" {
			why = x.Why
		}
		for _, other := range x.LookAlikes {
			why += "; a rule of others does the same: " + other
		}
		rows = append(rows, []string{x.ID, string(x.Standing), x.Desired, strings.TrimSuffix(x.State+" ("+x.Reason+")", " ()"), revision, x.Effective, why})
	}
	p.Table([]string{"ID", "STANDING", "SHALL", "SAYS", "REVISION", "EFFECTIVE", "WHY"}, rows)
	if len(rows) == 0 {
		p.Text("none is planned, and none in place")
	}
	m.tail(p)
	return p.Lines()
}

func present(words ...string) []string {
	return slices.DeleteFunc(words, func(word string) bool { return word == "" })
}

// Render is the page of a feed.
func (m *FeedPage) Render(style terminal.Style) []string {
	p := insight.NewPage(style)
	p.Title(m.level(), "Feed "+m.Name, "")
	p.Field("source", m.Source)
	p.Field("product", m.Product)
	polling := fmt.Sprintf("%s, every %s", m.Polling, insight.Span(time.Duration(m.IntervalSeconds)*time.Second))
	if m.Push != "" {
		polling += "; push: " + m.Push
	}
	p.Field("polling", polling)
	if m.LastRead != nil {
		p.Field("last read", insight.Ago(*m.LastRead, m.Time))
	}
	if m.Failures > 0 {
		p.Field("failed polls", insight.Number(m.Failures)+" in a row")
	}
	p.Section("Accepted document")
	p.Field("publisher", m.Publisher)
	if m.Sequence > 0 {
		p.Field("sequence", fmt.Sprintf("%d; the highest ever accepted is %d", m.Sequence, m.HighestSequence))
	}
	p.Field("digest", m.Digest)
	p.Field("signer", m.Signer)
	for _, t := range []struct {
		name string
		at   *time.Time
	}{{"signed", m.Signed}, {"accepted", m.Accepted}, {"expires", m.Expires}} {
		switch {
		case t.at == nil:
		case t.at.After(m.Time):
			p.Field(t.name, t.at.Format(time.RFC3339)+" ("+insight.In(*t.at, m.Time)+")")
		default:
			p.Field(t.name, t.at.Format(time.RFC3339)+" ("+insight.Ago(*t.at, m.Time)+")")
		}
	}
	p.Field("mitigations", strings.Join(m.Mitigations, "; "))
	for _, refused := range m.Refused {
		p.Field("refused", refused)
	}
	if m.Publisher+m.Digest == "" {
		p.Text("none yet")
	}
	if len(m.Anchors) > 0 {
		p.Section("Trust rests on")
		var rows [][]string
		for _, a := range m.Anchors {
			end := "no end"
			if a.Expiry != nil {
				end = fmt.Sprintf("%s, %d days", a.Expiry.Format(time.DateOnly), int(a.Expiry.Sub(m.Time)/(24*time.Hour)))
			}
			rows = append(rows, []string{a.Kind, end, a.Subject})
		}
		p.Table([]string{"KIND", "ENDS", "SUBJECT"}, rows)
	}
	m.tail(p)
	return p.Lines()
}
