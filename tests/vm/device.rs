//! A small device from its first boot on: a read-only root with lath, a store with a base and the
//! packages; a small disk for the store of its own; little memory.

use super::{Machine, Parts, TOO_LONG, image_of, kernel};
use crate::harness::{Lath, Need, bases, binary, busybox, host, needs};
use crate::initramfs::{Archive, in_order, modules};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::RecvTimeoutError;

pub const NEEDED: [Need; 6] = [
    Need::Root,
    Need::Busybox,
    Need::Bases,
    Need::Program("qemu-system-x86_64"),
    Need::Program("mksquashfs"),
    Need::Program("mkfs.ext4"),
];
const DISK: u64 = 48 << 20;

/// What is flashed, and its disk.
pub struct Device {
    lath: Lath,
    kernel: PathBuf,
    /// Only Debian's kernel needs it.
    initramfs: Option<PathBuf>,
    megabytes: u32,
}

impl Device {
    pub fn new(kernel: &Path, megabytes: u32) -> Device {
        let lath = Lath::new();
        firmware(&lath);
        fs::File::create(lath.path("disk")).unwrap().set_len(DISK).unwrap();
        host("mkfs.ext4", &["-q", "-F", &lath.text("disk")]);
        Device { lath, kernel: kernel.to_owned(), initramfs: None, megabytes }
    }

    /// With a kernel of Debian's, unpacked in this folder.
    fn debian(kernel: &Path, megabytes: u32) -> Device {
        let mut device = Device::new(&image_of(kernel), megabytes);
        let mut archive = Archive::default();
        for dir in ["bin", "modules"] {
            archive.dir(dir);
        }
        archive.program("init", include_bytes!("device.sh"));
        archive.program("bin/busybox", &fs::read(busybox().unwrap()).unwrap());
        let wanted = ["virtio_pci", "virtio_blk", "crc32c_generic", "ext4", "squashfs", "overlay"];
        for (number, path) in in_order(&modules(kernel), &wanted).iter().enumerate() {
            archive.program(&format!("modules/{number:02}.ko"), &fs::read(path).unwrap());
        }
        device.initramfs = Some(device.lath.write("initramfs", archive.finish()));
        device
    }

    fn boot(&self, work: &str) -> Machine {
        let root = "root=/dev/vda rootfstype=squashfs ro init=/init";
        Machine::boot(&Parts {
            kernel: &self.kernel,
            initramfs: self.initramfs.as_deref(),
            disks: &[&self.lath.path("firmware"), &self.lath.path("disk")],
            megabytes: self.megabytes,
            words: &format!("{root} work={work}"),
        })
    }

    /// Boots it, and cuts its power when it says this; what it said until then.
    fn until(&self, work: &str, word: &str) -> Vec<String> {
        let machine = self.boot(work);
        let mut said = Vec::new();
        while said.last().is_none_or(|line: &String| !line.starts_with(word)) {
            match machine.lines.recv_timeout(TOO_LONG) {
                Ok(line) => said.push(line),
                Err(error) => {
                    said.extend(machine.kill());
                    panic!("{work}: {error}: {}", said.join("\n"));
                }
            }
        }
        machine.kill();
        self.check(work, said)
    }

    /// Boots it and waits until it goes off by itself; what it said.
    pub fn whole(&self, work: &str) -> Vec<String> {
        let machine = self.boot(work);
        let mut said = Vec::new();
        loop {
            match machine.lines.recv_timeout(TOO_LONG) {
                Ok(line) => said.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    said.extend(machine.kill());
                    panic!("{work}: it stays: {}", said.join("\n"));
                }
            }
        }
        machine.end();
        self.check(work, said)
    }

    fn check(&self, work: &str, said: Vec<String>) -> Vec<String> {
        let all = said.join("\n");
        assert!(said.iter().any(|line| line.starts_with("BOOTED")), "{work}: {all}");
        for bad in ["FAILED", "Kernel panic", "Out of memory", "oom-kill"] {
            assert!(!all.contains(bad), "{work}: {all}");
        }
        self.tell(work, &said);
        said
    }

    /// Times and memory, for who looks.
    fn tell(&self, work: &str, said: &[String]) {
        let mut out = std::io::stderr();
        for line in said {
            let words: Vec<&str> = line.split_whitespace().collect();
            let text = match words[..] {
                ["BOOTED", release, at] => format!("Linux {release}, lath can work after {at} s"),
                ["TOOK", start, end, peak, ref command @ ..] => {
                    let seconds = number(end) - number(start);
                    let peak = match peak {
                        "0" => "too quick to see its memory".to_owned(),
                        peak => format!("own peak {peak} kB"),
                    };
                    format!("{}: {seconds:.2} s, {peak}", command.join(" "))
                }
                ["RUNNING", at, ..] => format!("redis answers after {at} s"),
                ["NARROW", image, peak, ..] => {
                    format!("build of {image} in 24 MB: {peak} bytes at most")
                }
                ["LEAST", least, _, total, _] => {
                    format!("available at least {least} kB of {total} kB")
                }
                _ => continue,
            };
            drop(writeln!(out, "{} MB, {work}: {text}", self.megabytes));
        }
    }
}

fn number(text: &str) -> f64 {
    text.parse().unwrap()
}

/// The root file system of the device as a squashfs.
fn firmware(lath: &Lath) {
    let root = lath.path("root");
    for dir in ["bin", "proc", "sys", "dev", "tmp", "var", "etc/init.d", "etc/default", "srv/plain"]
    {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    let program = |name: &str, bytes: &[u8]| {
        let path = lath.write(&format!("root/{name}"), bytes);
        host("chmod", &["755", path.to_str().unwrap()]);
    };
    let packaged = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/sysv/S90lath");
    program("init", include_bytes!("device.sh"));
    program("bin/lath", &fs::read(binary()).unwrap());
    program("bin/busybox", &fs::read(busybox().unwrap()).unwrap());
    program("etc/init.d/S90lath", &fs::read(packaged).unwrap());
    for applet in host(busybox().unwrap().to_str().unwrap(), &["--list"]).lines() {
        if applet != "busybox" {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
    }
    lath.write("root/etc/default/lath", "LATH_STORES=/usr/share/lath\n");
    let redis = "FROM alpine\nRUN apk add --update redis\nCMD [\"redis-server\", \"--dir\", \"/var/lib/redis\"]\n";
    lath.write("root/srv/redis/Dockerfile", redis);
    let plain = "FROM alpine\nCOPY hello /\nRUN sha256sum /bin/busybox /hello > /made\n\
                 RUN chmod 600 /made && rm /hello\nENV a=b\nCMD [\"cat\", \"/made\"]\n";
    lath.write("root/srv/plain/Dockerfile", plain);
    lath.write("root/srv/plain/hello", "hello\n");
    // WORKDIR makes a layer without running anything.
    let many: String = (0..90).map(|number| format!("WORKDIR /d{number}\n")).collect();
    lath.write("root/srv/layers/Dockerfile", "FROM alpine\n".to_owned() + &many);
    let base = bases();
    host("cp", &["-r", base.join("apk-repo").to_str().unwrap(), &lath.text("root/srv/apk")]);
    let store = lath.text("root/usr/share/lath");
    lath.ok(&[
        "--root",
        &store,
        "load",
        "-q",
        "-i",
        base.join("alpine-amd64.oci.tar").to_str().unwrap(),
    ]);
    host("mksquashfs", &[&lath.text("root"), &lath.text("firmware"), "-quiet", "-no-progress"]);
}

/// From the first boot, which is cut off in a build, to a redis that comes back at the third.
fn redis(device: &Device) {
    let said = device.until("interrupted", "(1/");
    assert!(said.iter().any(|line| line.contains("apk add")), "{said:?}");
    let said = device.until("redis", "RUNNING");
    assert!(said.last().unwrap().ends_with(" PONG"), "{said:?}");
    let said = device.whole("boot");
    let is_back = |line: &String| line.starts_with("RUNNING") && line.ends_with(" PONG kept");
    assert!(said.iter().any(is_back), "{said:?}");
}

/// The small kernels that were built (tests/vm/kernel/build).
pub fn small(name: &str) -> Option<PathBuf> {
    Some(PathBuf::from(std::env::var_os("LATH_VM_KERNELS")?).join(name))
}

#[test]
fn redis_on_a_machine_of_64_mb() {
    let Some(kernel) = small("small") else { return };
    if needs(&NEEDED) {
        redis(&Device::new(&kernel, 64));
    }
}

#[test]
fn redis_on_debians_own_kernel() {
    let Some(kernel) = kernel() else { return };
    if needs(&NEEDED) {
        redis(&Device::debian(&kernel, 256));
    }
}

#[test]
fn a_build_on_a_machine_of_32_mb() {
    let Some(kernel) = small("small") else { return };
    if needs(&NEEDED) {
        let said = Device::new(&kernel, 32).whole("plain");
        let made = |line: &String| line.ends_with("  /hello");
        assert!(said.iter().any(made), "{said:?}");
    }
}

/// All kernels before 6.5 take what is set and look at it when the mount is made.
#[test]
fn overlayfs_is_used_on_an_old_kernel_and_many_layers_work_there() {
    let Some(kernel) = small("small") else { return };
    if needs(&NEEDED) {
        let said = Device::new(&kernel, 64).whole("layers");
        let has = |line: &str| said.iter().any(|said| said == line);
        assert!(has("DRIVER  Storage Driver: overlay") && has("SAID 91"), "{said:?}");
    }
}

#[test]
fn a_build_and_its_steps_in_a_cgroup_of_24_mb() {
    let Some(kernel) = small("small") else { return };
    if needs(&NEEDED) {
        let said = Device::new(&kernel, 64).whole("narrow");
        let done = said.iter().filter(|line| line.starts_with("NARROW"));
        assert!(done.clone().all(|line| line.ends_with("oom_kill 0")), "{said:?}");
        assert_eq!(done.count(), 2, "{said:?}");
    }
}
