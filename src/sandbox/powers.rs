//! What a process may do: capabilities, system calls, and whether it can gain more.
//!
//! Source: capabilities(7), moby's `oci/caps` for how additions and removals meet.

use rustix::thread::CapabilitySet;

use crate::error::{Context, Error, Result};
use crate::sys::identity::DEFAULT_CAPABILITIES;

/// The names, by number (linux/capability.h).
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What a process may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Powers {
    /// What root in there has, and all that others can gain.
    pub capabilities: CapabilitySet,
    /// Nothing of /proc and /sys is masked or read-only.
    pub sees_kernel: bool,
    /// Any system call.
    pub any_call: bool,
    /// Neither a set-user-ID program nor a file's capabilities give it more than it has.
    pub no_new_privileges: bool,
}

impl Default for Powers {
    /// docker's.
    fn default() -> Powers {
        Powers {
            capabilities: DEFAULT_CAPABILITIES,
            sees_kernel: false,
            any_call: false,
            no_new_privileges: false,
        }
    }
}

impl Powers {
    /// All that lath itself has.
    pub fn all() -> Result<Powers> {
        let own = rustix::thread::capabilities(None).context(|| "read capabilities")?;
        let capabilities = own.permitted;
        Ok(Powers { capabilities, sees_kernel: true, any_call: true, no_new_privileges: false })
    }

    /// `--cap-add` and `--cap-drop`. What is dropped by name stays dropped when all are added, and
    /// what is added by name stays when all are dropped.
    pub fn change(&mut self, add: &[String], drop: &[String]) -> Result<()> {
        let own = rustix::thread::capabilities(None).context(|| "read capabilities")?;
        let ((added, adds_all), (dropped, drops_all)) = (parse(add)?, parse(drop)?);
        self.capabilities = match (adds_all, drops_all) {
            (true, _) => own.permitted - dropped,
            (false, true) => added,
            (false, false) => (self.capabilities - dropped) | added,
        };
        let lacking = self.capabilities - own.permitted;
        match names(lacking).first() {
            None => Ok(()),
            Some(name) => Err(Error::unsupported(format!("lath has no CAP_{name} to give"))),
        }
    }
}

/// The capabilities of a list, and whether `ALL` is in it.
fn parse(words: &[String]) -> Result<(CapabilitySet, bool)> {
    let (mut set, mut all) = (CapabilitySet::empty(), false);
    for word in words {
        let upper = word.to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        match NAMES.iter().position(|known| *known == name) {
            Some(number) => set |= CapabilitySet::from_bits_retain(1 << number),
            None if upper == "ALL" => all = true,
            None => return Err(Error::usage(format!("unknown capability: {word:?}"))),
        }
    }
    Ok((set, all))
}

/// The names in a set, in the order of their numbers.
fn names(set: CapabilitySet) -> Vec<&'static str> {
    let named = NAMES.iter().enumerate().filter(|(at, _)| set.bits() & (1 << at) != 0);
    named.map(|(_, name)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(add: &[&str], drop: &[&str]) -> Vec<&'static str> {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let mut powers = Powers::default();
        powers.change(&words(add), &words(drop)).unwrap();
        names(powers.capabilities)
    }

    #[test]
    fn capabilities_are_added_and_dropped_as_docker_does() {
        let usual = names(DEFAULT_CAPABILITIES);
        assert_eq!(usual.len(), 14);
        assert_eq!(changed(&[], &["all"]), Vec::<&str>::new());
        assert_eq!(changed(&["CHOWN", "cap_kill"], &["ALL"]), ["CHOWN", "KILL"]);
        assert_eq!(changed(&[], &["CAP_CHOWN", "mknod"]).len(), 12);
        // Without root there is nothing to add.
        if rustix::process::geteuid().is_root() {
            let more = changed(&["SYS_TIME"], &["CHOWN"]);
            assert!(more.contains(&"SYS_TIME") && !more.contains(&"CHOWN"));
            let most = changed(&["ALL"], &["SYS_ADMIN"]);
            assert!(most.len() > 14 && !most.contains(&"SYS_ADMIN"));
        }
        let wrong = Powers::default().change(&["NET_ADMN".to_owned()], &[]).unwrap_err();
        assert_eq!(wrong.text(), "unknown capability: \"NET_ADMN\"");
    }
}
