package cli

import "strings"

// kinds are the kinds of the API by what people call them: a word of this program, or a name that kubectl has for the resource.
var kinds = map[string]string{
	"feed": "MitigationFeed", "mitigationfeed": "MitigationFeed", "mfeed": "MitigationFeed",
	"mitigation": "Mitigation", "mit": "Mitigation",
	"pool": "PoolMitigationConfig", "poolmitigationconfig": "PoolMitigationConfig", "pmc": "PoolMitigationConfig",
	"server": "PoolServer", "poolserver": "PoolServer", "psrv": "PoolServer",
	"configuration": "MitigationConfiguration", "mitigationconfiguration": "MitigationConfiguration", "mconf": "MitigationConfiguration",
	"bundle": "MitigationBundle", "mitigationbundle": "MitigationBundle", "mbundle": "MitigationBundle",
	"plan": "MitigationPlan", "mitigationplan": "MitigationPlan", "mplan": "MitigationPlan",
}

// KindNamed is the kind of the API that a word means, such as PoolServer for servers, poolserver and psrv: in the singular or the plural,
// in any case, also with the group behind it as kubectl prints it. Empty if it means none.
func KindNamed(word string) string {
	word = strings.TrimSuffix(strings.ToLower(word), ".ems.mitigation.dev")
	return kinds[strings.TrimSuffix(word, "s")]
}
