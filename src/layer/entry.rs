//! One entry of a layer as data: its name, what it is, and its attributes.
//!
//! Not how a tar spells it (`pax`, `writer`, `reader`), nor how it gets on disk (`node`).

use rustix::fs::Stat;

use crate::error::{Error, Result};

/// The bits of a mode that a layer holds; the type is the node's.
pub const MODE_BITS: u32 = 0o7777;
/// In front of a name: the name below is gone.
pub const WHITEOUT: &[u8] = b".wh.";
/// The name that says: nothing of this directory shows through from below.
pub const OPAQUE: &[u8] = b".wh..wh..opq";

/// An extended attribute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Xattr {
    /// Its full name, as `user.mime_type`.
    pub name: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// Who owns it, who may use it, and when it was changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Whole seconds since 1970; may be negative.
    pub mtime: i64,
    /// What a file system has beyond those; a tar does not.
    pub nanos: u32,
    /// Sorted by name.
    pub xattrs: Vec<Xattr>,
}

impl Attributes {
    /// What stat tells; without extended attributes.
    pub fn of(stat: &Stat) -> Attributes {
        Attributes {
            mode: stat.st_mode & MODE_BITS,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: stat.st_mtime,
            // Unsigned on some machines, signed on others, and less than a billion on all.
            nanos: stat.st_mtime_nsec as u32,
            xattrs: Vec::new(),
        }
    }

    /// The same with a time that is `newest` at most.
    pub fn clamped(mut self, newest: Option<i64>) -> Attributes {
        if let Some(newest) = newest.filter(|newest| self.mtime > *newest) {
            (self.mtime, self.nanos) = (newest, 0);
        }
        self
    }
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A regular file of so many bytes, which follow the header.
    File(u64),
    /// A directory.
    Directory,
    /// A symbolic link and its target.
    Symlink(Vec<u8>),
    /// Another name of an entry with this path.
    Link(Vec<u8>),
    /// A character device with its numbers.
    Character(u32, u32),
    /// A block device with its numbers.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
}

/// An entry of a tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name as the tar has it, or without `/` at its ends when it is to be written.
    pub path: Vec<u8>,
    /// What it is.
    pub node: Node,
    /// Its attributes.
    pub attributes: Attributes,
}

/// Whether a layer holds this extended attribute. Marks of overlayfs are its own affair, and what
/// labels of security modules mean is known on the machine that set them only.
pub fn holds_xattr(name: &[u8]) -> bool {
    name == b"security.capability"
        || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
}

/// The path for an error: quoted, and nothing in it reaches the terminal raw.
pub fn show(path: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(path))
}

/// The components of an entry's name: `./`, `//` and slashes at the ends say nothing.
/// Empty for the root; `..` is refused.
pub fn components(path: &[u8]) -> Result<Vec<&[u8]>> {
    let mut parts = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(Error::input(format!("the name {} has \"..\" in it", show(path)))),
            _ => parts.push(part),
        }
    }
    Ok(parts)
}

/// As `components`, where `..` leads up but never above the root: what ADD does.
pub fn clamped_components(path: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_and_climbing_is_refused() {
        let cases: [(&str, &[&str]); 6] = [
            ("./a//b/", &["a", "b"]),
            ("/a", &["a"]),
            (".", &[]),
            ("///", &[]),
            ("a/./b", &["a", "b"]),
            ("..a/b..", &["..a", "b.."]),
        ];
        for (path, expected) in cases {
            let expected: Vec<&[u8]> = expected.iter().map(|part| part.as_bytes()).collect();
            assert_eq!(components(path.as_bytes()).unwrap(), expected, "{path}");
        }
        for bad in ["..", "a/../b", "/..", "a/.."] {
            assert!(components(bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(clamped_components(b"../../a/../b"), [b"b".as_slice()]);
    }

    #[test]
    fn overlay_marks_and_labels_stay_out() {
        for (name, holds) in [
            ("security.capability", true),
            ("user.x", true),
            ("user.overlay.opaque", false),
            ("trusted.overlay.opaque", false),
            ("security.selinux", false),
            ("system.posix_acl_access", false),
        ] {
            assert_eq!(holds_xattr(name.as_bytes()), holds, "{name}");
        }
    }
}
