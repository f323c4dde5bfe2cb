package check

import (
	"fmt"
	"maps"
	"slices"

	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/insight"
	"mitigation.dev/ems/internal/shard"
)

// shardsOf are the pools of each shard but the main manager's.
func shardsOf(f *insight.Fleet) map[shard.Name][]string {
	pools := map[shard.Name][]string{}
	for i := range f.Pools {
		if of := shard.Of(&f.Pools[i]); of != shard.Main {
			pools[of] = append(pools[of], f.Pools[i].Namespace+"/"+f.Pools[i].Name)
		}
	}
	return pools
}

// judgeShards says which pools are given to a manager that is not there. Where no pool is given to any, there is nothing to say.
func judgeShards(f *facts, fleet *insight.Fleet) []Item {
	const check = "shards"
	const look = "kubectl get pods,leases -A -l ems.mitigation.dev/shard"
	pools := shardsOf(fleet)
	if len(pools) == 0 {
		return nil
	}
	if f.shardLeaders.err != nil {
		return []Item{unknown(check, f.shardLeaders.err)}
	}
	leading := map[shard.Name][]string{}
	for _, l := range f.shardLeaders.value {
		if f.leads(l) {
			leading[l.shard] = append(leading[l.shard], l.namespace+"/"+l.holder)
		}
	}
	var items []Item
	for _, name := range slices.Sorted(maps.Keys(pools)) {
		switch managers := leading[name]; {
		case len(managers) == 0:
			items = append(items, Item{
				Check: check, Result: resultFailed, What: fmt.Sprintf("no manager works for %q, the label of %s: %s", string(name), insight.Plural(len(pools[name]), "pool"), few(pools[name])),
				Why: "what is applied stays; nothing new reaches their servers, no block and no kill switch", Next: look,
			})
		case len(managers) > 1:
			slices.Sort(managers)
			items = append(items, Item{
				Check: check, Result: resultFailed, What: fmt.Sprintf("several work for %q: %s", string(name), few(managers)),
				Why: "managers in different namespaces do not know of each other, and write the same plans", Next: look,
			})
		}
	}
	return orOK(shorten(items, look), check, insight.Plural(len(pools), "shard")+", each with a manager")
}
