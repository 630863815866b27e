//! Manifests: what a name means, down to the image for one platform, byte for byte.

use super::sources::Sources;
use crate::error::{Context, Error, Result};
use crate::image::descriptor::{
    DOCKER_LIST, DOCKER_MANIFEST, Descriptor, Manifest, OCI_INDEX, OCI_MANIFEST, choose,
};
use crate::image::digest::Digest;
use crate::image::json::Value;
use crate::image::platform::Platform;
use crate::image::reference::Reference;

/// What registries and their clients have agreed on (distribution-spec, "Pushing Manifests").
const MAX_BYTES: u64 = 4 << 20;
/// An index may name an index; deeper than this nobody goes.
pub const MAX_DEPTH: usize = 4;

/// The image that a name means.
pub struct Found {
    /// What the name stands for: an index or a manifest.
    pub digest: Digest,
    /// The config.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// All that was read on the way, byte for byte.
    pub texts: Vec<Vec<u8>>,
}

/// Asks what a name means for a platform.
pub fn find(sources: &Sources, reference: &Reference, wanted: &Platform) -> Result<Found> {
    // With a digest the tag is only for people.
    let word = match &reference.digest {
        Some(digest) => digest.to_string(),
        None => reference.tag_or_latest().to_owned(),
    };
    let what = reference.to_string();
    let mut text = fetch(sources, &word, &what, reference.digest.as_ref(), None)?;
    let digest = Digest::of(&text.bytes);
    let mut texts = Vec::new();
    for _ in 0..=MAX_DEPTH {
        let value = Value::parse(&text.bytes).context(|| &what)?;
        is_known(&value, &text.media_type).context(|| &what)?;
        let parsed = Manifest::parse(&text.bytes).context(|| &what)?;
        agrees(&parsed, &value, &text.media_type).context(|| &what)?;
        texts.push(text.bytes);
        let entries = match parsed {
            Manifest::Image { config, layers } => {
                return Ok(Found { digest, config, layers, texts });
            }
            Manifest::Index(entries) => entries,
        };
        let entries: Vec<_> = entries.into_iter().filter(Descriptor::may_be_image).collect();
        // An index in an index has no platform of its own.
        let further = || entries.iter().find(|entry| entry.is_index() && entry.platform.is_none());
        let Some(chosen) = choose(&entries, wanted).or_else(further) else {
            return Err(no_platform(&what, wanted, &entries));
        };
        let name = chosen.digest.to_string();
        text = fetch(sources, &name, &name, Some(&chosen.digest), Some(chosen.size_bytes))?;
    }
    Err(Error::input(format!("{what}: indexes are nested too deeply")))
}

/// What a name stands for, byte for byte, and of which kind that is.
pub fn get(sources: &Sources, reference: &Reference) -> Result<(Vec<u8>, String)> {
    let what = reference.to_string();
    let word = match &reference.digest {
        Some(digest) => digest.to_string(),
        None => reference.tag_or_latest().to_owned(),
    };
    let text = fetch(sources, &word, &what, reference.digest.as_ref(), None)?;
    let value = Value::parse(&text.bytes).context(|| &what)?;
    is_known(&value, &text.media_type).context(|| &what)?;
    let parsed = Manifest::parse(&text.bytes).context(|| &what)?;
    agrees(&parsed, &value, &text.media_type).context(|| &what)?;
    let own = value.get("mediaType").and_then(Value::as_str).unwrap_or(&text.media_type);
    let media_type = if is_vague(own) { OCI_MANIFEST } else { own }.to_owned();
    Ok((text.bytes, media_type))
}

/// A manifest and what the server calls it.
struct Text {
    bytes: Vec<u8>,
    media_type: String,
}

/// Reads one. The size is judged first, then the digest, and nothing is parsed before.
fn fetch(
    sources: &Sources,
    word: &str,
    what: &str,
    digest: Option<&Digest>,
    size: Option<u64>,
) -> Result<Text> {
    let accept = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST].join(", ");
    let accept = [("Accept", accept.as_str())];
    let limit = size.unwrap_or(MAX_BYTES).min(MAX_BYTES);
    let path = format!("manifests/{word}");
    sources.small(&path, &accept, limit + 1, digest.is_some(), &mut |remote, answer, bytes| {
        if answer.status != 200 {
            return Err(remote.refusal(&answer, what));
        }
        let header = |name: &str| answer.headers.get(name);
        let media_type = header("content-type").unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim().to_owned();
        let length = bytes.len() as u64;
        if length > limit || size.is_some_and(|size| size != length) {
            let text = match size {
                Some(size) => {
                    format!("the manifest {what} has not the {size} bytes that it should")
                }
                None => format!("the manifest of {what} is larger than 4 MiB"),
            };
            return Err(Error::corrupt(text));
        }
        let found = Digest::of(&bytes);
        // What the header says is checked where the reference itself promises nothing.
        let said = header("docker-content-digest").and_then(|said| Digest::parse(said).ok());
        if let Some(promised) = digest.copied().or(said).filter(|promised| *promised != found) {
            return Err(Error::corrupt(format!(
                "the manifest {what} should be {promised}; it is {found}"
            ))
            .hint("the registry, or somebody on the way to it, gives something else"));
        }
        Ok(Text { bytes, media_type })
    })
}

/// Some servers call all JSON that.
fn is_vague(media_type: &str) -> bool {
    matches!(media_type, "" | "application/json" | "text/plain")
}

/// What it calls itself, and what the server calls it, is something that lath reads.
fn is_known(value: &Value, said: &str) -> Result<()> {
    let own = value.get("mediaType").and_then(Value::as_str);
    let is_schema_1 = value.get("schemaVersion").and_then(Value::as_u64) == Some(1);
    let known = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];
    let told = own.into_iter().chain((!is_vague(said)).then_some(said));
    let unknown = told.into_iter().find(|media_type| !known.contains(media_type));
    let text = match (is_schema_1, unknown) {
        (true, _) => "it is an image of docker's schema 1, of before 2017".to_owned(),
        (false, Some(media_type)) => format!("it is of the type {media_type:?}, which is no image"),
        (false, None) => return Ok(()),
    };
    Err(Error::unsupported(text).hint("lath reads OCI images and docker's of schema 2"))
}

/// What the server calls it, what it calls itself and what it is must be the same, or two readers
/// could see two images (CVE-2021-41190).
fn agrees(parsed: &Manifest, value: &Value, said: &str) -> Result<()> {
    let own = value.get("mediaType").and_then(Value::as_str);
    let right = match parsed {
        Manifest::Index(_) => [OCI_INDEX, DOCKER_LIST],
        Manifest::Image { .. } => [OCI_MANIFEST, DOCKER_MANIFEST],
    };
    let said = (!is_vague(said)).then_some(said);
    for media_type in own.into_iter().chain(said) {
        if !right.contains(&media_type) {
            let text = format!("the media type {media_type:?} is not that of what it names");
            return Err(Error::input(text));
        }
    }
    match (own, said) {
        (Some(own), Some(said)) if own != said => {
            Err(Error::input(format!("the server calls it {said:?}, and it calls itself {own:?}")))
        }
        _ => Ok(()),
    }
}

fn no_platform(what: &str, wanted: &Platform, entries: &[Descriptor]) -> Error {
    let platforms = entries.iter().filter_map(|entry| entry.platform.as_ref());
    let mut platforms: Vec<String> = platforms.map(Platform::to_string).collect();
    platforms.dedup();
    Error::not_found(format!("no match for platform {wanted} in the manifest of {what}"))
        .hint(format!("choose one with --platform; it has: {}", platforms.join(", ")))
}
