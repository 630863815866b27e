//! Names and removes images.

use super::resolve::{Resolved, new_name, resolve};
use crate::error::{Error, Kind, Result};
use crate::image::digest::ImageId;
use crate::session::Session;
pub use crate::store::Removal;

/// Gives an image one more name.
pub fn tag(session: &Session, image: &str, name: &str) -> Result<()> {
    let target = new_name(name)?;
    let found = resolve(&session.store, image)?;
    if session.store.named(&target)? == Some(found.image) {
        return Ok(());
    }
    let text = session.store.config_text(&found.image)?.unwrap_or_default();
    let scratch = session.scratch()?;
    let mut publication = crate::store::Publication {
        // A step of a build becomes an image when somebody names it.
        images: vec![crate::store::NewImage { text, is_final: true }],
        names: vec![(target, found.image)],
        ..Default::default()
    };
    session.store.publish(&scratch, &mut publication)
}

/// Removes what a word names: a name; by its id an image with its one name, with `force` with all
/// its names.
pub fn remove(session: &Session, word: &str, force: bool) -> Result<Removal> {
    let store = &session.store;
    match resolve(store, word)? {
        Resolved { name: Some(name), image } => {
            let others =
                store.names()?.iter().any(|other| other.image == image && other.reference != name);
            if !force && !others {
                is_free(session, &image)?;
            }
            store.remove_name(&name)
        }
        Resolved { name: None, image } => {
            if !force {
                is_free(session, &image)?;
            }
            let names = store.names()?;
            if names.iter().filter(|name| name.image == image).count() > 1 && !force {
                let text = format!(
                    "conflict: unable to delete {} (must be forced) - image is referenced in \
                     multiple repositories",
                    image.short()
                );
                return Err(Error::new(Kind::Conflict, text)
                    .hint("remove it by its names, or with -f to remove them all"));
            }
            if store.has_image(&image) {
                return store.remove_image(image);
            }
            remove_step(session, image)
        }
    }
}

/// No container is one of this image.
fn is_free(session: &Session, image: &ImageId) -> Result<()> {
    match session.store.container_of(image)? {
        None => Ok(()),
        Some(id) => {
            let container = id.get(..12).unwrap_or(&id);
            let text = format!(
                "conflict: unable to remove image {} (must be forced) - container {container} is using it",
                image.short()
            );
            Err(Error::new(Kind::Conflict, text)
                .hint("remove the container with lath rm, or the image with -f: its layers stay for the container"))
        }
    }
}

/// A step goes when nothing was made of it.
fn remove_step(session: &Session, image: ImageId) -> Result<Removal> {
    let mut removal = session.store.remove_image(image)?;
    if is_known(session, &image) {
        let text = format!(
            "conflict: unable to delete {} (cannot be forced) - image has dependent child images",
            image.short()
        );
        return Err(
            Error::new(Kind::Conflict, text).hint("remove the images that were built from it")
        );
    }
    removal.deleted.insert(0, image);
    Ok(removal)
}

/// Whether there still is anything under this id, be it damaged.
fn is_known(session: &Session, image: &ImageId) -> bool {
    session.store.config_text(image).map_or(true, |text| text.is_some())
}
