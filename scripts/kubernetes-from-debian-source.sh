#!/usr/bin/env bash
# Builds Kubernetes v1.20.2 from Debian's own source package, for the demo profile and the tests on machines
# that reach a Debian mirror and nothing else.
#
#   kubernetes-from-debian-source.sh OUT [amd64|arm64]
#
# OUT gets the layout of the upstream download site, so that a profile for a current Kubernetes differs only
# in version and source:
#   OUT/release/v1.20.2/bin/linux/ARCH/{kubelet,kubeadm,kubectl,kube-apiserver,...,pause}{,.sha256}
#
# About five minutes on two cores; 2.5 GB of scratch space below OUT/.work-ARCH, removed at the end. A finished
# OUT is left as it is. Needs make, rsync, gcc, for arm64
# gcc-aarch64-linux-gnu and libc6-dev-arm64-cross, and what debian-packages.sh needs.
#
# Go 1.15 (bullseye's) is needed: built with Go 1.18 or newer, kubeadm of this version panics in its JSON encoder.
set -euo pipefail
out=$(realpath -m "${1:?usage: $0 OUT [ARCH]}") arch=${2:-amd64} version=v1.20.2
bin=$out/release/$version/bin/linux/$arch work=$out/.work-$arch
binaries=(kubelet kubectl kubeadm kube-proxy kube-scheduler kube-controller-manager kube-apiserver)
missing() { for b in "${binaries[@]}" pause; do [[ -s $bin/$b.sha256 ]] || return 0; done; return 1; }
missing || { echo "already built: $bin"; exit 0; }

packages=$(dirname "$(realpath "$0")")/debian-packages.sh
mkdir -p "$work" "$bin"
"$packages" bullseye "$work/go" golang-1.15-go golang-1.15-src
"$packages" --source bookworm "$work" kubernetes
cd "$work"
tar -xzf kubernetes_*.orig.tar.gz
cd kubernetes-*/
mkdir -p .go/src/k8s.io && ln -sfn ../../.. .go/src/k8s.io/kubernetes
export GOROOT=$work/go/usr/lib/go-1.15 GOPATH=$PWD/.go HOME=$work/home CGO_ENABLED=0 GOLDFLAGS="-s -w" GOCACHE=$work/gocache
export PATH=$GOROOT/bin:$PATH KUBE_GIT_VERSION_FILE=$work/version KUBE_BUILD_PLATFORMS=linux/$arch
printf "KUBE_GIT_COMMIT='faecb196815e248d3ecfb03c680a4507229c2a56'\nKUBE_GIT_TREE_STATE='clean'\nKUBE_GIT_VERSION='%s'\nKUBE_GIT_MAJOR='1'\nKUBE_GIT_MINOR='20'\n" "$version" > "$work/version"
# Of these only kubelet is linked dynamically by default, when it is built for another architecture than the host's.
export KUBE_STATIC_OVERRIDES=kubelet
make WHAT="${binaries[*]/#/cmd/}"
case $arch in amd64) cc=gcc ;; arm64) cc=aarch64-linux-gnu-gcc ;; esac
"$cc" -Os -Wall -static -s -DVERSION=v3.2 -o "_output/local/bin/linux/$arch/pause" build/pause/linux/pause.c
for b in "${binaries[@]}" pause; do
  install -m 755 "_output/local/bin/linux/$arch/$b" "$bin/$b"
  sha256sum < "$bin/$b" | cut -d' ' -f1 > "$bin/$b.sha256"
done
cd "$out" && chmod -R u+w "$work" && rm -rf "$work"
ls -l "$bin"
