#!/usr/bin/env bash
# Lints the chart and what it renders, and config/default with it, because they are the same. "make chart" builds the tools.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

chart=config/chart/ems
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
export HELM_CONFIG_HOME=$home HELM_CACHE_HOME=$home HELM_DATA_HOME=$home

# Everything that the chart can make.
everything=(
  --set replicas=3 --set podDisruptionBudget.enabled=true --set networkPolicy.enabled=true --set metrics.certificateSecret=tls
  --set serviceMonitor.enabled=true --set prometheusRule.enabled=true --set dashboards.enabled=true --set image.pullPolicy=IfNotPresent
)
# What kube-score asks for and is not done, and why:
exceptions=(
  # Pulling on every start makes a registry a condition of starting; versions and digests do not change.
  --ignore-test container-image-pull-policy
  # A throttled manager loses its leadership. Memory is limited.
  --ignore-container-cpu-limit
  # The root file system is read only, and nothing is mounted that could be filled.
  --ignore-test container-ephemeral-storage-request-and-limit
  # Requests are for the common case, the limit is for a leak: the same number would waste memory or kill the manager.
  --ignore-test container-memory-requests-equal-limits
  # Replicas are spread over machines by topologySpreadConstraints, which kube-score does not know.
  --ignore-test deployment-has-host-podantiaffinity
)

echo "== chart: helm lint"
bin/tools/helm lint --strict "$chart"
bin/tools/helm lint --strict "${everything[@]}" "$chart"
echo "== chart: kube-score of all options"
bin/tools/helm template ems "$chart" --namespace ems-system "${everything[@]}" |
  bin/tools/kube-score score --output-format ci "${exceptions[@]}" - | { grep -v '^\[OK\]\|^\[SKIPPED\]' || true; }
echo "== chart: kube-score of config/default"
# One replica and no NetworkPolicy are what fits any cluster; the chart has both as options.
bin/tools/kustomize build config/default |
  bin/tools/kube-score score --output-format ci "${exceptions[@]}" \
    --ignore-test pod-networkpolicy --ignore-test deployment-replicas - | { grep -v '^\[OK\]\|^\[SKIPPED\]' || true; }
