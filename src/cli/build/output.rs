//! `--output`, `--annotation` and `--metadata-file`: what becomes of the image, as buildx has it.

use std::io::{IsTerminal as _, Write};

use super::digest;
use super::fields::Value;
use crate::catalog::export::{self, Annotation, KINDS, Kind, Level, Manner, Place, To};
use crate::catalog::push;
use crate::catalog::resolve::new_name;
use crate::cli::whole_file::{self, WholeFile};
use crate::error::{Context as _, Error, Result};
use crate::event::Listener;
use crate::image::descriptor::Descriptor;
use crate::image::digest::ImageId;
use crate::image::json;
use crate::image::reference::Reference;
use crate::session::Session;
use crate::sys::flow::Outflow;

/// What is typed, and then done when the image is there.
#[derive(Debug, Default)]
pub struct Outputs {
    list: Vec<Output>,
    metadata: Option<String>,
    names: Vec<Reference>,
    /// What goes to registries.
    pushed: Vec<Reference>,
}

#[derive(Debug)]
struct Output {
    kind: &'static Kind,
    to: Dest,
    manner: Manner,
    is_pushed: bool,
    /// Whether its size and its digest are written beside it.
    has_digest: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Dest {
    Store,
    Stdout,
    File(String),
    Directory(String),
}

impl Outputs {
    /// Reads the options. `names`: those of `-t`; the image in the store gets those of outputs
    /// that stay there as well.
    pub fn parse(
        words: &[String],
        annotations: &[String],
        metadata: Option<String>,
        newest: Option<i64>,
        names: &mut Vec<Reference>,
        is_pushed: bool,
    ) -> Result<Outputs> {
        let mut list = Vec::new();
        for word in words {
            list.push(output(word)?);
        }
        for own in list.iter().filter(|output| output.to == Dest::Store) {
            add(names, &own.manner.names);
        }
        let is_pushed = is_pushed || list.iter().any(|output| output.is_pushed);
        if is_pushed && names.is_empty() {
            return Err(Error::usage("tag is needed when pushing to registry")
                .hint("name the image with -t REGISTRY/NAME:TAG"));
        }
        let pushed = if is_pushed { names.clone() } else { Vec::new() };
        let mut all = Vec::new();
        for word in annotations {
            annotation(word, &mut all)?;
        }
        let mut all_names = names.clone();
        let mut is_taken = all.is_empty();
        let mut stdout = 0;
        for own in &mut list {
            own.manner.newest = newest;
            stdout += usize::from(own.to == Dest::Stdout);
            if own.to != Dest::Store && own.kind.takes("annotation.KEY") {
                is_taken = true;
                own.manner.style.annotations.extend_from_slice(&all);
                add(&mut own.manner.names, names);
            }
            add(&mut all_names, &own.manner.names);
        }
        if stdout > 1 {
            return Err(Error::usage("only one output can go to standard output"));
        }
        if !is_taken {
            return Err(Error::usage("--annotation: no output of this build has annotations")
                .hint("add an archive: --output type=oci,dest=FILE"));
        }
        Ok(Outputs { list, metadata, names: all_names, pushed })
    }

    /// Whether standard output is an output's.
    pub fn take_stdout(&self) -> bool {
        self.list.iter().any(|output| output.to == Dest::Stdout)
    }

    /// Takes away what would be mistaken for the result of a build that fails.
    pub fn begin(&self) -> Result<()> {
        self.metadata.as_deref().map_or(Ok(()), whole_file::remove)
    }

    /// Makes all outputs of the image.
    pub fn make(
        &self,
        session: &Session,
        image: ImageId,
        stdout: Option<&mut dyn Outflow>,
        listener: &mut dyn Listener,
    ) -> Result<()> {
        let mut stdout = stdout;
        let mut manifest = None;
        for own in &self.list {
            let mut make = |to: To<'_>| -> Result<()> {
                let made = export::export(session, image, own.kind, &own.manner, to, listener)?;
                manifest = made.or(manifest.take());
                Ok(())
            };
            match &own.to {
                Dest::Store => {}
                Dest::Directory(path) => make(To::Directory(path))?,
                Dest::Stdout => {
                    if let Some(out) = stdout.take() {
                        make(To::Stream(out)).context(|| "write to standard output")?;
                    }
                }
                Dest::File(path) => {
                    let mut file = WholeFile::create(path, 0o666)?;
                    let made = match own.kind.place {
                        Place::Image => {
                            let (path, file) = file.place().ok_or_else(no_plain_file)?;
                            make(To::Image { file, path: &path })
                        }
                        _ => make(To::Stream(&mut file)),
                    };
                    made.context(|| format!("write to {path:?}"))?;
                    match own.has_digest {
                        true => digest::finish(path, file)?,
                        false => file.finish()?,
                    }
                }
            }
        }
        for name in &self.pushed {
            push::push(session, &name.to_string(), false, listener)
                .map(|_| ())
                .context(|| format!("push {name}"))?;
        }
        match &self.metadata {
            Some(path) => self.tell(path, &image, manifest.as_ref()),
            None => Ok(()),
        }
    }

    /// Writes the metadata file: what is known of the result, under buildx's names.
    fn tell(&self, path: &str, image: &ImageId, manifest: Option<&Descriptor>) -> Result<()> {
        let mut all = json::Value::Null;
        all.set("containerimage.config.digest", Some(json::Value::string(image.to_string())));
        if let Some(manifest) = manifest {
            all.set("containerimage.descriptor", Some(manifest.to_json()));
            all.set("containerimage.digest", Some(json::Value::string(manifest.digest.to_string())));
        }
        if !self.names.is_empty() {
            let full = |name: &Reference| format!("{}:{}", name.full_name(), name.tag_or_latest());
            let names: Vec<String> = self.names.iter().map(full).collect();
            all.set("image.name", Some(json::Value::string(names.join(","))));
        }
        let mut file = WholeFile::create(path, 0o666)?;
        file.write_all(all.to_pretty().as_bytes()).context(|| format!("write to {path:?}"))?;
        file.finish()
    }
}

/// Each name once.
fn add(names: &mut Vec<Reference>, more: &[Reference]) {
    for name in more {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
}

fn output(word: &str) -> Result<Output> {
    let value = Value { option: "output", word };
    let short = |kind: &str| (kind.to_owned(), vec![("dest".to_owned(), word.to_owned())]);
    let (name, fields) = match word {
        "-" => short("tar"),
        _ if !word.contains(['=', ',', '"']) && !word.is_empty() => short("local"),
        _ => value.split()?,
    };
    // buildx's short form of an image that is pushed.
    let mut is_pushed = name == "registry";
    let known = if is_pushed { "image" } else { name.as_str() };
    let Some(kind) = KINDS.iter().find(|kind| kind.name == known) else {
        let known: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        return Err(value.unknown("type", &name, &known.join(", ")));
    };
    let (mut manner, mut dest, mut is_tar) = (Manner::default(), String::new(), true);
    let mut level = None;
    manner.compression = kind.compressions.first().copied();
    let mut wants_digest = None;
    for (key, text) in fields {
        let note = key.strip_prefix("annotation").and_then(|rest| rest.split_once('.'));
        if !kind.takes(if note.is_some() { "annotation.KEY" } else { &key }) {
            return Err(value.unknown("key", &key, &kind.keys.join(", ")));
        }
        match (key.as_str(), text.as_str()) {
            ("dest", _) => dest = text,
            ("name", _) => {
                for name in text.split(',') {
                    manner.names.push(new_name(name.trim())?);
                }
            }
            ("push", "true" | "1") => is_pushed = true,
            ("tar", "false" | "0") => is_tar = false,
            ("tar", "true" | "1") | ("push", "false" | "0") => {}
            ("compression", name) => {
                manner.compression = kind.compressions.iter().find(|known| **known == name).copied();
                if manner.compression.is_none() {
                    return Err(value.unknown("compression", name, &kind.compressions.join(", ")));
                }
            }
            ("digest", "true" | "1") => wants_digest = Some(true),
            ("digest", "false" | "0") => wants_digest = Some(false),
            ("size", text) => {
                let size = export::parse_size(text);
                manner.size = Some(size.ok_or_else(|| value.wrong("it is no size, such as 64M"))?);
            }
            ("compression-level", _) => {
                let number = text.parse().ok().filter(|number: &u8| *number <= 9);
                let number = number.ok_or_else(|| value.wrong("it is no level from 0 to 9"));
                level = Some(number?);
            }
            _ => {
                let Some((level, key)) = note else {
                    return Err(value.wrong(&format!("{key} is true or false")));
                };
                let level = level_of(level.strip_prefix('-').unwrap_or(level))?;
                let key = key.to_owned();
                manner.style.annotations.push(Annotation { level, key, value: text });
            }
        }
    }
    let to = place(kind, dest, is_tar, value)?;
    let is_plain = manner.compression == Some("uncompressed");
    if wants_digest == Some(true) && !matches!(to, Dest::File(_)) {
        return Err(value.wrong("a digest goes beside a file: name a dest"));
    }
    let has_digest = wants_digest.unwrap_or(kind.is_image) && matches!(to, Dest::File(_));
    if has_digest && word.contains('\n') {
        return Err(value.wrong("a name with a line break has no digest file"));
    }
    if is_plain && level.is_some() {
        return Err(value.wrong("what is uncompressed has no level"));
    }
    // 6 is gzip's own default.
    manner.style.gzip = (!is_plain).then_some(level.unwrap_or(6));
    if to == Dest::Store && (is_plain || level.is_some() || !manner.style.annotations.is_empty()) {
        return Err(value.wrong("an image in the store has none of this: name a dest"));
    }
    Ok(Output { kind, to, manner, is_pushed, has_digest })
}

fn no_plain_file() -> Error {
    Error::usage("it is no plain file").hint("write to a file first, and that to the device")
}

/// Where it goes, by buildx's rules.
fn place(kind: &Kind, dest: String, is_tar: bool, value: Value<'_>) -> Result<Dest> {
    let is_file = is_tar && kind.place != Place::Directory;
    let is_dir = std::fs::metadata(&dest).ok().map(|data| data.is_dir());
    match (dest.as_str(), is_file) {
        ("" | "-", _) if kind.place == Place::Image => Err(value.wrong("dest must be a file")),
        _ if kind.place == Place::Store => Ok(Dest::Store),
        ("", _) if kind.place == Place::FileOrStore => Ok(Dest::Store),
        ("" | "-", false) => Err(value.wrong("dest must be a directory")),
        ("" | "-", true) if std::io::stdout().is_terminal() => {
            Err(value.wrong("dest is required: refusing to write to a terminal"))
        }
        ("" | "-", true) => Ok(Dest::Stdout),
        (_, true) if is_dir == Some(true) => Err(value.wrong("dest is a directory")),
        (_, true) => Ok(Dest::File(dest)),
        (_, false) if is_dir == Some(false) => Err(value.wrong("dest is no directory")),
        (_, false) => Ok(Dest::Directory(dest)),
    }
}

/// `[LEVEL[,LEVEL]:]KEY=VALUE`.
fn annotation(word: &str, all: &mut Vec<Annotation>) -> Result<()> {
    let Some((key, value)) = word.split_once('=').filter(|(key, _)| !key.is_empty()) else {
        return Err(Error::usage(format!("invalid annotation {word:?}: write KEY=VALUE")));
    };
    let (levels, key) = key.split_once(':').unwrap_or(("", key));
    for level in levels.split(',') {
        let (key, value) = (key.to_owned(), value.to_owned());
        all.push(Annotation { level: level_of(level)?, key, value });
    }
    Ok(())
}

fn level_of(word: &str) -> Result<Level> {
    match word {
        "" | "manifest" => Ok(Level::Manifest),
        "manifest-descriptor" => Ok(Level::Descriptor),
        "index" => Ok(Level::Index),
        other => Err(Error::usage(format!("unknown level {other:?} of an annotation"))
            .hint("there are: manifest, manifest-descriptor, index")),
    }
}
