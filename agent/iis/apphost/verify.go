package apphost

import (
	"strings"

	"mitigation.dev/ems/agent/iis/lossless"
)

// Finding is one thing that is wanted and does not stand in the file as it should.
type Finding struct {
	Place   string // path of the location, or name of the pool
	Name    string // of the element, "" for a pool
	Problem string
}

// Verify reads a file back: every element must be live at its place with its content, rules in front of all others there
// and in the wanted order, and every pool must be off. The result is empty when all is well.
func (c *Config) Verify(w Wanted) []Finding {
	findings := c.Missing(w)
	for _, p := range w.places() {
		findings = append(findings, c.orderFindings(p)...)
	}
	return findings
}

// Missing is Verify without the order: what is absent, altered, or cleared again at its own level.
func (c *Config) Missing(w Wanted) []Finding {
	var findings []Finding
	for _, p := range w.places() {
		for _, g := range p.groups {
			live := c.live(p.path, g.Section)
			for _, item := range g.Items {
				at := indexOf(live, item.Name)
				switch {
				case g.Section == ServerVariables && c.AllowsServerVariable(p.path, item.Name):
				case at < 0:
					findings = append(findings, Finding{Place: p.path, Name: item.Name, Problem: "is not there"})
				case !sameContent(live[at], item.XML):
					findings = append(findings, Finding{Place: p.path, Name: item.Name, Problem: "was altered"})
				}
			}
		}
	}
	for _, name := range w.pools() {
		pool := c.pool(name)
		switch {
		case pool == nil:
			findings = append(findings, Finding{Place: name, Problem: "is not there"})
		case !strings.EqualFold(pool.Value("autoStart"), "false"):
			findings = append(findings, Finding{Place: name, Problem: "starts automatically"})
		case strings.EqualFold(c.poolSetting(pool, "startMode"), "AlwaysRunning"):
			findings = append(findings, Finding{Place: name, Problem: "is kept running"})
		}
	}
	return findings
}

func (c *Config) orderFindings(p place) []Finding {
	var findings []Finding
	for _, g := range p.groups {
		if !g.Section.ordered() {
			continue
		}
		live := c.live(p.path, g.Section)
		for i, item := range g.Items {
			if i >= len(live) || !strings.EqualFold(live[i].Value("name"), item.Name) {
				findings = append(findings, Finding{Place: p.path, Name: item.Name, Problem: "does not come first"})
				break
			}
		}
	}
	return findings
}

// live gives the elements of a section at the levels of a path that no <clear /> or <remove /> there drops.
func (c *Config) live(path string, s Section) []*lossless.Element {
	var live []*lossless.Element
	for _, list := range c.elementsAt(path, c.way(s)) {
		for _, e := range list.Children {
			switch e.Name {
			case "clear":
				live = nil
			case "remove":
				if i := indexOf(live, e.Value("name")); i >= 0 {
					live = append(append([]*lossless.Element(nil), live[:i]...), live[i+1:]...)
				}
			case s.element():
				live = append(live, e)
			}
		}
	}
	return live
}

func indexOf(rules []*lossless.Element, name string) int {
	for i, r := range rules {
		if strings.EqualFold(r.Value("name"), name) {
			return i
		}
	}
	return -1
}

func sameContent(e *lossless.Element, xml []byte) bool {
	doc, err := lossless.Scan(xml)
	return err == nil && sameElement(e, doc.Root)
}

// sameElement compares names, attributes without their order and spelling, and children. White space and comments do
// not count, a text would have been refused when the rule was read.
func sameElement(a, b *lossless.Element) bool {
	attrs := a.Attrs()
	if a.Name != b.Name || len(attrs) != len(b.Attrs()) || len(a.Children) != len(b.Children) {
		return false
	}
	for _, x := range attrs {
		if y := b.Attr(x.Name); y == nil || y.Value != x.Value {
			return false
		}
	}
	for i := range a.Children {
		if !sameElement(a.Children[i], b.Children[i]) {
			return false
		}
	}
	return true
}
