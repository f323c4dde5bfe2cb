package page

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/page/pagetest"
	"mitigation.dev/ems/internal/shard"
)

// europe is a fleet as the main manager has it: the pool frontend, in which a server failed, and mailbox, in which one is silent, are of the
// shard europe, and their servers in another cache.
func europe() *pagetest.Fleet {
	fleet := pagetest.Small(begin)
	for i := range fleet.Pools {
		p := &fleet.Pools[i]
		if p.Name != "frontend" && p.Name != "mailbox" {
			continue
		}
		p.Labels = map[string]string{emsv1.ShardLabel: "europe"}
		count := int32(0)
		fleet.Servers = slices.DeleteFunc(fleet.Servers, func(s emsv1.PoolServer) bool {
			is := s.Namespace == p.Namespace && s.Spec.PoolName == p.Name
			if is {
				count++
			}
			return is
		})
		p.Status.Servers, p.Status.Silent = new(count), new(int32(0))
		if p.Name == "mailbox" {
			p.Status.Silent = new(int32(1))
		}
		for j := range p.Status.Mitigations {
			if m := &p.Status.Mitigations[j]; p.Name == "frontend" && m.ID == "OWA1" {
				m.Failing = []string{"frontend01"}
			}
		}
	}
	return fleet
}

func TestPoolsOfOtherManagersAreSummedUp(t *testing.T) {
	s := newSite(t, europe())
	for target, want := range map[string][]string{
		"/fleet": {
			"of 6 servers are protected", "20 more servers in 2 pools of other managers, 1 of them silent", "exchange/frontend | 8 |", "exchange/mailbox | 12 |",
			"OWA1 failed on frontend01 in exchange/frontend", `The page of the manager of shard "europe" says why.`,
		},
		"/fleet/pools/exchange/frontend": {`The 8 servers of this pool are watched over by the manager of shard "europe"`, "OWA1 |"},
		"/fleet/pools/exchange/edge":     {"edge01"},
	} {
		said := lines(t, s.get(t, target))
		for _, text := range want {
			if !strings.Contains(said, text) {
				t.Errorf("%s does not say %q:\n%s", target, text, said)
			}
		}
		if strings.Contains(said, "is enrolled") {
			t.Errorf("%s says that a pool of another manager has no servers", target)
		}
	}
	w := s.do(t, http.MethodGet, "/fleet/servers/exchange/frontend01", "", "Authorization", "Bearer good")
	if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "A server of another manager&#39;s pool has a page there.") {
		t.Errorf("a server of another manager: %d %s", w.Code, w.Body)
	}
	for _, n := range nodes(t, s.get(t, "/fleet")) {
		if href := n.attr("href"); strings.HasPrefix(href, "/fleet/servers/exchange/frontend") {
			t.Errorf("a link leads to %s, which is not there", href)
		}
	}
}

// The same pools on the page of the manager that has them, and of one that has none at all.
func TestEveryManagerHasThePageOfItsOwnPools(t *testing.T) {
	for name, tc := range map[string]struct {
		mine shard.Name
		want string
	}{
		"that of the shard": {mine: "europe", want: "of 20 servers are protected"},
		"that of no pool":   {mine: "asia", want: "Every server is another manager's"},
	} {
		t.Run(name, func(t *testing.T) {
			fleet := pagetest.Small(begin)
			there := europe()
			fleet.Pools = there.Pools
			fleet.Servers = slices.DeleteFunc(fleet.Servers, func(s emsv1.PoolServer) bool {
				return tc.mine != "europe" || s.Spec.PoolName != "frontend" && s.Spec.PoolName != "mailbox"
			})
			for i := range fleet.Pools {
				if p := &fleet.Pools[i]; p.Status.Servers == nil {
					p.Status.Servers = new(int32(3))
				}
			}
			s := newSite(t, fleet)
			s.source.shard = tc.mine
			if said := lines(t, s.get(t, "/fleet")); !strings.Contains(said, tc.want) {
				t.Errorf("want %q in:\n%s", tc.want, said)
			}
		})
	}
}
