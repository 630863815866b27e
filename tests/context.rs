//! The build context is read once: what has not changed is not read again, and every change shows.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use harness::{Lath, Need, finish, host, needs};

const HERE: &[Need] = &[Need::Root, Need::Busybox];

/// Longer than the steps of the clock that files have their times from.
fn wait_until_old() {
    std::thread::sleep(Duration::from_millis(60));
}

/// The paths in the context that a build opens.
fn opened(lath: &Lath, args: &[&str]) -> Vec<String> {
    // To read it: a descriptor for the path alone cannot.
    let is_opened = |line: &String| {
        line.contains("/c/files") && !line.contains("O_DIRECTORY") && !line.contains("O_PATH")
    };
    opened_anywhere(lath, args).into_iter().filter(is_opened).collect()
}

/// All that a build opens or mounts, as strace shows it.
fn opened_anywhere(lath: &Lath, args: &[&str]) -> Vec<String> {
    let log = lath.path("strace.log");
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-e", "trace=open,openat,openat2,fsmount,mount", "-o"]).arg(&log);
    command.arg(harness::binary()).args(args).current_dir(lath.path(""));
    finish(command.env("LATH_ROOT", lath.store()), &[]).success();
    let text = fs::read_to_string(log).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn an_unchanged_file_is_not_opened_again() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    for n in 0..500 {
        lath.write(&format!("c/files/{}/{n}", n % 9), format!("content {n}"));
    }
    let text = "FROM busybox\nCOPY files/1 /one\nCOPY files/2/2 /two\nCOPY files /all\n";
    wait_until_old();
    lath.build_in("c", "x", text, &[]).success();
    let args = ["build", "-t", "x", "-f", "Dockerfile", "c"];
    lath.write("Dockerfile", text);
    assert_eq!(opened(&lath, &args), [""; 0]);
    // One more is read, and that alone.
    lath.write("c/files/5/new", "new");
    wait_until_old();
    let read = opened(&lath, &args);
    assert!(read.len() > 1, "{read:?}");
    assert_eq!(opened(&lath, &args), [""; 0]);
    assert_eq!(lath.shell("x", "cat /all/5/new"), "new");
}

#[test]
fn every_change_of_the_context_shows() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    for name in ["a", "b/c", "b.d", "e"] {
        lath.write(&format!("c/{name}"), "1111");
    }
    let text = "FROM busybox\nCOPY . /x\n";
    let show = "cd /x && find . -type f ! -name Dockerfile | sort | while read f; do \
        echo \"$f $(stat -c %a $f) $(cat $f)\"; done";
    wait_until_old();
    lath.build_in("c", "x", text, &[]).success();
    let path = |name: &str| lath.path(&format!("c/{name}"));
    let changes: &[(&str, &dyn Fn())] = &[
        ("a file of the same size with its old time", &|| {
            let time = host("stat", &["-c", "%y", &lath.text("c/a")]);
            fs::write(path("a"), "2222").unwrap();
            host("touch", &["-d", time.trim(), &lath.text("c/a")]);
        }),
        ("two files that change places", &|| {
            fs::write(path("b/c"), "3333").unwrap();
            fs::rename(path("b/c"), path("t")).unwrap();
            fs::rename(path("e"), path("b/c")).unwrap();
            fs::rename(path("t"), path("e")).unwrap();
        }),
        ("a mode", &|| fs::set_permissions(path("a"), PermissionsExt::from_mode(0o755)).unwrap()),
        ("a file that is gone", &|| fs::remove_file(path("b.d")).unwrap()),
        ("a file that is new", &|| fs::write(path("b/0"), "4444").unwrap()),
        ("a folder in the place of a file", &|| {
            fs::remove_file(path("e")).unwrap();
            fs::create_dir(path("e")).unwrap();
            fs::write(path("e/f"), "5555").unwrap();
        }),
    ];
    let mut before = lath.shell("x", show);
    for (what, change) in changes {
        wait_until_old();
        change();
        lath.build_in("c", "x", text, &[]).success();
        let after = lath.shell("x", show);
        assert_ne!(after, before, "{what}");
        // From nothing it is the same.
        let _ = fs::remove_dir_all(lath.store().join("context"));
        lath.build_in("c", "y", text, &["--no-cache"]).success();
        assert_eq!(lath.shell("y", show), after, "{what}");
        before = after;
    }
}

#[test]
fn a_file_that_changes_at_once_is_not_mistaken_for_the_old_one() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let text = "FROM busybox\nCOPY f /f\n";
    for n in 0..60_u32 {
        // Without a wait: times may be the same as before, and so is the size.
        lath.write("c/f", format!("{n:4}"));
        lath.build_in("c", "x", text, &[]).success();
        assert_eq!(lath.shell("x", "cat /f"), format!("{n:4}"));
    }
}

#[test]
fn a_damaged_cache_of_the_context_is_as_none() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    for n in 0..300 {
        lath.write(&format!("c/files/{n}"), format!("{n}"));
    }
    let text = "FROM busybox\nCOPY files /x\n";
    wait_until_old();
    lath.build_in("c", "x", text, &[]).success();
    let id = lath.id("x");
    let folder = lath.store().join("context");
    let file = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&file).unwrap();
    assert!(whole.len() > 8192);
    let mut flipped = whole.clone();
    flipped.iter_mut().skip(100).step_by(500).for_each(|byte| *byte ^= 1);
    for bad in [&whole[..0], &whole[..5000], &flipped, &[0xff; 20000]] {
        fs::write(&file, bad).unwrap();
        assert_eq!(lath.build_in("c", "x", text, &[]).success().cached().len(), 1);
        assert_eq!(lath.id("x"), id);
    }
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, "in the way").unwrap();
    assert_eq!(lath.build_in("c", "x", text, &[]).success().cached().len(), 1);
}

#[test]
fn what_comes_out_of_layers_is_not_read_for_a_step_of_the_cache() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let text = "FROM busybox AS a\nRUN mkdir /files && echo one > /files/one\n\
                FROM busybox AS b\nRUN echo b > /b\n\
                FROM busybox\nCOPY --from=a /files /c/files\nCOPY --from=b /b /\n\
                RUN --mount=from=a,source=/files,target=/c/files cat /c/files/one > /x\n";
    lath.write("Dockerfile", text);
    lath.write("c/keep", "");
    let args = ["build", "-t", "x", "-f", "Dockerfile", "c"];
    lath.ok(&args);
    let before = lath.listing();
    let lower = |line: &String| line.contains("/diff") || line.contains("fsmount");
    let opened: Vec<String> = opened_anywhere(&lath, &args).into_iter().filter(lower).collect();
    assert_eq!(opened, [""; 0]);
    assert_eq!(lath.listing(), before);
    // Another stage with the same files: read once more, and the same step.
    let other = text.replace("echo one", "echo  one");
    lath.write("Dockerfile", &other);
    let run = lath.run(&args).success();
    let wanted = ["COPY --from=a /files /c/files", "COPY --from=b /b /"];
    let cached = run.cached();
    assert!(wanted.iter().all(|step| cached.iter().any(|known| known == step)), "{run}");
    // And other files.
    lath.write("Dockerfile", text.replace("echo one", "echo two"));
    lath.ok(&args);
    assert_eq!(lath.shell("x", "cat /x /c/files/one"), "two\ntwo\n");
    // A step that has to be done though what it takes in was known.
    lath.write("Dockerfile", text.replace("COPY --from=b", "RUN true\nCOPY --from=b"));
    lath.ok(&args);
    assert_eq!(lath.shell("x", "cat /b /c/files/one"), "b\none\n");
}
