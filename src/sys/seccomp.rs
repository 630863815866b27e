//! Filters of system calls (seccomp(2)).

use std::mem::size_of;

use rustix::io::Errno;

/// One instruction of a filter: `struct sock_filter` (linux/filter.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// What it does.
    pub code: u16,
    /// How many instructions are left out when a comparison holds.
    pub yes: u8,
    /// How many when it does not.
    pub no: u8,
    /// Its constant.
    pub value: u32,
}

impl Instruction {
    /// Puts one together.
    pub const fn new(code: u16, yes: u8, no: u8, value: u32) -> Instruction {
        Instruction { code, yes, no, value }
    }
}

/// `struct sock_fprog`.
#[repr(C)]
struct Program {
    length: libc::c_ushort,
    first: *const Instruction,
}

// As the kernel has it on every processor.
const _: () = assert!(size_of::<Instruction>() == 8);

/// Holds this thread, and all that it becomes and starts, to a filter for good. Needs CAP_SYS_ADMIN.
/// `ENOSYS` and `EINVAL` on a kernel without filters.
pub fn confine(filter: &[Instruction]) -> rustix::io::Result<()> {
    const SET_MODE_FILTER: libc::c_uint = 1;
    // Programs are as fast as without; what this would slow down (speculation around stores) is no
    // way out of a container. Kernel 4.17.
    const SPEC_ALLOW: libc::c_uint = 4;
    let length = libc::c_ushort::try_from(filter.len()).map_err(|_| Errno::TOOBIG)?;
    let program = Program { length, first: filter.as_ptr() };
    let load = |flags: libc::c_uint| {
        // SAFETY: the kernel reads `program` and its `length` instructions during the call.
        let done = unsafe {
            libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flags, std::ptr::from_ref(&program))
        };
        match done {
            0 => Ok(()),
            _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
        }
    };
    match load(SPEC_ALLOW) {
        Err(Errno::INVAL) => load(0),
        other => other,
    }
}
