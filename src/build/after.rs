//! What a build does besides its image: `--squash`, and steps for other stores.

#[cfg(feature = "net")]
use super::CacheAt;
use super::Request;
use super::exchange;
use super::shared::Shared;
use super::squash::squash;
use super::work::Kept;
use crate::error::Result;
use crate::event::Listener;
use crate::image::digest::ImageId;
use crate::session::Session;

pub use exchange::{Ends, look};

/// What the stages came to, when somebody will ask for it.
pub fn ends(build: &Shared<'_>, request: &Request, image: ImageId) -> Result<Vec<Ends>> {
    let is_asked = request.squash || !request.cache_to.is_empty();
    if is_asked { exchange::ends(build, image) } else { Ok(Vec::new()) }
}

/// Whether the image that gets the names is made of the one that the steps lead to.
pub fn makes_another(request: &Request) -> bool {
    #[cfg(feature = "net")]
    if request.cache_to.iter().any(|to| to.at == CacheAt::Image) {
        return true;
    }
    request.squash
}

/// Works on the published steps; gives the image that the build came to. `kept`: what keeps the
/// build's layers from being removed.
pub fn finish(
    session: &Session,
    request: &Request,
    mut image: ImageId,
    ends: &[Ends],
    kept: Kept,
    listener: &mut dyn Listener,
) -> Result<ImageId> {
    let mut kept = Some(kept);
    if request.squash {
        let base = ends.last().and_then(|(_, base)| *base);
        image = squash(session, request, image, base, kept.take())
            .map_err(|error| error.during("squash"))?;
    }
    for to in &request.cache_to {
        #[cfg(feature = "net")]
        if to.at == CacheAt::Image {
            image = exchange::keep_in_image(session, request, image, ends)?;
            continue;
        }
        exchange::keep(session, to, ends, listener)
            .map_err(|error| error.during(format!("write to {}", to.at)))?;
    }
    Ok(image)
}
