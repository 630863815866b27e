//! What the tests of this room share: directories that are gone when the test is.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{CWD, FileType, Mode};

use super::walk::DIRECTORY;

/// A new empty directory.
pub struct Scratch {
    pub path: PathBuf,
    fd: OwnedFd,
}

impl Scratch {
    pub fn new() -> Scratch {
        assert!(rustix::process::geteuid().is_root(), "these tests make devices: run them as root");
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = format!("lath-layer-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(path);
        std::fs::create_dir(&path).unwrap();
        let fd = rustix::fs::openat(CWD, &path, DIRECTORY, Mode::empty()).unwrap();
        Scratch { path, fd }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub fn write(&self, path: &str, content: &[u8]) {
        let path = self.path.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub fn whiteout(&self, path: &str) {
        rustix::fs::mknodat(&self.fd, path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Deeper trees than std can remove are left to rm.
        let _ = std::process::Command::new("rm").arg("-rf").arg(&self.path).status();
    }
}
