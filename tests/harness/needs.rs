//! What a test needs of the machine. Without it the test is skipped with a line that says why;
//! with `LATH_TEST_STRICT=1`, as in CI, it fails.

use std::io::Write;
use std::path::{Path, PathBuf};

/// Something that not every machine has.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// To be root.
    Root,
    /// The folder of base images: `LATH_BASES`, or beside the checkout.
    Bases,
    /// A program of this machine.
    Program(&'static str),
    /// A static busybox, to make an image of.
    Busybox,
}

impl Need {
    fn missing(self) -> Option<String> {
        match self {
            Need::Root => (!rustix::process::geteuid().is_root()).then(|| "not root".to_owned()),
            Need::Bases => {
                let there = bases().join("alpine-amd64.oci.tar").exists();
                (!there).then(|| "no base images (LATH_BASES)".to_owned())
            }
            Need::Program(name) => find(name).is_none().then(|| format!("no program {name}")),
            Need::Busybox => super::base::busybox().is_none().then(|| "no static busybox".into()),
        }
    }
}

/// Whether all is there; if not, the calling test returns.
pub fn needs(all: &[Need]) -> bool {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("test");
    let missing: Vec<_> = all.iter().filter_map(|need| need.missing()).collect();
    if missing.is_empty() {
        return true;
    }
    let reason = missing.join(", ");
    assert!(std::env::var_os("LATH_TEST_STRICT").is_none_or(|v| v != "1"), "missing: {reason}");
    // Not by a macro: their output is hidden while a test passes.
    drop(writeln!(std::io::stderr(), "SKIP {name}: {reason}"));
    false
}

/// The folder of base images.
pub fn bases() -> PathBuf {
    match std::env::var_os("LATH_BASES") {
        Some(named) => named.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/bases"),
    }
}

/// Where a program is.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}
