#!/usr/bin/env bash
# Fails when the tree is not what its sources say: generated files, formatting, module files, manifests.
# "make verify" builds the tools first.
#
# To add a step:
#   - a step that GENERATES files belongs into the target "generate" of the Makefile, nowhere else: whatever it changes is
#     found by the last check here;
#   - a step that only READS is one line "check NAME COMMAND..." below; it fails by its exit status.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

failed=0
check() { # check NAME COMMAND...: runs all of them, so that one run shows every finding
  local name=$1
  shift
  echo "== verify: $name"
  if ! "$@"; then
    failed=1
    echo "== verify: $name FAILED"
  fi
}

formatted() {
  local files
  # Tracked and new files, less those that are deleted but not yet committed as such.
  files=$(git ls-files --cached --others --exclude-standard '*.go' | while IFS= read -r file; do [ ! -f "$file" ] || gofmt -l "$file"; done)
  [ -z "$files" ] || { printf 'not formatted (run "make fmt"):\n%s\n' "$files"; return 1; }
}

# Every Go module of the repository: its files are tidy and the module cache holds what go.sum says.
modules() {
  local folder bad=0
  for folder in . hack/tools hack/controlplane hack/tools/helm hack/tools/kubescore hack/tools/promtool hack/tools/dashboardcheck hack/tools/healthjudge; do
    (cd "$folder" && go mod tidy -diff && go mod verify) || { echo "module $folder: see above"; bad=1; }
  done
  return "$bad"
}

# Every folder with a kustomization renders. The output is not kept: what the cluster makes of it, the end-to-end tests show.
manifests() {
  local file bad=0
  while IFS= read -r file; do
    bin/tools/kustomize build "$(dirname "$file")" >/dev/null || { echo "kustomize build $(dirname "$file"): see above"; bad=1; }
  done < <(git ls-files --cached --others --exclude-standard 'config/**/kustomization.yaml' 'config/kustomization.yaml')
  return "$bad"
}

scripts() {
  local file bad=0
  while IFS= read -r file; do
    bash -n "$file" || bad=1
    [ -x "$file" ] || { echo "$file is not executable"; bad=1; }
  done < <(git ls-files --cached --others --exclude-standard 'hack/*.sh' 'hack/**/*.sh' .ci/run)
  return "$bad"
}

clean() {
  local changes
  # Asked for its status on purpose: a git that refuses to look must not count as "no changes".
  changes=$(git status --porcelain --untracked-files=all) || return 1
  [ -z "$changes" ] || {
    git --no-pager diff --stat
    git --no-pager diff | head -200
    printf 'the working tree is not clean after "make generate"; commit these files:\n%s\n' "$changes"
    return 1
  }
}

check "generated files" make generate
check "formatting" formatted
check "modules" modules
check "manifests" manifests
check "scripts" scripts
# The last one, so that it sees what the others may have changed.
check "clean working tree" clean
exit "$failed"
