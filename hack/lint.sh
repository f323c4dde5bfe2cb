#!/usr/bin/env bash
# All linters. "make lint" builds them first.
#
# One binary does both runs: it is golangci-lint with the Kubernetes API linter linked in (hack/tools/go.mod), because
# "golangci-lint custom" would need a Git clone of golangci-lint at build time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

golangci=bin/tools/golangci-lint-kube-api-linter
failed=0

step() { # step NAME COMMAND...: runs all of them, so that one run shows every finding
  local name=$1 started=$SECONDS
  shift
  echo "== lint: $name"
  if ! "$@"; then
    failed=1
    echo "== lint: $name FAILED"
  fi
  echo "== lint: $name took $((SECONDS - started)) s"
}

step "configuration" "$golangci" config verify
step "configuration of the API linter" "$golangci" config verify --config .golangci-kal.yml
step "code" "$golangci" run
step "API conventions" "$golangci" run --config .golangci-kal.yml ./api/...
# Files for Windows are invisible to the run above. Vet compiles them, tests included; the linters then look at
# the packages that have such files, because the whole tree a second time would find nothing new.
# Only what goes into the agent, with its tests: the manager runs in a container, and envtest does not compile for Windows.
agent=$(GOOS=windows go list -deps ./cmd/ems-agent | grep '^mitigation\.dev/')
# shellcheck disable=SC2086 # one argument per package
step "compiling for Windows" env GOOS=windows go vet $agent
windows=$(git ls-files --cached --others --exclude-standard '*_windows.go' '*_windows_test.go' | xargs -r -n 1 dirname | sort -u | sed 's|^|./|')
if [ -n "$windows" ]; then
  # shellcheck disable=SC2086 # one argument per package
  step "code for Windows" env GOOS=windows "$golangci" run $windows
fi
exit "$failed"
