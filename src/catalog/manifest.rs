//! Lists of images for several platforms: put together here, pushed to their registry.

use super::pull::access;
use super::resolve::new_name;
use crate::error::{Error, Result};
use crate::image::digest::Digest;
use crate::image::json::Value;
use crate::image::platform::Platform;
use crate::image::reference::Reference;
use crate::registry::{List, raw};
use crate::session::Session;

fn open(session: &Session, name: &Reference) -> Result<Option<List>> {
    session.store.list_text(name)?.map(|text| List::parse(&text)).transpose()
}

fn needed(session: &Session, word: &str) -> Result<(Reference, List)> {
    let name = new_name(word)?;
    let list = open(session, &name)?.ok_or_else(|| {
        Error::not_found(format!("No such manifest: {word}"))
            .hint("lath manifest create NAME IMAGE... makes one")
    })?;
    Ok((name, list))
}

fn keep(session: &Session, name: &Reference, list: &List) -> Result<()> {
    session.store.keep_list(&session.scratch()?, name, list.to_text().as_bytes())
}

/// Makes a list of images that are in their registry; with `is_more` one that is there gets them too.
pub fn create(
    session: &Session,
    word: &str,
    images: &[String],
    is_more: bool,
    may_be_plain: bool,
) -> Result<Reference> {
    let name = new_name(word)?;
    let known = open(session, &name)?;
    if known.is_some() && !is_more {
        let text =
            format!("refusing to amend an existing manifest list with no --amend flag: {word}");
        return Err(Error::input(text));
    }
    let access = access(session, may_be_plain)?;
    let mut list = known.unwrap_or_default();
    for image in images {
        list.add(&Reference::parse(image)?, &access)?;
    }
    keep(session, &name, &list)?;
    Ok(name)
}

/// Says what an image of a list runs on, in the place of what its config says; empty words leave
/// it as it is.
pub fn annotate(session: &Session, word: &str, image: &str, parts: [&str; 3]) -> Result<()> {
    let (name, mut list) = needed(session, word)?;
    let entry = list.entry(&Reference::parse(image)?);
    let entry = entry.ok_or_else(|| Error::not_found(format!("{image} is not in {word}")))?;
    let [os, architecture, variant] = parts;
    let own = entry.platform.take().unwrap_or_default();
    fn or<'a>(new: &'a str, old: &'a str) -> &'a str {
        if new.is_empty() { old } else { new }
    }
    // The variant of another processor says nothing.
    let old = if architecture.is_empty() { own.variant.as_str() } else { "" };
    entry.platform = Some(Platform::normal(
        or(os, &own.os),
        or(architecture, &own.architecture),
        or(variant, old),
    ));
    keep(session, &name, &list)
}

/// The list of a name, or what it means in its registry.
pub fn inspect(session: &Session, word: &str, may_be_plain: bool) -> Result<Value> {
    let name = Reference::parse(word)?;
    match open(session, &name)? {
        Some(list) => Ok(list.to_json()),
        None => Value::parse(&raw(&name, &access(session, may_be_plain)?)?),
    }
}

/// Sends a list; with `is_last` it is forgotten then.
pub fn push(session: &Session, word: &str, is_last: bool, may_be_plain: bool) -> Result<Digest> {
    let (name, list) = needed(session, word)?;
    let digest = list.push(&name, &access(session, may_be_plain)?)?;
    if is_last {
        session.store.forget_list(&name)?;
    }
    Ok(digest)
}

/// Forgets lists; all of them, or the error of the first that is none.
pub fn remove(session: &Session, words: &[String]) -> Result<()> {
    for word in words {
        if !session.store.forget_list(&new_name(word)?)? {
            return Err(Error::not_found(format!("No such manifest: {word}")));
        }
    }
    Ok(())
}
