//! Carries out a copy: sources of a tree, here-documents and local archives, into the image.

use std::ffi::CString;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::chmod::Chmod;
use super::copy_tree::{Copier, Skip, Style};
use super::git::{Known, Repository};
use super::remote::Remote;
use super::source::{Found, Tree};
use crate::error::{Context, Error, Kind, Result};
use crate::instruction::{CopyEffect, Source, is_git};
use crate::layer;
use crate::pattern::Ignore;
use crate::sandbox::{Identity, group_id, parse_id};
use crate::store::PIECE;
use crate::sys::flow::{Inflow, read_most};
use crate::sys::fs::{
    NewDir, make_dir, make_dirs_in_root, open_dir, open_in_root, resolve_in_root, set_owner,
    write_all,
};

/// Hears of bytes before they are written, and can refuse them.
pub type Will<'a> = &'a mut dyn FnMut(u64) -> Result<()>;

/// What a copy's sources turned out to be.
pub struct Sources {
    items: Vec<Item>,
    excludes: Ignore,
}

enum Item {
    Found { found: Found, pivot: PathBuf },
    Text { name: String, content: String },
    Git(Repository, String),
    Remote(Arc<Remote>),
}

impl Sources {
    /// Looks all sources up in the tree that they come from; `remotes` are those of addresses, in
    /// their order.
    pub fn find(
        effect: &CopyEffect,
        tree: Option<&Tree>,
        remotes: Vec<Arc<Remote>>,
        known: &Known,
    ) -> Result<Sources> {
        let mut items = Vec::new();
        let mut remotes = remotes.into_iter();
        for source in &effect.sources {
            match source {
                Source::Text { name, content } => {
                    items.push(Item::Text { name: name.clone(), content: content.clone() });
                }
                Source::Path(path) => {
                    let tree = tree.ok_or_else(|| {
                        Error::input(format!("{path:?}: not found: there is no build context"))
                    })?;
                    // `--parents`: what stands before `/./` is not made again.
                    let (pivot, _) = path.split_once("/./").unwrap_or(("", path));
                    let pivot: PathBuf = Path::new(pivot).components().filter(is_name).collect();
                    for found in tree.find(path, effect.parents)? {
                        items.push(Item::Found { found, pivot: pivot.clone() });
                    }
                }
                Source::Url(_) => items.extend(remotes.next().map(Item::Remote)),
                Source::Git(address) => {
                    let checksum = effect.checksum.as_deref();
                    let keeps = effect.keep_git_dir;
                    let repository = Repository::ask(address, keeps, checksum, known)?;
                    items.push(Item::Git(repository, place(address).to_owned()));
                }
            }
        }
        let excludes = Ignore::from_patterns(effect.excludes.iter().map(String::as_str))?;
        Ok(Sources { items, excludes })
    }

    /// The digest of everything that would be copied.
    pub fn digest(&self, tree: Option<&Tree>) -> Result<[u8; 32]> {
        let mut hasher = blake3::Hasher::new();
        for item in &self.items {
            match (item, tree) {
                (Item::Found { found, .. }, Some(tree)) => {
                    tree.digest(found, &self.excludes, &mut hasher)?;
                }
                (Item::Git(repository, _), _) => repository.digest(&mut hasher),
                (Item::Remote(remote), _) => remote.digest(&mut hasher),
                _ => {}
            }
        }
        Ok(*hasher.finalize().as_bytes())
    }

    /// Which of the files of a context are not what they were before this build, in words.
    pub fn changes(&self, tree: &Tree) -> Result<Option<String>> {
        let mut found = self.items.iter().filter_map(|item| match item {
            Item::Found { found, .. } => Some(found),
            _ => None,
        });
        tree.changes(&mut found, &self.excludes)
    }

    /// Those that come from elsewhere, and may not be here yet.
    pub fn remotes(&self) -> impl Iterator<Item = &Remote> {
        self.items.iter().filter_map(|item| match item {
            Item::Remote(remote) => Some(&**remote),
            _ => None,
        })
    }

    /// Repositories, which are not here yet, and their places.
    pub fn repositories(&self) -> impl Iterator<Item = (&Repository, &str)> {
        self.items.iter().filter_map(|item| match item {
            Item::Git(repository, place) => Some((repository, place.as_str())),
            _ => None,
        })
    }
}

/// What several addresses have in common when they mean parts of the same: that of a git
/// repository has a reference and a directory.
pub fn place(address: &str) -> &str {
    match is_git(address) {
        true => address.split(['#', '?']).next().unwrap_or_default(),
        false => address,
    }
}

fn is_name(part: &std::path::Component<'_>) -> bool {
    matches!(part, std::path::Component::Normal(_))
}

/// A copy being carried out.
struct Job<'a> {
    effect: &'a CopyEffect,
    root: BorrowedFd<'a>,
    owner: Option<(u32, u32)>,
    chmod: Option<Chmod>,
    excludes: &'a Ignore,
    is_context: bool,
    /// Archives are unpacked.
    unpack: bool,
}

/// Puts the sources into the image at `root`; `will` hears of the bytes before they are written.
pub fn copy(
    effect: &CopyEffect,
    sources: &Sources,
    tree: Option<&Tree>,
    root: BorrowedFd<'_>,
    will: Will<'_>,
) -> Result<()> {
    let keeps_owner = tree.is_some_and(|tree| tree.keeps_owner);
    let chown = effect.chown.as_deref().map(|text| owner(root, text)).transpose()?;
    let mut job = Job {
        effect,
        root,
        owner: chown.or((!keeps_owner).then_some((0, 0))),
        chmod: effect.chmod.as_deref().map(Chmod::parse).transpose()?,
        excludes: &sources.excludes,
        is_context: !keeps_owner,
        unpack: effect.unpack,
    };
    let dest = Path::new(&effect.dest);
    if sources.items.is_empty() {
        // WORKDIR, or patterns without matches.
        if effect.sources.is_empty() {
            job.make_dirs(dest)?;
        }
        return Ok(());
    }
    if effect.link {
        let path = if effect.dest.ends_with('/') { Some(dest) } else { dest.parent() };
        job.replace_links(path.unwrap_or(dest))?;
    }
    // A directory or an archive in front makes the destination one for those behind it.
    let begins_with_dir = match (sources.items.as_slice(), tree) {
        ([Item::Found { found, .. }, _, ..], Some(tree)) => {
            let is_file = FileType::from_raw_mode(found.stat.st_mode) == FileType::RegularFile;
            found.is_dir() || (effect.unpack && is_file && is_archive(tree, found)?)
        }
        _ => false,
    };
    let dest_is_dir = effect.dest.ends_with('/') || begins_with_dir || {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        open_in_root(root, dest, flags, Mode::empty()).is_ok()
    };
    if sources.items.len() > 1 && !dest_is_dir && !effect.parents {
        return Err(Error::input(format!(
            "when using {} with more than one source file, the destination must be a directory and end with a /",
            if effect.is_add { "ADD" } else { "COPY" }
        )));
    }
    for item in &sources.items {
        let is_remote = matches!(item, Item::Remote(_));
        job.unpack = if is_remote { effect.unpack_urls } else { effect.unpack };
        match (item, tree) {
            (Item::Text { name, content }, _) => {
                let target = if dest_is_dir { dest.join(name) } else { dest.to_owned() };
                will(content.len() as u64)?;
                job.text(content, &target, !dest_is_dir).context(|| format!("write {target:?}"))?;
            }
            (Item::Found { found, pivot }, Some(tree)) => {
                job.found(tree, found, pivot, (dest, dest_is_dir), will)
                    .context(|| format!("copy {:?}", found.path))?;
            }
            (Item::Git(repository, _), _) => {
                let copied = repository.found().and_then(|(tree, found)| {
                    job.found(tree, &found, Path::new(""), (dest, dest_is_dir), will)
                });
                copied.context(|| format!("copy {}", repository.shown()))?;
            }
            (Item::Remote(remote), _) => {
                let (held, found) = remote.found()?;
                job.found(&held.tree, &found, Path::new(""), (dest, dest_is_dir), will)
                    .context(|| format!("copy {:?}", found.path))?;
            }
            (Item::Found { .. }, None) => {}
        }
    }
    Ok(())
}

/// `--chown`: names are looked up in the image; a number alone is user and group.
fn owner(root: BorrowedFd<'_>, text: &str) -> Result<(u32, u32)> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let found = |error: Error| {
        error.hint("--chown takes names of the image's /etc/passwd and /etc/group, or numbers")
    };
    let uid_number = parse_id(user)?;
    let identity = Identity::resolve(root, user).map_err(found)?;
    let gid = match group {
        Some(group) if !group.is_empty() => match (parse_id(group)?, group_id(root, group)?) {
            (_, Some(gid)) | (Some(gid), None) => gid,
            (None, None) => {
                let text =
                    format!("unable to find group {group}: no matching entries in group file");
                return Err(found(Error::input(text)));
            }
        },
        _ => uid_number.unwrap_or(identity.gid),
    };
    Ok((identity.uid, gid))
}

impl Job<'_> {
    /// The mode of what is copied, from that of its source.
    fn mode(&self, mode: u32, is_dir: bool) -> u32 {
        self.chmod.as_ref().map_or(mode, |chmod| chmod.apply(mode, is_dir))
    }

    /// How directories are made that the destination lacks.
    fn new_dir(&self) -> NewDir {
        let owner = self.effect.chown.as_ref().and(self.owner);
        NewDir { mode: self.mode(0o755, true), owner: owner.unwrap_or((0, 0)) }
    }

    fn make_dirs(&self, path: &Path) -> Result<OwnedFd> {
        let made = make_dirs_in_root(self.root, path, self.new_dir());
        made.map_err(|error| error.during("destination"))
    }

    /// `--link`: the copy does not look at what is there, so a link on the way gives place to a
    /// directory.
    fn replace_links(&self, dest: &Path) -> Result<()> {
        let mut dir = open_dir(self.root, ".")?;
        for part in dest.components().filter(is_name) {
            let name = part.as_os_str();
            match open_dir(dir.as_fd(), name) {
                Ok(next) => dir = next,
                Err(Errno::LOOP | Errno::NOTDIR) => {
                    rustix::fs::unlinkat(&dir, name, AtFlags::empty())?;
                    return Ok(());
                }
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Opens the directory that a file comes into, and gives its name there. With `follow` a
    /// link in its place leads to where it is; otherwise the link is replaced.
    fn place(&self, target: &Path, follow: bool) -> Result<(OwnedFd, CString)> {
        let (dir, name) = if follow {
            let new = self.new_dir();
            resolve_in_root(self.root, target, &mut |parent, name, is_last| {
                if is_last { Ok(()) } else { make_dir(parent, name, new) }
            })
            .map_err(|error| error.during("destination"))?
        } else {
            let name = target.file_name().unwrap_or_default().to_owned();
            (self.make_dirs(target.parent().unwrap_or(Path::new("/")))?, name)
        };
        if name.is_empty() || name == "." {
            return Err(Error::input("the destination has no name"));
        }
        let name =
            CString::new(name.as_bytes()).map_err(|_| Error::input("a NUL byte in a name"))?;
        Ok((dir, name))
    }

    fn text(&self, content: &str, target: &Path, follow: bool) -> Result<()> {
        let (dir, name) = self.place(target, follow)?;
        match rustix::fs::unlinkat(&dir, &name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(other) => return Err(other.into()),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&dir, &name, flags, Mode::from_raw_mode(0o600))?;
        write_all(file.as_fd(), content.as_bytes())?;
        let (uid, gid) = self.owner.unwrap_or((0, 0));
        set_owner(file.as_fd(), uid, gid)?;
        Ok(rustix::fs::fchmod(&file, Mode::from_raw_mode(self.mode(0o644, false)))?)
    }

    fn found(
        &self,
        tree: &Tree,
        found: &Found,
        pivot: &Path,
        (dest, dest_is_dir): (&Path, bool),
        will: Will<'_>,
    ) -> Result<()> {
        let kind = FileType::from_raw_mode(found.stat.st_mode);
        if self.unpack && kind == FileType::RegularFile && is_archive(tree, found)? {
            return self.unpack(tree, found, dest, will);
        }
        let base = found.real.clone();
        let mut skip = |path: &Path, is_dir: bool| {
            let full = base.join(path);
            let ignored = self.is_context && tree.ignores(&full);
            let excluded =
                !self.excludes.is_empty() && self.excludes.excludes(path.as_os_str().as_bytes());
            if !ignored && !excluded {
                return Skip::No;
            }
            let inside = is_dir
                && (!ignored || tree.may_include_below(&full))
                && (!excluded || self.excludes.may_include_below(path.as_os_str().as_bytes()));
            if inside { Skip::LookInside } else { Skip::All }
        };
        let mode = |mode: u32, is_dir: bool| self.mode(mode, is_dir);
        let style = Style { owner: self.owner, mode: &mode, skip: &mut skip };
        let mut copier = Copier::new(style, will);
        if self.effect.parents {
            let inner = found.path.strip_prefix(pivot).unwrap_or(&found.path);
            let target = dest.join(inner);
            if found.is_dir() {
                let to = self.make_dirs(&target)?;
                return copier.contents(tree.open_dir(&found.real)?.as_fd(), to.as_fd());
            }
            let (to, name) = self.place(&target, false)?;
            return self.file(tree, found, &mut copier, to.as_fd(), &name);
        }
        if found.is_dir() {
            self.not_in_the_way(dest)?;
            let to = self.make_dirs(dest)?;
            return copier.contents(tree.open_dir(&found.real)?.as_fd(), to.as_fd());
        }
        let target = if dest_is_dir {
            dest.join(std::ffi::OsStr::from_bytes(found.name()?.as_bytes()))
        } else {
            dest.to_owned()
        };
        let (to, name) = self.place(&target, !dest_is_dir)?;
        self.file(tree, found, &mut copier, to.as_fd(), &name)
    }

    fn file(
        &self,
        tree: &Tree,
        found: &Found,
        copier: &mut Copier<'_>,
        to: BorrowedFd<'_>,
        name: &CString,
    ) -> Result<()> {
        if !self.excludes.is_empty() && self.excludes.excludes(found.path.as_os_str().as_bytes()) {
            return Ok(());
        }
        let parent = tree.open_dir(found.real.parent().unwrap_or(Path::new("")))?;
        let source = found.real.file_name().unwrap_or_default();
        let source =
            CString::new(source.as_bytes()).map_err(|_| Error::input("a NUL byte in a name"))?;
        copier.entry(parent.as_fd(), &source, to, name)
    }

    /// A directory does not replace a file.
    fn not_in_the_way(&self, dest: &Path) -> Result<()> {
        match open_in_root(self.root, dest, OFlags::PATH, Mode::empty()) {
            Ok(there) => {
                let mode = rustix::fs::fstat(&there)?.st_mode;
                if FileType::from_raw_mode(mode) != FileType::Directory {
                    return Err(Error::input(format!(
                        "cannot copy to non-directory: {dest:?} is a file in the image"
                    )));
                }
                Ok(())
            }
            Err(_) => Ok(()),
        }
    }

    fn unpack(&self, tree: &Tree, found: &Found, dest: &Path, will: Will<'_>) -> Result<()> {
        let file = std::fs::File::from(tree.open_file(&found.real)?);
        let (_, mut tar) = layer::compress::decompress(Box::new(file))?;
        let owner = self.effect.chown.as_ref().and(self.owner);
        let dest = dest.to_str().ok_or_else(|| Error::input("the destination is not UTF-8"))?;
        let mut tar = Heard { tar: &mut tar, will };
        layer::unpack_into(&mut tar, self.root, dest, owner).map(|_| ())
    }
}

/// Reads what is unpacked next, and says so before.
struct Heard<'a> {
    tar: &'a mut dyn Inflow,
    will: Will<'a>,
}

impl Read for Heard<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = buffer.len().min(PIECE);
        let count = self.tar.read(buffer.get_mut(..most).unwrap_or_default())?;
        (self.will)(count as u64)?;
        Ok(count)
    }
}

/// Whether a file is a tar, compressed or not, by its content as docker sees it: what is damaged
/// at its very start is a file like any other. What this lath cannot or will not decompress, or
/// what is damaged further on, may be a tar, so that it is told.
fn is_archive(tree: &Tree, found: &Found) -> Result<bool> {
    let file = std::fs::File::from(tree.open_file(&found.real)?);
    let (_, mut content) = layer::compress::decompress(Box::new(file)).map_err(as_it_is)?;
    let mut block = Vec::new();
    match read_most(&mut content, 512, &mut block).map_err(Error::from) {
        Ok(_) => Ok(layer::reader::is_header(&block)),
        Err(error) if matches!(error.kind(), Kind::Unsupported | Kind::Input) => {
            Err(as_it_is(error))
        }
        Err(_) => Ok(false),
    }
}

fn as_it_is(error: Error) -> Error {
    error.hint("COPY takes the file as it is")
}
