//! A layer's tree -> the canonical tar of the layer.
//!
//! Whiteouts become `.wh.NAME`, opaque directories get `.wh..wh..opq` as their first entry (OCI
//! image-spec, layer.md, "Whiteouts"). Sockets are left out, as every builder does.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::FileType;

use crate::error::{Context, Error, Result};
use crate::image::digest::Digest;
use crate::layer::entry::{Attributes, Entry, Node, OPAQUE, WHITEOUT, show};
use crate::layer::links::Links;
use crate::layer::marks::{Form, reserved};
use crate::layer::node;
use crate::layer::verify::HashingWriter;
use crate::layer::walk::{Found, Visit, Walk};
use crate::layer::writer::Writer;
use crate::sys::flow::Outflow;
use crate::sys::signal;

/// What went into a tar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// Entries, whiteouts and marks included.
    pub entries: u64,
    /// Bytes of regular files.
    pub file_bytes: u64,
}

/// Writes the tree under `root`, whose marks have the form, as a layer tar. The root itself has no
/// entry.
pub fn pack(root: BorrowedFd<'_>, form: Form, out: &mut dyn Outflow) -> Result<Packed> {
    run(root, root, &Kind::Layer(form), out)
}

/// A whole tree, such as the view of an image: its tar has no marks, and any name may be in it.
pub struct View<'a> {
    /// Its root.
    pub root: BorrowedFd<'a>,
    /// A directory for nameless files of many hard links: a view cannot be written to.
    pub spill: BorrowedFd<'a>,
    /// The newest time that an entry may have, seconds since 1970.
    pub newest: Option<i64>,
}

/// Writes a whole tree as a tar. The root itself has no entry.
pub fn pack_view(view: &View<'_>, out: &mut dyn Outflow) -> Result<Packed> {
    run(view.root, view.spill, &Kind::Whole(view.newest), out)
}

/// The digest of the headers that the tar of a layer's tree would have: of all but the contents
/// of its files.
pub fn outline(root: BorrowedFd<'_>, form: Form) -> Result<Digest> {
    let mut nowhere = io::sink();
    let mut hashing = HashingWriter::new(&mut nowhere);
    run(root, root, &Kind::Outline(form), &mut hashing)?;
    Ok(hashing.finish().0)
}

/// What a tree is.
enum Kind {
    /// One layer, with marks.
    Layer(Form),
    /// The same without the contents of files.
    Outline(Form),
    /// All there is, with the newest time that is told.
    Whole(Option<i64>),
}

fn run(
    root: BorrowedFd<'_>,
    spill: BorrowedFd<'_>,
    kind: &Kind,
    out: &mut dyn Outflow,
) -> Result<Packed> {
    let mut writer = Writer::new(out);
    let mut links = Links::new(spill);
    let mut packed = Packed::default();
    let marks = match kind {
        Kind::Layer(form) | Kind::Outline(form) => Some(*form),
        Kind::Whole(_) => None,
    };
    let mut walk = Walk::new(root, marks)?;
    while let Some(visit) = walk.next_visit()? {
        signal::check()?;
        if let Visit::Enter(found) = visit {
            add(&mut writer, &mut links, &mut packed, &found, kind).context(|| show(found.path))?;
        }
    }
    writer.finish()?;
    Ok(packed)
}

fn add(
    writer: &mut Writer<'_>,
    links: &mut Links<'_>,
    packed: &mut Packed,
    found: &Found<'_>,
    kind: &Kind,
) -> Result<()> {
    let mut newest = None;
    match kind {
        Kind::Whole(time) => newest = *time,
        _ if found.name.starts_with(WHITEOUT) => return Err(reserved()),
        _ if found.whiteout => {
            return add_mark(writer, packed, beside(found.path, found.name));
        }
        _ => {}
    }
    let first = links_to(links, found)?;
    let Some((entry, content)) = describe(first, found, newest)? else { return Ok(()) };
    packed.entries += 1;
    if let Node::File(size) = entry.node {
        packed.file_bytes += size;
    }
    match content {
        _ if matches!(kind, Kind::Outline(_)) => writer.header(&entry)?,
        Some(mut file) => writer.entry(&entry, &mut file)?,
        None => writer.entry(&entry, &mut io::empty())?,
    }
    match (found.directory, kind) {
        (Some(directory), Kind::Layer(form) | Kind::Outline(form))
            if form.is_opaque(directory)? =>
        {
            add_mark(writer, packed, [found.path, b"/", OPAQUE].concat())
        }
        _ => Ok(()),
    }
}

/// What a tar says of something in a tree, and the open file where there is one to be read;
/// nothing for what a tar cannot hold. `first`: another name of the same file, in front of it.
/// `newest`: the newest time to be told.
pub(super) fn describe(
    first: Option<Vec<u8>>,
    found: &Found<'_>,
    newest: Option<i64>,
) -> Result<Option<(Entry, Option<File>)>> {
    let mut attributes = Attributes::of(&found.stat).clamped(newest);
    let mut content: Option<File> = None;
    let kind = FileType::from_raw_mode(found.stat.st_mode);
    let node = match first {
        Some(first) => Node::Link(first),
        None => match kind {
            FileType::RegularFile => {
                let fd = node::open_file(found.parent, found.name)?;
                let stat = rustix::fs::fstat(&fd)?;
                content = Some(File::from(fd));
                Node::File(u64::try_from(stat.st_size).unwrap_or_default())
            }
            FileType::Directory => Node::Directory,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(found.parent, found.name, Vec::new())?;
                Node::Symlink(target.into_bytes())
            }
            FileType::CharacterDevice => {
                let device = found.stat.st_rdev;
                Node::Character(rustix::fs::major(device), rustix::fs::minor(device))
            }
            FileType::BlockDevice => {
                let device = found.stat.st_rdev;
                Node::Block(rustix::fs::major(device), rustix::fs::minor(device))
            }
            FileType::Fifo => Node::Fifo,
            FileType::Socket => return Ok(None),
            _ => return Err(Error::unsupported("pack a file of unknown kind")),
        },
    };
    if let Some(directory) = found.directory {
        attributes.xattrs = node::xattrs(directory)?;
    } else if let Some(file) = &content {
        attributes.xattrs = node::xattrs(std::os::fd::AsFd::as_fd(file))?;
    }
    if attributes.xattrs.iter().any(|xattr| xattr.name.contains(&b'=')) {
        return Err(Error::unsupported(
            "a tar cannot hold an attribute whose name has \"=\" in it",
        ));
    }
    Ok(Some((Entry { path: found.path.to_vec(), node, attributes }, content)))
}

/// The name, further in front, of the file that is found under another.
pub(super) fn links_to(links: &mut Links<'_>, found: &Found<'_>) -> Result<Option<Vec<u8>>> {
    match FileType::from_raw_mode(found.stat.st_mode) {
        FileType::Directory | FileType::Socket => Ok(None),
        _ => links.first(&found.stat, found.path),
    }
}

fn add_mark(writer: &mut Writer<'_>, packed: &mut Packed, path: Vec<u8>) -> Result<()> {
    packed.entries += 1;
    // All attributes zero: what made the mark, and when, is nothing that an image should hold.
    let entry = Entry { path, node: Node::File(0), attributes: Attributes::default() };
    writer.entry(&entry, &mut io::empty())
}

/// The path of the whiteout for `path`, whose last component is `name`.
pub(super) fn beside(path: &[u8], name: &[u8]) -> Vec<u8> {
    let (directory, _) = path.split_at_checked(path.len() - name.len()).unwrap_or_default();
    [directory, WHITEOUT, name].concat()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::process::Command;

    use super::*;
    use crate::layer::tests::Scratch;
    use rustix::fs::{Mode, Timespec, Timestamps, XattrFlags};

    fn listing(tar: &[u8]) -> String {
        let scratch = Scratch::new();
        let file = scratch.path.join("t.tar");
        std::fs::write(&file, tar).unwrap();
        let script = "import tarfile,sys
for m in tarfile.open(sys.argv[1]):
    print(m.name, m.type.decode(), oct(m.mode), m.uid, m.gid, m.size, int(m.mtime), m.linkname,
          m.devmajor, m.devminor, repr(m.uname+m.gname), sorted(m.pax_headers))";
        let python = Command::new("python3").args(["-c", script]).arg(&file).output().unwrap();
        assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
        let gnu = Command::new("tar").arg("-tvf").arg(&file).output().unwrap();
        assert!(gnu.status.success() && gnu.stderr.is_empty(), "{gnu:?}");
        String::from_utf8(python.stdout).unwrap()
    }

    fn packed(scratch: &Scratch) -> (Vec<u8>, Packed) {
        let mut out = Vec::new();
        let packed = pack(scratch.fd(), Form::Overlay, &mut out).unwrap();
        (out, packed)
    }

    #[test]
    fn an_empty_tree_is_1024_zeros() {
        assert_eq!(packed(&Scratch::new()), (vec![0; 1024], Packed::default()));
    }

    #[test]
    fn other_programs_read_what_was_packed() {
        let scratch = Scratch::new();
        let fd = scratch.fd();
        for (path, content) in [("d/f", "hello"), ("d/x.txt", ""), ("b", "b"), ("ä", "1")] {
            scratch.write(path, content.as_bytes());
        }
        std::fs::hard_link(scratch.path.join("b"), scratch.path.join("d/hard")).unwrap();
        symlink("../b", scratch.path.join("d/soft")).unwrap();
        scratch.whiteout("gone");
        rustix::fs::mkfifoat(fd, "fifo", Mode::empty()).unwrap();
        let null = rustix::fs::makedev(1, 3);
        let character = FileType::CharacterDevice;
        rustix::fs::mknodat(fd, "null", character, Mode::empty(), null).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(scratch.path.join("socket")).unwrap();
        let directory = node::open_directory(fd, b"d").unwrap();
        for (name, value) in
            [("trusted.overlay.opaque", "y"), ("trusted.overlay.origin", "x"), ("user.u", "v")]
        {
            rustix::fs::fsetxattr(&directory, name, value.as_bytes(), XattrFlags::empty()).unwrap();
        }
        let mode = std::fs::Permissions::from_mode(0o4751);
        std::fs::set_permissions(scratch.path.join("b"), mode).unwrap();
        std::os::unix::fs::chown(scratch.path.join("ä"), Some(3_000_000), Some(7)).unwrap();
        let old = Timespec { tv_sec: -7, tv_nsec: 5 };
        let times = Timestamps { last_access: old, last_modification: old };
        for path in ["d/f", "d/x.txt", "d/soft", "d", "b", "ä", "fifo", "null"] {
            let no_follow = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::utimensat(fd, path, &times, no_follow).unwrap();
        }
        let (tar, packed) = packed(&scratch);
        let expected = "\
.wh.gone 0 0o0 0 0 0 0  0 0 '' []
b 0 0o4751 0 0 1 -7  0 0 '' ['mtime']
d 5 0o755 0 0 0 -7  0 0 '' ['SCHILY.xattr.user.u', 'mtime']
d/.wh..wh..opq 0 0o0 0 0 0 0  0 0 '' []
d/f 0 0o644 0 0 5 -7  0 0 '' ['mtime']
d/hard 1 0o4751 0 0 0 -7 b 0 0 '' ['mtime']
d/soft 2 0o777 0 0 0 -7 ../b 0 0 '' ['mtime']
d/x.txt 0 0o644 0 0 0 -7  0 0 '' ['mtime']
fifo 6 0o0 0 0 0 -7  0 0 '' ['mtime']
null 3 0o0 0 0 0 -7  1 3 '' ['mtime']
ä 0 0o644 3000000 7 1 -7  0 0 '' ['mtime', 'path', 'uid']
";
        assert_eq!(listing(&tar), expected);
        assert_eq!(packed, Packed { entries: 11, file_bytes: 7 });
    }

    #[test]
    fn a_name_that_would_read_as_a_whiteout_is_refused() {
        let scratch = Scratch::new();
        scratch.write("d/.wh.x", b"");
        let error = pack(scratch.fd(), Form::Overlay, &mut io::sink()).unwrap_err();
        assert!(error.text().starts_with("\"d/.wh.x\": a layer cannot hold"), "{error}");
    }
}
