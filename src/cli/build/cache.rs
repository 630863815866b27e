//! `--cache-from` and `--cache-to`: where finished steps come from and go to, as buildx has it.

use super::fields::Value;
use crate::build::{CacheAt, CachePlace};
use crate::error::{Error, Result};
#[cfg(feature = "net")]
use crate::image::reference::Reference;

/// `type=local,src=DIR` for `--cache-from`; `type=local,dest=DIR[,mode=min|max]` for `--cache-to`;
/// `type=registry,ref=NAME` for both, and a bare name for the first; `type=inline` for the second.
pub fn places(option: &'static str, words: &[String]) -> Result<Vec<CachePlace>> {
    let place = if option == "cache-from" { "src" } else { "dest" };
    let mut places = Vec::new();
    for word in words {
        places.push(read(Value { option, word }, place)?);
    }
    Ok(places)
}

fn read(value: Value<'_>, place: &str) -> Result<CachePlace> {
    let writes = place == "dest";
    // docker takes a bare word for the name of an image in a registry.
    let (kind, fields) = match value.word.contains('=') || writes {
        true => value.split()?,
        false => ("registry".to_owned(), vec![("ref".to_owned(), value.word.to_owned())]),
    };
    let place = match kind.as_str() {
        "local" => place,
        "registry" if cfg!(feature = "net") => "ref",
        "registry" => return Err(Error::built_without("net")),
        #[cfg(feature = "net")]
        "inline" if writes && fields.is_empty() => {
            return Ok(CachePlace { at: CacheAt::Image, all_stages: false });
        }
        "inline" | "gha" | "s3" | "azblob" => {
            let hint = "type=local takes a directory, type=registry a name";
            return Err(value.lacks(&format!("type={kind}")).hint(hint));
        }
        _ => return Err(value.unknown("type", &kind, "local, registry")),
    };
    let (mut name, mut all_stages) = (String::new(), false);
    for (key, text) in fields {
        match (key.as_str(), text.as_str()) {
            (key, _) if key == place => name = text,
            ("mode", "max") if writes => all_stages = true,
            ("mode", "min") if writes => all_stages = false,
            ("mode", _) if writes => return Err(value.unknown("mode", &text, "min, max")),
            _ => {
                let known = "type; src to read, dest to write, or ref; mode to write";
                return Err(value.unknown("key", &key, known));
            }
        }
    }
    if name.is_empty() {
        return Err(value.wrong(&format!("{place} is required")));
    }
    #[cfg(feature = "net")]
    if place == "ref" {
        let at = CacheAt::Registry(Reference::parse(&name)?);
        return Ok(CachePlace { at, all_stages });
    }
    Ok(CachePlace { at: CacheAt::Directory(name), all_stages })
}
