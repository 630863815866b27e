//! Stores that a crash, a bad medium or another process has left in any state.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use harness::{Lath, Need, busybox_tar, needs};
use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const HERE: &[Need] = &[Need::Root, Need::Busybox];

/// The store's own small files: all but the trees of layers.
fn small_files(at: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(at).unwrap().map(Result::unwrap) {
        let path = entry.path();
        match entry.file_type().unwrap().is_dir() {
            true if ["diff", "kept", "data"].iter().any(|name| path.ends_with(name)) => {}
            true => small_files(&path, found),
            false => found.push(path),
        }
    }
    found.sort();
}

#[test]
fn one_damaged_file_is_in_the_way_of_no_other_image() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.give(&["import", "-", "apart:1"], &busybox_tar()[512..]).success();
    lath.build("victim", "FROM busybox\nRUN echo a > /a\nCOPY Dockerfile /d\n");
    lath.ok(&["run", "--rm", "-v", "held:/bin", "victim", "true"]);
    let mut files = Vec::new();
    small_files(&lath.store(), &mut files);
    let apart = fs::read_to_string(lath.store().join("refs/docker.io%library%apart/1")).unwrap();
    let apart = apart.trim().trim_start_matches("sha256:").to_owned();
    let config = fs::read_to_string(lath.store().join("images").join(&apart)).unwrap();
    let others: Vec<_> = files
        .into_iter()
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let layer = fs::read_to_string(path.with_file_name("meta")).unwrap_or_default();
            let diff = layer.lines().find_map(|line| line.strip_prefix("diff ")).unwrap_or("?");
            let is_named = path.to_str().unwrap().contains("apart") || config.contains(&name);
            let is_of_apart = is_named || name == apart || config.contains(diff);
            name != "VERSION" && !is_of_apart
        })
        .collect();
    assert!(others.len() > 10, "{others:?}");
    let runs = || lath.run(&["run", "--rm", "apart:1", "true"]).success();
    for path in &others {
        let whole = fs::read(path).unwrap();
        let mut flipped = whole.clone();
        if let Some(byte) = flipped.get_mut(whole.len() / 3) {
            *byte ^= 1;
        }
        let half = whole[..whole.len() / 2].to_vec();
        for (how, damaged) in [
            ("empty", Some(vec![])),
            ("half", Some(half)),
            ("a bit", Some(flipped)),
            ("gone", None),
        ] {
            match damaged {
                Some(bytes) => fs::write(path, bytes).unwrap(),
                None => fs::remove_file(path).unwrap(),
            }
            let what = format!("{} {how}", path.display());
            let listed = lath.run(&["images"]);
            assert!(listed.code == 0 && listed.stdout.contains("apart"), "{what}: {listed}");
            runs();
            lath.ok(&["inspect", "apart:1"]);
            lath.ok(&["volume", "ls"]);
            lath.ok(&["run", "--rm", "-v", "other:/bin", "apart:1", "true"]);
            lath.ok(&["tag", "apart:1", "extra:1"]);
            let said = lath.run(&["rmi", "extra:1"]);
            assert_eq!(said.code, 0, "{what}: {said}");
            let victim = lath.run(&["run", "--rm", "victim", "cat", "/a"]);
            assert!(victim.code == 0 || victim.stderr.contains("lath: "), "{what}: {victim}");
            fs::write(path, &whole).unwrap();
        }
    }
    // With a damaged image in the store others still go, and so does it.
    let id = lath.id("victim");
    let image = lath.store().join("images").join(id.trim_start_matches("sha256:"));
    fs::write(image, "damaged").unwrap();
    lath.ok(&["tag", "apart:1", "extra:1"]);
    lath.ok(&["rmi", "-f", "apart:1", "extra:1"]);
    lath.ok(&["rmi", "-f", "victim", "busybox"]);
    assert_eq!(lath.ok(&["images", "-q"]), "");
}

#[test]
fn a_lath_killed_at_any_moment_leaves_a_store_that_works() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let saved = lath.text("busybox.tar");
    lath.ok(&["save", "-o", &saved, "busybox"]);
    for round in 0..40u64 {
        let file = format!(
            "FROM busybox\nRUN echo {round} > /n\nCOPY Dockerfile /d\nCMD [\"cat\", \"/n\"]\n"
        );
        lath.write("c/Dockerfile", file);
        let name = format!("k:{}", round % 3);
        let old = format!("k:{}", (round + 1) % 3);
        let jobs: [&[&str]; 6] = [
            &["build", "-q", "-t", &name, "c"],
            &["load", "-q", "-i", &saved],
            &["tag", "busybox", "z:1"],
            &["rmi", "-f", &old],
            &["run", "--rm", "-v", "named:/bin", "-v", "/etc", "busybox", "true"],
            &["volume", "rm", "-f", "named"],
        ];
        let job = jobs[[0, 1, 2, 3, 0, 4, 5, 3, 4, 0][round as usize % 10]];
        let running = lath.start(job);
        // Steps that reach over the whole of a build.
        std::thread::sleep(Duration::from_micros(700 * (round * 7 % 40)));
        running.signal(Signal::KILL);
        drop(running.wait());
        let listed = lath.ok(&["images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]);
        for line in listed.lines() {
            let (name, id) = line.split_once(' ').unwrap();
            let program =
                if name.starts_with("busybox") || name.starts_with('z') { "true" } else { "" };
            let mut args = vec!["run", "--rm", id];
            args.extend(Some(program).filter(|program| !program.is_empty()));
            lath.ok(&args);
        }
        // Nobody's volume is left, and one that is there is whole or is filled anew.
        let volumes = lath.ok(&["volume", "ls", "-q"]);
        assert!(volumes.is_empty() || volumes == "named\n", "{round}: {volumes}");
        if !volumes.is_empty() {
            lath.ok(&["run", "--rm", "-v", "named:/bin", "busybox", "wc", "-c", "/bin/busybox"]);
        }
    }
    lath.ok(&["images"]);
    assert_eq!(fs::read_dir(lath.store().join("tmp")).unwrap().count(), 0, "tmp was not swept");
}
