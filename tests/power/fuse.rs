//! A file system in user space of one file, which is its root: what a loop device writes to it is
//! written down. The protocol is that of linux/fuse.h, version 7.31, as far as one file needs it.

use super::harness::Running;
use super::medium::{Blocks, Entry, Recording};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::process::Signal;
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

const GETATTR: u32 = 3;
const SETATTR: u32 = 4;
const OPEN: u32 = 14;
const READ: u32 = 15;
const WRITE: u32 = 16;
const RELEASE: u32 = 18;
const FSYNC: u32 = 20;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
/// These want no answer: FORGET, INTERRUPT, BATCH_FORGET.
const SILENT: [u32; 3] = [2, 36, 42];

/// Before what each request carries, and before the bytes of a write.
const IN_HEADER: usize = 40;
const WRITE_HEADER: usize = 40;
const LARGEST: u32 = 1 << 20;
const MAX_PAGES: u32 = 1 << 22;
const DIRECT_IO: u32 = 1;
const ENOSYS: i32 = 38;

struct Disk {
    blocks: Blocks,
    start: Option<Blocks>,
    entries: Vec<Entry>,
}

/// The file, for as long as this lives.
pub struct DiskFile {
    path: PathBuf,
    disk: Arc<Mutex<Disk>>,
    server: Option<JoinHandle<()>>,
    guard: Option<Running>,
}

impl DiskFile {
    /// Mounts it on `path`, a file that is made.
    pub fn serve(path: &Path, blocks: Blocks) -> DiskFile {
        fs::write(path, "").unwrap();
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let fuse = rustix::fs::open("/dev/fuse", flags, Mode::empty()).expect("open /dev/fuse");
        let options = format!("fd={},rootmode=100600,user_id=0,group_id=0", fuse.as_raw_fd());
        let options = CString::new(options).unwrap();
        let flags = MountFlags::NODEV | MountFlags::NOSUID;
        rustix::mount::mount("power", path, "fuse", flags, options.as_c_str()).expect("mount fuse");
        let disk = Disk { blocks, start: None, entries: Vec::new() };
        let disk = Arc::new(Mutex::new(disk));
        let own = Arc::clone(&disk);
        let server = std::thread::spawn(move || answer_all(&fuse, &own));
        let guard = Some(guard(path));
        DiskFile { path: path.to_owned(), disk, server: Some(server), guard }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it another disk. Nothing may be mounted on it.
    pub fn set(&self, blocks: Blocks) {
        self.with(|disk| disk.blocks = blocks);
    }

    /// Begins to write down.
    pub fn record(&self) {
        self.with(|disk| {
            disk.start = Some(disk.blocks.clone());
            disk.entries = Vec::new();
        });
    }

    /// How much has been written down.
    pub fn position(&self) -> usize {
        self.with(|disk| disk.entries.len())
    }

    /// Ends it and gives what was written down.
    pub fn recorded(&self) -> Recording {
        self.with(|disk| Recording {
            start: disk.start.take().expect("a recording"),
            entries: std::mem::take(&mut disk.entries),
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Disk) -> T) -> T {
        act(&mut self.disk.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for DiskFile {
    fn drop(&mut self) {
        let gone = rustix::mount::unmount(&self.path, UnmountFlags::empty());
        if gone.is_err() {
            let _ = rustix::mount::unmount(&self.path, UnmountFlags::DETACH);
        }
        if let Some(mut guard) = self.guard.take() {
            guard.signal_group(Signal::KILL);
            while !guard.has_ended() {
                std::thread::sleep(Duration::from_millis(5));
            }
            drop(guard.wait());
        }
        // It ends with the mount, which something may still hold after a failure.
        if let (Ok(()), Some(server)) = (gone, self.server.take()) {
            drop(server.join());
        }
    }
}

/// When this process is killed, one of its threads may wait in the kernel for an answer that only
/// another of its threads could have given. Then nothing goes on before the mount is broken off.
fn guard(path: &Path) -> Running {
    let control = "/sys/fs/fuse/connections";
    // In the mount namespace of this test; it may be there.
    let _ = rustix::mount::mount("none", control, "fusectl", MountFlags::empty(), None);
    let connection = rustix::fs::minor(fs::metadata(path).unwrap().dev());
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!(
        "while [ -d /proc/{0} ] && ! grep -q '^State:.Z' /proc/{0}/status; do sleep 1; done
        echo 1 > {control}/{connection}/abort",
        std::process::id()
    ));
    Running::start(&mut shell)
}

fn answer_all(fuse: &OwnedFd, disk: &Mutex<Disk>) {
    let mut request = vec![0; LARGEST as usize + IN_HEADER + WRITE_HEADER + 4096];
    let mut answer = Vec::new();
    loop {
        let length = match rustix::io::read(fuse.as_fd(), &mut request[..]) {
            Ok(length) => length,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::NOENT) => continue,
            // Unmounted.
            Err(_) => return,
        };
        let request = &request[..length];
        let code = number(request, 4, 4) as u32;
        if SILENT.contains(&code) {
            continue;
        }
        answer.clear();
        answer.resize(16, 0);
        let mut disk = disk.lock().unwrap_or_else(PoisonError::into_inner);
        let error = act(code, &request[IN_HEADER..], &mut disk, &mut answer);
        drop(disk);
        if error != 0 {
            answer.truncate(16);
        }
        let all = u32::try_from(answer.len()).unwrap();
        answer[..4].copy_from_slice(&all.to_le_bytes());
        answer[4..8].copy_from_slice(&(-error).to_le_bytes());
        answer[8..16].copy_from_slice(&request[8..16]);
        if rustix::io::write(fuse.as_fd(), &answer).is_err() {
            return;
        }
    }
}

/// Does what is asked and adds to the answer; gives an errno.
fn act(code: u32, body: &[u8], disk: &mut Disk, answer: &mut Vec<u8>) -> i32 {
    let put32 = |answer: &mut Vec<u8>, numbers: &[u32]| {
        answer.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    };
    match code {
        INIT => {
            let read_ahead = number(body, 8, 4) as u32;
            put32(answer, &[7, 31, read_ahead, MAX_PAGES, 0, LARGEST, 1, LARGEST / 4096]);
            put32(answer, &[0; 8]);
        }
        GETATTR | SETATTR => {
            let size = disk.blocks.size();
            put32(answer, &[3600, 0, 0, 0]);
            for number in [1, size, size / 512, 0, 0, 0] {
                answer.extend(u64::to_le_bytes(number));
            }
            put32(answer, &[0, 0, 0, 0o100_600, 1, 0, 0, 0, 4096, 0]);
        }
        OPEN => put32(answer, &[0, 0, DIRECT_IO, 0]),
        READ => disk.blocks.read(number(body, 8, 8), number(body, 16, 4) as usize, answer),
        WRITE => {
            let (offset, size) = (number(body, 8, 8), number(body, 16, 4));
            let bytes = &body[WRITE_HEADER..][..size as usize];
            disk.blocks.write(offset, bytes);
            if disk.start.is_some() {
                disk.entries.push(Entry::Write { offset, bytes: bytes.to_vec() });
            }
            put32(answer, &[size as u32, 0]);
        }
        FSYNC if disk.start.is_some() => disk.entries.push(Entry::Flush),
        FSYNC | FLUSH | RELEASE => {}
        // A discard or a hole is none: then the block layer writes zeros.
        _ => return ENOSYS,
    }
    0
}

fn number(bytes: &[u8], at: usize, size: usize) -> u64 {
    let mut all = [0; 8];
    all[..size].copy_from_slice(&bytes[at..][..size]);
    u64::from_le_bytes(all)
}
