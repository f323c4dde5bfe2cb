#!/usr/bin/env bash
# Makes sure that a kube-apiserver and an etcd are there, and prints the folder they are in as its only line of output:
#
#   KUBEBUILDER_ASSETS=$(hack/controlplane/ensure.sh) go test ./...
#
# Progress goes to standard error. It looks in this order and stops at the first that is complete:
#   1. the folder KUBEBUILDER_ASSETS names, if it is set: somebody chose a control plane on purpose;
#   2. bin/k8s of this checkout, if it holds the version that hack/controlplane/go.mod names;
#   3. the cache, ${EMS_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/ems}/controlplane/VERSION, shared by all checkouts;
#   4. a download by setup-envtest, given up quickly where its server cannot be reached;
#   5. a build from Go modules (build.sh), whose result goes into the cache.
# EMS_CONTROLPLANE_DOWNLOAD=never skips step 4.
#
# To add a source: write a function that returns 0 once "$assets" is complete, and put it into the list at the end.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
assets=$root/bin/k8s
binaries=(etcd kubectl kube-apiserver)

say() { echo "controlplane: $*" >&2; }

# complete FOLDER: all binaries are there. kubectl belongs to it: the end-to-end tests and the demo use the real one.
complete() {
  local binary
  for binary in "${binaries[@]}"; do
    [ -x "$1/$binary" ] || return 1
  done
}

# current FOLDER: complete, and of the version that this checkout wants.
current() { complete "$1" && [ "$(cat "$1/.version" 2>/dev/null)" = "$key" ]; }

# place FROM TO: the binaries of one folder also in another, each under its final name only when it is whole. A hard link
# costs nothing and is safe, because nobody writes into these files; across file systems it is a copy.
place() {
  local binary
  # Every step is checked by hand: where a caller asks for the result, the shell no longer stops at the first error.
  mkdir -p "$2" && rm -f "$2/.version" || return 1
  for binary in "${binaries[@]}"; do
    rm -f "$2/.$binary.new"
    ln "$1/$binary" "$2/.$binary.new" 2>/dev/null || cp "$1/$binary" "$2/.$binary.new" || return 1
    mv "$2/.$binary.new" "$2/$binary" || return 1
  done
  echo "$key" > "$2/.version"
}

limited() { # limited SECONDS COMMAND...: with a time limit where the system has the command for it
  local seconds=$1
  shift
  if command -v timeout >/dev/null; then timeout "$seconds" "$@"; else "$@"; fi
}

from_cache() {
  current "$cache" || return 1
  say "taking $key from $cache"
  place "$cache" "$assets"
}

from_download() {
  [ "${EMS_CONTROLPLANE_DOWNLOAD:-}" != never ] || return 1
  local kubernetes minor folder
  kubernetes=${key%%_*}
  minor=${kubernetes#v}
  minor=${minor%.*}
  setup_envtest() { (cd "$root/hack/tools" && limited "$1" go tool setup-envtest "${@:2}" --bin-dir "$cache_root/envtest"); }
  say "asking setup-envtest for Kubernetes $minor"
  # The first call builds the tool and reads a small index: where that fails, no download is worth waiting for.
  setup_envtest 90 list "$minor.x" >/dev/null 2>&1 || { say "setup-envtest cannot reach its index"; return 1; }
  folder=$(setup_envtest 300 use "$minor.x" -p path 2>/dev/null) || { say "setup-envtest has no Kubernetes $minor"; return 1; }
  complete "$folder" || return 1
  place "$folder" "$assets"
}

from_build() {
  "$here/build.sh" "$assets"
  # A full disk or a read-only home must not fail the run: the cache only saves time.
  place "$assets" "$cache" 2>/dev/null || say "could not fill the cache $cache"
}

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
  if [ -x "$KUBEBUILDER_ASSETS/kube-apiserver" ] && [ -x "$KUBEBUILDER_ASSETS/etcd" ]; then
    echo "$KUBEBUILDER_ASSETS"
    exit 0
  fi
  say "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS holds no kube-apiserver and etcd; ignoring it"
fi

key=$("$here/version.sh")
cache_root=${EMS_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/ems}
cache=$cache_root/controlplane/$key

mkdir -p "$assets"
if command -v flock >/dev/null; then
  # Two at once ("make test" beside "make demo") would build twice; the second waits and finds everything done.
  exec 9>"$assets/.lock"
  flock 9
fi
current "$assets" || from_cache || from_download || from_build
echo "$assets"
