#!/usr/bin/env bash
# Measures a build against mmdebstrap and mkosi for the same package list, in one run on one machine, and prints
# Markdown tables. Called by `make bench-build`, which sets SEEDBED_BIN, SEEDBED_FIRSTBOOT, SEEDBED_KUBE, SEEDBED_STORE
# (where the demo's blobs are) and SEEDBED_MKOSI (a folder for mkosi and what it downloads).
#
#   cold        nothing in the store: fetch, then build (the kernel's page cache dropped before, if root)
#   warm        everything in the store, no build cache
#   overlay     one file of an overlay changed since the build before
#   unchanged   nothing changed since the build before
#
# Each is run RUNS times (3); the median and the spread are shown.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${RUNS:-3}
scratch=$(mktemp -d /var/tmp/seedbed-bench.XXXXXX)
trap 'rm -rf "$scratch"' EXIT
sources=(--source "kubernetes=file://$SEEDBED_KUBE")
packages=$(awk '/^[a-z]/{on=/^packages:/;next} on&&/- /{print $2}' profiles/{minimal,minimal-amd64,demo}/profile.yaml | paste -sd,)

drop_caches() { sync; if [[ -w /proc/sys/vm/drop_caches ]]; then echo 3 > /proc/sys/vm/drop_caches; fi; }

# measure NAME COMMAND...: seconds of each run, and the largest peak memory of any
measure() {
  local name=$1 times=() peak=0 seconds kib
  shift
  for ((i = 0; i < runs; i++)); do
    /usr/bin/time -f '%e %M' -o "$scratch/time" "$@" > "$scratch/log" 2>&1 || { cat "$scratch/log" >&2; exit 1; }
    read -r seconds kib < "$scratch/time"
    times+=("$seconds")
    ((kib > peak)) && peak=$kib
  done
  printf '%s\n' "${times[@]}" | sort -n | awk -v name="$name" -v peak="$peak" \
    '{t[NR]=$1} END {printf "| %s | %.2f s | %.2f–%.2f s | %d MiB |\n", name, t[int((NR+1)/2)], t[1], t[NR], peak/1024}'
}

cp -r profiles overlays "$scratch"
build() { "$SEEDBED_BIN" build "$scratch/profiles/demo" --arch amd64 --format raw --out "$scratch/out" --firstboot "$SEEDBED_FIRSTBOOT" "$@"; }
changed() {
  date +%N > "$scratch/overlays/base/etc/changed"
  build --cache "$scratch/cache"
}
cold() {
  rm -rf "$scratch/store"
  drop_caches
  "$SEEDBED_BIN" fetch profiles/demo --arch amd64 "${sources[@]}" --store "$scratch/store"
  build --no-cache --store "$scratch/store"
}
export -f build changed cold drop_caches
export SEEDBED_BIN SEEDBED_FIRSTBOOT scratch
export sources_text="${sources[*]}"

echo "load before: $(cut -d' ' -f1-3 /proc/loadavg), $(nproc) cores, $runs runs each"
echo
echo '| what | median | spread | peak memory |'
echo '|---|---|---|---|'
measure 'seedbed build, warm store, no build cache' bash -c 'build --no-cache'
build --cache "$scratch/cache" > "$scratch/log"
measure 'seedbed build, one file of an overlay changed' bash -c changed
measure 'seedbed build, nothing changed' bash -c 'build --cache "$scratch/cache"'
measure 'seedbed fetch and build, empty store' bash -c "sources=($sources_text); $(declare -f build cold drop_caches); cold"
if command -v mmdebstrap > /dev/null; then
  measure 'mmdebstrap, directory only, same packages' bash -c "rm -rf $scratch/mm; mmdebstrap --variant=essential --include=$packages trixie $scratch/mm"
else
  echo '| mmdebstrap | not installed | | |'
fi
if [[ $(id -u) == 0 ]]; then
  scripts/mkosi.sh prepare "$SEEDBED_MKOSI" > "$scratch/log" 2>&1
  # Not measured: it fills mkosi's cache of packages.
  scripts/mkosi.sh build "$SEEDBED_MKOSI" "$packages" > "$scratch/log" 2>&1 || { cat "$scratch/log" >&2; exit 1; }
  measure 'mkosi, disk image, same packages, its package cache warm' scripts/mkosi.sh build "$SEEDBED_MKOSI" "$packages"
else
  echo '| mkosi | only as root | | |'
fi
echo
build --no-cache --json > "$scratch/report.json"
scripts/bench-limits.sh profiles/demo/profile.lock "$SEEDBED_STORE" "$scratch/out/seedbed-demo-amd64.raw" "$scratch/report.json"
echo
sed -n '/"bytes"/,/}/p' "$scratch/report.json"
