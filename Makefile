# The front door: `make demo` shows the product, `make test` checks it. CI runs `make test` and nothing else.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

# Downloads and the Kubernetes binaries live outside the checkout and survive it.
CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/seedbed
KUBE := $(CACHE)/kube
OUT ?= out
TARGET := $(or $(CARGO_TARGET_DIR),target)
HOST := x86_64-unknown-linux-gnu
# Programs that run wherever they are copied to, in a container with nothing else, too.
STATIC := RUSTFLAGS="-C target-feature=+crt-static"
RELEASE := --release --locked --target $(HOST)
SEEDBED := $(TARGET)/$(HOST)/release/seedbed
FIRSTBOOT := $(TARGET)/$(HOST)/release/firstboot
IMAGE := $(OUT)/seedbed-demo-amd64.raw
KUBECTL := $(KUBE)/release/v1.20.2/bin/linux/amd64/kubectl
SOURCES := --source kubernetes=file://$(KUBE)
MUSL := $(CACHE)/musl
MUSL_TARGET := aarch64-unknown-linux-musl
FIRSTBOOT_ARM64 := $(TARGET)/$(MUSL_TARGET)/release/firstboot
IMAGE_ARM64 := $(OUT)/seedbed-demo-arm64.raw

# What the tests on machines are told.
export SEEDBED_IMAGE := $(abspath $(IMAGE))
export SEEDBED_ISO := $(abspath $(OUT)/seedbed-demo-amd64.iso)
export SEEDBED_BIN := $(abspath $(SEEDBED))
export SEEDBED_FIRSTBOOT := $(abspath $(FIRSTBOOT))
export SEEDBED_IMAGE_ARM64 := $(abspath $(IMAGE_ARM64))
export SEEDBED_FIRSTBOOT_ARM64 := $(abspath $(FIRSTBOOT_ARM64))
export SEEDBED_KUBECTL := $(KUBECTL)
export SEEDBED_KUBE := $(KUBE)

.PHONY: demo
demo: image ## Bake the demo image, boot it, and wait for Ready
	$(TARGET)/$(HOST)/release/seedbed-demo --image $(IMAGE) --seedbed $(SEEDBED) --kubectl $(KUBECTL)

.PHONY: prerequisites
prerequisites: ## Install what the demo and the tests need from Debian
	scripts/prerequisites.sh

.PHONY: programs
programs: prerequisites ## Compile seedbed and firstboot, both static
	$(STATIC) cargo build $(RELEASE) -p seedbed-builder -p seedbed-qemu-tests
	$(STATIC) cargo build $(RELEASE) -p seedbed-firstboot

.PHONY: builder-files
builder-files: programs ## What profiles/builder makes a container image of, into out/builder
	install -D -t $(OUT)/builder/amd64 $(SEEDBED) $(FIRSTBOOT)
	install -m 0644 -t $(OUT)/builder /etc/ssl/certs/ca-certificates.crt

.PHONY: kube
kube: prerequisites ## Build Kubernetes v1.20.2 from Debian's source package, once
	scripts/kubernetes-from-debian-source.sh $(KUBE) amd64

.PHONY: image
image: programs kube ## Bake the demo image
	$(SEEDBED) lock profiles/demo --arch amd64 $(SOURCES)
	$(SEEDBED) fetch profiles/demo --arch amd64 $(SOURCES)
	$(SEEDBED) build profiles/demo --arch amd64 --format raw,qcow2,iso --out $(OUT) --firstboot $(FIRSTBOOT)

.PHONY: prerequisites-arm64
prerequisites-arm64: prerequisites
	scripts/prerequisites.sh arm64

.PHONY: kube-arm64
kube-arm64: kube prerequisites-arm64
	scripts/kubernetes-from-debian-source.sh $(KUBE) arm64

.PHONY: firstboot-arm64
firstboot-arm64: prerequisites-arm64 ## Cross-build firstboot for arm64
	scripts/musl-toolchain.sh $(MUSL)
	. $(MUSL)/env; cargo build --release --locked -p seedbed-firstboot --target $(MUSL_TARGET)

.PHONY: image-arm64
image-arm64: programs kube-arm64 firstboot-arm64 ## Bake the demo image for amd64 and arm64, in one run
	$(SEEDBED) lock profiles/demo $(SOURCES)
	$(SEEDBED) fetch profiles/demo $(SOURCES)
	$(SEEDBED) build profiles/demo --arch amd64,arm64 --format raw,qcow2,iso --out $(OUT) --firstboot amd64=$(FIRSTBOOT) --firstboot arm64=$(FIRSTBOOT_ARM64)

.PHONY: screenshot
screenshot: image ## The picture of the report in docs/
	chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir=$(TARGET)/chromium --window-size=1200,1100 --screenshot=$(abspath docs/report.png) file://$(abspath $(OUT))/report.html

.PHONY: test
test: prerequisites check unit machine ## Everything that CI runs

.PHONY: check
check: prerequisites
	cargo fmt --all --check
	cargo fmt --check --manifest-path formats/fuzz/Cargo.toml
	cargo fmt --check --manifest-path builder/fuzz/Cargo.toml
	cargo clippy --workspace --all-targets --locked -- -D warnings

# Optimised, with checks for overflow on.
.PHONY: test-assembly-sim
test-assembly-sim: prerequisites ## Self-assembly in virtual time, 100,000 runs, and a larger exhaustive model
	CARGO_PROFILE_DEV_OPT_LEVEL=2 cargo test --locked -p seedbed-firstboot --test assembly_sim --test assembly_model --test assembly_counterexamples -- --include-ignored --nocapture --test-threads 1

.PHONY: containerd
containerd: prerequisites
	scripts/debian-packages.sh trixie $(CACHE)/containerd containerd runc

# Of the suite that images are made of; nothing of it is installed or runs as a service.
.PHONY: etcd
etcd: prerequisites
	scripts/debian-packages.sh trixie $(CACHE)/etcd etcd-server

# Of a newer erofs-utils than the host's, with the libraries that it needs.
.PHONY: erofs-utils
erofs-utils: prerequisites
	scripts/debian-packages.sh trixie $(CACHE)/erofs-utils erofs-utils libc6 libzstd1 liblz4-1 liblzma5 libdeflate0 zlib1g libselinux1 libuuid1 libpcre2-8-0 libxxhash0 libfuse2t64 libgcc-s1

# Of the suite that images are made of, with the libraries that its grub-mkimage needs; nothing of it is installed.
.PHONY: grub
grub: prerequisites
	scripts/debian-packages.sh trixie $(CACHE)/grub grub-common grub-pc-bin libc6 libdevmapper1.02.1 liblzma5 libselinux1 libudev1 libpcre2-8-0 libcap2

# Of the suite that images are made of: programs to sign, which nothing here runs.
.PHONY: systemd-boot
systemd-boot: prerequisites
	scripts/debian-packages.sh trixie $(CACHE)/systemd-boot systemd-boot-efi

# The validators of bills of materials are on PyPI alone: without it their test says SKIP, all others must run.
.PHONY: unit
unit: prerequisites kube containerd etcd erofs-utils grub systemd-boot
	if scripts/validators.sh $(CACHE)/validators; then export SEEDBED_VALIDATORS=$(CACHE)/validators; \
	else echo "SKIP validators_take_the_bills_of_materials: the validators cannot be installed from PyPI"; fi; \
	SEEDBED_CONTAINERD=$(CACHE)/containerd/usr/bin SEEDBED_ETCD=$(CACHE)/etcd/usr/bin SEEDBED_EROFS_UTILS=$(CACHE)/erofs-utils SEEDBED_GRUB=$(CACHE)/grub SEEDBED_SYSTEMD_BOOT=$(CACHE)/systemd-boot SEEDBED_REQUIRE_REFEREES=1 cargo test --workspace --locked --exclude seedbed-qemu-tests

.PHONY: machine
machine: image ## The tests that need a baked image: a boot to Ready, a power cut, sticks, a site of five
	SEEDBED_REQUIRE_IMAGE=1 SEEDBED_REQUIRE_REFEREES=1 $(STATIC) cargo test $(RELEASE) -p seedbed-qemu-tests --lib --test build --test closed --test machine --test medium --test sectors --test secure_boot --test seed_stick --test power_cut --test laboratory --test membership --test boot_to_ready -- --test-threads=1 --nocapture

.PHONY: test-arm64
test-arm64: image-arm64 ## The tier of arm64: its image boots to Ready, emulated
	SEEDBED_ARM64=1 $(STATIC) cargo test $(RELEASE) -p seedbed-qemu-tests --test arm64 -- --test-threads=1 --nocapture

.PHONY: test-long
test-long: image ## The tiers that take hours; resumable, results appended to out/long.jsonl
	SEEDBED_REQUIRE_IMAGE=1 SEEDBED_LONG=1 SEEDBED_LONG_RESULTS=$(abspath $(OUT))/long.jsonl $(STATIC) cargo test $(RELEASE) -p seedbed-qemu-tests -- --test-threads=1 --nocapture
	SEEDBED_REQUIRE_REFEREES=1 SEEDBED_LONG=1 cargo test --locked -p seedbed-builder --test debian_apt --test gpu_profile -- --nocapture
	SEEDBED_LONG=1 $(STATIC) cargo test $(RELEASE) -p seedbed-builder --test killed -- --nocapture

# No part of CI: ten minutes for each of thirty targets. FUZZ_TARGETS names those to run; empty is all.
.PHONY: fuzz
fuzz: ## Feed the readers of untrusted bytes with garbage, FUZZ_SECONDS [600] each; resumable, results in out/fuzz
	scripts/prerequisites.sh fuzz
	cargo fuzz --version >/dev/null 2>&1 || nice cargo install cargo-fuzz --locked --target-dir $(TARGET)/cargo-fuzz
	scripts/fuzz.sh $(OUT)/fuzz $(FUZZ_TARGETS)

.PHONY: bench
bench: bench-build bench-balancer bench-site ## Figures; those of a boot are in qemu-results/ after `make machine`

.PHONY: bench-build
bench-build: image ## Build time against mmdebstrap and mkosi, memory, sizes
	SEEDBED_STORE=$(CACHE)/store SEEDBED_MKOSI=$(CACHE)/mkosi scripts/bench.sh

.PHONY: bench-balancer
bench-balancer: prerequisites ## The load balancer's memory, failover and speed
	$(STATIC) cargo test $(RELEASE) -p seedbed-firstboot --test balancer -- --ignored --nocapture --test-threads=1

.PHONY: bench-site
bench-site: image ## Power-on to Ready of one machine, of three, and of a worker that joins them
	SEEDBED_REQUIRE_IMAGE=1 $(STATIC) cargo test $(RELEASE) -p seedbed-qemu-tests --test site_times -- --ignored --nocapture --test-threads=1

.PHONY: help
help:
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "%-15s %s\n", $$1, $$2}' Makefile
