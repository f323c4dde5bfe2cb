package fromapi

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// Selector returns the selector for the pools that the configuration speaks for. A selector that cannot be used is an
// error that names the configuration.
func Selector(configuration *emsv1.MitigationConfiguration) (labels.Selector, error) {
	if configuration.Spec.PoolSelector == nil {
		return labels.Everything(), nil
	}
	selector, err := metav1.LabelSelectorAsSelector(configuration.Spec.PoolSelector)
	if err != nil {
		return nil, fmt.Errorf("MitigationConfiguration %q: spec.poolSelector: %w", configuration.Name, err)
	}
	return selector, nil
}

// InScope returns the configurations that speak for the pool, sorted by name. If the selector of any configuration cannot
// be used, nobody knows whether it speaks for the pool; the answer is an error then, so that a block is never lost
// to a typing error.
func InScope(pool *emsv1.PoolMitigationConfig, all []emsv1.MitigationConfiguration) ([]emsv1.MitigationConfiguration, error) {
	var found []emsv1.MitigationConfiguration
	for i := range all {
		selector, err := Selector(&all[i])
		if err != nil {
			return nil, err
		}
		if selector.Matches(labels.Set(pool.Labels)) {
			found = append(found, all[i])
		}
	}
	slices.SortFunc(found, func(a, b emsv1.MitigationConfiguration) int { return strings.Compare(a.Name, b.Name) })
	return found, nil
}
