//! The images that a build begins with or copies from: looked up, or pulled, once a build.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::{Named, Request};
use crate::catalog::obtain::{When, find_base, obtain};
use crate::error::{Error, Result};
use crate::event::Listener;
use crate::image::digest::ImageId;
use crate::image::platform::Platform;
use crate::session::Session;

/// What was asked for so far.
pub struct Bases<'a> {
    pub(super) session: &'a Session,
    request: &'a Request,
    /// By name and platform. Whoever pulls holds this, so that two stages do not pull the same.
    known: Mutex<BTreeMap<(String, String), Result<ImageId>>>,
}

impl<'a> Bases<'a> {
    /// Nothing asked for.
    pub fn new(session: &'a Session, request: &'a Request) -> Bases<'a> {
        Bases { session, request, known: Mutex::default() }
    }

    /// The image of a name, for the platform that the Dockerfile or else the command line wants.
    pub fn image(
        &self,
        name: &str,
        platform: Option<&Platform>,
        listener: &mut dyn Listener,
    ) -> Result<ImageId> {
        let name = match self.request.named(name) {
            None => name,
            Some(Named::Image(image)) => image,
            Some(Named::Directory(_) | Named::Git(_) | Named::Url(_)) => {
                return Err(Error::input(format!("{name} has files, but is no image")));
            }
        };
        let platform = platform.or(self.request.platform.as_ref());
        let key = (name.to_owned(), platform.map(Platform::to_string).unwrap_or_default());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(image) = known.get(&key) {
            return image.clone();
        }
        let when = if self.request.pull { When::Always } else { When::Missing };
        let image = find_base(self.session, name)
            .and_then(|found| obtain(self.session, name, found, when, platform, listener));
        known.insert(key, image.clone());
        image
    }
}
