# Plain make. `make help` prints the lines marked with ##; .ci/run calls the same targets.

SHELL := /bin/bash
ARCH := $(shell uname -m)
TARGETS := $(basename $(notdir $(wildcard targets/*.toml)))
triple = $(shell sed -n 's/^target = "\(.*\)"/\1/p' targets/$(1).toml)
CARGO_HERE := cargo --locked --config targets/$(ARCH).toml
EMULATED := $(filter-out x86_64 i686,$(TARGETS))
DIST_FILES := lath lath-bare lath.cdx.json lath-bare.cdx.json
# What the tests of the readers are held against.
PACKERS := gzip bzip2 xz zstd
LATH := target/$(call triple,$(ARCH))/release/lath
# What the tests make disks with.
DISK_PROGRAMS := losetup mkfs.ext4 mkfs.xfs mkfs.btrfs mkfs.exfat mount.exfat-fuse mksquashfs
# What is flashed is read back with these.
IMAGE_PROGRAMS := mkfs.erofs fsck.erofs e2fsck resize2fs dumpe2fs cpio
TEST_PROGRAMS := busybox python3 tar git fish zsh ip unshare nsenter $(PACKERS) $(IMAGE_PROGRAMS) skopeo umoci podman strace openssl docker-registry $(DISK_PROGRAMS)
# Each the small one, or the same without something.
VM_KERNELS := small no-overlay no-pidns no-ipcns no-netns
debian_kernel = mkdir -p target/vm/kernel && cd target/vm && apt-get download -q "$$(apt-cache depends linux-image-amd64 | sed -n 's/ *Depends: //p')" && dpkg -x linux-image-*.deb kernel
export CROSS_CONFIG := cross.toml

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /\1 /p' Makefile | while read -r name text; do printf '%-12s %s\n' "$$name" "$$text"; done

demo: build ## build the binary and show it at work, without a network
	@tools/need busybox tar
	@tools/demo $(LATH)

build: ## the static binary for this machine
	@tools/need cc cc:targets/$(ARCH).toml std:targets/$(ARCH).toml
	@$(CARGO_HERE) build --release

# The cases are of amd64 images.
test: check unit system $(if $(filter x86_64,$(ARCH)),conformance) ## everything that must be green: format, lints, unit and system tests, conformance

check: fmt lint ## formatting and lints

fmt:
	cargo fmt --check

lint:
	@tools/need cc
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --all-targets --no-default-features -- -D warnings

unit: ## tests of the pure parts, and the rules of the house
	@tools/need cc $(PACKERS)
	cargo test --locked --lib --bins --test floors
	cargo test --locked --lib --no-default-features

system: build ## tests that use the static binary as a user would (root; ../shared/bases for the base images)
	@tools/need $(TEST_PROGRAMS)
	LATH_BIN=$(CURDIR)/$(LATH) cargo test --locked --no-fail-fast --test '*'

conformance: build ## BuildKit's results for 710 small Dockerfiles, the same layers by both drivers (root; tests/conformance/README.md)
	@tools/need python3 zstd busybox
	python3 tests/conformance/run.py --lath $(LATH) --jobs 2 --same-layers

torture: build ## every file damaged, a kill and each errno at every system call, 1,000 kills in a crowd, 10,400 power cuts, more with HOURS= (root; docs/TORTURE.md)
	@tools/need $(TEST_PROGRAMS)
	LATH_TORTURE=7 LATH_BIN=$(CURDIR)/$(LATH) cargo test --locked --no-fail-fast --test fsck --test torture --test crowd -- --nocapture --test-threads 1
	LATH_POWER_CUTS=2600 LATH_POWER_HOURS=$(or $(HOURS),0) LATH_BIN=$(CURDIR)/$(LATH) LATH_TEST_STRICT=1 cargo test --locked --no-fail-fast --test power -- --nocapture

vm: build ## a machine (qemu, a kernel of Debian's) killed 20 times on ext4 and on f2fs, and one that starts from a cpio (root; docs/TORTURE.md)
	@tools/need busybox qemu-system-x86_64 mkfs.ext4 mkfs.f2fs
	@$(debian_kernel)
	LATH_VM_KERNEL=$(CURDIR)/target/vm/kernel LATH_BIN=$(CURDIR)/$(LATH) LATH_TEST_STRICT=1 cargo test --locked --no-fail-fast --test vm -- --nocapture --test-threads 1 --skip device:: --skip lacking::

vm-test: build vm-kernels ## devices of 64 and 32 MB from the first boot to a redis that comes back, one with Debian's kernel, kernels with things taken away (root; docs/KERNEL.md)
	@tools/need busybox qemu-system-x86_64 mkfs.ext4 mksquashfs
	@$(debian_kernel)
	LATH_VM_ACCEL=$(or $(LATH_VM_ACCEL),tcg) LATH_VM_KERNEL=$(CURDIR)/target/vm/kernel LATH_VM_KERNELS=$(CURDIR)/target/vm/kernels LATH_BIN=$(CURDIR)/$(LATH) LATH_TEST_STRICT=1 \
		cargo test --locked --no-fail-fast --test vm -- --nocapture --test-threads 1 device:: lacking::

vm-kernels: ## small kernels for vm-test, of Debian's linux-source and tests/vm/kernel/small.config: some minutes each
	@tools/need cc make flex bison bc xz libelf
	@nice -n 10 tests/vm/kernel/build target/vm/kernels $(VM_KERNELS)

fuzz: ## twenty seconds of fuzzing for each target (docs/FUZZING.md)
	@tools/need c++ python3
	@fuzz/run 20s

release: build ## dist/lath
	@mkdir -p dist && cp $(LATH) dist/lath && ls -l dist/lath

dist: ## dist/TRIPLE/lath and lath-bare for every target in targets/ (or TARGETS=), static and within budget, with SBOMs and SHA256SUMS
	@tools/need cc file readelf python3 $(foreach t,$(TARGETS),std:targets/$(t).toml cc:targets/$(t).toml)
	@for t in $(TARGETS); do tools/dist $$t || exit 1; done
	@cd dist && sha256sum $(foreach t,$(TARGETS),$(addprefix $(call triple,$(t))/,$(DIST_FILES))) > SHA256SUMS

test-targets: ## what dist made for other processors, under qemu-user (root; EMULATED=armv7)
	@tools/need python3 zstd busybox qemu-user-static
	@tools/test-targets $(EMULATED)

check-packaging: build ## what packages are made of: completions and man page up to date, scripts, unit, recipes, Debian's package of dist/
	@tools/need fish lintian man mandoc shellcheck systemd-analyze zsh
	@tools/check-packaging $(LATH)

check-cross: ## that cross reads cross.toml, without an engine of containers
	@tools/need cc
	@tools/check-cross

reproducible: ## the binaries of this machine built in two folders, which must be equal
	@tools/need cc file readelf python3 git std:targets/$(ARCH).toml cc:targets/$(ARCH).toml
	@tools/reproducible $(ARCH)

small: ## dist/TRIPLE/lath-small and lath-bare-small of this machine, with a std built for size (docs/SIZE.md)
	@tools/need cc cc:targets/$(ARCH).toml std:targets/$(ARCH).toml std-source
	@tools/small $(ARCH)

size: build ## what the bytes of the binary are
	@tools/need readelf
	@tools/size $(LATH) targets/$(ARCH).toml

bench-parser: ## instructions, time and memory of reading a Dockerfile of 10 MB, shape by shape
	@tools/need python3 valgrind
	@$(CARGO_HERE) build --release --example read
	@cargo --locked build --release --example read
	@python3 benches/parser.py target/$(call triple,$(ARCH))/release/examples/read target/release/examples/read

bench-durability: build ## bytes written for what is kept, and time that a build waits for the disk (root)
	@tools/need busybox python3 docker-registry losetup mkfs.ext4
	@python3 benches/durability.py --lath $(LATH)

bench-snapshot: build ## time and memory of a step of the copy driver on a root of 500,000 files (root)
	@tools/need busybox python3
	@python3 benches/snapshot.py --lath $(LATH)

bench: build ## steps, cached builds and memory, side by side with the rivals
	@tools/need busybox python3 bwrap
	@python3 benches/compare.py --lath $(LATH)

install: build ## into PREFIX/bin (PREFIX=/usr/local)
	install -D -m 755 $(LATH) $(DESTDIR)$(or $(PREFIX),/usr/local)/bin/lath

clean: ## remove target/ and dist/
	rm -rf target dist

.PHONY: help demo build test check fmt lint unit system conformance torture vm vm-test vm-kernels check-packaging fuzz release dist test-targets check-cross reproducible small size bench bench-parser bench-durability bench-snapshot install clean
