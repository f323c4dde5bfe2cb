#!/usr/bin/env bash
# Runs a command in a Debian root:
#
#   hack/debian/sandbox.sh ROOT COMMAND...
#
# SANDBOX_BIND names folders, separated by blanks, that are there under their own paths, SANDBOX_SECONDS the time after which
# everything is killed (default 600), and SANDBOX_NETWORK=none leaves it a loopback of its own and no other network. Whatever
# the command leaves running ends with it: its processes live in a process namespace of their own. With SANDBOX_INIT=none the
# command itself is the first process there, and the processor time that it uses counts for who called.
set -euo pipefail

root=$1
shift
options=()
for folder in ${SANDBOX_BIND:-}; do
  options+=(--bind "$folder" "$folder")
done
[ "${SANDBOX_NETWORK:-}" != none ] || options+=(--unshare-net)
[ "${SANDBOX_INIT:-}" != none ] || options+=(--as-pid-1)
exec timeout --kill-after=10 "${SANDBOX_SECONDS:-600}" bwrap --die-with-parent --unshare-pid \
  --bind "$root" / --dev-bind /dev /dev --proc /proc --ro-bind /sys /sys --tmpfs /tmp \
  "${options[@]}" --setenv HOME /tmp --chdir / "$@"
