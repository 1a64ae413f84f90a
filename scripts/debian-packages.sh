#!/usr/bin/env bash
# Unpacks packages of any Debian suite into a folder, without installing them, from the mirror that this machine's apt
# uses: for programs that the tests want in another suite's version, for compilers, and for building Kubernetes.
#
#   debian-packages.sh [--with REGEX] SUITE[,SUITE]... OUT PACKAGE[:ARCH]...   unpack into OUT
#   debian-packages.sh --source SUITE OUT NAME                                 download the source package NAME into OUT
#
# Dependencies are not followed, but for those whose names match REGEX. A suite whose name ends in -security is in the
# security archive. An OUT that holds the same packages already is left as it is. Needs apt-get, dpkg-deb.
set -euo pipefail
. "$(dirname "$(realpath "$0")")/debian-mirror.sh"
usage="usage: $0 [--source | --with REGEX] SUITE OUT PACKAGE..."
source= with=
case ${1:-} in
  --source) source=1; shift ;;
  --with) with=${2:?$usage}; shift 2 ;;
esac
suites=${1:?$usage} out=$(realpath -m "${2:?$usage}")
shift 2
[[ ! -e $out/.packages || $(< "$out/.packages") != "$suites $*" ]] || exit 0

architectures=(amd64)
for package; do
  [[ $package != *:* || " ${architectures[*]} " == *" ${package#*:} "* ]] || architectures+=("${package#*:}")
done
mkdir -p "$out"
work=$(mktemp -d "$out/.apt.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{lists/partial,cache/archives/partial,parts,debs}
: > "$work/status"
key=/usr/share/keyrings/debian-archive-keyring.gpg
for suite in ${suites//,/ }; do
  mirror=$(debian_mirror "$suite")
  echo "deb [signed-by=$key arch=$(IFS=,; echo "${architectures[*]}")] $mirror $suite main"
  [[ -z $source ]] || echo "deb-src [signed-by=$key] $mirror $suite main"
done > "$work/sources.list"
apt=(-qq -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts="$work/parts" -o Dir::State::lists="$work/lists"
  -o Dir::State::status="$work/status" -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root -o Acquire::Languages=none)
for architecture in "${architectures[@]}"; do apt+=(-o APT::Architectures::="$architecture"); done
apt-get "${apt[@]}" update
if [[ -n $source ]]; then
  cd "$out"
  apt-get "${apt[@]}" --download-only source "$@"
else
  packages=("$@")
  if [[ -n $with ]]; then
    options=(--recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances)
    mapfile -t followed < <(apt-cache "${apt[@]}" depends "${options[@]}" "$@" | grep -E '^[a-z0-9]' | grep -E "$with" | sort -u)
    packages+=("${followed[@]}")
  fi
  cd "$work/debs"
  apt-get "${apt[@]}" download "${packages[@]}"
  for deb in *.deb; do
    dpkg-deb -x "$deb" "$out"
    rm "$deb"
  done
fi
echo "$suites $*" > "$out/.packages"
