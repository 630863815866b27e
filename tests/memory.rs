//! Memory does not grow with what is built: the same commands work under a limit that is far
//! below the size of the files.

#![allow(clippy::unwrap_used, reason = "a broken assumption of a test is a failed test")]

mod harness;

use harness::{Lath, Need, finish, needs};
use std::fs;
use std::process::Command;

const HERE: &[Need] = &[Need::Root, Need::Busybox];
/// Address space, in KB: the binary, its threads' stacks and its buffers.
const LIMIT: &str = "32768";

/// Runs lath, and all that it starts, with that much address space.
fn narrow(lath: &Lath, args: &[&str]) -> String {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v \"$0\" && exec \"$@\"", LIMIT]).arg(harness::binary());
    command.args(args).current_dir(lath.path("")).env_clear().env("LATH_ROOT", lath.store());
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    finish(&mut command, &[]).success().stdout
}

#[test]
fn a_large_file_goes_through_every_command() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let mut block = Vec::new();
    for number in 0_u32..(96 << 20) / 4 {
        block.extend(number.wrapping_mul(2_654_435_761).to_le_bytes());
    }
    lath.write("c/big", block);
    lath.write("c/Dockerfile", "FROM busybox\nCOPY big /big\nRUN cp /big /copy && rm /big\n");
    narrow(&lath, &["build", "-t", "x", "c"]);
    assert!(narrow(&lath, &["build", "-t", "x", "c"]).contains("Using cache"));
    narrow(&lath, &["build", "-o", "type=ext4,dest=x.ext4", "-o", "type=cpio,dest=x.cpio", "c"]);
    let archive = lath.text("x.tar");
    narrow(&lath, &["save", "-o", &archive, "x"]);
    let other = Lath::new();
    narrow(&other, &["load", "-i", &archive]);
    assert_eq!(other.shell("x", "stat -c %s /copy"), "100663296\n");
    assert_eq!(other.id("x"), lath.id("x"));
}

#[test]
fn many_files_and_many_steps_are_no_more_than_few() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    for folder in 0..60 {
        for file in 0..100 {
            let name = format!("c/files/a-rather-long-name-{folder}/and-another-{file}");
            lath.write(&name, "");
        }
    }
    let mut dockerfile = "FROM busybox\nCOPY files /files\n".to_owned();
    for step in 0..40 {
        dockerfile.push_str(&format!("ENV A{step}={}\n", "x".repeat(500)));
    }
    dockerfile.push_str("RUN find /files -type f | wc -l > /count && chown -R app /files\n");
    lath.write("c/Dockerfile", &dockerfile);
    narrow(&lath, &["build", "-t", "x", "c"]);
    assert_eq!(lath.shell("x", "cat /count"), "6000\n");
    narrow(&lath, &["build", "-o", "type=ext4,dest=x.ext4", "-o", "type=cpio,dest=x.cpio", "c"]);
    narrow(&lath, &["rmi", "x"]);
    fs::remove_dir_all(lath.path("c")).unwrap();
}

#[test]
fn a_dockerfile_of_a_million_statements_takes_little_more_than_its_text() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::new();
    lath.write("c/Dockerfile", "FROM scratch\n".to_owned() + &"RUN a\n".repeat(1_300_000));
    assert!(narrow(&lath, &["build", "--check", "c"]).contains("no warnings"));
}
