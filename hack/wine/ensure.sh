#!/usr/bin/env bash
# Makes sure that there is a Debian with Wine to run Windows programs in, and prints its folder as its only line of output. It
# holds "root", an unpacked Debian trixie with wine64 (1.1 GB), and "prefix", a fresh Wine prefix to copy (0.7 GB).
#
# The first call on a machine takes about a minute and needs a Debian mirror, mmdebstrap, bubblewrap and root; the result is in
# ${EMS_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/ems}/wine and found again by every checkout. Where something of that is
# missing it says what, and exits with 3, which callers take for "skip loudly".
#
# Debian's trixie and its Wine 10, and not whatever Wine the machine has: Wine 8 lacks bcryptprimitives.dll, without which no
# program of Go 1.26 starts, and the calls behind os.RemoveAll. A root with mmdebstrap and not unpacked packages: with
# libraries missing, Wine's own programs start each other again without end.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
name=wine
without="Windows programs cannot be run here"
. "$here/../debian/root.sh"

complete() { [ -x "$1/root/usr/lib/wine/wine64" ] && [ -f "$1/prefix/system.reg" ]; }

# tools: mmdebstrap and bubblewrap, installed if that is possible.
tools() {
  command -v mmdebstrap >/dev/null && command -v bwrap >/dev/null && return 0
  [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null || skip "mmdebstrap or bubblewrap is missing"
  {
    timeout 120 apt-get update -qq &&
      DEBIAN_FRONTEND=noninteractive timeout 300 apt-get install -y -qq --no-install-recommends mmdebstrap bubblewrap
  } >/dev/null 2>&1 || skip "mmdebstrap and bubblewrap cannot be installed"
}

command -v bwrap >/dev/null && complete "$folder" && { echo "$folder"; exit 0; }
[ "$(uname -sm)" = "Linux x86_64" ] || skip "not Linux on amd64"
tools
[ "$(id -u)" -eq 0 ] || skip "making the Debian root needs root"

say "unpacking Debian $release with Wine (about a minute)"
begin
fetch --variant=minbase --include=wine64
mkdir "$new/prefix"
"$here/sandbox.sh" "$new/root" "$new/prefix" bash -c 'wine64 wineboot -i >/dev/null 2>&1; wineserver64 -w' || skip "Wine cannot make a prefix"
place
complete "$folder" || skip "the prefix is not whole"
echo "$folder"
