#!/usr/bin/env bash
# Writes what Argo CD and Flux want once for every kind, from the one script and the one set of expressions that stand in
# config/argocd/health.lua and config/flux/healthchecks.yaml. "make generate" calls it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../config"

group=ems.mitigation.dev
# The kinds with conditions are those whose CRD has them.
kinds=()
for crd in crd/bases/*.yaml; do
  grep -q '^ *conditions:$' "$crd" && kinds+=("$(awk '$1 == "kind:" && $2 != "CustomResourceDefinition" { print $2; exit }' "$crd")")
done

for kind in "${kinds[@]}"; do
  mkdir -p "argocd/resource_customizations/$group/$kind"
  { echo '-- Made from config/argocd/health.lua by "make generate": change that file.'; cat argocd/health.lua; } \
    >"argocd/resource_customizations/$group/$kind/health.lua"
done

{
  echo '# Made from health.lua by "make generate": change that file.'
  printf 'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: argocd-cm\n  namespace: argocd\ndata:\n'
  for kind in "${kinds[@]}"; do
    printf '  resource.customizations.health.%s_%s: |\n' "$group" "$kind"
    awk '{ print ($0 == "" ? "" : "    " $0) }' argocd/health.lua
  done
} >argocd/argocd-cm.yaml

{
  echo '# Made from healthchecks.yaml by "make generate": change that file.'
  printf 'apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata:\n  name: any\nspec:\n  healthCheckExprs:\n'
  for kind in "${kinds[@]}"; do
    printf '  - apiVersion: %s/v1alpha1\n    kind: %s\n' "$group" "$kind"
    awk '/^inProgress:/ { on = 1 } on { print "    " $0 }' flux/healthchecks.yaml
  done
} >flux/healthcheckexprs.yaml
