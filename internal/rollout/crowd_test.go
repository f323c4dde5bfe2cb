package rollout

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func poolOf(names ...string) crowd {
	var servers []Server
	for _, name := range names {
		servers = append(servers, Server{Name: name, Labels: map[string]string{"role": name[:2]}})
	}
	return gather(servers)
}

func numbered(n int) crowd {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("fe%05d", i))
	}
	return poolOf(names...)
}

func TestReleaseHoldsExactlyTheWantedNumber(t *testing.T) {
	for _, servers := range []int{1, 2, 3, 10, 99, 1000} {
		for _, mitigation := range []string{"M1", "M2.1", "PING1"} {
			d := numbered(servers).draw(mitigation)
			var r Release
			for _, percent := range []int{0, 1, 10, 33, 50, 99, 100} {
				before := r
				r = d.release(r, Stage{Servers: Percent(percent), ServerNames: []string{"fe00000", "FE00001", "nobody"}})
				want := max(1, (servers*percent+99)/100)
				in, got := d.included(r)
				if got != want {
					t.Errorf("%d %% of %d servers for %s holds %d, want %d", percent, servers, mitigation, got, want)
				}
				for i := range d.crowd {
					name := d.crowd[i].Name
					if in[i] != r.Includes(name, mitigation) {
						t.Errorf("the planner and the agent of %s disagree about %+v", name, r)
					}
					if before.Includes(name, mitigation) && !in[i] {
						t.Errorf("%s was released, and is not at %d %%", name, percent)
					}
				}
				if len(r.ServerNames) > maxNames {
					t.Errorf("%d names, at most %d are allowed", len(r.ServerNames), maxNames)
				}
			}
		}
	}
}

func TestReleaseOfAStage(t *testing.T) {
	pool := poolOf("fe01", "fe02", "fe03", "fe04", "fe05", "db01", "db02", "db03", "db04", "db05")
	role := func(want string) func(map[string]string) bool {
		return func(labels map[string]string) bool { return labels["role"] == want }
	}
	many := numbered(200)
	var thirty []string
	for i := range 30 {
		thirty = append(thirty, many[i].Name)
	}
	tests := map[string]struct {
		pool      crowd
		from      Release
		stage     Stage
		wantNames string
		wantCount int
	}{
		"names alone take only themselves":             {pool: pool, stage: Stage{ServerNames: []string{"fe03", "DB02"}}, wantNames: "db02 fe03", wantCount: 2},
		"a selector takes those it chooses":            {pool: pool, stage: Stage{Selects: role("db")}, wantNames: "db01 db02 db03 db04 db05", wantCount: 5},
		"a number goes before names":                   {pool: pool, stage: Stage{ServerNames: []string{"fe03", "fe02"}, Servers: Count(1)}, wantNames: "fe03", wantCount: 1},
		"names go before a selector":                   {pool: pool, stage: Stage{ServerNames: []string{"fe03"}, Selects: role("db"), Servers: Count(2)}, wantNames: "db01 fe03", wantCount: 2},
		"nobody of that name, then the lowest hash":    {pool: pool, stage: Stage{ServerNames: []string{"nobody"}}, wantCount: 1},
		"nobody of that name, beside those released":   {pool: pool, from: Release{ServerNames: []string{"fe01"}}, stage: Stage{ServerNames: []string{"nobody"}}, wantNames: "fe01", wantCount: 1},
		"0 % is one server":                            {pool: pool, stage: Stage{Servers: Percent(0)}, wantCount: 1},
		"a number above the pool's is the pool":        {pool: pool, stage: Stage{Servers: Count(99)}, wantCount: 10},
		"a percentage above 100 is the pool":           {pool: pool, stage: Stage{Servers: Percent(900)}, wantCount: 10},
		"a negative number is one server":              {pool: pool, stage: Stage{Servers: Count(-3)}, wantCount: 1},
		"a stage never shrinks":                        {pool: pool, from: Release{ServerNames: []string{"fe01", "fe02", "fe03"}}, stage: Stage{Servers: Count(1)}, wantNames: "fe01 fe02 fe03", wantCount: 3},
		"at most twenty go by name":                    {pool: many, stage: Stage{ServerNames: thirty}, wantCount: 20, wantNames: strings.Join(thirty[:20], " ")},
		"a selector chooses at most twenty":            {pool: many, stage: Stage{Selects: role("fe")}, wantCount: 20, wantNames: strings.Join(thirty[:20], " ")},
		"of thirty names and a number, hashes do rest": {pool: many, stage: Stage{ServerNames: thirty, Servers: Count(25)}, wantCount: 25, wantNames: "-"},
		"names of servers that are away stay":          {pool: pool, from: Release{ServerNames: []string{"gone"}}, stage: Stage{Servers: Count(2)}, wantCount: 2, wantNames: "gone"},
		"an empty pool releases to nobody":             {stage: Stage{Servers: Percent(50)}, wantCount: 0},
		"two with one hash are told apart by name":     {pool: poolOf("srv4638", "srv50149"), stage: Stage{Servers: Count(1)}, wantCount: 1, wantNames: "srv4638"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			d := tc.pool.draw("M1")
			got := d.release(tc.from, tc.stage)
			if _, count := d.included(got); count != tc.wantCount {
				t.Errorf("%d servers are released, want %d: %+v", count, tc.wantCount, got)
			}
			if names := strings.Join(got.ServerNames, " "); tc.wantNames != "-" && names != tc.wantNames {
				t.Errorf("names are %q, want %q", names, tc.wantNames)
			}
		})
	}
}

// A halt goes back to the stage before, and never to more than is released.
func TestReleaseOfStagesLiesWithinWhatIsReleased(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		d := numbered(1 + random.IntN(60)).draw("M1")
		stages := make([]Stage, 1+random.IntN(4))
		for i := range stages {
			stages[i].Servers = Percent(random.IntN(100))
			if random.IntN(2) == 0 {
				stages[i].ServerNames = []string{fmt.Sprintf("fe%05d", random.IntN(60))}
			}
		}
		var within Release
		for _, s := range stages {
			within = d.release(within, s)
		}
		// Meanwhile the pool has become another one.
		later := numbered(1 + random.IntN(90)).draw("M1")
		got := later.releaseOf(stages[:len(stages)-1], within)
		in, _ := later.included(got)
		for i := range in {
			if name := later.crowd[i].Name; in[i] && !within.Includes(name, "M1") {
				t.Fatalf("a halt releases to %s, which was not released: %+v of %+v", name, got, within)
			}
		}
		if len(got.ServerNames) > maxNames {
			t.Fatalf("%d names", len(got.ServerNames))
		}
	}
}

func TestServersWithOneNameAreOneServer(t *testing.T) {
	failed, passed := Gate{Rollout: "r", Verdict: GateFailed}, Gate{Rollout: "r", Verdict: GatePassed}
	for _, order := range [][]Gate{{failed, passed}, {passed, failed}} {
		c := gather([]Server{
			{Name: "FE01", Gates: map[string]Gate{"m1": order[0]}}, {Name: "fe02"}, {Name: "fe01", Gates: map[string]Gate{"m1": order[1]}},
		})
		names := slices.Collect(func(yield func(string) bool) {
			for _, m := range c {
				if !yield(m.key) {
					return
				}
			}
		})
		if !slices.Equal(names, []string{"fe01", "fe02"}) {
			t.Errorf("servers are %v, want each once", names)
		}
		if got := c[0].Gates["m1"]; got != failed {
			t.Errorf("of a failure and a pass of one server the %s counts", got.Verdict)
		}
	}
}

func TestShorten(t *testing.T) {
	tests := map[string]struct {
		text  string
		limit int
		want  string
	}{
		"what fits stays":                    {"häuser", 7, "häuser"},
		"what does not is cut":               {"abcdefgh", 7, "abcd…"},
		"between characters":                 {"aäöüß", 7, "aä…"},
		"what is not text is left out":       {"a\xffb", 7, "ab"},
		"nothing is left of a limit too low": {"abcdefgh", 3, "…"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := shorten(tc.text, tc.limit); got != tc.want || len(got) > tc.limit {
				t.Errorf("shorten = %q (%d bytes), want %q", got, len(got), tc.want)
			}
		})
	}
}
