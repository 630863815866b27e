//! An initramfs of a Dockerfile starts a machine.

use super::{Machine, Parts, TOO_LONG, image_of, kernel};
use crate::harness::{Lath, Need, needs};
use std::sync::mpsc::RecvTimeoutError;

#[test]
fn the_initramfs_of_a_dockerfile_boots() {
    let Some(kernel) = kernel() else { return };
    if !needs(&[Need::Root, Need::Busybox, Need::Program("qemu-system-x86_64")]) {
        return;
    }
    let lath = Lath::with_busybox();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/firmware");
    for words in ["", ",compression=gzip"] {
        lath.ok(&["build", "-q", "-o", &format!("type=cpio,dest=initramfs{words}"), example]);
        let machine = Machine::boot(&Parts {
            kernel: &image_of(&kernel),
            initramfs: Some(&lath.path("initramfs")),
            disks: &[],
            megabytes: 512,
            words: "poweroff",
        });
        let mut said = Vec::new();
        // It goes off by itself, which ends its lines.
        let ended = loop {
            match machine.lines.recv_timeout(TOO_LONG) {
                Ok(line) => said.push(line),
                Err(RecvTimeoutError::Disconnected) => break machine.end(),
                Err(RecvTimeoutError::Timeout) => {
                    said.extend(machine.kill());
                    panic!("it stays: {}", said.join("\n"));
                }
            }
        };
        let all = said.join("\n");
        assert!(said.iter().any(|line| line == "hello from x86_64, built by lath"), "{all}");
        assert!(ended.success(), "{all}");
    }
}
