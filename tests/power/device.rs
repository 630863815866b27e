//! A block device whose writes are known, and a file system on it.

use super::fuse::DiskFile;
use super::harness::host;
use super::medium::Blocks;
use rustix::mount::{MountFlags, UnmountFlags};
use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};

/// A file system to lay a store on.
#[derive(Debug)]
pub struct FileSystem {
    /// How reports call it.
    pub name: &'static str,
    pub kind: &'static str,
    /// Makes one, on the device that comes last.
    pub make: &'static [&'static str],
    pub options: &'static str,
    pub megabytes: u64,
}

/// A recorded file and, whenever it is in use, a loop device over it. That has a cache to the
/// kernel: flushes come down to the file.
pub struct Device {
    pub file: DiskFile,
    mount_point: PathBuf,
}

impl Device {
    /// Makes one with files in `home`.
    pub fn new(home: &Path, megabytes: u64) -> Device {
        let mount_point = home.join("mnt");
        fs::create_dir_all(&mount_point).unwrap();
        Device {
            file: DiskFile::serve(&home.join("disk"), Blocks::new(megabytes << 20)),
            mount_point,
        }
    }

    /// Makes it an empty file system.
    pub fn make(&self, system: &FileSystem) {
        self.file.set(Blocks::new(system.megabytes << 20));
        let (program, words) = system.make.split_first().unwrap();
        self.with_loop(|path| {
            let words: Vec<_> = words.iter().copied().chain([path]).collect();
            host(program, &words);
        });
    }

    /// Mounts it.
    pub fn mount(&self, system: &FileSystem) -> Result<Mounted<'_>, String> {
        let options = CString::new(system.options).unwrap();
        let at = self.mount_point.as_path();
        let mounted = self.with_loop(|path| {
            let flags = MountFlags::NOATIME;
            rustix::mount::mount(path, at, system.kind, flags, options.as_c_str())
        });
        mounted.map_err(|error| format!("mount {}: {error}", system.name))?;
        Ok(Mounted { device: self, is_mounted: true })
    }

    /// A new device each time, so that the kernel remembers nothing of another disk. It goes when
    /// nothing is mounted on it any more.
    fn with_loop<T>(&self, act: impl FnOnce(&str) -> T) -> T {
        let file = self.file.path().to_str().unwrap();
        let path = host("losetup", &["--direct-io=on", "--find", "--show", file]);
        let done = act(path.trim());
        host("losetup", &["-d", path.trim()]);
        done
    }
}

/// A file system in use.
pub struct Mounted<'a> {
    device: &'a Device,
    is_mounted: bool,
}

impl Mounted<'_> {
    /// Its root.
    pub fn path(&self) -> &Path {
        &self.device.mount_point
    }

    /// Takes it away; nothing may be in use there any more.
    pub fn unmount(mut self) -> Result<(), String> {
        let at = &self.device.mount_point;
        rustix::mount::unmount(at, UnmountFlags::empty())
            .map_err(|error| format!("umount: {error}"))?;
        self.is_mounted = false;
        Ok(())
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        if self.is_mounted {
            let _ = rustix::mount::unmount(&self.device.mount_point, UnmountFlags::DETACH);
        }
    }
}
