//! From what a user typed to an image.

use crate::error::{Error, Result};
use crate::image::digest::{Digest, ImageId};
use crate::image::reference::Reference;
use crate::store::Store;

/// What a word turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The image.
    pub image: ImageId,
    /// The name, when it was found by name.
    pub name: Option<Reference>,
}

/// Reads a name that an image shall get: one that can be told from ids, without a digest.
pub fn new_name(text: &str) -> Result<Reference> {
    let name = Reference::parse(text)?;
    if name.digest.is_some() {
        return Err(Error::input(format!("{text:?}: a name to be given cannot have a digest")));
    }
    if name.familiar_name() == "sha256" {
        let text = format!("{text:?}: a name to be given cannot be \"sha256\" alone");
        return Err(Error::input(text).hint("sha256:... means an image by its id"));
    }
    Ok(name)
}

/// Finds an image by its name, its id or a prefix of its id that is unique.
pub fn resolve(store: &Store, word: &str) -> Result<Resolved> {
    match find(store, word)? {
        Some(found) => Ok(found),
        None => Err(Error::not_found(format!("No such image: {word}"))
            .hint("lath images shows what is there; lath load -i FILE brings images in")),
    }
}

/// Like `resolve`; `None` when there is no such image.
pub fn find(store: &Store, word: &str) -> Result<Option<Resolved>> {
    if let Ok(reference) = Reference::parse(word) {
        if let Some(image) = store.named(&reference)? {
            return Ok(Some(Resolved { image, name: Some(reference) }));
        }
        // `name@sha256:...`: the id is what is known of an image that was not pulled.
        if let Some(digest) = reference.digest
            && store.has_image(&digest)
        {
            return Ok(Some(Resolved { image: digest, name: None }));
        }
    }
    let hex = word.strip_prefix("sha256:").unwrap_or(word);
    let is_hex = !hex.is_empty()
        && hex.len() <= 64
        && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !is_hex {
        return Ok(None);
    }
    if let Some(id) = Digest::parse_hex(hex) {
        // An image whose config is damaged can still be named, to be removed.
        let is_there = store.has_image(&id) || store.config_text(&id)?.is_some();
        return Ok(is_there.then_some(Resolved { image: id, name: None }));
    }
    match store.images_by_prefix(hex)?.as_slice() {
        [] => Ok(None),
        [image] => Ok(Some(Resolved { image: *image, name: None })),
        _ => Err(Error::input(format!("{word:?} is the beginning of several image ids"))
            .hint("give more digits; lath images -a --no-trunc shows all")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_name_cannot_be_taken_for_an_id() {
        assert_eq!(new_name("hub/sha256:1").unwrap().to_string(), "hub/sha256:1");
        for bad in ["sha256:abc", "sha256", "Upper"] {
            assert!(new_name(bad).is_err(), "{bad}");
        }
        assert!(new_name(&format!("a@{}", Digest::of(b""))).is_err());
    }
}
