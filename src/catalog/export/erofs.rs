//! `type=erofs`: the image's files as an EROFS file system, by mkfs.erofs, which stands in their
//! root and reads them where they lie: only the newest ones read a tar.

use std::io;
use std::os::fd::AsFd as _;

use super::program::{Input, Program};
use super::{Export, Kind, Place, Survey, To, id_of, misplaced};
use crate::error::Result;
use crate::event::Listener;
use crate::image::descriptor::Descriptor;
use crate::layer::pack_view;
use crate::layer::verify::HashingWriter;

pub const EROFS: Kind = Kind {
    name: "erofs",
    place: Place::Image,
    keys: &["dest", "compression", "digest"],
    compressions: &["uncompressed", "lz4", "lz4hc", "lzma", "deflate", "zstd"],
    is_image: true,
    write,
};

const PROGRAM: Program = Program { name: "mkfs.erofs", hint: "install erofs-utils, 1.5 or newer" };

fn write(export: &Export<'_>, to: To<'_>, _: &mut dyn Listener) -> Result<Option<Descriptor>> {
    let To::Image { path, .. } = to else { return Err(misplaced()) };
    let view = export.shown()?;
    let newest = Survey::of(export, &view)?.root.mtime;
    let mut nowhere = io::sink();
    let mut hashing = HashingWriter::new(&mut nowhere);
    pack_view(&export.tree(&view), &mut hashing)?;
    let id = id_of(hashing.finish().0.bytes());
    let id = u128::from_be_bytes(id);
    let mut words = format!(
        "--quiet -U {:08x}-{:04x}-{:04x}-{:04x}-{:012x} ",
        (id >> 96) as u32,
        (id >> 80) as u16,
        (id >> 64) as u16,
        (id >> 48) as u16,
        id as u64 & (u64::MAX >> 16)
    );
    if let Some(name) = export.manner.compression.filter(|name| *name != "uncompressed") {
        words = words + "-z" + name + " ";
    }
    words += "FILE .";
    // A root whose time is the image's and not that of the store.
    let dated = export.dated(newest)?;
    let onto = export.scratch.workspace()?;
    let onto = dated.is_mount().then(|| onto.dir.as_fd());
    PROGRAM.run(export, &words, path, newest, Input::Directory(dated.as_fd(), onto))?;
    Ok(None)
}
