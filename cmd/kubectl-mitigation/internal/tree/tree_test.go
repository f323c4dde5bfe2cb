package tree

import (
	"encoding/json"
	"flag"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/insight"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/insight/insighttest"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/terminal"
)

var update = flag.Bool("update", false, "write the golden files")

func TestPictures(t *testing.T) {
	var all = limits{defaultPools, maxServers}
	for name, test := range map[string]struct {
		fleet  *insighttest.Fleet
		choice Choice
		style  terminal.Style
		limits limits
	}{
		"all-well":         {fleet: insighttest.New(), style: terminal.Plain(100), limits: all},
		"halted":           {fleet: insighttest.New().Halt(), style: terminal.Plain(100), limits: all},
		"halted-terminal":  {fleet: insighttest.New().Halt(), style: terminal.Style{Width: 120, Unicode: true, Color: true}, limits: all},
		"halted-narrow":    {fleet: insighttest.New().Halt(), style: terminal.Plain(40), limits: all},
		"one-mitigation":   {fleet: insighttest.New().Halt(), choice: Choice{ID: "M2"}, style: terminal.Plain(100), limits: all},
		"one-pool":         {fleet: insighttest.New().Halt(), choice: Choice{Pool: types.NamespacedName{Namespace: "frontends", Name: "mail"}}, style: terminal.Plain(100), limits: all},
		"thousand-servers": {fleet: thousands(), style: terminal.Plain(100), limits: all},
		"elsewhere":        {fleet: elsewhere(), style: terminal.Plain(100), limits: all},
		"nothing-yet":      {fleet: &insighttest.Fleet{}, style: terminal.Plain(100), limits: all},
		"unreadable":       {fleet: unreadable(), style: terminal.Plain(100), limits: all},
	} {
		t.Run(name, func(t *testing.T) {
			insighttest.Golden(t, *update, name, render(Grow(&test.fleet.Fleet, test.choice), test.limits, test.style))
		})
	}
}

// thousands is an organisation of 150 pools of 20 servers each, some of which fail.
func thousands() *insighttest.Fleet {
	f := insighttest.New().Halt()
	mail, plan := f.Pools[0], *f.Plan(&f.Pools[0])
	for i := range f.Pools {
		if f.Pools[i].Name == "mail" {
			mail, plan = f.Pools[i], *f.Plan(&f.Pools[i])
		}
	}
	server := *f.Server("frontends", "mail06")
	failing := f.Server("frontends", "mail01").Status
	for i := range f.Servers {
		if f.Servers[i].Status.Mitigations[0].State == emsv1.StateFailed {
			failing = f.Servers[i].Status
		}
	}
	for i := range 150 {
		namespace := fmt.Sprintf("site%03d", i)
		pool, own := *mail.DeepCopy(), *plan.DeepCopy()
		pool.Namespace, own.Namespace = namespace, namespace
		f.Pools, f.Plans = append(f.Pools, pool), append(f.Plans, own)
		for j := range 20 {
			s := *server.DeepCopy()
			s.Namespace, s.Name = namespace, fmt.Sprintf("mail%02d", j+1)
			if j < i%9 {
				s.Status = *failing.DeepCopy()
			}
			f.Servers = append(f.Servers, s)
		}
	}
	return f
}

// elsewhere is a look at a namespace without pools: the mitigations are in plans, but not in ones that are looked at.
func elsewhere() *insighttest.Fleet {
	f := insighttest.New()
	f.Namespace = "default"
	return f
}

// unreadable has a configuration whose selector nobody understands, a pool without a plan, and a feed that was deleted.
func unreadable() *insighttest.Fleet {
	f := insighttest.New()
	f.Feeds, f.Plans = nil, f.Plans[1:]
	for i := range f.Pools {
		if f.Pools[i].Name == "shop" {
			f.Pools[i].Labels["odd"] = "yes"
		}
	}
	f.Configurations = append(f.Configurations, emsv1.MitigationConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "site"}, Spec: emsv1.MitigationConfigurationSpec{
		PoolSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"odd": "yes"}},
	}})
	return f
}

func TestChoice(t *testing.T) {
	f := insighttest.New()
	f.Pools = append(f.Pools, f.Pools[0])
	f.Pools[3].Namespace, f.Pools[3].Name = "other", "m2"
	for name, test := range map[string]struct {
		word, wantError string
		want            Choice
	}{
		"an id, in any case":          {word: "m1", want: Choice{ID: "M1"}},
		"a pool":                      {word: "shop", want: Choice{Pool: types.NamespacedName{Namespace: "branches", Name: "shop"}}},
		"both":                        {word: "m2", wantError: "m2: is several things: mitigation M2, pool other/m2"},
		"something that nobody knows": {word: "x", wantError: "neither a mitigation nor a pool"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := choose(&f.Fleet, test.word)
			if got != test.want || (err == nil) != (test.wantError == "") || err != nil && !strings.Contains(err.Error(), test.wantError) {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

// TestEveryServerIsCounted: whatever is left out in the text, the numbers are of all.
func TestEveryServerIsCounted(t *testing.T) {
	f := thousands()
	for _, feed := range Grow(&f.Fleet, Choice{}).Feeds {
		for _, m := range feed.Mitigations {
			sum, named := 0, 0
			for _, p := range m.Pools {
				for _, n := range p.Counts {
					sum += n
				}
				named += len(p.Servers) + p.Counts[insight.AsWished]
			}
			if sum != len(f.Servers) || named != sum {
				t.Errorf("%s: %d servers are counted and %d named or as wished, of %d", m.ID, sum, named, len(f.Servers))
			}
		}
	}
}

func TestHostileTextIsText(t *testing.T) {
	f := insighttest.New().Halt()
	for i := range f.Servers {
		f.Servers[i].Status.Mitigations[0].State = emsv1.StateFailed
		f.Servers[i].Status.Mitigations[0].Message = "a\x1b[2Jb\nc"
	}
	grown := Grow(&f.Fleet, Choice{})
	for _, line := range render(grown, limits{}, terminal.Plain(100)) {
		if strings.ContainsAny(line, "\x1b\n") {
			t.Errorf("%q", line)
		}
	}
	if content, err := json.Marshal(grown); err != nil || !strings.Contains(string(content), `a\u001b[2Jb\nc`) {
		t.Errorf("%v, %.200s", err, content)
	}
}

func BenchmarkTenThousandServers(b *testing.B) {
	f := thousands()
	for i := range 7000 {
		s := f.Servers[len(f.Servers)-1]
		s.Name = fmt.Sprintf("more%04d", i)
		f.Servers = append(f.Servers, s)
	}
	for b.Loop() {
		Grow(&f.Fleet, Choice{})
	}
}
