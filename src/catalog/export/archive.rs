//! `type=oci` and `type=docker`: the image as an archive that other tools load, or as a layout.

use super::{Export, Kind, Place, To, misplaced};
use crate::archive::{Folder, Target, save};
use crate::error::{Context, Result};
use crate::event::Listener;
use crate::image::descriptor::Descriptor;

pub const OCI: Kind = Kind {
    name: "oci",
    place: Place::File,
    keys: &["dest", "tar", "name", "compression", "compression-level", "annotation.KEY"],
    compressions: &["gzip", "uncompressed"],
    is_image: false,
    write,
};

pub const DOCKER: Kind = Kind {
    name: "docker",
    place: Place::FileOrStore,
    keys: &["dest", "name", "compression", "compression-level", "annotation.KEY"],
    compressions: &["gzip", "uncompressed"],
    is_image: false,
    write,
};

fn write(
    export: &Export<'_>,
    to: To<'_>,
    listener: &mut dyn Listener,
) -> Result<Option<Descriptor>> {
    let images = [(export.image, export.manner.names.clone())];
    let (store, style) = (&export.session.store, &export.manner.style);
    let saved = match to {
        To::Stream(out) => save(store, export.scratch, &images, style, Target::Tar(out), listener),
        To::Image { .. } => return Err(misplaced()),
        To::Directory(path) => {
            let folder = Folder::create(path, &["blobs", "blobs/sha256"])?;
            let target = Target::Folder(&folder);
            save(store, export.scratch, &images, style, target, listener)
                .context(|| format!("write to {path:?}"))
        }
    };
    Ok(saved?.pop())
}
