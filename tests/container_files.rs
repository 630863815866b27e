//! The files of containers from outside: copied in and out, compared with the image, as a tar, as an
//! image. What docker does with the same words was looked at with docker 20.10.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use harness::{Lath, Member, Need, host, host_with, needs, tar_of};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

const HERE: &[Need] = &[Need::Root, Need::Busybox];

/// A store with containers `run` and `rest`, of which one runs; of both drivers.
fn scenes() -> Vec<Lath> {
    let scene = |driver: &str| {
        let lath = Lath::with_busybox();
        let make = |words: &[&str]| lath.ok(&[&["--driver", driver], words].concat());
        make(&["run", "-d", "--name", "run", "busybox", "sleep", "1000"]);
        make(&["create", "--name", "rest", "busybox", "sleep", "1000"]);
        lath
    };
    vec![scene("overlay"), scene("copy")]
}

fn end(lath: &Lath) {
    lath.ok(&["rm", "-f", "run", "rest"]);
}

/// The bytes of a command's standard output.
fn bytes(lath: &Lath, words: &[&str]) -> Vec<u8> {
    let out = lath.command(words).output().unwrap();
    assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// What GNU tar says is in a tar.
fn names(tar: &[u8]) -> Vec<String> {
    host_with("tar", &["-tf", "-"], tar).lines().map(str::to_owned).collect()
}

#[test]
fn files_go_into_a_container_and_come_out_again() {
    if !needs(HERE) {
        return;
    }
    for lath in scenes() {
        let file = lath.write("tree/f", "text");
        lath.write("tree/d/deep", "deep");
        symlink("f", lath.path("tree/soft")).unwrap();
        fs::hard_link(&file, lath.path("tree/hard")).unwrap();
        for path in ["tree", "tree/f", "tree/d", "tree/d/deep"] {
            chown(lath.path(path), Some(1000), Some(1001)).unwrap();
        }
        fs::set_permissions(&file, fs::Permissions::from_mode(0o4751)).unwrap();
        for name in ["run", "rest"] {
            let cp = |from: &str, to: &str, more: &[&str]| {
                let word = |word: &str| word.replace("C:", &format!("{name}:"));
                lath.ok(&[&["cp"], more, &[&word(from), &word(to)]].concat())
            };
            cp("tree", "C:/new", &[]);
            cp("tree", "C:/tmp", &[]);
            cp("tree/.", "C:tmp/", &[]);
            cp("tree/f", "C:/etc/f", &[]);
            cp("tree/f", "C:/etc", &[]);
            cp("tree/soft", "C:/link", &[]);
            cp("tree/soft", "C:/file", &["-L"]);
            let back = lath.path(&format!("back-{name}"));
            fs::create_dir(&back).unwrap();
            let back = back.to_str().unwrap();
            cp("C:/new", back, &["-a"]);
            cp("C:/tmp/.", &format!("{back}/tmp"), &[]);
            cp("C:/link", back, &[]);
            cp("C:/file", &format!("{back}/other"), &["-a"]);
            let stat = |path: &str| fs::symlink_metadata(format!("{back}/{path}")).unwrap();
            let (whole, one, hard) = (stat("new"), stat("new/f"), stat("new/hard"));
            assert_eq!((whole.uid(), whole.gid()), (1000, 1001));
            assert_eq!((one.mode() & 0o7777, one.uid(), one.nlink()), (0o4751, 1000, 2), "{name}");
            assert_eq!((one.ino(), one.mtime()), (hard.ino(), file.metadata().unwrap().mtime()));
            let (other, own) = (stat("other"), stat("tmp/f"));
            assert_eq!((other.uid(), own.uid(), own.mode() & 0o7777), (1000, 0, 0o4751));
            let read = |path: &str| fs::read_to_string(format!("{back}/{path}")).unwrap();
            assert_eq!((read("new/d/deep"), read("tmp/tree/f")), ("deep".into(), "text".into()));
            for link in ["new/soft", "link"] {
                let target = fs::read_link(format!("{back}/{link}")).unwrap();
                assert_eq!(target.to_str(), Some("f"));
            }
        }
        lath.ok(&["start", "rest"]);
        for name in ["run", "rest"] {
            let script = "cat /new/d/deep /etc/f /tmp/f /file; readlink /link; ls -n /etc/f";
            let seen = lath.ok(&["exec", name, "sh", "-c", script]);
            assert!(seen.starts_with("deeptexttexttextf\n"), "{seen}");
            assert!(seen.contains("1000") && seen.contains("1001"), "{seen}");
        }
        end(&lath);
    }
}

#[test]
fn a_copy_goes_where_docker_puts_it_or_is_refused() {
    if !needs(HERE) {
        return;
    }
    for lath in scenes() {
        lath.write("tree/f", "text");
        lath.write("tree/etc", "no directory");
        for name in ["run", "rest"] {
            let fails = |from: &str, to: &str, text: &str| {
                let word = |word: &str| word.replace("C:", &format!("{name}:"));
                let said = lath.fails(&["cp", &word(from), &word(to)]);
                assert!(said.contains(text), "{from} {to}: {said}");
            };
            lath.ok(&["cp", "tree/f", &format!("{name}:/there")]);
            fails("tree", "C:/nope/x", "no such directory");
            fails("tree/f", "C:/nope/", "no such directory");
            fails("tree/f", "C:/nope/x", "no such directory");
            fails("tree", "C:/there", "cannot copy a directory to the file");
            fails("tree/f", "C:/there/", "not a directory");
            fails("tree/f/", "C:/x", "not a directory");
            fails("C:/nope", ".", "Could not find the file /nope in container");
            fails("C:/nope/x", ".", "Could not find the file /nope/x in container");
            fails("nosuch", "C:/", "no such file or directory");
            fails("tree/.", "C:/", "cannot overwrite a directory with a non-directory");
            fails("C:/etc", "tree", "cannot overwrite a non-directory with a directory");
            let cannot = lath.give(&["cp", "-", &format!("{name}:/there")], b"x").failure(1);
            assert!(cannot.contains("must be a directory"), "{cannot}");
            let cannot = lath.give(&["cp", "-", &format!("{name}:/tmp")], b"no tar").failure(1);
            assert!(!cannot.is_empty());
        }
        let usage = |words: &[&str], text: &str| {
            let said = lath.run(words).failure(2);
            assert!(said.contains(text), "{said}");
        };
        usage(&["cp", "tree", "elsewhere"], "must specify at least one container source");
        usage(&["cp", "run:/x", "rest:/x"], "copying between containers is not supported");
        usage(&["cp", "run:/x"], "requires exactly 2 arguments");
        let nobody = lath.fails(&["cp", "tree", "nobody:/"]);
        assert!(nobody.contains("No such container: nobody"), "{nobody}");
        // What belongs to the kernel stays there; else it would be the host's.
        let cannot = lath.fails(&["cp", "run:/proc/cmdline", "."]);
        assert!(cannot.contains("no file that can be copied"), "{cannot}");
        let all = names(&bytes(&lath, &["cp", "run:/", "-"]));
        assert!(all.contains(&"proc/".to_owned()) && all.contains(&"etc/passwd".to_owned()));
        let is_kernels = |name: &&String| {
            ["proc/", "sys/", "dev/"]
                .iter()
                .any(|dir| name.strip_prefix(dir).is_some_and(|rest| !rest.is_empty()))
        };
        assert_eq!(all.iter().find(is_kernels), None);
        end(&lath);
    }
}

#[test]
fn a_tar_goes_in_and_comes_out() {
    if !needs(HERE) {
        return;
    }
    for lath in scenes() {
        for name in ["run", "rest"] {
            let tar = tar_of(&[
                Member::Folder("a/"),
                Member::File("a/f", "one"),
                Member::File("/abs/../f", "two"),
            ]);
            let place = format!("{name}:/tmp");
            lath.give(&["cp", "-", &place], &tar).success();
            let out = bytes(&lath, &["cp", &place, "-"]);
            assert_eq!(names(&out), ["tmp/", "tmp/a/", "tmp/a/f", "tmp/f"], "{name}");
            let inside = bytes(&lath, &["cp", &format!("{place}/a/."), "-"]);
            assert_eq!(names(&inside), ["f"]);
            let one = bytes(&lath, &["cp", &format!("{place}/a/f"), "-"]);
            assert_eq!(host_with("tar", &["-xOf", "-", "f"], &one), "one");
            // Through both, compressed.
            lath.write("t.tar", &out);
            host("gzip", &["-kf", &lath.text("t.tar")]);
            let zipped = fs::read(lath.path("t.tar.gz")).unwrap();
            lath.give(&["cp", "-", &format!("{name}:/etc")], &zipped).success();
            let again = bytes(&lath, &["cp", &format!("{name}:/etc/tmp"), "-"]);
            assert_eq!(names(&again), names(&out));
        }
        end(&lath);
    }
}

#[test]
fn links_of_a_container_lead_nowhere_else() {
    if !needs(HERE) {
        return;
    }
    for lath in scenes() {
        let secret = lath.write("secret/s", "of the host");
        lath.write("mine", "mine");
        let (secret, folder) = (secret.to_str().unwrap(), lath.text("secret"));
        lath.write(
            "make.sh",
            format!(
                "ln -s {secret} /file; ln -s {folder} /dir; ln -s ../../../../..{folder} /up
             ln -s /proc/1/root /magic; mkdir /tree; ln -s {folder} /tree/dir; ln -s loop /loop"
            ),
        );
        lath.ok(&["start", "rest"]);
        for name in ["run", "rest"] {
            lath.ok(&["cp", "make.sh", &format!("{name}:/")]);
            lath.ok(&["exec", name, "sh", "/make.sh"]);
        }
        lath.ok(&["stop", "-t", "0", "rest"]);
        for name in ["run", "rest"] {
            let inside = |path: &str| format!("{name}:{path}");
            // Read: of the host nothing is to be had.
            for path in ["/dir/s", "/up/s", "/tree/dir/s", "/dir/.", "/loop/x", "/magic/etc/passwd"]
            {
                lath.run(&["cp", &inside(path), "out"]).failure(1);
            }
            for path in ["/file", "/dir", "/loop"] {
                lath.run(&["cp", "-L", &inside(path), "out"]).failure(1);
            }
            assert!(!lath.path("out").exists());
            // Written: it lands in the container or nowhere.
            for path in ["/dir/s", "/up/s", "/tree/dir/s", "/magic/s"] {
                lath.run(&["cp", "mine", &inside(path)]).failure(1);
            }
            lath.run(&["cp", "mine", &inside("/file")]);
            for to in ["/", "/tree"] {
                let tar = tar_of(&[Member::File("dir/s", "evil")]);
                lath.give(&["cp", "-", &inside(to)], &tar);
                let tar = tar_of(&[
                    Member::Soft("in", &folder),
                    Member::File("in/s", "evil"),
                    Member::Soft("at", secret),
                    Member::File("at", "evil"),
                ]);
                lath.give(&["cp", "-", &inside(to)], &tar);
            }
            assert_eq!(fs::read_to_string(secret).unwrap(), "of the host");
            // A link comes out as a link, and nothing is written through one that lies there.
            lath.ok(&["cp", &inside("/tree"), "copied"]);
            fs::remove_dir_all(lath.path("copied")).unwrap();
            fs::create_dir(lath.path("copied")).unwrap();
            symlink(&folder, lath.path("copied/tree")).unwrap();
            lath.run(&["cp", &inside("/tree"), "copied"]).failure(1);
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
            fs::remove_dir_all(lath.path("copied")).unwrap();
        }
        end(&lath);
    }
}

#[test]
fn what_is_mounted_in_a_container_is_copied_too() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.write("data/there", "on the host");
    lath.write("one", "a file");
    lath.write("f", "new");
    let volumes = [format!("{}:/data", lath.text("data")), format!("{}:/ro:ro", lath.text("data"))];
    let file = format!("{}:/etc/one", lath.text("one"));
    let options = ["-v", &volumes[0], "-v", &volumes[1], "-v", &file, "busybox", "sleep", "1000"];
    lath.ok(&[&["run", "-d", "--name", "run"], &options[..]].concat());
    lath.ok(&[&["create", "--name", "rest"], &options[..]].concat());
    lath.ok(&["create", "--name", "fixed", "--read-only", "busybox", "true"]);
    for name in ["run", "rest"] {
        lath.ok(&["cp", "f", &format!("{name}:/data/{name}")]);
        assert_eq!(fs::read_to_string(lath.path(&format!("data/{name}"))).unwrap(), "new");
        lath.ok(&["cp", &format!("{name}:/ro/there"), "out"]);
        lath.ok(&["cp", &format!("{name}:/etc/one"), "out1"]);
        assert_eq!(fs::read_to_string(lath.path("out")).unwrap(), "on the host");
        assert_eq!(fs::read_to_string(lath.path("out1")).unwrap(), "a file");
        let cannot = lath.fails(&["cp", "f", &format!("{name}:/ro/x")]);
        assert!(cannot.to_lowercase().contains("read-only"), "{cannot}");
        // Into itself: once, and no further.
        lath.ok(&["cp", "data", &format!("{name}:/data/again-{name}")]);
        assert!(lath.path(&format!("data/again-{name}/there")).exists());
        assert!(!lath.path(&format!("data/again-{name}/again-{name}")).exists());
    }
    let cannot = lath.fails(&["cp", "f", "fixed:/x"]);
    assert!(cannot.to_lowercase().contains("read-only"), "{cannot}");
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(lath.store().to_str().unwrap()), "{mounts}");
    lath.ok(&["start", "rest"]);
    lath.ok(&["rm", "-f", "run", "rest", "fixed"]);
}

/// The lines of a list, sorted.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn what_a_container_has_changed_is_told_as_docker_tells_it() {
    if !needs(HERE) {
        return;
    }
    for lath in scenes() {
        let image = "FROM busybox\nRUN mkdir -p /a/b /old/in /kept /lost && touch /a/b/f /a/g /old/in/f \
                     /kept/same /kept/touched /lost/f && ln -s f /a/b/l && echo x > /kept/text";
        lath.build("own", image);
        assert_eq!(lath.ok(&["diff", "rest"]), "");
        let script = "echo new > /a/b/new; rm /a/g; rm -r /old; mkdir /old; touch /old/other;
            cat /kept/same >> /kept/same; chmod 600 /kept/touched; rm -r /lost;
            mkdir -p /deep/er; echo y > /deep/er/f; ln -sf g /a/b/l; rm /nosuch; touch /etc";
        let driver = if lath
            .store()
            .join("containers")
            .read_dir()
            .unwrap()
            .any(|folder| folder.unwrap().path().join("root").exists())
        {
            "copy"
        } else {
            "overlay"
        };
        let words = ["--driver", driver, "run", "--name", "changed", "own", "sh", "-c", script];
        lath.run(&words);
        // What docker 20.10 says of the same, sorted.
        let expected = "A /a/b/new\nA /deep\nA /deep/er\nA /deep/er/f\nA /old/other\nC /a\nC /a/b\n\
                        C /a/b/l\nC /kept\nC /kept/touched\nC /old\nD /a/g\nD /lost\nD /old/in\n";
        let told = lath.ok(&["diff", "changed"]);
        assert_eq!(sorted(&told).join("\n") + "\n", expected, "{driver}");
        // Directories come first.
        let place = |line: &str| told.lines().position(|other| other == line).unwrap();
        assert!(place("C /a") < place("C /a/b") && place("C /a/b") < place("A /a/b/new"));
        // The same while it runs.
        lath.ok(&["exec", "run", "sh", "-c", "mkdir /live; echo > /live/f; rm /etc/group"]);
        let live = lath.ok(&["diff", "run"]);
        assert_eq!(sorted(&live), ["A /live", "A /live/f", "C /etc", "D /etc/group"], "{driver}");
        // A mark that any program can set says nothing.
        let pid = lath.ok(&["inspect", "-f", "{{.State.Pid}}", "run"]);
        let etc = format!("/proc/{}/root/etc", pid.trim());
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(etc, "user.overlay.opaque", b"y", flags).unwrap();
        assert_eq!(lath.ok(&["diff", "run"]), live, "{driver}");
        lath.ok(&["rm", "changed"]);
        end(&lath);
    }
}

#[test]
fn the_files_of_a_container_are_a_tar() {
    if !needs(HERE) {
        return;
    }
    for lath in scenes() {
        lath.ok(&["exec", "run", "sh", "-c", "echo new > /tmp/f; rm /etc/group; ln /tmp/f /tmp/g"]);
        let out = bytes(&lath, &["export", "run"]);
        let all = names(&out);
        for there in ["bin/busybox", "etc/passwd", "tmp/f", "tmp/g"] {
            assert!(all.contains(&there.to_owned()), "{there} is not in {all:?}");
        }
        // What is mounted in it is not its own.
        for not in ["etc/group", "proc/self", "dev/null", "sys/kernel/"] {
            assert!(!all.contains(&not.to_owned()), "{not} is in {all:?}");
        }
        lath.ok(&["export", "-o", "t.tar", "run"]);
        assert!(fs::read(lath.path("t.tar")).unwrap() == out, "the same twice");
        lath.ok(&["import", "t.tar", "again"]);
        assert_eq!(
            lath.shell("again", "cat /tmp/g; test -e /etc/group || echo gone"),
            "new\ngone\n"
        );
        lath.ok(&["cp", "t.tar", "rest:/"]);
        let rest = names(&bytes(&lath, &["export", "rest"]));
        assert!(rest.contains(&"t.tar".to_owned()) && rest.contains(&"etc/group".to_owned()));
        assert!(lath.fails(&["export", "nobody"]).contains("No such container"));
        end(&lath);
    }
}

#[test]
fn a_container_becomes_an_image() {
    if !needs(HERE) {
        return;
    }
    for lath in scenes() {
        lath.build(
            "own",
            "FROM busybox\nRUN mkdir -p /d/in && touch /d/in/f /gone\nCMD [\"cat\", \"/made\"]\n",
        );
        lath.build("entry", "FROM own\nENTRYPOINT [\"echo\"]\nCMD [\"word\"]\n");
        let is_copy = lath
            .store()
            .join("containers")
            .read_dir()
            .unwrap()
            .any(|folder| folder.unwrap().path().join("root").exists());
        let driver = if is_copy { "copy" } else { "overlay" };
        let run = |words: &[&str]| lath.ok(&[&["--driver", driver, "run"], words].concat());
        let script = "echo made > /made; ln /made /hard; rm /gone; rm -r /d; mkdir /d; touch /d/new; chmod 700 /tmp; sleep 1000";
        run(&[
            "-d", "--name", "live", "-e", "A=1", "-w", "/tmp", "--label", "k=v", "own", "sh", "-c",
            script,
        ]);
        // While it changes, a look may be of two times and end with an error.
        while !lath.run(&["diff", "live"]).stdout.contains("C /tmp\n") {}
        let words = [
            "commit",
            "-a",
            "Ada",
            "-m",
            "why",
            "-c",
            "ENV B=2",
            "-c",
            "CMD cat /made",
            "-c",
            "EXPOSE 80",
            "-c",
            "USER app",
            "live",
            "new:1",
        ];
        let id = lath.ok(&words);
        assert!(id.starts_with("sha256:") && id.trim().len() == 71, "{id}");
        let seen = lath.ok(&["run", "--rm", "-u", "root", "new:1", "sh", "-c",
            "cat /hard; ls /d; ls /gone 2>&1 | wc -l; stat -c %h /made; echo $A$B; pwd; stat -c %a /tmp"]);
        assert_eq!(seen, "made\nnew\n1\n2\n12\n/tmp\n700\n", "{driver}");
        assert_eq!(lath.ok(&["run", "--rm", "new:1"]), "made\n");
        let config = |field: &str| lath.ok(&["inspect", "-f", field, "new:1"]).trim().to_owned();
        assert_eq!(
            config("{{json .Config.Env}}"),
            lath.ok(&["inspect", "-f", "{{json .Config.Env}}", "own"])
                .trim()
                .replace(']', ",\"A=1\",\"B=2\"]")
                .replace("[,", "[")
                .replace("null", "[\"A=1\",\"B=2\"]")
        );
        assert_eq!(config("{{json .Config.Cmd}}"), "[\"/bin/sh\",\"-c\",\"cat /made\"]");
        assert_eq!(
            config(
                "{{.Author}} {{.Config.User}} {{json .Config.ExposedPorts}} {{json .Config.Labels}}"
            ),
            "Ada app {\"80/tcp\":{}} {\"k\":\"v\"}"
        );
        let history =
            lath.ok(&["history", "--no-trunc", "--format", "{{.CreatedBy}}|{{.Comment}}", "new:1"]);
        assert_eq!(history.lines().next().unwrap(), format!("sh -c {script}|why"));
        // It runs on, and nothing of it has stayed stopped.
        assert_eq!(
            lath.ok(&["top", "live", "-o", "s,comm"])
                .lines()
                .nth(1)
                .map(|line| line.starts_with('S')),
            Some(true)
        );
        // The image stands on its own.
        lath.ok(&["rm", "-f", "live"]);
        assert_eq!(lath.ok(&["run", "--rm", "new:1"]), "made\n");
        lath.ok(&["fsck"]);
        // The words of a command are told apart from those of the entrypoint; nothing changed is a layer too.
        run(&["--name", "said", "entry", "other"]);
        lath.ok(&["commit", "-p=false", "said", "told"]);
        assert_eq!(
            lath.ok(&["inspect", "-f", "{{json .Config.Entrypoint}} {{json .Config.Cmd}}", "told"]),
            "[\"echo\"] [\"other\"]\n"
        );
        let layers = |image: &str| {
            lath.ok(&["inspect", "-f", "{{json .RootFS.Layers}}", image]).matches("sha256:").count()
        };
        assert_eq!(layers("told"), layers("entry") + 1);
        let refused = lath.fails(&["commit", "-c", "RUN true", "said"]);
        assert!(refused.contains("RUN is not a valid change command"), "{refused}");
        lath.ok(&["rm", "said"]);
        end(&lath);
    }
}

#[test]
fn both_drivers_commit_the_same_layer() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let script = "mkdir -p /n/e/w; echo a > /n/e/w/f; rm -r /home; rm /etc/group; mkdir /home; touch /home/x;
        ln /n/e/w/f /n/l; chmod 711 /var; mknod /n/p p; find /n /home /var /etc /bin -prune -exec touch -h -d @5 {} +;
        find /n /home -exec touch -h -d @5 {} +";
    let layer = |driver: &str| {
        lath.run(&["--driver", driver, "run", "--name", driver, "busybox", "sh", "-c", script])
            .success();
        lath.ok(&["commit", driver, driver]);
        lath.ok(&["rm", driver]);
        lath.ok(&["inspect", "-f", "{{json .RootFS.Layers}}", driver])
    };
    assert_eq!(layer("overlay"), layer("copy"));
}

#[test]
fn processes_and_what_they_use_are_told() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.ok(&[
        "run",
        "-d",
        "--name",
        "box",
        "-u",
        "1000",
        "busybox",
        "sh",
        "-c",
        "sleep 1000 & exec sleep 2000",
    ]);
    lath.ok(&[
        "run",
        "-d",
        "--name",
        "busy",
        "--memory",
        "64m",
        "--pids-limit",
        "50",
        "busybox",
        "sh",
        "-c",
        "head -c 20000000 /dev/zero | tail -c 20000000 > /dev/shm/f; while :; do :; done",
    ]);
    lath.ok(&["create", "--name", "rest", "busybox", "true"]);
    lath.ok(&["exec", "-d", "box", "sleep", "3000"]);
    let top = lath.ok(&["top", "box"]);
    let lines: Vec<Vec<&str>> = top.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
    let of = |time: &str| {
        lines
            .iter()
            .find(|line| line.ends_with(&["sleep", time]))
            .unwrap_or_else(|| panic!("{time}: {top}"))
    };
    let pid = lath.ok(&["inspect", "-f", "{{.State.Pid}}", "box"]);
    assert_eq!((of("2000")[1], of("1000")[2], lines.len()), (pid.trim(), pid.trim(), 4));
    assert_eq!((of("2000")[5], of("2000")[6]), ("?", "00:00:00"));
    let some = lath.ok(&["top", "box", "-o", "pid,comm,uid"]);
    assert!(some.starts_with("PID ") && some.lines().nth(1).unwrap().contains("sleep"), "{some}");
    assert!(lath.run(&["top", "box", "aux"]).failure(2).contains("not known here"));
    assert!(lath.run(&["top", "box", "-o", "pid,nosuch"]).failure(2).contains("nosuch"));
    assert!(lath.fails(&["top", "rest"]).contains("container rest is not running"));

    let stats = lath.ok(&["stats", "--no-stream"]);
    for head in [
        "CONTAINER ID",
        "NAME",
        "CPU %",
        "MEM USAGE / LIMIT",
        "MEM %",
        "NET I/O",
        "BLOCK I/O",
        "PIDS",
    ] {
        assert!(stats.lines().next().unwrap().contains(head), "{stats}");
    }
    assert!(stats.contains("box") && stats.contains("busy") && !stats.contains("rest"), "{stats}");
    let field = |name: &str, field: &str| {
        lath.ok(&["stats", "--no-stream", "--format", &format!("{{{{.{field}}}}}"), name])
            .trim()
            .to_owned()
    };
    assert_eq!((field("box", "PIDs"), field("rest", "PIDs")), ("3".to_owned(), "0".to_owned()));
    assert!(field("busy", "MemUsage").ends_with(" / 64MiB"), "{}", field("busy", "MemUsage"));
    let used = field("box", "MemUsage");
    assert!(!used.starts_with("0B") && used.contains("iB / "), "{used}");
    let percent = |name: &str| field(name, "CPUPerc").trim_end_matches('%').parse::<f64>().unwrap();
    assert!(percent("busy") > 1.0 && percent("box") < percent("busy"));
    assert!(lath.ok(&["stats", "-a", "--no-stream", "--format", "{{.Name}}"]).contains("rest"));
    assert!(lath.fails(&["stats", "nobody"]).contains("No such container"));
    lath.ok(&["rm", "-f", "box", "busy", "rest"]);
}

#[test]
fn a_program_runs_in_a_container_in_the_background() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.ok(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let has = |what: &str| lath.ok(&["top", "box", "-o", "cmd"]).contains(what);
    let script = "test -t 1 && echo terminal > /said; id -u >> /said; echo lost; exec sleep 2000";
    for options in [&["-d"][..], &["-dit", "-u", "1000"]] {
        assert_eq!(lath.ok(&[&["exec"], options, &["box", "sh", "-c", script]].concat()), "");
        while !has("sleep 2000") {}
        let list = lath.ok(&["top", "box", "-o", "pid,cmd"]);
        let line = list.lines().find(|line| line.contains("sleep 2000")).unwrap();
        host("kill", &[line.split_whitespace().next().unwrap()]);
        while has("sleep 2000") {}
        lath.ok(&["exec", "box", "chmod", "666", "/said"]);
    }
    assert_eq!(lath.ok(&["exec", "box", "cat", "/said"]), "terminal\n1000\n");
    // What does not start is told.
    assert_eq!(lath.run(&["exec", "-d", "box", "nosuch"]).code, 127);
    assert_eq!(lath.run(&["exec", "-d", "box", "/etc/passwd"]).code, 126);
    // It goes with its container, and so does whoever waits for it.
    lath.ok(&["exec", "-d", "box", "sleep", "2718"]);
    lath.ok(&["rm", "-f", "box"]);
    while !harness::pids_of("sleep 2718").is_empty() {}
}
