################################################################################
#
# lath
#
################################################################################

LATH_VERSION = 0.1.0
LATH_SOURCE = lath-$(LATH_VERSION).tar.gz
# Where releases are: LATH_OVERRIDE_SRCDIR = PATH in local.mk takes a checkout instead.
LATH_SITE = https://example.invalid/lath/releases
LATH_LICENSE = MIT or Apache-2.0
LATH_LICENSE_FILES = LICENSE-MIT LICENSE-APACHE

ifneq ($(BR2_PACKAGE_LATH_FULL),y)
LATH_CARGO_BUILD_OPTS = --no-default-features
LATH_CARGO_INSTALL_OPTS = --no-default-features
endif

define LATH_INSTALL_INIT_SYSV
	$(INSTALL) -D -m 755 $(@D)/packaging/sysv/S90lath \
		$(TARGET_DIR)/etc/init.d/S90lath
endef

define LATH_INSTALL_INIT_OPENRC
	$(INSTALL) -D -m 755 $(@D)/packaging/openrc/lath \
		$(TARGET_DIR)/etc/init.d/lath
endef

define LATH_INSTALL_INIT_SYSTEMD
	$(INSTALL) -D -m 644 $(@D)/packaging/systemd/lath.service \
		$(TARGET_DIR)/usr/lib/systemd/system/lath.service
endef

define LATH_LINUX_CONFIG_FIXUPS
	$(call KCONFIG_ENABLE_OPT,CONFIG_NAMESPACES)
	$(call KCONFIG_ENABLE_OPT,CONFIG_UTS_NS)
	$(call KCONFIG_ENABLE_OPT,CONFIG_PID_NS)
	$(call KCONFIG_ENABLE_OPT,CONFIG_IPC_NS)
	$(call KCONFIG_ENABLE_OPT,CONFIG_NET_NS)
	$(call KCONFIG_ENABLE_OPT,CONFIG_SYSVIPC)
	$(call KCONFIG_ENABLE_OPT,CONFIG_POSIX_MQUEUE)
	$(call KCONFIG_ENABLE_OPT,CONFIG_TMPFS)
	$(call KCONFIG_ENABLE_OPT,CONFIG_UNIX98_PTYS)
	$(call KCONFIG_ENABLE_OPT,CONFIG_OVERLAY_FS)
	$(call KCONFIG_ENABLE_OPT,CONFIG_SECCOMP)
	$(call KCONFIG_ENABLE_OPT,CONFIG_SECCOMP_FILTER)
	$(call KCONFIG_ENABLE_OPT,CONFIG_CGROUPS)
	$(call KCONFIG_ENABLE_OPT,CONFIG_MEMCG)
	$(call KCONFIG_ENABLE_OPT,CONFIG_CGROUP_PIDS)
	$(call KCONFIG_ENABLE_OPT,CONFIG_CGROUP_SCHED)
	$(call KCONFIG_ENABLE_OPT,CONFIG_CFS_BANDWIDTH)
endef

$(eval $(cargo-package))
