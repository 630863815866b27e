//! Carries images in and out: save, load, import. Here are the names and the options, as docker
//! has them; how an archive is written and read is `archive`'s.

use std::os::fd::OwnedFd;

use super::change;
use super::resolve::{new_name, resolve};
use crate::archive::{self, Loaded};
use crate::error::Result;
use crate::event::Listener;
use crate::image::config::ContainerConfig;
use crate::image::digest::ImageId;
use crate::image::platform::Platform;
use crate::image::reference::Reference;
use crate::image::time::stamp;
use crate::session::Session;
use crate::store::Name;
use crate::sys::flow::Outflow;

/// Writes images as one archive. Each word is a name, an id or its beginning; a repository
/// without a tag means all its tags.
pub fn save(
    session: &Session,
    words: &[String],
    out: &mut dyn Outflow,
    listener: &mut dyn Listener,
) -> Result<()> {
    let known = session.store.names()?;
    let mut images: Vec<(ImageId, Vec<Reference>)> = Vec::new();
    for word in words {
        let tags = tags_of(word, &known);
        if tags.is_empty() {
            let found = resolve(&session.store, word)?;
            // No archive has names with digests.
            add(&mut images, found.image, found.name.filter(|name| name.digest.is_none()));
        }
        for name in tags {
            add(&mut images, name.image, Some(name.reference.clone()));
        }
    }
    let (style, target) = (archive::Style::default(), archive::Target::Tar(out));
    archive::save(&session.store, &session.scratch()?, &images, &style, target, listener)?;
    Ok(())
}

/// The names of a repository that stands without a tag.
fn tags_of<'a>(word: &str, known: &'a [Name]) -> Vec<&'a Name> {
    let Ok(reference) = Reference::parse(word) else { return Vec::new() };
    // `name` and `name:latest` are the same reference; only the first means all tags.
    let has_tag = word.rsplit('/').next().is_some_and(|last| last.contains(':'));
    if has_tag || reference.digest.is_some() {
        return Vec::new();
    }
    let full_name = reference.full_name();
    known.iter().filter(|name| name.reference.full_name() == full_name).collect()
}

/// Each image once, each of its names once.
fn add(images: &mut Vec<(ImageId, Vec<Reference>)>, image: ImageId, name: Option<Reference>) {
    let at = match images.iter().position(|(known, _)| *known == image) {
        Some(at) => at,
        None => {
            images.push((image, Vec::new()));
            images.len() - 1
        }
    };
    if let (Some((_, names)), Some(name)) = (images.get_mut(at), name)
        && !names.contains(&name)
    {
        names.push(name);
    }
}

/// Brings the images of an archive in.
pub fn load(
    session: &Session,
    input: OwnedFd,
    platform: Option<&Platform>,
    listener: &mut dyn Listener,
) -> Result<Vec<Loaded>> {
    archive::load(&session.store, &session.scratch()?, input, platform, listener)
}

/// What `import` makes of a root tree.
#[derive(Clone, Debug, Default)]
pub struct Import {
    /// Its name.
    pub name: Option<String>,
    /// `--change`.
    pub changes: Vec<String>,
    /// `--message`.
    pub message: String,
    /// `--platform`; nothing is this machine.
    pub platform: Option<Platform>,
}

/// Makes an image of the tar of a root tree.
pub fn import(session: &Session, input: OwnedFd, request: &Import) -> Result<ImageId> {
    let name = request.name.as_deref().map(new_name).transpose()?;
    let config = change::apply(&request.changes, ContainerConfig::default())?;
    let import = archive::Import {
        name,
        config,
        comment: request.message.clone(),
        platform: request.platform.clone().unwrap_or_else(Platform::host),
        created: stamp(None),
    };
    archive::import(&session.store, &session.scratch()?, input, import)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::digest::Digest;

    #[test]
    fn a_bare_repository_means_all_its_tags() {
        let name = |text: &str| Name {
            reference: Reference::parse(text).unwrap(),
            image: Digest::of(text.as_bytes()),
        };
        let known = [name("a:1"), name("a:latest"), name("b:1"), name("host:5000/a:1")];
        for (word, count) in [
            ("a", 2),
            ("a:1", 0),
            ("docker.io/library/a", 2),
            ("host:5000/a", 1),
            ("host:5000/a:1", 0),
            ("c", 0),
            ("A", 0),
        ] {
            assert_eq!(tags_of(word, &known).len(), count, "{word}");
        }
    }

    #[test]
    fn an_image_with_two_names_is_saved_once() {
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let name = |text: &str| Some(Reference::parse(text).unwrap());
        let mut images = Vec::new();
        add(&mut images, one, name("a:1"));
        add(&mut images, two, None);
        add(&mut images, one, name("a:2"));
        add(&mut images, one, name("a:1"));
        let counts: Vec<_> = images.iter().map(|(image, names)| (*image, names.len())).collect();
        assert_eq!(counts, [(one, 2), (two, 0)]);
    }
}
