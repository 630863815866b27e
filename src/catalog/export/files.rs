//! `type=local`: the image's files in a directory, over what is there.

use super::{Export, Kind, Place, To, misplaced};
use crate::archive::Folder;
use crate::error::{Context, Result};
use crate::event::Listener;
use crate::image::descriptor::Descriptor;
use crate::layer::transfer;

pub const LOCAL: Kind = Kind {
    name: "local",
    place: Place::Directory,
    keys: &["dest"],
    compressions: &[],
    is_image: false,
    write,
};

fn write(export: &Export<'_>, to: To<'_>, _: &mut dyn Listener) -> Result<Option<Descriptor>> {
    let To::Directory(path) = to else { return Err(misplaced()) };
    let folder = Folder::create(path, &[])?;
    let user = rustix::process::geteuid();
    // Only root may give files away.
    let owner = (!user.is_root()).then(|| (user.as_raw(), rustix::process::getegid().as_raw()));
    if let Some(view) = export.view()? {
        transfer(&export.tree(&view), folder.fd(), owner)
            .context(|| format!("write to {path:?}"))?;
    }
    folder.sync()?;
    Ok(None)
}
