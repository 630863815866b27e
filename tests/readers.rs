//! What others compress: archives in bzip2, xz and zstd, wherever lath takes a tar. With a binary
//! that was built without a reader, the error says so.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use harness::{Lath, Member, Need, host, layout_of, needs, packed_layout_of, tar_of};
use std::fs;
use std::process::Command;

const HERE: &[Need] = &[
    Need::Root,
    Need::Busybox,
    Need::Program("gzip"),
    Need::Program("bzip2"),
    Need::Program("xz"),
    Need::Program("zstd"),
];
const PROGRAMS: [&str; 4] = ["gzip", "bzip2", "xz", "zstd"];

/// The programs whose output this binary reads, and those that it refuses.
fn programs(lath: &Lath) -> (Vec<&'static str>, Vec<&'static str>) {
    let features = lath.ok(&["version", "--format", "{{.Client.Features}}"]);
    let has = |name: &&str| *name == "gzip" || features.split_whitespace().any(|f| f == *name);
    PROGRAMS.into_iter().partition(has)
}

/// A file compressed into another one.
fn pack(program: &str, from: &str, to: &str) {
    host("sh", &["-c", &format!("{program} -c < '{from}' > '{to}'")]);
}

fn members() -> Vec<u8> {
    tar_of(&[Member::Folder("d"), Member::File("d/a", "in tar"), Member::Soft("l", "d/a")])
}

#[test]
fn add_unpacks_a_compressed_tar_and_copies_what_is_none() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.write("c/a.tar", members());
    lath.write("c/plain", "plain");
    let (known, unknown) = programs(&lath);
    for program in known {
        pack(program, &lath.text("c/a.tar"), &lath.text("c/tar.x"));
        pack(program, &lath.text("c/plain"), &lath.text("c/file.x"));
        // Two parts in one file, as parallel compressors and `cat` make them.
        let half = fs::read(lath.path("c/a.tar")).unwrap();
        let (one, two) = half.split_at(700);
        lath.write("one", one);
        lath.write("two", two);
        pack(program, &lath.text("one"), &lath.text("one.x"));
        pack(program, &lath.text("two"), &lath.text("two.x"));
        let parts = [fs::read(lath.path("one.x")).unwrap(), fs::read(lath.path("two.x")).unwrap()];
        lath.write("c/parts.x", parts.concat());
        // Damaged at its start it is a file like any other.
        let packed = fs::read(lath.path("c/tar.x")).unwrap();
        lath.write("c/stub.x", &packed[..7]);
        let file = "FROM busybox\nADD tar.x /a/\nADD parts.x /b/\nADD file.x /file\nADD stub.x /\nADD --unpack=false tar.x /kept\n";
        lath.build_in("c", "x", file, &[]).success();
        let script = "cat /a/l /b/l; cat /file | wc -c; cat /stub.x | wc -c; cat /kept | wc -c";
        let file = fs::metadata(lath.path("c/file.x")).unwrap().len();
        let expected = format!("in tarin tar{file}\n7\n{}\n", packed.len());
        assert_eq!(lath.shell("x", script), expected, "{program}");
    }
    for program in unknown {
        pack(program, &lath.text("c/a.tar"), &lath.text("c/tar.x"));
        let said = lath.build_in("c", "x", "FROM busybox\nADD tar.x /a/\n", &[]).failure(1);
        assert!(said.contains(&format!("this lath was built without {program}")), "{said}");
        lath.build_in("c", "x", "FROM busybox\nCOPY tar.x /a/\n", &[]).success();
        lath.build_in("c", "x", "FROM busybox\nADD --unpack=false tar.x /a/\n", &[]).success();
    }
}

#[test]
fn contexts_images_and_root_trees_may_be_compressed() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let files = [Member::File("Dockerfile", "FROM busybox\nCOPY a /a\n"), Member::File("a", "A")];
    lath.write("context.tar", tar_of(&files));
    lath.write("image.tar", layout_of("hub/y", &[members()]));
    lath.write("root.tar", members());
    let (known, unknown) = programs(&lath);
    for (program, is_known) in
        known.iter().map(|name| (*name, true)).chain(unknown.iter().map(|name| (*name, false)))
    {
        for name in ["context", "image", "root"] {
            let from = lath.text(&format!("{name}.tar"));
            pack(program, &from, &lath.text(&format!("{name}.x")));
        }
        let context = fs::read(lath.path("context.x")).unwrap();
        let all = [
            lath.give(&["build", "-t", "x", "-"], &context),
            lath.run(&["load", "-i", &lath.text("image.x")]),
            lath.run(&["import", &lath.text("root.x"), "z"]),
        ];
        for said in all {
            if is_known {
                said.success();
            } else {
                let said = said.failure(1);
                assert!(said.contains(&format!("this lath was built without {program}")), "{said}");
            }
        }
        if is_known {
            assert_eq!(lath.shell("x", "cat /a"), "A", "{program}");
            lath.ok(&["rmi", "hub/y", "z"]);
        }
    }
}

/// Both media types of the OCI specification.
#[test]
fn a_layer_may_be_compressed_by_itself() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let (known, _) = programs(&lath);
    for program in ["gzip", "zstd"] {
        lath.write("layer.tar", members());
        pack(program, &lath.text("layer.tar"), &lath.text("layer.x"));
        let packed = fs::read(lath.path("layer.x")).unwrap();
        let cut = packed[..packed.len() - 1].to_vec();
        let suffix = format!("+{program}");
        let layout = |packed| packed_layout_of("hub/y", &[members()], &[packed], &suffix);
        let said = lath.give(&["load"], &layout(packed));
        if !known.contains(&program) {
            let said = said.failure(1);
            assert!(said.contains(&format!("this lath was built without {program}")), "{said}");
            continue;
        }
        said.success();
        lath.build("x", "FROM busybox\nCOPY --from=hub/y / /y\n").success();
        assert_eq!(lath.shell("x", "cat /y/l"), "in tar", "{program}");
        lath.ok(&["rmi", "x", "hub/y"]);
        let said = lath.give(&["load"], &layout(cut)).failure(1);
        assert!(said.contains("it ends too early"), "{said}");
    }
}

#[test]
fn a_damaged_archive_is_an_error_and_no_image() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let long: String = (0..40_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_string()).collect();
    lath.write("a.tar", tar_of(&[Member::File("a", "first"), Member::File("long", &long)]));
    let (known, _) = programs(&lath);
    for program in known {
        // Small blocks: a bzip2 whose first block is damaged does not show that it is a tar.
        pack(&format!("{program} -1"), &lath.text("a.tar"), &lath.text("a.x"));
        let packed = fs::read(lath.path("a.x")).unwrap();
        lath.write("c/a.x", &packed[..packed.len() - 3]);
        let before = lath.ok(&["images", "-a", "-q"]);
        let said = lath.build_in("c", "x", "FROM busybox\nADD a.x /a/\n", &[]).failure(1);
        assert!(said.contains(&format!("the {program} data is damaged")), "{said}");
        let said = lath.run(&["import", &lath.text("c/a.x"), "z"]).failure(1);
        assert!(said.contains("it ends too early"), "{said}");
        assert_eq!(lath.ok(&["images", "-a", "-q"]), before);
    }
}

#[test]
fn a_window_that_is_too_large_is_refused_and_not_copied() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.write("a.tar", members());
    let (known, _) = programs(&lath);
    if !known.contains(&"zstd") {
        return;
    }
    pack("zstd --long=31", &lath.text("a.tar"), &lath.text("a.x"));
    lath.write("c/a.x", fs::read(lath.path("a.x")).unwrap());
    let said = lath.build_in("c", "x", "FROM busybox\nADD a.x /a/\n", &[]).failure(1);
    assert!(said.contains("a window of more than 128 MiB"), "{said}");
    assert!(said.contains("COPY takes the file as it is"), "{said}");
}

/// The window is all that is in memory: 96 MB go through 32 MB of address space.
#[test]
fn memory_is_the_window_and_not_the_content() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let mut block = Vec::new();
    for number in 0_u32..(96 << 20) / 4 {
        block.extend((number / 64).wrapping_mul(2_654_435_761).to_le_bytes());
    }
    lath.write("big/big", block);
    host("tar", &["-C", &lath.text("big"), "-cf", &lath.text("big.tar"), "big"]);
    let (known, _) = programs(&lath);
    for program in known {
        pack(&format!("{program} -1"), &lath.text("big.tar"), &lath.text("big.x"));
        lath.write("c/Dockerfile", "FROM busybox\nADD big.x /\n");
        fs::rename(lath.path("big.x"), lath.path("c/big.x")).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -v 32768 && exec \"$@\"", "sh"]).arg(harness::binary());
        command.args(["build", "-t", "x", "c"]).current_dir(lath.path("")).env_clear();
        command.env("LATH_ROOT", lath.store()).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        harness::finish(&mut command, &[]).success();
        assert_eq!(lath.shell("x", "stat -c %s /big"), "100663296\n", "{program}");
    }
}
