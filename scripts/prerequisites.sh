#!/usr/bin/env bash
# Installs the Debian packages that the demo and the tests use, if any is missing. The builder itself needs
# none of them: they are compilers, QEMU with its firmware, and the reference tools that check our formats.
#
#   prerequisites.sh         what `make demo` and `make test` use
#   prerequisites.sh arm64   and what compiles for arm64 and emulates it
#   prerequisites.sh fuzz    and what builds the fuzzer
set -euo pipefail
packages=(gcc libc6-dev make qemu-system-x86 qemu-utils ovmf mmdebstrap erofs-utils dosfstools mtools gdisk
  cryptsetup-bin cpio xz-utils zstd rsync strace fdisk binutils kmod e2fsprogs faketime diffutils time
  minisign python3-venv xorriso genisoimage chromium fonts-dejavu-core docker-registry
  dnsmasq-base iproute2 nftables procps mount sbsigntool efitools openssl ca-certificates jq)
case ${1:-} in
  arm64) packages+=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-system-arm qemu-efi-aarch64 qemu-user-static) ;;
  fuzz) packages+=(g++) ;;
esac
missing=()
for package in "${packages[@]}"; do
  [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0
as_root=()
if [[ $(id -u) -ne 0 ]]; then
  command -v sudo >/dev/null || { echo "run as root: apt-get install ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi
echo "installing ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends "${missing[@]}"
