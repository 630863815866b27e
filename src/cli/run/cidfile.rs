//! The file into which a container's id is written, for scripts.

use std::io::Write as _;

use crate::error::{Context, Error, Result};

/// `--cidfile`: a file that must not be there yet.
pub struct CidFile(String);

impl CidFile {
    /// One at this path.
    pub fn new(path: String) -> Result<CidFile> {
        match std::fs::symlink_metadata(&path) {
            Ok(_) => Err(Error::input(format!("container ID file found: {path:?}"))
                .hint("make sure the other container isn't running, or delete the file")),
            Err(_) => Ok(CidFile(path)),
        }
    }

    /// Writes the id.
    pub fn write(&self, id: &str) -> Result<()> {
        let says = || format!("write the container ID file {:?}", self.0);
        std::fs::File::create_new(&self.0).and_then(|mut file| file.write_all(id.as_bytes())).context(says)
    }
}
