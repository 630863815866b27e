//! Sends an image to the registry that its name names; who the user is there.

use std::path::PathBuf;

use super::resolve::new_name;
use crate::error::{Error, Result};
use crate::event::Listener;
pub use crate::registry::Sent;
use crate::registry::{self, Access, Pushed};
use crate::session::Session;

/// Pushes the image of a name, under that name.
pub fn push(
    session: &Session,
    word: &str,
    may_be_plain: bool,
    listener: &mut dyn Listener,
) -> Result<Pushed> {
    let name = new_name(word)?;
    let image = session.store.named(&name)?.ok_or_else(|| {
        Error::not_found(format!("An image does not exist locally with the tag: {word}"))
            .hint("lath tag IMAGE NAME gives an image a name")
    })?;
    let passed = session.store.changed_at();
    let access = Access { may_be_plain, passed, ..Access::default() };
    registry::push(&session.store, &session.scratch()?, &image, &name, &access, listener)
}

/// Tries a name and a password at a registry and keeps them.
pub fn login(
    registry: &str,
    user: &str,
    password: &str,
    may_be_plain: bool,
) -> Result<Option<PathBuf>> {
    registry::login(registry, user, password, &Access { may_be_plain, ..Access::default() })
}

/// Forgets them; whether there were any.
pub fn logout(registry: &str) -> Result<bool> {
    registry::logout(registry)
}
