//! Standing back behind the rest of the machine: nice(2), ioprio_set(2).

/// Gives way to whoever else wants the processor or the disk; so do children that are started from
/// now on. What the kernel does not allow or know is left as it is.
pub fn step_back() {
    /// As `nice` without a number does.
    const NICENESS: i32 = 10;
    /// IOPRIO_CLASS_IDLE: only when nobody else wants the disk (linux/ioprio.h).
    const IDLE: libc::c_int = 3 << 13;
    const WHO_PROCESS: libc::c_int = 1;
    let _ = rustix::process::nice(NICENESS);
    // SAFETY: numbers only; 0 is the calling thread.
    unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, IDLE) };
}
