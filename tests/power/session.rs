//! A store at work while its disk is recorded: commands, when each said that it was done, and what
//! could be seen then.

use super::device::{Device, FileSystem};
use super::harness::{Lath, Output, Random, finish, hex, parent_of, small_busybox_tar};
use super::medium::Recording;
use rustix::process::{Pid, Signal};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// The base images, each also an archive of that name.
pub const BASES: [&str; 2] = ["base0", "base1"];
/// Shows images with and without names.
const LIST: [&str; 4] = ["images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"];
/// Shows all containers.
const CONTAINERS: [&str; 5] = ["ps", "-a", "--no-trunc", "--format", "{{.Names}} {{.ID}}"];
/// Shows all volumes.
const VOLUMES: [&str; 3] = ["volume", "ls", "-q"];
/// The directory of a base image with which volumes are filled.
pub const FILLED: &str = "/bin";
/// How a container is called that shall run again after a power cut; others only are there.
pub const LASTING: &str = "lasting";
/// How an image without a name is shown.
pub const NAMELESS: &str = "<none>:<none>";

/// A command of the session.
pub struct Event {
    pub words: Vec<String>,
    /// How far the recording was when it began and when it had ended.
    pub began: usize,
    pub ended: usize,
    /// The images after it, a name and an id each.
    pub images: BTreeSet<String>,
    /// The containers after it, a name and an id each.
    pub containers: BTreeSet<String>,
    /// The volumes after it, and whether each has files.
    pub volumes: BTreeMap<String, bool>,
    pub build: Option<Build>,
    pub is_removal: bool,
}

/// A build of a session.
pub struct Build {
    /// Of the image that it made; a build that fails makes none.
    pub image: Option<String>,
    /// The short ids after its steps, without FROM.
    pub steps: Vec<String>,
    /// It does not end by itself.
    pub is_killed: bool,
}

/// All that was done, and what the disk was told.
pub struct Session {
    pub recording: Recording,
    pub events: Vec<Event>,
    /// The digest of the archive that `lath save` makes of an image, by its id.
    pub archives: BTreeMap<String, String>,
}

/// A lath whose store is on a mounted file system.
pub struct Store<'a> {
    pub lath: &'a Lath,
    pub mounted: &'a Path,
}

impl Store<'_> {
    /// Runs a command on it; the time of what is built is always the same.
    pub fn run<S: AsRef<str>>(&self, words: &[S]) -> Output {
        finish(&mut self.command(words), &[])
    }

    fn command<S: AsRef<str>>(&self, words: &[S]) -> std::process::Command {
        let words: Vec<_> = words.iter().map(AsRef::as_ref).collect();
        let mut command = self.lath.command(&words);
        command.env("LATH_ROOT", self.root()).env("SOURCE_DATE_EPOCH", "1700000000");
        command
    }

    pub fn root(&self) -> std::path::PathBuf {
        self.mounted.join("store")
    }

    /// Each image with each name.
    pub fn images(&self) -> Output {
        self.run(&LIST)
    }

    /// All containers.
    pub fn containers(&self) -> Output {
        self.run(&CONTAINERS)
    }

    /// All volumes, and whether each has files.
    pub fn volumes(&self) -> Result<BTreeMap<String, bool>, String> {
        let listed = self.run(&VOLUMES);
        if listed.code != 0 {
            return Err(listed.to_string());
        }
        let has_files = |name: &str| {
            let data = self.root().join("volumes").join(name).join("data");
            fs::read_dir(data).is_ok_and(|mut files| files.next().is_some())
        };
        Ok(listed.stdout.lines().map(|name| (name.to_owned(), has_files(name))).collect())
    }

    /// The digest of an image's archive.
    pub fn archive(&self, id: &str) -> Result<String, String> {
        let path = self.lath.path("saved.tar");
        let saved = self.run(&["save", "-o", path.to_str().unwrap(), id]);
        match saved.code {
            0 => Ok(hex(&fs::read(&path).unwrap())),
            _ => Err(saved.to_string()),
        }
    }
}

/// Makes the archives that a session loads.
pub fn prepare(lath: &Lath) {
    for base in BASES {
        let name = format!("{base}:latest");
        lath.give(&["import", "-", &name], &small_busybox_tar(base)).success();
        lath.ok(&["save", "-o", &lath.text(&format!("{base}.tar")), &name]);
    }
    lath.write("base.tar", small_busybox_tar("imported"));
}

/// Works on a new store on a new file system, with so many commands.
pub fn record(
    lath: &Lath,
    device: &Device,
    system: &FileSystem,
    seed: u64,
    commands: usize,
) -> Session {
    device.make(system);
    device.file.record();
    let mounted = device.mount(system).unwrap();
    let store = Store { lath, mounted: mounted.path() };
    let mut work = Work {
        store: &store,
        device,
        random: Random(seed),
        seed,
        events: Vec::new(),
        archives: BTreeMap::new(),
    };
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        // Another program on the same file system may make it write what lath has not synced.
        if seed % 2 == 1 {
            let (at, is_over) = (store.mounted, &is_over);
            scope.spawn(move || disturb(at, is_over));
        }
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            work.load(0);
            for number in 1..commands {
                work.next(number);
            }
        }));
        is_over.store(true, Ordering::Relaxed);
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
    });
    let Work { events, archives, .. } = work;
    mounted.unmount().unwrap();
    Session { recording: device.file.recorded(), events, archives }
}

fn disturb(at: &Path, is_over: &AtomicBool) {
    let mut file = File::create(at.join("another")).unwrap();
    for turn in 0_u64.. {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        writeln!(file, "{turn}").unwrap();
        file.sync_all().unwrap();
        thread::sleep(Duration::from_millis(3 + turn * 7 % 20));
    }
}

struct Work<'a> {
    store: &'a Store<'a>,
    device: &'a Device,
    random: Random,
    seed: u64,
    events: Vec<Event>,
    archives: BTreeMap<String, String>,
}

impl Work<'_> {
    fn next(&mut self, number: usize) {
        let names: Vec<String> = self.names();
        let bases: Vec<_> = names.iter().filter(|name| name.starts_with("base")).cloned().collect();
        let Some(base) = bases.get(self.random.below(bases.len().max(1))) else {
            return self.load(self.random.0 as usize % BASES.len());
        };
        let some = names[self.random.below(names.len())].clone();
        // It begins with a removal, containers and volumes; what comes then is random.
        let first = [12, 12, 12, 5, 20, 23, 33];
        let kind = first.get(number).copied().unwrap_or(self.random.below(38));
        match kind {
            32 => self.plain(&["volume", "create", &format!("volume{}", number % 5)]),
            33 | 34 => self.fill(number, base),
            35 => self.nameless(base),
            36 => self.plain(&["volume", "rm", "-f", &format!("volume{}", number % 5)]),
            37 => self.plain(&["volume", "prune", "-a", "-f"]),
            20..=22 => self.create(number, &some),
            23 | 24 => self.last(number, base),
            25..=27 => self.change_container(number),
            28 => self.plain(&["container", "prune", "-f"]),
            29 => self.plain(&["system", "prune", "-f"]),
            30 => self.plain(&["builder", "prune", "-a", "-f"]),
            31 => self.plain(&["gc"]),
            0 | 1 => self.load(self.random.0 as usize % BASES.len()),
            2 => self.plain(&["import", "base.tar", "base2:latest"]),
            3 | 4 => self.plain(&["tag", &some, &format!("t:{}", number % 3)]),
            5..=7 => self.plain(&["rmi", "-f", &some]),
            8 => self.build(number, base, "RUN false\n"),
            9 => self.killed(number, base),
            _ => self.build(number, base, ""),
        }
    }

    fn names(&self) -> Vec<String> {
        let images = self.events.last().map(|event| &event.images);
        let names = images.into_iter().flatten().filter_map(|line| line.split(' ').next());
        names.filter(|name| *name != NAMELESS).map(str::to_owned).collect()
    }

    fn load(&mut self, base: usize) {
        self.plain(&["load", "-q", "-i", &format!("{}.tar", BASES[base])]);
    }

    fn create(&mut self, number: usize, image: &str) {
        let name = format!("c{number}");
        let program = ["busybox", "sh", "-c", "echo x > /own; busybox cat /own"];
        // That of copies syncs files, that of overlays has none yet.
        let driver = ["overlay", "copy"][self.random.below(2)];
        let mut words = vec!["--driver", driver, "create", "--name", &name];
        // One without a name, that goes or stays with it.
        if self.random.below(2) == 0 {
            words.extend(["-v", FILLED]);
        }
        words.push(image);
        self.plain(&[&words[..], &program].concat());
        if self.random.below(2) == 0 {
            self.store.run(&["start", &name]).success();
            self.store.run(&["wait", &name]).success();
        }
    }

    /// One that runs until the power goes: its keeper is killed, so that the disk is at rest.
    fn last(&mut self, number: usize, base: &str) {
        let name = format!("{LASTING}{number}");
        let words = ["run", "-d", "--restart", "unless-stopped", "--name", &name, base];
        let program = ["busybox", "sleep", "1000"];
        let began = self.begin();
        self.store.run(&[&words[..], &program].concat()).success();
        let template = ["inspect", "-f", "{{.State.Pid}}", &name];
        let pid = self.store.run(&template).success().stdout;
        let keeper = parent_of(pid.trim().parse().unwrap()).and_then(Pid::from_raw).unwrap();
        self.done(began, &words, None);
        rustix::process::kill_process(keeper, Signal::KILL).unwrap();
        self.store.run(&["wait", &name]).success();
    }

    /// A volume that is made where there is none, filled, and written to.
    fn fill(&mut self, number: usize, base: &str) {
        let volume = format!("volume{}:{FILLED}", number % 5);
        let program = ["busybox", "sh", "-c", "echo x > /bin/own"];
        self.plain(&[&["run", "--rm", "-v", &volume, base], &program[..]].concat());
    }

    /// One that goes with its container; that is killed, so that the next command takes both away.
    fn nameless(&mut self, base: &str) {
        let words = ["run", "--rm", "-v", FILLED, base];
        let program = ["busybox", "sh", "-c", "echo x > /bin/ready; busybox sleep 1000"];
        let began = self.begin();
        let running = super::harness::Running::start(
            &mut self.store.command(&[&words[..], &program[..]].concat()),
        );
        let volumes = self.store.root().join("volumes");
        let running = running.until("its volume", || {
            let all = fs::read_dir(&volumes).into_iter().flatten().flatten();
            all.map(|volume| volume.path()).any(|volume| volume.join("data/ready").exists())
        });
        running.signal(Signal::KILL);
        drop(running.wait());
        self.done(began, &words, None);
    }

    fn change_container(&mut self, number: usize) {
        let listed = self.events.last().map(|event| event.containers.clone()).unwrap_or_default();
        let names: Vec<_> = listed.iter().filter_map(|line| line.split(' ').next()).collect();
        let Some(name) = names.get(self.random.below(names.len().max(1))) else { return };
        match self.random.below(3) {
            0 => self.plain(&["rename", name, &format!("renamed{number}")]),
            1 => self.plain(&["rm", "-v", name]),
            _ => self.plain(&["rm", name]),
        }
    }

    fn plain(&mut self, words: &[&str]) {
        let began = self.begin();
        self.store.run(words).success();
        self.done(began, words, None);
    }

    /// A Dockerfile of some steps.
    fn write(&mut self, number: usize, base: &str, end: &str) -> String {
        let mut text = format!("FROM {base}\n");
        for step in 0..2 + self.random.below(3) {
            // Now and then the same as in another build: then it is in the cache.
            let mark = if self.random.below(3) == 0 { 0 } else { number };
            text += &match self.random.below(8) {
                0 => format!("RUN busybox head -c {}00000 /bin/busybox > /h{mark}\n", 1 + step),
                1 => format!("RUN for i in 1 2 3 4 5 6 7 8 9; do echo {mark} > /f$i; done\n"),
                2 => format!(
                    "RUN rm -rf /etc; busybox mkdir -p /etc/{mark}/x/y; ln /mark /m{step}\n"
                ),
                3 => format!("LABEL a{step}={mark}\n"),
                4 => format!("COPY f /copied/{mark}/\n"),
                _ => format!("RUN echo {mark} {step} > /s{step}\n"),
            };
        }
        let context = format!("b{}-{number}", self.seed);
        self.store.lath.write(&format!("{context}/f"), format!("f {}\n", number % 4));
        self.store.lath.write(&format!("{context}/Dockerfile"), text + end);
        context
    }

    fn build(&mut self, number: usize, base: &str, end: &str) {
        let context = self.write(number, base, end);
        let name = format!("n:{}", self.random.below(4));
        let words = ["build", "-t", &name, &context];
        let began = self.begin();
        let built = self.store.run(&words);
        assert_eq!(built.code, i32::from(!end.is_empty()), "{built}");
        let steps = step_ids(&built);
        self.done(began, &words, Some(Build { image: None, steps, is_killed: false }));
        if end.is_empty() {
            let image = self.store.run(&["images", "-q", "--no-trunc", &name]).success().stdout;
            let event = self.events.last_mut().unwrap();
            event.build.as_mut().unwrap().image = Some(image.trim().to_owned());
        }
    }

    /// A build whose last step runs when it is killed; the ones before may be there or not.
    fn killed(&mut self, number: usize, base: &str) {
        let context = self.write(number, base, "RUN echo x > /ready; busybox sleep 1000\n");
        let words = ["build", "-t", "killed", &context];
        let began = self.begin();
        let running = super::harness::Running::start(&mut self.store.command(&words));
        let tmp = self.store.root().join("tmp");
        let running = running.until("the last step", || has_ready(&tmp));
        running.signal(Signal::KILL);
        drop(running.wait());
        // What it had is another's now, and goes.
        self.done(began, &words, Some(Build { image: None, steps: Vec::new(), is_killed: true }));
    }

    fn begin(&self) -> usize {
        self.device.file.position()
    }

    /// Notes what is seen after a command.
    fn done(&mut self, began: usize, words: &[&str], build: Option<Build>) {
        let ended = self.device.file.position();
        let listed = self.store.images().success().stdout;
        let images: BTreeSet<_> = listed.lines().map(str::to_owned).collect();
        for id in images.iter().filter_map(|line| line.split(' ').nth(1)) {
            if !self.archives.contains_key(id) {
                self.archives.insert(id.to_owned(), self.store.archive(id).unwrap());
            }
        }
        let containers = self.store.containers().success().stdout;
        let containers = containers.lines().map(str::to_owned).collect();
        let volumes = self.store.volumes().unwrap();
        let is_removal = words.iter().any(|word| ["rmi", "prune", "gc"].contains(word));
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        self.events.push(Event {
            words,
            began,
            ended,
            images,
            containers,
            volumes,
            build,
            is_removal,
        });
    }
}

/// The short ids after each step, without that of FROM.
fn step_ids(built: &Output) -> Vec<String> {
    let lines = built.stdout.lines().filter_map(|line| line.strip_prefix(" ---> "));
    let is_id = |word: &&str| word.len() == 12 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    lines.filter(is_id).skip(1).map(str::to_owned).collect()
}

fn has_ready(tmp: &Path) -> bool {
    let inside = |path: &Path| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let mut works = inside(tmp).into_iter().flat_map(|own| inside(&own));
    works.any(|work| fs::symlink_metadata(work.join("diff/ready")).is_ok_and(|meta| meta.len() > 0))
}
