#!/usr/bin/env bash
# Beside each stage of a build: what the same work takes when nothing but its bytes is moved, with the plainest tool
# for it on all processors. Called by scripts/bench.sh with the image that it built.
#
#   bench-limits.sh LOCK STORE IMAGE.raw REPORT.json
#
# Needs openssl, dpkg-deb, xz, zstd, jq, objcopy and the seedbed of SEEDBED_BIN; 4 GiB in TMPDIR.
set -euo pipefail
lock=$1 store=$2 image=$3 report=$4
scratch=$(mktemp -d "${TMPDIR:-/var/tmp}/seedbed-limits.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
cores=$(nproc)

seconds() { # seconds COMMAND...: how long it took
  local start=$EPOCHREALTIME
  "$@" > /dev/null
  awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN {printf "%.2f", b - a}'
}
stage() { jq -r --arg name "$1" '[.. | .seconds? // empty] | first | map(select(.[0] == $name))[0][1] * 100 | round / 100' "$report"; }
row() { printf '| %s | %s | %s | %s |\n' "$1" "$(stage "$1")" "$2" "$3"; } # row STAGE LIMIT WHAT

grep -oE '"sha256": ?"[0-9a-f]{64}"' "$lock" | grep -oE '[0-9a-f]{64}' | sort -u | sed "s|^|$store/sha256/|" > "$scratch/blobs"
while read -r blob; do ! dpkg-deb --info "$blob" > "$scratch/info" 2>&1 || echo "$blob"; done < "$scratch/blobs" > "$scratch/debs"
hash_blobs() { xargs -P "$cores" -n 4 openssl dgst -sha256 < "$scratch/blobs"; }
unpack_debs() { xargs -P "$cores" -I{} sh -c 'dpkg-deb --fsys-tarfile {} > /dev/null' < "$scratch/debs"; }
mkdir "$scratch/modules"
while read -r deb; do
  [[ $(dpkg-deb --field "$deb" Package) != linux-image-[0-9]* ]] || dpkg-deb -x "$deb" "$scratch/modules"
done < "$scratch/debs"
read_modules() { find "$scratch/modules" -name '*.ko.xz' -print0 | xargs -0 -P "$cores" -n 64 xz -dc; }
bytes() { jq -r --arg part "$1" '[.. | .bytes? | objects] | first | .[$part]' "$report"; }
copy() { dd if="$image" of="$scratch/copy" bs=4M count="$1" iflag=count_bytes status=none; }
"$SEEDBED_BIN" cat "$image" "ESP:/EFI/Linux/$("$SEEDBED_BIN" ls "$image" ESP:/EFI/Linux | awk 'END {print $NF}')" > "$scratch/uki"
objcopy -O binary --only-section=.initrd "$scratch/uki" "$scratch/initrd.zst"
zstd -qd "$scratch/initrd.zst" -o "$scratch/initrd"
compress_initrd() { zstd -6 "-T$cores" -c "$scratch/initrd"; }
sum() { awk -v a="$1" -v b="$2" 'BEGIN {printf "%.2f", a + b}'; }

cat "$image" > /dev/null
echo '| stage | seconds | limit | what the limit is |'
echo '|---|---|---|---|'
row verify "$(seconds hash_blobs)" "openssl's SHA-256 of $(wc -l < "$scratch/blobs") blobs, $(xargs cat < "$scratch/blobs" | wc -c | numfmt --to=iec)"
row packages "$(seconds unpack_debs)" "dpkg-deb --fsys-tarfile of $(wc -l < "$scratch/debs") packages"
row 'store and root' "$(sum "$(seconds read_modules)" "$(seconds copy "$(bytes store)")")" 'xz -d of all kernel modules, and a copy of the store'
row 'erofs and initrd' "$(sum "$(seconds copy "$(bytes root)")" "$(seconds compress_initrd)")" 'a copy of the root, and zstd -6 of the initrd'
row digests "$(seconds openssl dgst -sha256 "$image")" "openssl's SHA-256 of the raw image, $(stat -c %s "$image" | numfmt --to=iec)"
row sync "$(seconds dd if=/dev/zero of="$scratch/copy" bs=4M count="$(($(bytes store) + $(bytes root)))" iflag=count_bytes conv=fsync status=none)" 'zeros of the same length written and synced, from nothing; ours is synced while it is digested'
