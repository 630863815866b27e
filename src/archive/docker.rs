//! Which images a docker archive holds: `manifest.json` names configs, layers and tags.
//!
//! Source: docker's image specification 1.2, "Combined Image JSON + Filesystem Changeset Format".

use crate::archive::tape::{Candidate, Tape};
use crate::error::{Context, Error, Result};
use crate::image::digest::Digest;
use crate::image::json::Value;

/// Reads `manifest.json`.
pub fn images(tape: &Tape) -> Result<Vec<Candidate>> {
    let mut images = Vec::new();
    for entry in entries(tape)? {
        let config = entry.config.as_str();
        let layers = entry.layers.iter().map(|layer| tape.blob(layer, digest_in_path(layer)));
        images.push(Candidate {
            names: entry.names,
            config: tape.blob(config, digest_in_path(config))?,
            layers: layers.collect::<Result<Vec<_>>>()?,
        });
    }
    Ok(images)
}

/// Adds the tags of `manifest.json` to the images of an OCI layout in the same archive.
pub fn add_names(tape: &Tape, images: &mut [Candidate]) -> Result<()> {
    for entry in entries(tape)? {
        let config = digest_in_path(&entry.config);
        for image in images.iter_mut().filter(|image| image.config.digest == config) {
            if image.names.is_empty() {
                image.names.clone_from(&entry.names);
            }
        }
    }
    Ok(())
}

struct Entry {
    config: String,
    names: Vec<String>,
    layers: Vec<String>,
}

fn entries(tape: &Tape) -> Result<Vec<Entry>> {
    let text = tape.text(&tape.blob("manifest.json", None)?).context(|| "manifest.json")?;
    let value = Value::parse(&text).context(|| "manifest.json")?;
    let bad = || Error::input("manifest.json is not one of a docker archive");
    let mut entries = Vec::new();
    for entry in value.as_array().ok_or_else(bad)? {
        let config = entry.get("Config").and_then(Value::as_str).ok_or_else(bad)?;
        let layers = entry.get("Layers").map(Value::to_strings).unwrap_or_default();
        let names = entry.get("RepoTags").map(Value::to_strings).unwrap_or_default();
        entries.push(Entry { config: config.to_owned(), names, layers });
    }
    Ok(entries)
}

/// Configs, and blobs since docker 25, are named by their digest. A layer's `<hex>.tar` is named
/// by what its writer liked, so it promises nothing; the config's diff ids do.
fn digest_in_path(path: &str) -> Option<Digest> {
    let hex = path
        .strip_prefix("blobs/sha256/")
        .or_else(|| path.strip_prefix("sha256:"))
        .or_else(|| path.strip_suffix(".json"))?;
    Digest::parse_hex(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_promise_a_digest_are_held_to_it() {
        let digest = Digest::of(b"x");
        let hex = digest.hex();
        for (path, promises) in [
            (format!("{hex}.json"), true),
            (format!("sha256:{hex}"), true),
            (format!("blobs/sha256/{hex}"), true),
            (format!("{hex}.tar"), false),
            (format!("{hex}/layer.tar"), false),
            ("config.json".to_owned(), false),
        ] {
            assert_eq!(digest_in_path(&path), promises.then_some(digest), "{path}");
        }
    }
}
