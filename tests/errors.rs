//! What goes wrong and what the user then reads: where, what, and the exit code; and that nothing
//! half done is left.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use harness::{Lath, Need, Output, finish, gone, host, needs, pids_of};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

const HERE: &[Need] = &[Need::Root, Need::Busybox];

#[test]
fn a_dockerfile_that_is_not_there_is_named() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    fs::create_dir(lath.path("c")).unwrap();
    assert!(lath.fails(&["build", "-t", "x", "c"]).contains("Dockerfile"));
    assert!(lath.fails(&["build", "-t", "x", "-f", "c/Other", "c"]).contains("c/Other"));
    assert!(lath.fails(&["build", "-t", "x", "nosuchdir"]).contains("nosuchdir"));
}

#[test]
fn faults_of_form_name_file_and_line_and_show_the_line() {
    if !needs(HERE) {
        return;
    }
    let cases: &[(&str, usize, &str)] = &[
        ("FROM busybox\nRNU echo a\n", 2, "unknown instruction: RNU"),
        ("FROM busybox\n\n# a comment\nCOPY a\n", 4, "COPY"),
        ("RUN echo a\n", 1, "FROM"),
        ("FROM busybox\nENV\n", 2, "ENV"),
        ("FROM busybox\nEXPOSE 99999\n", 2, "99999"),
        ("FROM busybox\nRUN --mount=type=nosuch true\n", 2, "nosuch"),
        ("FROM busybox\nRUN <<EOF\necho\n", 2, "EOF"),
        ("FROM busybox\nCOPY --nosuch=1 a /b\n", 2, "nosuch"),
        ("FROM busybox\nHEALTHCHECK --interval=x CMD true\n", 2, "x"),
        (
            "FROM busybox\nRUN a \\\n b\nCOPY --from=nosuch.invalid/x:1 a b c\nWROKDIR /\n",
            5,
            "unknown instruction: WROKDIR",
        ),
    ];
    let lath = Lath::with_busybox();
    let before = lath.listing();
    for (file, line, words) in cases {
        let said = lath.build_in("c", "x", file, &[]).failure(1);
        assert!(said.contains(&format!("Dockerfile:{line}")), "{file}: {said}");
        assert!(said.contains(words), "{file}: {said}");
        let text = file.lines().nth(line - 1).unwrap();
        assert!(said.contains(text), "the line itself is shown: {said}");
    }
    before.assert_same(&lath.listing());
    let empty = lath.build_in("c", "x", "\n", &[]).failure(1);
    assert!(empty.contains("Dockerfile"), "{empty}");
    let near = lath.build_in("c", "x", "FROM busybox\nRNU true\n", &[]).failure(1);
    assert!(near.contains("RUN"), "it says what was meant: {near}");
}

#[test]
fn a_check_builds_nothing_and_a_build_lists_the_same() {
    let lath = Lath::new();
    let file = "FROM scratch AS Up\nENV A=$NOPE\n";
    lath.write("c/Dockerfile", file);
    let checked = lath.run(&["build", "--check", "c"]);
    for part in
        ["WARNING: StageNameCasing - https", "Dockerfile:1\n", "'$NOPE'\n", ">>> ENV A=$NOPE"]
    {
        assert!(checked.stdout.contains(part), "{part}: {checked}");
    }
    assert_eq!(checked.code, 1);
    assert!(!lath.store().exists(), "a check makes no store");
    let built = lath.build_in("c", "x", file, &[]);
    assert!(built.stderr.contains("2 warnings found"), "{built}");
    assert!(built.stderr.contains(" - UndefinedVar: Usage of undefined variable '$NOPE' (line 2)"));
    built.success();
    let quiet = lath.build_in("c", "x", file, &["-q"]);
    assert_eq!(quiet.stderr, "");
    let strict = format!("# check=error=true\n{file}");
    let said = lath.build_in("c", "x", &strict, &[]).failure(1);
    assert!(
        said.contains("lint violation found for rules: StageNameCasing, UndefinedVar"),
        "{said}"
    );
    lath.write("c/Dockerfile", format!("# check=skip=all\n{file}"));
    assert_eq!(lath.ok(&["build", "--check", "c"]), "Check complete, no warnings found.\n");
    lath.write("c/Dockerfile", "FROM scratch\nEXPOSE no\n");
    assert!(lath.fails(&["build", "--check", "c"]).contains("Dockerfile:2"));
}

#[test]
fn a_missing_source_names_the_file_and_the_line() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    for line in ["COPY nosuch /x", "ADD nosuch /x", "COPY --from=0 /nosuch /x"] {
        let file = format!("FROM busybox\nFROM busybox\n{line}\n");
        let said = lath.build_in("c", "x", &file, &[]).failure(1);
        assert!(said.contains("nosuch") && said.contains("Dockerfile:3"), "{line}: {said}");
    }
    let outside = lath.build_in("c", "x", "FROM busybox\nCOPY ../../../../../etc/passwd /x\n", &[]);
    outside.failure(1);
}

#[test]
fn a_failing_step_gives_its_exit_code_and_keeps_the_steps_before() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let file = "FROM busybox\nRUN echo fine > /a\nRUN echo why >&2; exit 7\nRUN echo never\n";
    let failed = lath.build_in("c", "x", file, &[]);
    assert!(
        !failed.stdout.contains("never\n") && !failed.stdout.contains("Successfully"),
        "{failed}"
    );
    let said = failed.failure(1);
    assert!(said.contains("Dockerfile:3") && said.contains("why\n"), "{said}");
    assert!(said.contains("exit code 7") || said.contains("returned a non-zero code: 7"), "{said}");
    assert_eq!(lath.ok(&["images", "-q"]).lines().count(), 1, "no image of it");
    let mended = lath.build_in("c", "x", &file.replace("exit 7", "true"), &[]).success();
    assert_eq!(mended.cached(), ["RUN echo fine > /a"]);
    let missing = lath.build_in("c", "y", "FROM busybox\nRUN nosuchprogram\n", &[]).failure(1);
    assert!(missing.contains("127"), "{missing}");
    let signal =
        lath.build_in("c", "y", "FROM busybox\nRUN sh -c 'kill -9 $$'; exit $?\n", &[]).failure(1);
    assert!(signal.contains("137"), "{signal}");
}

#[test]
fn unknown_images_are_named_with_a_way_out() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let said = lath.build_in("c", "x", "FROM nosuch:9\n", &[]).failure(1);
    assert!(said.contains("nosuch:9"), "{said}");
    for command in ["inspect", "history", "rmi", "save"] {
        let said = lath.fails(&[command, "nosuch:9"]);
        assert!(said.contains("nosuch:9"), "{command}: {said}");
    }
    let run = lath.run(&["run", "--rm", "nosuch:9"]);
    assert!(run.failure(125).contains("nosuch:9"));
}

#[test]
fn run_ends_as_its_program_ends() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let code = |words: &[&str]| lath.run(&[&["run", "--rm", "busybox"], words].concat()).code;
    assert_eq!(code(&["true"]), 0);
    assert_eq!(code(&["sh", "-c", "exit 7"]), 7);
    assert_eq!(
        code(&["sh", "-c", "kill -TERM $$; sleep 1"]),
        0,
        "pid 1 does not hear its own TERM"
    );
    assert_eq!(code(&["sh", "-c", "sh -c 'kill -9 $$'; exit $?"]), 137);
    assert_eq!(code(&["nosuchprogram"]), 127);
    assert_eq!(code(&["/etc/passwd"]), 126);
    assert_eq!(lath.run(&["run", "--nosuch", "busybox"]).code, 125);
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    let lath = Lath::new();
    for args in [
        &["build", "--nosuch", "."][..],
        &["nosuchcommand"],
        &["images", "--nosuch"],
        &["build"],
        &["tag", "only-one"],
        &["build", "-t"],
    ] {
        let said = lath.run(args).failure(2);
        assert!(said.contains("lath"), "{args:?}: {said}");
    }
    let near = lath.run(&["biuld"]).failure(2);
    assert!(near.contains("build"), "it says what was meant: {near}");
    let help = lath.run(&["--help"]).success();
    for command in
        ["build", "run", "images", "tag", "rmi", "save", "load", "import", "history", "inspect"]
    {
        assert!(help.stdout.contains(command), "{command} in the help: {help}");
    }
    assert!(lath.run(&["build", "--help"]).success().stdout.contains("--build-arg"));
    let version = lath.run(&["--version"]).success();
    assert!(version.stdout.contains(env!("CARGO_PKG_VERSION")), "{version}");
    assert!(!lath.store().exists(), "none of this makes a store");
}

#[test]
fn what_the_user_wrote_is_shown_without_control_characters() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let said =
        lath.build_in("c", "x", "FROM busybox\nCOPY no\x1b[31msuch\u{202e} /x\n", &[]).failure(1);
    assert!(!said.contains('\x1b') && !said.contains('\u{202e}'), "{said:?}");
}

#[test]
fn a_full_disk_ends_with_a_message_and_a_store_that_works() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::new();
    fs::create_dir(lath.store()).unwrap();
    host("mount", &["-t", "tmpfs", "-o", "size=16m", "lath-test", lath.store().to_str().unwrap()]);
    let checked = || {
        lath.give(&["import", "-", "busybox"], &harness::busybox_tar()).success();
        let big =
            "FROM busybox\nRUN echo before > /a\nRUN dd if=/dev/zero of=/big bs=1M count=32\n";
        let step = lath.build_in("c", "x", big, &[]);
        assert!(step.all().contains("No space left on device"), "{step}");
        step.failure(1);
        lath.write("c/big", vec![7; 32 << 20]);
        let copy = lath.build_in("c", "x", "FROM busybox\nCOPY big /big\n", &[]).failure(1);
        assert!(
            copy.contains("No space left on device") && copy.contains("Dockerfile:2"),
            "{copy}"
        );
        let load = lath.give(&["import", "-", "big"], &tar_of_a_big_file()).failure(1);
        assert!(load.contains("No space left on device"), "{load}");
        assert_eq!(lath.ok(&["images", "-q"]).lines().count(), 1);
        let small = "FROM busybox\nRUN echo before > /a\nRUN echo small > /b\n";
        let built = lath.build_in("c", "x", small, &[]).success();
        assert_eq!(built.cached(), ["RUN echo before > /a"]);
        assert_eq!(lath.shell("x", "cat /a /b"), "before\nsmall\n");
        lath.ok(&["rmi", "x"]);
    };
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(checked));
    let tmp = lath.store().join("tmp");
    let left = fs::read_dir(&tmp).map_or(0, Iterator::count);
    host("umount", &["-l", lath.store().to_str().unwrap()]);
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
    assert_eq!(left, 0, "unfinished work is left in {}", tmp.display());
}

#[test]
fn a_disk_that_becomes_read_only_is_told_of_and_read() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::new();
    let root = lath.store();
    fs::create_dir(&root).unwrap();
    let at = root.to_str().unwrap();
    host("mount", &["-t", "tmpfs", "-o", "size=64m", "lath-test", at]);
    let checked = || {
        lath.give(&["import", "-", "busybox"], &harness::busybox_tar()).success();
        let file = "FROM busybox\nRUN echo a > /a\n";
        lath.build_in("c", "x", file, &[]).success();
        lath.ok(&["create", "--name", "made", "busybox", "true"]);
        host("mount", &["-o", "remount,ro", at]);
        for words in [
            &["run", "--rm", "x", "true"][..],
            &["create", "x", "true"],
            &["start", "made"],
            &["rm", "made"],
            &["build", "--no-cache", "-t", "y", "c"],
            &["tag", "x", "y"],
            &["commit", "made", "y"],
            &["rmi", "x"],
            &["system", "prune", "-f"],
            &["gc"],
            &["volume", "create", "vol"],
        ] {
            let done = lath.run(words);
            assert!(matches!(done.code, 1 | 125), "{done}");
            assert!(done.stderr.contains("Read-only file system"), "{done}");
        }
        // What is only read works.
        assert!(lath.ok(&["images"]).contains("busybox"));
        assert!(lath.ok(&["ps", "-a"]).contains("made"));
        assert_eq!(lath.build_in("c", "x", file, &[]).success().cached().len(), 1);
        assert!(lath.ok(&["fsck"]).starts_with("clean"));
        // And an image is carried away by way of another store.
        let save = ["--root", &lath.text("other"), "save", "-o", &lath.text("x.tar"), "x"];
        finish(lath.command(&save).env("LATH_STORES", &root), &[]).success();
        host("mount", &["-o", "remount,rw", at]);
        assert!(lath.ok(&["fsck"]).starts_with("clean"));
        lath.ok(&["start", "made"]);
        lath.ok(&["rm", "-f", "made"]);
    };
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(checked));
    host("umount", &["-l", at]);
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn nobody_else_reaches_the_store_whatever_the_umask() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::new();
    // One that somebody has made before.
    let made = lath.path("made");
    fs::create_dir_all(&made).unwrap();
    fs::set_permissions(&made, fs::Permissions::from_mode(0o777)).unwrap();
    for root in [&made, &lath.path("new/by/lath")] {
        let line = "umask 0; exec \"$0\" --root \"$1\" import - busybox";
        let (program, root) = (harness::binary(), root.to_str().unwrap());
        let mut command = Command::new("sh");
        command.args(["-c", line]).arg(program).arg(root);
        finish(&mut command, &harness::busybox_tar()).success();
        let mode = |path: &str| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(root), 0o700, "{root}");
        for entry in fs::read_dir(root).unwrap() {
            let path = entry.unwrap().path();
            let path = path.to_str().unwrap();
            assert_eq!(mode(path) & 0o022, 0, "{path}");
            let seen = Command::new("stat").arg(path).uid(12345).gid(12345).output().unwrap();
            let said = String::from_utf8_lossy(&seen.stderr).into_owned();
            assert!(said.contains("Permission denied"), "{path}: {said}");
        }
    }
}

#[test]
fn ctrl_c_in_a_step_ends_it_and_leaves_nothing() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let file = "FROM busybox\nRUN echo kept > /a\nRUN echo started; sleep 86451 & sleep 86451\n";
    lath.write("c/Dockerfile", file);
    let interrupted = |signal: Signal, group: bool| -> Output {
        let building = lath
            .start(&["build", "-t", "x", "c"])
            .until("the step", || !pids_of("sleep 86451").is_empty());
        if group {
            building.signal_group(signal);
        } else {
            building.signal(signal);
        }
        building.wait()
    };
    let first = interrupted(Signal::INT, true);
    assert_eq!(first.code, 130, "{first}");
    gone("sleep 86451");
    assert_eq!(lath.ok(&["images", "-q"]).lines().count(), 1, "no image of it");
    let before = lath.listing();
    let second = interrupted(Signal::INT, false);
    assert_eq!(second.code, 130, "{second}");
    assert_eq!(second.cached(), ["RUN echo kept > /a"], "the finished step is kept");
    let third = interrupted(Signal::TERM, false);
    assert_eq!(third.code, 143, "{third}");
    gone("sleep 86451");
    assert_eq!(before.names(), lath.listing().names(), "the store is as it was");
}

#[test]
fn a_killed_lath_takes_its_step_along_and_the_next_one_cleans_up() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.write("c/Dockerfile", "FROM busybox\nRUN echo kept > /a\nRUN sleep 86452\n");
    let building = lath
        .start(&["build", "-t", "x", "c"])
        .until("the step", || !pids_of("sleep 86452").is_empty());
    // Finished steps are made durable while the next one runs.
    std::thread::sleep(std::time::Duration::from_secs(1));
    building.signal(Signal::KILL);
    assert_eq!(building.wait().code, 137);
    gone("sleep 86452");
    let built = lath.build("x", "FROM busybox\nRUN echo kept > /a\nRUN echo b > /b\n");
    assert_eq!(built.cached(), ["RUN echo kept > /a"]);
    assert_eq!(lath.shell("x", "cat /a /b"), "kept\nb\n");
}

#[test]
fn signals_reach_the_program_of_a_container() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let script = "trap 'echo got it; exit 5' TERM INT; touch /m/ready; while :; do sleep 0.1; done";
    let volume = format!("{}:/m", lath.text(""));
    for signal in [Signal::TERM, Signal::INT] {
        let marker = lath.path("ready");
        let running = lath.start(&["run", "--rm", "-v", &volume, "busybox", "sh", "-c", script]);
        let running = running.until("the trap", || marker.exists());
        running.signal(signal);
        let ended = running.wait();
        assert_eq!((ended.code, ended.stdout.as_str()), (5, "got it\n"), "{ended}");
        fs::remove_file(marker).unwrap();
    }
}

/// A tar of one file of 32 MiB.
fn tar_of_a_big_file() -> Vec<u8> {
    let text = "x".repeat(32 << 20);
    harness::tar_of(&[harness::Member::File("big", &text)])
}
