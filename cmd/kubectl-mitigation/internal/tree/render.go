package tree

import (
	"fmt"
	"strings"

	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/insight"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/terminal"
)

// limits are how much is shown one by one.
type limits struct {
	// pools of a mitigation, and servers of a pool; 0 is all of them.
	pools, servers int
}

// branch draws lines of a tree.
type branch struct {
	style terminal.Style
	lines []string
	// unplanned says of a mitigation that no pool has it, as far as was looked.
	unplanned string
}

// twigs are what stands before a line.
func (b *branch) twigs(last bool) (here, below string) {
	switch {
	case b.style.Unicode && last:
		return "└─ ", "   "
	case b.style.Unicode:
		return "├─ ", "│  "
	case last:
		return "`- ", "   "
	default:
		return "|- ", "|  "
	}
}

// add draws a line with a mark; what is too long goes on below.
func (b *branch) add(here, below string, level insight.Level, strong, words string) {
	first := here + "@ "
	lines := b.style.Wrap(first, below+"     ", terminal.Clean(strings.TrimSuffix(strong+": "+words, ": ")))
	lines[0] = strings.Replace(lines[0], first+terminal.Clean(strong), here+insight.Mark(b.style, level)+" "+b.style.Paint(terminal.Strong, terminal.Clean(strong)), 1)
	if rest, found := strings.CutPrefix(lines[0], first); found { // The name did not fit into a line.
		lines[0] = here + insight.Mark(b.style, level) + " " + rest
	}
	b.lines = append(b.lines, lines...)
}

// render makes the picture of a tree.
func render(t *Tree, l limits, style terminal.Style) []string {
	b := &branch{style: style, unplanned: "in no plan"}
	if t.namespace != "" {
		b.unplanned = fmt.Sprintf("in no plan of namespace %q; -A looks at all", t.namespace)
	}
	for i := range t.Feeds {
		b.feed(&t.Feeds[i], t, l)
	}
	if len(t.Feeds) == 0 {
		b.lines = append(b.lines, "There is no feed, and no mitigation of that kind in a plan. `kubectl apply` a MitigationFeed to begin.")
	}
	for _, note := range t.Notes {
		b.lines = append(b.lines, style.Wrap(insight.Mark(style, insight.Unclear)+" ", "  ", terminal.Clean(note))...)
	}
	return b.lines
}

func (b *branch) feed(f *Feed, t *Tree, l limits) {
	words := ""
	if f.Sequence > 0 {
		words = fmt.Sprintf("sequence %d", f.Sequence)
	}
	if f.LastRead != nil {
		words += ", read " + insight.Ago(*f.LastRead, t.Time)
	}
	if f.Message != "" {
		words += ", " + f.Reason + ": " + f.Message
	}
	b.add("", "", f.level(), "feed "+f.Name, strings.TrimPrefix(words, ", "))
	for i := range f.Mitigations {
		here, below := b.twigs(i == len(f.Mitigations)-1)
		b.mitigation(&f.Mitigations[i], here, below, l)
	}
}

func (b *branch) mitigation(m *Mitigation, here, below string, l limits) {
	words := []string{fmt.Sprintf("revision %d", m.Revision)}
	if m.Severity != "" {
		words = append(words, m.Severity)
	}
	if m.Lifecycle != "Active" {
		words = append(words, m.Lifecycle)
	}
	words = append(words, m.CVEs...)
	counts := map[insight.Standing]int{}
	for i := range m.Pools {
		for s, n := range m.Pools[i].Counts {
			counts[s] += n
		}
	}
	text := strings.Join(words, ", ") + "; " + b.unplanned
	if len(m.Pools) > 0 {
		text = strings.Join(words, ", ") + "; " + insight.Plural(len(m.Pools), "pool") + ": " + insight.CountsInWords(counts)
	}
	b.add(here, below, m.level(), m.ID, text)
	shown, left := m.Pools, []Pool(nil)
	if l.pools > 0 && len(shown) > l.pools {
		shown, left = shown[:l.pools], shown[l.pools:]
	}
	for i := range shown {
		twig, under := b.twigs(i == len(shown)-1 && len(left) == 0)
		b.pool(&shown[i], below+twig, below+under, l)
	}
	if len(left) > 0 {
		twig, under := b.twigs(true)
		b.add(below+twig, below+under, left[0].level(), insight.Plural(len(left), "more pool"), remainder(left))
	}
}

// remainder counts pools by what they do.
func remainder(pools []Pool) string {
	counts := map[string]int{}
	for i := range pools {
		counts[pools[i].State]++
	}
	var parts []string
	for _, state := range sortedKeys(counts) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[state], state))
	}
	return strings.Join(parts, ", ") + "; --limit 0 shows all"
}

func (b *branch) pool(p *Pool, here, below string, l limits) {
	words := p.State
	if p.State != "Complete" && p.Reason != "" {
		words += " (" + p.Reason + ")"
	}
	if p.Stage != "" && p.State != "Complete" {
		words += " in stage " + p.Stage
	}
	if p.Mode == "Audit" {
		words += ", audit"
	}
	b.add(here, below, p.level(), p.Namespace+"/"+p.Name, words+"; "+insight.CountsInWords(p.Counts))
	// Those that wait do so for the same reason, which the pool has said.
	groups := alike(p.Servers)
	left := []group(nil)
	if l.servers > 0 && len(groups) > l.servers {
		groups, left = groups[:l.servers], groups[l.servers:]
	}
	for i, g := range groups {
		twig, under := b.twigs(i == len(groups)-1 && len(left) == 0)
		b.add(below+twig, below+under, insight.LevelOf(g.Standing), g.named(l.servers), g.words())
	}
	if len(left) > 0 {
		counts := map[insight.Standing]int{}
		sum := 0
		for _, g := range left {
			counts[g.Standing] += len(g.names)
			sum += len(g.names)
		}
		twig, under := b.twigs(true)
		b.add(below+twig, below+under, insight.LevelOf(left[0].Standing), insight.Plural(sum, "more server"), insight.CountsInWords(counts))
	}
}

// group is servers of which the same is to be said.
type group struct {
	insight.ServerLine

	names []string
}

// alike puts servers together that stand alike and say the same; those that wait are left out.
func alike(servers []insight.ServerLine) []group {
	var groups []group
	index := map[insight.ServerLine]int{}
	for _, s := range servers {
		if s.Standing == insight.Waiting {
			continue
		}
		key := s
		key.Name = ""
		if s.Standing == insight.Silent {
			key.State, key.Message = "", "" // For how long differs.
		}
		at, known := index[key]
		if !known {
			at = len(groups)
			index[key] = at
			groups = append(groups, group{ServerLine: s})
		}
		groups[at].names = append(groups[at].names, s.Name)
	}
	return groups
}

// named says which servers these are; at most some of them by name, where there is a limit.
func (g *group) named(limit int) string {
	names, more := g.names, ""
	if limit > 0 && len(names) > limit {
		names, more = names[:limit], fmt.Sprintf(" and %d more", len(names)-limit)
	}
	return strings.Join(names, ", ") + more
}

func (g *group) words() string {
	words := string(g.Standing)
	if g.Reason != "" && g.Reason != words {
		words += " (" + g.Reason + ")"
	}
	if g.Message != "" {
		words += ": " + g.Message
	}
	return words
}
