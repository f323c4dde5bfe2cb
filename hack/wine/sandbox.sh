#!/usr/bin/env bash
# Runs a command in the Debian root with Wine:
#
#   hack/wine/sandbox.sh ROOT PREFIX COMMAND...
#
# PREFIX is the Wine prefix; SANDBOX_BIND, SANDBOX_SECONDS and SANDBOX_NETWORK are those of hack/debian/sandbox.sh. Where the
# system allows it, the number of processes is limited too.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$1 prefix=$2
shift 2

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

export SANDBOX_BIND="$prefix ${SANDBOX_BIND:-}"
exec "$here/../debian/sandbox.sh" "$root" env -u DISPLAY -u WAYLAND_DISPLAY \
  XDG_RUNTIME_DIR=/tmp PATH=/usr/lib/wine:/usr/bin:/bin:/usr/sbin:/sbin \
  WINEPREFIX="$prefix" WINEARCH=win64 WINEDEBUG="${WINEDEBUG:--all}" \
  WINEDLLOVERRIDES="mscoree,mshtml=,winemenubuilder.exe=" \
  WINESERVER=/usr/lib/wine/wineserver64 WINELOADER=/usr/lib/wine/wine64 "$@"
