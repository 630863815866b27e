//! Finished steps as files, for other stores: a directory with the record of each step and the
//! layers that the records name. docs/OUTPUTS.md draws it.
//!
//! Nothing of it is believed: a layer is unpacked and must have the digest that its name says,
//! and whoever reads a record holds it against the image that it leads to.

use std::fs::File;
use std::io::Write as _;

use rustix::fs::{FileType, Mode, OFlags};

use crate::archive::folder::Folder;
use crate::archive::save::write_layer;
use crate::archive::stack::Stack;
use crate::error::{Context, Error, Result};
use crate::image::digest::DiffId;
use crate::layer::compress::{Gzip, decompress};
use crate::layer::verify::HashingReader;
use crate::store::{CacheKey, Layer, NewLayer, Record, Scratch, Store};
use crate::sys::flow::Inflow;

/// The form of what is in there.
const FORM: &str = "lath-1";
/// Fast: what is written often and read seldom.
const LEVEL: u8 = 1;

/// A directory of finished steps.
pub struct Steps(Folder);

impl Steps {
    /// Opens the directory to read from it.
    pub fn open(path: &str) -> Result<Steps> {
        Folder::open(path).map(Steps).context(|| format!("open {path:?}"))
    }

    /// Opens the directory to write to it, and makes it where it is not there.
    pub fn create(path: &str) -> Result<Steps> {
        let [steps, layers] = ["steps", "layers"].map(|name| format!("{FORM}/{name}"));
        Folder::create(path, &[FORM, &steps, &layers]).map(Steps)
    }

    /// The record of a key; nothing when there is none that can be read.
    pub fn record(&self, key: &CacheKey) -> Option<Record> {
        let text = self.0.read(&step(key), 4096).ok()??;
        Record::parse(&String::from_utf8_lossy(&text))
    }

    /// Writes a record. What it names is to be there, and durable.
    pub fn put_record(&self, key: &CacheKey, record: &Record) -> Result<()> {
        self.0.file(&step(key), &mut |out| Ok(out.write_all(record.to_text().as_bytes())?))
    }

    /// Unpacks a layer onto the layers below it, as far as the store does not have it.
    pub fn layer(
        &self,
        store: &Store,
        scratch: &Scratch,
        below: &[DiffId],
        diff_id: &DiffId,
    ) -> Result<Vec<NewLayer>> {
        let mut stack = Stack::on(store, scratch, below)?;
        if !stack.reuse(diff_id)? {
            stack.add(&mut self.read(diff_id)?, Some(diff_id))?;
        }
        Ok(stack.new)
    }

    /// Writes a layer, unless it is there.
    pub fn put_layer(&self, store: &Store, layer: &Layer) -> Result<()> {
        let is_whole = |mut tar: Box<dyn Inflow>| {
            HashingReader::new(&mut tar).verify(&layer.diff_id, Some(layer.tar_bytes))
        };
        if self.read(&layer.diff_id).and_then(is_whole).is_ok() {
            return Ok(());
        }
        self.0.file(&tar(&layer.diff_id), &mut |out| {
            let mut gzip = Gzip::new(out, LEVEL)?;
            write_layer(store, layer, &mut gzip)?;
            gzip.finish()
        })
    }

    /// Waits until all that was written is on the medium.
    pub fn sync(&self) -> Result<()> {
        self.0.sync()
    }

    fn read(&self, diff_id: &DiffId) -> Result<Box<dyn Inflow>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(self.0.fd(), tar(diff_id), flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::input("it is no regular file"));
        }
        decompress(Box::new(File::from(file))).map(|(_, tar)| tar)
    }
}

fn step(key: &CacheKey) -> String {
    format!("{FORM}/steps/{}", key.hex())
}

fn tar(diff_id: &DiffId) -> String {
    format!("{FORM}/layers/{}.tar.gz", diff_id.hex())
}
