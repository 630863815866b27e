//! Which images an OCI layout holds, and which of several platforms is taken.
//!
//! Source: OCI image-spec, image-layout.md and image-index.md; `io.containerd.image.name` is
//! containerd's full name beside the tag in `org.opencontainers.image.ref.name`.

use crate::archive::tape::{Blob, Candidate, Tape};
use crate::error::{Context, Error, Result};
use crate::image::descriptor::{DOCKER_MANIFEST, Descriptor, Manifest, OCI_MANIFEST, choose};
use crate::image::digest::Digest;
use crate::image::platform::Platform;
use crate::sort::sort;

/// The annotation with the tag, or the whole name.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation with the whole name.
pub const IMAGE_NAME: &str = "io.containerd.image.name";
/// An index may name an index; deeper than this nobody goes.
const MAX_DEPTH: usize = 4;

/// Reads `index.json` and the manifests that are wanted.
pub fn images(tape: &Tape, wanted: Option<&Platform>) -> Result<Vec<Candidate>> {
    let mut groups: Vec<(Option<String>, Vec<Descriptor>)> = Vec::new();
    for entry in entries(tape)? {
        let name = name_of(&entry);
        match groups.iter_mut().find(|(other, _)| *other == name) {
            Some((_, group)) => group.push(entry),
            None => groups.push((name, vec![entry])),
        }
    }
    let mut taken: Vec<(Descriptor, Candidate)> = Vec::new();
    for (name, group) in &groups {
        for entry in one_or_all(group, wanted)? {
            let found = resolve(tape, entry, wanted, 0)?;
            let at = taken.iter().position(|(other, _)| other.digest == found.digest);
            let names = match at.and_then(|at| taken.get_mut(at)) {
                Some((_, candidate)) => &mut candidate.names,
                None => {
                    let candidate = candidate(tape, &found)?;
                    taken.push((found, candidate));
                    let Some((_, candidate)) = taken.last_mut() else { continue };
                    &mut candidate.names
                }
            };
            names.extend(name.clone());
        }
    }
    Ok(taken.into_iter().map(|(_, candidate)| candidate).collect())
}

/// The one image that a digest means, else a tag, else the tag `latest`, else the only one.
pub fn one(
    tape: &Tape,
    tag: Option<&str>,
    digest: Option<Digest>,
    wanted: Option<&Platform>,
) -> Result<Candidate> {
    if let Some(digest) = digest {
        let size = tape.blob(&path(&digest), None)?.size();
        let found = resolve(tape, &Descriptor::new("", digest, size), wanted, 0)?;
        return candidate(tape, &found);
    }
    let entries = entries(tape)?;
    let is_tagged = |entry: &&Descriptor, tag: &str| {
        [REF_NAME, IMAGE_NAME].iter().any(|name| entry.annotation(name) == Some(tag))
    };
    let word = tag.unwrap_or("latest");
    let mut group: Vec<Descriptor> =
        entries.iter().filter(|entry| is_tagged(entry, word)).cloned().collect();
    if group.is_empty() && tag.is_none() && entries.len() == 1 {
        group.clone_from(&entries);
    }
    let Some(entry) = one_or_all(&group, wanted)?.first().copied() else {
        let tags: Vec<&str> =
            entries.iter().filter_map(|entry| entry.annotation(REF_NAME)).collect();
        return Err(Error::not_found(format!("no image has the tag {word:?}"))
            .hint(format!("its tags are: {}", tags.join(", "))));
    };
    candidate(tape, &resolve(tape, entry, wanted, 0)?)
}

/// What `index.json` names, as far as it may be an image.
fn entries(tape: &Tape) -> Result<Vec<Descriptor>> {
    let index = tape.text(&tape.blob("index.json", None)?).context(|| "index.json")?;
    let Manifest::Index(mut entries) = Manifest::parse(&index).context(|| "index.json")? else {
        return Err(Error::input("index.json is not an image index"));
    };
    entries.retain(Descriptor::may_be_image);
    Ok(entries)
}

/// The path of a blob in a layout.
pub fn path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// A blob of the layout whose size is what its descriptor says.
fn blob(tape: &Tape, descriptor: &Descriptor) -> Result<Blob> {
    let name = path(&descriptor.digest);
    let blob = tape.blob(&name, Some(descriptor.digest))?;
    if blob.size() != descriptor.size_bytes {
        let text = format!("{name} has {} bytes and not {}", blob.size(), descriptor.size_bytes);
        return Err(Error::corrupt(text));
    }
    Ok(blob)
}

/// The full name, when there is one: a tag alone names nothing.
fn name_of(entry: &Descriptor) -> Option<String> {
    let reference = entry.annotation(REF_NAME).filter(|name| name.contains(['/', ':']));
    entry.annotation(IMAGE_NAME).or(reference).map(str::to_owned)
}

/// Of manifests with one name, for several platforms: the one that fits. Otherwise all.
fn one_or_all<'a>(
    group: &'a [Descriptor],
    wanted: Option<&Platform>,
) -> Result<Vec<&'a Descriptor>> {
    let mut platforms: Vec<String> =
        group.iter().filter_map(|entry| entry.platform.as_ref()).map(Platform::to_string).collect();
    sort(&mut platforms);
    platforms.dedup();
    if group.len() < 2 || platforms.len() < group.len() {
        return Ok(group.iter().collect());
    }
    let host = Platform::host();
    match choose(group, wanted.unwrap_or(&host)) {
        Some(entry) => Ok(vec![entry]),
        None => Err(no_platform(wanted.unwrap_or(&host), &platforms)),
    }
}

/// Follows indexes to the manifest for the platform.
fn resolve(
    tape: &Tape,
    entry: &Descriptor,
    wanted: Option<&Platform>,
    depth: usize,
) -> Result<Descriptor> {
    let is_index = entry.is_index();
    let is_manifest = [OCI_MANIFEST, DOCKER_MANIFEST].contains(&entry.media_type.as_str());
    let name = path(&entry.digest);
    let text = tape.text(&blob(tape, entry)?).context(|| &name)?;
    match Manifest::parse(&text).context(|| &name)? {
        Manifest::Image { .. } if !is_index => Ok(entry.clone()),
        Manifest::Index(entries) if !is_manifest => {
            if depth == MAX_DEPTH {
                return Err(Error::input("the archive's indexes are nested too deeply"));
            }
            let entries: Vec<Descriptor> =
                entries.into_iter().filter(Descriptor::may_be_image).collect();
            let host = Platform::host();
            let chosen = match (choose(&entries, wanted.unwrap_or(&host)), entries.as_slice()) {
                (Some(chosen), _) => chosen,
                (None, [only]) if wanted.is_none() => only,
                _ => {
                    let platforms = entries.iter().filter_map(|entry| entry.platform.as_ref());
                    let platforms: Vec<String> = platforms.map(Platform::to_string).collect();
                    return Err(no_platform(wanted.unwrap_or(&host), &platforms));
                }
            };
            resolve(tape, chosen, wanted, depth + 1)
        }
        _ => Err(Error::input(format!("{name} is not of the type {:?}", entry.media_type))),
    }
}

fn no_platform(wanted: &Platform, platforms: &[String]) -> Error {
    Error::not_found(format!("the archive has no image for {wanted}"))
        .hint(format!("choose one with --platform; it has: {}", platforms.join(", ")))
}

fn candidate(tape: &Tape, manifest: &Descriptor) -> Result<Candidate> {
    let text = tape.text(&blob(tape, manifest)?)?;
    let Manifest::Image { config, layers } = Manifest::parse(&text)? else {
        return Err(Error::input("a manifest is not an image's"));
    };
    let layers = layers.iter().map(|layer| blob(tape, layer)).collect::<Result<Vec<_>>>()?;
    Ok(Candidate { names: Vec::new(), config: blob(tape, &config)?, layers })
}
