//! Who a process is: capabilities, groups and ids (man 7 capabilities, man 7 credentials).

use rustix::process::Signal;
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::error::{Context, Result};

/// Docker's fourteen default capabilities.
pub const DEFAULT_CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// Becomes `uid:gid` with these groups and at most these capabilities, for good. Inheritable and
/// ambient sets end empty (CVE-2022-24769). The process dies with its parent. For a child before
/// exec; uses the calls on the thread, which is the whole child then.
pub fn become_user(uid: u32, gid: u32, groups: &[u32], capabilities: CapabilitySet) -> Result<()> {
    for number in 0..=63u32 {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if !capabilities.contains(one) {
            // EINVAL: this kernel has no capability of that number.
            match rustix::thread::remove_capability_from_bounding_set(one) {
                Ok(()) => {}
                Err(rustix::io::Errno::INVAL) => break,
                Err(other) => return Err(other).context(|| "drop capabilities"),
            }
        }
    }
    let groups: Vec<_> = groups.iter().map(|gid| rustix::fs::Gid::from_raw(*gid)).collect();
    rustix::thread::set_thread_groups(&groups).context(|| "setgroups")?;
    let gid = rustix::fs::Gid::from_raw(gid);
    rustix::thread::set_thread_res_gid(gid, gid, gid).context(|| "setresgid")?;
    let root = uid == 0;
    let uid = rustix::fs::Uid::from_raw(uid);
    rustix::thread::set_thread_res_uid(uid, uid, uid).context(|| "setresuid")?;
    let held = if root { capabilities } else { CapabilitySet::empty() };
    let sets =
        CapabilitySets { effective: held, permitted: held, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).context(|| "set capabilities")?;
    // The kernel forgets it when ids change, so it comes last.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .context(|| "set the parent death signal")
}
