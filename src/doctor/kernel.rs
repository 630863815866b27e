//! What is there or not, and asked by one question each.

use super::Want;
use crate::sys::kernel::{has_call, is_there, lists};

const CAP_SYS_ADMIN: u64 = 1 << 21;

/// The namespaces, file systems and system calls. Options of the kernel's configuration are named as
/// docs/KERNEL.md has them.
pub const WANTS: &[Want] = &[
    Want {
        name: "root",
        is_needed: true,
        is_there: may_mount,
        cost: "neither steps nor containers can be started",
        remedy: "call lath as root, with CAP_SYS_ADMIN",
    },
    Want {
        name: "/proc",
        is_needed: true,
        is_there: || is_there("/proc/self/ns/mnt"),
        cost: "neither steps nor containers can be started",
        remedy: "mount -t proc proc /proc (CONFIG_PROC_FS)",
    },
    Want {
        name: "mounts by descriptor",
        is_needed: true,
        is_there: || has_call(libc::SYS_open_tree) && has_call(libc::SYS_fsopen),
        cost: "no root can be put together",
        remedy: "a kernel of 5.2 or newer",
    },
    Want {
        name: "processes by descriptor",
        is_needed: true,
        is_there: || has_call(libc::SYS_pidfd_open),
        cost: "a step could outlive lath, so none is started",
        remedy: "a kernel of 5.3 or newer",
    },
    Want {
        name: "pid namespaces",
        is_needed: true,
        is_there: || is_there("/proc/self/ns/pid"),
        cost: "neither steps nor containers can be started",
        remedy: "CONFIG_PID_NS",
    },
    Want {
        name: "ipc namespaces",
        is_needed: true,
        is_there: || is_there("/proc/self/ns/ipc"),
        cost: "neither steps nor containers can be started",
        remedy: "CONFIG_IPC_NS with CONFIG_SYSVIPC or CONFIG_POSIX_MQUEUE",
    },
    Want {
        name: "uts namespaces",
        is_needed: true,
        is_there: || is_there("/proc/self/ns/uts"),
        cost: "neither steps nor containers can be started",
        remedy: "CONFIG_UTS_NS",
    },
    Want {
        name: "tmpfs",
        is_needed: true,
        is_there: || lists("/proc/filesystems", "tmpfs"),
        cost: "steps and containers have no /dev",
        remedy: "CONFIG_TMPFS",
    },
    Want {
        name: "devpts",
        is_needed: true,
        is_there: || lists("/proc/filesystems", "devpts"),
        cost: "steps and containers have no /dev/pts",
        remedy: "CONFIG_UNIX98_PTYS",
    },
    Want {
        name: "sysfs",
        is_needed: true,
        is_there: || lists("/proc/filesystems", "sysfs"),
        cost: "steps and containers have no /sys",
        remedy: "CONFIG_SYSFS",
    },
    Want {
        name: "openat2",
        is_needed: false,
        is_there: || has_call(libc::SYS_openat2),
        cost: "paths in an image are looked up a name at a time",
        remedy: "a kernel of 5.6 or newer",
    },
    Want {
        name: "network namespaces",
        is_needed: false,
        is_there: || is_there("/proc/self/ns/net"),
        cost: "--network none is refused",
        remedy: "CONFIG_NET_NS",
    },
    #[cfg(feature = "bridge")]
    Want {
        name: "bridges and pairs of links",
        is_needed: false,
        is_there: crate::network::has_links,
        cost: "containers have no networks; published ports lead in all the same",
        remedy: "CONFIG_BRIDGE and CONFIG_VETH, or their modules",
    },
    #[cfg(feature = "bridge")]
    Want {
        name: "nftables",
        is_needed: false,
        is_there: crate::network::has_tables,
        cost: "a container with a network of its own has no way out",
        remedy: "CONFIG_NF_TABLES with CONFIG_NF_TABLES_INET, CONFIG_NFT_CT, CONFIG_NFT_NAT and CONFIG_NFT_MASQ",
    },
    Want {
        name: "cgroup namespaces",
        is_needed: false,
        is_there: || is_there("/proc/self/ns/cgroup"),
        cost: "a container sees the paths of the host's cgroups",
        remedy: "CONFIG_CGROUPS, kernel 4.6 or newer",
    },
    Want {
        name: "seccomp",
        is_needed: false,
        is_there: || is_there("/proc/sys/kernel/seccomp"),
        cost: "programs may make every system call",
        remedy: "CONFIG_SECCOMP_FILTER",
    },
    Want {
        name: "message queues",
        is_needed: false,
        is_there: || lists("/proc/filesystems", "mqueue"),
        cost: "containers have no /dev/mqueue",
        remedy: "CONFIG_POSIX_MQUEUE",
    },
    Want {
        name: "programs of other processors",
        is_needed: false,
        is_there: || is_there("/proc/sys/fs/binfmt_misc/register"),
        cost: "--platform for another processor works for COPY and fails at RUN",
        remedy: "CONFIG_BINFMT_MISC, mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc, and qemu-user-static",
    },
];

/// What the network wants.
#[cfg(feature = "net")]
pub const NET: &[Want] = &[
    #[cfg(feature = "tls")]
    Want {
        name: "certificate authorities",
        is_needed: false,
        is_there: crate::http::knows_authorities,
        cost: "registries and addresses over https are refused",
        remedy: "the package ca-certificates, or a PEM file named by SSL_CERT_FILE",
    },
    #[cfg(feature = "tls")]
    Want {
        name: "clock",
        is_needed: false,
        is_there: crate::http::is_clock_set,
        cost: "it is before lath was made, so certificates are judged by that day",
        remedy: "set it, from a clock chip or by NTP, before lath runs",
    },
    Want {
        name: "git",
        is_needed: false,
        is_there: || has_program("git"),
        cost: "contexts and ADD from git repositories are refused",
        remedy: "the package git",
    },
];

/// CAP_SYS_ADMIN is effective (proc(5), status).
fn may_mount() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let held = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    // Before /proc is mounted there is only the number to go by.
    held.map_or(rustix::process::geteuid().is_root(), |held| held & CAP_SYS_ADMIN != 0)
}

#[cfg(feature = "net")]
fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    std::env::split_paths(&path).any(|folder| {
        let program = folder.join(name);
        rustix::fs::access(program, rustix::fs::Access::EXEC_OK).is_ok()
    })
}
