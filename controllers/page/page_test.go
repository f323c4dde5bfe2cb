package page

import (
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/controllers/page/pagetest"
	"mitigation.dev/ems/internal/shard"
)

var update = flag.Bool("update", false, "write the golden files anew")

// pages are one of each kind.
var pages = map[string]string{
	"fleet": "/fleet", "mitigation": "/fleet/mitigations/owa1", "pool": "/fleet/pools/exchange/frontend", "server": "/fleet/servers/exchange/frontend01",
}

func TestPagesSay(t *testing.T) {
	s := newSite(t, pagetest.Small(begin))
	for name, url := range pages {
		t.Run(name, func(t *testing.T) {
			got := lines(t, s.get(t, url+"?part=main"))
			golden := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil { //nolint:gosec // a file of the repository
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("%s (-want +got; -args -update writes it anew):\n%s", golden, diff)
			}
		})
	}
}

func TestPagesAreSound(t *testing.T) {
	s := newSite(t, pagetest.Small(begin))
	for name, url := range pages {
		t.Run(name, func(t *testing.T) {
			ids, labels := map[string]bool{}, []string{}
			cells, headings := 0, 0
			for _, n := range nodes(t, s.get(t, url)) {
				if n.end {
					continue
				}
				if id := n.attr("id"); id != "" {
					if ids[id] {
						t.Errorf("the id %q is there twice", id)
					}
					ids[id] = true
				}
				if label := n.attr("aria-labelledby"); label != "" {
					labels = append(labels, label)
				}
				switch n.tag {
				case "th":
					cells++
					if n.attr("scope") == "" {
						t.Error("a table header does not say what it heads")
					}
				case "table":
					headings--
				case "caption":
					headings++
				}
			}
			for _, label := range labels {
				if !ids[label] {
					t.Errorf("nothing has the id %q, which names a part", label)
				}
			}
			if cells == 0 || headings != 0 {
				t.Errorf("%d table headers, %d captions too many", cells, headings)
			}
		})
	}
}

// Every link of every page leads somewhere.
func TestLinksLead(t *testing.T) {
	s := newSite(t, pagetest.Small(begin))
	seen := map[string]bool{}
	queue := []string{"/fleet"}
	for len(queue) > 0 {
		url := queue[0]
		queue = queue[1:]
		if seen[url] {
			continue
		}
		seen[url] = true
		for _, n := range nodes(t, s.get(t, url)) {
			if href := n.attr("href"); n.tag == "a" && strings.HasPrefix(href, "/") {
				queue = append(queue, href)
			}
		}
	}
	// One fleet, three mitigations, four pools, 26 servers.
	if len(seen) != 1+3+4+26 {
		t.Errorf("%d pages can be reached, want 34", len(seen))
	}
}

func TestAnEmptyFleetSaysWhatToDoFirst(t *testing.T) {
	fleet := &pagetest.Fleet{}
	s := newSite(t, fleet)
	text := lines(t, s.get(t, "/fleet"))
	for _, want := range []string{"Nothing is protected yet", "mitigationfeed_exchange.yaml", "kubectl mitigation enroll --namespace"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "Done:") {
		t.Errorf("something is said to be done:\n%s", text)
	}
	fleet.Change(func(f *pagetest.Fleet) { f.Feeds = pagetest.Small(begin).Feeds })
	s.clock.SetTime(begin.Add(lookAgainAfter))
	if text := lines(t, s.get(t, "/fleet")); strings.Count(text, "Done:") != 1 {
		t.Errorf("one step is done:\n%s", text)
	}
}

func TestSearchAndPages(t *testing.T) {
	s := newSite(t, pagetest.Large(begin, 120, 2, 1200))
	for name, test := range map[string]struct {
		url        string
		want, lack []string
	}{
		"the first page has the first pools":      {"/fleet", []string{"pool-000", "pool-049", "1–50 of 120", "Next"}, []string{"pool-050", "Previous"}},
		"the second has those behind them":        {"/fleet?page=2", []string{"51–100 of 120", "Previous", "Next"}, nil},
		"the last has the rest":                   {"/fleet?page=3", []string{"101–120 of 120", "Previous"}, []string{"Next"}},
		"there is none behind the last":           {"/fleet?page=99", []string{"101–120 of 120"}, nil},
		"nonsense is the first page":              {"/fleet?page=-1", []string{"1–50 of 120"}, nil},
		"a search finds parts of names":           {"/fleet/mitigations/m1?q=pOOl-11", []string{"pool-110", "pool-119", "Show all"}, []string{"of 120"}},
		"a search that finds nothing says so":     {"/fleet?q=nowhere", []string{"No pool has that in its name"}, nil},
		"servers are searched by name":            {"/fleet/pools/exchange/pool-007?q=00703", nil, []string{"pool-00704"}},
		"what is searched for stays in the field": {"/fleet/pools/exchange/pool-007?q=%22%3E%3Cb%3E", []string{"No server has that in its name"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			text := lines(t, section(t, s.get(t, test.url)))
			for _, want := range test.want {
				if !strings.Contains(text, want) {
					t.Errorf("the page lacks %q", want)
				}
			}
			for _, lack := range test.lack {
				if strings.Contains(text, lack) {
					t.Errorf("the page has %q", lack)
				}
			}
		})
	}
}

// section is the part of a page that is searched: the others have lists of their own.
func section(t *testing.T, html string) string {
	t.Helper()
	for _, id := range []string{"matrix", "where", "servers"} {
		if _, rest, ok := strings.Cut(html, `<section id="`+id+`"`); ok {
			part, _, _ := strings.Cut(rest, "</section>")
			return `<section id="` + id + `"` + part + "</section>"
		}
	}
	t.Fatal("the page has nothing to search")
	return ""
}

// maxHTML is the promise of fleet.go.
const maxHTML = 1 << 20

func TestPagesAreBounded(t *testing.T) {
	s := newSite(t, pagetest.Large(begin, 200, 20, 10000))
	for _, url := range []string{
		"/fleet", "/fleet?page=4", "/fleet/mitigations/m1", "/fleet/pools/exchange/pool-000", "/fleet/servers/exchange/pool-00001",
	} {
		html := s.get(t, url)
		t.Logf("%s: %d bytes", url, len(html))
		if len(html) > maxHTML {
			t.Errorf("%s has %d bytes, want at most %d", url, len(html), maxHTML)
		}
		if strings.HasPrefix(url, "/fleet/s") {
			continue
		}
		if !strings.Contains(html, "more are not shown") {
			t.Errorf("%s does not say that something is left out", url)
		}
	}
}

func TestALookServesForASecond(t *testing.T) {
	fleet := pagetest.Small(begin)
	s := newSite(t, fleet)
	s.get(t, "/fleet")
	fleet.Change(func(f *pagetest.Fleet) { f.Away = true })
	s.get(t, "/fleet")
	s.clock.SetTime(begin.Add(lookAgainAfter))
	if w := s.do(t, "GET", "/fleet", "", "Authorization", "Bearer good"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("got %d while nothing can be read, want 503", w.Code)
	}
	if !strings.Contains(s.log.String(), "the cache is not started") {
		t.Error("the log does not say why")
	}
}

func BenchmarkLook(b *testing.B) {
	fleet := pagetest.Large(begin, 200, 20, 10000)
	b.ReportAllocs()
	for b.Loop() {
		newSight(objects{fleet.Feeds, fleet.Mitigations, fleet.Configurations, fleet.Pools, fleet.Plans, fleet.Servers}, begin, shard.Main)
	}
}

func BenchmarkFleetPage(b *testing.B) {
	fleet := pagetest.Large(begin, 200, 20, 10000)
	seen := newSight(objects{fleet.Feeds, fleet.Mitigations, fleet.Configurations, fleet.Pools, fleet.Plans, fleet.Servers}, begin, shard.Main)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := renderMain(content{template: "fleet", data: seen.fleet(query{Page: 1})}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPoolPage(b *testing.B) {
	fleet := pagetest.Large(begin, 4, 20, 10000)
	seen := newSight(objects{fleet.Feeds, fleet.Mitigations, fleet.Configurations, fleet.Pools, fleet.Plans, fleet.Servers}, begin, shard.Main)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := renderMain(content{template: "pool", data: seen.pool(keyOf(&fleet.Pools[0]), query{Page: 1})}); err != nil {
			b.Fatal(err)
		}
	}
}
