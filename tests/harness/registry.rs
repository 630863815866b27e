//! A real registry, Debian's docker-registry, as `serve-registry` of the base images starts it.

use super::needs::bases;
use super::process::{finish, own_children};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

/// Serves until it is dropped.
pub struct RealRegistry {
    folder: PathBuf,
    pid: i32,
    /// `127.0.0.1:PORT`
    pub at: String,
    /// The lines it said of itself: `ca`, `realm`, `blobs`.
    said: String,
}

impl RealRegistry {
    /// Starts it with a folder of its own and these words more.
    pub fn start(folder: &Path, words: &[&str]) -> RealRegistry {
        super::leak::watch();
        fs::create_dir_all(folder).unwrap();
        let pid_file = folder.join("pid");
        let mut server = Command::new(bases().join("serve-registry"));
        server.arg("--data").arg(folder).arg("--daemon").arg(&pid_file).args(words);
        let said = finish(&mut server, &[]).success().stdout;
        let pid = fs::read_to_string(pid_file).unwrap().trim().parse().unwrap();
        own_children().insert(u32::try_from(pid).unwrap());
        let mut registry = RealRegistry { folder: folder.to_owned(), pid, at: String::new(), said };
        registry.at = registry.said("registry");
        registry
    }

    /// What it said under a word.
    pub fn said(&self, word: &str) -> String {
        let mut lines = self.said.lines().filter_map(|line| line.split_once(' '));
        lines.find(|(known, _)| *known == word).unwrap_or_else(|| panic!("{}", self.said)).1.into()
    }

    /// A name in it.
    pub fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.at)
    }

    /// Pushes one of the base images with skopeo; gives the name.
    pub fn push(&self, file: &str, name: &str, words: &[&str]) -> String {
        let from = format!("oci-archive:{}", bases().join(file).to_str().unwrap());
        self.copy(&from, name, words)
    }

    /// Has skopeo copy an image into it; gives the name.
    pub fn copy(&self, from: &str, name: &str, words: &[&str]) -> String {
        let to = format!("docker://{}", self.name(name));
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["copy", "--quiet", "--all"]).args(words);
        if self.folder.join("certs").exists() {
            skopeo.arg("--dest-cert-dir").arg(self.folder.join("certs"));
        } else {
            skopeo.arg("--dest-tls-verify=false");
        }
        finish(skopeo.args([from, &to]), &[]).success();
        self.name(name)
    }

    /// How often its log speaks of this: `GET /v2/x/blobs/`.
    pub fn asked(&self, words: &str) -> usize {
        let log = fs::read_to_string(self.folder.join("registry.log")).unwrap();
        log.lines().filter(|line| line.contains(words)).count()
    }
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.pid).unwrap();
        let _ = kill_process(pid, Signal::TERM);
        for _ in 0..500 {
            if !matches!(waitpid(Some(pid), WaitOptions::NOHANG), Ok(None)) {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        own_children().remove(&self.pid.cast_unsigned());
    }
}
