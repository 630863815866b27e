//! Archives -> images in the store: OCI layouts and docker's archives, from a file or a pipe.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use crate::archive::stack::Stack;
use crate::archive::tape::{Candidate, Tape};
use crate::archive::{docker, fits, oci};
use crate::error::{Context, Error, Result};
use crate::event::{Event, Listener};
use crate::image::config::ImageConfig;
use crate::image::digest::{Digest, ImageId};
use crate::image::platform::Platform;
use crate::image::reference::Reference;
use crate::layer::compress::decompress;
use crate::store::{NewImage, Publication, Scratch, Store};

/// An image of the archive that is in the store now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The image.
    pub image: ImageId,
    /// The names that the archive gave it; perhaps none.
    pub names: Vec<Reference>,
}

/// Loads all images of an archive. Of an image for several platforms the one for `platform` is
/// taken, or for this machine when none is asked for.
pub fn load(
    store: &Store,
    scratch: &Scratch,
    input: OwnedFd,
    platform: Option<&Platform>,
    listener: &mut dyn Listener,
) -> Result<Vec<Loaded>> {
    let tape = Tape::open(input, store, scratch)?;
    let images = candidates(&tape, platform)?;
    fits::check(store, &tape, &images)?;
    let mut loaded = Vec::new();
    for image in &images {
        loaded.push(load_one(store, scratch, &tape, image, platform, listener)?);
    }
    Ok(loaded)
}

/// The images that an archive holds.
pub fn candidates(tape: &Tape, platform: Option<&Platform>) -> Result<Vec<Candidate>> {
    let images = match (tape.has("index.json"), tape.has("manifest.json")) {
        (true, has_manifest) => {
            let mut images = oci::images(tape, platform)?;
            if has_manifest {
                docker::add_names(tape, &mut images)?;
            }
            images
        }
        (false, true) => docker::images(tape)?,
        (false, false) => {
            return Err(Error::input("it has neither index.json nor manifest.json, so no images")
                .hint("lath import takes a tar of a root tree"));
        }
    };
    if images.is_empty() {
        return Err(Error::input("the archive has no images"));
    }
    Ok(images)
}

/// Brings one image of an archive in.
pub fn load_one(
    store: &Store,
    scratch: &Scratch,
    tape: &Tape,
    candidate: &Candidate,
    platform: Option<&Platform>,
    listener: &mut dyn Listener,
) -> Result<Loaded> {
    let (text, config) = config(tape, candidate)?;
    let image = Digest::of(&text);
    if let Some(wanted) = platform.filter(|wanted| !config.platform.suits(wanted)) {
        let text = format!("the image is for {} and not for {wanted}", config.platform);
        return Err(Error::not_found(text));
    }
    let names = names(&candidate.names, listener);
    let mut publication = Publication::default();
    let mut stack = Stack::new(store, scratch);
    fill(&mut stack, tape, candidate, &config, listener)?;
    publication.layers = stack.new;
    for name in &names {
        if store.named(name)? != Some(image) {
            publication.names.push((name.clone(), image));
        }
    }
    // Also one that is there, with a name: it may be removed before that.
    if !publication.names.is_empty() || !store.has_image(&image) {
        publication.images.push(NewImage { text, is_final: true });
    }
    store.publish(scratch, &mut publication)?;
    Ok(Loaded { image, names })
}

/// The config of an image in an archive.
pub fn config(tape: &Tape, candidate: &Candidate) -> Result<(Vec<u8>, ImageConfig)> {
    let text = tape.text(&candidate.config).context(|| "the image's config")?;
    let config = ImageConfig::parse(&text)?;
    config.agrees(candidate.layers.len())?;
    Ok((text, config))
}

/// Puts the layers of an image on a stack.
pub fn fill(
    stack: &mut Stack<'_>,
    tape: &Tape,
    candidate: &Candidate,
    config: &ImageConfig,
    listener: &mut dyn Listener,
) -> Result<()> {
    for (number, (blob, diff_id)) in candidate.layers.iter().zip(&config.diff_ids).enumerate() {
        if stack.reuse(diff_id)? {
            continue;
        }
        let what = format!("layer {} of {}", number + 1, candidate.layers.len());
        tell(listener, &what, 0, blob.size());
        tape.verify(blob, None).context(|| &what)?;
        let (_, mut tar) = decompress(tape.read(blob)?).context(|| &what)?;
        stack.add(&mut tar, Some(diff_id)).context(|| &what)?;
        tell(listener, &what, blob.size(), blob.size());
    }
    Ok(())
}

fn tell(listener: &mut dyn Listener, what: &str, done_bytes: u64, total: u64) {
    listener.event(&Event::Moved { what, done_bytes, total_bytes: Some(total) });
}

/// The names that are names. An image without one can still be used by its id.
fn names(texts: &[String], listener: &mut dyn Listener) -> Vec<Reference> {
    let mut names: Vec<Reference> = Vec::new();
    let mut seen = BTreeSet::new();
    for text in texts {
        match Reference::parse(text) {
            Ok(name) if name.digest.is_none() => {
                if seen.insert(name.clone()) {
                    names.push(name);
                }
            }
            Ok(_) => {}
            Err(error) => {
                let text = format!("the archive's name for an image is left out: {}", error.text());
                listener.event(&Event::Warning { text: &text });
            }
        }
    }
    names
}
