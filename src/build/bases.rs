//! The images that a build begins with or copies from: looked up, or pulled, once a build.

use super::once::Once;
use super::{LayoutPlace, Named, Request};
use crate::archive::Layout;
use crate::catalog::obtain::{When, find_base, obtain};
use crate::error::{Context as _, Error, Result};
use crate::event::Listener;
use crate::image::digest::{Digest, ImageId};
use crate::image::platform::Platform;
use crate::session::Session;

/// What was asked for so far.
pub struct Bases<'a> {
    pub(super) session: &'a Session,
    request: &'a Request,
    /// By name and platform; what could not be had is not asked for again.
    known: Once<Result<ImageId>>,
}

impl<'a> Bases<'a> {
    /// Nothing asked for.
    pub fn new(session: &'a Session, request: &'a Request) -> Bases<'a> {
        Bases { session, request, known: Once::default() }
    }

    /// The image of a name, for the platform that the Dockerfile or else the command line wants.
    pub fn image(
        &self,
        name: &str,
        platform: Option<&Platform>,
        listener: &mut dyn Listener,
    ) -> Result<ImageId> {
        let mut layout = None;
        let name = match self.request.named(name) {
            None => name,
            Some(Named::Image(image)) => image,
            Some(Named::Layout(place)) => {
                layout = Some(place);
                name
            }
            Some(Named::Directory(_) | Named::Git(_) | Named::Url(_)) => {
                return Err(Error::input(format!("{name} has files, but is no image")));
            }
        };
        let platform = platform.or(self.request.platform.as_ref());
        let key = format!("{name} {}", platform.map(Platform::to_string).unwrap_or_default());
        let when = if self.request.pull { When::Always } else { When::Missing };
        let mut make = || match layout {
            Some(place) => self.of_layout(place, platform, listener),
            None => find_base(self.session, name)
                .and_then(|found| obtain(self.session, name, found, when, platform, listener)),
        };
        self.known.get(key, || Ok(make()))?
    }

    /// The image of a layout, which is in the store then.
    fn of_layout(
        &self,
        place: &LayoutPlace,
        wanted: Option<&Platform>,
        listener: &mut dyn Listener,
    ) -> Result<ImageId> {
        let layout = Layout::find(place, wanted)?;
        let id = Digest::of(&layout.config()?);
        if self.session.store.has_image(&id) {
            return Ok(id);
        }
        let loaded = layout.load(&self.session.store, &self.session.scratch()?, listener);
        loaded.context(|| format!("load from the OCI layout {:?}", place.path))
    }
}
