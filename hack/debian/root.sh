# Sourced by scripts that need programs from Debian in a root of their own and not from the machine: hack/wine/ensure.sh and
# hack/ansible/ensure.sh. They set "name", which stands in messages and is the folder in the cache, and "without", what cannot
# be done where the programs are missing. Roots are of one release for all machines, so that results can be compared.

release=trixie
# The roots of all checkouts on a machine.
folder=${EMS_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/ems}/$name/$release

say() { echo "$name: $*" >&2; }

# skip WHY: callers take the exit code 3 for "skip loudly".
skip() { say "$*: $without"; exit 3; }

# begin: makes "$new", an empty folder beside the one in the cache, that goes when the script ends.
begin() {
  new=$folder.new.$$
  trap 'rm -rf "$new"' EXIT
  mkdir -p "$new"
}

# fetch ARGUMENTS: unpacks packages into "$new/root".
fetch() {
  timeout 900 mmdebstrap --quiet "$@" "$release" "$new/root" >&2 || skip "Debian $release cannot be fetched"
  # Without it there is no localhost.
  cp /etc/hosts "$new/root/etc/hosts"
}

# place: puts what was made into the cache, whole or not at all.
place() {
  rm -rf "$folder"
  mv "$new" "$folder"
}
