package effective

import (
	"errors"
	"os"
	"slices"
	"strings"

	"mitigation.dev/ems/agent/iis/apphost"
)

// entry is one element of a merged collection.
type entry struct {
	*node
	file *File
	at   string // path of the level that it stands at
}

// loss is why an element is not in the merged collection any more.
type loss struct {
	reason string
	by     entry
}

// merged is a collection as IIS has it for a path.
type merged struct {
	live []entry
	// lost says what became of names, in lower case, that stood at a level above.
	lost map[string]loss
	err  *problem
}

func (m *merged) find(name string) int {
	return slices.IndexFunc(m.live, func(e entry) bool { return strings.EqualFold(e.value("name"), name) })
}

// elements of the collections; the names are those of rewrite_schema.xml.
var elements = map[apphost.Section]string{
	apphost.GlobalRules: "rule", apphost.Rules: "rule", apphost.OutboundRules: "rule", apphost.CustomTags: "tags",
	apphost.PreConditions: "preCondition", apphost.RewriteMaps: "rewriteMap", apphost.ServerVariables: "add",
}

// merge gives a collection for a path.
func (s *server) merge(section apphost.Section, path string) *merged {
	if section == apphost.GlobalRules {
		path = "" // they stand nowhere else
	}
	key := string(section) + "\x00" + strings.ToLower(path)
	if m := s.merged[key]; m != nil {
		return m
	}
	c := s.chain(path)
	m := &merged{lost: map[string]loss{}, err: c.err}
	s.merged[key] = m
	locks := newLocks(s.host, section)
	for _, l := range c.layers {
		if err := locks.check(l); err != nil {
			m.fail(err)
		}
		for _, n := range l.section(section) {
			lists, err := s.contents(l, n, section)
			if err != nil {
				m.fail(err)
			}
			for _, list := range lists {
				if err := m.add(s, l, list, elements[section]); err != nil {
					m.fail(err)
					return m
				}
			}
		}
		locks.pass(l)
	}
	m.noteNotInherited(s, section, path)
	return m
}

// fail keeps the first problem; a certain one goes before one that leaves the question open.
func (m *merged) fail(p *problem) {
	if m.err == nil || m.err.status == Unknown && p.status == False {
		m.err = p
	}
}

// contents gives the elements that hold a section's content: itself, or what a configSource names. Only a declared section
// has such a source, so that of a collection inside of one is looked at through it.
func (s *server) contents(l layer, n *node, section apphost.Section) ([]entry, *problem) {
	source, ok := n.attr("configSource")
	if _, encrypted := n.attr("configProtectionProvider"); encrypted {
		return nil, unknown(ConfigurationUnreadable, "%s, line %d: <%s> is encrypted", l.file.path, n.line, n.name)
	}
	if !ok {
		return []entry{{node: n, file: l.file, at: l.at}}, nil
	}
	path, err := s.Files.Source(l.file.path, source)
	if err != nil {
		return nil, fileProblem(source, err)
	}
	file, err := s.Files.Read(path, n.name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, no(SectionInvalid, "%s, line %d: configSource %q of <%s>: no such file, which IIS answers with 500.19", l.file.path, n.line, source, n.name)
	}
	if err != nil {
		return nil, fileProblem(path, err)
	}
	_, inner, nested := strings.Cut(string(section), "/")
	if !nested {
		return []entry{{node: file.source, file: file, at: l.at}}, nil
	}
	var out []entry
	for _, c := range file.source.all(inner) {
		out = append(out, entry{node: c, file: file, at: l.at})
	}
	return out, nil
}

// add puts the content of one section element on top. The error is that of too much work.
func (m *merged) add(s *server, l layer, list entry, element string) *problem {
	for _, n := range list.children {
		if err := s.spend(1 + len(m.live)); err != nil {
			return err
		}
		e := entry{node: n, file: list.file, at: l.at}
		key := strings.ToLower(n.value("name"))
		switch n.name {
		case "clear":
			for _, was := range m.live {
				m.lost[strings.ToLower(was.value("name"))] = loss{Cleared, e}
				m.failLocked(was, e)
			}
			m.live = nil
		case "remove":
			if i := m.find(n.value("name")); i >= 0 {
				m.failLocked(m.live[i], e)
				m.lost[key] = loss{RemovedByName, e}
				m.live = slices.Delete(slices.Clone(m.live), i, i+1)
			}
		case element:
			if i := m.find(n.value("name")); i >= 0 {
				m.fail(no(NameCollision, "%s, line %d: <%s name=%q> is in %s, line %d as well, which IIS answers with 500.19 for %s",
					e.file.path, e.line, element, n.value("name"), m.live[i].file.path, m.live[i].line, placeName(l.at)))
				continue
			}
			delete(m.lost, key)
			m.live = append(m.live, e)
		}
	}
	return nil
}

// failLocked notes that a level takes away what one above has locked.
func (m *merged) failLocked(was, by entry) {
	if was.is("lockItem", true, false) && !strings.EqualFold(was.at, by.at) {
		m.fail(no(SectionInvalid, "%s, line %d: <%s> takes away %q, which is locked (lockItem); IIS answers with 500.19 for %s",
			by.file.path, by.line, by.name, was.value("name"), placeName(by.at)))
	}
}

// noteNotInherited finds the names that the level above has and this application does not inherit.
func (m *merged) noteNotInherited(s *server, section apphost.Section, path string) {
	i := strings.LastIndexByte(path, '/')
	if path == "" || !s.startsApplication(path) {
		return
	}
	above := s.merge(section, path[:max(i, 0)])
	for _, e := range above.live {
		key := strings.ToLower(e.value("name"))
		if _, known := m.lost[key]; !known && m.find(e.value("name")) < 0 {
			m.lost[key] = loss{NotInherited, e}
		}
	}
}

// locks follows who may write a section while the layers of a path are merged.
type locks struct {
	section  apphost.Section
	declared string
	hostOnly bool
	// denied says why no web.config may hold the section, byAttr why nothing may be added at a level below at; "" if it may.
	denied, byAttr, at string
	by                 *File // whose location denies
}

func newLocks(host *File, section apphost.Section) *locks {
	name, _, _ := strings.Cut(string(section), "/")
	d := host.declared[name]
	k := &locks{section: section, declared: name, hostOnly: d.hostOnly}
	if d.deny {
		k.denied = "overrideModeDefault of the section"
	}
	return k
}

// check says whether IIS accepts what a layer holds of the section.
func (k *locks) check(l layer) *problem {
	held := l.section(apphost.Section(k.declared))
	if len(held) == 0 {
		return nil
	}
	where, line := l.file.path, held[0].line
	switch {
	case l.own && k.hostOnly:
		return no(SectionInvalid, "%s, line %d: <%s> is only allowed in applicationHost.config; IIS answers with 500.19 for %s", where, line, k.declared, placeName(l.at))
	case l.own && k.denied != "" && k.by != l.file:
		return no(SectionInvalid, "%s, line %d: <%s> is locked (%s); IIS answers with 500.19 for %s", where, line, k.declared, k.denied, placeName(l.at))
	case k.byAttr != "" && !strings.EqualFold(k.at, l.at) && slices.ContainsFunc(held, func(n *node) bool { return n.child(elements[k.section]) != nil }):
		return no(SectionInvalid, "%s, line %d: <%s> is locked (%s); IIS answers with 500.19 for %s", where, line, k.declared, k.byAttr, placeName(l.at))
	}
	return nil
}

// pass notes what a layer locks for those after it.
func (k *locks) pass(l layer) {
	held := l.section(apphost.Section(k.declared))
	if len(held) == 0 {
		return
	}
	switch l.mode {
	case "Deny":
		k.denied, k.by = "location in "+l.file.path, l.file
	case "Allow":
		k.denied, k.by = "", nil
	}
	for _, n := range held {
		if a := lockedBy(n, elements[k.section]); a != "" && k.byAttr == "" {
			k.byAttr, k.at = a+" in "+l.file.path, l.at
		}
	}
}

// lockedBy names the attribute that keeps lower levels from adding elements to a section.
func lockedBy(n *node, element string) string {
	if n.is("lockItem", true, false) {
		return "lockItem"
	}
	for _, name := range []string{"lockElements", "lockAllElementsExcept"} {
		value, ok := n.attr(name)
		if !ok {
			continue
		}
		listed := slices.ContainsFunc(strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' }), func(item string) bool {
			return item == "*" || strings.EqualFold(item, element)
		})
		if listed == (name == "lockElements") {
			return name
		}
	}
	return ""
}

func placeName(path string) string {
	if path == "" {
		return "the whole server"
	}
	return `"` + path + `"`
}
