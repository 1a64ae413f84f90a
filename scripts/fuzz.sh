#!/usr/bin/env bash
# Runs the fuzz targets one after the other, each for FUZZ_SECONDS [600]: all of them, or those that are named.
#
#   fuzz.sh OUT [TARGET...]
#
# OUT keeps the corpus of each target, what made it fail, its log, and results.tsv: target, seconds, executions,
# covered edges, features, findings, date, source. A target that is in results.tsv for the same time and source is not run
# again, so that an interrupted run goes on; delete its line, or the file, to run it anew. Needs cargo-fuzz and g++.
set -euo pipefail
out=$(realpath -m "${1:?usage: $0 OUT [TARGET...]}")
shift
seconds=${FUZZ_SECONDS:-600}
top=$(realpath "$(dirname "$0")/..")
# The sanitizers are unstable features, which this lets the stable compiler take.
export RUSTC_BOOTSTRAP=1
CARGO_TARGET_DIR=$(realpath -m "${CARGO_TARGET_DIR:-$top/target}")/fuzz
export CARGO_TARGET_DIR
results=$out/results.tsv
mkdir -p "$out"
touch "$results"
source=$(git -C "$top" ls-files -s formats contract builder | sha256sum | cut -c1-12)
failed=()

# The last number that the fuzzer printed behind a word.
last() { grep -ao "$1 [0-9]*" "$2" | tail -n 1 | awk '{print $2}'; }

for crate in formats builder; do
  cd "$top/$crate"
  targets=$(cargo fuzz list)
  for target in $targets; do
    [[ $# -eq 0 || " $* " == *" $target "* ]] || continue
    if awk -F'\t' -v t="$target" -v s="$seconds" -v g="$source" '$1 == t && $2 >= s && $8 == g {found=1} END {exit !found}' "$results"; then
      echo "$target: done before"
      continue
    fi
    corpus=$out/$target/corpus findings=$out/$target/findings log=$out/$target/log
    mkdir -p "$corpus" "$findings"
    cargo fuzz build "$target"
    echo "$target: $seconds s, log in $log"
    # Memory is taken for what was read, not for what a header promises: no reader needs more than this at once.
    program=$CARGO_TARGET_DIR/$(rustc -vV | sed -n 's/^host: //p')/release/$target
    status=0
    nice -n 19 "$program" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -malloc_limit_mb=256 -max_len=65536 \
      -print_final_stats=1 -artifact_prefix="$findings/" "$corpus" > "$log" 2>&1 || status=$?
    found=$(find "$findings" -type f | wc -l)
    if [[ $status -ne 0 ]]; then
      tail -n 25 "$log"
      failed+=("$target")
      continue
    fi
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$target" "$seconds" "$(awk '/number_of_executed_units/ {print $2}' "$log")" \
      "$(last cov: "$log")" "$(last ft: "$log")" "$found" "$(date -u +%F)" "$source" >> "$results"
    tail -n 1 "$results"
  done
done
[[ ${#failed[@]} -eq 0 ]] || { echo "failed: ${failed[*]}; what made them fail is below $out" >&2; exit 1; }
