//! What becomes of a build's image besides an image in the store: files, a tar, an archive.
//!
//! A kind of output is a file in this folder and a line in `KINDS`. Where the bytes go is the
//! caller's; how they are made is here.

mod archive;
mod cpio;
mod erofs;
mod ext4;
mod files;
mod program;
mod squashfs;
mod tar;

use crate::sys::flow::Outflow;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

pub use crate::archive::{Annotation, Level, Style};
use crate::error::{Context, Error, Result};
use crate::event::Listener;
use crate::image::descriptor::Descriptor;
use crate::image::digest::ImageId;
use crate::image::reference::Reference;
pub use crate::instruction::parse_size;
use crate::layer::View;
use crate::layer::entry::Attributes;
use crate::layer::walk::{Visit, Walk};
use crate::session::Session;
use crate::snapshot::{Chain, Merged};
use crate::store::Scratch;
use crate::sys::signal;

/// One kind of output.
#[derive(Debug)]
pub struct Kind {
    /// The word after `type=`.
    pub name: &'static str,
    /// Where it goes.
    pub place: Place,
    /// What may be said of it, besides `type`.
    pub keys: &'static [&'static str],
    /// What it may be compressed with, the default first.
    pub compressions: &'static [&'static str],
    /// Whether it is for a device's flash, and comes with its size and digest.
    pub is_image: bool,
    write: Maker,
}

impl Kind {
    /// Whether something may be said of it.
    pub fn takes(&self, key: &str) -> bool {
        self.keys.contains(&key)
    }
}

type Maker = fn(&Export<'_>, To<'_>, &mut dyn Listener) -> Result<Option<Descriptor>>;

/// Where an output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is in the store already.
    Store,
    /// To a directory.
    Directory,
    /// To a file or standard output.
    File,
    /// The same, and when nothing is named it is in the store.
    FileOrStore,
    /// To a file, and not from its begin to its end.
    Image,
}

/// The kinds, in the order of the help.
pub static KINDS: &[Kind] = &[
    files::LOCAL,
    tar::TAR,
    archive::OCI,
    archive::DOCKER,
    squashfs::SQUASHFS,
    ext4::EXT4,
    erofs::EROFS,
    cpio::CPIO,
    stays("image", &["name", "push"]),
    stays("cacheonly", &[]),
];

const fn stays(name: &'static str, keys: &'static [&'static str]) -> Kind {
    let place = Place::Store;
    Kind { name, place, keys, compressions: &[], is_image: false, write: nothing }
}

fn nothing(_: &Export<'_>, _: To<'_>, _: &mut dyn Listener) -> Result<Option<Descriptor>> {
    Ok(None)
}

/// An open place.
pub enum To<'a> {
    /// A file, or whatever takes bytes.
    Stream(&'a mut dyn Outflow),
    /// A directory, by its path. It is made when it is not there.
    Directory(&'a str),
    /// An empty file.
    Image {
        /// Itself, open.
        file: &'a File,
        /// Where it lies, from the root on.
        path: &'a Path,
    },
}

/// How an output is made.
#[derive(Clone, Debug, Default)]
pub struct Manner {
    /// What an archive calls the image.
    pub names: Vec<Reference>,
    /// How an archive is written.
    pub style: Style,
    /// The newest time that files may have, seconds since 1970.
    pub newest: Option<i64>,
    /// What it is compressed with, one of the kind's.
    pub compression: Option<&'static str>,
    /// The size of a file system.
    pub size: Option<u64>,
}

/// An image on its way out.
struct Export<'a> {
    session: &'a Session,
    scratch: &'a Scratch,
    image: ImageId,
    manner: &'a Manner,
}

/// Makes an output of an image. Gives the image's manifest if it has got one there.
pub fn export(
    session: &Session,
    image: ImageId,
    kind: &Kind,
    manner: &Manner,
    to: To<'_>,
    listener: &mut dyn Listener,
) -> Result<Option<Descriptor>> {
    let scratch = &session.scratch()?;
    (kind.write)(&Export { session, scratch, image, manner }, to, listener)
}

impl Export<'_> {
    /// Shows the image's files; nothing for an image without layers.
    fn view(&self) -> Result<Option<Merged>> {
        self.chain()?.view(&self.session.store).context(|| "show the image's files")
    }

    fn chain(&self) -> Result<Chain> {
        let _look = self.session.store.look()?;
        let config = self.session.store.config(&self.image)?;
        let config = config.ok_or_else(|| Error::not_found("the image was removed meanwhile"))?;
        Chain::open(&self.session.store, Some(self.scratch), &config.chains())
    }

    /// The same, where there must be files.
    fn shown(&self) -> Result<Merged> {
        let view = self.view()?;
        view.ok_or_else(|| Error::input("the image has no files to make a file system of"))
    }

    /// The same for a program that walks it by itself.
    fn dated(&self, time: i64) -> Result<Merged> {
        let chain = self.chain()?;
        chain
            .dated_view(&self.session.store, self.scratch, time)
            .context(|| "show the image's files")
    }

    fn tree<'a>(&'a self, view: &'a Merged) -> View<'a> {
        View { root: view.as_fd(), spill: self.scratch.dir(), newest: self.manner.newest }
    }
}

/// What must be known of a tree before a file system is made of it.
struct Survey {
    entries: u64,
    bytes: u64,
    /// Those of the root, which has no entry in a tar: its time is the newest one of all.
    root: Attributes,
}

impl Survey {
    fn of(export: &Export<'_>, view: &Merged) -> Result<Survey> {
        let stat = rustix::fs::fstat(view).context(|| "stat the root")?;
        let mut survey = Survey { entries: 0, bytes: 0, root: Attributes::of(&stat) };
        (survey.root.mtime, survey.root.nanos) = (0, 0);
        let mut walk = Walk::new(view.as_fd(), None)?;
        while let Some(visit) = walk.next_visit()? {
            signal::check()?;
            let Visit::Enter(found) = visit else { continue };
            let time = Attributes::of(&found.stat).clamped(export.manner.newest).mtime;
            survey.root.mtime = survey.root.mtime.max(time);
            survey.entries += 1;
            survey.bytes += u64::try_from(found.stat.st_size).unwrap_or_default();
        }
        Ok(survey)
    }
}

/// The id of a file system: random as far as anybody can tell, and of its content (RFC 9562,
/// version 8).
fn id_of(digest: &[u8; 32]) -> [u8; 16] {
    let mut id = *digest.first_chunk().unwrap_or(&[0; 16]);
    let [_, _, _, _, _, _, six, _, eight, ..] = &mut id;
    (*six, *eight) = (*six & 0x0f | 0x80, *eight & 0x3f | 0x80);
    id
}

/// That a kind was given a place of another sort.
fn misplaced() -> Error {
    Error::usage("this output does not go there")
}
