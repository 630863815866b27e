//! What becomes of a build's image besides an image in the store: files, a tar, an archive.
//!
//! A kind of output is a file in this folder and a line in `KINDS`. Where the bytes go is the
//! caller's; how they are made is here.

mod archive;
mod files;
mod tar;

use crate::sys::flow::Outflow;
use std::os::fd::AsFd;

pub use crate::archive::{Annotation, Level, Style};
use crate::error::{Context, Error, Result};
use crate::event::Listener;
use crate::image::descriptor::Descriptor;
use crate::image::digest::ImageId;
use crate::image::reference::Reference;
use crate::layer::View;
use crate::session::Session;
use crate::snapshot::{Chain, Merged};
use crate::store::Scratch;

/// One kind of output.
#[derive(Debug)]
pub struct Kind {
    /// The word after `type=`.
    pub name: &'static str,
    /// Where it goes.
    pub place: Place,
    /// What may be said of it, besides `type`.
    pub keys: &'static [&'static str],
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
}

/// The kinds, in the order of the help.
pub static KINDS: &[Kind] = &[
    files::LOCAL,
    tar::TAR,
    archive::OCI,
    archive::DOCKER,
    Kind { name: "image", place: Place::Store, keys: &["name", "push"], write: nothing },
    Kind { name: "cacheonly", place: Place::Store, keys: &[], write: nothing },
];

fn nothing(_: &Export<'_>, _: To<'_>, _: &mut dyn Listener) -> Result<Option<Descriptor>> {
    Ok(None)
}

/// An open place.
pub enum To<'a> {
    /// A file, or whatever takes bytes.
    Stream(&'a mut dyn Outflow),
    /// A directory, by its path. It is made when it is not there.
    Directory(&'a str),
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
        let _look = self.session.store.look()?;
        let config = self.session.store.config(&self.image)?;
        let config = config.ok_or_else(|| Error::not_found("the image was removed meanwhile"))?;
        let chain = Chain::open(&self.session.store, Some(self.scratch), &config.chains())?;
        chain.view(&self.session.store).context(|| "show the image's files")
    }

    fn tree<'a>(&'a self, view: &'a Merged) -> View<'a> {
        View { root: view.as_fd(), spill: self.scratch.dir(), newest: self.manner.newest }
    }
}

/// That a kind was given a place of another sort.
fn misplaced() -> Error {
    Error::usage("this output does not go there")
}
