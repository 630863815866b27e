//! An archive as a file whose members can be read in any order.
//!
//! A plain tar in a regular file is read where it lies; anything else (a pipe, gzip) is written
//! to a nameless file in the scratch first. A directory does as well, as an unpacked archive.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::image::digest::Digest;
use crate::image::json::MAX_BYTES;
use crate::layer::compress::{Format, decompress};
use crate::layer::entry::{Node, clamped_components};
use crate::layer::reader::{Reader, is_header};
use crate::layer::verify::HashingReader;
use crate::layer::writer::{BLOCK, padding};
use crate::store::{Announced, Scratch, Store};
use crate::sys::flow::Inflow;
use crate::sys::fs::{copy_stream, open_in_root};
use crate::sys::signal;

/// More members than any program writes.
const MAX_MEMBERS: usize = 100_000;
/// Of all names and targets together; those of a hundred thousand blobs are 8 MB.
const MAX_NAMES: usize = 16 << 20;
const MAX_LINKS: usize = 8;

/// An archive whose members can be found by name.
pub enum Tape {
    /// A tar, and where its members are.
    File(Arc<File>, BTreeMap<String, Member>),
    /// A directory. Links in it do not lead out of it.
    Folder(OwnedFd),
}

/// What a tar has under a name.
pub enum Member {
    /// Where its content begins, and how long it is.
    File(u64, u64),
    /// Another member; docker's archives share layers so.
    Link(String),
}

/// An image in an archive, not looked into yet.
pub struct Candidate {
    /// Names as they stand there.
    pub names: Vec<String>,
    /// Its config.
    pub config: Blob,
    /// Its layers, lowest first.
    pub layers: Vec<Blob>,
}

/// Some bytes of an archive, with what they must be.
#[derive(Clone, Debug)]
pub struct Blob {
    /// In a directory the file, in a tar nothing.
    name: String,
    begin: u64,
    size: u64,
    /// The digest that was promised, where one was.
    pub digest: Option<Digest>,
}

impl Tape {
    /// Reads what members there are.
    pub fn open(input: OwnedFd, store: &Store, scratch: &Scratch) -> Result<Tape> {
        let mut file = to_plain_file(input, store, scratch)?;
        let members = scan(&mut file)?;
        Ok(Tape::File(Arc::new(file), members))
    }

    /// Whether a member is there.
    pub fn has(&self, name: &str) -> bool {
        self.blob(name, None).is_ok()
    }

    /// A member; `digest` is what it must have.
    pub fn blob(&self, name: &str, digest: Option<Digest>) -> Result<Blob> {
        let missing = || Error::not_found(format!("the archive lacks {name:?}"));
        let members = match self {
            Tape::File(_, members) => members,
            Tape::Folder(_) => {
                let size = self.open_file(name)?.ok_or_else(missing)?.metadata()?.len();
                return Ok(Blob { name: name.to_owned(), begin: 0, size, digest });
            }
        };
        let mut at = clean(name);
        for _ in 0..MAX_LINKS {
            match members.get(&at) {
                Some(Member::File(begin, size)) => {
                    return Ok(Blob { name: String::new(), begin: *begin, size: *size, digest });
                }
                Some(Member::Link(target)) => at.clone_from(target),
                None => break,
            }
        }
        Err(missing())
    }

    /// The file that holds a member; nothing when it is not there.
    fn open_file(&self, name: &str) -> Result<Option<Arc<File>>> {
        let root = match self {
            Tape::File(file, _) => return Ok(Some(file.clone())),
            Tape::Folder(root) => root,
        };
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let file = match open_in_root(root.as_fd(), name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(other) => return Err(other).context(|| format!("open {name:?}")),
        };
        match file.metadata()?.is_file() {
            true => Ok(Some(Arc::new(file))),
            false => Err(Error::input(format!("{name:?} is not a regular file"))),
        }
    }

    /// The content of a small member; its digest is checked before anybody sees it.
    pub fn text(&self, blob: &Blob) -> Result<Vec<u8>> {
        if blob.size > MAX_BYTES as u64 {
            return Err(Error::input(format!("it has {} bytes; 4 MiB are allowed", blob.size)));
        }
        let mut text = Vec::new();
        self.read(blob)?.read_to_end(&mut text)?;
        match blob.digest {
            Some(digest) if Digest::of(&text) != digest => Err(differs(&digest)),
            _ => Ok(text),
        }
    }

    /// The content of a member, as it lies there. What has a digest is to be verified before.
    pub fn read(&self, blob: &Blob) -> Result<Box<dyn Inflow>> {
        let gone = || Error::not_found(format!("{:?} is not there any more", blob.name));
        let file = self.open_file(&blob.name)?.ok_or_else(gone)?;
        let section = Section { file, at: blob.begin, end: blob.begin + blob.size };
        Ok(Box::new(BufReader::with_capacity(64 << 10, section)))
    }

    /// Reads a member once and holds it against its size and its digest.
    pub fn verify(&self, blob: &Blob, size: Option<u64>) -> Result<()> {
        if let Some(size) = size.filter(|size| *size != blob.size) {
            let text = format!("it has {} bytes and not {size}", blob.size);
            return Err(Error::corrupt(text));
        }
        match blob.digest {
            Some(digest) => {
                let mut content = self.read(blob)?;
                HashingReader::new(&mut content).verify(&digest, None)
            }
            None => Ok(()),
        }
    }
}

impl Blob {
    /// A part of it, as far as there is so much.
    pub fn from(&self, at: u64, most: u64) -> Blob {
        let at = at.min(self.size);
        let size = (self.size - at).min(most);
        Blob { begin: self.begin + at, size, digest: None, name: self.name.clone() }
    }

    /// How many bytes it has.
    pub fn size(&self) -> u64 {
        self.size
    }
}

/// That something is not what its digest promised.
pub fn differs(digest: &Digest) -> Error {
    Error::corrupt(format!("its content is not what its digest {digest} says"))
}

fn clean(name: &str) -> String {
    let parts = clamped_components(name.as_bytes());
    String::from_utf8_lossy(&parts.join(&b'/')).into_owned()
}

/// Where the members of a tar are.
fn scan(file: &mut File) -> Result<BTreeMap<String, Member>> {
    let mut members = BTreeMap::new();
    let length = file.metadata()?.len();
    let mut start = [0; BLOCK];
    let is_tar = file.read_exact_at(&mut start, 0).is_ok() && is_header(&start);
    if !is_tar {
        return Err(Error::input("it is not an archive of images"));
    }
    let mut position = 0;
    let mut names = 0;
    while position < length {
        signal::check()?;
        file.seek(SeekFrom::Start(position))?;
        let mut input = &*file;
        let mut reader = Reader::new(&mut input, None);
        let Some(entry) = reader.next_entry()? else { break };
        let begin = position + reader.position();
        let size = if let Node::File(size) = entry.node { size } else { 0 };
        let rest = length.checked_sub(begin);
        if rest.is_none_or(|rest| rest < size) {
            return Err(Error::input("the archive ends too early"));
        }
        position = begin + size + padding(size) as u64;
        let name = String::from_utf8_lossy(&entry.path);
        let name = clean(&name);
        let member = match &entry.node {
            Node::File(_) => Member::File(begin, size),
            Node::Link(target) => Member::Link(clean(&String::from_utf8_lossy(target))),
            Node::Symlink(target) => {
                let target = String::from_utf8_lossy(target);
                let directory = name.rsplit_once('/').map_or("", |(directory, _)| directory);
                Member::Link(clean(&format!("{directory}/{target}")))
            }
            _ => continue,
        };
        names += name.len();
        if let Member::Link(target) = &member {
            names += target.len();
        }
        members.insert(name, member);
        if names > MAX_NAMES {
            return Err(Error::input("the names of its files are too long"));
        }
        if members.len() > MAX_MEMBERS {
            return Err(Error::input(format!("it has more than {MAX_MEMBERS} files")));
        }
    }
    Ok(members)
}

fn to_plain_file(input: OwnedFd, store: &Store, scratch: &Scratch) -> Result<File> {
    let stat = rustix::fs::fstat(&input)?;
    let mut file = File::from(input);
    if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && file.stream_position()? == 0
    {
        let mut start = [0; Format::MAGIC_BYTES];
        let read = file.read_at(&mut start, 0)?;
        if Format::detect(start.get(..read).unwrap_or_default()) == Format::Plain {
            return Ok(file);
        }
    }
    let (_, mut plain) = decompress(Box::new(file))?;
    let spool = scratch.nameless_file()?;
    let mut plain = Announced { store, from: &mut plain };
    copy_stream(&mut plain, &mut &spool).context(|| "unpack the archive to the store's tmp")?;
    Ok(spool)
}

/// A part of a file, read without moving the file's own position.
struct Section {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        signal::check()?;
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let most = left.min(buffer.len());
        let read = self.file.read_at(buffer.get_mut(..most).unwrap_or_default(), self.at)?;
        if read == 0 && most > 0 {
            return Err(Error::input("the archive became shorter while it was read").into());
        }
        self.at += read as u64;
        Ok(read)
    }
}
