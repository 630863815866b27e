//! The build context and its Dockerfile: what the user points at, before anything is read from it.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

use super::source::Tree;
use crate::error::{Context as _, Error, Result};
use crate::pattern::Ignore;
use crate::sys::fs::{open_in_root, read_bounded};

/// Where the Dockerfile and the files for COPY are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The directory, or `-` for a Dockerfile on standard input without one.
    pub context: String,
    /// `-f`: the Dockerfile, `-` for standard input.
    pub dockerfile: Option<String>,
}

/// An open context.
pub struct BuildContext {
    /// The Dockerfile's name for messages.
    pub dockerfile: String,
    /// Its text.
    pub text: Vec<u8>,
    /// The files; none when the Dockerfile came alone.
    pub tree: Option<Tree>,
}

impl BuildContext {
    /// Opens a context and reads its Dockerfile.
    pub fn open(place: &Place) -> Result<BuildContext> {
        if place.context == "-" {
            if place.dockerfile.is_some() {
                return Err(Error::unsupported(
                    "a context on standard input with -f is not supported yet",
                ));
            }
            let text = read_stdin()?;
            return Ok(BuildContext { dockerfile: "Dockerfile".into(), text, tree: None });
        }
        if place.context.contains("://") || place.context.starts_with("git@") {
            let text = format!("a context from {:?} is not supported yet", place.context);
            return Err(Error::unsupported(text).hint("fetch it into a directory and build that"));
        }
        let root = open_directory(&place.context)?;
        let (dockerfile, text, beside) = match place.dockerfile.as_deref() {
            Some("-") => ("Dockerfile".to_owned(), read_stdin()?, None),
            Some(file) => {
                let (name, text) = read_named(root.as_fd(), &place.context, file)?;
                (name.clone(), text, Some(PathBuf::from(name)))
            }
            None => {
                let (name, text) = read_default(root.as_fd(), &place.context)?;
                let path = Path::new(&place.context).join(&name);
                (name, text, Some(path))
            }
        };
        let ignore = ignore(root.as_fd(), beside.as_deref())?;
        Ok(BuildContext { dockerfile, text, tree: Some(Tree::new(root, ignore, false)) })
    }
}

fn open_directory(path: &str) -> Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
        rustix::io::Errno::NOENT => {
            Error::not_found(format!("unable to prepare context: path {path:?} not found"))
        }
        rustix::io::Errno::NOTDIR => {
            Error::input(format!("unable to prepare context: {path:?} is not a directory"))
        }
        other => Error::from(other).during(format!("unable to prepare context: open {path:?}")),
    })
}

fn read_stdin() -> Result<Vec<u8>> {
    let mut start = [0u8; 512];
    let mut stdin = std::io::stdin().lock();
    let mut filled = 0;
    while let Some(rest) = start.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match stdin.read(rest).context(|| "read standard input")? {
            0 => break,
            count => filled += count,
        }
    }
    let start = start.get(..filled).unwrap_or_default();
    if crate::layer::reader::is_header(start)
        || crate::layer::compress::Format::detect(start) != crate::layer::compress::Format::Plain
    {
        return Err(Error::unsupported(
            "a context as a tar on standard input is not supported yet",
        )
        .hint("unpack it into a directory and build that"));
    }
    let mut text = start.to_vec();
    let rest = read_bounded(stdin_fd(), crate::dockerfile::MAX_BYTES).context(|| "Dockerfile")?;
    text.extend_from_slice(&rest);
    Ok(text)
}

fn stdin_fd() -> std::io::Stdin {
    std::io::stdin()
}

/// `-f FILE`: as the caller sees it, else inside the context.
fn read_named(
    root: std::os::fd::BorrowedFd<'_>,
    context: &str,
    file: &str,
) -> Result<(String, Vec<u8>)> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let (name, opened) = match rustix::fs::open(file, flags, Mode::empty()) {
        Ok(opened) => (file.to_owned(), opened),
        Err(rustix::io::Errno::NOENT) => {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK;
            let inside = open_in_root(root, file, flags, Mode::empty());
            let inside = only_a_file(inside.map_err(|_| no_dockerfile(file))?)
                .context(|| format!("failed to read dockerfile: {file:?}"))?;
            (format!("{}/{file}", context.trim_end_matches('/')), inside)
        }
        Err(other) => {
            return Err(other).context(|| format!("failed to read dockerfile: open {file:?}"));
        }
    };
    let text = read_bounded(opened, crate::dockerfile::MAX_BYTES)
        .context(|| format!("failed to read dockerfile: {file:?}"))?;
    Ok((name, text))
}

fn read_default(root: std::os::fd::BorrowedFd<'_>, context: &str) -> Result<(String, Vec<u8>)> {
    for name in ["Dockerfile", "dockerfile"] {
        match open_in_root(root, name, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()) {
            Ok(opened) => {
                let opened = only_a_file(opened)
                    .context(|| format!("failed to read dockerfile: {name:?}"))?;
                let text = read_bounded(opened, crate::dockerfile::MAX_BYTES)
                    .context(|| format!("failed to read dockerfile: {name:?}"))?;
                return Ok((name.to_owned(), text));
            }
            Err(rustix::io::Errno::NOENT) => {}
            Err(other) => {
                return Err(other).context(|| format!("failed to read dockerfile: open {name}"));
            }
        }
    }
    let path = Path::new(context).join("Dockerfile");
    Err(no_dockerfile(&path.to_string_lossy()))
}

fn no_dockerfile(path: &str) -> Error {
    Error::not_found(format!("failed to read dockerfile: open {path}: no such file or directory"))
        .hint("write a Dockerfile there, or name another one with -f")
}

/// `NAME.dockerignore` beside the Dockerfile, else `.dockerignore` in the context.
fn ignore(root: std::os::fd::BorrowedFd<'_>, dockerfile: Option<&Path>) -> Result<Ignore> {
    const LIMIT: usize = 1 << 20;
    if let Some(dockerfile) = dockerfile {
        let mut name = dockerfile.as_os_str().to_owned();
        name.push(".dockerignore");
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        if let Ok(file) = rustix::fs::open(Path::new(&name), flags, Mode::empty()) {
            let file = only_a_file(file).context(|| format!("read {name:?}"))?;
            let text = read_bounded(file, LIMIT).context(|| format!("read {name:?}"))?;
            return Ignore::parse(&text).context(|| format!("{name:?}"));
        }
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    match open_in_root(root, ".dockerignore", flags, Mode::empty()) {
        Ok(file) => {
            let file = only_a_file(file).context(|| "read .dockerignore")?;
            let text = read_bounded(file, LIMIT).context(|| "read .dockerignore")?;
            Ignore::parse(&text).context(|| ".dockerignore")
        }
        Err(rustix::io::Errno::NOENT) => Ok(Ignore::default()),
        Err(other) => Err(other).context(|| "open .dockerignore"),
    }
}

/// A context may be somebody else's: a pipe in it would make lath wait for ever.
fn only_a_file(opened: OwnedFd) -> Result<OwnedFd> {
    match FileType::from_raw_mode(rustix::fs::fstat(&opened)?.st_mode) {
        FileType::RegularFile => Ok(opened),
        _ => Err(Error::input("it is not a regular file")),
    }
}
