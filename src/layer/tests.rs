//! What the tests of this room share, and the tests that need trees on disk or other programs.

use std::fmt::Write as _;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{CWD, FileType, Mode};

use super::node;
use super::walk::{DIRECTORY, Visit, Walk};
use super::{Form, Record, Unpacked, replay, unpack};
use crate::error::Result;

mod foreign;
mod hostile;
mod layers;
mod marks;
mod round_trip;
mod user_tar;

/// A new empty directory.
pub struct Scratch {
    pub path: PathBuf,
    fd: OwnedFd,
}

impl Scratch {
    pub fn new() -> Scratch {
        assert!(rustix::process::geteuid().is_root(), "these tests make devices: run them as root");
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = format!("lath-layer-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(path);
        std::fs::create_dir(&path).unwrap();
        let fd = rustix::fs::openat(CWD, &path, DIRECTORY, Mode::empty()).unwrap();
        Scratch { path, fd }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub fn write(&self, path: &str, content: &[u8]) {
        let path = self.path.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub fn whiteout(&self, path: &str) {
        rustix::fs::mknodat(&self.fd, path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    }

    /// The tree as text: a line an entry, sorted.
    pub fn listing(&self) -> String {
        listing(self.fd(), true)
    }

    /// Only the names, and the targets of links.
    pub fn names(&self) -> String {
        listing(self.fd(), false).replace('\n', " ").trim_end().to_owned()
    }

    /// Runs a python script here; its file t.tar.
    pub fn python(&self, script: &str) -> Vec<u8> {
        let python = Command::new("python3")
            .args(["-c", &format!("{PYTHON}{script}\nt.close()")])
            .current_dir(&self.path)
            .output()
            .unwrap();
        assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
        let file = self.path.join("t.tar");
        let tar = std::fs::read(&file).unwrap();
        std::fs::remove_file(file).unwrap();
        tar
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Deeper trees than std can remove are left to rm.
        let _ = Command::new("rm").arg("-rf").arg(&self.path).status();
    }
}

/// What the scripts start with: `add` makes an entry of the tar `t`.
const PYTHON: &str = "
import tarfile, io
t = tarfile.open('t.tar', 'w', format=tarfile.PAX_FORMAT)
D, S, L, C, B, F = b'5', b'2', b'1', b'3', b'4', b'6'
def add(name, kind=b'0', data=b'', link='', mode=None, uid=0, gid=0, mtime=5, dev=(0, 0), pax={}):
    m = tarfile.TarInfo(name)
    m.type, m.linkname, m.uid, m.gid, m.mtime, m.pax_headers = kind, link, uid, gid, mtime, pax
    m.mode = (0o755 if kind == D else 0o644) if mode is None else mode
    m.devmajor, m.devminor, m.size = dev[0], dev[1], len(data)
    t.addfile(m, io.BytesIO(data))
";

fn listing(root: BorrowedFd<'_>, all: bool) -> String {
    let mut walk = Walk::new(root, None).unwrap();
    let mut out = String::new();
    while let Some(visit) = walk.next_visit().unwrap() {
        let Visit::Enter(found) = visit else { continue };
        let stat = found.stat;
        write!(out, "{}", String::from_utf8_lossy(found.path)).unwrap();
        let kind = FileType::from_raw_mode(stat.st_mode);
        match kind {
            FileType::Directory => out.push('/'),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(found.parent, found.name, Vec::new()).unwrap();
                write!(out, "->{}", target.to_string_lossy()).unwrap();
            }
            FileType::CharacterDevice if stat.st_rdev == 0 => {
                // A mark, whose attributes mean nothing.
                out.push_str("-\n");
                continue;
            }
            _ => {}
        }
        let opaque = found.directory.is_some_and(|fd| Form::Overlay.is_opaque(fd).unwrap());
        out.push_str(if opaque { "!" } else { "" });
        if all {
            let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
            write!(
                out,
                " {:o} {}:{} {} {major}:{minor} x{}",
                stat.st_mode, stat.st_uid, stat.st_gid, stat.st_mtime, stat.st_nlink
            )
            .unwrap();
            if kind == FileType::RegularFile {
                let file = node::open_file(found.parent, found.name).unwrap();
                let xattrs = node::xattrs(file.as_fd()).unwrap();
                let mut content = Vec::new();
                std::fs::File::from(file).read_to_end(&mut content).unwrap();
                let digest = crate::image::digest::Digest::of(&content).short();
                write!(out, " {} {digest} {xattrs:?}", content.len()).unwrap();
            }
            if let Some(fd) = found.directory {
                write!(out, " {:?}", node::xattrs(fd).unwrap()).unwrap();
            }
        }
        out.push('\n');
    }
    out
}

/// A tar unpacked, with all that comes of it.
pub struct Layer {
    pub diff: Scratch,
    pub kept: Scratch,
    pub recipe: Vec<u8>,
    pub unpacked: Unpacked,
}

/// Unpacks a tar, and holds the replay of its recipe against it.
pub fn layer(tar: &[u8], below: Option<&Scratch>) -> Result<Layer> {
    let (diff, kept, mut recipe) = (Scratch::new(), Scratch::new(), Vec::new());
    let record = Record { recipe: &mut recipe, kept: kept.fd() };
    let unpacked =
        unpack(&mut &tar[..], diff.fd(), below.map(Scratch::fd), Form::Overlay, Some(record))?;
    let mut again = Vec::new();
    replay(&mut recipe.as_slice(), diff.fd(), Some(kept.fd()), &mut again)?;
    assert!(again == tar, "the replay differs: {} bytes, {}", again.len(), tar.len());
    Ok(Layer { diff, kept, recipe, unpacked })
}
