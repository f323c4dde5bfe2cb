package shard_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/shard"
)

func marked(value string) *emsv1.PoolServer {
	return &emsv1.PoolServer{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{emsv1.ShardLabel: value}}}
}

func TestParse(t *testing.T) {
	for name, tc := range map[string]struct {
		text      string
		want      shard.Name
		wantLease string
		wantErr   bool
	}{
		"none is the main one":      {text: "", want: shard.Main, wantLease: "manager.ems.mitigation.dev"},
		"a name":                    {text: "europe-1", want: "europe-1", wantLease: "shard-europe-1.manager.ems.mitigation.dev"},
		"capitals":                  {text: "Europe", wantErr: true},
		"what is no label":          {text: "a/b", wantErr: true},
		"a dot, which a Lease has":  {text: "a.b", wantErr: true},
		"the longest":               {text: strings.Repeat("a", 63), want: shard.Name(strings.Repeat("a", 63)), wantLease: "shard-" + strings.Repeat("a", 63) + ".manager.ems.mitigation.dev"},
		"one more than the longest": {text: strings.Repeat("a", 64), wantErr: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := shard.Parse(tc.text)
			if (err != nil) != tc.wantErr || got != tc.want {
				t.Fatalf("Parse(%q) = %q, %v", tc.text, got, err)
			}
			if err == nil && got.Lease() != tc.wantLease {
				t.Errorf("Lease = %q, want %q", got.Lease(), tc.wantLease)
			}
		})
	}
}

// Every server is one manager's, and of none but those that are marked with a name that nobody bears.
func TestEveryServerHasOneManager(t *testing.T) {
	managers := []shard.Name{shard.Main, "europe", "asia"}
	for name, tc := range map[string]struct {
		server     *emsv1.PoolServer
		want       string
		wantAstray bool
	}{
		"without a mark":               {server: &emsv1.PoolServer{}, want: `the main manager`},
		"marked":                       {server: marked("asia"), want: `the manager of shard "asia"`},
		"marked with what nobody is":   {server: marked("eurpoe"), wantAstray: true},
		"marked with nothing at all":   {server: marked(""), wantAstray: true},
		"marked with what is no shard": {server: marked("Europe_1"), wantAstray: true},
	} {
		t.Run(name, func(t *testing.T) {
			var has []string
			set := labels.Set(tc.server.Labels)
			for _, m := range managers {
				if m.Servers().Matches(set) {
					has = append(has, m.Manager())
				}
				if m.Servers().Matches(set) == m.Others().Matches(set) {
					t.Errorf("%v takes it for its own and for another's, or for neither", m)
				}
				if m.Servers().Matches(set) != m.Marked(tc.server) {
					t.Errorf("%v selects by another mark than it looks at", m)
				}
			}
			if got := strings.Join(has, ", "); got != tc.want {
				t.Errorf("it is of %q, want %q", got, tc.want)
			}
			if got := shard.Astray(managers[1:]).Matches(set); got != tc.wantAstray {
				t.Errorf("astray = %t, want %t", got, tc.wantAstray)
			}
		})
	}
	if !shard.Astray(nil).Matches(labels.Set{emsv1.ShardLabel: "europe"}) || shard.Astray(nil).Matches(labels.Set{}) {
		t.Error("without any manager but the main one, all servers of others are astray, and no others")
	}
}

func TestPoolsWithoutNameAreTheMainManagers(t *testing.T) {
	pool := &emsv1.PoolMitigationConfig{}
	if !shard.Main.Has(pool) || shard.Name("europe").Has(pool) {
		t.Error("a pool without the label is not the main manager's alone")
	}
	pool.Labels = map[string]string{emsv1.ShardLabel: ""}
	if !shard.Main.Has(pool) {
		t.Error("a pool with an empty label is not the main manager's")
	}
	if shard.Main.Mark() != nil || *shard.Name("europe").Mark() != "europe" {
		t.Error("servers are marked otherwise than their manager selects them")
	}
}
