//! The package repository of the Alpine base. Its port is fixed in that base, so that one stands
//! at a time on a machine: a lock on a file says whose turn it is.

use super::needs::bases;
use super::process::{finish, own_children};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

/// Serves until it is dropped.
pub struct ApkServer {
    folder: PathBuf,
    pid: i32,
    _turn: File,
}

impl ApkServer {
    /// Waits for its turn and starts it.
    pub fn start() -> ApkServer {
        super::leak::watch();
        let turn = File::create(std::env::temp_dir().join("lath-test-apk.lock")).unwrap();
        flock(&turn, FlockOperation::LockExclusive).unwrap();
        let folder = std::env::temp_dir().join(format!("lath-test-apk-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let [pid, log] = ["pid", "log"].map(|name| folder.join(name).to_str().unwrap().to_owned());
        let program = bases().join("serve-apk");
        // Somebody else, who does not know of the lock, may have the port for a while.
        for patience in (0..60).rev() {
            let mut server = Command::new(&program);
            let started = finish(server.args(["--daemon", &pid, "--log", &log]), &[]);
            if started.code == 0 {
                break;
            }
            assert!(patience > 0, "{started}");
            thread::sleep(Duration::from_secs(2));
        }
        let pid = fs::read_to_string(pid).unwrap().trim().parse().unwrap();
        own_children().insert(u32::try_from(pid).unwrap());
        ApkServer { folder, pid, _turn: turn }
    }

    /// One line for each request so far.
    pub fn requests(&self) -> Vec<String> {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    /// How often a package was fetched.
    pub fn fetched(&self, package: &str) -> usize {
        let start = format!("GET /x86_64/{package}-");
        self.requests().iter().filter(|line| line.starts_with(&start)).count()
    }
}

impl Drop for ApkServer {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.pid).unwrap();
        let _ = kill_process(pid, Signal::TERM);
        for _ in 0..200 {
            let waited = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::NOHANG);
            if !matches!(waited, Ok(None)) {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        own_children().remove(&self.pid.cast_unsigned());
        drop(fs::remove_dir_all(&self.folder));
    }
}
