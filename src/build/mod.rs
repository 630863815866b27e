//! The walk of a plan: each needed step comes from the cache or is done.

mod chmod;
pub mod context;
mod copy_tree;
mod effect_copy;
mod source;

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::event::Listener;
use crate::image::digest::ImageId;
use crate::image::platform::Platform;
use crate::image::reference::Reference;
use crate::sandbox::Network;
use crate::session::Session;

/// What to build.
#[derive(Clone, Debug)]
pub struct Request {
    /// The context and the Dockerfile.
    pub place: context::Place,
    /// `-t`, in order.
    pub tags: Vec<Reference>,
    /// `--build-arg NAME=value`; a bare `NAME` has been given the caller's own value or left out.
    pub build_args: BTreeMap<String, String>,
    /// `--target`.
    pub target: Option<String>,
    /// `--no-cache`.
    pub no_cache: bool,
    /// `--network`, for every step that does not choose its own.
    pub network: Network,
    /// `--label`, in order.
    pub labels: Vec<(String, String)>,
    /// `--platform`.
    pub platform: Option<Platform>,
}

/// Builds an image; when it returns the image and its names are on the medium.
pub fn build(session: &Session, request: &Request, listener: &mut dyn Listener) -> Result<ImageId> {
    let _ = (session, request, listener);
    Err(Error::unsupported("not there yet"))
}
