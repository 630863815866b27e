//! What every system test stands on: a lath with a store of its own under a temporary folder,
//! called as a user calls it, and looked after when the test ends.
//!
//! `LATH_BIN` names the binary to test. Without it, it is the newer one of the static release
//! binary and the one that cargo has built for the tests.

#![allow(dead_code, unused_imports, reason = "each test file uses its part of the harness")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a broken assumption of a test is a failed test"
)]

mod apk;
mod base;
mod leak;
mod needs;
mod process;
mod random;
mod registry;
mod safe;
mod shelf;
mod store;
mod web;

pub use apk::ApkServer;
pub use base::{
    Member, architecture, busybox, busybox_tar, hex, layout_of, packed_layout_of,
    small_busybox_tar, tar_of,
};
pub use leak::{gone, pids_of};
pub use needs::{Need, bases, needs};
pub use process::{Output, Running, finish, host, host_with, parent_of, pss, until};
pub use random::Random;
pub use registry::RealRegistry;
pub use safe::{Authority, SafeWeb};
pub use shelf::{Shelf, config_of, descriptor, manifest_of, packed};
pub use store::Listing;
pub use web::{Asked, Cutting, Web, ok, redirect, socks_to, status, tunnel_to};

use lath::image::json::Value;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

/// A lath with an empty store and a folder for the test's own files.
pub struct Lath {
    home: PathBuf,
}

impl Lath {
    /// With nothing in the store.
    pub fn new() -> Lath {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lath-test-{}-{number}", std::process::id());
        let home = std::env::temp_dir().join(name);
        fs::create_dir_all(home.join("files")).unwrap();
        leak::watch();
        Lath { home }
    }

    /// With `busybox:latest` in the store, made of this machine's own static busybox.
    pub fn with_busybox() -> Lath {
        let lath = Lath::new();
        lath.give(&["import", "-", "busybox:latest"], &busybox_tar()).success();
        lath
    }

    /// With one of the base images in the store.
    pub fn with_base(file: &str) -> Lath {
        let lath = Lath::new();
        lath.ok(&["load", "-i", bases().join(file).to_str().unwrap()]);
        lath
    }

    /// Where the store is.
    pub fn store(&self) -> PathBuf {
        self.home.join("store")
    }

    /// A path in the test's own folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.join("files").join(name)
    }

    /// The same as text, for a command line.
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Writes a file into the test's own folder, with the folders above it.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// The command, not started yet, with an environment of its own.
    pub fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(binary());
        if let Some(driver) = std::env::var_os("LATH_TEST_DRIVER") {
            command.arg("--driver").arg(driver);
        }
        command.args(args).current_dir(self.home.join("files")).env_clear();
        command.env("LATH_ROOT", self.store()).env("HOME", &self.home);
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// Runs it to its end, whatever that is.
    pub fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Output {
        process::finish(&mut self.command(args), &[])
    }

    /// Runs it with bytes on standard input.
    pub fn give<S: AsRef<OsStr>>(&self, args: &[S], input: &[u8]) -> Output {
        process::finish(&mut self.command(args), input)
    }

    /// Runs it and wants exit code 0; gives standard output.
    pub fn ok<S: AsRef<OsStr>>(&self, args: &[S]) -> String {
        self.run(args).success().stdout
    }

    /// Runs it and wants exit code 1 and an error that reads as one; gives standard error.
    pub fn fails<S: AsRef<OsStr>>(&self, args: &[S]) -> String {
        self.run(args).failure(1)
    }

    /// Starts it and gives a handle to signal and to wait for.
    pub fn start<S: AsRef<OsStr>>(&self, args: &[S]) -> Running {
        Running::start(&mut self.command(args))
    }

    /// Builds `dockerfile` in the context folder `context`; more words come before that.
    pub fn build_in(&self, context: &str, tag: &str, dockerfile: &str, more: &[&str]) -> Output {
        self.write(&format!("{context}/Dockerfile"), dockerfile);
        let mut args = vec!["build", "-t", tag];
        args.extend(more);
        args.push(context);
        self.run(&args)
    }

    /// Builds a Dockerfile that needs no other file, and wants that to work.
    pub fn build(&self, tag: &str, dockerfile: &str) -> Output {
        self.build_in(&format!("context-{}", tag.replace(['/', ':'], "-")), tag, dockerfile, &[])
            .success()
    }

    /// What a shell command prints in a container of the image.
    pub fn shell(&self, image: &str, script: &str) -> String {
        self.ok(&["run", "--rm", image, "sh", "-c", script])
    }

    /// The image id, in full.
    pub fn id(&self, image: &str) -> String {
        self.ok(&["images", "-q", "--no-trunc", image]).trim().to_owned()
    }

    /// The one object that `inspect` shows of an image.
    pub fn inspect(&self, image: &str) -> Value {
        let text = self.ok(&["inspect", image]);
        let value = Value::parse(text.as_bytes()).unwrap();
        let [one] = value.as_array().expect("inspect prints an array") else {
            panic!("inspect of one image printed {text}");
        };
        one.clone()
    }

    /// A field of the image's `Config` as JSON with sorted keys; nothing in it is `null`.
    pub fn config(&self, image: &str, field: &str) -> String {
        let inspected = self.inspect(image);
        let config = inspected.get("Config").expect("Config in inspect");
        config.get(field).map_or("null".to_owned(), sorted)
    }

    /// The image's environment without the search path, which is the builder's affair.
    pub fn env(&self, image: &str) -> Vec<String> {
        let inspected = self.inspect(image);
        let env = inspected.get("Config").and_then(|config| config.get("Env"));
        let mut env = env.map(Value::to_strings).unwrap_or_default();
        env.retain(|pair| !pair.starts_with("PATH="));
        env
    }

    /// Every name in the store with what a change of it would change.
    pub fn listing(&self) -> Listing {
        Listing::of(&self.store())
    }
}

impl Drop for Lath {
    fn drop(&mut self) {
        let left = leak::of(&self.home, &self.store());
        if std::thread::panicking() {
            leak::kill(&self.home);
        }
        leak::unmount(&self.home);
        let removed = fs::remove_dir_all(&self.home);
        if std::thread::panicking() {
            return;
        }
        assert!(left.is_empty(), "left behind:\n{}", left.join("\n"));
        removed.expect("remove the test's folder");
    }
}

/// JSON text whose order of keys does not matter; empty is `null`, as it is to docker.
pub fn sorted(value: &Value) -> String {
    if let Some(pairs) = value.as_object() {
        let quoted = |key: &str| Value::string(key).to_text();
        let mut texts: Vec<_> =
            pairs.iter().map(|(key, value)| format!("{}:{}", quoted(key), sorted(value))).collect();
        texts.sort();
        return format!("{{{}}}", texts.join(","));
    }
    match value.as_array() {
        Some([]) => "null".into(),
        Some(items) => format!("[{}]", items.iter().map(sorted).collect::<Vec<_>>().join(",")),
        None if value.as_str() == Some("") => "null".into(),
        None => value.to_text(),
    }
}

/// The binary under test.
pub fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("LATH_BIN") {
        return named.into();
    }
    let built = PathBuf::from(env!("CARGO_BIN_EXE_lath"));
    let target = format!("target/{}-unknown-linux-musl/release/lath", std::env::consts::ARCH);
    let release = Path::new(env!("CARGO_MANIFEST_DIR")).join(target);
    let age = |path: &Path| fs::metadata(path).and_then(|m| m.modified()).ok();
    let release_is_newer = age(&release) > age(&built).or(Some(SystemTime::UNIX_EPOCH));
    if release_is_newer { release } else { built }
}
