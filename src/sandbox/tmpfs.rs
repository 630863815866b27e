//! A file system in memory, by the options of mount(8) that docker's `--tmpfs` takes.
//!
//! Source: moby `volume/mounts` and `pkg/mount` (validFlags), tmpfs(5).

use rustix::mount::MountFlags;

use crate::error::{Error, Result};

/// What to mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tmpfs {
    /// How.
    pub flags: MountFlags,
    /// With which options of its own.
    pub options: String,
}

impl Tmpfs {
    /// As a step's `RUN --mount=type=tmpfs` has it: of at most so many bytes; 0 is the kernel's default.
    pub fn of_size(bytes: u64) -> Tmpfs {
        let options = if bytes == 0 { String::new() } else { format!("size={bytes}") };
        Tmpfs { flags: MountFlags::NOSUID | MountFlags::NODEV, options }
    }

    /// Reads the options: docker's own are `rw,noexec,nosuid,nodev`, and anybody may write.
    pub fn parse(text: &str) -> Result<Tmpfs> {
        let mut flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        let mut options = vec!["mode=1777".to_owned()];
        for option in text.split(',').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let (flag, is_on) = match name {
                "rw" | "ro" => (MountFlags::RDONLY, name == "ro"),
                "exec" | "noexec" => (MountFlags::NOEXEC, name == "noexec"),
                "suid" | "nosuid" => (MountFlags::NOSUID, name == "nosuid"),
                "atime" | "noatime" => (MountFlags::NOATIME, name == "noatime"),
                "diratime" | "nodiratime" => (MountFlags::NODIRATIME, name == "nodiratime"),
                "nodev" => (MountFlags::NODEV, true),
                "size" | "nr_blocks" | "nr_inodes" | "mode" | "uid" | "gid"
                    if is_number(name, value) =>
                {
                    options.retain(|old| old.split('=').next() != Some(name));
                    options.push(option.to_owned());
                    continue;
                }
                _ => {
                    return Err(Error::usage(format!("invalid tmpfs option {option:?}"))
                        .hint("write, for example, --tmpfs /run:size=64m,mode=755"));
                }
            };
            flags.set(flag, is_on);
        }
        Ok(Tmpfs { flags, options: options.join(",") })
    }
}

/// What the kernel reads as the value of this option.
fn is_number(name: &str, value: &str) -> bool {
    let digits = match name {
        "size" | "nr_blocks" | "nr_inodes" => {
            let number =
                value.strip_suffix(|c: char| "kKmMgG".contains(c) || c == '%' && name == "size");
            number.unwrap_or(value)
        }
        _ => value,
    };
    let is_digit = |byte: u8| byte.is_ascii_digit() && (name != "mode" || byte < b'8');
    !digits.is_empty() && digits.len() < 16 && digits.bytes().all(is_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_docker_reads_them() {
        let own = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        for (text, flags, options) in [
            ("", own, "mode=1777"),
            ("rw,size=64m", own, "mode=1777,size=64m"),
            (
                "exec,mode=755,uid=7,mode=700",
                MountFlags::NOSUID | MountFlags::NODEV,
                "uid=7,mode=700",
            ),
            (
                "ro,nr_inodes=1k,size=50%",
                own | MountFlags::RDONLY,
                "mode=1777,nr_inodes=1k,size=50%",
            ),
        ] {
            let options = options.to_owned();
            assert_eq!(Tmpfs::parse(text).unwrap(), Tmpfs { flags, options }, "{text}");
        }
        for text in
            ["size", "size=", "size=x", "mode=9", "dev", "huge=always", "size=1m\u{0},x", "uid=-1"]
        {
            assert!(Tmpfs::parse(text).is_err(), "{text}");
        }
        assert_eq!(Tmpfs::of_size(5).options, "size=5");
        assert_eq!(Tmpfs::of_size(0).options, "");
    }
}
