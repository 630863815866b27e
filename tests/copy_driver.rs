//! The copy driver: the same layers as overlayfs gives, on file systems where that cannot work.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use harness::{Lath, Member, Need, Output, Running, busybox_tar, finish, host, needs, tar_of};
use rustix::process::Signal;
use std::fs;
use std::io::Write;
use std::process::Command;

const HERE: &[Need] = &[Need::Root, Need::Busybox];

/// Steps that change a tree in many ways; no clock is in them.
const STEPS: &str = "FROM busybox
RUN mkdir -p /a/b /c/d /empty && echo 1 > /a/one && echo 2 > /a/b/two && ln -s one /a/soft && echo 3 > /c/d/three
RUN ln /a/one /a/hard && mkfifo /pipe && chmod 4711 /a/b/two && chown 3:4 /c && touch /a/.hidden
RUN echo more >> /a/b/two && rm /a/soft && mv /c/d/three /c/moved
RUN rm -rf /a/b && mkdir /a/b && echo new > /a/b/other
RUN rm -rf /c && echo file > /c
RUN rm /c && mkdir /c && rmdir /empty
RUN chmod 700 /a && chmod 755 /a
RUN touch -d @915148800 /a/.hidden && echo tmp > /tmp-file && rm /tmp-file
COPY . /ctx/
WORKDIR /made/deep
RUN rm /ctx/sub/f && cp -a /ctx /again && rm /a/hard
RUN true
";

fn epoch(lath: &Lath, driver: &str, args: &[&str]) -> Output {
    let mut command = lath.command(&["--driver", driver]);
    command.args(args).env("SOURCE_DATE_EPOCH", "1000000000");
    finish(&mut command, &[])
}

fn layers(lath: &Lath, image: &str) -> Vec<String> {
    let image = lath.inspect(image);
    image.get("RootFS").unwrap().get("Layers").unwrap().to_strings()
}

fn context(lath: &Lath) {
    lath.write("c/sub/f", "content");
    lath.write("c/sub/g", "content");
    lath.write("c/Dockerfile", STEPS);
}

#[test]
fn both_drivers_give_the_same_layers() {
    if !needs(HERE) {
        return;
    }
    let built = ["overlay", "copy"].map(|driver| {
        let lath = Lath::with_busybox();
        context(&lath);
        epoch(&lath, driver, &["build", "-t", "x", "c"]).success();
        let made = layers(&lath, "x");
        // Through either driver the store shows the same.
        let script =
            "find / -xdev ! -path '/proc*' ! -path '/etc*' | sort; cat /a/b/other /again/sub/g";
        let shown = ["overlay", "copy"]
            .map(|driver| lath.ok(&["--driver", driver, "run", "--rm", "x", "sh", "-c", script]));
        assert_eq!(shown[0], shown[1]);
        // What one driver made, the other finds.
        let again = epoch(&lath, "overlay", &["build", "-t", "x", "c"]).success();
        assert_eq!(again.cached().len(), 12, "{again}");
        epoch(&lath, driver, &["build", "--squash", "-t", "s", "c"]).success();
        (made, layers(&lath, "s"))
    });
    assert_eq!(built[0], built[1]);
}

/// A file system mounted where the store will be; taken away when dropped.
struct Mounted(String);

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(&self.0).status());
    }
}

fn mount(lath: &Lath, args: &[&str]) -> Mounted {
    let place = lath.text("place");
    fs::create_dir_all(&place).unwrap();
    let mut all = args.to_vec();
    all.push(&place);
    host("mount", &all);
    Mounted(place)
}

fn on(root: &Mounted, lath: &Lath, args: &[&str], input: &[u8]) -> Output {
    let mut command = lath.command(args);
    command.env("LATH_ROOT", format!("{}/store", root.0)).env("SOURCE_DATE_EPOCH", "1000000000");
    finish(&mut command, input)
}

/// Stages side by side, files of the context, an archive that is unpacked.
const SEVERAL: &str = "FROM busybox AS one
RUN mkdir /one && for n in 1 2 3 4 5 6 7 8 9; do echo $n >/one/$n; done && ln /one/1 /one/hard && chown 3:4 /one/2
FROM busybox AS two
WORKDIR /two
ADD t.tar /two/
COPY --chown=5:6 --chmod=640 . ctx/
RUN rm ctx/sub/f && ln -s ../ctx sub && date >/tmp/now && rm /tmp/now
FROM busybox
COPY --from=one /one /from/one
COPY --link --from=two /two /from/two
ADD --chown=7 Dockerfile /from/
RUN --mount=from=one,target=/m cp -a /m/one /again && mv /from/one/3 /from/moved
LABEL a=b
ENTRYPOINT [\"cat\"]
";

#[test]
fn a_build_gives_one_image_whatever_root_file_system_driver_and_jobs() {
    if !needs(&[Need::Root, Need::Busybox, Need::Program("mkfs.ext4")]) {
        return;
    }
    let base = Lath::with_busybox();
    base.ok(&["save", "-o", &base.text("base.tar"), "busybox"]);
    let mut given = Vec::new();
    for (kind, driver, jobs) in [
        ("usual", "overlay", "1"),
        ("usual", "copy", "4"),
        ("tmpfs", "overlay", "4"),
        ("ramfs", "copy", "1"),
        ("ext4", "overlay", "4"),
        ("ext4", "copy", "1"),
    ] {
        let lath = Lath::new();
        // A directory has its names in another order.
        let mut files = ["a", "b", "sub/f", "sub/g", "z"];
        if jobs == "4" {
            files.reverse();
        }
        for file in files {
            lath.write(&format!("c/{file}"), file);
        }
        lath.write("c/Dockerfile", SEVERAL);
        lath.write("c/t.tar", tar_of(&[Member::File("in/it", "it"), Member::Soft("l", "in/it")]));
        fs::create_dir_all(lath.path("place")).unwrap();
        let disk = lath.text("disk");
        let mounted = match kind {
            "usual" => mount(&lath, &["--bind", &lath.text("place")]),
            "ext4" => {
                fs::File::create(&disk).unwrap().set_len(64 << 20).unwrap();
                host("mkfs.ext4", &["-q", "-F", &disk]);
                mount(&lath, &["-o", "loop", &disk])
            }
            _ => mount(&lath, &["-t", kind, "none"]),
        };
        on(&mounted, &lath, &["load", "-q", "-i", &base.text("base.tar")], &[]).success();
        let build = ["--driver", driver, "build", "--no-cache", "--jobs", jobs, "-t", "x", "c"];
        on(&mounted, &lath, &build, &[]).success();
        on(&mounted, &lath, &["save", "-o", &lath.text("x.tar"), "x"], &[]).success();
        given.push((kind, driver, jobs, fs::read(lath.path("x.tar")).unwrap()));
    }
    for (kind, driver, jobs, archive) in &given[1..] {
        assert!(*archive == given[0].3, "{kind}, {driver}, --jobs {jobs}: another image");
    }
}

#[test]
fn a_store_where_overlayfs_cannot_write_gets_the_copy_driver_by_itself() {
    if !needs(HERE) {
        return;
    }
    let usual = Lath::with_busybox();
    context(&usual);
    epoch(&usual, "overlay", &["build", "-t", "x", "c"]).success();
    let wanted = layers(&usual, "x");
    for kind in ["tmpfs", "ramfs", "overlay"] {
        let lath = Lath::new();
        context(&lath);
        for part in ["low", "up", "work"] {
            fs::create_dir_all(lath.path(part)).unwrap();
        }
        let (low, up, work) = (lath.text("low"), lath.text("up"), lath.text("work"));
        let options = format!("lowerdir={low},upperdir={up},workdir={work}");
        let mounted = match kind {
            "overlay" => mount(&lath, &["-t", kind, "-o", &options, "none"]),
            _ => mount(&lath, &["-t", kind, "none"]),
        };
        let driver = on(&mounted, &lath, &["info", "-f", "{{.Driver}}"], &[]).success().stdout;
        let wanted_driver = if kind == "tmpfs" { "overlay\n" } else { "copy\n" };
        assert_eq!(driver, wanted_driver, "{kind}");
        on(&mounted, &lath, &["import", "-", "busybox"], &busybox_tar()).success();
        on(&mounted, &lath, &["build", "-t", "x", "c"], &[]).success();
        let saved = lath.text("x.tar");
        on(&mounted, &lath, &["save", "-o", &saved, "x"], &[]).success();
        let other = Lath::new();
        other.ok(&["load", "-i", &saved]);
        assert_eq!(layers(&other, "x"), wanted, "{kind}");
        // And back: a layer with marks that comes in.
        on(&mounted, &lath, &["rmi", "x"], &[]).success();
        on(&mounted, &lath, &["load", "-i", &saved], &[]).success();
        let list = ["run", "--rm", "x", "ls", "/a", "/a/b", "/c"];
        let listed = on(&mounted, &lath, &list, &[]).success().stdout;
        assert_eq!(listed, usual.ok(&list), "{kind}");
        let whole = on(&mounted, &lath, &["save", "x"], &[]);
        assert_eq!(whole.code, 0, "{kind}");
        if kind != "tmpfs" {
            let refused = on(&mounted, &lath, &["--driver", "overlay", "info"], &[]).failure(1);
            assert!(refused.contains("--driver copy"), "{refused}");
        }
        let left = fs::read_dir(format!("{}/store/tmp", mounted.0)).unwrap().count();
        assert_eq!(left, 0, "{kind}");
    }
}

#[test]
fn a_file_system_that_cannot_hold_a_store_is_refused_with_the_reason() {
    if !needs(&[Need::Root, Need::Program("mkfs.exfat"), Need::Program("mount.exfat-fuse")]) {
        return;
    }
    let lath = Lath::new();
    let image = lath.write("image", []);
    fs::File::options().write(true).open(&image).unwrap().set_len(16 << 20).unwrap();
    host("mkfs.exfat", &[image.to_str().unwrap()]);
    let mounted = mount(&lath, &["-t", "exfat-fuse", "-o", "loop", image.to_str().unwrap()]);
    let refused = on(&mounted, &lath, &["images"], &[]).failure(1);
    assert!(refused.contains("cannot hold symbolic links"), "{refused}");
    assert!(refused.contains("--root"), "{refused}");
    assert_eq!(fs::read_dir(&mounted.0).unwrap().count(), 0);
}

#[test]
fn only_the_known_differences_differ() {
    if !needs(HERE) {
        return;
    }
    let shown = ["overlay", "copy"].map(|driver| {
        let lath = Lath::with_busybox();
        lath.write(
            "c/Dockerfile",
            "FROM busybox\nRUN mkdir /d && echo 1 > /one && ln /one /two && echo 1 > /d/f\n\
             RUN echo 2 > /one\nRUN mv /d /e\n",
        );
        epoch(&lath, driver, &["build", "-t", "x", "c"]).success();
        let script = "cat /one /two; ls / | grep -x '[de]'; cat /e/f";
        lath.shell("x", script)
    });
    // overlayfs has made the one name a file of its own; a renamed directory was copied.
    assert_eq!(shown, ["2\n1\ne\n1\n", "2\n2\ne\n1\n"]);
}

#[test]
fn a_killed_step_leaves_nothing() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.write("c/Dockerfile", "FROM busybox\nRUN touch /x\nRUN touch /y && sleep 1000\n");
    let tmp = lath.store().join("tmp");
    let running = lath.start(&["--driver", "copy", "build", "-t", "x", "c"]);
    let started = || {
        let roots = fs::read_dir(&tmp).unwrap().flatten();
        roots.filter(|entry| entry.path().join("0/root/y").exists()).count() > 0
    };
    let running = running.until("the second step", started);
    running.signal(Signal::KILL);
    assert_eq!(running.wait().code, 137);
    harness::gone("sleep 1000");
    lath.ok(&["images"]);
    assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);
}

#[test]
fn memory_does_not_grow_with_the_number_of_files() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    // In memory, since 100,000 files twice take a disk long.
    let mounted = mount(&lath, &["-t", "tmpfs", "none"]);
    on(&mounted, &lath, &["import", "-", "busybox"], &busybox_tar()).success();
    lath.write(
        "c/Dockerfile",
        "FROM busybox\n\
         RUN for d in $(seq 1000); do mkdir -p /many/$d; (cd /many/$d; touch $(seq 100)); done\n\
         RUN touch /x\nRUN read line < /many/1/1; chmod 600 /many/500/*\n",
    );
    let mut command = lath.command(&["--driver", "copy", "build", "-t", "x", "c"]);
    command.env("LATH_ROOT", format!("{}/store", mounted.0));
    let mut running = Running::start(&mut command);
    let mut peak = 0;
    while !running.has_ended() {
        let text =
            fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = peak.max(now.unwrap_or(0));
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    running.wait().success();
    assert!((500..8192).contains(&peak), "{peak} KB");
    drop(writeln!(std::io::stderr(), "a step over 100,000 files: {peak} KB"));
}
