//! Names and removes images.

use super::resolve::{Resolved, resolve};
use crate::error::{Error, Kind, Result};
use crate::image::reference::Reference;
use crate::session::Session;
use crate::store::Removal;

/// Gives an image one more name.
pub fn tag(session: &Session, image: &str, name: &str) -> Result<()> {
    let target = Reference::parse(name)?;
    if target.digest.is_some() {
        return Err(Error::usage(format!("{name:?}: a name to be given cannot have a digest")));
    }
    let found = resolve(&session.store, image)?;
    if session.store.named(&target)? == Some(found.image) {
        return Ok(());
    }
    let text = session.store.config_text(&found.image)?.unwrap_or_default();
    let scratch = session.scratch()?;
    let publication = crate::store::Publication {
        // A step of a build becomes an image when somebody names it.
        images: vec![crate::store::NewImage { text, is_final: true }],
        names: vec![(target, found.image)],
        ..Default::default()
    };
    session.store.publish(&scratch, publication)
}

/// Removes what a word names: a name, or by its id an image with its one name; with `force` all
/// its names.
pub fn remove(session: &Session, word: &str, force: bool) -> Result<Removal> {
    match resolve(&session.store, word)? {
        Resolved { name: Some(name), .. } => session.store.remove_name(&name),
        Resolved { name: None, image } => {
            let names = session.store.names()?;
            let own = names.iter().filter(|name| name.image == image);
            let repositories: std::collections::BTreeSet<String> =
                own.map(|name| name.reference.full_name()).collect();
            if repositories.len() > 1 && !force {
                let text = format!(
                    "unable to delete {} (must be forced): image is referenced in multiple repositories",
                    image.short()
                );
                return Err(Error::new(Kind::Conflict, text)
                    .hint("remove it by its names, or with -f to remove them all"));
            }
            if !session.store.has_image(&image) {
                let text = format!("unable to delete {}: it is a step of a build", image.short());
                return Err(Error::new(Kind::Conflict, text)
                    .hint("remove the image that was built from it"));
            }
            session.store.remove_image(image)
        }
    }
}
