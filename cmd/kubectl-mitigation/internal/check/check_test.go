package check

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mitigation.dev/ems/agent/skew"
	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/insight"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/insight/insighttest"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/terminal"
)

var update = flag.Bool("update", false, "write the golden files")

// well is what is found out where all is well.
func well(f *insighttest.Fleet) *facts {
	return &facts{
		now: insighttest.Evening, version: answer[string]{value: "v1.37.2"}, clock: skew.Told{Known: true}, plugin: "v0.4.0",
		policiesServed: answer[bool]{value: true},
		rights:         answer[[]right]{value: []right{{group: "apps", resource: "deployments", namespace: "ems-system", verb: "create", allowed: true}, {resource: "clusterroles", verb: "escalate", allowed: true}}},
		crds:           answer[[]state]{value: []state{{name: "mitigations.ems.mitigation.dev"}, {name: "poolservers.ems.mitigation.dev"}}},
		policies:       answer[[]state]{value: []state{{kind: "Policy", name: "ems-agent-own-token"}, {kind: "PolicyBinding", name: "ems-agent-own-token"}}},
		leaders:        answer[[]leadership]{value: []leadership{{namespace: "ems-system", holder: "ems-manager-0", renewed: insighttest.Evening.Add(-2 * time.Second), duration: 15 * time.Second}}},
		fleet:          answer[*insight.Fleet]{value: &f.Fleet},
	}
}

// badNight is a fleet in which much is wrong.
func badNight() *facts {
	f := insighttest.New().Halt()
	feed := &f.Feeds[0].Status
	feed.Conditions[1] = metav1.Condition{Type: "Ready", Status: "False", Reason: emsv1.UnreachableReason, Message: "no connection to mitigations.contoso.com"}
	feed.Document.SignedTime = nil
	feed.Document.SignerExpiryTime = new(metav1.NewTime(insighttest.Evening.Add(30 * 24 * time.Hour)))
	f.Configurations[0].Spec.Blocked = append(f.Configurations[0].Spec.Blocked, emsv1.Exception{ID: "M3", Reason: "old", ExpiryTime: insighttest.At(48 * time.Hour)})
	f.Pools[2].Spec.Suspend = emsv1.SuspendRevert
	f.Pools[2].Annotations = map[string]string{"ems.mitigation.dev/suspended-because": "night shift: OWA is down"}
	f.Pools[2].ManagedFields = []metav1.ManagedFieldsEntry{{
		Manager: "ems-plugin", Operation: metav1.ManagedFieldsOperationApply, Time: insighttest.At(30 * time.Hour), FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:suspend":{}}}`),
	}}
	s := f.Server("pilots", "lab01")
	s.Status.Local.KillSwitch = emsv1.LocalUse{By: "night"}
	s.Status.Conditions = append(s.Status.Conditions, metav1.Condition{Type: emsv1.ClockInSyncCondition, Status: "False"})
	s.Status.Facts.AgentVersion = "v0.3.9"
	found := well(f)
	found.clock = skew.Told{Known: true, Skewed: true, Ahead: 42 * time.Second}
	found.leaders.value[0].renewed = insighttest.Evening.Add(-5 * time.Minute)
	found.crds.value[0].differs = "spec.versions[0].schema"
	found.policies.value[1].absent = true
	return found
}

func TestReports(t *testing.T) {
	nothing := well(&insighttest.Fleet{})
	nothing.leaders.value, nothing.crds.value[0].absent, nothing.policies.value[0].absent = nil, true, true
	refused := well(insighttest.New())
	refused.leaders.err, refused.policies.err, refused.fleet.err = errors.New("leases is forbidden"), errors.New("policies is forbidden"), errors.New("list mitigations: forbidden")
	refused.clock = skew.Told{}
	away := &facts{now: insighttest.Evening}
	away.version.err = errors.New("dial tcp 10.0.0.1:6443: connection refused")
	away.crds.err, away.policies.err, away.leaders.err, away.fleet.err = away.version.err, away.version.err, away.version.err, away.version.err
	away.rights.err, away.policiesServed.err = away.version.err, away.version.err
	before := well(&insighttest.Fleet{})
	before.crds.value[0].absent, before.crds.value[1].absent = true, true
	poor := well(&insighttest.Fleet{})
	poor.version.value, poor.policiesServed.value = "v1.28.4", false
	poor.rights.value[0].allowed, poor.rights.value[1].allowed = false, false
	poor.crds.value[0].differs = "spec.scope"
	for name, test := range map[string]struct {
		facts        *facts
		pre          bool
		style        terminal.Style
		well, strict bool
	}{
		"well":               {facts: well(insighttest.New()), style: terminal.Plain(100), well: true},
		"bad-night":          {facts: badNight(), style: terminal.Plain(100)},
		"bad-night-terminal": {facts: badNight(), style: terminal.Style{Width: 140, Unicode: true, Color: true}},
		"nothing":            {facts: nothing, style: terminal.Plain(100)},
		"refused":            {facts: refused, style: terminal.Plain(60)},
		"away":               {facts: away, style: terminal.Plain(100)},
		"pre":                {facts: before, pre: true, style: terminal.Plain(100), well: true, strict: true},
		"pre-poor":           {facts: poor, pre: true, style: terminal.Plain(100)},
		"pre-away":           {facts: away, pre: true, style: terminal.Plain(100)},
	} {
		t.Run(name, func(t *testing.T) {
			r := Judge
			if test.pre {
				r = JudgeBefore
			}
			got := r(test.facts)
			if got.Well(false) != test.well || got.Well(true) != test.strict {
				t.Errorf("well: %v, strictly: %v", got.Well(false), got.Well(true))
			}
			insighttest.Golden(t, *update, name, got.Render(test.style))
		})
	}
}

// results are those of one question.
func results(items []Item) string {
	var out []string
	for _, i := range items {
		out = append(out, i.Result)
	}
	return strings.Join(out, " ")
}

// TestEachJudgement: every kind of trouble is told of, and nothing else is.
func TestEachJudgement(t *testing.T) {
	condition := func(kind, status, reason string) metav1.Condition {
		return metav1.Condition{Type: kind, Status: metav1.ConditionStatus(status), Reason: reason}
	}
	for name, test := range map[string]struct {
		judge  func(*insight.Fleet) []Item
		change func(f *insighttest.Fleet)
		want   string
	}{
		"feeds: none":           {judgeFeeds, func(f *insighttest.Fleet) { f.Feeds = nil }, resultWarning},
		"feeds: not read yet":   {judgeFeeds, func(f *insighttest.Fleet) { f.Feeds[0].Status.Conditions = nil }, resultWarning},
		"feeds: stale":          {judgeFeeds, func(f *insighttest.Fleet) { f.Feeds[0].Status.Conditions[0] = condition("Fresh", "False", "FeedStale") }, resultFailed},
		"feeds: partly refused": {judgeFeeds, func(f *insighttest.Fleet) { f.Feeds[0].Status.Refused = []emsv1.RefusedConfig{{ID: "M9"}} }, resultWarning},
		"feeds: a check only logs": {judgeFeeds, func(f *insighttest.Fleet) {
			f.Feeds[0].Status.Conditions = append(f.Feeds[0].Status.Conditions, condition("TrustChecksPassed", "False", "IssuerNotPinned"))
		}, resultWarning},
		"trust: a broken policy":  {judgeTrust, func(f *insighttest.Fleet) { f.Feeds[0].Spec.Trust.Roots = "" }, resultFailed},
		"trust: a root ends soon": {judgeTrust, func(f *insighttest.Fleet) { f.Now = insighttest.Evening.AddDate(0, 0, 40) }, resultWarning},
		"trust: a root has ended": {judgeTrust, func(f *insighttest.Fleet) { f.Now = insighttest.Evening.AddDate(0, 0, 89) }, resultFailed},
		"trust: the file of a server": {judgeTrust, func(f *insighttest.Fleet) {
			f.Servers[0].Status.Conditions = append(f.Servers[0].Status.Conditions, condition("TrustAnchorsCurrent", "False", "AnchorExpiring"))
		}, resultWarning},
		"pools: none":           {judgePools, func(f *insighttest.Fleet) { f.Pools = nil }, resultWarning},
		"pools: without a plan": {judgePools, func(f *insighttest.Fleet) { f.Plans = f.Plans[:2] }, resultFailed},
		"pools: broken policy": {judgePools, func(f *insighttest.Fleet) {
			f.Pools[0].Status.Conditions[0] = condition("Ready", "False", "InvalidSpec")
		}, resultFailed},
		"rollouts: halted": {judgeRollouts, func(f *insighttest.Fleet) { f.Halt() }, resultFailed},
		"servers: none":    {judgeServers, func(f *insighttest.Fleet) { f.Servers = nil }, resultWarning},
		"servers: ineffective": {judgeServers, func(f *insighttest.Fleet) {
			f.Servers[0].Status.Conditions[0] = condition("Ready", "False", "MitigationsIneffective")
		}, resultFailed},
		"servers: never reported":    {judgeServers, func(f *insighttest.Fleet) { f.Servers[0].Status.Conditions = nil }, resultWarning},
		"exceptions: end soon":       {judgeExceptions, func(*insighttest.Fleet) {}, resultWarning},
		"exceptions: far away":       {judgeExceptions, func(f *insighttest.Fleet) { f.Now = f.Now.AddDate(0, 0, -30) }, resultOK},
		"exceptions: expired":        {judgeExceptions, func(f *insighttest.Fleet) { f.Now = f.Now.AddDate(0, 0, 30) }, resultWarning},
		"switches: suspended lately": {judgeSwitches, func(f *insighttest.Fleet) { f.Configurations[0].Spec.Suspend = emsv1.SuspendRevert }, resultWarning},
		"switches: disabled":         {judgeSwitches, func(f *insighttest.Fleet) { f.Pools[0].Spec.Mitigations = emsv1.Disabled }, resultWarning},
	} {
		f := insighttest.New()
		if name != "exceptions: end soon" && !strings.HasPrefix(name, "exceptions: f") && !strings.HasPrefix(name, "exceptions: ex") {
			if got := results(test.judge(&f.Fleet)); got != resultOK {
				t.Errorf("%s: %s before the change", name, got)
			}
		}
		test.change(f)
		if got := results(test.judge(&f.Fleet)); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

// TestWhatIsLeftOutHidesNothingWrong: the worst answers are among those that are shown.
func TestWhatIsLeftOutHidesNothingWrong(t *testing.T) {
	f := insighttest.New()
	good := f.Feeds[0]
	f.Feeds = nil
	for i := range 2 * maxRows {
		feed := *good.DeepCopy()
		feed.Name = fmt.Sprintf("feed%d", i)
		feed.Status.Conditions = nil // not read yet: a warning
		f.Feeds = append(f.Feeds, feed)
	}
	f.Feeds[len(f.Feeds)-1].Status.Conditions = []metav1.Condition{{Type: "Ready", Status: "False", Reason: "Unreachable"}}
	if got, want := results(judgeFeeds(&f.Fleet)), "Failed"+strings.Repeat(" Warning", maxRows); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestManagers(t *testing.T) {
	leader := func(namespace string, age time.Duration) leadership {
		return leadership{namespace: namespace, holder: "m", renewed: insighttest.Evening.Add(-age), duration: 15 * time.Second}
	}
	for name, test := range map[string]struct {
		leaders []leadership
		ahead   time.Duration
		want    string
	}{
		"one leads":                         {leaders: []leadership{leader("a", time.Second)}, want: "a/m leads"},
		"one leads, another is history":     {leaders: []leadership{leader("a", time.Second), leader("b", time.Hour)}, want: "a/m leads"},
		"two lead":                          {leaders: []leadership{leader("a", time.Second), leader("b", 0)}, want: "several lead: a/m, b/m"},
		"none":                              {want: "none has ever led in this cluster"},
		"the last is long ago":              {leaders: []leadership{leader("a", time.Hour)}, want: "none leads; the last sign, in namespace a, was 60m ago"},
		"our clock is an hour ahead":        {leaders: []leadership{leader("a", time.Hour)}, ahead: time.Hour, want: "a/m leads"},
		"one that gave its leadership back": {leaders: []leadership{{namespace: "a", renewed: insighttest.Evening, duration: time.Second}}, want: "none leads; the last sign, in namespace a, was 0s ago"},
	} {
		f := &facts{now: insighttest.Evening, clock: skew.Told{Ahead: test.ahead}, leaders: answer[[]leadership]{value: test.leaders}}
		if got := judgeManager(f).What; got != test.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestDifferences(t *testing.T) {
	shipped := map[string]any{"a": []any{map[string]any{"n": "x", "v": 1.0}}, "who": "user is system:serviceaccount:ems-system:ems-manager"}
	for name, test := range map[string]struct {
		live any
		want string
	}{
		"the same":                 {shipped, ""},
		"what the API server adds": {map[string]any{"a": []any{map[string]any{"n": "x", "v": 1.0, "default": true}}, "who": "user is system:serviceaccount:other:name", "more": 1.0}, ""},
		"another value":            {map[string]any{"a": []any{map[string]any{"n": "x", "v": 2.0}}, "who": shipped["who"]}, "spec.a[0].v"},
		"a longer list":            {map[string]any{"a": []any{map[string]any{"n": "x", "v": 1.0}, 1.0}, "who": shipped["who"]}, "spec.a"},
		"a missing field":          {map[string]any{"a": []any{map[string]any{"n": "x"}}, "who": shipped["who"]}, "spec.a[0].v"},
		"another text":             {map[string]any{"a": shipped["a"], "who": "anybody"}, "spec.who"},
		"nothing":                  {nil, "spec"},
		"another type":             {map[string]any{"a": "x", "who": shipped["who"]}, "spec.a"},
	} {
		if diff := cmp.Diff(test.want, differs(shipped, test.live, "spec")); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestSinceWhen(t *testing.T) {
	entry := func(raw string) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Time: insighttest.At(time.Hour), FieldsV1: metav1.NewFieldsV1(raw)}
	}
	for raw, known := range map[string]bool{`{"f:spec":{"f:suspend":{}}}`: true, `{"f:spec":{"f:mode":{}}}`: false, `{`: false, `{"f:metadata":{}}`: false} {
		if got := !written([]metav1.ManagedFieldsEntry{entry(raw)}, "suspend").IsZero(); got != known {
			t.Errorf("%s: %v", raw, got)
		}
	}
	if !written([]metav1.ManagedFieldsEntry{{}}, "suspend").IsZero() {
		t.Error("an empty entry has a time")
	}
}
