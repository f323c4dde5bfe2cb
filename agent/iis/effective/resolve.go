package effective

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"mitigation.dev/ems/agent/iis/apphost"
	"mitigation.dev/ems/agent/iis/lossless"
)

// Resolve gives one verdict per target, in their order. It reads files through the view and changes nothing.
func Resolve(view View, targets []Target) []Verdict {
	s, err := newServer(view)
	out := make([]Verdict, 0, len(targets))
	names := map[string]bool{}
	for _, t := range targets {
		for _, g := range t.Content.Groups {
			for _, item := range g.Items {
				names[strings.ToLower(item.Name)] = true
			}
		}
	}
	for _, t := range targets {
		v := Verdict{ID: t.ID}
		switch {
		case len(t.Content.Groups) == 0:
		case err != nil:
			v.Status, v.Reason, v.Message = err.status, err.reason, err.message
		default:
			v = s.judge(t, names)
		}
		out = append(out, v)
	}
	return out
}

func newServer(view View) (*server, *problem) {
	s := &server{View: view, sites: map[string]*apphost.Site{}, chains: map[string]*chain{}, merged: map[string]*merged{}}
	redirection, err := view.Files.Read(view.Redirection, "")
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, fileProblem(view.Redirection, err)
	case redirection.redirected:
		return nil, unknown(ConfigurationRedirected, "%s: IIS reads its configuration from %q", view.Redirection, redirection.redirectedTo)
	}
	if s.host, err = view.Files.Read(view.Host, ""); err != nil {
		return nil, fileProblem(view.Host, err)
	}
	for i, site := range s.host.sites {
		if key := strings.ToLower(site.Name); s.sites[key] == nil {
			s.sites[key] = &s.host.sites[i]
		}
	}
	return s, nil
}

// findings collects what stands against a target.
type findings struct {
	worst    *problem
	more     int // others of the same status
	messages map[string]bool
}

func (f *findings) add(p *problem) {
	if p == nil || f.messages[p.message] {
		return
	}
	f.messages[p.message] = true
	switch {
	case f.worst == nil || f.worst.status == Unknown && p.status == False:
		f.worst, f.more = p, 0
	case f.worst.status == p.status:
		f.more++
	}
}

// judge gives the verdict on one target; ours are the names of everything that belongs to us, in lower case.
func (s *server) judge(t Target, ours map[string]bool) Verdict {
	f := &findings{messages: map[string]bool{}}
	v := Verdict{ID: t.ID, Status: True, Reason: InEffect}
	for _, g := range t.Content.Groups {
		path := clean(g.Path)
		if path != "" && s.site(path) == nil {
			f.add(no(SiteNotFound, "site of %q: not on this server", path))
			continue
		}
		f.add(s.switches(g.Section))
		paths := []string{""}
		if g.Section != apphost.GlobalRules {
			var err *problem
			if paths, err = s.levelsUnder(path); err != nil {
				f.add(err)
				continue
			}
		}
		items := itemsOf(g)
		for _, p := range paths {
			s.judgeAt(g.Section, items, p, f)
		}
		v.LookAlikes = s.lookAlikes(v.LookAlikes, t, g.Section, items, paths, ours)
		if v.Message == "" {
			if site := s.site(path); site != nil && !site.AutoStart {
				v.Reason, v.Message = SiteNotStarted, fmt.Sprintf("site %q does not start by itself (serverAutoStart)", site.Name)
			}
		}
	}
	if f.worst != nil {
		v.Status, v.Reason, v.Message = f.worst.status, f.worst.reason, f.worst.message
		if f.more > 0 {
			v.Message += fmt.Sprintf("; and %d more", f.more)
		}
	}
	return v
}

// switches looks at the registry.
func (s *server) switches(section apphost.Section) *problem {
	value, name := s.Registry.Inbound, "InboundRewriteEnabled"
	if first, _, _ := strings.Cut(string(section), "/"); first == string(apphost.OutboundRules) {
		value, name = s.Registry.Outbound, "OutboundRewriteEnabled"
	}
	const key = `HKLM\SOFTWARE\Microsoft\InetStp\Rewrite`
	switch value {
	case SwitchOff:
		return no(RewriteSwitchedOff, `%s: value %s is 0, which switches such rules off for the whole server`, key, name)
	case SwitchUnknown:
		return unknown(RegistryUnreadable, `%s: value %s cannot be read`, key, name)
	case SwitchOn, "":
	}
	return nil
}

// item is an element of a target.
type item struct {
	name string
	node *node // nil when it cannot be read, so that it equals nothing
}

func itemsOf(g apphost.Group) []item {
	items := make([]item, 0, len(g.Items))
	for _, i := range g.Items {
		one := item{name: i.Name}
		if doc, err := lossless.Scan(i.XML); err == nil {
			one.node = newReader(doc).copy(doc.Root)
		}
		items = append(items, one)
	}
	return items
}

// judgeAt looks at one section of a target for one path at or below it.
func (s *server) judgeAt(section apphost.Section, items []item, path string, f *findings) {
	f.add(s.moduleAt(path))
	m := s.merge(section, path)
	f.add(m.err)
	for _, item := range items {
		i := m.find(item.name)
		if i < 0 {
			f.add(m.absent(section, item.name, path))
			continue
		}
		e := m.live[i]
		// Who else allows a server variable may spell it otherwise.
		if section != apphost.ServerVariables && (item.node == nil || !sameNode(e.node, item.node)) {
			f.add(no(Altered, "%s, line %d: <%s name=%q> is not the one of the mitigation", e.file.path, e.line, e.name, item.name))
			continue
		}
		if elements[section] == "rule" {
			if !e.is("enabled", true, true) {
				f.add(no(RuleDisabled, "%s, line %d: rule %q has enabled=\"false\"", e.file.path, e.line, item.name))
			}
			f.add(s.inFront(section, m.live, i, path))
		}
		if section == apphost.Rules {
			f.add(s.variablesOf(e, path))
		}
	}
}

// absent says why an element is not in the merged collection.
func (m *merged) absent(section apphost.Section, name, path string) *problem {
	element := elements[section]
	lost, known := m.lost[strings.ToLower(name)]
	switch {
	case !known && m.err != nil:
		return m.err // which says more
	case !known:
		return no(Missing, "<%s name=%q> of %s is in no file that IIS reads for %s", element, name, section, placeName(path))
	}
	by := lost.by
	switch lost.reason {
	case Cleared, RemovedByName:
		return no(lost.reason, "%s, line %d: <%s> drops <%s name=%q> for %s", by.file.path, by.line, by.name, element, name, placeName(by.at))
	default:
		return no(NotInherited, "%s, line %d: <%s name=%q> stands in a location with inheritInChildApplications=\"false\", so the application %s does not have it",
			by.file.path, by.line, element, name, placeName(path))
	}
}

// moduleAt says whether RewriteModule runs for a path.
func (s *server) moduleAt(path string) *problem {
	if !s.host.registered {
		return no(RewriteModuleMissing, "%s: RewriteModule is not in globalModules", s.host.path)
	}
	on, by := false, entry{}
	for _, l := range s.chain(path).layers {
		for _, list := range l.modules {
			for _, n := range list.children {
				switch n.name {
				case "add":
					on = true
				case "clear", "remove":
					on, by = false, entry{node: n, file: l.file, at: l.at}
				}
			}
		}
	}
	switch {
	case on:
		return nil
	case by.node == nil:
		return no(RewriteModuleMissing, "%s: RewriteModule is not in <modules> for %s", s.host.path, placeName(path))
	default:
		return no(RewriteModuleMissing, "%s, line %d: <%s> takes RewriteModule away from %s", by.file.path, by.line, by.name, placeName(by.at))
	}
}

// variablesOf looks for server variables that a rule sets without being allowed to.
func (s *server) variablesOf(rule entry, path string) *problem {
	for _, list := range rule.all("serverVariables") {
		for _, set := range list.all("set") {
			allowed := s.merge(apphost.ServerVariables, path)
			if allowed.err != nil {
				return allowed.err
			}
			if name := set.value("name"); allowed.find(name) < 0 {
				return no(ServerVariableNotAllowed, "%s, line %d: rule %q sets server variable %q, which is not among the allowedServerVariables of %s",
					rule.file.path, rule.line, rule.value("name"), name, placeName(path))
			}
		}
	}
	return nil
}

// sameNode compares names, attributes without their order and spelling, and children.
func sameNode(a, b *node) bool {
	if a.name != b.name || len(a.attrs) != len(b.attrs) {
		return false
	}
	for _, x := range a.attrs {
		if value, ok := b.attr(x.name); !ok || value != x.value {
			return false
		}
	}
	return slices.EqualFunc(a.children, b.children, sameNode)
}
