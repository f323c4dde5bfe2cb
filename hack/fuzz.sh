#!/usr/bin/env bash
# Runs every fuzz target of the tree for FUZZTIME (default 10s) each. FUZZ is a regular expression that picks targets by
# name. An input that fails is written to testdata/fuzz/TARGET of its package: commit it with the fix, as a regression test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fuzztime=${FUZZTIME:-10s}
targets=$(grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*\(' . | sort || true)

failed=()
count=0
while IFS=: read -r file declaration; do
  name=${declaration#func }
  name=${name%(}
  [[ $name =~ ${FUZZ:-.} ]] || continue
  package=$(dirname "$file")
  count=$((count + 1))
  echo "== fuzz: $package $name for $fuzztime"
  # go test fuzzes one target of one package at a time; "-run ^$" leaves the ordinary tests to "make test".
  go test -run '^$' -fuzz "^$name\$" -fuzztime "$fuzztime" "$package" || failed+=("$package $name")
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
