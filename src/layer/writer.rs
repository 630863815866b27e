//! Entries -> the canonical tar of a layer: POSIX pax with as few pax headers as can be.
//!
//! Same entries, same bytes, on every machine. Source: POSIX.1-2017, pax, "ustar Interchange
//! Format".

use std::io::{self, Read, Write};

use tar::{EntryType, Header};

use crate::error::{Context, Error, Result};
use crate::layer::entry::{Entry, Node, show};
use crate::layer::pax;
use crate::sys::flow::{Inflow, Outflow};
use crate::sys::signal;

/// The size of a tar's blocks.
pub const BLOCK: usize = 512;
const BUFFER: usize = 128 << 10;
const MAX_OCTAL_11: u64 = 0o77_777_777_777;
const MAX_OCTAL_7: u64 = 0o7_777_777;

/// Writes a tar.
pub struct Writer<'a> {
    out: &'a mut dyn Outflow,
    buffer: Vec<u8>,
    records: Vec<u8>,
}

impl<'a> Writer<'a> {
    /// A tar that begins at the next byte of `out`.
    pub fn new(out: &'a mut dyn Outflow) -> Writer<'a> {
        Writer { out, buffer: vec![0; BUFFER], records: Vec::new() }
    }

    /// Writes an entry for a file of `size` bytes, which `fill` writes.
    pub fn stream(
        &mut self,
        entry: &Entry,
        size: u64,
        fill: &mut dyn FnMut(&mut dyn Outflow) -> Result<()>,
    ) -> Result<()> {
        self.header(entry)?;
        let mut counted = Counted { out: self.out, bytes: 0 };
        fill(&mut counted).context(|| show(&entry.path))?;
        if counted.bytes != size {
            let text = format!("{} has {} bytes and not {size}", show(&entry.path), counted.bytes);
            return Err(Error::corrupt(text));
        }
        Ok(self.out.write_all([0; BLOCK].get(..padding(size)).unwrap_or_default())?)
    }

    /// Writes an entry. `content` is read for a `Node::File`, which must have as many bytes as
    /// the node says; it is not looked at for others.
    pub fn entry(&mut self, entry: &Entry, content: &mut dyn Inflow) -> Result<()> {
        self.header(entry)?;
        match entry.node {
            Node::File(size) => self.content(size, content).context(|| show(&entry.path)),
            _ => Ok(()),
        }
    }

    /// Writes the header of an entry without any content.
    pub fn header(&mut self, entry: &Entry) -> Result<()> {
        let mut header = Header::new_ustar();
        self.records.clear();
        self.fill(&mut header, entry);
        if !self.records.is_empty() {
            self.pax_header()?;
        }
        header.set_cksum();
        Ok(self.out.write_all(header.as_bytes())?)
    }

    /// Writes the end of the tar: two blocks of zeros.
    pub fn finish(self) -> Result<()> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        Ok(self.out.flush()?)
    }

    /// Fills the header, and puts what does not fit into pax records, sorted by their keys.
    fn fill(&mut self, header: &mut Header, entry: &Entry) {
        let records = &mut self.records;
        let attributes = &entry.attributes;
        for xattr in &attributes.xattrs {
            pax::append(records, &[pax::XATTR, &xattr.name].concat(), &xattr.value);
        }
        header.set_gid(number(records, b"gid", attributes.gid.into(), MAX_OCTAL_7));
        let (kind, size, link) = match &entry.node {
            Node::File(size) => (EntryType::Regular, *size, None),
            Node::Directory => (EntryType::Directory, 0, None),
            Node::Symlink(target) => (EntryType::Symlink, 0, Some(target)),
            Node::Link(target) => (EntryType::Link, 0, Some(target)),
            Node::Character(..) => (EntryType::Char, 0, None),
            Node::Block(..) => (EntryType::Block, 0, None),
            Node::Fifo => (EntryType::Fifo, 0, None),
        };
        header.set_entry_type(kind);
        header.set_mode(attributes.mode);
        let mut name = entry.path.clone();
        if entry.node == Node::Directory {
            name.push(b'/');
        }
        if let (Some(target), Some(ustar)) = (link, header.as_ustar_mut())
            && !(target.is_ascii() && copy_into(&mut ustar.linkname, target))
        {
            pax::append(records, b"linkpath", target);
            copy_ascii(&mut ustar.linkname, target);
        }
        let seconds = u64::try_from(attributes.mtime).ok().filter(|time| *time <= MAX_OCTAL_11);
        if seconds.is_none() {
            pax::append(records, b"mtime", attributes.mtime.to_string().as_bytes());
        }
        header.set_mtime(seconds.unwrap_or_default());
        if let Some(ustar) = header.as_ustar_mut()
            && !split(&mut ustar.prefix, &mut ustar.name, &name)
        {
            pax::append(records, b"path", &name);
            copy_ascii(&mut ustar.name, &name);
        }
        header.set_size(number(records, b"size", size, MAX_OCTAL_11));
        header.set_uid(number(records, b"uid", attributes.uid.into(), MAX_OCTAL_7));
        let (major, minor) = match entry.node {
            Node::Character(major, minor) | Node::Block(major, minor) => (major, minor),
            _ => (0, 0),
        };
        if let Some(ustar) = header.as_ustar_mut() {
            ustar.set_device_major(major);
            ustar.set_device_minor(minor);
        }
    }

    fn pax_header(&mut self) -> Result<()> {
        let mut header = Header::new_ustar();
        if let Some(ustar) = header.as_ustar_mut() {
            copy_into(&mut ustar.name, b"././@PaxHeader");
            ustar.set_device_major(0);
            ustar.set_device_minor(0);
        }
        header.set_entry_type(EntryType::XHeader);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(self.records.len() as u64);
        header.set_cksum();
        self.out.write_all(header.as_bytes())?;
        self.records.resize(self.records.len().next_multiple_of(BLOCK), 0);
        Ok(self.out.write_all(&self.records)?)
    }

    fn content(&mut self, size: u64, content: &mut dyn Inflow) -> Result<()> {
        let mut left = size;
        while left > 0 {
            signal::check()?;
            let most = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
            let part = self.buffer.get_mut(..most).unwrap_or_default();
            let read = match content.read(part) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if read == 0 {
                return Err(Error::input("the file became shorter while it was read"));
            }
            self.out.write_all(part.get(..read).unwrap_or_default())?;
            left -= read as u64;
        }
        let padding = padding(size);
        Ok(self.out.write_all([0; BLOCK].get(..padding).unwrap_or_default())?)
    }
}

struct Counted<'a> {
    out: &'a mut dyn Outflow,
    bytes: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The number itself when the header's field can hold it; otherwise zero and a pax record.
fn number(records: &mut Vec<u8>, key: &[u8], value: u64, max: u64) -> u64 {
    if value <= max {
        return value;
    }
    pax::append(records, key, value.to_string().as_bytes());
    0
}

/// The bytes between a content of so many bytes and the next block.
pub fn padding(size: u64) -> usize {
    let used = (size % BLOCK as u64) as usize;
    if used == 0 { 0 } else { BLOCK - used }
}

/// Copies `text` to the begin of a field; false, and nothing copied, when it does not fit.
fn copy_into(field: &mut [u8], text: &[u8]) -> bool {
    match field.get_mut(..text.len()) {
        Some(place) => {
            place.copy_from_slice(text);
            true
        }
        None => false,
    }
}

/// What readers without pax shall see of a name that does not fit.
fn copy_ascii(field: &mut [u8], text: &[u8]) {
    let ascii = text.iter().filter(|byte| byte.is_ascii());
    for (place, byte) in field.iter_mut().zip(ascii) {
        *place = *byte;
    }
}

/// Puts a name into the two fields that ustar has for it; false when it does not fit.
fn split(prefix: &mut [u8], name: &mut [u8], path: &[u8]) -> bool {
    if !path.is_ascii() {
        return false;
    }
    if copy_into(name, path) {
        return true;
    }
    // The last slash that leaves something for the name: the longest prefix that fits.
    let inner = path.strip_suffix(b"/").unwrap_or(path);
    let most = inner.len().min(prefix.len() + 1);
    let slash = inner.iter().take(most).rposition(|byte| *byte == b'/');
    let Some((head, tail)) = slash.and_then(|slash| path.split_at_checked(slash)) else {
        return false;
    };
    let tail = tail.strip_prefix(b"/").unwrap_or(tail);
    !head.is_empty() && tail.len() <= name.len() && copy_into(name, tail) && copy_into(prefix, head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::entry::Attributes;

    fn write(path: &str, node: Node, attributes: Attributes) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        let entry = Entry { path: path.into(), node, attributes };
        writer.entry(&entry, &mut std::io::empty()).unwrap();
        writer.finish().unwrap();
        out
    }

    #[test]
    fn names_use_the_prefix_before_they_use_pax() {
        let long = format!("{}/{}", "p".repeat(155), "n".repeat(99));
        let out = write(&long, Node::Directory, Attributes::default());
        assert_eq!(out.len(), 3 * BLOCK);
        assert_eq!(&out[..100], format!("{}/", "n".repeat(99)).as_bytes());
        for too_long in [format!("a{long}"), format!("{long}n"), "x".repeat(101), "é".into()] {
            let out = write(&too_long, Node::Directory, Attributes::default());
            assert_eq!(out.len(), 5 * BLOCK, "{too_long}");
            assert_eq!(out[156], b'x');
        }
    }

    #[test]
    fn numbers_that_do_not_fit_are_pax_records_in_order() {
        let attributes =
            Attributes { uid: 2_097_152, gid: u32::MAX - 1, mtime: -3, ..Default::default() };
        let out = write("a", Node::Fifo, attributes);
        let records = b"18 gid=4294967294\n12 mtime=-3\n15 uid=2097152\n";
        assert_eq!(&out[512..512 + records.len()], records);
        assert_eq!(write("a", Node::Fifo, Attributes::default()).len(), 3 * BLOCK);
    }

    #[test]
    fn a_file_that_is_too_short_is_an_error() {
        let mut out = Vec::new();
        let entry =
            Entry { path: b"f".into(), node: Node::File(3), attributes: Attributes::default() };
        let error = Writer::new(&mut out).entry(&entry, &mut b"ab".as_slice()).unwrap_err();
        assert!(error.text().contains("became shorter"), "{error}");
    }
}
