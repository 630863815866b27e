SUMMARY = "Builds and runs container images on small devices"
DESCRIPTION = "One binary, no daemon: docker's commands for images and containers, and images to be flashed."
HOMEPAGE = "https://example.invalid/lath"
SECTION = "console/utils"
LICENSE = "MIT | Apache-2.0"
LIC_FILES_CHKSUM = "\
    file://LICENSE-MIT;md5=063f5c5b063310de97d8da26813d6769 \
    file://LICENSE-APACHE;md5=1836efb2eb779966696f473ee8540542 \
"

# ring has C and assembler of its own, built by the compiler of the target.
DEPENDS += "virtual/${TARGET_PREFIX}gcc"

# Its digest goes here with the first release; until then, and for work on lath itself, a checkout takes its
# place: inherit externalsrc, EXTERNALSRC = PATH.
SRC_URI = "https://example.invalid/lath/releases/lath-${PV}.tar.gz"

inherit cargo systemd update-rc.d

# The crates of Cargo.lock, by tools/describe.
require ${BPN}-crates.inc

PACKAGECONFIG ??= "full"
PACKAGECONFIG[full] = ""
CARGO_BUILD_FLAGS += "${@bb.utils.contains('PACKAGECONFIG', 'full', '', '--no-default-features', d)}"

SYSTEMD_SERVICE:${PN} = "lath.service"
INITSCRIPT_NAME = "lath"
INITSCRIPT_PARAMS = "defaults 90 10"

do_install:append() {
    install -D -m 644 ${S}/packaging/man/lath.1 ${D}${mandir}/man1/lath.1
    install -D -m 644 ${S}/packaging/completions/lath.bash ${D}${datadir}/bash-completion/completions/lath
    if ${@bb.utils.contains('DISTRO_FEATURES', 'systemd', 'true', 'false', d)}; then
        install -D -m 644 ${S}/packaging/systemd/lath.service ${D}${systemd_system_unitdir}/lath.service
    fi
    if ${@bb.utils.contains('DISTRO_FEATURES', 'sysvinit', 'true', 'false', d)}; then
        install -D -m 755 ${S}/packaging/sysv/S90lath ${D}${sysconfdir}/init.d/lath
    fi
}

FILES:${PN} += "${datadir}/bash-completion"

RRECOMMENDS:${PN} = "kernel-module-overlay"
