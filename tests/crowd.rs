//! Many commands at once on one store. Killed at random they leave a clean store in which all is
//! there that was said to be done; left alone they do not disturb each other.
//!
//! `LATH_TORTURE=1` (`make torture`) kills a thousand, and builds side by side for ten minutes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use harness::{Lath, Need, Output, Random, Running, hex, needs, parent_of, small_busybox_tar};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

const HERE: &[Need] = &[Need::Root, Need::Busybox];
/// Commands at once.
const LANES: usize = 8;
/// Who is asked for what is not there any more, or is in use, may say so.
const TOLD: &[&str] = &[
    "No such image",
    "No such container",
    "is already in use by container",
    "container is running",
    "was started meanwhile",
    " is running",
    "is not running",
];

fn is_long() -> bool {
    std::env::var_os("LATH_TORTURE").is_some()
}

fn tell(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// A command of a crowd, and the name of an image or a container that it gives or takes away.
struct Job {
    words: Vec<String>,
    name: Option<String>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Build,
    Load,
    Tag,
    Rmi,
    Prune,
    Container,
}

impl Job {
    fn of(kind: Kind, name: Option<&str>, words: &[&str]) -> Job {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        Job { words, name: name.map(str::to_owned), kind }
    }
}

/// A store, and what is known of it.
struct Crowd {
    lath: Lath,
    random: Random,
    /// The digest of what `save` makes of an image, by its id.
    archives: BTreeMap<String, String>,
    /// The image of each name of which nobody was killed while it gave it or took it away.
    sure: BTreeMap<String, String>,
    killed: usize,
}

impl Crowd {
    fn new(seed: u64) -> Crowd {
        let lath = Lath::new();
        for base in ["base0", "base1"] {
            let name = format!("{base}:latest");
            lath.give(&["import", "-", &name], &small_busybox_tar(base)).success();
            lath.ok(&["save", "-o", &lath.text(&format!("{base}.tar")), &name]);
        }
        let (random, archives, sure) = (Random(seed), BTreeMap::new(), BTreeMap::new());
        Crowd { lath, random, archives, sure, killed: 0 }
    }

    /// What happens at once.
    fn jobs(&mut self, round: usize) -> Vec<Job> {
        let random = &mut self.random;
        let mut jobs = Vec::new();
        for builder in 0..LANES - 5 {
            // The first step is that of others too.
            let file = format!(
                "FROM base0\nRUN echo {} > /s\nRUN echo {builder} {round} > /n\nCOPY Dockerfile /d\n",
                random.below(4)
            );
            let (context, name) =
                (format!("c{builder}"), format!("b{builder}:{}", random.below(3)));
            self.lath.write(&format!("{context}/Dockerfile"), file);
            jobs.push(Job::of(Kind::Build, Some(&name), &["build", "-t", &name, &context]));
        }
        let load = &["load", "-q", "-i", "base1.tar"];
        jobs.push(Job::of(Kind::Load, Some("base1:latest"), load));
        let name = format!("t:{}", random.below(3));
        jobs.push(Job::of(Kind::Tag, Some(&name), &["tag", "base0", &name]));
        let named = format!("{}:{}", random.of(&["b0", "b1", "b2", "t"]), random.below(3));
        let name = random.of(&[&named, &named, &named, "base1:latest"]);
        jobs.push(Job::of(Kind::Rmi, Some(name), &["rmi", "-f", name]));
        let prunes: &[&[&str]] = &[
            &["image", "prune", "-f"],
            &["builder", "prune", "-a", "-f"],
            &["system", "prune", "-f"],
            &["container", "prune", "-f"],
            &["gc"],
        ];
        jobs.push(Job::of(Kind::Prune, None, random.of(prunes)));
        let (name, other) = (format!("k{}", random.below(3)), format!("k{}", random.below(3)));
        let image = random.of(&["base0", "b0:0", "b1:1", "t:2"]);
        let words: &[&[&str]] = &[
            &["create", "--name", &name, image, "true"],
            &["run", "-d", "--name", &name, image, "busybox", "sleep", "1000"],
            &["run", "--name", &name, image, "sh", "-c", "echo x > /own"],
            &["run", "--rm", image, "sh", "-c", "echo x > /own"],
            &["start", &name],
            &["stop", "-t", "0", &name],
            &["rename", &name, &other],
            &["rm", "-f", &name],
        ];
        jobs.push(Job::of(Kind::Container, None, random.of(words)));
        jobs
    }

    /// All at once; most are killed, if that comes before their end.
    fn round(&mut self, number: usize) {
        let jobs = self.jobs(number);
        let plan: Vec<(Duration, bool)> = jobs
            .iter()
            .map(|_| {
                let time = Duration::from_micros(self.random.below(80_000) as u64);
                (time, self.random.below(4) > 0)
            })
            .collect();
        let lath = &self.lath;
        let ended: Vec<Output> = thread::scope(|scope| {
            let start = |(job, (time, is_killed)): (&Job, &(Duration, bool))| {
                let (running, time, is_killed) = (lath.start(&job.words), *time, *is_killed);
                scope.spawn(move || wait_or_kill(running, time, is_killed))
            };
            let lanes: Vec<_> = jobs.iter().zip(&plan).map(start).collect();
            lanes.into_iter().map(|lane| lane.join().unwrap()).collect()
        });
        let what = |job: &Job| format!("round {number}, {}", job.words.join(" "));
        for (job, ended) in jobs.iter().zip(&ended) {
            self.killed += usize::from(ended.code == 137);
            let is_told = matches!(job.kind, Kind::Rmi | Kind::Container)
                && TOLD.iter().any(|text| ended.stderr.contains(text));
            let is_right = matches!(ended.code, 0 | 137) || is_told;
            assert!(is_right && !ended.stderr.contains("panicked"), "{}: {ended}", what(job));
        }
        self.learn(&jobs, &ended);
        let said: Vec<String> = jobs
            .iter()
            .zip(&ended)
            .map(|(job, ended)| format!("{} -> {}", job.words.join(" "), ended.code))
            .collect();
        self.holds(&format!("round {number}:\n{}\n", said.join("\n")));
    }

    /// What is sure now, of names that one job alone had to do with.
    fn learn(&mut self, jobs: &[Job], ended: &[Output]) {
        for (job, ended) in jobs.iter().zip(ended) {
            let Some(name) = &job.name else { continue };
            self.sure.remove(name);
            let is_alone = jobs.iter().filter(|other| other.name == job.name).count() == 1;
            if !is_alone || ended.code != 0 {
                continue;
            }
            match job.kind {
                Kind::Build => drop(self.sure.insert(name.clone(), ended.built())),
                Kind::Rmi => {
                    let listed = self.lath.ok(&["images", "-q", name]);
                    assert_eq!(listed, "", "{name} was removed");
                }
                _ => {
                    let base = if job.kind == Kind::Tag { "base0" } else { "base1" };
                    let id = self.lath.id(base).trim_start_matches("sha256:")[..12].to_owned();
                    self.sure.insert(name.clone(), id);
                }
            }
        }
    }

    /// The store is clean, what was done is there, and each image and container is whole.
    fn holds(&mut self, what: &str) {
        self.end_containers(what);
        let checked = self.lath.run(&["fsck"]);
        assert!(checked.code == 0 && checked.stdout.starts_with("clean"), "{what}{checked}");
        let list = ["images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"];
        let listed = self.lath.ok(&list);
        let images: BTreeMap<&str, &str> =
            listed.lines().filter_map(|line| line.split_once(' ')).collect();
        for (name, id) in &self.sure {
            let seen = images.get(name.as_str()).map(|id| &id["sha256:".len()..][..12]);
            assert_eq!(seen, Some(id.as_str()), "{what}{name}: {listed}");
        }
        for line in listed.lines() {
            let (_, id) = line.split_once(' ').unwrap();
            let path = self.lath.text("saved.tar");
            let saved = self.lath.run(&["save", "-o", &path, id]);
            assert_eq!(saved.code, 0, "{what}{saved}");
            let digest = hex(&fs::read(&path).unwrap());
            let known = self.archives.entry(id.to_owned()).or_insert_with(|| digest.clone());
            assert_eq!(*known, digest, "{what}{id} has changed");
            let ran = self.lath.run(&["run", "--rm", id, "true"]);
            assert_eq!(ran.code, 0, "{what}{ran}");
        }
        let left = fs::read_dir(self.lath.store().join("tmp")).unwrap().count();
        assert_eq!(left, 0, "{what}tmp was not swept");
    }

    /// Each container can be started. Then some lose their keeper, and all are stopped.
    fn end_containers(&mut self, what: &str) {
        let listed = self.lath.run(&["ps", "-a", "--format", "{{.Names}}"]).success();
        let folders = fs::read_dir(self.lath.store().join("containers")).map_or(0, Iterator::count);
        let names: Vec<&str> = listed.stdout.lines().collect();
        assert_eq!((names.len(), listed.stderr.as_str()), (folders, ""), "{what}{names:?}");
        for name in names {
            let started = self.lath.run(&["start", name]);
            assert_eq!(started.code, 0, "{what}{started}");
            let pid = self.lath.ok(&["inspect", "-f", "{{.State.Pid}}", name]);
            let pid: i32 = pid.trim().parse().unwrap();
            let keeper = parent_of(pid).and_then(Pid::from_raw).filter(|_| pid > 0);
            if let Some(keeper) = keeper.filter(|_| self.random.below(2) == 0) {
                // It may have ended by itself.
                self.killed += usize::from(kill_process(keeper, Signal::KILL).is_ok());
            }
            self.lath.ok(&["stop", "-t", "0", name]);
        }
    }
}

fn wait_or_kill(running: Running, time: Duration, is_killed: bool) -> Output {
    if is_killed {
        thread::sleep(time);
        running.signal(Signal::KILL);
    }
    running.wait()
}

#[test]
fn a_crowd_killed_at_random_leaves_a_clean_store() {
    if !needs(HERE) {
        return;
    }
    let wanted = if is_long() { 1000 } else { 20 };
    let mut crowd = Crowd::new(0);
    let mut rounds = 0;
    while crowd.killed < wanted {
        crowd.round(rounds);
        rounds += 1;
    }
    let (killed, images) = (crowd.killed, crowd.archives.len());
    tell(&format!("{killed} killed in {rounds} rounds of {LANES} at once, {images} images"));
}

#[test]
fn builds_side_by_side_do_not_disturb_each_other() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::new();
    lath.give(&["import", "-", "base0:latest"], &small_busybox_tar("base0")).success();
    let (least, time) = if is_long() { (1, Duration::from_secs(600)) } else { (3, Duration::ZERO) };
    let since = Instant::now();
    let goes_on = |round: usize| round < least || since.elapsed() < time;
    let (builds, others) = thread::scope(|scope| {
        let lath = &lath;
        let builder = |builder: usize| {
            let mut round = 0;
            while goes_on(round) {
                build_and_run(lath, builder, round);
                round += 1;
            }
            round
        };
        let builders: Vec<_> = (0..8).map(|number| scope.spawn(move || builder(number))).collect();
        let mut round = 0;
        while goes_on(round) {
            disturb(lath, round);
            round += 1;
        }
        (builders.into_iter().map(|one| one.join().unwrap()).sum::<usize>(), round)
    });
    let checked = lath.run(&["fsck"]);
    assert!(checked.code == 0 && checked.stdout.starts_with("clean"), "{checked}");
    for id in lath.ok(&["images", "-q"]).lines() {
        lath.ok(&["run", "--rm", id, "true"]);
    }
    tell(&format!("{builds} builds, 8 side by side, and {others} rounds of other commands"));
}

/// A build with a step of its own and one that others have too.
fn build_and_run(lath: &Lath, builder: usize, round: usize) {
    let file = format!(
        "FROM base0\nRUN echo {} > /s\nRUN echo {builder} {round} > /n\nCOPY Dockerfile /d\n",
        round % 3
    );
    // Not the beginning of an id.
    let name = format!("own{builder}");
    lath.build_in(&name, &name, &file, &[]).success();
    let ran = lath.run(&["run", "--rm", &name, "grep", &format!("{builder} {round}"), "/n"]);
    let is_gone = ran.stderr.contains("No such image");
    assert!(is_gone || ran.code == 0, "{ran}");
}

/// Others use, remove and check meanwhile.
fn disturb(lath: &Lath, round: usize) {
    let name = format!("own{}", round % 8);
    let removed = lath.run(&["rmi", "-f", &name]);
    assert!(removed.code == 0 || removed.stderr.contains("No such image"), "{removed}");
    lath.ok(&["tag", "base0", &format!("t:{}", round % 3)]);
    lath.ok(&["images"]);
    let prunes: [&[&str]; 4] = [
        &["gc"],
        &["system", "prune", "-f"],
        &["builder", "prune", "-a", "-f"],
        &["image", "prune", "-f"],
    ];
    lath.ok(prunes[round % 4]);
    let checked = lath.run(&["fsck"]);
    assert!(checked.code == 0, "{checked}");
}
