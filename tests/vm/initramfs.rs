//! What a machine boots: a kernel's modules in the order in which they can be loaded, and an archive
//! of files that it unpacks into memory (cpio, "newc").

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The kernel's modules by their names.
pub fn modules(kernel: &Path) -> BTreeMap<String, PathBuf> {
    let (mut found, mut dirs) = (BTreeMap::new(), vec![kernel.join("lib/modules")]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|end| end == "ko") {
                let name = path.file_stem().unwrap().to_str().unwrap().replace('-', "_");
                found.insert(name, path);
            }
        }
    }
    found
}

/// These modules after those that they need, each once.
pub fn in_order(all: &BTreeMap<String, PathBuf>, wanted: &[&str]) -> Vec<PathBuf> {
    let mut order = Vec::new();
    for name in wanted {
        add(all, name, &mut order);
    }
    order
}

fn add(all: &BTreeMap<String, PathBuf>, name: &str, order: &mut Vec<PathBuf>) {
    // One that is not there is a part of the kernel itself.
    let Some(path) = all.get(&name.replace('-', "_")) else { return };
    if order.contains(path) {
        return;
    }
    let bytes = fs::read(path).unwrap();
    const FIELD: &[u8] = b"\0depends=";
    if let Some(at) = bytes.windows(FIELD.len()).position(|window| window == FIELD) {
        let list = bytes[at + FIELD.len()..].split(|byte| *byte == 0).next().unwrap();
        for needed in std::str::from_utf8(list).unwrap().split(',').filter(|name| !name.is_empty())
        {
            add(all, needed, order);
        }
    }
    order.push(path.clone());
}

/// An archive of files: path, mode, content.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    count: usize,
}

impl Archive {
    pub fn dir(&mut self, path: &str) {
        self.entry(path, 0o040_755, &[]);
    }

    pub fn program(&mut self, path: &str, content: &[u8]) {
        self.entry(path, 0o100_755, content);
    }

    /// All of it.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.count += 1;
        let (length, name) = (content.len(), path.len() + 1);
        // Number, mode, owner, group, names, time, size, devices (4), length of the name, checksum.
        let fields = [self.count, mode as usize, 0, 0, 1, 0, length, 0, 0, 0, 0, name, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(path.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}
