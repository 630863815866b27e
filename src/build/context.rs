//! The build context and its Dockerfile: what the user points at, before anything is read from it.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags};

use super::git;
use super::remote;
use super::source::Tree;
use crate::dockerfile::MAX_BYTES;
use crate::error::{Context as _, Error, Result};
use crate::instruction::is_git as is_git_address;
use crate::layer::compress::{Format, decompress};
use crate::layer::reader::is_header;
use crate::layer::unpack_into;
use crate::pattern::Ignore;
use crate::session::Session;
use crate::store::{Scratch, Store};
use crate::sys::flow::{Inflow, read_most};
use crate::sys::fs::{open_in_root, read_bounded};

/// Where the Dockerfile and the files for COPY are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The directory, a tar of one, or `-` or an http(s) address: a tar, or a Dockerfile alone.
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
    pub tree: Option<Arc<Tree>>,
    /// Holds the files of a context that came as a tar.
    _scratch: Option<Scratch>,
}

impl BuildContext {
    /// Opens a context and reads its Dockerfile.
    pub fn open(place: &Place, session: Option<&Session>) -> Result<BuildContext> {
        if place.context == "-" {
            let stdin = Box::new(std::io::stdin().lock());
            return BuildContext::from_stream(place, session, stdin, "standard input");
        }
        if is_git(&place.context) {
            return BuildContext::from_git(place, session);
        }
        if is_address(&place.context) {
            let body = remote::stream(&place.context)?;
            return BuildContext::from_stream(place, session, body, "what the server gives");
        }
        if let Some(file) = archive_file(&place.context)? {
            return BuildContext::from_stream(place, session, Box::new(file), "the file");
        }
        if place.context.contains("://") || place.context.starts_with("git@") {
            let text = format!("a context from {:?} is not supported yet", place.context);
            return Err(Error::unsupported(text).hint("fetch it into a directory and build that"));
        }
        let root = open_directory(&place.context)?;
        let (dockerfile, text, beside) = match place.dockerfile.as_deref() {
            Some("-") => (
                "Dockerfile".to_owned(),
                read_rest(&mut std::io::stdin().lock(), Vec::new())?,
                None,
            ),
            Some(file) if is_address(file) => {
                let text = read_rest(&mut remote::stream(file)?, Vec::new())?;
                ("Dockerfile".to_owned(), text, None)
            }
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
        let mut tree = Tree::new(root, ignore, false);
        if let Some(session) = session {
            tree = tree.remembered(&session.store);
        }
        Ok(BuildContext { dockerfile, text, tree: Some(Arc::new(tree)), _scratch: None })
    }

    /// A tar of a context, or a Dockerfile alone.
    fn from_stream(
        place: &Place,
        session: Option<&Session>,
        mut input: Box<dyn Inflow + '_>,
        what: &str,
    ) -> Result<BuildContext> {
        let says = || "read the context";
        let mut start = Vec::new();
        read_most(&mut input, 512, &mut start).context(says)?;
        if !may_be_tar(&start) {
            if place.dockerfile.as_deref().is_some_and(|file| file != "-") {
                let text = format!("{what} is a Dockerfile, so -f names a second one");
                return Err(Error::input(text).hint("leave -f away, or give a tar"));
            }
            let text = read_rest(&mut input, start)?;
            let dockerfile = "Dockerfile".to_owned();
            return Ok(BuildContext { dockerfile, text, tree: None, _scratch: None });
        }
        let session = session.ok_or_else(|| {
            Error::unsupported("a tar as the context needs a store").hint("unpack it first")
        })?;
        let scratch = session.scratch()?;
        let files = unpacked(Box::new(std::io::Cursor::new(start).chain(input)), &scratch)?;
        BuildContext::inside(files, place, scratch)
    }

    /// A context in a git repository.
    fn from_git(place: &Place, session: Option<&Session>) -> Result<BuildContext> {
        let session = session.ok_or_else(|| {
            Error::unsupported("a context from git needs a store").hint("clone it first")
        })?;
        let scratch = session.scratch()?;
        let files = git::fetch(&place.context, &scratch).context(|| "read the context")?;
        BuildContext::inside(files, place, scratch)
    }

    /// A context whose files were brought into the scratch, the Dockerfile among them.
    fn inside(files: OwnedFd, place: &Place, scratch: Scratch) -> Result<BuildContext> {
        let (dockerfile, text) = match place.dockerfile.as_deref() {
            Some(file) => {
                let flags = OFlags::RDONLY | OFlags::NONBLOCK;
                let opened = open_in_root(files.as_fd(), file, flags, Mode::empty());
                let text = only_a_file(opened.map_err(|_| no_dockerfile(file))?)
                    .and_then(|opened| read_bounded(opened, MAX_BYTES))
                    .context(|| format!("failed to read dockerfile: {file:?}"))?;
                (file.to_owned(), text)
            }
            None => read_default(files.as_fd(), "")?,
        };
        let ignore = ignore(files.as_fd(), None)?;
        let tree = Some(Arc::new(Tree::new(files, ignore, false)));
        Ok(BuildContext { dockerfile, text, tree, _scratch: Some(scratch) })
    }
}

/// Whether a context is in a git repository. docker also takes `github.com/OWNER/NAME`, where no
/// directory has that name.
fn is_git(context: &str) -> bool {
    is_git_address(context)
        || context.starts_with("github.com/") && std::fs::symlink_metadata(context).is_err()
}

/// A tar of `--build-context` at an address.
pub fn archive(address: &str, scratch: &Scratch) -> Result<Tree> {
    tree(unpacked(remote::stream(address)?, scratch)?)
}

/// The files of a tar, which go with the scratch.
fn unpacked(tar: Box<dyn Inflow + '_>, scratch: &Scratch) -> Result<OwnedFd> {
    let says = || "read the context";
    let files = scratch.workspace()?.make_dir("context", 0o755)?;
    let (_, mut tar) = decompress(tar).context(says)?;
    unpack_into(&mut tar, files.as_fd(), "/", Some((0, 0))).context(says)?;
    Ok(files)
}

/// Fetched over http(s), and no git repository.
fn is_address(text: &str) -> bool {
    (text.starts_with("http://") || text.starts_with("https://")) && !is_git(text)
}

/// A context that is one file, which must be a tar.
fn archive_file(path: &str) -> Result<Option<std::fs::File>> {
    let Ok(mut file) = std::fs::File::open(path) else { return Ok(None) };
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut start = Vec::new();
    read_most(&mut file, 512, &mut start).context(|| format!("read {path:?}"))?;
    if !may_be_tar(&start) {
        let text = format!("unable to prepare context: {path:?} is neither a directory nor a tar");
        return Err(Error::input(text).hint("-f names a Dockerfile; the context is its folder"));
    }
    std::io::Seek::rewind(&mut file)?;
    Ok(Some(file))
}

/// Whether something begins as a tar does, or as what is compressed.
fn may_be_tar(start: &[u8]) -> bool {
    is_header(start) || Format::detect(start) != Format::Plain
}

/// A directory of `--build-context`, with an ignore file of its own.
pub fn directory(path: &str, store: &Arc<Store>) -> Result<Tree> {
    Ok(tree(open_directory(path)?)?.remembered(store))
}

/// A tree of files of nobody, with an ignore file of its own.
pub fn tree(root: OwnedFd) -> Result<Tree> {
    let ignore = ignore(root.as_fd(), None)?;
    Ok(Tree::new(root, ignore, false))
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

/// The rest of a Dockerfile that streams in.
fn read_rest(input: &mut dyn Inflow, mut text: Vec<u8>) -> Result<Vec<u8>> {
    let limit = MAX_BYTES as u64 + 1;
    read_most(input, limit, &mut text).context(|| "read the Dockerfile")?;
    Ok(text)
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
    let text = read_bounded(opened, MAX_BYTES)
        .context(|| format!("failed to read dockerfile: {file:?}"))?;
    Ok((name, text))
}

fn read_default(root: std::os::fd::BorrowedFd<'_>, context: &str) -> Result<(String, Vec<u8>)> {
    for name in ["Dockerfile", "dockerfile"] {
        match open_in_root(root, name, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()) {
            Ok(opened) => {
                let opened = only_a_file(opened)
                    .context(|| format!("failed to read dockerfile: {name:?}"))?;
                let text = read_bounded(opened, MAX_BYTES)
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
