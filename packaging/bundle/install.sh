#!/bin/sh
# Installs archived, and what it needs of Debian, from this folder. No network is used.
#
#   ./install.sh [PACKAGE...]      more packages of those in debs/, such as samba
#
# Whether the bundle is whole is checked here. Where it comes from must be checked before it is
# unpacked: README.txt says how.
set -eu
cd "$(dirname "$0")"

fail() {
    echo "install.sh: $1" >&2
    exit 1
}

[ "$(id -u)" = 0 ] || fail "only root can install packages: run it with sudo"
. /etc/os-release
[ "${ID:-} ${VERSION_ID:-}" = "debian @NUMBER@" ] || fail "this is for Debian @NUMBER@, not ${PRETTY_NAME:-this}"
[ "$(dpkg --print-architecture)" = amd64 ] || fail "this is for amd64, not $(dpkg --print-architecture)"
sha256sum --quiet --strict -c SHA256SUMS || fail "the bundle is damaged: copy it again"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch/lists/partial" "$scratch/cache/archives/partial"
ln -s "$PWD/debs" "$scratch/debs" # a name without blanks for apt
echo "deb [trusted=yes] file:$scratch/debs ./" >"$scratch/sources.list"

# This folder is the only source, and the machine's own lists stay as they are.
apt() {
    DEBIAN_FRONTEND=noninteractive apt-get \
        -o Dir::Etc::SourceList="$scratch/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$scratch/lists" -o Dir::Cache="$scratch/cache" \
        -o Acquire::Languages=none -o APT::Sandbox::User=root -o DPkg::Lock::Timeout=300 \
        -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"
}

apt -qq update
# shellcheck disable=SC2046 - a list of packages
apt -y --no-install-recommends install archived $(cat packages.txt) "$@"
echo
echo "archived is installed. Next: /usr/share/doc/archived/README.Debian"
