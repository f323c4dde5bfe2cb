#!/usr/bin/env bash
# Runs a command in the Debian root with Wine:
#
#   hack/wine/sandbox.sh ROOT PREFIX COMMAND...
#
# PREFIX is the Wine prefix; SANDBOX_BIND names further folders, separated by blanks, that are there under their own paths,
# SANDBOX_SECONDS the time after which everything is killed (default 600), and SANDBOX_NETWORK=none leaves it a loopback of
# its own and no other network. Whatever the command leaves running ends with
# it: Wine's processes live in a process namespace of their own. Where the system allows it, their number is limited too.
set -euo pipefail

root=$1 prefix=$2
shift 2
seconds=${SANDBOX_SECONDS:-600}

# A Wine whose libraries do not fit together starts processes without end; 124 were seen with four prefixes, and every thread
# counts, in all sandboxes together.
limit_processes() {
  local group
  for group in /sys/fs/cgroup/pids /sys/fs/cgroup; do
    if mkdir -p "$group/ems-wine" 2>/dev/null && echo 1500 2>/dev/null > "$group/ems-wine/pids.max"; then
      echo $$ 2>/dev/null > "$group/ems-wine/cgroup.procs" && return
    fi
  done
  return 0
}
limit_processes

binds=()
for folder in ${SANDBOX_BIND:-}; do
  binds+=(--bind "$folder" "$folder")
done
[ "${SANDBOX_NETWORK:-}" = none ] && binds+=(--unshare-net)
exec timeout --kill-after=10 "$seconds" bwrap --die-with-parent --unshare-pid \
  --bind "$root" / --dev-bind /dev /dev --proc /proc --ro-bind /sys /sys --tmpfs /tmp \
  --bind "$prefix" "$prefix" "${binds[@]}" \
  --unsetenv DISPLAY --unsetenv WAYLAND_DISPLAY \
  --setenv HOME /tmp --setenv XDG_RUNTIME_DIR /tmp --setenv PATH /usr/lib/wine:/usr/bin:/bin:/usr/sbin:/sbin \
  --setenv WINEPREFIX "$prefix" --setenv WINEARCH win64 --setenv WINEDEBUG "${WINEDEBUG:--all}" \
  --setenv WINEDLLOVERRIDES "mscoree,mshtml=,winemenubuilder.exe=" \
  --setenv WINESERVER /usr/lib/wine/wineserver64 --setenv WINELOADER /usr/lib/wine/wine64 \
  --chdir / "$@"
