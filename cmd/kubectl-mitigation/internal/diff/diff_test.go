package diff

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/insight"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/insight/insighttest"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/terminal"
)

var update = flag.Bool("update", false, "write the golden files")

func TestComparisons(t *testing.T) {
	for name, test := range map[string]struct {
		fleet *insighttest.Fleet
		same  bool
		style terminal.Style
	}{
		"same":            {fleet: insighttest.New(), same: true, style: terminal.Plain(100)},
		"halted":          {fleet: insighttest.New().Halt(), style: terminal.Plain(100)},
		"halted-terminal": {fleet: insighttest.New().Halt(), style: terminal.Style{Width: 60, Unicode: true, Color: true}},
		"every-standing":  {fleet: everything(), style: terminal.Plain(100)},
		"without-a-plan":  {fleet: planless(), style: terminal.Plain(100)},
	} {
		t.Run(name, func(t *testing.T) {
			d := Compare(&test.fleet.Fleet, test.fleet.Pools)
			if d.Same != test.same {
				t.Errorf("same = %v", d.Same)
			}
			insighttest.Golden(t, *update, name, d.Render(test.style, defaultLimit))
		})
	}
}

// everything is a pool in which each server stands otherwise.
func everything() *insighttest.Fleet {
	f := insighttest.New()
	says := func(server string, m emsv1.ServerMitigation) {
		m.ID = "M1"
		f.Server("frontends", server).Status.Mitigations[0] = m
	}
	says("mail01", emsv1.ServerMitigation{State: emsv1.StateFailed, Reason: "CannotWrite", Message: "applicationHost.config is read only"})
	says("mail02", emsv1.ServerMitigation{State: emsv1.StateApplied, Revision: 3, Effective: emsv1.EffectiveFalse, Reason: "Overridden", Message: "web.config clears the rules"})
	says("mail03", emsv1.ServerMitigation{State: emsv1.StateApplied, Revision: 2, Effective: emsv1.EffectiveTrue})
	says("mail04", emsv1.ServerMitigation{State: emsv1.StatePending})
	f.Server("frontends", "mail05").Status.Mitigations[1].State = emsv1.StateApplied
	f.Server("frontends", "mail06").Status.Mitigations = append(f.Server("frontends", "mail06").Status.Mitigations, emsv1.ServerMitigation{ID: "M7", State: emsv1.StateApplied})
	return f
}

func planless() *insighttest.Fleet {
	f := insighttest.New()
	f.Plans = f.Plans[:2]
	return f
}

// TestStandings: what a server does about each answer of policy.
func TestStandings(t *testing.T) {
	f := everything()
	d := Compare(&f.Fleet, f.Pools)
	got := map[string]insight.Standing{}
	for _, p := range d.Pools {
		for _, m := range p.Mitigations {
			for _, s := range m.Servers {
				got[s.Name+" "+m.ID] = s.Standing
			}
		}
	}
	want := map[string]insight.Standing{
		"mail01 M1": insight.Failed, "mail02 M1": insight.Drifted, "mail03 M1": insight.Outdated, "mail04 M1": insight.Missing, "mail05 M2": insight.Leaving,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// In Audit mode nothing is wished that servers could lack.
	for i := range f.Pools {
		f.Pools[i].Spec.Mode = emsv1.ModeAudit
	}
	f.Manage()
	for _, p := range Compare(&f.Fleet, f.Pools).Pools {
		for _, m := range p.Mitigations {
			for _, s := range m.Servers {
				if s.Standing != insight.Failed && s.Standing != insight.Leaving && s.Standing != insight.Drifted {
					t.Errorf("in Audit mode %s is %s", s.Name, s.Standing)
				}
			}
		}
	}
}

// previewOf is what a change would do to a fleet in which all is well.
func previewOf(f *insighttest.Fleet, change func(c *changed)) *ChangePreview {
	c := changed{}
	for i := range f.Pools {
		c.pools = append(c.pools, *f.Pools[i].DeepCopy())
	}
	c.configurations = append(c.configurations, *f.Configurations[0].DeepCopy())
	change(&c)
	p := &ChangePreview{Objects: []ObjectChange{{Kind: "PoolMitigationConfig", Namespace: "frontends", Name: "mail", File: "pools/mail.yaml", Action: objectChange, Fields: []string{"spec.blocked"}}}}
	p.Pools, p.Notes = Foresee(&f.Fleet, c)
	return p
}

func TestPreviews(t *testing.T) {
	pool := func(c *changed, name string) *emsv1.PoolMitigationConfig {
		for i := range c.pools {
			if c.pools[i].Name == name {
				return &c.pools[i]
			}
		}
		panic(name)
	}
	for name, test := range map[string]struct {
		fleet  *insighttest.Fleet
		change func(c *changed)
		want   []string // POOL ID ACTION NOW/LATER HELDBY
	}{
		"nothing": {change: func(*changed) {}},
		"a block takes it off every server": {
			change: func(c *changed) {
				pool(c, "mail").Spec.Blocked = []emsv1.Exception{{ID: "M1", Reason: "breaks search"}}
			},
			want: []string{"frontends/mail M1 Revert 6/0 "},
		},
		"an end of a block begins a rollout with the first ring": {
			change: func(c *changed) { c.configurations[0].Spec.Blocked = nil },
			want:   []string{"branches/shop M2 Apply 0/4 AwaitingRing", "frontends/mail M2 Apply 0/6 AwaitingRing", "pilots/lab M2 Apply 1/1 "},
		},
		"a rollout by hand waits for approval": {
			change: func(c *changed) {
				c.configurations[0].Spec.Blocked = nil
				pool(c, "lab").Spec.Rollout.Profile = emsv1.ProfileManual
			},
			want: []string{"branches/shop M2 Apply 0/4 AwaitingRing", "frontends/mail M2 Apply 0/6 AwaitingRing", "pilots/lab M2 Apply 0/2 AwaitingApproval"},
		},
		"Audit takes nothing away": {
			change: func(c *changed) { pool(c, "shop").Spec.Mode = emsv1.ModeAudit },
			want:   []string{"branches/shop M1 Audit 0/0 "},
		},
		"a disabled pool keeps what it has": {
			change: func(c *changed) { pool(c, "shop").Spec.Mitigations = emsv1.Disabled },
			want:   []string{"branches/shop M1 Freeze 0/0 "},
		},
		"the kill switch of the organisation": {
			change: func(c *changed) { c.configurations[0].Spec.Suspend = emsv1.SuspendRevert },
			want:   []string{"branches/shop M1 Revert 4/0 ", "frontends/mail M1 Revert 6/0 ", "pilots/lab M1 Revert 2/0 "},
		},
		"a fixed build takes it off servers that have it": {
			change: func(c *changed) {
				c.configurations[0].Spec.FixedBuilds = []emsv1.FixedBuild{{ID: "M1", Build: "15.2.1748.10"}}
			},
			want: []string{"branches/shop M1 Revert 4/0 ", "frontends/mail M1 Revert 6/0 ", "pilots/lab M1 Revert 2/0 "},
		},
		"a promotion goes on behind a halt": {
			fleet: insighttest.New().Halt(),
			change: func(c *changed) {
				pool(c, "mail").Spec.Rollout.Orders = []emsv1.RolloutOrder{{ID: "M1", Revision: 4, Action: emsv1.OrderPromote, Reason: "known"}}
			},
			want: []string{"branches/shop M1 Release 1/2 ", "frontends/mail M1 Release 4/0 "},
		},
		"an order to hold stops a rollout that moves": {
			fleet: moving(),
			change: func(c *changed) {
				pool(c, "lab").Spec.Rollout.Progress = emsv1.ProgressPaused
			},
			want: []string{"pilots/lab M1 Hold 1/1 RolloutPaused"},
		},
		"another profile for what is complete changes nothing": {
			change: func(c *changed) { pool(c, "mail").Spec.Rollout.Profile = emsv1.ProfileStandard },
		},
		"a new pool without servers": {
			change: func(c *changed) {
				c.pools = append(c.pools, emsv1.PoolMitigationConfig{ObjectMeta: metav1.ObjectMeta{Namespace: "new", Name: "pool", Labels: map[string]string{"ring": "broad"}}})
			},
			want: []string{"new/pool M1 Apply 0/0 "},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := test.fleet
			if f == nil {
				f = insighttest.New()
			}
			before := *f.Pools[0].DeepCopy()
			p := previewOf(f, test.change)
			var got []string
			for _, pool := range p.Pools {
				for _, m := range pool.Mitigations {
					got = append(got, strings.Join([]string{pool.Namespace + "/" + pool.Name, m.ID, m.Action, insight.Number(m.Now) + "/" + insight.Number(m.Later), m.HeldBy}, " "))
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(before, f.Pools[0]); diff != "" {
				t.Errorf("the fleet was changed: %s", diff)
			}
			insighttest.Golden(t, *update, "preview-"+strings.ReplaceAll(strings.ToLower(name), " ", "-"), p.Render(terminal.Plain(100), defaultLimit))
		})
	}
}

// moving is a fleet in which revision 4 has just come.
func moving() *insighttest.Fleet {
	f := insighttest.New()
	f.Mitigations[0].Spec.Revision, f.Mitigations[0].Spec.ContentDigest = 4, strings.Repeat("cd", 32)
	f.Manage()
	f.Now = f.Now.Add(time.Second)
	return f
}

// TestAPreviewComesTrue: what the manager plans after the change is what the preview said.
func TestAPreviewComesTrue(t *testing.T) {
	f := insighttest.New()
	p := previewOf(f, func(c *changed) { c.configurations[0].Spec.Blocked = nil })
	f.Configurations[0].Spec.Blocked = nil
	for range 3 {
		f.Manage()
	}
	for _, pool := range p.Pools {
		found := f.Pool(f.Key(pool.Namespace, pool.Name))
		plan := f.Plan(found)
		for _, m := range pool.Mitigations {
			for i := range plan.Spec.Mitigations {
				if planned := &plan.Spec.Mitigations[i]; string(planned.ID) == m.ID {
					if diff := cmp.Diff(m.After, said(plan, planned)); diff != "" {
						t.Errorf("%s/%s %s: %s", pool.Namespace, pool.Name, m.ID, diff)
					}
				}
			}
		}
	}
	if len(p.Pools) != 3 {
		t.Errorf("%d pools", len(p.Pools))
	}
}

func write(t *testing.T, folder string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		file := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFiles(t *testing.T) {
	const head = "apiVersion: ems.mitigation.dev/v1alpha1\nkind: "
	pool := head + "PoolMitigationConfig\nmetadata:\n  name: mail\n"
	folder := t.TempDir()
	write(t, folder, map[string]string{
		"good/pools.yaml":         "# both\n---\n" + pool + "  namespace: frontends\n---\n" + pool + "---\n",
		"good/list.json":          `{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"ems.mitigation.dev/v1alpha1","kind":"MitigationConfiguration","metadata":{"name":"global"}}]}`,
		"good/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n",
		"good/notes.txt":          "not read",
		"good/deep/more.yml":      head + "MitigationConfiguration\nmetadata:\n  name: site\n",
		"good/.git/x.yaml":        "what: ever",
		"twice/a.yaml":            pool, "twice/b.yaml": pool,
		"version.yaml": "apiVersion: ems.mitigation.dev/v2\nkind: PoolMitigationConfig\nmetadata:\n  name: a\n",
		"name.yaml":    head + "PoolMitigationConfig\nmetadata: {}\n",
		"broken.yaml":  "a: [",
		"double.yaml":  "a: 1\na: 2\n",
		"text.yaml":    "just text\n",
		"none.yaml":    "a: 1\n",
	})
	for name, test := range map[string]struct {
		names     []string
		recursive bool
		stdin     string
		want      []string
		others    int
		wantError string
	}{
		"a folder":                 {names: []string{"good"}, want: []string{"MitigationConfiguration global", "PoolMitigationConfig frontends/mail", "PoolMitigationConfig here/mail"}, others: 1},
		"with its folders":         {names: []string{"good"}, recursive: true, want: []string{"MitigationConfiguration site", "MitigationConfiguration global", "PoolMitigationConfig frontends/mail", "PoolMitigationConfig here/mail"}, others: 1},
		"standard input":           {names: []string{"-"}, stdin: pool, want: []string{"PoolMitigationConfig here/mail"}},
		"the same object twice":    {names: []string{"twice"}, wantError: "PoolMitigationConfig here/mail: is in"},
		"another version":          {names: []string{"version.yaml"}, wantError: `apiVersion: "ems.mitigation.dev/v2": want`},
		"without a name":           {names: []string{"name.yaml"}, wantError: "metadata.name: missing"},
		"broken YAML":              {names: []string{"broken.yaml"}, wantError: "document 1"},
		"a key twice":              {names: []string{"double.yaml"}, wantError: "already"},
		"text":                     {names: []string{"text.yaml"}, wantError: "is no object of the API"},
		"no object":                {names: []string{"none.yaml"}, wantError: "apiVersion, kind: missing"},
		"a file that there is not": {names: []string{"nowhere.yaml"}, wantError: "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			var names, got []string
			for _, n := range test.names {
				if n != "-" {
					n = filepath.Join(folder, n)
				}
				names = append(names, n)
			}
			found, others, err := readFiles(names, test.recursive, strings.NewReader(test.stdin), "here")
			if (err == nil) != (test.wantError == "") || err != nil && !strings.Contains(err.Error(), test.wantError) {
				t.Fatalf("%v, want %q", err, test.wantError)
			}
			for i := range found {
				got = append(got, found[i].String())
			}
			if diff := cmp.Diff(test.want, got); diff != "" || len(others) != test.others {
				t.Errorf("%s, %v", diff, others)
			}
		})
	}
}

func FuzzManifests(f *testing.F) {
	f.Add("apiVersion: ems.mitigation.dev/v1alpha1\nkind: PoolMitigationConfig\nmetadata:\n  name: mail\n---\n{}")
	f.Add(`{"apiVersion":"v1","kind":"List","items":[{"kind":"List","apiVersion":"v1","items":[null,1]}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		others := map[string]int{}
		list, err := parse("x", strings.NewReader(text), "here", others)
		for i := range list {
			if err == nil && (list[i].Name == "" || resources[list[i].Kind] == "") {
				t.Errorf("%+v", list[i])
			}
		}
	})
}
