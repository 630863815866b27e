//! `-v SOURCE:TARGET[:OPTIONS]`: a directory or file of the host that appears inside.
//!
//! Source: moby volume/mounts (its Linux parser). Volumes with names are not there yet.

use std::path::PathBuf;

use crate::container::Volume;
use crate::error::{Context, Error, Result};

/// Reads all of them; no two may have the same target.
pub fn parse_all(words: &[String]) -> Result<Vec<Volume>> {
    let mut volumes: Vec<Volume> = Vec::new();
    for word in words {
        let volume = parse(word)?;
        if volumes.iter().any(|other| other.target == volume.target) {
            return Err(Error::usage(format!("duplicate mount point: {:?}", volume.target)));
        }
        volumes.push(volume);
    }
    Ok(volumes)
}

fn parse(word: &str) -> Result<Volume> {
    let wrong = |why: &str| Error::usage(format!("invalid volume specification {word:?}: {why}"));
    let parts: Vec<&str> = word.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [_] => {
            return Err(Error::unsupported(format!(
                "the volume {word:?} is not supported yet: it has no source"
            ))
            .hint("write -v /host/directory:/directory"));
        }
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        _ => return Err(wrong("too many colons")),
    };
    if source.is_empty() || target.is_empty() {
        return Err(wrong("source and target must not be empty"));
    }
    if !target.starts_with('/') {
        return Err(wrong("the path inside must be absolute"));
    }
    let target = cleaned(target);
    if target == "/" {
        return Err(wrong("destination can't be '/'"));
    }
    let readonly = readonly(options, word)?;
    Ok(Volume { source: host_path(source)?, target, readonly })
}

fn host_path(source: &str) -> Result<PathBuf> {
    let is_relative =
        source == "." || source == ".." || source.starts_with("./") || source.starts_with("../");
    if !source.starts_with('/') && !is_relative {
        let text = format!("the named volume {source:?} is not supported yet");
        return Err(Error::unsupported(text).hint("use a directory: an absolute path, or ./NAME"));
    }
    std::path::absolute(source).context(|| format!("find {source:?}"))
}

fn readonly(options: &str, word: &str) -> Result<bool> {
    let mut mode = None;
    for option in options.split(',').filter(|_| !options.is_empty()) {
        match option {
            "ro" | "rw" if mode.is_none() => mode = Some(option == "ro"),
            // Labels of SELinux, hints for other systems, and what holds anyway.
            "z" | "Z" | "consistent" | "cached" | "delegated" | "rprivate" => {}
            "private" | "shared" | "rshared" | "slave" | "rslave" | "nocopy" => {
                let text = format!("the volume option {option:?} is not supported yet");
                return Err(Error::unsupported(text));
            }
            _ => {
                return Err(Error::usage(format!(
                    "invalid mode {options:?} of the volume {word:?}"
                ))
                .hint("write ro or rw"));
            }
        }
    }
    Ok(mode == Some(true))
}

/// The path without `.`, `..` and empty parts, as docker keeps it.
fn cleaned(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_read_as_docker_reads_them() {
        for (word, source, target, readonly) in [
            ("/a:/b", "/a", "/b", false),
            ("/a:/b:ro", "/a", "/b", true),
            ("/a:/b:rw", "/a", "/b", false),
            ("/a:/b:Z,ro", "/a", "/b", true),
            ("/a:/b/./c//../d/:z", "/a", "/b/d", false),
        ] {
            let volume = Volume { source: source.into(), target: target.into(), readonly };
            assert_eq!(parse(word).unwrap(), volume, "{word}");
        }
        assert!(parse("./x:/b").unwrap().source.ends_with("x"));
        assert!(parse(".:/b").unwrap().source.is_absolute());
    }

    #[test]
    fn what_is_wrong_or_not_there_is_named() {
        for (word, text) in [
            ("/data", "the volume \"/data\" is not supported yet: it has no source"),
            ("data:/b", "the named volume \"data\" is not supported yet"),
            ("/a:b", "invalid volume specification \"/a:b\": the path inside must be absolute"),
            ("/a:/..", "invalid volume specification \"/a:/..\": destination can't be '/'"),
            ("/a:", "invalid volume specification \"/a:\": source and target must not be empty"),
            ("/a:/b:ro:x", "invalid volume specification \"/a:/b:ro:x\": too many colons"),
            ("/a:/b:r", "invalid mode \"r\" of the volume \"/a:/b:r\""),
            ("/a:/b:ro,rw", "invalid mode \"ro,rw\" of the volume \"/a:/b:ro,rw\""),
            ("/a:/b:rshared", "the volume option \"rshared\" is not supported yet"),
        ] {
            assert_eq!(parse(word).unwrap_err().text(), text);
        }
        let twice = ["/a:/b".to_owned(), "/c:/b/".to_owned()];
        assert_eq!(parse_all(&twice).unwrap_err().text(), "duplicate mount point: \"/b\"");
    }
}
