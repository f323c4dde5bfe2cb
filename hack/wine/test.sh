#!/usr/bin/env bash
# Runs tests as Windows programs under Wine:
#
#   hack/wine/test.sh [-short] PACKAGE...
#
# They are compiled here and run in one sandbox with a prefix of its own, two at a time. Standard output is that of
# "go test -json". Exits with 3 where there can be no Wine.
#
# What Wine does not show: IIS, appcmd, access control lists, the contents of the event log, recovery actions, and how NTFS
# behaves when the power fails. docs/operations/windows.md has the list.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/../.." && pwd)
short=
if [ "${1:-}" = -short ]; then short=-test.short; shift; fi
wine=$("$here/ensure.sh")

work=$(mktemp -d "${TMPDIR:-/tmp}/ems-wine-XXXXXX")
trap 'rm -rf "$work"' EXIT
cp -a "$wine/prefix" "$work/prefix"

cd "$repository"
export GOOS=windows GOARCH=amd64
number=0
: > "$work/packages"
while read -r package folder imports; do
  number=$((number + 1))
  case ",$imports," in *,mitigation.dev/ems/test/testenv,*)
    echo "wine: $package is left out: its tests need a control plane, which is no Windows program" >&2
    continue ;;
  esac
  echo "$number $package $folder" >> "$work/packages"
done < <(go list -f '{{.ImportPath}} {{.Dir}} {{join .TestImports ","}},{{join .XTestImports ","}}' "$@")
# Linking is most of the work, and uses one core.
export WORK=$work
xargs -P 2 -L 1 bash -c 'go test -c -o "$WORK/$1.exe" "$2" >&2' build < "$work/packages"
# A package without tests has no program.
while read -r number package folder; do
  [ ! -f "$work/$number.exe" ] || echo "$number $package $folder"
done < "$work/packages" > "$work/list"

# What stands in for IIS' own program is one that the tests would build themselves where there is Go.
go build -o "$work/fakeappcmd.exe" ./agent/iis/appcmd/fakeappcmd >&2
unset GOOS GOARCH

cat > "$work/run" <<'R'
# Inside of the sandbox. The server of Wine stays: a program that starts while it is about to end is cut off.
one() { # NUMBER PACKAGE FOLDER
  cd "$3"
  # A test that hangs must not keep the others from being run.
  timeout --kill-after=5 920 wine64 "$WORK/$1.exe" -test.v=test2json -test.timeout=900s $SHORT > "$WORK/$1.log" 2>&1 < /dev/null
  echo $? > "$WORK/$1.status"
}
export -f one
wineserver64 -p
xargs -P 2 -L 1 bash -c 'one "$@"' one < "$WORK/list"
wineserver64 -k
R
SANDBOX_BIND="$repository $work ${EMS_TESTDATA:-}" EMS_TEST_WINE=1 EMS_TEST_FAKEAPPCMD=$work/fakeappcmd.exe \
  SANDBOX_SECONDS=${TEST_WINDOWS_SECONDS:-2400} WORK=$work SHORT=$short \
  "$here/sandbox.sh" "$wine/root" "$work/prefix" bash "$work/run" || echo "the sandbox ended with $?" >&2

failed=0
while read -r number package folder; do
  status=$(cat "$work/$number.status" 2>/dev/null || echo "not run")
  {
    tr -d '\r' < "$work/$number.log" 2>/dev/null || true
    # A program that is killed prints no result of its own. The first line may end one that was cut off; the result counts only
    # with the mark (^V) that -test.v=test2json puts before what is not output of a test.
    if [ "$status" != 0 ]; then printf '\nexit status %s\n\026FAIL\n' "$status"; fi
  } | go tool test2json -p "$package" -t
  [ "$status" = 0 ] || failed=1
done < "$work/list"
exit "$failed"
