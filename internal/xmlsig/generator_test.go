package xmlsig

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

// generator writes documents of the profile at random: what canonicalisation differs about stands in every one of them.
type generator struct {
	random *rand.Rand
	out    strings.Builder
	// comments are left out where the other side keeps them.
	comments bool
	// declared counts namespace declarations, elements the elements: the pre-scan bounds both.
	declared, elements int
}

func (g *generator) pick(from ...string) string { return from[g.random.IntN(len(from))] }

func (g *generator) text() {
	for range g.random.IntN(4) {
		if g.comments && g.random.IntN(8) == 0 {
			g.out.WriteString("<!-- <c/> & -->")
		}
		g.out.WriteString(g.pick("text", "&amp;", "&lt;&gt;", "\n", "\r\n", "\t", "&#13;", "&#9;&#10;", "<![CDATA[a <b> & c]]>", "\u00e4\u20ac\U0001F600", "'", `"`, "&quot;", "&#x41;"))
	}
}

func (g *generator) value() string {
	var b strings.Builder
	for range g.random.IntN(4) {
		b.WriteString(g.pick("v", "&amp;", "&lt;", ">", "&#13;", "&#9;", "&#10;", "\t", "\n", "\r\n", "\u00e4", "'", "&quot;", " "))
	}
	return b.String()
}

// element writes one element. scope holds the prefixes that are declared above.
func (g *generator) element(depth int, scope map[string]bool) {
	g.elements++
	inner := map[string]bool{}
	for prefix := range scope {
		inner[prefix] = true
	}
	var declarations []string
	for _, prefix := range []string{"p", "q", "r"} {
		if g.declared < MaxNamespaceDeclarations && g.random.IntN(5) == 0 {
			g.declared++
			inner[prefix] = true
			declarations = append(declarations, " xmlns:"+prefix+`="urn:`+g.pick("1", "2", "z")+`"`)
		}
	}
	if g.declared < MaxNamespaceDeclarations && g.random.IntN(6) == 0 {
		g.declared++
		declarations = append(declarations, ` xmlns="`+g.pick("urn:d", "urn:1", "")+`"`)
	}
	prefixes := []string{""}
	for _, prefix := range []string{"p", "q", "r"} {
		if inner[prefix] {
			prefixes = append(prefixes, prefix+":")
		}
	}
	name := g.pick(prefixes...) + g.pick("a", "b", "Config", "x-1", "_y")
	attributes := declarations
	for _, attribute := range []string{"b", "a", "Id", "z.z"} {
		if g.random.IntN(3) == 0 {
			attributes = append(attributes, " "+attribute+`="`+g.value()+`"`)
		}
	}
	// Prefixes may have one namespace, so that each has local names of its own: repeated attributes are refused.
	for i, foreign := range prefixes[1:] {
		for _, local := range []string{"a", "c"} {
			if g.random.IntN(4) == 0 {
				attributes = append(attributes, " "+foreign+local+g.pick("", ".")+strconv.Itoa(i)+`="`+g.value()+`"`)
			}
		}
	}
	for _, local := range []string{"space", "lang"} {
		if g.random.IntN(8) == 0 {
			attributes = append(attributes, " xml:"+local+`="`+g.pick("preserve", "default")+`"`)
		}
	}
	g.random.Shuffle(len(attributes), func(i, j int) { attributes[i], attributes[j] = attributes[j], attributes[i] })
	g.out.WriteString("<" + name + strings.Join(attributes, ""))
	if g.random.IntN(5) == 0 {
		g.out.WriteString("/>")
		return
	}
	g.out.WriteString(">")
	g.text()
	for depth < 6 && g.elements < 40 && g.random.IntN(4) > 0 {
		g.element(depth+1, inner)
		g.text()
	}
	g.out.WriteString("</" + name + ">")
}

// documents returns the given number of documents that the pre-scan accepts. The seeds are fixed, so that a difference is there
// again the next time.
func documents(tb testing.TB, wanted int, comments bool) ([]string, []*scan) {
	tb.Helper()
	var texts []string
	var scans []*scan
	for seed := uint64(1); len(texts) < wanted; seed++ {
		g := &generator{random: rand.New(rand.NewPCG(seed, 1)), comments: comments}
		g.element(1, nil)
		scanned, err := prescan([]byte(g.out.String()))
		if err != nil {
			tb.Fatalf("the pre-scan refuses %q: %v", g.out.String(), err)
		}
		texts, scans = append(texts, g.out.String()), append(scans, scanned)
	}
	return texts, scans
}
