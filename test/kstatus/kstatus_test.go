package kstatus_test

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/test/kstatus"
)

// condition is a well-formed condition of generation 2.
func condition(name string, status metav1.ConditionStatus, change ...func(*metav1.Condition)) metav1.Condition {
	c := metav1.Condition{
		Type: name, Status: status, Reason: "AReason", Message: "a message", ObservedGeneration: 2,
		LastTransitionTime: metav1.NewTime(time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)),
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

// feed is an object of generation 2 whose status speaks of generation 2.
func feed(conditions ...metav1.Condition) *emsv1.MitigationFeed {
	return &emsv1.MitigationFeed{
		ObjectMeta: metav1.ObjectMeta{Name: "exchange", Generation: 2},
		Status:     emsv1.MitigationFeedStatus{Conditions: conditions, ObservedGeneration: ptr.To[int64](2)},
	}
}

func TestCheck(t *testing.T) {
	tests := map[string]struct {
		conditions []metav1.Condition
		generation int64 // 2, as in status, when left out
		wantRules  []string
	}{
		"ready and nothing else is consistent": {
			conditions: []metav1.Condition{condition("Ready", "True")},
		},
		"ready beside a condition of the kind is consistent": {
			conditions: []metav1.Condition{condition("Ready", "True"), condition("Fresh", "Unknown")},
		},
		"not ready while reconciling is consistent": {
			conditions: []metav1.Condition{condition("Ready", "False"), condition("Reconciling", "True")},
		},
		"unknown while reconciling an older generation is consistent": {
			conditions: []metav1.Condition{condition("Ready", "Unknown"), condition("Reconciling", "True")},
			generation: 3,
		},
		"not ready while stalled is consistent": {
			conditions: []metav1.Condition{condition("Ready", "False"), condition("Stalled", "True")},
		},
		"unknown before the first look is consistent": {
			conditions: []metav1.Condition{condition("Ready", "Unknown")},
		},
		"no conditions at all lack Ready": {
			wantRules: []string{kstatus.RuleReadyPresent},
		},
		"a type that stands there twice": {
			conditions: []metav1.Condition{condition("Ready", "True"), condition("Ready", "True")},
			wantRules:  []string{kstatus.RuleTypeUnique},
		},
		"reconciling that is kept as False": {
			conditions: []metav1.Condition{condition("Ready", "True"), condition("Reconciling", "False")},
			wantRules:  []string{kstatus.RuleOnlyWhenTrue},
		},
		"stalled that is kept as Unknown": {
			conditions: []metav1.Condition{condition("Ready", "True"), condition("Stalled", "Unknown")},
			wantRules:  []string{kstatus.RuleOnlyWhenTrue},
		},
		"reconciling and stalled together": {
			conditions: []metav1.Condition{condition("Ready", "False"), condition("Reconciling", "True"), condition("Stalled", "True")},
			wantRules:  []string{kstatus.RuleNeverTogether},
		},
		"ready and reconciling together": {
			conditions: []metav1.Condition{condition("Ready", "True"), condition("Reconciling", "True")},
			wantRules:  []string{kstatus.RuleReadyAlone},
		},
		"ready and stalled together": {
			conditions: []metav1.Condition{condition("Ready", "True"), condition("Stalled", "True")},
			wantRules:  []string{kstatus.RuleReadyAlone},
		},
		"stalled while ready is unknown": {
			conditions: []metav1.Condition{condition("Ready", "Unknown"), condition("Stalled", "True")},
			wantRules:  []string{kstatus.RuleReadyAlone},
		},
		"not ready without a word about how it goes on": {
			conditions: []metav1.Condition{condition("Ready", "False")},
			wantRules:  []string{kstatus.RuleNotReadyExplained},
		},
		"observed more than there is": {
			conditions: []metav1.Condition{condition("Ready", "True")},
			generation: 1,
			wantRules:  []string{kstatus.RuleNotAhead},
		},
		"ready for an older generation": {
			conditions: []metav1.Condition{condition("Ready", "True")},
			generation: 3,
			wantRules:  []string{kstatus.RuleFinalObserved},
		},
		"stalled for an older generation": {
			conditions: []metav1.Condition{condition("Ready", "False"), condition("Stalled", "True")},
			generation: 3,
			wantRules:  []string{kstatus.RuleFinalObserved},
		},
		"a condition of another generation than status": {
			conditions: []metav1.Condition{
				condition("Ready", "True"),
				condition("Fresh", "True", func(c *metav1.Condition) { c.ObservedGeneration = 1 }),
			},
			wantRules: []string{kstatus.RuleConditionObserved},
		},
		"a status that nobody knows": {
			conditions: []metav1.Condition{condition("Ready", "True"), condition("Fresh", "Maybe")},
			wantRules:  []string{kstatus.RuleStatusKnown},
		},
		"no reason": {
			conditions: []metav1.Condition{condition("Ready", "True", func(c *metav1.Condition) { c.Reason = "" })},
			wantRules:  []string{kstatus.RuleReasonForm},
		},
		"a reason in words": {
			conditions: []metav1.Condition{condition("Ready", "True", func(c *metav1.Condition) { c.Reason = "all is well" })},
			wantRules:  []string{kstatus.RuleReasonForm},
		},
		"a reason that begins in lower case": {
			conditions: []metav1.Condition{condition("Ready", "True", func(c *metav1.Condition) { c.Reason = "inSync" })},
			wantRules:  []string{kstatus.RuleReasonForm},
		},
		"no message": {
			conditions: []metav1.Condition{condition("Ready", "True", func(c *metav1.Condition) { c.Message = "" })},
			wantRules:  []string{kstatus.RuleMessageForm},
		},
		"a message at the limit, counted in characters, is consistent": {
			conditions: []metav1.Condition{condition("Ready", "True", func(c *metav1.Condition) {
				c.Message = strings.Repeat("ü", kstatus.MaxMessageLength)
			})},
		},
		"a message beyond the limit": {
			conditions: []metav1.Condition{condition("Ready", "True", func(c *metav1.Condition) {
				c.Message = strings.Repeat("ü", kstatus.MaxMessageLength+1)
			})},
			wantRules: []string{kstatus.RuleMessageForm},
		},
		"a message that was cut inside a character": {
			conditions: []metav1.Condition{condition("Ready", "True", func(c *metav1.Condition) { c.Message = "ü"[:1] })},
			wantRules:  []string{kstatus.RuleMessageReadable},
		},
		"no transition time": {
			conditions: []metav1.Condition{condition("Ready", "True", func(c *metav1.Condition) { c.LastTransitionTime = metav1.Time{} })},
			wantRules:  []string{kstatus.RuleTransitionTimeSet},
		},
		"every fault of one condition is told": {
			conditions: []metav1.Condition{condition("Ready", "True", func(c *metav1.Condition) { c.Reason, c.Message = "", "" })},
			wantRules:  []string{kstatus.RuleReasonForm, kstatus.RuleMessageForm},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var rules []string
			for _, v := range kstatus.Check(feed(test.conditions...), cmp.Or(test.generation, 2), 2) {
				rules = append(rules, v.Rule)
			}
			if diff := gocmp.Diff(test.wantRules, rules); diff != "" {
				t.Errorf("broken rules (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOf(t *testing.T) {
	tests := map[string]struct {
		conditions []metav1.Condition
		change     func(*emsv1.MitigationFeed)
		want       kstatus.Status
	}{
		"ready is current": {
			conditions: []metav1.Condition{condition("Ready", "True")},
			want:       kstatus.Current,
		},
		"reconciling is in progress": {
			conditions: []metav1.Condition{condition("Ready", "False"), condition("Reconciling", "True")},
			want:       kstatus.InProgress,
		},
		"stalled has failed": {
			conditions: []metav1.Condition{condition("Ready", "False"), condition("Stalled", "True")},
			want:       kstatus.Failed,
		},
		"not ready alone is in progress": {
			conditions: []metav1.Condition{condition("Ready", "False")},
			want:       kstatus.InProgress,
		},
		"unknown is in progress": {
			conditions: []metav1.Condition{condition("Ready", "Unknown")},
			want:       kstatus.InProgress,
		},
		"ready for an older generation is in progress": {
			conditions: []metav1.Condition{condition("Ready", "True")},
			change:     func(f *emsv1.MitigationFeed) { f.Generation = 3 },
			want:       kstatus.InProgress,
		},
		"stalled for an older generation is in progress": {
			conditions: []metav1.Condition{condition("Ready", "False"), condition("Stalled", "True")},
			change:     func(f *emsv1.MitigationFeed) { f.Generation = 3 },
			want:       kstatus.InProgress,
		},
		"what is being deleted is terminating, ready or not": {
			conditions: []metav1.Condition{condition("Ready", "True")},
			change:     func(f *emsv1.MitigationFeed) { f.DeletionTimestamp = new(metav1.Now()) },
			want:       kstatus.Terminating,
		},
		"no status at all is current, which is why Ready has to be there at the first visit": {
			change: func(f *emsv1.MitigationFeed) { f.Status = emsv1.MitigationFeedStatus{} },
			want:   kstatus.Current,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			object := feed(test.conditions...)
			if test.change != nil {
				test.change(object)
			}
			got, err := kstatus.Of(object)
			if err != nil {
				t.Fatal(err)
			}
			if got != test.want {
				t.Errorf("status is %q, want %q", got, test.want)
			}
		})
	}
}

func TestBeConsistent(t *testing.T) {
	g := NewWithT(t)
	ready := feed(condition("Ready", "True"))
	g.Expect(ready).To(kstatus.BeConsistent())

	broken := feed(condition("Ready", "True"), condition("Stalled", "True"))
	g.Expect(broken).NotTo(kstatus.BeConsistent())

	matcher := kstatus.BeConsistent()
	g.Expect(matcher.Match(broken)).To(BeFalse())
	g.Expect(matcher.FailureMessage(broken)).To(SatisfyAll(
		ContainSubstring("v1alpha1.MitigationFeed /exchange"),
		ContainSubstring("ready-alone: conditions Ready and Stalled are both True"),
		ContainSubstring("Stalled=True AReason (generation 2): a message"),
	))
	g.Expect(matcher.NegatedFailureMessage(broken)).To(ContainSubstring("breaks none"))

	_, err := matcher.Match("no object")
	g.Expect(err).To(MatchError(ContainSubstring("string")))
}

// TestEveryKind makes sure that the oracle accepts all kinds that have conditions: each has its own status type.
func TestEveryKind(t *testing.T) {
	ready := []metav1.Condition{condition("Ready", "True")}
	meta, observed := metav1.ObjectMeta{Name: "x", Generation: 2}, ptr.To[int64](2)
	objects := []kstatus.Object{
		feed(slices.Clone(ready)...),
		&emsv1.Mitigation{ObjectMeta: meta, Status: emsv1.MitigationStatus{Conditions: ready, ObservedGeneration: observed}},
		&emsv1.MitigationConfiguration{ObjectMeta: meta, Status: emsv1.MitigationConfigurationStatus{Conditions: ready, ObservedGeneration: observed}},
		&emsv1.PoolMitigationConfig{ObjectMeta: meta, Status: emsv1.PoolMitigationConfigStatus{Conditions: ready, ObservedGeneration: observed}},
		&emsv1.PoolServer{ObjectMeta: meta, Status: emsv1.PoolServerStatus{Conditions: ready, ObservedGeneration: observed}},
	}
	g := NewWithT(t)
	for _, object := range objects {
		g.Expect(object).To(kstatus.BeConsistent())
		object.SetGeneration(3)
		g.Expect(object).NotTo(kstatus.BeConsistent(), "the generation of %T has to be seen", object)
	}
}
