#!/usr/bin/env bash
# Writes config/prometheus/prometheusrule.yaml, the alerts for the Prometheus operator, from config/prometheus/rules.yaml, which
# promtool reads. "make generate" calls it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../config/prometheus"

{
  cat <<'HEAD'
# Made from rules.yaml by "make generate": change that file.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: ems
  namespace: ems-system
  labels:
    app.kubernetes.io/name: ems
    app.kubernetes.io/component: manager
spec:
HEAD
  awk '/^groups:/ { on = 1 } on { print ($0 == "" ? "" : "  " $0) }' rules.yaml
} >prometheusrule.yaml
