//! How a layer's tree says that something of the layers below is gone.
//!
//! In overlayfs's own form where the store's file system can hold that: a character device 0:0, and
//! the attribute `trusted.overlay.opaque`. Elsewhere (a store that lies on an overlayfs, a file
//! system without attributes) by the names that a layer's tar has for it, as empty files:
//! `.wh.NAME` and `.wh..wh..opq`. All layers of a store have the same form.

use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, FileType, Mode, XattrFlags};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::layer::entry::{OPAQUE, WHITEOUT};
use crate::layer::node;

/// Overlayfs's marks for a directory through which nothing shows from below.
const ATTRIBUTE: &str = "trusted.overlay.opaque";
const USER_ATTRIBUTE: &str = "user.overlay.opaque";

/// How it is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// As overlayfs does.
    #[default]
    Overlay,
    /// By names.
    Names,
}

impl Form {
    /// `by_name`: overlayfs's form cannot be held.
    pub fn new(by_name: bool) -> Form {
        if by_name { Form::Names } else { Form::Overlay }
    }

    /// Says that a name is gone.
    pub fn hide(self, parent: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        match self {
            Form::Overlay => {
                rustix::fs::mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), 0)
                    .context(|| "make a whiteout")
            }
            Form::Names => match node::create_file(parent, &[WHITEOUT, name].concat()) {
                Err(error) if name.len() + WHITEOUT.len() > 255 => Err(error
                    .during("the name is too long to say on this file system that it is gone")
                    .hint("choose another place for the store with --root, such as ext4")),
                made => made.map(drop),
            },
        }
    }

    /// Takes a mark by name away; whether there was one. One of overlayfs stands in the place of
    /// what is gone, and goes when something comes there.
    pub fn reveal(self, parent: BorrowedFd<'_>, name: &[u8]) -> Result<bool> {
        if self == Form::Overlay {
            return Ok(false);
        }
        match rustix::fs::unlinkat(parent, &*[WHITEOUT, name].concat(), AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT | Errno::NAMETOOLONG) => Ok(false),
            Err(other) => Err(other.into()),
        }
    }

    /// Whether there is a mark by name.
    pub fn hides(self, parent: BorrowedFd<'_>, name: &[u8]) -> Result<bool> {
        Ok(self == Form::Names && there(parent, &[WHITEOUT, name].concat())?)
    }

    /// Whether nothing shows from below through this directory.
    pub fn is_opaque(self, directory: BorrowedFd<'_>) -> Result<bool> {
        if self == Form::Names {
            return there(directory, OPAQUE);
        }
        for mark in [ATTRIBUTE, USER_ATTRIBUTE] {
            if node::xattr(directory, mark.as_bytes())?.as_deref() == Some(b"y") {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes nothing show from below through this directory.
    pub fn set_opaque(self, directory: BorrowedFd<'_>) -> Result<()> {
        if self == Form::Overlay {
            return rustix::fs::fsetxattr(directory, ATTRIBUTE, b"y", XattrFlags::empty())
                .context(|| "mark the directory as opaque");
        }
        if there(directory, OPAQUE)? {
            return Ok(());
        }
        node::create_file(directory, OPAQUE).map(drop)
    }
}

fn there(parent: BorrowedFd<'_>, name: &[u8]) -> Result<bool> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT | Errno::NAMETOOLONG) => Ok(false),
        Err(other) => Err(other.into()),
    }
}

/// That a name of a tree would be a mark in a layer.
pub fn reserved() -> Error {
    Error::input("a layer cannot hold a name that starts with \".wh.\"")
        .hint("rename the file: such names say in a layer that something is gone")
}
