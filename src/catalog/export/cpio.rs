//! `type=cpio`: the image's files as the kernel's initramfs wants them ("newc", the kernel's
//! Documentation/driver-api/early-userspace/buffer-format.rst). Same files, same bytes.

use std::io::Write as _;

use super::{Export, Kind, Place, To, misplaced};
use crate::error::{Error, Result};
use crate::event::{Event, Listener};
use crate::image::descriptor::Descriptor;
use crate::layer::compress::Gzip;
use crate::layer::entry::{Attributes, Node, show};
use crate::layer::tell::{Told, pieces, tell};
use crate::sys::flow::Outflow;

pub const CPIO: Kind = Kind {
    name: "cpio",
    place: Place::File,
    keys: &["dest", "compression", "compression-level", "digest"],
    compressions: &["uncompressed", "gzip"],
    is_image: true,
    write,
};

/// The name of the end, and the numbers of a tape's blocks, to which everybody fills up.
const END: &[u8] = b"TRAILER!!!";
const BLOCK: u64 = 512;
/// The kernel passes over longer names without a word (PATH_MAX, with the zero at the end).
const LONGEST: usize = 4096;

fn write(
    export: &Export<'_>,
    to: To<'_>,
    listener: &mut dyn Listener,
) -> Result<Option<Descriptor>> {
    let To::Stream(out) = to else { return Err(misplaced()) };
    let Some(level) = export.manner.style.gzip else {
        return archive(export, out, listener);
    };
    let mut gzip = Gzip::new(out, level)?;
    archive(export, &mut gzip, listener)?;
    gzip.finish()?;
    Ok(None)
}

fn archive(
    export: &Export<'_>,
    out: &mut dyn Outflow,
    listener: &mut dyn Listener,
) -> Result<Option<Descriptor>> {
    let mut tape = Tape { out, bytes: 0 };
    let (mut bare, mut example) = (0_u64, String::new());
    if let Some(view) = export.view()? {
        tell(&export.tree(&view), &mut |told| {
            let Some(told) = told else { return Ok(()) };
            if !told.entry.attributes.xattrs.is_empty() && !told.is_again {
                bare += 1;
                if bare == 1 {
                    example = show(&told.entry.path);
                }
            }
            tape.entry(told)
        })?;
    }
    tape.header(0, 0, 1, &Attributes::default(), 0, (0, 0), END)?;
    tape.fill(BLOCK)?;
    tape.out.flush()?;
    if bare > 0 {
        let text = format!(
            "cpio holds no extended attributes: {bare} files lose theirs, {example} is the first"
        );
        listener.event(&Event::Warning { text: &text });
    }
    Ok(None)
}

struct Tape<'a> {
    out: &'a mut dyn Outflow,
    bytes: u64,
}

impl Tape<'_> {
    fn entry(&mut self, told: Told) -> Result<()> {
        let Told { entry, content, number, is_again, has_names } = told;
        let (kind, mut size, device) = match &entry.node {
            Node::Directory => (0o040_000, 0, (0, 0)),
            Node::Symlink(target) => (0o120_000, target.len() as u64, (0, 0)),
            Node::Character(major, minor) => (0o020_000, 0, (*major, *minor)),
            Node::Block(major, minor) => (0o060_000, 0, (*major, *minor)),
            Node::Fifo => (0o010_000, 0, (0, 0)),
            Node::File(size) => (0o100_000, *size, (0, 0)),
            Node::Link(_) => (0o100_000, 0, (0, 0)),
        };
        let is_file = content.is_some();
        // The content comes with the first name; symbolic links have theirs each time.
        if is_again && is_file {
            size = 0;
        }
        let Ok(length) = u32::try_from(size) else {
            let most = u32::MAX;
            return Err(Error::unsupported(format!("cpio holds {most} bytes a file, not {size}"))
                .hint("leave the file out, or take squashfs, erofs or ext4"));
        };
        let number = u32::try_from(number)
            .map_err(|_| Error::unsupported("cpio cannot hold so many files"))?;
        // A file of this name would be the end.
        let name = match entry.path.as_slice() {
            END => [b"./", END].concat(),
            path => path.to_vec(),
        };
        if name.len() >= LONGEST {
            return Err(Error::unsupported("an initramfs has no names of 4096 bytes or more"));
        }
        let mode = kind | entry.attributes.mode;
        let names = if has_names { 2 } else { 1 };
        self.header(number, mode, names, &entry.attributes, length, device, &name)?;
        match (entry.node, content) {
            (Node::Symlink(target), _) => self.put(&target)?,
            (_, Some(mut file)) if !is_again => {
                pieces(&mut file, size, &mut |piece| self.put(piece))?;
            }
            _ => {}
        }
        self.fill(4)
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of the header")]
    fn header(
        &mut self,
        number: u32,
        mode: u32,
        names: u32,
        attributes: &Attributes,
        size: u32,
        device: (u32, u32),
        name: &[u8],
    ) -> Result<()> {
        let time = u32::try_from(attributes.mtime.max(0)).unwrap_or(u32::MAX);
        let (uid, gid) = (attributes.uid, attributes.gid);
        let length = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        let (major, minor) = device;
        // The device that it lies on is 0:0, and there is no checksum.
        let fields = [number, mode, uid, gid, names, time, size, 0, 0, major, minor, length, 0];
        let mut text = String::from("070701");
        for field in fields {
            std::fmt::Write::write_fmt(&mut text, format_args!("{field:08x}")).unwrap_or_default();
        }
        self.put(text.as_bytes())?;
        self.put(name)?;
        self.put(&[0])?;
        self.fill(4)
    }

    /// Zeros up to the next multiple.
    fn fill(&mut self, unit: u64) -> Result<()> {
        let length = (self.bytes.next_multiple_of(unit) - self.bytes) as usize;
        self.put([0; BLOCK as usize].get(..length).unwrap_or_default())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes += bytes.len() as u64;
        Ok(self.out.write_all(bytes)?)
    }
}
