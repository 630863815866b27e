//! `-v`, `--mount`, `--tmpfs`, `--device`: what appears inside besides the image's files.
//!
//! Source: moby volume/mounts (its Linux parser), docker/cli opts (mount.go, ParseDevice).

use std::path::PathBuf;

use crate::container::{Source, Tmpfs, Volume, cleaned, csv_fields};
use crate::error::{Context, Error, Result};

/// The words of all four options.
pub struct Words<'a> {
    /// `-v`.
    pub volumes: &'a [String],
    /// `--mount`.
    pub mounts: &'a [String],
    /// `--tmpfs`.
    pub tmpfs: &'a [String],
    /// `--device`.
    pub devices: &'a [String],
}

/// Reads all of them; no two may have the same target. A volume without a name has an empty one.
pub fn parse_all(words: &Words<'_>) -> Result<Vec<Volume>> {
    let mut volumes: Vec<Volume> = Vec::new();
    for word in words.volumes {
        add(&mut volumes, volume(word)?)?;
    }
    let others = [words.mounts, words.tmpfs, words.devices];
    if cfg!(feature = "containers") {
        for word in words.mounts {
            add(&mut volumes, mount(word)?)?;
        }
        for word in words.tmpfs {
            add(&mut volumes, tmpfs(word)?)?;
        }
        for word in words.devices {
            add(&mut volumes, device(word)?)?;
        }
        return Ok(volumes);
    }
    let is_plain = |volume: &Volume| matches!(volume.source, Source::Host(_));
    match volumes.iter().all(is_plain) && others.iter().all(|words| words.is_empty()) {
        true => Ok(volumes),
        false => Err(Error::built_without("containers")),
    }
}

fn add(volumes: &mut Vec<Volume>, volume: Volume) -> Result<()> {
    if volumes.iter().any(|other| other.target == volume.target) {
        return Err(Error::usage(format!("duplicate mount point: {:?}", volume.target)));
    }
    volumes.push(volume);
    Ok(())
}

/// `SOURCE:TARGET[:OPTIONS]`, or `TARGET` alone for a volume without a name.
fn volume(word: &str) -> Result<Volume> {
    let wrong = |why: &str| Error::usage(format!("invalid volume specification {word:?}: {why}"));
    let parts: Vec<&str> = word.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => {
            let (source, target) = (Source::Nameless(String::new()), inside(target, &wrong)?);
            return Ok(Volume { source, target, readonly: false });
        }
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        _ => return Err(wrong("too many colons")),
    };
    if source.is_empty() || target.is_empty() {
        return Err(wrong("source and target must not be empty"));
    }
    let target = inside(target, &wrong)?;
    let readonly = readonly(options, word)?;
    let is_relative =
        source == "." || source == ".." || source.starts_with("./") || source.starts_with("../");
    let source = match source.starts_with('/') || is_relative {
        true => Source::Host(host_path(source)?),
        false => Source::Named(checked_name(source)?),
    };
    Ok(Volume { source, target, readonly })
}

/// The path inside, without `.`, `..` and empty parts, as docker keeps it.
fn inside(target: &str, wrong: &dyn Fn(&str) -> Error) -> Result<String> {
    if !target.starts_with('/') {
        return Err(wrong("the path inside must be absolute"));
    }
    if target.contains([':', '\n']) {
        return Err(wrong("the path inside must have no colon and no line's end"));
    }
    match cleaned(target) {
        target if target == "/" => Err(wrong("destination can't be '/'")),
        target => Ok(target),
    }
}

fn host_path(source: &str) -> Result<PathBuf> {
    std::path::absolute(source).context(|| format!("find {source:?}"))
}

/// Whether docker takes it for a name, of a container or a volume.
pub fn is_name(name: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    name.len() > 1
        && name.len() <= 255
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(is_inner)
}

/// A volume's name as docker allows it.
pub fn checked_name(name: &str) -> Result<String> {
    match is_name(name) {
        true => Ok(name.to_owned()),
        false => Err(Error::usage(format!("{name:?} includes invalid characters for a volume name")).hint(
            "only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed; for a directory write an absolute path or ./NAME",
        )),
    }
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

/// `type=bind|volume|tmpfs,source=…,target=…,readonly` and what belongs to each type.
fn mount(word: &str) -> Result<Volume> {
    let wrong = |why: &str| {
        Error::usage(format!("invalid argument {word:?} for \"--mount\" flag: {why}"))
            .hint("write, for example, --mount type=bind,source=/data,target=/data,readonly")
    };
    let fields = csv_fields(word).ok_or_else(|| wrong("it is not comma-separated"))?;
    let (mut kind, mut source, mut target) = ("volume".to_owned(), String::new(), None);
    let (mut is_readonly, mut options, mut of_tmpfs) = (false, String::new(), false);
    for field in &fields {
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        let has_value = field.contains('=');
        match name.to_ascii_lowercase().as_str() {
            "type" => kind = value.to_ascii_lowercase(),
            "source" | "src" => source = value.to_owned(),
            "target" | "dst" | "destination" => target = Some(inside(value, &wrong)?),
            "readonly" | "ro" => {
                is_readonly = match value {
                    "" if !has_value => true,
                    "1" | "true" => true,
                    "0" | "false" => false,
                    _ => return Err(wrong(&format!("invalid value for {name}: {value}"))),
                };
            }
            "tmpfs-size" | "tmpfs-mode" => {
                of_tmpfs = true;
                options.push_str(&format!(",{}={value}", name.trim_start_matches("tmpfs-")));
            }
            // What holds anyway.
            "consistency" => {}
            "bind-propagation" if value == "rprivate" => {}
            "volume-driver" if value == "local" => {}
            "bind-propagation" | "bind-nonrecursive" | "bind-recursive" | "volume-driver" | "volume-nocopy"
            | "volume-opt" | "volume-label" | "volume-subpath" | "image-subpath" | "bind-create-src" => {
                return Err(Error::unsupported(format!("the mount option {field:?} is not supported yet")));
            }
            _ => return Err(wrong(&format!("unexpected key '{name}'"))),
        }
    }
    let target = target.ok_or_else(|| wrong("target is required"))?;
    if of_tmpfs && kind != "tmpfs" {
        return Err(wrong("tmpfs-size and tmpfs-mode are for type=tmpfs"));
    }
    let source = match (kind.as_str(), source.as_str()) {
        ("bind", "") => return Err(wrong("source is required when mounting a directory of the host")),
        ("bind", path) => Source::Present(host_path(path)?),
        ("volume", "") => Source::Nameless(String::new()),
        ("volume", name) => Source::Named(checked_name(name)?),
        ("tmpfs", "") => {
            let options = options.trim_start_matches(',').to_owned();
            Tmpfs::parse(&options)?;
            Source::Memory(options)
        }
        ("tmpfs", _) => return Err(wrong("a tmpfs has no source")),
        (other, _) => return Err(Error::unsupported(format!("the mount type {other:?} is not supported yet"))),
    };
    Ok(Volume { source, target, readonly: is_readonly })
}

/// `TARGET[:OPTIONS]`.
fn tmpfs(word: &str) -> Result<Volume> {
    let wrong = |why: &str| Error::usage(format!("invalid tmpfs {word:?}: {why}"));
    let (target, options) = word.split_once(':').unwrap_or((word, ""));
    Tmpfs::parse(options)?;
    let source = Source::Memory(options.to_owned());
    Ok(Volume { source, target: inside(target, &wrong)?, readonly: false })
}

/// `PATH[:TARGET][:PERMISSIONS]`.
fn device(word: &str) -> Result<Volume> {
    let wrong = |why: &str| Error::usage(format!("invalid device specification {word:?}: {why}"));
    let is_mode = |part: &str| !part.is_empty() && part.chars().all(|c| "rwm".contains(c));
    let parts: Vec<&str> = word.split(':').collect();
    let (path, target, mode) = match parts.as_slice() {
        [path] => (*path, *path, "rwm"),
        [path, mode] if is_mode(mode) => (*path, *path, *mode),
        [path, target] => (*path, *target, "rwm"),
        [path, target, mode] if is_mode(mode) => (*path, *target, *mode),
        _ => return Err(wrong("write PATH, PATH:TARGET or PATH:TARGET:rwm")),
    };
    if !path.starts_with('/') {
        return Err(wrong("the path must be absolute"));
    }
    // Without a device controller nothing tells a reader from a writer.
    if !mode.contains('r') || !mode.contains('w') {
        return Err(Error::unsupported(format!("the device permissions {mode:?} are not supported yet"))
            .hint("write rwm; who may read or write it inside is said by the node's own mode"));
    }
    let target = inside(target, &wrong)?;
    Ok(Volume { source: Source::Device(path.into()), target, readonly: false })
}

#[cfg(all(test, feature = "containers"))]
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
            let source = Source::Host(source.into());
            let wanted = Volume { source, target: target.into(), readonly };
            assert_eq!(volume(word).unwrap(), wanted, "{word}");
        }
        for (word, source) in [
            ("data:/b", Source::Named("data".to_owned())),
            ("/b", Source::Nameless(String::new())),
        ] {
            assert_eq!(volume(word).unwrap().source, source, "{word}");
        }
        for word in ["./x:/b", ".:/b"] {
            match volume(word).unwrap().source {
                Source::Host(path) => assert!(path.is_absolute(), "{word}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn mounts_devices_and_tmpfs_are_read_as_docker_reads_them() {
        let present = |path: &str| Source::Present(path.into());
        let memory = |options: &str| Source::Memory(options.to_owned());
        for (word, source, readonly) in [
            ("type=bind,source=/a,target=/t", present("/a"), false),
            ("type=bind,src=/a,dst=/t,readonly", present("/a"), true),
            ("type=bind,\"src=/a,b\",destination=/t,ro=false", present("/a,b"), false),
            ("source=data,target=/t,ro=true", Source::Named("data".to_owned()), true),
            ("target=/t", Source::Nameless(String::new()), false),
            ("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=700", memory("size=1m,mode=700"), false),
        ] {
            let wanted = Volume { source, target: "/t".to_owned(), readonly };
            assert_eq!(mount(word).unwrap(), wanted, "{word}");
        }
        for word in [
            "type=bind,target=/t",
            "type=bind,source=/a",
            "type=tmpfs,source=a,target=/t",
            "type=npipe,source=a,target=/t",
            "type=volume,source=../x,target=/t",
            "target=/t,tmpfs-size=1m",
            "target=t",
            "target=/t,huh=1",
            "target=/t,volume-nocopy",
            "target=/t,ro=maybe",
        ] {
            assert!(mount(word).is_err(), "{word}");
        }
        assert_eq!(tmpfs("/run:size=1m").unwrap().source, memory("size=1m"));
        assert_eq!(tmpfs("/run").unwrap().target, "/run");
        assert!(tmpfs("run").is_err() && tmpfs("/run:loud").is_err());
        for (word, path, target) in [
            ("/dev/fuse", "/dev/fuse", "/dev/fuse"),
            ("/dev/fuse:rw", "/dev/fuse", "/dev/fuse"),
            ("/dev/ttyUSB0:/dev/modem", "/dev/ttyUSB0", "/dev/modem"),
            ("/dev/ttyUSB0:/dev/modem:rwm", "/dev/ttyUSB0", "/dev/modem"),
        ] {
            let volume = device(word).unwrap();
            assert_eq!((volume.source, volume.target), (Source::Device(path.into()), target.to_owned()));
        }
        for word in ["dev/x", "/dev/x:/y:z", "/dev/x:/y:r", "/dev/x:m", "/a:/b:rw:x"] {
            assert!(device(word).is_err(), "{word}");
        }
    }

    #[test]
    fn what_is_wrong_or_not_there_is_named() {
        for (word, text) in [
            ("data!:/b", "\"data!\" includes invalid characters for a volume name"),
            ("/a:b", "invalid volume specification \"/a:b\": the path inside must be absolute"),
            ("b", "invalid volume specification \"b\": the path inside must be absolute"),
            ("/a:/..", "invalid volume specification \"/a:/..\": destination can't be '/'"),
            ("/a:", "invalid volume specification \"/a:\": source and target must not be empty"),
            ("/a:/b:ro:x", "invalid volume specification \"/a:/b:ro:x\": too many colons"),
            ("/a:/b:r", "invalid mode \"r\" of the volume \"/a:/b:r\""),
            ("/a:/b:ro,rw", "invalid mode \"ro,rw\" of the volume \"/a:/b:ro,rw\""),
            ("/a:/b:rshared", "the volume option \"rshared\" is not supported yet"),
        ] {
            assert_eq!(volume(word).unwrap_err().text(), text);
        }
        let (one, other) = (["/a:/b".to_owned()], ["/b/".to_owned()]);
        let words = Words { volumes: &one, mounts: &[], tmpfs: &other, devices: &[] };
        assert_eq!(parse_all(&words).unwrap_err().text(), "duplicate mount point: \"/b\"");
    }
}
