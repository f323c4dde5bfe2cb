package fromapi_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/policy/fromapi"
)

func configuration(name string, selector *metav1.LabelSelector) emsv1.MitigationConfiguration {
	return emsv1.MitigationConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       emsv1.MitigationConfigurationSpec{PoolSelector: selector},
	}
}

func labelled(key, value string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{key: value}}
}

func misspelt() *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "site", Operator: "Inn", Values: []string{"berlin"}}}}
}

func TestConfigurationsOfAPool(t *testing.T) {
	tests := map[string]struct {
		labels    map[string]string
		all       []emsv1.MitigationConfiguration
		want      []string
		wantError string
	}{
		"without any there is none": {},
		"one without a selector speaks for every pool": {
			all:  []emsv1.MitigationConfiguration{configuration("global", nil)},
			want: []string{"global"},
		},
		"an empty selector speaks for every pool": {
			all:  []emsv1.MitigationConfiguration{configuration("global", &metav1.LabelSelector{})},
			want: []string{"global"},
		},
		"a selector speaks for the pools with its labels only": {
			labels: map[string]string{"site": "berlin"},
			all:    []emsv1.MitigationConfiguration{configuration("paris", labelled("site", "paris")), configuration("berlin", labelled("site", "berlin"))},
			want:   []string{"berlin"},
		},
		"a pool without labels matches no label": {
			all: []emsv1.MitigationConfiguration{configuration("berlin", labelled("site", "berlin"))},
		},
		"they come in the order of their names": {
			all:  []emsv1.MitigationConfiguration{configuration("global", nil), configuration("b", nil), configuration("a", nil)},
			want: []string{"a", "b", "global"},
		},
		"a selector that cannot be used fails all, even beside others that match": {
			labels:    map[string]string{"site": "berlin"},
			all:       []emsv1.MitigationConfiguration{configuration("global", nil), configuration("typo", misspelt())},
			wantError: `MitigationConfiguration "typo": spec.poolSelector: `,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			pool := &emsv1.PoolMitigationConfig{ObjectMeta: metav1.ObjectMeta{Name: "frontends", Labels: test.labels}}
			found, err := fromapi.InScope(pool, test.all)
			if test.wantError != "" {
				if err == nil || !strings.HasPrefix(err.Error(), test.wantError) {
					t.Fatalf("error is %v, want one that starts with %q", err, test.wantError)
				}
				if found != nil {
					t.Errorf("%d configurations with the error, want none", len(found))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for i := range found {
				names = append(names, found[i].Name)
			}
			if diff := cmp.Diff(test.want, names); diff != "" {
				t.Errorf("configurations (-want +got):\n%s", diff)
			}
		})
	}
}
