#!/usr/bin/env bash
# Runs mkosi as trixie has it, in a tree of its own, so that builds can be compared on one machine in one run.
#
#   mkosi.sh prepare TREE                     make the tree, once; takes minutes and 1 GiB
#   mkosi.sh build TREE PACKAGE,PACKAGE...    a UEFI disk image with these packages, in TREE/build
#
# mkosi keeps the packages that it downloads in the tree: the first build fills that cache, later ones have it warm.
# As root: the tree is entered by pivot_root in a mount namespace of its own. Needs mmdebstrap.
set -euo pipefail
usage="usage: $0 prepare|build TREE [PACKAGES]"
. "$(dirname "$(realpath "$0")")/debian-mirror.sh"
tree=$(realpath -m "${2:?$usage}")
mirror=$(debian_mirror trixie)
tools=mkosi,systemd-repart,systemd-boot-efi,systemd-boot-tools,systemd-ukify,systemd,systemd-container,udev,apt
tools+=,debian-archive-keyring,dosfstools,mtools,e2fsprogs,zstd,cpio,kmod,cryptsetup-bin,bubblewrap,uidmap,python3-pefile
case $1 in
  prepare)
    [[ ! -e $tree/build ]] || exit 0
    rm -rf "$tree.unfinished"
    mmdebstrap --quiet --variant=apt --include="$tools" trixie "$tree.unfinished" "$mirror"
    cp /etc/resolv.conf /etc/hosts "$tree.unfinished/etc/"
    mkdir "$tree.unfinished/build"
    mv "$tree.unfinished" "$tree"
    ;;
  build)
    # Of one archive: the debugging symbols, which mkosi would ask for, are in another.
    printf '%s\n' '[Distribution]' Distribution=debian Release=trixie "LocalMirror=$mirror" \
      '[Output]' Format=disk '[Content]' Bootable=yes Bootloader=systemd-boot "Packages=${3:?$usage}" > "$tree/build/mkosi.conf"
    # The second shell's own words, not this one's.
    # shellcheck disable=SC2016
    tree=$tree exec unshare --mount --propagation private bash -euc '
      mount --bind "$tree" "$tree"
      cd "$tree"
      mkdir -p old
      for folder in proc sys dev; do mount --rbind "/$folder" "$folder"; done
      mount -t tmpfs run run
      pivot_root . old
      cd /build
      umount --lazy /old
      PATH=/usr/sbin:/usr/bin:/sbin:/bin exec mkosi --force build'
    ;;
  *) echo "$usage" >&2; exit 2 ;;
esac
