#!/usr/bin/env bash
# Prints the key of the control plane that this checkout wants: the Kubernetes version, the platform, and a checksum of
# everything that decides what is built. It names the cache folder and tells whether bin/k8s is up to date.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# Read from go.mod and not through "go list -m": that would download modules only to print a version.
kubernetes=$(awk '$1 == "k8s.io/kubernetes" { print $2; exit }' go.mod)
checksum=$(cat go.mod go.sum | cksum | cut -d' ' -f1)
echo "${kubernetes}_$(go env GOOS)-$(go env GOARCH)_$checksum"
