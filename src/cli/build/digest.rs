//! What firmware tools want beside an image: `FILE.sha256`, as `sha256sum -c` reads it, and
//! `FILE.size`, its bytes as a number.

use std::io::Write as _;

use crate::cli::whole_file::{self, WholeFile};
use crate::error::{Context as _, Result};

/// Puts a file in its place, and these beside it. At no time is there one that belongs to another
/// file.
pub fn finish(path: &str, mut file: WholeFile) -> Result<()> {
    let (digest, size) = file.sum()?;
    let name = path.rsplit('/').next().unwrap_or_default();
    let (sum_path, size_path) = (format!("{path}.sha256"), format!("{path}.size"));
    for path in [&sum_path, &size_path] {
        whole_file::remove(path)?;
    }
    file.finish()?;
    let line = format!("{}  {name}\n", digest.hex());
    for (path, text) in [(sum_path, line), (size_path, format!("{size}\n"))] {
        let mut file = WholeFile::create(&path, 0o666)?;
        file.write_all(text.as_bytes()).context(|| format!("write to {path:?}"))?;
        file.finish()?;
    }
    Ok(())
}
