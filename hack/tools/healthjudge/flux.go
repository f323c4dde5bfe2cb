package main

import (
	"fmt"
	"os"

	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

type expressionsOfKinds map[schema.GroupKind]*cel.StatusEvaluator

// newFlux reads the expressions of a Kustomization and compiles them as Flux does.
func newFlux(file string) (expressionsOfKinds, error) {
	all := expressionsOfKinds{}
	if file == "" {
		return all, nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var kustomization struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Spec       struct {
			HealthCheckExprs []kustomize.CustomHealthCheck `json:"healthCheckExprs"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(content, &kustomization); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(kustomization.Spec.HealthCheckExprs) == 0 {
		return nil, fmt.Errorf("%s: no spec.healthCheckExprs", file)
	}
	for i := range kustomization.Spec.HealthCheckExprs {
		check := &kustomization.Spec.HealthCheckExprs[i]
		kind := schema.FromAPIVersionAndKind(check.APIVersion, check.Kind).GroupKind()
		if _, twice := all[kind]; twice || kind.Kind == "" {
			return nil, fmt.Errorf("%s: %s: stands there twice, or names no kind", file, kind)
		}
		evaluator, err := cel.NewStatusEvaluator(&check.HealthCheckExpressions)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", file, kind, err)
		}
		all[kind] = evaluator
	}
	return all, nil
}
