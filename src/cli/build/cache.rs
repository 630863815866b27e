//! `--cache-from` and `--cache-to`: where finished steps come from and go to, as buildx has it.

use super::fields::Value;
use crate::build::CachePlace;
use crate::error::Result;

/// `type=local,src=DIR` for `--cache-from`; `type=local,dest=DIR[,mode=min|max]` for `--cache-to`.
pub fn places(option: &'static str, words: &[String]) -> Result<Vec<CachePlace>> {
    let place = if option == "cache-from" { "src" } else { "dest" };
    let mut places = Vec::new();
    for word in words {
        places.push(local(Value { option, word }, place)?);
    }
    Ok(places)
}

fn local(value: Value<'_>, place: &str) -> Result<CachePlace> {
    // docker takes a bare word for the name of an image in a registry.
    let (kind, fields) = match value.word.contains('=') {
        true => value.split()?,
        false => ("registry".to_owned(), Vec::new()),
    };
    match kind.as_str() {
        "local" => {}
        "registry" | "inline" | "gha" | "s3" | "azblob" => {
            return Err(value.lacks(&format!("type={kind}")).hint("type=local takes a directory"));
        }
        _ => return Err(value.unknown("type", &kind, "local")),
    }
    let mut found = CachePlace { path: String::new(), all_stages: false };
    for (key, text) in fields {
        match (key.as_str(), text.as_str()) {
            (key, _) if key == place => found.path = text,
            ("mode", "max") if place == "dest" => found.all_stages = true,
            ("mode", "min") if place == "dest" => found.all_stages = false,
            ("mode", _) if place == "dest" => return Err(value.unknown("mode", &text, "min, max")),
            _ => return Err(value.unknown("key", &key, "type, src; or dest, mode to write")),
        }
    }
    match found.path.is_empty() {
        true => Err(value.wrong(&format!("{place} is required"))),
        false => Ok(found),
    }
}
