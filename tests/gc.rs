//! What is taken away, by whom and in which order; the limit of the store; a full disk.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use harness::{Lath, Member, Need, Output, Shelf, finish, host, layout_of, needs, tar_of};
use lath::store::Store;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

const HERE: &[Need] = &[Need::Root, Need::Busybox];
const WITH_DISK: &[Need] = &[Need::Root, Need::Busybox, Need::Program("mkfs.ext4")];
const LIMIT: u64 = 20 << 20;

/// A small disk of its own under the store; unmounted when dropped, so before its lath.
struct Disk(PathBuf);

impl Disk {
    fn new(lath: &Lath, size: &str, options: &[&str]) -> Disk {
        let (image, store) = (lath.text("disk"), lath.store());
        fs::create_dir_all(&store).unwrap();
        host("truncate", &["-s", size, &image]);
        host("mkfs.ext4", &[&["-q", "-F", "-m", "0"], options, &[&image]].concat());
        host("mount", &["-o", "loop", &image, store.to_str().unwrap()]);
        // It would be counted by du and not be lath's.
        fs::remove_dir(store.join("lost+found")).unwrap();
        Disk(store)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(&self.0).status());
    }
}

fn du(path: &Path) -> u64 {
    let output = Command::new("du").args(["-s", "--block-size=1"]).arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// A build with more variables; its Dockerfile is in a folder of the test.
fn build(lath: &Lath, limit: &str, tag: &str, dockerfile: &str) -> Output {
    lath.write("c/Dockerfile", dockerfile);
    finish(lath.command(&["build", "-t", tag, "c"]).env("LATH_STORE_LIMIT", limit), &[])
}

fn cached(lath: &Lath, dockerfile: &str) -> usize {
    lath.build_in("c", "again", dockerfile, &[]).success().cached().len()
}

#[test]
fn df_agrees_with_du_and_every_byte_has_a_row() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.build(
        "a",
        "FROM busybox\nRUN --mount=type=cache,target=/c head -c 70000 /dev/zero > /c/x\n\
         RUN head -c 100000 /dev/zero > /one && ln /one /two && ln /one /three\n\
         RUN mkdir -p /d/e/f && seq 10000 > /d/e/f/g\n",
    );
    lath.build("b", "FROM busybox\nRUN seq 50000 > /x\n");
    lath.ok(&["rmi", "b"]);
    let sizes = Store::open(&lath.store()).unwrap().sizes().unwrap();
    let files = host("find", &[lath.store().to_str().unwrap()]).lines().count() as u64;
    let du = du(&lath.store());
    assert!(sizes.total().abs_diff(du) < 512 * files, "{sizes:?} of {files} files, du: {du}");
    // The mount, and not the steps' layers, which are the image's.
    assert!((70_000..200_000).contains(&sizes.cache), "{sizes:?}");
    assert!(sizes.images > 1_000_000 && sizes.idle > 1_000_000, "{sizes:?}");
    let table = lath.ok(&["system", "df"]);
    let first: Vec<&str> = table.lines().map(|line| &line[..13]).collect();
    assert_eq!(
        first,
        ["TYPE         ", "Images       ", "Containers   ", "Local Volumes", "Build Cache  "]
    );
    assert!(table.starts_with("TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE\n"));
    assert_eq!(
        lath.ok(&["df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}}"]).lines().next(),
        Some("Images 2 0")
    );
    assert!(lath.ok(&["system", "df", "-v"]).contains("\nBuild cache usage: "));
}

#[test]
fn prune_asks_and_takes_what_docker_takes() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.build("a", "FROM busybox\nLABEL keep=yes\nRUN seq 50000 > /a\n");
    let first = lath.id("a");
    lath.build("a", "FROM busybox\nRUN seq 50001 > /a\n");
    let second = lath.id("a");
    // The child of an image without a name, which is not dangling for that.
    lath.build("child", &format!("FROM {second}\nENV A=b\n"));
    lath.build("a", "FROM busybox\nENV A=c\n");
    let ids = |lath: &Lath| lath.ok(&["images", "-q", "--no-trunc"]);
    let no = lath.give(&["image", "prune"], b"n\n").success();
    assert_eq!(
        no.stdout,
        "WARNING! This will remove all dangling images.\nAre you sure you want to continue? [y/N] "
    );
    for words in
        [&["--filter", "label=none"][..], &["--filter", "until=1h"], &["--filter", "label!=keep"]]
    {
        let told = lath.ok(&[&["image", "prune", "-f"], words].concat());
        assert_eq!(told, "Total reclaimed space: 0B\n", "{words:?}");
    }
    let told = lath.give(&["image", "prune"], b"y\n").success().stdout;
    assert!(
        told.contains(&format!("Deleted Images:\ndeleted: {first}\ndeleted: sha256:")),
        "{told}"
    );
    assert!(told.contains("\n\nTotal reclaimed space: 3") && told.ends_with("kB\n"), "{told}");
    assert!(ids(&lath).contains(&second) && !ids(&lath).contains(&first));
    let told = lath.ok(&["system", "prune", "-af"]);
    assert!(told.contains("untagged: a:latest\n") && told.contains("untagged: busybox:latest\n"));
    assert_eq!(ids(&lath), "");
    for folder in ["layers", "chains", "images", "steps", "cache", "mounts", "tmp"] {
        let left = fs::read_dir(lath.store().join(folder)).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{folder}");
    }
    for (words, says) in [
        (&["builder", "prune", "--filter", "label=x"][..], "invalid filter \"label\""),
        (&["image", "prune", "--keep-storage", "1m"], "--keep-storage is for builder prune"),
        (&["builder", "prune", "--keep-storage", "x"], "invalid size"),
        (&["builder", "prune", "--filter", "until=x"], "until=x"),
        (&["container", "prune", "-f", "--filter", "x=y"], "invalid filter"),
    ] {
        let said = lath.run(words).failure(2);
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn an_image_that_runs_stays() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.build("a", "FROM busybox\nRUN seq 50000 > /a\n");
    let args = ["run", "--rm", "a", "sh", "-c", "echo on; sleep 3; wc -l < /a"];
    let running = lath
        .start(&args)
        .until("a lease", || lath.ok(&["df", "--format", "{{.Active}}"]).starts_with('1'));
    lath.ok(&["system", "prune", "-af"]);
    assert!(lath.ok(&["images", "-q", "a"]).len() > 5);
    assert_eq!(lath.ok(&["images", "-q", "busybox"]), "");
    assert_eq!(running.wait().success().stdout, "on\n50000\n");
    lath.ok(&["system", "prune", "-af"]);
    assert_eq!(lath.ok(&["images", "-q"]), "");
}

#[test]
fn the_cache_that_was_not_used_for_longest_goes_first() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let text =
        |n: u32| format!("FROM busybox\nRUN head -c {n}00000 /dev/zero > /a\nRUN exit {n}\n");
    for n in 1..=3 {
        lath.write("c/Dockerfile", text(n));
        lath.run(&["build", "c"]).failure(1);
    }
    // As if days had passed, the first one the longest ago.
    let store = lath.store();
    let records = host("find", &[store.to_str().unwrap(), "-path", "*/cache/*", "-type", "f"]);
    let age = |n: u32, days: u64| {
        let time = SystemTime::now() - Duration::from_secs(days * 86_400);
        let put_back = |path: &Path| fs::File::open(path).unwrap().set_modified(time).unwrap();
        let mut found = 0;
        for record in records.lines() {
            let text = fs::read_to_string(record).unwrap();
            let id = text.lines().find_map(|line| line.strip_prefix("image sha256:")).unwrap();
            let step = store.join("steps").join(id);
            if fs::read_to_string(&step).unwrap().contains(&format!("head -c {n}00000")) {
                put_back(Path::new(record));
                put_back(&step);
                found += 1;
            }
        }
        assert_eq!(found, 2);
    };
    age(1, 30);
    age(2, 20);
    age(3, 10);
    // Used again: that is noted, once.
    let before = lath.listing();
    lath.write("c/Dockerfile", text(1));
    lath.run(&["build", "c"]).failure(1);
    let noted = lath.listing();
    let changed = before.difference(&noted);
    assert!(changed.iter().any(|line| line.contains("/cache/")), "{changed:?}");
    lath.run(&["build", "c"]).failure(1);
    let again = noted.difference(&lath.listing());
    assert!(!again.iter().any(|line| line.contains("/cache/")), "{again:?}");
    let told = lath.ok(&["builder", "prune", "-f", "--filter", "until=456h"]);
    assert!(told.contains("Deleted build cache objects:\nsha256:"), "{told}");
    assert!(told.contains("Total reclaimed space: 2"), "{told}");
    for (n, hit) in [(3, 1), (1, 1), (2, 0)] {
        lath.write("c/Dockerfile", text(n));
        assert_eq!(lath.run(&["build", "c"]).cached().len(), hit, "{n}");
    }
    // The one of 3 was used last but one, so that of 1 goes before it with less room.
    let told = lath.ok(&["builder", "prune", "-f", "--keep-storage", "420kB"]);
    assert!(told.contains("sha256:"), "{told}");
    let sizes = Store::open(&lath.store()).unwrap().sizes().unwrap();
    assert!(sizes.cache <= 420 << 10, "{sizes:?}");
    lath.ok(&["builder", "prune", "-af"]);
    assert_eq!(cached(&lath, "FROM busybox\nRUN head -c 300000 /dev/zero > /a\n"), 0);
}

#[test]
fn a_cached_build_writes_nothing_whatever_the_clock_says() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let text = "FROM busybox\nRUN seq 5 > /a\n";
    lath.build_in("c", "a", text, &[]).success();
    // A clock that was ahead once.
    let records =
        host("find", &[lath.store().to_str().unwrap(), "-path", "*/cache/*", "-type", "f"]);
    for line in records.lines() {
        let future = SystemTime::now() + Duration::from_secs(100 * 365 * 86_400);
        fs::File::open(line).unwrap().set_modified(future).unwrap();
    }
    let before = lath.listing();
    let output = build(&lath, "50MB", "a", text).success();
    assert_eq!(output.cached().len(), 1);
    assert_eq!(before.difference(&lath.listing()), Vec::<String>::new());
}

/// Numbers that are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Some steps; whether one of them is more than fits.
fn dockerfile(lath: &Lath, dice: &mut Dice, number: u64) -> (String, bool) {
    let mut text = "FROM busybox\n".to_owned();
    for step in 0..1 + dice.below(4) {
        let kb = 1 + dice.below(2500);
        text += &match dice.below(5) {
            0 => format!("RUN head -c {kb}000 /dev/urandom > /f{step}\n"),
            1 => {
                let noise: Vec<u8> = (0..kb * 1000).map(|_| dice.below(256) as u8).collect();
                lath.write(&format!("c/f{step}"), noise);
                format!("COPY f{step} /c{step}\n")
            }
            2 => format!(
                "RUN mkdir /d{step}; for i in $(seq {}); do echo {number} > /d{step}/$i; done\n",
                kb / 8
            ),
            3 => format!(
                "RUN --mount=type=cache,id={},target=/m head -c {kb}00 /dev/zero > /m/{number}\n",
                dice.below(5)
            ),
            _ => format!("ENV A={number}\n"),
        };
    }
    let is_large = dice.below(15) == 0;
    if is_large {
        text += "RUN head -c 50000000 /dev/zero > /large\n";
    }
    (text, is_large)
}

#[test]
fn the_limit_is_a_ceiling() {
    if !needs(WITH_DISK) {
        return;
    }
    let lath = Lath::new();
    let disk = Disk::new(&lath, "64M", &[]);
    lath.give(&["import", "-", "busybox:latest"], &harness::busybox_tar()).success();
    let builds = std::env::var("LATH_TEST_BUILDS").ok().and_then(|n| n.parse().ok()).unwrap_or(40);
    let (done, mut failed, mut large) = (AtomicBool::new(false), 0, 0);
    std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut peak = 0;
            while !done.load(Ordering::Relaxed) {
                peak = du(&disk.0).max(peak);
                std::thread::sleep(Duration::from_millis(3));
            }
            peak
        });
        let mut dice = Dice(7);
        for number in 0..builds {
            let (text, is_large) = dockerfile(&lath, &mut dice, number);
            let output = build(&lath, "20MB", &format!("t{}", dice.below(2)), &text);
            assert!(!output.all().contains("No space left"), "{number}: {output}");
            let used = du(&disk.0);
            assert!(used <= LIMIT, "{number}: {used}");
            if output.code != 0 {
                failed += 1;
                large += u64::from(is_large);
                let said = output.failure(1);
                assert!(said.contains("LATH_STORE_LIMIT"), "{said}");
                assert!(is_large || said.contains("20971 kB"), "{said}");
            }
        }
        done.store(true, Ordering::Relaxed);
        let peak = sampler.join().unwrap();
        assert!(peak <= LIMIT && peak > LIMIT / 2, "peak {peak}");
    });
    assert!(large > 0 && failed < builds / 4, "{failed} of {builds} failed, {large} of them large");
    let info = finish(lath.command(&["info"]).env("LATH_STORE_LIMIT", "50%"), &[]).success();
    assert!(info.stdout.contains("\n Store Limit: 2"), "{info}");
    let bad = finish(lath.command(&["info"]).env("LATH_STORE_LIMIT", "much"), &[]).failure(2);
    assert!(bad.contains("LATH_STORE_LIMIT \"much\" is not a size"), "{bad}");
}

#[test]
fn a_load_that_cannot_fit_is_refused_before_it_begins() {
    if !needs(WITH_DISK) {
        return;
    }
    let large =
        tar_of(&[Member::File("a", &"x".repeat(3 << 20)), Member::File("b", &"y".repeat(3 << 20))]);
    let names: Vec<String> = (0..3000).map(|n| format!("f{n}")).collect();
    let many = tar_of(&names.iter().map(|name| Member::File(name, "x")).collect::<Vec<_>>());
    for (size, options, layer, says) in [
        ("8M", &[][..], &large, "need 6292 kB and 2 inodes"),
        ("64M", &["-N", "2000"], &many, "and 3000 inodes"),
    ] {
        let lath = Lath::new();
        let disk = Disk::new(&lath, size, options);
        lath.ok(&["images"]);
        if size == "8M" {
            fs::write(disk.0.join("filler"), vec![0; 1 << 20]).unwrap();
        }
        lath.write("image.tar", layout_of("a:1", std::slice::from_ref(layer)));
        let before = lath.listing();
        let said = lath.fails(&["load", "-i", "image.tar"]);
        assert!(said.contains(says) && said.contains("the store's disk has"), "{said}");
        let mut changed = before.difference(&lath.listing());
        changed.retain(|line| !line.contains("/store/tmp: ["));
        assert_eq!(changed, Vec::<String>::new());
        drop(fs::remove_file(disk.0.join("filler")));
    }
    // The limit refuses it as well.
    let lath = Lath::new();
    lath.write("image.tar", layout_of("a:1", &[large]));
    let mut load = lath.command(&["load", "-i", "image.tar"]);
    let said = finish(load.env("LATH_STORE_LIMIT", "5MB"), &[]).failure(1);
    assert!(said.contains("6292 kB more do not fit"), "{said}");
}

#[test]
fn a_pull_whose_compressed_layers_cannot_fit_is_refused_before_it_begins() {
    if !needs(&[WITH_DISK, &[Need::Program("gzip")]].concat()) {
        return;
    }
    let lath = Lath::new();
    let _disk = Disk::new(&lath, "8M", &[]);
    // Six bits of noise in each of eight.
    let mut dice = Dice(3);
    let noise: String = (0..12 << 20).map(|_| char::from(b' ' + dice.below(64) as u8)).collect();
    let shelf = Shelf::of(&[tar_of(&[Member::File("noise", &noise)])]);
    let length = shelf.bytes(&shelf.largest()).unwrap().len();
    let layer = shelf.largest();
    let web = shelf.serve();
    let name = format!("127.0.0.1:{}/hub/x", web.port());
    let said = lath.fails(&["pull", &name]);
    let least = format!("need at least {} kB and 1 inodes", length.div_ceil(1000));
    assert!(said.contains(&least), "{said}");
    assert!(web.take().iter().all(|asked| asked.target() != layer));
    assert!(lath.ok(&["images", "-q"]).is_empty());
}

/// Free blocks and inodes.
fn free(disk: &Disk) -> (u64, u64) {
    let stat = rustix::fs::statvfs(&disk.0).unwrap();
    (stat.f_bavail, stat.f_favail)
}

/// Takes the last inode and the last byte.
fn fill(disk: &Disk) {
    use std::io::Write as _;
    fs::create_dir(disk.0.join("inodes")).unwrap();
    let mut file = fs::File::create(disk.0.join("filler")).unwrap();
    for n in 0.. {
        if fs::File::create(disk.0.join(format!("inodes/{n}"))).is_err() {
            break;
        }
    }
    let mut size = 1 << 20;
    while size > 0 {
        if file.write_all(&vec![b'x'; size]).is_err() {
            size /= 2;
        }
    }
    drop(file.sync_all());
    assert_eq!(free(disk), (0, 0));
}

#[test]
fn a_full_disk_can_be_emptied() {
    if !needs(WITH_DISK) {
        return;
    }
    for words in [
        &["rmi", "a"][..],
        &["image", "prune", "-af"],
        &["builder", "prune", "-af"],
        &["system", "prune", "-f"],
        &["gc"],
        &["rm", "stopped"],
        &["rm", "-f", "-v", "stopped"],
        &["container", "prune", "-f"],
        &["volume", "rm", "lone"],
        &["volume", "prune", "-af"],
    ] {
        let lath = Lath::new();
        let disk = Disk::new(&lath, "24M", &["-N", "1000"]);
        lath.give(&["import", "-", "busybox:latest"], &harness::busybox_tar()).success();
        let text = "FROM busybox\nRUN --mount=type=cache,target=/c head -c 2000000 /dev/zero > /c/x\n\
                    RUN head -c 3000000 /dev/zero > /a\n";
        lath.build("a", text);
        lath.build("b", "FROM busybox\nRUN head -c 1000000 /dev/zero > /b\n");
        lath.ok(&["tag", "busybox", "b"]);
        let script = "for at in / /v /w; do head -c 1000000 /dev/zero > $at/own; done";
        let volumes = ["-v", "kept:/v", "-v", "/w", "busybox", "sh", "-c", script];
        lath.ok(&[&["run", "--name", "stopped"], &volumes[..]].concat());
        lath.ok(&[
            "run",
            "--rm",
            "-v",
            "lone:/v",
            "busybox",
            "sh",
            "-c",
            script.replace("/w", "").as_str(),
        ]);
        fill(&disk);
        lath.ok(words);
        let after = free(&disk);
        assert!(after.0 > 200 && after.1 > 0, "{words:?}: {after:?}");
        fs::remove_file(disk.0.join("filler")).unwrap();
        fs::remove_dir_all(disk.0.join("inodes")).unwrap();
        lath.give(&["import", "-", "busybox:latest"], &harness::busybox_tar()).success();
        lath.build("c", text);
    }
}

#[test]
fn prune_beside_builds_takes_nothing_that_they_need() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let done = AtomicBool::new(false);
    let text = |me: usize, round: usize| {
        format!(
            "FROM busybox AS one\nRUN echo {} > /a\nRUN true\nCOPY x /x\n\
             FROM one\nRUN --mount=type=cache,id=m,target=/m echo {me} {round} >> /m/log; cat /a > /b\n\
             ENV R={round}\nRUN cat /x /a > /{me}\n",
            round % 3
        )
    };
    std::thread::scope(|scope| {
        let (done, lath) = (&done, &lath);
        let builders = [0, 1].map(|me| {
            scope.spawn(move || {
                let context = format!("c{me}");
                for round in 0..12 {
                    lath.write(&format!("{context}/x"), "x");
                    let tag = format!("t{me}-{}", round % 4);
                    lath.build_in(&context, &tag, &text(me, round), &["--jobs", "2"]).success();
                    let said = lath.ok(&["run", "--rm", &tag, "cat", &format!("/{me}")]);
                    assert_eq!(said, format!("x{}\n", round % 3));
                    lath.ok(&["save", "-o", &lath.text(&format!("{me}.tar")), &tag]);
                }
            })
        });
        let pruners =
            [&["system", "prune", "-f"][..], &["builder", "prune", "-af"], &["gc"]].map(|words| {
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        lath.ok(words);
                    }
                })
            });
        let results = builders.map(std::thread::ScopedJoinHandle::join);
        done.store(true, Ordering::Relaxed);
        for pruner in pruners {
            pruner.join().unwrap();
        }
        assert!(results.iter().all(Result::is_ok));
    });
    for name in lath.ok(&["images", "--format", "{{.Repository}}:{{.Tag}}"]).lines() {
        if name.starts_with('t') {
            lath.ok(&["save", "-o", &lath.text("whole.tar"), name]);
        }
    }
}

#[test]
fn what_fills_a_volume_or_a_container_is_held_back_by_the_limit() {
    if !needs(&[Need::Root, Need::Busybox]) {
        return;
    }
    let lath = Lath::with_busybox();
    let file = "FROM busybox\nRUN mkdir /big && head -c 6000000 /dev/urandom > /big/f\n";
    lath.build("big", file).success();
    // Cache that led to no image.
    let vain = "FROM busybox\nRUN head -c 6000000 /dev/urandom > /vain\nRUN false\n";
    lath.build_in("vain", "vain", vain, &[]).failure(1);
    let before = du(&lath.store());
    let with = |limit: u64, words: &[&str]| {
        finish(lath.command(words).env("LATH_STORE_LIMIT", limit.to_string()), &[])
    };
    let run = ["run", "--rm", "-v", "filled:/big", "big", "wc", "-c", "/big/f"];
    let create = ["--driver", "copy", "create", "--name", "copied", "big", "true"];
    for words in [&run[..], &create[..]] {
        // Not even without the cache.
        let limit = before - 3_000_000;
        let said = with(limit, words).failure(if words == run { 125 } else { 1 });
        assert!(said.contains("LATH_STORE_LIMIT"), "{said}");
        assert!(du(&lath.store()) < limit, "{words:?}");
        assert!(lath.ok(&["fsck"]).starts_with("clean"));
        assert_eq!(lath.ok(&["ps", "-aq"]), "");
    }
    // The volume was made, as it was asked for, and has nothing in it.
    let files = || fs::read_dir(lath.store().join("volumes/filled/data")).unwrap().count();
    assert_eq!(files(), 0);
    lath.build_in("vain", "vain", vain, &[]).failure(1);
    let limit = before + 3_000_000;
    assert_eq!(with(limit, &run).success().stdout, "6000000 /big/f\n");
    assert!(du(&lath.store()) < limit, "the cache has gone");
    // What a container itself writes is not lath's, but it counts.
    lath.ok(&["run", "--name", "own", "busybox", "sh", "-c", "head -c 6000000 /dev/zero > /own"]);
    let said = with(limit, &["build", "-t", "more", "vain"]).failure(1);
    assert!(said.contains("LATH_STORE_LIMIT"), "{said}");
}
