//! Whether the images of an archive fit on the disk, before anything is written. The headers of a
//! plain layer tell what it becomes; of a compressed one no more is known than that it becomes
//! larger, so what is said to be needed is then the least.

use std::collections::BTreeSet;

use crate::archive::tape::{Blob, Candidate, Tape};
use crate::error::{Error, Kind, Result};
use crate::image::config::ImageConfig;
use crate::layer::compress::Format;
use crate::layer::entry::Node;
use crate::layer::reader::Reader;
use crate::layer::writer::padding;
use crate::store::Store;
use crate::sys::signal;

/// Content that is longer is jumped over and not read.
const SHORT: u64 = 64 << 10;

/// What something becomes on the disk.
#[derive(Default)]
pub struct Need {
    /// Bytes of blocks.
    pub bytes: u64,
    /// Files and directories.
    pub inodes: u64,
    /// It is more than that.
    pub is_least: bool,
}

/// Refuses images that do not fit.
pub fn check(store: &Store, tape: &Tape, images: &[Candidate]) -> Result<()> {
    let disk = rustix::fs::fstatvfs(store.fd())?;
    // Where inodes are made as they are needed, small files need no block of their own either.
    let block = if disk.f_files > 0 { disk.f_frsize.max(1) } else { 1 };
    let (mut need, mut seen) = (Need::default(), BTreeSet::new());
    for image in images {
        // What is wrong with it is told when it is loaded.
        let Ok(config) = tape.text(&image.config).and_then(|text| ImageConfig::parse(&text)) else {
            continue;
        };
        for (blob, chain) in image.layers.iter().zip(config.chains()) {
            if seen.insert(chain) && !matches!(store.layer(&chain), Ok(Some(_))) {
                // Nor is a damaged layer this one's to tell of.
                let _ = need.add(tape, blob, block);
            }
        }
    }
    need.fits(store)
}

impl Need {
    /// An error when it does not fit.
    pub fn fits(&self, store: &Store) -> Result<()> {
        if self.inodes == 0 {
            return Ok(());
        }
        store.room(self.bytes)?;
        let disk = rustix::fs::fstatvfs(store.fd())?;
        let has_inodes = disk.f_files > 0;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        // What lies in memory alone tells no size.
        let has_bytes = disk.f_blocks > 0;
        if (!has_bytes || self.bytes <= free) && (!has_inodes || self.inodes <= disk.f_favail) {
            return Ok(());
        }
        let least = if self.is_least { "at least " } else { "" };
        let text = format!(
            "the images need {least}{} kB and {} inodes, and the store's disk has {} kB and {} free",
            self.bytes.div_ceil(1000),
            self.inodes,
            free / 1000,
            disk.f_favail
        );
        Err(Error::new(Kind::NoSpace, text).hint("lath prune -a frees what is not in use"))
    }

    fn add(&mut self, tape: &Tape, blob: &Blob, block: u64) -> Result<()> {
        let mut start = Vec::new();
        let magic = Format::MAGIC_BYTES as u64;
        std::io::Read::read_to_end(&mut tape.read(&blob.from(0, magic))?, &mut start)?;
        if Format::detect(&start) != Format::Plain {
            self.bytes += blob.size();
            self.inodes += 1;
            self.is_least = true;
            return Ok(());
        }
        let mut at = 0;
        loop {
            let mut input = tape.read(&blob.from(at, u64::MAX))?;
            let mut reader = Reader::new(&mut input, None);
            let long = loop {
                signal::check()?;
                let Some(entry) = reader.next_entry()? else { return Ok(()) };
                let size = match entry.node {
                    Node::Link(_) => continue,
                    Node::File(size) => size,
                    Node::Directory => block,
                    _ => 0,
                };
                self.inodes += 1;
                self.bytes = self.bytes.saturating_add(size.div_ceil(block).saturating_mul(block));
                if matches!(entry.node, Node::File(size) if size > SHORT) {
                    break size;
                }
            };
            at = at.saturating_add(reader.position()).saturating_add(long);
            at = at.saturating_add(padding(long) as u64);
        }
    }
}
