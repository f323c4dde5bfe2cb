#!/usr/bin/env bash
# Makes sure that there is an ansible-playbook with the module community.general.xml, and prints the program to call as its
# only line of output: the one of this machine, or hack/ansible/ansible-playbook, which runs Debian's.
#
# Debian's package "ansible" and what it needs are unpacked (460 MB) into
# ${EMS_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/ems}/ansible, which takes half a minute and is found again by every
# checkout. That needs a Debian mirror, mmdebstrap and bubblewrap, and no root; nothing of the machine is changed. Where
# something is missing it says what, and exits with 3, which callers take for "skip loudly".
#
# The package "ansible" and not "ansible-core" alone: the module that edits XML is not in the latter. Unpacked packages are
# enough, unlike for Wine; of their scripts only the one that compiles Python's modules matters, without which every start of
# Python would compile them anew and Ansible would look slower than it is.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
name=ansible
without="Ansible cannot be run here"
. "$here/../debian/root.sh"

complete() { [ -x "$1/root/usr/bin/ansible-playbook" ] && [ -f "$1/compiled" ]; }

command -v ansible-playbook >/dev/null && ansible-doc community.general.xml >/dev/null 2>&1 && { command -v ansible-playbook; exit 0; }
command -v bwrap >/dev/null || skip "bubblewrap is missing"
complete "$folder" && { echo "$here/ansible-playbook"; exit 0; }
[ "$(uname -s)" = Linux ] || skip "not Linux"
command -v mmdebstrap >/dev/null || skip "mmdebstrap is missing"

say "unpacking Ansible of Debian $release (half a minute)"
begin
packages=ansible,python3-lxml,base-files,base-passwd,coreutils,dash,grep,libc-bin,sed,util-linux
fetch --variant=extract --mode=chrootless --include="$packages"
cp "$new/root/usr/share/base-passwd/passwd.master" "$new/root/etc/passwd"
modules=/usr/lib/python3/dist-packages
# The other collections are most of it, and never loaded.
"$here/../debian/sandbox.sh" "$new/root" sh -c \
  "python3 -m compileall -q -x /ansible_collections/ /usr/lib/python3.* $modules; python3 -m compileall -q $modules/ansible_collections/community/general $modules/ansible_collections/ansible" >&2 ||
  skip "Python's modules cannot be compiled"
touch "$new/compiled"
place
complete "$folder" || skip "the root is not whole"
echo "$here/ansible-playbook"
