//! A tar stream -> entries.
//!
//! Reads ustar, pax, GNU and old tars as Go's archive/tar does, since that is what images are
//! made for: two readers that see different entries in one tar are a way in. What is not an
//! entry of a file system (pax and GNU names, global headers) is taken in here; what lath cannot
//! unpack (sparse files, volumes) is refused by name. Source: POSIX.1-2017, pax; the GNU tar
//! manual, "Basic Tar Format".

use std::io::{self, BufReader, Read};

use tar::Header;

use crate::error::{Error, Result};
use crate::layer::entry::{Attributes, Entry, MODE_BITS, Node, Xattr, holds_xattr, show};
use crate::layer::pax;
use crate::layer::recipe::Recipe;
use crate::layer::writer::{BLOCK, padding};
use crate::sort::sort;
use crate::sys::flow::{Inflow, read_most};

/// Go's limit too. Names and attributes of one entry are in memory.
const MAX_HEADER: u64 = 1 << 20;
const BUFFER: usize = 64 << 10;

/// Reads a tar.
pub struct Reader<'a> {
    input: BufReader<&'a mut dyn Inflow>,
    recipe: Option<Recipe<'a>>,
    /// Bytes of content, and of padding after it, that have not been read.
    left: u64,
    padding: u64,
    at_end: bool,
    taken: u64,
}

/// What headers before an entry's own say of it.
#[derive(Default)]
struct Said {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<i64>,
    xattrs: Vec<Xattr>,
    gnu_path: Option<Vec<u8>>,
    gnu_link: Option<Vec<u8>>,
}

impl<'a> Reader<'a> {
    /// A tar that begins at the next byte of `input`. All that is not content of a file goes
    /// into the recipe.
    pub fn new(input: &'a mut dyn Inflow, recipe: Option<Recipe<'a>>) -> Reader<'a> {
        let input = BufReader::with_capacity(BUFFER, input);
        Reader { input, recipe, left: 0, padding: 0, at_end: false, taken: 0 }
    }

    /// The next entry, after what is left of the content of the one before. Nothing at the end.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        self.skip()?;
        let mut said = Said::default();
        let mut is_said = false;
        loop {
            let Some(header) = self.header()? else {
                if is_said {
                    return Err(Error::input("the tar ends after a pax or GNU header"));
                }
                return Ok(None);
            };
            let size = number(&header.as_old().size, "size")?;
            let size = u64::try_from(size).map_err(|_| damaged("a negative size"))?;
            match header.entry_type().as_byte() {
                b'x' => {
                    let (gnu_path, gnu_link) = (said.gnu_path.take(), said.gnu_link.take());
                    said = Said { gnu_path, gnu_link, ..said_by(&self.meta(size)?)? };
                }
                b'L' => said.gnu_path = Some(up_to_nul(&self.meta(size)?).to_vec()),
                b'K' => said.gnu_link = Some(up_to_nul(&self.meta(size)?).to_vec()),
                b'g' => {
                    self.set_content(size);
                    self.skip()?;
                    continue;
                }
                _ => {
                    let entry = entry(&header, size, said)?;
                    if let Node::File(size) = entry.node {
                        self.set_content(size);
                    }
                    return Ok(Some(entry));
                }
            }
            is_said = true;
        }
    }

    /// How many bytes of the tar have been taken: after `next_entry`, where the entry's content
    /// begins.
    pub fn position(&self) -> u64 {
        self.taken
    }

    /// Says where the content of the entry that `next_entry` gave has its place in the tree, so that
    /// it need not be in the recipe. It must then be read whole.
    pub fn content_is_at(&mut self, path: &[u8], occurrence: u64) -> Result<()> {
        match &mut self.recipe {
            Some(recipe) if self.left > 0 => recipe.file(path, occurrence, self.left),
            _ => Ok(()),
        }
    }

    /// Reads content of the entry that `next_entry` gave; 0 at its end.
    pub fn content(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = read_some(&mut self.input, buffer.get_mut(..most).unwrap_or_default())?;
        if read == 0 {
            return Err(cut_short());
        }
        self.left -= read as u64;
        self.taken += read as u64;
        Ok(read)
    }

    /// Reads what follows the end of the tar, and completes the recipe.
    pub fn finish(mut self) -> Result<()> {
        self.skip()?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let read = read_some(&mut self.input, &mut buffer)?;
            if read == 0 {
                break;
            }
            self.raw(buffer.get(..read).unwrap_or_default())?;
        }
        match self.recipe {
            Some(recipe) => recipe.finish(),
            None => Ok(()),
        }
    }

    fn set_content(&mut self, size: u64) {
        self.left = size;
        self.padding = padding(size) as u64;
    }

    /// Passes over what is left of content and padding.
    fn skip(&mut self) -> Result<()> {
        let mut left = std::mem::take(&mut self.left);
        let mut padding = std::mem::take(&mut self.padding);
        let mut buffer = [0; 4096];
        while left > 0 || padding > 0 {
            let of = if left > 0 { &mut left } else { &mut padding };
            let most = usize::try_from(*of).unwrap_or(buffer.len()).min(buffer.len());
            let read = read_some(&mut self.input, buffer.get_mut(..most).unwrap_or_default())?;
            if read == 0 {
                return Err(cut_short());
            }
            *of -= read as u64;
            self.taken += read as u64;
            self.raw(buffer.get(..read).unwrap_or_default())?;
        }
        Ok(())
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.recipe {
            Some(recipe) => recipe.raw(bytes),
            None => Ok(()),
        }
    }

    /// The content of a header that speaks of another one.
    fn meta(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > MAX_HEADER {
            return Err(damaged("a header of more than 1 MiB"));
        }
        let mut bytes = Vec::new();
        read_most(&mut self.input, size, &mut bytes)?;
        if bytes.len() as u64 != size {
            return Err(cut_short());
        }
        self.taken += size;
        self.raw(&bytes)?;
        self.padding = padding(size) as u64;
        self.skip()?;
        Ok(bytes)
    }

    /// The next header; nothing at the end, which is two blocks of zeros or, as Go has it, no
    /// more bytes.
    fn header(&mut self) -> Result<Option<Header>> {
        if self.at_end {
            return Ok(None);
        }
        let block = self.block()?;
        let Some(header) = block.filter(|block| !is_zero(block)) else {
            if block.is_some() && !self.block()?.is_none_or(|block| is_zero(&block)) {
                return Err(damaged("something follows a block of zeros"));
            }
            self.at_end = true;
            return Ok(None);
        };
        let header = Header::from_byte_slice(&header).clone();
        check_sum(&header)?;
        Ok(Some(header))
    }

    fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut done = 0;
        while done < BLOCK {
            let read = read_some(&mut self.input, block.get_mut(done..).unwrap_or_default())?;
            if read == 0 && done == 0 {
                return Ok(None);
            }
            if read == 0 {
                return Err(cut_short());
            }
            done += read;
        }
        self.taken += BLOCK as u64;
        self.raw(&block)?;
        Ok(Some(block))
    }
}

fn read_some(input: &mut dyn Inflow, buffer: &mut [u8]) -> Result<usize> {
    loop {
        match input.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return Ok(read?),
        }
    }
}

/// Whether these are the first bytes of a tar: a header whose sum is right.
pub fn is_header(start: &[u8]) -> bool {
    let Some(block) = start.first_chunk::<BLOCK>() else { return false };
    !is_zero(block) && check_sum(Header::from_byte_slice(block)).is_ok()
}

fn is_zero(block: &[u8; BLOCK]) -> bool {
    block.iter().all(|byte| *byte == 0)
}

fn check_sum(header: &Header) -> Result<()> {
    let promised = number(&header.as_old().cksum, "checksum")?;
    // The field itself counts as blanks. Some old tars sum up signed bytes.
    let (mut unsigned, mut signed) = (0i64, 0i64);
    for (at, byte) in header.as_bytes().iter().enumerate() {
        let byte = if (148..156).contains(&at) { b' ' } else { *byte };
        unsigned += i64::from(byte);
        signed += i64::from(byte as i8);
    }
    if promised != unsigned && promised != signed {
        return Err(damaged("a header whose checksum is wrong"));
    }
    Ok(())
}

/// Reads the records of a pax header. The last one of a key counts; an empty one takes it back.
fn said_by(records: &[u8]) -> Result<Said> {
    let mut said = Said::default();
    let mut records = records;
    while !records.is_empty() {
        let (key, value) = pax::take(&mut records)?;
        let number = || {
            pax::decimal(value).ok_or_else(|| {
                Error::input(format!("the tar has the {} {}", show(key), show(value)))
            })
        };
        let is_empty = value.is_empty();
        match key {
            b"path" => said.path = Some(value.to_vec()).filter(|_| !is_empty),
            b"linkpath" => said.link = Some(value.to_vec()).filter(|_| !is_empty),
            b"size" => said.size = if is_empty { None } else { Some(number()?) },
            b"uid" => said.uid = if is_empty { None } else { Some(number()?) },
            b"gid" => said.gid = if is_empty { None } else { Some(number()?) },
            b"mtime" => said.mtime = if is_empty { None } else { Some(pax::seconds(value)?) },
            _ if key.starts_with(b"GNU.sparse.") => return Err(sparse()),
            _ => {
                let name = key.strip_prefix(pax::XATTR).filter(|name| holds_xattr(name));
                let Some(name) = name else { continue };
                said.xattrs.retain(|xattr| xattr.name != name);
                said.xattrs.push(Xattr { name: name.to_vec(), value: value.to_vec() });
            }
        }
    }
    sort(&mut said.xattrs);
    Ok(said)
}

fn entry(header: &Header, size: u64, said: Said) -> Result<Entry> {
    let old = header.as_old();
    let path = said.gnu_path.or(said.path).unwrap_or_else(|| own_path(header));
    let link = said.gnu_link.or(said.link);
    let link = || link.unwrap_or_else(|| up_to_nul(&old.linkname).to_vec());
    // The crate takes 0 for '0'.
    let [kind] = old.linkflag;
    let node = match kind {
        // Tars older than ustar have no type for directories.
        0 if path.ends_with(b"/") => Node::Directory,
        // The size of a pax header counts, and only for the entry that it speaks of.
        0 | b'0' | b'7' => Node::File(said.size.unwrap_or(size)),
        b'1' => Node::Link(link()),
        b'2' => Node::Symlink(link()),
        b'3' | b'4' => {
            let (major, minor) = device(header)?;
            if kind == b'3' { Node::Character(major, minor) } else { Node::Block(major, minor) }
        }
        b'5' => Node::Directory,
        b'6' => Node::Fifo,
        b'S' => return Err(sparse()),
        _ => {
            let text = format!("{} is an entry of type {:?}", show(&path), char::from(kind));
            return Err(Error::unsupported(text).hint("make the tar with: tar --format=posix"));
        }
    };
    let target = match &node {
        Node::Link(target) | Node::Symlink(target) => target.as_slice(),
        _ => b"",
    };
    if path.contains(&0) || target.contains(&0) {
        return Err(damaged("a name with a zero byte in it"));
    }
    let id = |said: Option<u64>, field: &[u8], what| {
        let id = match said {
            Some(id) => id,
            None => u64::try_from(number(field, what)?).unwrap_or(u64::MAX),
        };
        // The highest one means "leave it" to the kernel.
        u32::try_from(id).ok().filter(|id| *id != u32::MAX).ok_or_else(|| {
            Error::input(format!("{} has the {what} {id}, which cannot be", show(&path)))
        })
    };
    let attributes = Attributes {
        mode: number(&old.mode, "mode")? as u32 & MODE_BITS,
        uid: id(said.uid, &old.uid, "owner")?,
        gid: id(said.gid, &old.gid, "group")?,
        mtime: match said.mtime {
            Some(mtime) => mtime,
            None => number(&old.mtime, "time")?,
        },
        nanos: 0,
        xattrs: said.xattrs,
    };
    Ok(Entry { path, node, attributes })
}

fn own_path(header: &Header) -> Vec<u8> {
    let name = up_to_nul(&header.as_old().name);
    let bytes = header.as_bytes();
    let is_ustar = bytes.get(257..263) == Some(b"ustar\0");
    let is_star = bytes.get(508..512) == Some(b"tar\0");
    let end = if is_star { 345 + 131 } else { 345 + 155 };
    let prefix = bytes.get(345..end).filter(|_| is_ustar).map(up_to_nul).unwrap_or_default();
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}

fn device(header: &Header) -> Result<(u32, u32)> {
    let bytes = header.as_bytes();
    // Only the formats that say "ustar" have numbers of devices.
    if bytes.get(257..262) != Some(b"ustar") {
        return Ok((0, 0));
    }
    let read = |from: usize| {
        let number = number(bytes.get(from..from + 8).unwrap_or_default(), "device")?;
        u32::try_from(number).map_err(|_| damaged("a device with an impossible number"))
    };
    Ok((read(329)?, read(337)?))
}

/// A number of a header: octal digits, or base 256 as GNU tar writes large and negative ones.
fn number(field: &[u8], what: &str) -> Result<i64> {
    let read = || {
        if let Some(first) = field.first().filter(|first| *first & 0x80 != 0) {
            let negative = first & 0x40 != 0;
            let start = i64::from(first & 0x3f) - if negative { 0x40 } else { 0 };
            return field.iter().skip(1).try_fold(start, |number, byte| {
                number.checked_mul(256)?.checked_add(i64::from(*byte))
            });
        }
        let blank = |byte: &u8| *byte == b' ' || *byte == 0;
        let start = field.iter().position(|byte| !blank(byte)).unwrap_or(field.len());
        let end = field.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
        let digits = up_to_nul(field.get(start..end)?);
        digits.iter().try_fold(0i64, |number, digit| match digit {
            b'0'..=b'7' => number.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
            _ => None,
        })
    };
    read().ok_or_else(|| damaged(&format!("a {what} that is no number")))
}

fn up_to_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn sparse() -> Error {
    Error::unsupported("the tar has a sparse file in a form that lath cannot read")
        .hint("make the tar without --sparse")
}

fn damaged(how: &str) -> Error {
    Error::input(format!("the tar is damaged: {how}"))
}

fn cut_short() -> Error {
    damaged("it ends too early")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        for (field, expected) in [
            (b"0000755\0".as_slice(), Some(0o755)),
            (b"   755 \0", Some(0o755)),
            (b"\0\0\0\0", Some(0)),
            (b"    ", Some(0)),
            (b"\x80\0\0\0\x01\0\0\0", Some(1 << 24)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\x80\0\0\0\0\0\0\0\0\0\0", None),
            (b"\xff\0\0\0\0\0\0\0\0\0\0\0", None),
            (b"0008\0", None),
            (b"-1\0", None),
            (b"7 7\0", None),
            (b"7\x007", Some(7)),
        ] {
            assert_eq!(number(field, "x").ok(), expected, "{field:02x?}");
        }
    }

    #[test]
    fn the_last_record_counts_and_an_empty_one_takes_back() {
        let mut records = Vec::new();
        for (key, value) in
            [("path", "a"), ("path", "b"), ("uid", "1"), ("uid", ""), ("comment", "x")]
        {
            pax::append(&mut records, key.as_bytes(), value.as_bytes());
        }
        let said = said_by(&records).unwrap();
        assert_eq!((said.path.as_deref(), said.uid), (Some(b"b".as_slice()), None));
        for (key, value) in
            [("size", "-1"), ("size", "99999999999999999999"), ("GNU.sparse.map", "0")]
        {
            let mut records = Vec::new();
            pax::append(&mut records, key.as_bytes(), value.as_bytes());
            assert!(said_by(&records).is_err(), "{key}={value}");
        }
    }
}
