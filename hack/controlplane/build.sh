#!/usr/bin/env bash
# Builds etcd, kubectl and kube-apiserver from their Go modules into the folder given as the first argument.
# One-time cost: about ten minutes on two cores (the Go build cache makes a repetition cheap). All progress goes to
# standard error. Why from modules: docs/decisions/0001-control-plane-from-modules.md.
#
# The folder carries a file ".version"; binaries of another version are replaced, so an upgrade in go.mod takes effect by
# itself. An interrupted build goes on where it stopped.
set -euo pipefail

out=${1:?usage: build.sh OUTPUT_FOLDER}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")"
exec 1>&2

key=$(./version.sh)
kubernetes=${key%%_*}
stamp="-X k8s.io/component-base/version.gitVersion=$kubernetes -X k8s.io/component-base/version.gitTreeState=clean"
# The small ones first: their modules are shared with the big one, and progress shows early.
packages=(go.etcd.io/etcd/server/v3=etcd k8s.io/kubernetes/cmd/kubectl=kubectl k8s.io/kubernetes/cmd/kube-apiserver=kube-apiserver)

if [ "$(cat "$out/.version" 2>/dev/null)" != "$key" ]; then
  rm -f "$out/etcd" "$out/kubectl" "$out/kube-apiserver"
  echo "$key" > "$out/.version"
fi

missing=()
for entry in "${packages[@]}"; do
  [ -x "$out/${entry#*=}" ] || missing+=("$entry")
done
if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi

echo "Building the control plane ($key) into $out: about ten minutes once on two cores."
export CGO_ENABLED=0
started=$SECONDS
for entry in "${missing[@]}"; do
  package=${entry%=*} binary=${entry#*=}
  # Only a new name that is moved into place counts as built: an interrupted build leaves nothing half ready.
  # -v names each module as it is downloaded and each package as it is compiled: thousands of lines, counted into dozens.
  go build -v -trimpath -ldflags "-s -w $stamp" -o "$out/.$binary.new" "$package" 2>&1 |
    awk -v name="$binary" '
      /^go: downloading/ { if (++downloaded % 25 == 0) { printf "  %s: %d modules downloaded\n", name, downloaded; fflush() } next }
      /^[A-Za-z0-9_.\/~-]+$/ { if (++compiled % 200 == 0) { printf "  %s: %d packages compiled\n", name, compiled; fflush() } next }
      { print; fflush() }'
  mv "$out/.$binary.new" "$out/$binary"
  echo "  $binary ready after $((SECONDS - started)) s"
done
