//! What steps have made before: `cache/<xx>/<key>`, one flat file a step.

use std::collections::BTreeMap;

use super::{Fields, Store, seal};
use crate::error::Result;
use crate::image::digest::{DiffId, Digest, ImageId};
use crate::sys::fs::read_small;

/// A step's key: blake3 of its parent and its effect (`plan::key` makes it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheKey(pub [u8; 32]);

impl CacheKey {
    /// The 64 hex digits.
    pub fn hex(&self) -> String {
        Digest::from_bytes(self.0).hex()
    }

    pub(super) fn path(&self) -> (String, String) {
        let hex = self.hex();
        let (start, rest) = hex.split_at_checked(2).unwrap_or(("", &hex));
        (format!("cache/{start}"), rest.to_owned())
    }
}

/// What a step made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When, RFC 3339.
    pub created: String,
    /// The layer's diff id, if it made one.
    pub diff_id: Option<DiffId>,
    /// The image before the step.
    pub parent: Option<ImageId>,
    /// The image after the step.
    pub image: ImageId,
    /// What its key was made of, in short (`plan::key::Brief`); empty in older records.
    pub brief: String,
    /// Its key is that of the layer alone (`plan::key::layer_key`), besides that of the step.
    pub is_layer: bool,
}

impl Record {
    /// The text of a record: a field a line, behind their checksum.
    pub fn to_text(&self) -> String {
        let mut text = format!("created {}\nimage {}\n", self.created, self.image);
        if let Some(diff) = &self.diff_id {
            text.push_str(&format!("diff {diff}\n"));
        }
        if let Some(parent) = &self.parent {
            text.push_str(&format!("parent {parent}\n"));
        }
        if self.is_layer {
            text.push_str("of layer\n");
        }
        if !self.brief.is_empty() {
            text.push_str(&format!("brief {}\n", self.brief));
        }
        seal::seal(&text)
    }

    /// Reads a record's text; nothing when a field is missing or wrong.
    pub fn parse(text: &str) -> Option<Record> {
        let fields = Fields(seal::unseal(text)?);
        let digest = |key| match fields.get(key) {
            Some(text) => Digest::parse(text).ok().map(Some),
            None => Some(None),
        };
        Some(Record {
            created: fields.get("created")?.to_owned(),
            diff_id: digest("diff")?,
            parent: digest("parent")?,
            image: digest("image")??,
            brief: fields.get("brief").unwrap_or_default().to_owned(),
            is_layer: fields.get("of") == Some("layer"),
        })
    }
}

impl Store {
    /// What a step of this key has made. A record that cannot be read is no record: the step
    /// runs again and writes a new one.
    pub fn cached(&self, key: &CacheKey) -> Result<Option<Record>> {
        let (dir, name) = key.path();
        let text = read_small(self.fd(), format!("{dir}/{name}"), 4096)?;
        let own = text.and_then(|text| Record::parse(&String::from_utf8_lossy(&text)));
        match self.below() {
            Some(below) if own.is_none() => below.cached(key),
            _ => Ok(own),
        }
    }

    /// From each step's image to the image that it was made of.
    pub fn parents(&self) -> Result<BTreeMap<ImageId, ImageId>> {
        let mut parents = BTreeMap::new();
        self.each_record(false, &mut |_, record| {
            if let Some(parent) = record.parent {
                parents.insert(record.image, parent);
            }
            Ok(true)
        })?;
        Ok(parents)
    }

    /// All records with their keys, in no order.
    pub fn records(&self) -> Result<Vec<(CacheKey, Record)>> {
        let mut records = Vec::new();
        self.each_record(false, &mut |path, record| {
            // `cache/<xx>/<the rest>`: as many hex digits as a digest has.
            let hex = path.replace('/', "");
            if let Some(key) = hex.strip_prefix("cache").and_then(Digest::parse_hex) {
                records.push((CacheKey(*key.bytes()), record.clone()));
            }
            Ok(true)
        })?;
        Ok(records)
    }

    /// All records, or those of this store alone, with their paths, in no order; stops when `each`
    /// says false.
    pub fn each_record(
        &self,
        is_own: bool,
        each: &mut dyn FnMut(&str, &Record) -> Result<bool>,
    ) -> Result<()> {
        let mut on = true;
        self.each_name("cache", &mut |start| {
            let dir = format!("cache/{start}");
            self.each_name(&dir, &mut |name| {
                let path = format!("{dir}/{name}");
                let text = read_small(self.fd(), &path, 4096)?.unwrap_or_default();
                if let Some(record) = Record::parse(&String::from_utf8_lossy(&text)) {
                    on = each(&path, &record)?;
                }
                Ok(on)
            })?;
            Ok(on)
        })?;
        match self.below() {
            Some(below) if on && !is_own => below.each_record(false, each),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_and_half_of_one_is_none() {
        let record = Record {
            created: "2026-01-01T00:00:00Z".into(),
            diff_id: Some(Digest::of(b"a")),
            parent: None,
            image: Digest::of(b"b"),
            brief: "1 2 3".into(),
            is_layer: true,
        };
        let text = record.to_text();
        assert_eq!(Record::parse(&text), Some(record));
        assert_eq!(Record::parse(text.get(..40).unwrap()), None);
        // Whatever the end is that it lacks, and whichever digit is another one.
        assert_eq!(Record::parse(text.get(..text.len() - 1).unwrap()), None);
        assert_eq!(Record::parse(&text.replace("2026", "2027")), None);
        let older = seal::unseal(&text).unwrap();
        assert_eq!(Record::parse(older), Record::parse(&text));
        assert_eq!(Record::parse(""), None);
    }
}
