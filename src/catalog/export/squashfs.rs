//! `type=squashfs`: the image's files as a squashfs file system, by mksquashfs, which gets them as a
//! tar: no copy, and nothing of this machine gets in.

use super::program::{Input, Program};
use super::{Export, Kind, Place, Survey, To, misplaced};
use crate::error::Result;
use crate::event::Listener;
use crate::image::descriptor::Descriptor;
use crate::layer::pack_view;
use crate::sys::flow::Outflow;

pub const SQUASHFS: Kind = Kind {
    name: "squashfs",
    place: Place::Image,
    keys: &["dest", "compression", "digest"],
    compressions: &["gzip", "xz", "zstd", "lz4", "lzo"],
    is_image: true,
    write,
};

const PROGRAM: Program =
    Program { name: "mksquashfs", hint: "install squashfs-tools, 4.5.1 or newer" };

fn write(export: &Export<'_>, to: To<'_>, _: &mut dyn Listener) -> Result<Option<Descriptor>> {
    let To::Image { path, .. } = to else { return Err(misplaced()) };
    let view = export.shown()?;
    let root = Survey::of(export, &view)?.root;
    // What does not fit into the file system is an error and not left out.
    let words = format!(
        "- FILE -tar -noappend -quiet -no-progress -exit-on-error -comp {} \
         -root-mode {:o} -root-uid {} -root-gid {}",
        export.manner.compression.unwrap_or("gzip"),
        root.mode,
        root.uid,
        root.gid
    );
    let mut tar = |out: &mut dyn Outflow| pack_view(&export.tree(&view), out).map(drop);
    PROGRAM.run(export, &words, path, root.mtime, Input::Tar(&mut tar))?;
    Ok(None)
}
