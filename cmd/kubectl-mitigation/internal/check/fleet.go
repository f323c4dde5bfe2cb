package check

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilversion "k8s.io/apimachinery/pkg/util/version"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/insight"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/rolloutcmd"
	"mitigation.dev/ems/internal/trust"
)

const (
	// soon is within which time an exception that ends is told of: time enough to talk to its owner.
	soon = 7 * 24 * time.Hour
	// longSuspended is from when on a kill switch is no longer an answer to an incident, but a state.
	longSuspended = 24 * time.Hour
	// maxRows is how many rollouts or feeds have a line of their own.
	maxRows = 5
)

// Judge says how well the cluster and the fleet are.
func Judge(f *facts) *Health {
	items := []Item{judgeVersion(f), judgeClock(f), judgeManager(f)}
	items = append(items, judgeShipped("crds", f.crds)...)
	items = append(items, judgeShipped("admission", f.policies)...)
	switch {
	case f.version.err != nil:
		return report(f.now, append(items, unknown("fleet", f.fleet.err)))
	case f.fleet.err != nil:
		// Nothing is wrong that anybody knows of; but who watches by the exit code must not take that for well.
		return report(f.now, append(items, Item{
			Check: "fleet", Result: resultFailed, What: "cannot be read, so nobody can say that it is well", Why: f.fleet.err.Error(), Next: "kubectl auth can-i --list",
		}))
	}
	fleet := f.fleet.value
	items = append(items, judgeShards(f, fleet)...)
	for _, judge := range []func(*insight.Fleet) []Item{judgeFeeds, judgeTrust, judgePools, judgeRollouts, judgeServers, judgeExceptions, judgeSwitches} {
		items = append(items, judge(fleet)...)
	}
	items = append(items, judgeAgents(fleet, f.plugin))
	for _, note := range fleet.Unseen {
		items = append(items, Item{Check: "fleet", Result: resultUnknown, What: "not all of it can be seen", Why: note})
	}
	return report(f.now, items)
}

// orOK gives the items, or if there are none one that says that all is well.
func orOK(items []Item, check, what string) []Item {
	if len(items) == 0 {
		return []Item{{Check: check, Result: resultOK, What: what}}
	}
	return items
}

func judgeFeeds(f *insight.Fleet) []Item {
	const check = "feeds"
	if len(f.Feeds) == 0 {
		return []Item{{Check: check, Result: resultWarning, What: "there is none", Why: "no mitigation can come", Next: "kubectl apply -f config/samples/mitigationfeed_exchange.yaml"}}
	}
	var items []Item
	for i := range f.Feeds {
		feed := &f.Feeds[i]
		next := "kubectl mitigation describe feed " + feed.Name
		ready := meta.FindStatusCondition(feed.Status.Conditions, emsv1.ReadyCondition)
		fresh := meta.FindStatusCondition(feed.Status.Conditions, emsv1.FreshCondition)
		checks := meta.FindStatusCondition(feed.Status.Conditions, emsv1.TrustChecksPassedCondition)
		switch {
		case ready == nil || ready.Status == metav1.ConditionUnknown:
			items = append(items, Item{Check: check, Result: resultWarning, What: feed.Name + " has not been read yet", Next: next})
		case ready.Status == metav1.ConditionFalse:
			items = append(items, Item{Check: check, Result: resultFailed, What: feed.Name + " is not ready: " + ready.Reason, Why: ready.Message, Next: next})
		case fresh != nil && fresh.Status == metav1.ConditionFalse:
			items = append(items, Item{Check: check, Result: resultFailed, What: feed.Name + " is not fresh: " + fresh.Reason, Why: fresh.Message, Next: next})
		case len(feed.Status.Refused) > 0:
			items = append(items, Item{
				Check: check, Result: resultWarning, What: fmt.Sprintf("%s: %s of its document refused", feed.Name, insight.Plural(len(feed.Status.Refused), "mitigation")), Why: feed.Status.Refused[0].Message, Next: next,
			})
		}
		if checks != nil && checks.Status == metav1.ConditionFalse {
			items = append(items, Item{Check: check, Result: resultWarning, What: feed.Name + " fails a check that is only logged: " + checks.Reason, Why: checks.Message, Next: next})
		}
	}
	return orOK(shorten(items, "kubectl get mitigationfeeds"), check, insight.Plural(len(f.Feeds), "feed")+", ready and fresh")
}

// judgeTrust says which certificates and lists run out.
func judgeTrust(f *insight.Fleet) []Item {
	const check = "trust"
	const next = "kubectl mitigation describe feed "
	var items []Item
	var first *insight.Anchor
	for i := range f.Feeds {
		anchors, err := insight.Anchors(&f.Feeds[i])
		if err != nil {
			items = append(items, Item{Check: check, Result: resultFailed, What: "spec.trust of feed " + f.Feeds[i].Name + " cannot be read", Why: err.Error(), Next: next + f.Feeds[i].Name})
			continue
		}
		for j := range anchors {
			a := &anchors[j]
			if a.Expiry == nil {
				continue
			}
			if first == nil || a.Expiry.Before(*first.Expiry) {
				first = a
			}
			horizon := trust.Horizon
			if a.Kind == string(trust.KindRevocationList) {
				horizon = trust.ListHorizon
			}
			left := a.Expiry.Sub(f.Now)
			switch {
			case left <= 0:
				items = append(items, Item{Check: check, Result: resultFailed, What: fmt.Sprintf("%s %q of feed %s ended %s", a.Kind, a.Subject, f.Feeds[i].Name, insight.Ago(*a.Expiry, f.Now)), Why: "documents are refused that rest on it", Next: next + f.Feeds[i].Name})
			case left < horizon:
				items = append(items, Item{Check: check, Result: resultWarning, What: fmt.Sprintf("%s %q of feed %s ends in %s", a.Kind, a.Subject, f.Feeds[i].Name, insight.Plural(days(left), "day")), Why: "servers have to trust the next one before: docs/operations/rotate-keys.md", Next: next + f.Feeds[i].Name})
			}
		}
	}
	var names []string
	for i := range f.Servers {
		if c := meta.FindStatusCondition(f.Servers[i].Status.Conditions, emsv1.TrustAnchorsCurrentCondition); c != nil && c.Status == metav1.ConditionFalse {
			names = append(names, f.Servers[i].Namespace+"/"+f.Servers[i].Name)
		}
	}
	if len(names) > 0 {
		items = append(items, Item{Check: check, Result: resultWarning, What: "the trust file runs out on " + few(names), Why: "servers trust by a file of their own", Next: "kubectl mitigation describe server " + names[0]})
	}
	if first == nil {
		return orOK(items, check, "no anchor has an end")
	}
	return orOK(items, check, fmt.Sprintf("the first anchor ends in %s (%s)", insight.Plural(days(first.Expiry.Sub(f.Now)), "day"), first.Subject))
}

func judgePools(f *insight.Fleet) []Item {
	const check = "pools"
	var items []Item
	for i := range f.Pools {
		pool := &f.Pools[i]
		ready := meta.FindStatusCondition(pool.Status.Conditions, emsv1.ReadyCondition)
		name := pool.Namespace + "/" + pool.Name
		switch {
		case ready != nil && ready.Reason == emsv1.InvalidSpecReason:
			items = append(items, Item{Check: check, Result: resultFailed, What: name + ": its policy cannot be used", Why: ready.Message, Next: "kubectl mitigation describe pool " + name})
		case ready != nil && ready.Reason == emsv1.TakingOverReason:
			items = append(items, Item{Check: check, Result: resultWarning, What: name + " is being handed over", Why: ready.Message, Next: "kubectl mitigation describe pool " + name})
		case f.Plan(pool) == nil && (ready == nil || ready.Reason != emsv1.NoManagerReason): // judgeShards tells those.
			items = append(items, Item{Check: check, Result: resultFailed, What: name + " has no plan", Why: "the manager has not seen it yet; servers keep what they have", Next: "kubectl mitigation describe pool " + name})
		}
	}
	if len(f.Pools) == 0 {
		return []Item{{Check: check, Result: resultWarning, What: "there is none", Why: "no server can be protected", Next: "kubectl apply -f config/samples/poolmitigationconfig.yaml"}}
	}
	return orOK(shorten(items, "kubectl get poolmitigationconfigs -A"), check, insight.Plural(len(f.Pools), "pool")+", each with a plan")
}

// shorten leaves out what is more than a person reads; what is wrong comes first, so that nothing that is wrong is counted as a warning.
func shorten(items []Item, next string) []Item {
	if len(items) <= maxRows {
		return items
	}
	slices.SortStableFunc(items, func(a, b Item) int { return strings.Compare(a.Result, b.Result) }) // Failed, Warning
	return append(items[:maxRows:maxRows], Item{Check: items[0].Check, Result: items[maxRows].Result, What: "and " + insight.Number(len(items)-maxRows) + " more of this kind", Next: next})
}

func judgeRollouts(f *insight.Fleet) []Item {
	const check = "rollouts"
	status := f.Rollouts(f.Pools)
	var items []Item
	for i := range status.Rollouts {
		r := &status.Rollouts[i]
		item := Item{Check: check, What: fmt.Sprintf("%s revision %d in %s: %s", r.Mitigation, r.Revision, r.Key(), r.Reason), Why: r.Message, Next: first(r.Next)}
		switch {
		case r.State == string(emsv1.RolloutHalted) || r.Reason == emsv1.RolloutStuckReason:
			item.Result = resultFailed
		case r.State == string(emsv1.RolloutPaused) || r.Reason == emsv1.AwaitingApprovalReason:
			item.Result = resultWarning
		default:
			continue
		}
		items = append(items, item)
	}
	slices.SortStableFunc(items, func(a, b Item) int { return strings.Compare(a.Result, b.Result) })
	return orOK(shorten(items, "kubectl mitigation rollout status -A"), check, "none is halted, stuck or waits for a person")
}

func first(hints []rolloutcmd.Hint) string {
	if len(hints) == 0 {
		return "kubectl mitigation rollout status -A"
	}
	return hints[0].Command
}

// troubles gathers servers by what is wrong with them.
type troubles struct{ silent, failed, ineffective, skewed, killed, behind []string }

func judgeServers(f *insight.Fleet) []Item {
	const check = "servers"
	if len(f.Servers) == 0 {
		return []Item{{Check: check, Result: resultWarning, What: "there is none", Why: "nothing is protected", Next: "kubectl mitigation enroll --help"}}
	}
	var t troubles
	for i := range f.Servers {
		t.take(&f.Servers[i])
	}
	var items []Item
	add := func(result string, names []string, what, why string) {
		if len(names) > 0 {
			items = append(items, Item{Check: check, Result: result, What: fmt.Sprintf("%s %s: %s", insight.Plural(len(names), "server"), what, few(names)), Why: why, Next: "kubectl mitigation describe server " + names[0]})
		}
	}
	add(resultFailed, t.failed, "that cannot do what the plan wants", "the hole is open there, or the server got worse")
	add(resultFailed, t.ineffective, "with mitigations in place that IIS does not run", "the hole is open there")
	add(resultFailed, t.silent, "not heard of for a while", "what is applied stays; whether it is, nobody knows")
	add(resultWarning, t.skewed, "with another time than the API server", "exceptions, documents and certificates end early or late there")
	add(resultWarning, t.killed, "with the kill switch thrown, at the server itself", "no mitigation is in place there")
	add(resultWarning, t.behind, "without any report so far", "the agent does not run, or may not write")
	return orOK(items, check, insight.Plural(len(f.Servers), "server")+", all heard of, none failed")
}

func (t *troubles) take(s *emsv1.PoolServer) {
	name := s.Namespace + "/" + s.Name
	ready := meta.FindStatusCondition(s.Status.Conditions, emsv1.ReadyCondition)
	switch {
	case ready == nil:
		t.behind = append(t.behind, name)
	case insight.IsSilent(s):
		t.silent = append(t.silent, name)
	case ready.Reason == emsv1.MitigationsFailedReason:
		t.failed = append(t.failed, name)
	case ready.Reason == emsv1.MitigationsIneffectiveReason:
		t.ineffective = append(t.ineffective, name)
	}
	if c := meta.FindStatusCondition(s.Status.Conditions, emsv1.ClockInSyncCondition); c != nil && c.Status == metav1.ConditionFalse {
		t.skewed = append(t.skewed, name)
	}
	if s.Status.Local.KillSwitch.By != "" {
		t.killed = append(t.killed, name)
	}
}

// judgeAgents finds agents that are older than the newest one, or than the plugin.
func judgeAgents(f *insight.Fleet, plugin string) Item {
	const check = "agents"
	newest, _ := utilversion.ParseSemantic(plugin)
	parsed := map[string]*utilversion.Version{}
	for i := range f.Servers {
		text := f.Servers[i].Status.Facts.AgentVersion
		if version, err := utilversion.ParseSemantic(text); err == nil {
			if parsed[text] = version; newest == nil || newest.LessThan(version) {
				newest = version
			}
		}
	}
	var old []string
	for i := range f.Servers {
		if version := parsed[f.Servers[i].Status.Facts.AgentVersion]; version != nil && version.LessThan(newest) {
			old = append(old, f.Servers[i].Namespace+"/"+f.Servers[i].Name)
		}
	}
	switch {
	case len(old) > 0:
		return Item{
			Check: check, Result: resultWarning, What: fmt.Sprintf("%s older than v%s: %s", insight.Plural(len(old), "agent"), newest, few(old)),
			Why: "an older agent may not know all that a plan can say", Next: "kubectl mitigation version",
		}
	case len(parsed) == 0:
		return Item{Check: check, Result: resultOK, What: "no agent has told its version yet"}
	}
	return Item{Check: check, Result: resultOK, What: fmt.Sprintf("all of version v%s", newest)}
}

func judgeExceptions(f *insight.Fleet) []Item {
	const check = "exceptions"
	var expired, ending, active []insight.Obstacle
	take := func(list []insight.Obstacle) {
		for _, o := range list {
			switch {
			case o.ID == "":
			case o.Expired:
				expired = append(expired, o)
			case o.Until != nil && o.Until.Sub(f.Now) < soon:
				ending = append(ending, o)
			default:
				active = append(active, o)
			}
		}
	}
	for i := range f.Configurations {
		take(insight.ConfigurationObstacles(&f.Configurations[i], "", f.Now))
	}
	for i := range f.Pools {
		take(insight.PoolObstacles(&f.Pools[i], "", f.Now))
	}
	byEnd := func(a, b insight.Obstacle) int { return a.Until.Compare(*b.Until) }
	slices.SortStableFunc(expired, byEnd)
	slices.SortStableFunc(ending, byEnd)
	var items []Item
	if len(ending) > 0 {
		items = append(items, Item{
			Check: check, Result: resultWarning, What: fmt.Sprintf("%d ending within %s, first: %s", len(ending), insight.Plural(days(soon), "day"), ending[0].Text(f.Now)),
			Why: "from then on the mitigation is applied, or asked about again", Next: again(&ending[0]),
		})
	}
	if len(expired) > 0 {
		items = append(items, Item{
			Check: check, Result: resultWarning, What: fmt.Sprintf("%d expired, which can go, first: %s", len(expired), expired[0].Text(f.Now)),
			Why: "they no longer count, and make lists hard to read", Next: away(&expired[0]),
		})
	}
	return orOK(items, check, fmt.Sprintf("%d count, none ends soon, none has expired", len(active)))
}

// target is the object of an obstacle as flags of the commands that steer.
func target(o *insight.Obstacle) string {
	kind, name, _ := strings.Cut(o.Object, "/")
	switch {
	case kind == "PoolMitigationConfig":
		return "--pool " + name
	case name == emsv1.GlobalConfigurationName:
		return "--organization"
	}
	return "--configuration " + name
}

// away is the command that takes an entry out of its list, again the one that says it anew.
func away(o *insight.Obstacle) string {
	return "kubectl mitigation " + verbs[o.Field][1] + " " + o.ID + " " + target(o)
}

func again(o *insight.Obstacle) string {
	return "kubectl mitigation " + verbs[o.Field][0] + " " + o.ID + " " + target(o) + " --reason '...'"
}

var verbs = map[string][2]string{
	"spec.blocked": {"block", "unblock"}, "spec.suspendedMitigations": {"suspend", "unsuspend"}, "spec.approved": {"approve", "unapprove"},
}

// judgeSwitches tells of kill switches and of disabled mitigations, in pools and in configurations.
func judgeSwitches(f *insight.Fleet) []Item {
	const check = "switches"
	var items []Item
	take := func(list []insight.Obstacle, managed []metav1.ManagedFieldsEntry) {
		for i := range list {
			switch o := &list[i]; o.Field {
			case "spec.suspend":
				item := Item{
					Check: check, Result: resultWarning, What: o.Object + " is suspended", Why: cmp.Or(o.Reason, "every mitigation is kept off its servers"),
					Next: "kubectl mitigation unsuspend --all " + target(o),
				}
				if since := written(managed, "suspend"); !since.IsZero() {
					item.What += " for " + insight.Span(f.Now.Sub(since))
					if f.Now.Sub(since) > longSuspended {
						item.Result = resultFailed
					}
				}
				items = append(items, item)
			case "spec.mitigations":
				items = append(items, Item{Check: check, Result: resultWarning, What: o.Object + " is disabled", Why: "nothing new is applied there", Next: "kubectl mitigation enable " + target(o)})
			}
		}
	}
	for i := range f.Configurations {
		take(insight.ConfigurationObstacles(&f.Configurations[i], "", f.Now), f.Configurations[i].ManagedFields)
	}
	for i := range f.Pools {
		take(insight.PoolObstacles(&f.Pools[i], "", f.Now), f.Pools[i].ManagedFields)
	}
	slices.SortStableFunc(items, func(a, b Item) int { return strings.Compare(a.Result, b.Result) })
	return orOK(shorten(items, "kubectl get mitigationconfigurations,poolmitigationconfigs -A"), check, "nothing is suspended or disabled")
}

// written is when the field manager wrote that owns a field of the spec; zero if nobody knows. It may have written something else
// later, so that the field may be older than that.
func written(managed []metav1.ManagedFieldsEntry, field string) time.Time {
	for _, e := range managed {
		if e.FieldsV1 == nil || e.Time == nil || e.Subresource != "" {
			continue
		}
		var owned struct {
			Spec map[string]json.RawMessage `json:"f:spec"`
		}
		if json.Unmarshal(e.FieldsV1.GetRawBytes(), &owned) == nil {
			if _, owns := owned.Spec["f:"+field]; owns {
				return e.Time.Time
			}
		}
	}
	return time.Time{}
}
