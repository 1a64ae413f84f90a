#!/usr/bin/env bash
# Unpacks packages of any Debian suite into a folder, without installing them, from the mirror that this machine's apt
# uses: for programs that the tests want in another suite's version, and for building Kubernetes.
#
#   debian-packages.sh SUITE OUT PACKAGE...     unpack into OUT
#   debian-packages.sh --source SUITE OUT NAME  download the source package NAME into OUT
#
# Dependencies are not followed. An OUT that holds the same packages already is left as it is. Needs apt-get, dpkg-deb.
set -euo pipefail
source=
[[ ${1:-} != --source ]] || { source=1; shift; }
suite=${1:?usage: $0 [--source] SUITE OUT PACKAGE...} out=$(realpath -m "${2:?}")
shift 2
[[ ! -e $out/.packages || $(< "$out/.packages") != "$suite $*" ]] || exit 0

mirror=${SEEDBED_DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI) $(LABEL)' | awk '$2=="Debian"{print $1; exit}')}
[[ -n $mirror ]] || { echo "no Debian mirror in apt's configuration; set SEEDBED_DEBIAN_MIRROR" >&2; exit 1; }
mkdir -p "$out"
work=$(mktemp -d "$out/.apt.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{lists/partial,cache/archives/partial,parts,debs}
: > "$work/status"
key=/usr/share/keyrings/debian-archive-keyring.gpg
printf 'deb [signed-by=%s arch=amd64] %s %s main\ndeb-src [signed-by=%s] %s %s main\n' \
  "$key" "${mirror%/}" "$suite" "$key" "${mirror%/}" "$suite" > "$work/sources.list"
apt=(-qq -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts="$work/parts" -o Dir::State::lists="$work/lists"
  -o Dir::State::status="$work/status" -o Dir::Cache="$work/cache" -o APT::Architectures::=amd64 -o APT::Sandbox::User=root
  -o Acquire::Languages=none)
apt-get "${apt[@]}" update
if [[ -n $source ]]; then
  cd "$out"
  apt-get "${apt[@]}" --download-only source "$@"
else
  cd "$work/debs"
  apt-get "${apt[@]}" download "$@"
  for deb in *.deb; do dpkg-deb -x "$deb" "$out"; done
fi
echo "$suite $*" > "$out/.packages"
