//! `type=tar`: the image's files as one tar. Same files, same bytes.

use std::io::Write as _;

use super::{Export, Kind, Place, To, misplaced};
use crate::error::Result;
use crate::event::Listener;
use crate::image::descriptor::Descriptor;
use crate::layer::pack_view;

pub const TAR: Kind = Kind {
    name: "tar",
    place: Place::File,
    keys: &["dest", "digest"],
    compressions: &[],
    is_image: false,
    write,
};

fn write(export: &Export<'_>, to: To<'_>, _: &mut dyn Listener) -> Result<Option<Descriptor>> {
    let To::Stream(out) = to else { return Err(misplaced()) };
    match export.view()? {
        Some(view) => drop(pack_view(&export.tree(&view), out)?),
        None => out.write_all(&[0; 1024])?,
    }
    Ok(None)
}
