//! What an image, an archive, a context or a step wants that is not its own: each test is an
//! attack that was tried by hand first. docs/SECURITY.md has the table.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use harness::{Lath, Member, Need, busybox_tar, finish, layout_of, needs, tar_of};
use std::fs;
use std::process::Command;

const HERE: &[Need] = &[Need::Root, Need::Busybox];

/// A lath with the image `evil`: busybox with these members on top.
fn evil(members: &[Member<'_>]) -> Lath {
    let lath = Lath::new();
    lath.give(&["load"], &layout_of("evil:latest", &[busybox_tar(), tar_of(members)])).success();
    lath
}

#[test]
fn a_device_that_a_process_makes_does_not_open() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    fs::create_dir(lath.path("v")).unwrap();
    let volume = format!("{}:/v", lath.text("v"));
    // 1:5 is /dev/zero, which everybody has and nobody may be refused for another reason.
    let script = "for at in / /tmp/ /v/ /dev/ /dev/shm/; do \
                  mknod ${at}door c 1 5 && head -c 1 ${at}door 2>/dev/null | wc -c; rm ${at}door; done; \
                  head -c 3 /dev/zero | wc -c; echo x > /dev/null";
    let shown = lath.ok(&["run", "--rm", "-v", &volume, "busybox", "sh", "-c", script]);
    assert_eq!(shown, "0\n0\n0\n0\n0\n3\n");
    // A device that the caller names is meant.
    let named =
        ["run", "--rm", "-v", "/dev/zero:/dev/mine", "busybox", "head", "-c", "2", "/dev/mine"];
    assert_eq!(lath.run(&named).success().stdout, "\0\0");
    lath.build(
        "step",
        "FROM busybox\nRUN mknod /dev/door c 1 5; head -c 1 /dev/door | wc -c > /out\n",
    );
    assert_eq!(lath.shell("step", "cat /out"), "0\n");
    // Nor one that came with the context.
    lath.write("c/keep", "");
    harness::host("mknod", &[&lath.text("c/door"), "c", "1", "5"]);
    let file = "FROM busybox\nRUN --mount=type=bind,source=door,target=/door \
                --mount=type=bind,target=/c --mount=type=cache,target=/k \
                mknod /k/door c 1 5; \
                for d in /door /c/door /k/door; do head -c 1 $d | wc -c; done > /out\n";
    lath.build_in("c", "mounts", file, &[]).success();
    assert_eq!(lath.shell("mounts", "cat /out"), "0\n0\n0\n");
}

#[test]
fn a_volume_keeps_what_the_host_forbids_on_it() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    fs::create_dir(lath.path("v")).unwrap();
    let at = lath.text("v");
    harness::host("mount", &["-t", "tmpfs", "-o", "nosuid,noexec,nodev,size=64k", "x", &at]);
    let shown = ["", ":ro"].map(|mode| {
        let volume = format!("{at}:/p{mode}");
        lath.ok(&["run", "--rm", "-v", &volume, "busybox", "grep", " /p ", "/proc/mounts"])
    });
    harness::host("umount", &[&at]);
    for flag in ["nosuid", "nodev", "noexec"] {
        assert!(shown.iter().all(|line| line.contains(flag)), "{flag}: {shown:?}");
    }
    assert!(shown[0].contains("rw,") && shown[1].contains("ro,"), "{shown:?}");
}

#[test]
fn links_in_place_of_the_kernel_s_directories_lead_nowhere() {
    if !needs(HERE) {
        return;
    }
    let core = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    for place in ["dev", "proc", "sys"] {
        for target in ["OUTSIDE", "OUTSIDE/new", "../../../../OUTSIDE", "/", "/proc/self/cwd"] {
            let lath = Lath::new();
            let outside = lath.write("outside/f", "alive");
            let target = target.replace("OUTSIDE", &lath.text("outside"));
            if target.len() > 90 {
                continue;
            }
            let image =
                layout_of("evil:latest", &[busybox_tar(), tar_of(&[Member::Soft(place, &target)])]);
            lath.give(&["load"], &image).success();
            let ran = lath.run(&["run", "--rm", "evil", "true"]);
            assert!([0, 125].contains(&ran.code), "{place} -> {target}: {ran}");
            let built = lath.build_in("c", "x", "FROM evil\nRUN true\nRUN true\n", &[]);
            assert!([0, 1].contains(&built.code), "{place} -> {target}: {built}");
            let names = fs::read_dir(outside.parent().unwrap()).unwrap().count();
            assert_eq!(names, 1, "{place} -> {target}: something was made outside");
        }
    }
    for place in ["dev", "proc", "sys"] {
        // The root itself: what is mounted there is not found from there.
        let lath = evil(&[Member::Soft(place, "/")]);
        let said = lath.run(&["run", "--rm", "evil", "true"]).failure(125);
        assert!(said.contains("not where it should be"), "{place}: {said}");
    }
    assert_eq!(fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), core);
}

#[test]
fn name_server_files_may_be_anything_in_an_image() {
    if !needs(HERE) {
        return;
    }
    for (target, code) in [
        ("/dev/null", 0),
        ("../../../../nothing/there", 0),
        ("resolv.conf", 125),
        ("/proc/sys/kernel/core_pattern", 0),
    ] {
        let lath = evil(&[Member::Soft("etc/resolv.conf", target)]);
        let script = "test -c /dev/null; head -c 1 /proc/kcore 2>/dev/null | wc -c";
        let ran = lath.run(&["run", "--rm", "evil", "sh", "-c", script]);
        assert_eq!(ran.code, code, "{target}: {ran}");
        assert!(code != 0 || ran.stdout == "0\n", "{target}: {ran}");
    }
}

#[test]
fn no_descriptor_of_the_host_is_a_working_directory() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    // lath's own, too, those that are only opened on the way to the directory.
    for fd in 3..48 {
        // The shell leaves descriptors open, as a careless caller does.
        let bin = harness::binary();
        let script = format!(
            "exec 7</ 8</etc 9</tmp; exec {} run --rm -w /proc/self/fd/{fd} busybox ls",
            bin.display()
        );
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script]).env("LATH_ROOT", lath.store());
        let said = finish(&mut command, &[]).failure(125);
        assert!(said.contains("working directory"), "{fd}: {said}");
    }
    let etc = fs::File::open("/etc").unwrap();
    let mut command = lath.command(&["run", "--rm", "-i", "busybox", "ls", "/proc/self/fd/0/"]);
    let output = command.stdin(etc).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is a directory"));
}

#[test]
fn a_tree_without_a_bottom_is_removed_with_few_descriptors() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let mut members = Vec::new();
    // In pieces through links, since a name in a plain header has 100 bytes.
    let deep = "d/".repeat(45);
    let names: Vec<_> = (0..20).map(|n| (format!("l{n}"), format!("l{}/{deep}", n - 1))).collect();
    members.push(Member::Folder(&deep));
    members.push(Member::Soft("l0", &deep));
    let folders: Vec<_> = (1..20).map(|n| format!("l{}/{deep}", n - 1)).collect();
    for (folder, (name, target)) in folders.iter().zip(names.iter().skip(1)) {
        members.push(Member::Folder(folder));
        members.push(Member::Soft(name, target));
    }
    let tar = tar_of(&members);
    let limited = |args: &str, input: &[u8]| {
        let script = format!("ulimit -n 200; exec {} {args}", harness::binary().display());
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script]).env("LATH_ROOT", lath.store());
        finish(&mut command, input)
    };
    // Cut off, so that it is left for the sweep.
    limited("import - deep:1", &tar[..tar.len() - 1024 - 512 - 100]).failure(1);
    limited("images", &[]).success();
    limited("import - deep:1", &tar).success();
    limited("rmi deep:1", &[]).success();
    assert_eq!(fs::read_dir(lath.store().join("layers")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(lath.store().join("tmp")).unwrap().count(), 0);
}

#[test]
fn a_step_that_nests_without_end_is_refused_in_a_line() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let file = "FROM busybox\nRUN i=0; while [ $i -lt 700 ]; do mkdir d; cd d; i=$((i+1)); done\n";
    let said = lath.build_in("c", "x", file, &[]).failure(1);
    assert!(said.contains("in each other") && said.len() < 1000, "{said}");
    assert_eq!(lath.shell("busybox", "echo works"), "works\n");
}

#[test]
fn a_pipe_in_a_context_does_not_hang_the_build() {
    if !needs(&[Need::Root, Need::Busybox, Need::Program("mkfifo")]) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.write("a/Dockerfile", "FROM busybox\nCOPY . /x/\n");
    lath.write("b/keep", "");
    for pipe in ["a/.dockerignore", "b/Dockerfile"] {
        harness::host("mkfifo", &[&lath.text(pipe)]);
    }
    for context in ["a", "b"] {
        let said = lath.fails(&["build", context]);
        assert!(said.contains("it is not a regular file"), "{said}");
    }
    // One that the caller names is the caller's.
    let mut command = Command::new("/bin/sh");
    let script =
        format!("echo FROM busybox | {} build -f /dev/stdin b", harness::binary().display());
    command.args(["-c", &script]).env("LATH_ROOT", lath.store()).current_dir(lath.path(""));
    finish(&mut command, &[]).success();
}

#[test]
fn the_context_s_links_do_not_lead_out_of_it() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.write("secret", "SECRET");
    lath.write("c/f", "");
    for (name, target) in
        [("abs", lath.text("secret")), ("up", "../secret".into()), ("dir", "..".into())]
    {
        std::os::unix::fs::symlink(target, lath.path("c").join(name)).unwrap();
    }
    for source in ["abs", "up", "dir/secret", "../secret", "dir/../../secret"] {
        let file = format!("FROM busybox\nCOPY {source} /x\n");
        let said = lath.build_in("c", "x", &file, &[]).failure(1);
        assert!(said.contains("not found"), "{source}: {said}");
    }
    // As a whole they come as what they are.
    lath.build_in("c", "x", "FROM busybox\nCOPY . /x/\nCOPY dir /y/\n", &[]).success();
    assert_eq!(lath.shell("x", "cat /x/abs /x/up /y/secret 2>/dev/null; true"), "");
    assert_eq!(lath.shell("x", "readlink /x/up"), "../secret\n");
    fs::remove_file(lath.path("c/Dockerfile")).unwrap();
    std::os::unix::fs::symlink(lath.path("secret"), lath.path("c/Dockerfile")).unwrap();
    let said = lath.fails(&["build", "c"]);
    assert!(!said.contains("SECRET"), "{said}");
}

#[test]
fn bombs_of_text_cost_neither_memory_nor_time() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let before = lath.listing().names().len();
    let config = |extra: &str| {
        format!(
            "{{\"architecture\":\"amd64\",\"os\":\"linux\",{extra}\"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[]}}}}"
        )
    };
    let manifest =
        |tags: &str| format!("[{{\"Config\":\"c\",\"RepoTags\":[{tags}],\"Layers\":[]}}]");
    let numbers = config(&format!("\"x\":[{}0],", "0,".repeat(1_000_000)));
    let nested = config(&format!("\"x\":{}{},", "[".repeat(500_000), "]".repeat(500_000)));
    let tags: Vec<_> = (0..100_000).map(|n| format!("\"x:{n}\"")).collect();
    for (config, manifest, word) in [
        (numbers, manifest(""), "too many values"),
        (nested, manifest(""), "nested too deeply"),
        (config(""), manifest(&tags.join(",")), "too many values"),
    ] {
        let archive =
            tar_of(&[Member::File("c", &config), Member::File("manifest.json", &manifest)]);
        let said = lath.give(&["load"], &archive).failure(1);
        assert!(said.contains(word), "{said}");
    }
    // The same file ten thousand times: what is replaced is kept for the very tar.
    let same = vec![Member::File("same", "x"); 10_000];
    let archive = layout_of("same:latest", &[busybox_tar(), tar_of(&same)]);
    lath.give(&["load"], &archive).success();
    lath.ok(&["rmi", "same"]);
    assert_eq!(lath.listing().names().len(), before);
}

#[test]
fn an_archive_cut_anywhere_leaves_the_store_as_it_was() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let members = [Member::Folder("d"), Member::File("d/f", "content"), Member::Soft("l", "d/f")];
    let archive = layout_of("cut:latest", &[tar_of(&members)]);
    let before = lath.listing().names().len();
    // The last file and the end of the tar may be missing: nobody needs them.
    let content = archive.len() - 1024 - 1024;
    for end in (0..content).step_by(512) {
        let said = lath.give(&["load"], &archive[..end]).failure(1);
        assert!(said.starts_with("lath: "), "{end}: {said}");
        assert_eq!(lath.listing().names().len(), before, "{end}");
    }
    lath.give(&["load"], &archive).success();
}

#[test]
fn words_without_end_are_answered_shortly() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let long = "A".repeat(100_000);
    for args in [["inspect", &long], ["rmi", &long], ["run", &long], ["history", &long]] {
        let output = lath.run(&args);
        assert!(output.code == 1 || output.code == 125, "{}", output.code);
        assert!(output.stderr.len() < 5_000 && output.stderr.starts_with("lath: "));
    }
}
