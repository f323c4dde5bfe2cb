package apphost

import (
	"strings"

	"mitigation.dev/ems/agent/iis/lossless"
)

// Finding is one thing that is wanted and does not stand in the file as it should.
type Finding struct {
	Place   string // path of the location, or name of the pool
	Rule    string // "" for a pool
	Problem string
}

// Verify reads a file back: every rule must be live at its place with its content, in front of all others there and in
// the wanted order, and every pool must be off. The result is empty when all is well.
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
		live := c.liveRules(p.path)
		for _, r := range p.rules {
			switch at := indexOf(live, r.Name); {
			case at < 0:
				findings = append(findings, Finding{Place: p.path, Rule: r.Name, Problem: "is not there"})
			case !sameContent(live[at], r.XML):
				findings = append(findings, Finding{Place: p.path, Rule: r.Name, Problem: "was altered"})
			}
		}
	}
	for _, name := range w.pools() {
		pool := c.pool(name)
		if pool == nil {
			findings = append(findings, Finding{Place: name, Problem: "is not there"})
		} else if !strings.EqualFold(pool.Value("autoStart"), "false") {
			findings = append(findings, Finding{Place: name, Problem: "starts automatically"})
		}
	}
	return findings
}

func (c *Config) orderFindings(p place) []Finding {
	live := c.liveRules(p.path)
	for i, r := range p.rules {
		if i >= len(live) || !strings.EqualFold(live[i].Value("name"), r.Name) {
			return []Finding{{Place: p.path, Rule: r.Name, Problem: "does not come first"}}
		}
	}
	return nil
}

// liveRules gives the rules of the locations of a path that no <clear /> or <remove /> of the same element drops.
func (c *Config) liveRules(path string) []*lossless.Element {
	var live []*lossless.Element
	for _, rules := range sectionsAt(c.doc, path, chain) {
		for _, e := range rules.Children {
			switch e.Name {
			case "clear":
				live = nil
			case "remove":
				if i := indexOf(live, e.Value("name")); i >= 0 {
					live = append(append([]*lossless.Element(nil), live[:i]...), live[i+1:]...)
				}
			case "rule":
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
	if a.Name != b.Name || len(a.Attrs) != len(b.Attrs) || len(a.Children) != len(b.Children) {
		return false
	}
	for _, x := range a.Attrs {
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
