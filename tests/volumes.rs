//! Volumes with and without names, file systems in memory, devices, name servers, groups, and a
//! container's first process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use harness::{Lath, Need, needs};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

const HERE: &[Need] = &[Need::Root, Need::Busybox];

fn volumes(lath: &Lath, more: &[&str]) -> Vec<String> {
    let words = [&["volume", "ls", "-q"], more].concat();
    lath.ok(&words).lines().map(str::to_owned).collect()
}

/// What `run` says before it has run anything.
fn refused(lath: &Lath, words: &[&str]) -> String {
    lath.run(words).failure(125)
}

fn clean(lath: &Lath) {
    assert_eq!(lath.run(&["fsck"]).code, 0, "{}", lath.run(&["fsck"]).all());
}

#[test]
fn a_named_volume_outlives_containers_and_is_filled_from_the_image_once() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let text = "FROM busybox\nRUN mkdir -m 750 /data && echo first > /data/a && ln -s a /data/l && chown 7:8 /data /data/a\n";
    lath.build("app", text).success();
    let run = |script: &str| {
        let words = ["run", "--rm", "-v", "state:/data", "app", "sh", "-c", script];
        lath.run(&words).success().stdout
    };
    assert_eq!(
        run("cat /data/a; readlink /data/l; stat -c '%u:%g %a' /data /data/a"),
        "first\na\n7:8 750\n7:8 644\n"
    );
    run("echo second > /data/a; rm /data/l; echo more > /data/b");
    assert_eq!(run("cat /data/*"), "second\nmore\n", "what is in it is not filled again");
    assert_eq!(volumes(&lath, &[]), ["state"]);
    let path = lath.ok(&["volume", "inspect", "--format", "{{.Mountpoint}}", "state"]);
    assert_eq!(fs::read_to_string(format!("{}/b", path.trim())).unwrap(), "more\n");
    // The image itself has not changed.
    assert_eq!(lath.shell("app", "cat /data/a"), "first\n");
    // Read-only, and through --mount.
    let words = ["run", "--rm", "--mount", "source=state,target=/m,readonly", "app", "sh", "-c"];
    let out = lath.run(&[&words[..], &["cat /m/b; echo x > /m/x"]].concat());
    assert_eq!((out.code, out.stdout.as_str()), (1, "more\n"), "{}", out.stderr);
    // One that was made empty is filled too; one that is there is no error.
    for _ in 0..2 {
        assert_eq!(lath.ok(&["volume", "create", "--label", "a=b", "other"]), "other\n");
    }
    let words = ["run", "--rm", "-v", "other:/data", "app", "cat", "/data/a"];
    assert_eq!(lath.ok(&words), "first\n");
    assert_eq!(volumes(&lath, &["--filter", "label=a=b"]), ["other"]);
    assert_eq!(volumes(&lath, &["--filter", "name=stat"]), ["state"]);
    clean(&lath);
    // A container that has it keeps it, running or not.
    lath.ok(&["create", "--name", "cc", "-v", "state:/data", "app", "true"]);
    assert!(lath.fails(&["volume", "rm", "state"]).contains("volume is in use"));
    assert_eq!(volumes(&lath, &["--filter", "dangling=true"]), ["other"]);
    assert_eq!(
        lath.ok(&[
            "inspect",
            "-f",
            "{{range .Mounts}}{{.Type}} {{.Name}} {{.Destination}}{{end}}",
            "cc"
        ]),
        "volume state /data\n"
    );
    lath.ok(&["rm", "-v", "cc"]);
    assert_eq!(volumes(&lath, &[]), ["other", "state"], "rm -v leaves what has a name");
    assert!(lath.ok(&["volume", "prune", "-f"]).contains("reclaimed space: 0B"));
    assert!(lath.ok(&["volume", "prune", "-af", "--filter", "label=a"]).contains("other"));
    assert!(lath.fails(&["volume", "rm", "other"]).contains("no such volume"));
    lath.ok(&["volume", "rm", "-f", "other", "state"]);
    assert!(!lath.store().join("volumes/state").exists());
    assert!(lath.fails(&["volume", "inspect", "state"]).contains("no such volume"));
    clean(&lath);
}

#[test]
fn volumes_of_the_image_go_with_a_brief_container_and_stay_after_another() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let text = "FROM busybox\nRUN mkdir /v && echo kept > /v/a\nVOLUME /v /w/new\n";
    lath.build("app", text).success();
    let words = [
        "run",
        "--rm",
        "app",
        "sh",
        "-c",
        "cat /v/a; echo x > /v/b; ls -d /w/new; grep -c ' /v \\| /w/new ' /proc/mounts",
    ];
    assert_eq!(lath.ok(&words), "kept\n/w/new\n2\n");
    assert!(volumes(&lath, &[]).is_empty(), "they have gone with it");
    // Without --rm they are there until rm -v; after a plain rm they are nobody's.
    lath.run(&["run", "--name", "one", "app", "sh", "-c", "echo x > /v/b"]).success();
    assert_eq!(volumes(&lath, &[]).len(), 2);
    lath.run(&["start", "-a", "one"]);
    lath.ok(&["rm", "-v", "one"]);
    assert!(volumes(&lath, &[]).is_empty());
    lath.run(&["run", "--name", "two", "-v", "/w/new", "-v", "/z", "app", "touch", "/z/f"])
        .success();
    assert_eq!(volumes(&lath, &["--filter", "dangling=false"]).len(), 3);
    lath.ok(&["rm", "two"]);
    assert_eq!(volumes(&lath, &["--filter", "dangling=true"]).len(), 3, "nothing is lost by rm");
    clean(&lath);
    let df = lath.ok(&["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}}"]);
    assert!(df.contains("Local Volumes 3 0\n"), "{df}");
    assert!(lath.ok(&["system", "prune", "-f"]).contains("Total reclaimed"));
    assert_eq!(volumes(&lath, &[]).len(), 3, "system prune leaves volumes");
    lath.ok(&["system", "prune", "-f", "--volumes"]);
    assert!(volumes(&lath, &[]).is_empty());
    // One of a name in the place of the image's.
    let words = ["run", "--rm", "-v", "mine:/v", "app", "cat", "/v/a"];
    assert_eq!(lath.ok(&words), "kept\n");
    assert_eq!(volumes(&lath, &[]), ["mine"]);
}

#[test]
fn what_a_killed_process_has_left_of_volumes_is_swept() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.build("app", "FROM busybox\nRUN mkdir /v && echo kept > /v/a\nVOLUME /v\n").success();
    // A brief container whose lath is killed.
    let running = lath.start(&["run", "--rm", "app", "sleep", "1000"]);
    let running = running.until("it has its volume", || volumes(&lath, &[]).len() == 1);
    running.signal(rustix::process::Signal::KILL);
    running.wait();
    lath.ok(&["images"]);
    assert!(volumes(&lath, &[]).is_empty());
    // The same after a power cut: nothing of it was synced.
    let running = lath.start(&["run", "--rm", "app", "sleep", "1000"]);
    let running = running.until("it has its volume", || volumes(&lath, &[]).len() == 1);
    running.signal(rustix::process::Signal::KILL);
    running.wait();
    let folder = lath.store().join("volumes").read_dir().unwrap().next().unwrap().unwrap().path();
    for file in ["config", "owner"] {
        fs::write(folder.join(file), "").unwrap();
    }
    clean(&lath);
    assert!(!folder.exists());
    // A fill that was cut off is done again, from the start.
    lath.ok(&["volume", "create", "half"]);
    let folder = lath.store().join("volumes/half");
    fs::write(folder.join("filling"), "").unwrap();
    fs::write(folder.join("data/part"), "").unwrap();
    let words = ["run", "--rm", "-v", "half:/v", "app", "ls", "/v"];
    assert_eq!(lath.ok(&words), "a\n");
    assert!(!folder.join("filling").exists());
    // A removal that was cut off is gone on with.
    fs::remove_file(folder.join("config")).unwrap();
    lath.ok(&["images"]);
    assert!(!folder.exists());
    // A damaged record is told; the files stay.
    lath.ok(&["volume", "create", "bad"]);
    fs::write(lath.store().join("volumes/bad/config"), "sum 0\nx").unwrap();
    let told = lath.run(&["fsck"]);
    assert_eq!(told.code, 1);
    assert!(told.all().contains("volumes/bad/config"), "{}", told.all());
    assert_eq!(volumes(&lath, &[]), ["bad"]);
    lath.ok(&["volume", "rm", "bad"]);
    clean(&lath);
}

#[test]
fn names_and_paths_of_volumes_lead_nowhere_else() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    for name in ["../x", "..", ".", "a/b", "x y", "-x", "a:b:c:d"] {
        let out = lath.run(&["volume", "create", "--name", name]);
        assert_ne!(out.code, 0, "{name}");
    }
    // The image's directory is a link to the host's: what is copied is the image's own.
    let canary = lath.write("canary", "of the host");
    let text = format!("FROM busybox\nRUN ln -s {} /v\n", canary.parent().unwrap().display());
    lath.build("app", &text).success();
    let out = lath.run(&["run", "--rm", "-v", "xx:/v/y", "app", "ls", "-a", "/v/y"]);
    assert!(!out.stdout.contains("canary"), "{}", out.all());
    let words = ["run", "--rm", "-v", "yy:/v", "app", "sh", "-c", "ls /v; true"];
    assert!(!lath.run(&words).stdout.contains("canary"));
    // A volume of the image's wish lies in its own root, wherever its path leads.
    let text = "FROM busybox\nRUN mkdir -p /etc && echo own > /etc/own\nVOLUME /../../etc\n";
    lath.build("up", text).success();
    assert!(lath.ok(&["run", "--rm", "up", "sh", "-c", "ls /etc"]).starts_with("group\n"));
    assert_eq!(lath.ok(&["run", "--rm", "up", "cat", "/etc/own"]), "own\n");
    let text = "FROM busybox\nVOLUME /proc/self/root\n";
    lath.build("magic", text).success();
    let out = lath.run(&["run", "--rm", "magic", "ls", "/proc/self/root/"]);
    assert!(!out.stdout.contains("vmlinuz") && !out.stdout.contains("srv"), "{}", out.all());
    // A node for a disk in a volume opens nothing.
    let script = "mknod /n/disk b 7 0 && head -c 1 /n/disk";
    let out = lath.run(&["run", "--rm", "-v", "nn:/n", "busybox", "sh", "-c", script]);
    assert!(out.code != 0 && out.stderr.contains("denied"), "{}", out.all());
    clean(&lath);
}

#[test]
fn mounts_must_be_there_and_memory_is_as_asked() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let folder = lath.path("of-host");
    let mount = format!("type=bind,source={},target=/h", folder.display());
    let words = ["run", "--rm", "--mount", &mount, "busybox", "ls", "/h"];
    assert!(refused(&lath, &words).contains("of-host"));
    assert!(!folder.exists(), "--mount makes nothing on the host");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("f"), "").unwrap();
    assert_eq!(lath.ok(&words), "f\n");
    let words = [
        "run",
        "--rm",
        "--read-only",
        "--tmpfs",
        "/run:size=1m,mode=750,uid=7",
        "--tmpfs",
        "/tmp",
        "--mount",
        "type=tmpfs,target=/m,tmpfs-size=64k",
        "busybox",
        "sh",
        "-c",
        "stat -c '%u %a' /run /tmp /m; grep ' /run ' /proc/mounts; cp /bin/busybox /tmp/ && /tmp/busybox true || echo noexec; \
         head -c 100000 /dev/zero > /m/x || echo full; echo x > /y || echo read-only",
    ];
    let out = lath.run(&words).success().stdout;
    assert!(out.starts_with("7 750\n0 1777\n0 1777\n"), "{out}");
    assert!(out.contains("nosuid,nodev,noexec") && out.contains("size=1024k"), "{out}");
    assert!(out.ends_with("noexec\nfull\nread-only\n"), "{out}");
}

#[test]
fn a_device_that_is_named_works_and_no_other() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let run = |words: &[&str], script: &str| {
        lath.run(&[&["run", "--rm"], words, &["busybox", "sh", "-c", script]].concat())
    };
    let script = "head -c 3 /dev/mine | od -An -tx1; ls -l /dev/mine | cut -c1";
    assert_eq!(
        run(&["--device", "/dev/zero:/dev/mine:rwm"], script).success().stdout,
        " 00 00 00\nc\n"
    );
    assert_eq!(
        run(&["--device", "/dev/loop-control"], "ls /dev/loop-control").success().stdout,
        "/dev/loop-control\n"
    );
    assert_eq!(
        run(&["--device", "/dev/pts:/dev/d/pts"], "ls -d /dev/d/pts").success().stdout,
        "/dev/d/pts\n"
    );
    let file = lath.text("file");
    fs::write(&file, "").unwrap();
    for (device, told) in [
        (file.as_str(), "not a device node"),
        ("/dev/not-there", "/dev/not-there"),
        ("/dev/zero:/dev/z:r", "not supported yet"),
        ("zero", "absolute"),
    ] {
        let out = run(&["--device", device], "true");
        assert!(out.code != 0 && out.stderr.contains(told), "{device}: {}", out.stderr);
    }
    assert!(!std::path::Path::new("/dev/not-there").exists());
}

#[test]
fn name_servers_and_groups_are_those_that_were_asked_for() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let words = [
        "run",
        "--rm",
        "--dns",
        "192.0.2.1",
        "--dns",
        "2001:db8::1",
        "--dns-search",
        "example.org",
        "--dns-option",
        "ndots:3",
        "--group-add",
        "audio",
        "--group-add",
        "77",
        "-u",
        "5:6",
        "app",
        "sh",
        "-c",
        "grep -v '^#' /etc/resolv.conf; id -G",
    ];
    lath.build("app", "FROM busybox\nRUN echo audio:x:29: >> /etc/group\n").success();
    let out = lath.ok(&words);
    assert_eq!(
        out,
        "nameserver 192.0.2.1\nnameserver 2001:db8::1\nsearch example.org\noptions ndots:3\n6 29 77\n"
    );
    assert!(
        refused(&lath, &["run", "--rm", "--dns", "server", "app", "true"])
            .contains("not an ip address")
    );
    assert!(
        refused(&lath, &["run", "--rm", "--group-add", "nobodys", "app", "true"])
            .contains("unable to find group nobodys")
    );
    let words = [
        "create",
        "--name",
        "cc",
        "--dns",
        "192.0.2.9",
        "--group-add",
        "29",
        "app",
        "sh",
        "-c",
        "cat /etc/resolv.conf; id -G",
    ];
    lath.ok(&words);
    let out = lath.ok(&["start", "-a", "cc"]);
    assert!(out.contains("nameserver 192.0.2.9\n") && out.ends_with("0 29\n"), "{out}");
}

#[test]
fn an_init_takes_in_orphans_hands_signals_on_and_cannot_be_written_to() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let run = |script: &str| lath.run(&["run", "--rm", "--init", "busybox", "sh", "-c", script]);
    // The shell is no first process, and an orphan that has ended is no zombie.
    let script = "echo $$ | grep -cx 1; (sleep 0.1 &) ; sleep 0.5; grep -c 'State:.Z' /proc/[0-9]*/status | grep -vc ':0$'; exit 7";
    let out = run(script);
    assert_eq!((out.code, out.stdout.as_str()), (7, "0\n0\n"), "{}", out.stderr);
    // Without one it is a zombie: the test can fail.
    let script =
        "(sleep 0.1 &) ; sleep 0.5; grep -c 'State:.Z' /proc/[0-9]*/status | grep -vc ':0$'";
    assert_eq!(
        lath.run(&[
            "run",
            "--rm",
            "busybox",
            "sh",
            "-c",
            &format!("exec sleep 1 & {script}; true")
        ])
        .code,
        0
    );
    for (words, code, told) in [
        (["run", "--rm", "--init", "busybox", "nothing-there"], 127, "executable file not found"),
        (["run", "--rm", "--init", "busybox", "/etc"], 126, "denied"),
    ] {
        let out = lath.run(&words);
        assert_eq!(out.code, code, "{}", out.stderr);
        assert!(out.stderr.contains(told), "{}", out.stderr);
    }
    // Its file is lath's own: it is the same, and stays so.
    let before = fs::metadata(harness::binary()).unwrap();
    for script in [": > /proc/1/exe", ": > /dev/init", "echo x >> /proc/1/exe"] {
        let out = run(script);
        assert!(out.code != 0, "{script}");
    }
    let script = "umount /dev/init; mount -o remount,rw /dev/init; true";
    run(script);
    let after = fs::metadata(harness::binary()).unwrap();
    assert_eq!(
        (before.len(), before.mtime(), before.mtime_nsec()),
        (after.len(), after.mtime(), after.mtime_nsec())
    );
    assert_ne!(after.permissions().mode() & 0o111, 0);
    // A signal reaches the program, whose code comes back.
    let script = "trap 'echo told; exit 9' TERM; echo ready; while :; do sleep 0.1; done";
    lath.ok(&["run", "-d", "--init", "--name", "cc", "busybox", "sh", "-c", script]);
    let start = std::time::Instant::now();
    while !lath.run(&["logs", "cc"]).stdout.contains("ready") {
        assert!(start.elapsed().as_secs() < 20);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    lath.ok(&["stop", "-t", "20", "cc"]);
    assert_eq!(lath.ok(&["inspect", "-f", "{{.State.ExitCode}}", "cc"]), "9\n");
    assert_eq!(lath.ok(&["logs", "cc"]), "ready\ntold\n");
}
