//! A kill and an error at the system calls that change something, one at a time: afterwards the
//! store is clean, what was there works, and the same command does what it should.
//!
//! By default some of each are tried; `LATH_TORTURE=N` (`make torture`) tries all of the calls, each
//! with N of the errors in turn, several commands side by side; it goes on after a loss, and counts.
//! `LATH_TORTURE_ONLY=NAME` tries one of the commands.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use harness::{Lath, Listing, Need, Output, finish, host, needs, small_busybox_tar};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

const HERE: &[Need] = &[Need::Root, Need::Busybox, Need::Program("strace")];

/// The system calls that change files, and those that give descriptors.
const CALLS: &str = "write,writev,pwrite64,sendfile,openat,mkdirat,renameat,renameat2,unlinkat,fsync,fdatasync,syncfs,linkat,\
                     symlinkat,mknodat,fchmod,fchmodat,fchown,fchownat,utimensat,copy_file_range,\
                     ftruncate,fallocate,fsetxattr,ioctl,flock";

const ERRORS: &[&str] = &["ENOSPC", "EIO", "EDQUOT", "EMFILE", "ENOMEM", "EINTR", "EROFS"];

const DOCKERFILE: &str = "FROM busybox\nRUN echo a > /a\nCOPY f /f\nLABEL x=y\nRUN echo b > /b\n";

/// A command, and what holds when it has worked.
struct Work {
    name: &'static str,
    words: &'static [&'static str],
    /// A command that then works.
    proof: &'static [&'static str],
    /// A container that runs already.
    running: Option<&'static str>,
    /// What it makes and cannot make twice.
    container: Option<&'static str>,
}

const PLAIN: Work =
    Work { name: "", words: &[], proof: &["images"], running: None, container: None };

const WORKS: &[Work] = &[
    Work {
        name: "load",
        words: &["load", "-q", "-i", "other.tar"],
        proof: &["run", "--rm", "other", "true"],
        ..PLAIN
    },
    Work {
        name: "build",
        words: &["build", "-t", "new:1", "c"],
        proof: &["run", "--rm", "new:1", "grep", "b", "/b"],
        ..PLAIN
    },
    Work {
        name: "tag",
        words: &["tag", "busybox", "new:2"],
        proof: &["run", "--rm", "new:2", "true"],
        ..PLAIN
    },
    Work { name: "run", words: &["run", "--rm", "old:1", "true"], ..PLAIN },
    Work {
        name: "commit",
        words: &["commit", "still", "new:3"],
        proof: &["run", "--rm", "new:3", "grep", "x", "/own"],
        ..PLAIN
    },
    Work {
        name: "import",
        words: &["import", "root.tar", "new:4"],
        proof: &["run", "--rm", "new:4", "grep", "root", "/mark"],
        ..PLAIN
    },
    Work { name: "rmi", words: &["rmi", "-f", "old:1"], ..PLAIN },
    Work {
        name: "create",
        words: &["create", "--name", "new", "busybox", "true"],
        proof: &["start", "new"],
        container: Some("new"),
        ..PLAIN
    },
    Work {
        name: "create, copy driver",
        words: &["--driver", "copy", "create", "--name", "new", "busybox", "true"],
        proof: &["start", "new"],
        container: Some("new"),
        ..PLAIN
    },
    Work {
        name: "run -d",
        words: &["run", "-d", "--name", "new", "busybox", "grep", "base", "/mark"],
        proof: &["logs", "new"],
        container: Some("new"),
        ..PLAIN
    },
    Work { name: "start", words: &["start", "still"], proof: &["wait", "still"], ..PLAIN },
    Work {
        name: "stop",
        words: &["stop", "-t", "0", "live"],
        proof: &["start", "live"],
        running: Some("live"),
        ..PLAIN
    },
    Work { name: "rm", words: &["rm", "-f", "live"], running: Some("live"), ..PLAIN },
    Work { name: "rename", words: &["rename", "still", "quiet"], ..PLAIN },
    Work { name: "container prune", words: &["container", "prune", "-f"], ..PLAIN },
    Work { name: "image prune", words: &["image", "prune", "-a", "-f"], ..PLAIN },
    Work { name: "builder prune", words: &["builder", "prune", "-a", "-f"], ..PLAIN },
    Work { name: "system prune", words: &["system", "prune", "-f"], ..PLAIN },
    Work { name: "gc", words: &["gc"], ..PLAIN },
    Work {
        name: "volume create",
        words: &["volume", "create", "new"],
        proof: &["volume", "inspect", "new"],
        ..PLAIN
    },
    Work { name: "volume rm", words: &["volume", "rm", "kept"], ..PLAIN },
    Work { name: "volume prune", words: &["volume", "prune", "-a", "-f"], ..PLAIN },
    // It is made and filled.
    Work {
        name: "run -v",
        words: &["run", "--rm", "-v", "new:/v", "volume", "true"],
        proof: &["run", "--rm", "-v", "new:/v", "volume", "grep", "of the image", "/v/a/b/f"],
        ..PLAIN
    },
    // One of the image's, that goes with it.
    Work {
        name: "run, a volume",
        words: &["run", "--rm", "volume", "grep", "of the image", "/v/a/b/f"],
        ..PLAIN
    },
    Work { name: "rm -v", words: &["rm", "-v", "whole"], ..PLAIN },
];

/// What a store holds; the sizes of these folders are compared.
const FOLDERS: [&str; 6] = ["layers", "chains", "images", "tmp", "containers", "volumes"];
const TMP: usize = 3;

/// A store, and a copy of it from before each attempt.
struct Arena {
    lath: Lath,
    /// What was in the store when the attempt began.
    before: RefCell<Option<Listing>>,
}

impl Arena {
    fn new() -> Arena {
        let lath = Lath::new();
        lath.give(&["import", "-", "other:latest"], &small_busybox_tar("other")).success();
        lath.ok(&["save", "-o", &lath.text("other.tar"), "other"]);
        lath.ok(&["rmi", "other"]);
        lath.give(&["import", "-", "busybox:latest"], &small_busybox_tar("base")).success();
        // An image without a name and a step that led to none, for those who prune.
        lath.build_in("o", "old:1", "FROM busybox\nRUN echo older > /o\n", &[]).success();
        lath.build_in("o", "old:1", "FROM busybox\nRUN echo old > /o\n", &[]).success();
        lath.build_in("o", "vain", "FROM busybox\nRUN echo vain > /v\nRUN false\n", &[]);
        // It is started again and again, and stopped in the middle.
        let script = "[ -e /own ] || echo x > /own";
        lath.ok(&["run", "--name", "still", "busybox", "sh", "-c", script]);
        lath.ok(&["create", "--name", "live", "busybox", "busybox", "sleep", "1000"]);
        let file = "FROM busybox\nRUN busybox mkdir -p /v/a/b && echo of the image > /v/a/b/f\n\
                    VOLUME /v\n";
        lath.build("volume", file).success();
        // Its volume has no name, and what it has written is in it; the other is nobody's.
        lath.ok(&[
            "run",
            "--name",
            "whole",
            "volume",
            "sh",
            "-c",
            "[ -e /v/own ] || echo own > /v/own",
        ]);
        lath.ok(&["run", "--rm", "-v", "kept:/v", "volume", "sh", "-c", "echo own > /v/own"]);
        lath.write("root.tar", small_busybox_tar("root"));
        lath.write("c/f", "f");
        lath.write("c/Dockerfile", DOCKERFILE);
        host("cp", &["-a", lath.store().to_str().unwrap(), &lath.text("whole")]);
        Arena { lath, before: RefCell::new(None) }
    }

    /// Whether the attempt has left every file as it was: then all holds that held before it.
    fn is_as_it_was(&self, work: &Work) -> bool {
        let now = || Listing::of(&self.lath.store());
        // What has become of a process cannot be seen in a store.
        work.running.is_none()
            && self.before.borrow().as_ref().is_some_and(|old| old.has_files_of(&now()))
    }

    fn restore(&self, work: &Work) {
        let store = self.lath.store();
        if self.is_as_it_was(work) {
            // The first command finds out whether overlayfs works.
            let _ = rustix::fs::removexattr(&store, "trusted.lath.overlay");
            return;
        }
        fs::remove_dir_all(&store).unwrap();
        host("cp", &["-a", &self.lath.text("whole"), store.to_str().unwrap()]);
        if let Some(container) = work.running {
            self.lath.ok(&["start", container]);
        }
        self.before.replace(Some(Listing::of(&store)));
    }

    /// Nobody looks after anything any more.
    fn rest(&self) {
        for id in self.lath.ok(&["ps", "-a", "-q"]).lines() {
            self.lath.ok(&["stop", "-t", "0", id]);
        }
    }

    /// Runs it under strace.
    fn traced(&self, words: &[&str], expressions: &[&str]) -> Output {
        let own = self.lath.command(words);
        let log = self.lath.path("strace.log");
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o"]).arg(log);
        command.args(expressions.iter().flat_map(|expression| ["-e", expression]));
        command.arg(own.get_program()).args(own.get_args());
        command.current_dir(self.lath.path(".")).env_clear();
        command.envs(own.get_envs().filter_map(|(key, value)| Some((key, value?))));
        finish(&mut command, &[])
    }

    /// Each of those system calls with its number, counted for itself as strace does, of the
    /// thread that makes it most often; and what is in the store afterwards.
    fn points(&self, work: &Work) -> (Vec<(String, usize)>, [usize; FOLDERS.len()]) {
        self.restore(work);
        self.traced(work.words, &[&format!("trace={CALLS}")]).success();
        let log = fs::read_to_string(self.lath.path("strace.log")).unwrap();
        let mut count: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        let mut most: BTreeMap<&str, usize> = BTreeMap::new();
        for line in log.lines().filter(|line| !line.contains(" resumed>") && line.contains('(')) {
            let (thread, call) = line.split_once(' ').unwrap();
            let call = call.trim_start().split('(').next().unwrap();
            let own = count.entry((thread, call)).or_default();
            *own += 1;
            let all = most.entry(call).or_default();
            *all = (*all).max(*own);
        }
        let points = |(call, last): (&str, usize)| {
            let call = call.to_owned();
            (1..=last).map(move |number| (call.clone(), number))
        };
        self.rest();
        let sizes = self.sizes();
        self.restore(work);
        assert_eq!(self.examine(work, sizes, work.name), 0, "{}: {:?}", work.name, self.sizes());
        (most.into_iter().flat_map(points).collect(), sizes)
    }

    fn sizes(&self) -> [usize; FOLDERS.len()] {
        let count = |dir: &str| {
            let path = self.lath.store().join(dir);
            fs::read_dir(path).unwrap().count()
        };
        FOLDERS.map(count)
    }

    /// What must hold after whatever has happened. Gives how much more of a kind there is than
    /// after a command that was not disturbed.
    fn holds(&self, work: &Work, sizes: [usize; FOLDERS.len()], what: &str) -> usize {
        if self.is_as_it_was(work) { 0 } else { self.examine(work, sizes, what) }
    }

    fn examine(&self, work: &Work, sizes: [usize; FOLDERS.len()], what: &str) -> usize {
        let checked = self.lath.run(&["fsck"]);
        assert!(checked.code == 0 && checked.stdout.starts_with("clean"), "{what}: {checked}");
        assert_eq!(self.sizes()[TMP], 0, "{what}: tmp was not swept");
        let listed = self.lath.ok(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
        for name in listed.lines().filter(|name| !name.contains("<none>")) {
            let ran = self.lath.run(&["run", "--rm", name, "true"]);
            assert_eq!(ran.code, 0, "{what}: {ran}");
        }
        assert!(listed.contains("busybox:latest"), "{what}: {listed}");
        self.containers_hold(work, what);
        self.volumes_hold(work, what);
        let again = self.lath.run(work.words);
        let is_gone = ["rmi", "rm", "rename", "stop", "volume rm", "rm -v"].contains(&work.name)
            && again.stderr.to_lowercase().contains("no such ");
        assert!(again.code == 0 || is_gone, "{what}, again: {again}");
        let proof = self.lath.run(work.proof);
        assert_eq!(proof.code, 0, "{what}: {proof}");
        let checked = self.lath.run(&["fsck"]);
        assert!(checked.code == 0 && checked.stdout.starts_with("clean"), "{what}: {checked}");
        self.rest();
        let more = self.sizes().into_iter().zip(sizes).map(|(now, then)| now.saturating_sub(then));
        more.max().unwrap()
    }

    /// Each container is there as a whole: it can be started; or not at all.
    fn containers_hold(&self, work: &Work, what: &str) {
        let listed = self.lath.run(&["ps", "-a", "--format", "{{.Names}}"]).success();
        assert_eq!(listed.stderr, "", "{what}");
        let names: Vec<&str> = listed.stdout.lines().collect();
        let folders = fs::read_dir(self.lath.store().join("containers")).unwrap().count();
        assert_eq!(names.len(), folders, "{what}: {names:?}");
        let may_go = work.name.ends_with("prune") || ["rm", "rename", "rm -v"].contains(&work.name);
        assert!(
            may_go || ["still", "live", "whole"].iter().all(|name| names.contains(name)),
            "{names:?}"
        );
        for name in names {
            let started = self.lath.run(&["start", name]);
            assert_eq!(started.code, 0, "{what}: {started}");
            let stopped = self.lath.run(&["stop", "-t", "0", name]);
            assert_eq!(stopped.code, 0, "{what}: {stopped}");
        }
        if let Some(container) = work.container {
            self.lath.run(&["rm", "-f", container]);
        }
    }
}

impl Arena {
    /// Each volume is there with all that was in it, or not at all, and none that is in use goes.
    fn volumes_hold(&self, work: &Work, what: &str) {
        let listed = self.lath.run(&["volume", "ls", "-q"]).success();
        assert_eq!(listed.stderr, "", "{what}");
        let names: Vec<&str> = listed.stdout.lines().collect();
        let folders = fs::read_dir(self.lath.store().join("volumes")).unwrap().count();
        assert_eq!(names.len(), folders, "{what}: {names:?}");
        let may_go = ["volume rm", "volume prune"].contains(&work.name);
        assert!(may_go || names.contains(&"kept"), "{what}: {names:?}");
        let nameless = names.iter().filter(|name| name.len() == 64).count();
        let has_owner = self.lath.run(&["inspect", "whole"]).code == 0;
        assert!(
            nameless == 1 || !has_owner && nameless == 0 || work.name == "container prune",
            "{what}: {names:?}"
        );
        for name in names.iter().filter(|name| **name != "new") {
            let data = self.lath.store().join("volumes").join(name).join("data");
            for (file, text) in [("own", "own\n"), ("a/b/f", "of the image\n")] {
                let found = fs::read_to_string(data.join(file));
                assert_eq!(found.ok().as_deref(), Some(text), "{what}: {name}/{file}");
            }
        }
    }
}

fn is_long() -> bool {
    std::env::var_os("LATH_TORTURE").is_some()
}

/// How many of the errors each call gets.
fn errors_each() -> usize {
    std::env::var("LATH_TORTURE").map_or(1, |count| count.parse().expect("a number"))
}

/// What became of a command's attempts.
#[derive(Default)]
struct Tally {
    /// System calls that there are.
    calls: usize,
    /// Attempts in which the kill or the error came.
    injected: usize,
    /// Attempts in which the command failed.
    failed: usize,
    losses: usize,
}

/// So many rounds of each of the commands, in the long form several at once, each with a store.
fn each_work(rounds: usize, run: impl Fn(&Arena, &Work, usize) -> Tally + Sync) {
    // Most of the time they wait for each other's processes.
    let side_by_side = thread::available_parallelism().map_or(1, usize::from) * 4;
    let only = std::env::var("LATH_TORTURE_ONLY").ok();
    let is_wanted = |work: &&Work| only.as_ref().is_none_or(|name| name == work.name);
    let works = WORKS.iter().filter(is_wanted);
    let jobs: Vec<(&Work, usize)> =
        works.flat_map(|work| (0..rounds).map(move |round| (work, round))).collect();
    let next = AtomicUsize::new(0);
    let sums = Mutex::new(BTreeMap::<&str, Tally>::new());
    thread::scope(|scope| {
        for _ in 0..if is_long() { side_by_side } else { 1 } {
            scope.spawn(|| {
                let arena = Arena::new();
                while let Some((work, round)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let Tally { calls, injected, failed, losses } = run(&arena, work, *round);
                    let mut sums = sums.lock().unwrap();
                    let sum = sums.entry(work.name).or_default();
                    sum.calls = calls;
                    sum.injected += injected;
                    sum.failed += failed;
                    sum.losses += losses;
                    let Tally { injected, failed, losses, .. } = sum;
                    let name = work.name;
                    tell(&format!(
                        "{name}: {calls} calls, {injected} injected, {failed} failed, {losses} losses"
                    ));
                }
            });
        }
    });
    let losses: usize = sums.into_inner().unwrap().values().map(|sum| sum.losses).sum();
    assert_eq!(losses, 0, "losses");
}

/// One attempt: whether all held. The long form goes on when it did not.
fn held(arena: &Arena, attempt: impl FnOnce()) -> bool {
    if !is_long() {
        attempt();
        return true;
    }
    let held = catch_unwind(AssertUnwindSafe(attempt)).is_ok();
    if !held {
        arena.before.replace(None);
    }
    held
}

fn tell(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// All, or so many, spread over them.
fn spread<T: Clone>(all: &[T], few: usize) -> Vec<T> {
    let step = if is_long() { 1 } else { all.len().div_ceil(few).max(1) };
    all.iter().step_by(step).cloned().collect()
}

#[test]
fn a_kill_at_any_system_call_leaves_a_clean_store() {
    if !needs(HERE) {
        return;
    }
    each_work(1, |arena, work, _| {
        let (points, sizes) = arena.points(work);
        let mut tally = Tally { calls: points.len(), ..Tally::default() };
        for (call, number) in spread(&points, 9) {
            let attempt = || {
                arena.restore(work);
                let inject = format!("inject={call}:signal=KILL:when={number}");
                arena.traced(work.words, &[&format!("trace={call}"), &inject]);
                let log = fs::read_to_string(arena.lath.path("strace.log")).unwrap();
                tally.injected += usize::from(log.contains("+++ killed by SIGKILL"));
                let what = format!("{} killed at {call} {number}", work.name);
                let more = arena.holds(work, sizes, &what);
                // Steps, or an image without a name, that nothing leads to yet.
                assert!(
                    more <= if work.name == "build" { 3 } else { 1 },
                    "{what}: {FOLDERS:?}: {:?}",
                    arena.sizes()
                );
            };
            tally.losses += usize::from(!held(arena, attempt));
        }
        assert!(tally.injected > 3, "{}: killed {} times", work.name, tally.injected);
        tally
    });
}

#[test]
fn an_error_of_any_system_call_is_told_and_leaves_a_clean_store() {
    if !needs(HERE) {
        return;
    }
    each_work(errors_each(), |arena, work, round| {
        let (points, sizes) = arena.points(work);
        let mut tally = Tally { calls: points.len(), ..Tally::default() };
        for (turn, (call, number)) in spread(&points, 12).into_iter().enumerate() {
            let errno = ERRORS[(turn + round) % ERRORS.len()];
            let attempt = || {
                let done = fails(arena, work, sizes, (&call, number, errno));
                tally.failed += usize::from(done);
                let log = fs::read_to_string(arena.lath.path("strace.log")).unwrap();
                tally.injected += usize::from(log.contains("(INJECTED)"));
            };
            tally.losses += usize::from(!held(arena, attempt));
        }
        assert!(tally.failed > 0, "{}: nothing failed", work.name);
        tally
    });
}

/// Whether the command fails when that call does; what must hold then is looked at.
fn fails(
    arena: &Arena,
    work: &Work,
    sizes: [usize; FOLDERS.len()],
    (call, number, errno): (&str, usize, &str),
) -> bool {
    arena.restore(work);
    let what = format!("{}: {errno} at {call} {number}", work.name);
    let inject = format!("inject={call}:error={errno}:when={number}");
    let done = arena.traced(work.words, &[&format!("trace={call}"), &inject]);
    let is_run = work.words.starts_with(&["run", "--rm"]);
    if done.code == 0 {
        if work.name != "run" {
            let proof = arena.lath.run(work.proof);
            assert_eq!(proof.code, 0, "{what}: {proof}");
        }
    } else {
        // The program of a container or of a step may be what has failed.
        let is_own = done.stderr.contains("lath: ");
        let is_program = is_run && done.code < 125;
        // Or it is the telling.
        let is_own = is_own || call == "write";
        assert!(is_own || is_program, "{what}: {done}");
        assert!(matches!(done.code, 1 | 125..=127) || is_program, "{what}: {done}");
        assert!(!done.stderr.contains("panicked"), "{what}: {done}");
    }
    // What cannot be removed, or not for good, is swept by the next command.
    let is_sweeping = ["unlinkat", "openat", "syncfs", "flock"].contains(&call);
    let left = arena.sizes()[TMP];
    assert!(left == 0 || is_sweeping, "{what}: left in tmp: {done}");
    let more = arena.holds(work, sizes, &what);
    // A removal that stops in the middle leaves steps, as a build that failed does; an image that was
    // made and could not be told of is made again, with a time of its own.
    let is_removal = ["rmi", "gc"].contains(&work.name) || work.name.ends_with("prune");
    let is_anew = ["commit", "import"].contains(&work.name);
    assert!(more <= usize::from(is_removal || is_anew), "{what}: {FOLDERS:?}: {:?}", arena.sizes());
    done.code != 0
}

#[test]
fn a_disk_that_is_full_at_any_byte_leaves_a_clean_store() {
    if !needs(HERE) {
        return;
    }
    let arena = Arena::new();
    let lath = &arena.lath;
    let store = lath.store();
    let at = store.to_str().unwrap();
    for work in WORKS.iter().filter(|work| matches!(work.name, "load" | "build")) {
        let (_, sizes) = arena.points(work);
        let mut failed = 0;
        let steps: Vec<usize> = (1..=60).collect();
        for step in spread(&steps, 12) {
            fs::remove_dir_all(&store).unwrap();
            fs::create_dir(&store).unwrap();
            host("mount", &["-t", "tmpfs", "-o", "size=64m", "x", at]);
            host("cp", &["-a", &format!("{}/.", lath.text("whole")), at]);
            let room = step * if work.name == "load" { 256 } else { 8 };
            let used = used_kilobytes(&store);
            let resize = |size: u64| {
                host("mount", &["-o", &format!("remount,size={size}k"), at]);
            };
            resize(used + room as u64);
            let what = format!("{} with {room} kB", work.name);
            let done = lath.run(work.words);
            if done.code != 0 {
                failed += 1;
                let said = done.failure(1);
                // Told before it begins, where it is known.
                let is_told = ["No space left", "the store's disk has"];
                assert!(is_told.iter().any(|text| said.contains(text)), "{what}: {said}");
            }
            resize(65536);
            assert_eq!(arena.holds(work, sizes, &what), 0, "{what}: {:?}", arena.sizes());
            host("umount", &["-l", at]);
        }
        assert!(failed > 0, "{}: the disk was never full", work.name);
        tell(&format!("{}: {failed} times on a full disk", work.name));
    }
}

fn used_kilobytes(path: &Path) -> u64 {
    let stat = rustix::fs::statvfs(path).unwrap();
    (stat.f_blocks - stat.f_bfree) * stat.f_frsize / 1024
}
