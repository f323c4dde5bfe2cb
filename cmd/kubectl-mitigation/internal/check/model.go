package check

import (
	"time"

	"mitigation.dev/ems/agent/skew"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/insight"
	"mitigation.dev/ems/internal/shard"
)

// Results of a check.
const (
	resultOK      = "OK"
	resultWarning = "Warning"
	resultFailed  = "Failed"
	resultUnknown = "Unknown"
)

// Health is how well a cluster and a fleet are.
type Health struct {
	// Time of the look.
	Time time.Time `json:"time"`
	// Healthy says that nothing is wrong; there may be warnings.
	Healthy bool `json:"healthy"`
	// Failed, Warnings and Unknown count the items.
	Failed int `json:"failed"`
	// Warnings is how many items warn.
	Warnings int `json:"warnings"`
	// Unknown is how many could not be found out.
	Unknown int `json:"unknown"`
	// Items are the answers, in the order of the questions.
	Items []Item `json:"items"`
}

// Item is one answer.
type Item struct {
	// Check is the question in a word: manager, feeds, trust, rollouts, servers and so on.
	Check string `json:"check"`
	// Result is OK, Warning, Failed or Unknown.
	Result string `json:"result"`
	// What is so.
	What string `json:"what"`
	// Why it matters or came about.
	Why string `json:"why,omitempty"`
	// Next is a command to go on with.
	Next string `json:"next,omitempty"`
}

// state is how something that is shipped is in the cluster.
type state struct {
	kind, name string
	absent     bool
	// differs names the first field that is otherwise; empty if all are as shipped.
	differs string
}

// leadership is a Lease of a manager.
type leadership struct {
	namespace, holder string
	shard             shard.Name
	renewed           time.Time
	duration          time.Duration
}

// right is something that the user has to be allowed to do for an installation.
type right struct {
	group, resource, namespace, verb string
	allowed                          bool
}

// answer is what came of a question, or why nothing did.
type answer[T any] struct {
	value T
	err   error
}

// facts are what was found out.
type facts struct {
	now     time.Time
	version answer[string]
	clock   skew.Told
	// policiesServed says that the API server knows ValidatingAdmissionPolicy v1.
	policiesServed answer[bool]
	rights         answer[[]right]
	crds           answer[[]state]
	policies       answer[[]state]
	leaders        answer[[]leadership]
	// shardLeaders are those of other managers than the main one, if a pool is given to any.
	shardLeaders answer[[]leadership]
	fleet        answer[*insight.Fleet]
	// plugin is the version of the plugin.
	plugin string
}

// report sums items up.
func report(now time.Time, items []Item) *Health {
	r := &Health{Time: now.UTC().Truncate(time.Second), Items: items}
	for _, i := range items {
		switch i.Result {
		case resultFailed:
			r.Failed++
		case resultWarning:
			r.Warnings++
		case resultUnknown:
			r.Unknown++
		}
	}
	r.Healthy = r.Failed == 0
	return r
}

// Well says whether the report satisfies; strictly, it has to be without warnings, too.
func (r *Health) Well(strict bool) bool {
	return r.Healthy && (!strict || r.Warnings+r.Unknown == 0)
}
