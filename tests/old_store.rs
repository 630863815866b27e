//! Stores of other formats. `stores/format-1.tar.gz` was made by the first lath that had format 1:
//! its records have no checksums. It has `old:1` (built), `old:2` (loaded) and `old:3` (built),
//! each with one program of 155 bytes that says "old" on x86_64.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use harness::{Lath, Need, host, needs};
use std::fs;
use std::path::Path;

const HERE: &[Need] = &[Need::Root, Need::Program("tar")];

fn old_store() -> Lath {
    let lath = Lath::new();
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stores/format-1.tar.gz");
    let home = lath.store().parent().unwrap().to_str().unwrap().to_owned();
    let archive = archive.to_str().unwrap();
    host(
        "tar",
        &["--xattrs", "--xattrs-include=*", "--numeric-owner", "-C", &home, "-xpzf", archive],
    );
    lath
}

#[test]
fn an_old_store_is_listed_run_built_on_checked_and_saved() {
    if !needs(HERE) || !cfg!(target_arch = "x86_64") {
        return;
    }
    let lath = old_store();
    let listed = lath.ok(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    for image in ["old:1", "old:2", "old:3"] {
        assert!(listed.lines().any(|line| line == image), "{listed}");
        assert_eq!(lath.ok(&["run", "--rm", image]), "old\n");
    }
    // What it has built comes from its cache.
    let file = "FROM old:1\nCOPY hello /again\nRUN [\"/hello\"]\nLABEL a=b\n";
    let program = lath.store().join("layers");
    let found =
        fs::read_dir(program).unwrap().map(|entry| entry.unwrap().path().join("diff/hello"));
    fs::create_dir_all(lath.path("c")).unwrap();
    fs::copy(found.into_iter().find(|path| path.exists()).unwrap(), lath.path("c/hello")).unwrap();
    let built = lath.build_in("c", "old:3", file, &[]).success();
    assert_eq!(built.cached().len(), 3, "{built}");
    lath.build_in("c", "new:1", &format!("{file}COPY hello /more\nCMD [\"/more\"]\n"), &[])
        .success();
    assert_eq!(lath.ok(&["run", "--rm", "new:1"]), "old\n");
    assert!(lath.ok(&["fsck"]).starts_with("clean"));
    let archive = lath.text("a.tar");
    lath.ok(&["save", "-o", &archive, "old:2"]);
    let damaged = lath.store().join("layers");
    for layer in fs::read_dir(damaged).unwrap().map(|entry| entry.unwrap().path()) {
        let again = layer.join("diff/again");
        if again.exists() {
            fs::write(again, "other").unwrap();
        }
    }
    assert_eq!(lath.run(&["fsck"]).code, 1);
    lath.ok(&["fsck", "--repair", "--from", &archive]);
    assert!(lath.ok(&["fsck"]).starts_with("clean"));
    assert_eq!(lath.ok(&["run", "--rm", "old:2"]), "old\n");
}

#[test]
fn a_store_of_a_newer_format_is_refused_and_left_alone() {
    if !needs(HERE) {
        return;
    }
    let lath = old_store();
    fs::write(lath.store().join("VERSION"), "lath 2\n").unwrap();
    let before = lath.listing();
    for words in [&["images"][..], &["fsck"], &["fsck", "--repair"], &["rmi", "old:1"]] {
        let said = lath.fails(words);
        assert!(said.contains("has format 2, this lath knows 1"), "{said}");
    }
    before.assert_same(&lath.listing());
}
