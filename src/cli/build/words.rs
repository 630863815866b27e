//! The values of `lath build`'s options: one word to what it means.


use crate::map::Map;
use crate::build::{LayoutPlace, Named, Network, Secret};
use crate::error::{Error, Result};
use crate::image::digest::Digest;
use crate::sys::kernel::processors;

/// Whether steps may have all powers; they have the host's network anyway.
pub fn allow(words: &[String]) -> Result<bool> {
    const KNOWN: [&str; 2] = ["network.host", "security.insecure"];
    match words.iter().find(|word| !KNOWN.contains(&word.as_str())) {
        None => Ok(words.iter().any(|word| word == "security.insecure")),
        Some(word) => Err(Error::usage(format!("--allow {word}: unknown entitlement"))),
    }
}

/// Stages at once; without a word as many as this process has processors.
pub fn jobs(word: Option<usize>) -> Result<usize> {
    match word {
        Some(0) => Err(Error::usage("--jobs 0: nothing would ever be built").hint("write 1 or more")),
        Some(jobs) => Ok(jobs),
        None => Ok(processors()),
    }
}

/// `NAME=DIR`, `NAME=docker-image://IMAGE`, `NAME=oci-layout://DIR[:TAG][@DIGEST]`, or `NAME=` and
/// the address of a git repository or, over http(s), of a tar.
pub fn named(word: &str) -> Result<(String, Named)> {
    let (name, value) = word
        .split_once('=')
        .filter(|(name, value)| !name.is_empty() && !value.is_empty())
        .ok_or_else(|| Error::usage(format!("invalid context value {word:?}: write NAME=DIR")))?;
    let found = match value.split_once("://") {
        Some(("docker-image", image)) => Named::Image(image.to_owned()),
        Some(("oci-layout", place)) => Named::Layout(layout(place)?),
        Some((kind, _)) if Named::files(value) == Named::Directory(value.to_owned()) => {
            return Err(Error::usage(format!("--build-context {kind}:// is not supported yet")));
        }
        _ => Named::files(value),
    };
    Ok((name.to_owned(), found))
}

/// `DIR[:TAG][@sha256:DIGEST]`.
fn layout(word: &str) -> Result<LayoutPlace> {
    let (place, digest) = match word.split_once('@') {
        Some((place, digest)) => (place, Some(Digest::parse(digest)?)),
        None => (word, None),
    };
    let (path, tag) = match place.split_once(':') {
        Some((path, tag)) => (path, Some(tag.to_owned())),
        None => (place, None),
    };
    match path.is_empty() {
        true => Err(Error::usage(format!("oci-layout://{word}: no directory"))
            .hint("write oci-layout://DIR[:TAG][@sha256:DIGEST]")),
        false => Ok(LayoutPlace { path: path.to_owned(), tag, digest }),
    }
}

/// `id=ID[,src=FILE|,env=NAME]`; an id alone is the caller's variable of that name, else a file.
pub fn secret(word: &str, own: &dyn Fn(&str) -> Option<String>) -> Result<(String, Secret)> {
    let bad = |what: &str| Error::usage(format!("--secret {word:?}: {what}"));
    let (mut id, mut found, mut kind) = (None, None, None);
    for field in word.split(',') {
        match field.split_once('=').unwrap_or((field, "")) {
            ("id", value) => id = Some(value.to_owned()),
            ("src" | "source", value) => found = Some(Secret::File(value.to_owned())),
            ("env", value) => found = Some(Secret::Variable(value.to_owned())),
            ("type", value @ ("file" | "env")) => kind = Some(value.to_owned()),
            (other, _) => return Err(bad(&format!("unexpected key {other:?}"))),
        }
    }
    let id = id.filter(|id| !id.is_empty()).ok_or_else(|| bad("write id=ID,src=FILE"))?;
    let secret = match (found, kind.as_deref()) {
        (Some(Secret::File(name)), Some("env")) => Secret::Variable(name),
        (Some(found), _) => found,
        (None, Some("env")) => Secret::Variable(id.clone()),
        (None, None) if own(&id).is_some() => Secret::Variable(id.clone()),
        (None, _) => Secret::File(id.clone()),
    };
    Ok((id, secret))
}

/// `ID[=SOCKET]`; without a socket that of the caller's agent.
pub fn socket(word: &str, own: &dyn Fn(&str) -> Option<String>) -> Result<(String, String)> {
    let (id, path) = word.split_once('=').unwrap_or((word, ""));
    let path = match path {
        "" => own("SSH_AUTH_SOCK"),
        path => Some(path.to_owned()),
    };
    let missing = || {
        Error::usage(format!("--ssh {word:?}: no socket"))
            .hint("start an ssh-agent, or name its socket: --ssh ID=SOCKET")
    };
    Ok((id.to_owned(), path.ok_or_else(missing)?))
}

/// `NAME:ADDRESS` or `NAME=ADDRESS`.
pub fn host(word: &str) -> Result<(String, String)> {
    let (name, address) = word
        .split_once('=')
        .or_else(|| word.split_once(':'))
        .ok_or_else(|| Error::usage(format!("bad format for add-host: {word:?}")))?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    let is_name = !name.is_empty() && !name.contains(char::is_whitespace);
    match address.parse::<std::net::IpAddr>() {
        Ok(address) if is_name => Ok((name.to_owned(), address.to_string())),
        _ if is_name && address == crate::build::HOST_GATEWAY => {
            Ok((name.to_owned(), address.to_owned()))
        }
        _ => Err(Error::usage(format!("invalid IP address in add-host: {address:?}"))
            .hint("write --add-host NAME:ADDRESS")),
    }
}

/// The last one of a name counts; a name alone has the caller's value, if there is one.
pub fn build_args(
    words: &[String],
    own: &dyn Fn(&str) -> Option<String>,
) -> Result<Map<String, String>> {
    let mut args = Map::default();
    // As docker's build client does: the caller's own goes along.
    args.extend(own("SOURCE_DATE_EPOCH").map(|own| ("SOURCE_DATE_EPOCH".to_owned(), own)));
    for word in words {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), own(word)),
        };
        if name.is_empty() {
            return Err(Error::usage(format!("invalid build argument {word:?}: write NAME=value")));
        }
        match value {
            Some(value) => args.insert(name.to_owned(), value),
            None => drop(args.remove(name)),
        }
    }
    Ok(args)
}

pub fn label_of(word: &str) -> Result<(String, String)> {
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    if name.is_empty() {
        return Err(Error::usage(format!("invalid label {word:?}: write NAME=value")));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// `STAGE[,STAGE]`, given any number of times.
pub fn stages(no_cache: bool, words: &[String]) -> Result<Vec<String>> {
    if no_cache && !words.is_empty() {
        let text = "--no-cache and --no-cache-filter cannot be used together";
        return Err(Error::usage(text));
    }
    let names = words.iter().flat_map(|word| word.split(','));
    Ok(names.filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

pub fn network(mode: Option<&str>) -> Result<Network<'static>> {
    match mode {
        None | Some("" | "default" | "host") => Ok(Network::Host),
        Some("none") => Ok(Network::None),
        Some(other) => {
            Err(Error::unsupported(format!("the network {other:?} is not for steps"))
                .hint("use --network host or --network none"))
        }
    }
}
