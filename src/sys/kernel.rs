//! What this kernel and machine have, asked once.

/// Facts that `info` shows and rooms decide by.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// `6.18.44`.
    pub release: String,
    /// `x86_64`.
    pub machine: String,
    /// The host's name.
    pub hostname: String,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// overlayfs is built in or loaded.
    pub has_overlay: bool,
    /// A cgroup file system is mounted.
    pub has_cgroups: bool,
    /// There are cgroup namespaces (kernel 4.6).
    pub has_cgroup_namespace: bool,
    /// A seccomp filter can be loaded.
    pub has_seccomp: bool,
}

impl Kernel {
    /// Asks the kernel.
    pub fn probe() -> Kernel {
        let names = rustix::system::uname();
        let memory = rustix::system::sysinfo();
        let text = |name: &std::ffi::CStr| name.to_string_lossy().into_owned();
        Kernel {
            release: text(names.release()),
            machine: text(names.machine()),
            hostname: text(names.nodename()),
            memory_bytes: memory_bytes(memory.totalram, memory.mem_unit),
            has_overlay: lists("/proc/filesystems", "overlay"),
            has_cgroups: is_there("/sys/fs/cgroup/cgroup.controllers")
                || is_there("/sys/fs/cgroup/memory"),
            has_cgroup_namespace: is_there("/proc/self/ns/cgroup"),
            has_seccomp: is_there("/proc/sys/kernel/seccomp"),
        }
    }
}

/// Whether a file of the kernel's is there: a question without side effects.
pub fn is_there(path: &str) -> bool {
    rustix::fs::stat(path).is_ok()
}

/// Whether a file of the kernel's has a line that ends with this word.
pub fn lists(path: &str, word: &str) -> bool {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().any(|line| line.split_whitespace().last() == Some(word))
}

/// Whether the kernel knows a system call, one of those whose arguments cannot all be -1.
#[cfg(feature = "doctor")]
pub fn has_call(number: libc::c_long) -> bool {
    // SAFETY: no argument is a number or an address that the call could take: it fails before it
    // does anything.
    let answer = unsafe { libc::syscall(number, -1, -1, -1, -1, -1, -1) };
    let error = std::io::Error::last_os_error().raw_os_error();
    answer != -1 || error != Some(libc::ENOSYS)
}

/// The number after a name in a file of the kernel's; 0 when there is none.
pub fn number_in(path: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn memory_bytes(units: impl TryInto<u64>, unit: u32) -> u64 {
    units.try_into().unwrap_or(0).saturating_mul(u64::from(unit.max(1)))
}
/// How many processors this process may use (sched_getaffinity(2)); 1 when that is not told.
pub fn processors() -> usize {
    rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count() as usize)
}
