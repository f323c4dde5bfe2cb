#!/usr/bin/env bash
# Runs every fuzz target of the tree for FUZZTIME (default 10s) each. FUZZ is a regular expression that picks targets by
# name. An input that fails is written to testdata/fuzz/TARGET of its package: commit it with the fix, as a regression test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fuzztime=${FUZZTIME:-10s}
targets=$(grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*\(' . | sort || true)

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# fuzz PACKAGE NAME: one target. The go command sometimes ends a run that found nothing with "context deadline exceeded",
# when the time is up while a worker is busy (golang.org/issue/75804, fixed in Go 1.27: this can go then). That is no finding:
# a finding names its input.
fuzz() {
  # go test fuzzes one target of one package at a time; "-run ^$" leaves the ordinary tests to "make test".
  # Without -fuzzminimizetime the workers spend up to a minute on making each new input shorter, in which they execute nothing else: 50
  # executions a second instead of 9,000 for the signature's targets.
  go test -run '^$' -fuzz "^$2\$" -fuzztime "$fuzztime" -fuzzminimizetime 20x "$1" 2>&1 | tee "$log" && return 0
  if grep -qE '^ +context deadline exceeded$' "$log" && ! grep -q 'Failing input written' "$log"; then
    echo "== fuzz: $1 $2: the time was up while a worker was busy; nothing was found"
    return 0
  fi
  return 1
}

failed=()
count=0
while IFS=: read -r file declaration; do
  name=${declaration#func }
  name=${name%(}
  [[ $name =~ ${FUZZ:-.} ]] || continue
  package=$(dirname "$file")
  count=$((count + 1))
  echo "== fuzz: $package $name for $fuzztime"
  fuzz "$package" "$name" || failed+=("$package $name")
done <<<"$targets"
if [ "$count" -eq 0 ]; then
  echo "no fuzz target found" >&2
  exit 1
fi

echo "$count fuzz targets, ${#failed[@]} with findings"
if [ ${#failed[@]} -gt 0 ]; then
  printf '  %s\n' "${failed[@]}"
  exit 1
fi
