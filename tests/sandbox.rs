//! What a process of a step or a container can see and do, asked from inside.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use harness::{Lath, Need, gone, host, needs};
use std::fs;

const HERE: &[Need] = &[Need::Root, Need::Busybox];

/// docker's fourteen: chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap,
/// net_bind_service, net_raw, sys_chroot, mknod, audit_write, setfcap.
const USUAL: u64 = 1
    | 1 << 1
    | 1 << 3
    | 1 << 4
    | 1 << 5
    | 1 << 6
    | 1 << 7
    | 1 << 8
    | 1 << 10
    | 1 << 13
    | 1 << 18
    | 1 << 27
    | 1 << 29
    | 1 << 31;

/// Runs the script in a container and in a step; both are the same world.
fn both(lath: &Lath, script: &str) -> [String; 2] {
    let container = lath.shell("busybox", script);
    let quoted = script.replace('\\', "\\\\").replace('"', "\\\"");
    let quoted = quoted.replace('\n', "\\n");
    lath.build(
        "step",
        &format!("FROM busybox\nRUN [\"sh\", \"-c\", \"({quoted}) > /out 2>&1\"]\n"),
    );
    [container, lath.shell("step", "cat /out")]
}

fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
    u64::from_str_radix(line.unwrap_or_else(|| panic!("no {name} in {status}")), 16).unwrap()
}

#[test]
fn root_has_the_usual_capabilities_and_others_have_none() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    for status in both(&lath, "cat /proc/self/status") {
        assert_eq!(field(&status, "CapEff"), USUAL, "{status}");
        assert_eq!(field(&status, "CapPrm"), USUAL);
        assert_eq!(field(&status, "CapBnd"), USUAL);
        assert_eq!(field(&status, "CapInh"), 0);
        assert_eq!(field(&status, "CapAmb"), 0);
    }
    let status = lath.ok(&["run", "--rm", "-u", "app", "busybox", "cat", "/proc/self/status"]);
    assert_eq!((field(&status, "CapEff"), field(&status, "CapPrm")), (0, 0), "{status}");
    assert!(status.contains("\nUid:\t1000\t1000\t1000\t1000\n"), "{status}");
    assert!(
        status.contains("\nGroups:\t50 1000 \n") || status.contains("\nGroups:\t1000 50 \n"),
        "{status}"
    );
    lath.build(
        "step",
        "FROM busybox\nRUN mkdir -m 777 /w\nUSER app\nRUN cat /proc/self/status > /w/out\n",
    );
    let status = lath.shell("step", "cat /w/out");
    assert_eq!((field(&status, "CapEff"), field(&status, "CapPrm")), (0, 0), "{status}");
}

#[test]
fn the_kernel_s_own_files_are_masked_or_cannot_be_written() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let script = "for f in /proc/kcore /proc/keys /proc/timer_list /proc/sched_debug; do \
                  [ -e $f ] && head -c 1 $f | wc -c | grep -v '^0$'; done; \
                  for d in /proc/acpi /proc/scsi /sys/firmware; do [ -d $d ] && ls $d; done; \
                  for f in /proc/sys/kernel/hostname /proc/sysrq-trigger /proc/irq/x /proc/bus/x /proc/fs/x \
                  /sys/kernel/x /sys/x; do (echo x > $f) 2>/dev/null && echo wrote $f; done; \
                  mount -t tmpfs x /tmp 2>/dev/null && echo mounted; echo end";
    for shown in both(&lath, script) {
        assert_eq!(shown, "end\n");
    }
}

#[test]
fn nothing_of_the_host_comes_in() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let mut command = lath.command(&["run", "--rm", "busybox", "env"]);
    let shown = harness::finish(command.env("SECRET_OF_THE_HOST", "x"), &[]).success();
    let names: Vec<_> = shown.stdout.lines().filter_map(|line| line.split('=').next()).collect();
    let known = ["HOME", "HOSTNAME", "PATH", "TERM"];
    assert!(names.iter().all(|name| known.contains(name)), "{shown}");
    assert!(shown.stdout.contains("HOME=/root\n"), "{shown}");
    for shown in both(&lath, "env; cat /proc/1/environ; cat /proc/mounts; ls -a /") {
        assert!(!shown.contains("SECRET") && !shown.contains("LATH"), "{shown}");
        assert!(!shown.contains("lath-test"), "the path of the store shows: {shown}");
    }
}

#[test]
fn only_the_three_usual_files_are_open() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let file = fs::File::open("/etc/passwd").unwrap();
    // One of the caller's, open across exec as a careless caller leaves it.
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
    for shown in both(&lath, "ls /proc/self/fd; echo; ls /proc/1/fd") {
        let (own, first) = shown.split_once("\n\n").unwrap();
        // ls itself has the folder open.
        assert_eq!(own, "0\n1\n2\n3", "{shown}");
        let first: Vec<_> =
            first.lines().filter(|fd| !["0", "1", "2", "3", "10"].contains(fd)).collect();
        assert!(first.is_empty(), "{shown}");
    }
}

#[test]
fn the_first_process_is_the_program_and_sees_only_its_own() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    assert_eq!(lath.shell("busybox", "echo $$"), "1\n");
    for shown in both(&lath, "ls -d /proc/[0-9]* | wc -l") {
        assert!(shown.trim().parse::<u32>().unwrap() <= 5, "{shown}");
    }
    let names = lath.shell("busybox", "hostname; cat /etc/hostname; grep -c localhost /etc/hosts");
    let lines: Vec<_> = names.lines().collect();
    assert_eq!(lines.len(), 3, "{names}");
    assert_eq!(lines[0], lines[1], "{names}");
    assert!(lines[0].len() == 12 && lines[0].bytes().all(|b| b.is_ascii_hexdigit()), "{names}");
    let named =
        ["run", "--rm", "--hostname", "box", "busybox", "sh", "-c", "hostname; cat /etc/hostname"];
    assert_eq!(lath.ok(&named), "box\nbox\n");
    let own = rustix::system::uname().nodename().to_string_lossy().into_owned();
    assert_ne!(lines[0], own, "the name of the machine is left alone");
}

#[test]
fn devices_are_the_usual_ones() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let script = "for d in null zero full random urandom tty; do stat -c '%n %t:%T %a' /dev/$d; done; \
                  head -c 3 /dev/zero | wc -c; echo x > /dev/null; ls -l /dev/fd /dev/stdout | wc -l; \
                  stat -c %a /dev/shm; [ -e /dev/sda ] || [ -e /dev/vda ] && echo a disk; true";
    let wanted = "/dev/null 1:3 666\n/dev/zero 1:5 666\n/dev/full 1:7 666\n/dev/random 1:8 666\n\
                  /dev/urandom 1:9 666\n/dev/tty 5:0 666\n3\n2\n1777\n";
    for shown in both(&lath, script) {
        assert_eq!(shown, wanted);
    }
}

#[test]
fn a_background_process_ends_with_its_step() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let file = "FROM busybox\n\
                RUN (setsid nohup sleep 86461 >/dev/null 2>&1 &) && sleep 86461 & echo started\n\
                RUN ps | grep -c '[s]leep 86461' > /count || true\n";
    lath.build("x", file);
    assert_eq!(lath.shell("x", "cat /count"), "0\n");
    lath.ok(&["run", "--rm", "busybox", "sh", "-c", "sleep 86462 & setsid sleep 86462 & echo"]);
    gone("sleep 86461");
    gone("sleep 86462");
}

#[test]
fn links_of_an_image_do_not_lead_the_set_up_out() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.write("outside/hosts", "untouched");
    let out = lath.text("outside");
    let file = format!(
        "FROM busybox\nRUN ln -s {out} /dev; ln -s {out} /proc; ln -s {out} /sys; true\n\
         RUN rm -rf /etc/hosts /etc/resolv.conf; ln -s {out}/hosts /etc/hosts; ln -s {out}/new /etc/resolv.conf; true\n\
         WORKDIR /w\n"
    );
    drop(lath.build_in("c", "x", &file, &[]));
    drop(lath.run(&["run", "--rm", "x", "true"]));
    let linked =
        format!("FROM busybox\nRUN ln -s {out} /w\nWORKDIR /w/made\nCOPY Dockerfile /w/copied\n");
    drop(lath.build_in("c", "y", &linked, &[]));
    let names: Vec<_> = fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["hosts"], "something was made outside");
    assert_eq!(fs::read_to_string(lath.path("outside/hosts")).unwrap(), "untouched");
}

#[test]
fn a_container_may_have_files_of_the_host() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.write("v/a", "of the host");
    let volume = format!("{}:/v", lath.text("v"));
    let read_only = format!("{volume}:ro");
    let run = |flags: &[&str], script: &str| {
        lath.run(&[&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat())
    };
    assert_eq!(run(&["-v", &volume], "cat /v/a; echo new > /v/b").success().stdout, "of the host");
    assert_eq!(fs::read_to_string(lath.path("v/b")).unwrap(), "new\n");
    assert_ne!(run(&["-v", &read_only], "echo x > /v/c").code, 0);
    assert!(!lath.path("v/c").exists());
    assert_eq!(run(&[], "ls /v 2>/dev/null; true").success().stdout, "", "no trace in the image");
}

#[test]
fn standard_input_goes_in_when_asked_for() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let with = lath.give(&["run", "--rm", "-i", "busybox", "cat"], b"to the program\n").success();
    assert_eq!(with.stdout, "to the program\n");
    let without = lath.give(&["run", "--rm", "busybox", "cat"], b"not for it\n").success();
    assert_eq!(without.stdout, "");
    let streams =
        lath.run(&["run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2"]).success();
    assert_eq!((streams.stdout.as_str(), streams.stderr.as_str()), ("out\n", "err\n"));
}

/// Asks for one system call a line: `NUMBER ARGUMENT`, the other five arguments being -1, and prints
/// the errno of each.
const ASKER: &str = r#"
#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
    long number, argument;
    while (scanf("%ld %ld", &number, &argument) == 2) {
        pid_t child = fork();
        if (child == 0) {
            long got = syscall(number, argument, -1L, -1L, -1L, -1L, -1L);
            _exit(got == -1 ? errno : 0);
        }
        int status;
        waitpid(child, &status, 0);
        printf("%d\n", WEXITSTATUS(status));
        fflush(stdout);
    }
}
"#;

#[test]
fn system_calls_that_have_opened_containers_are_refused() {
    if !needs(&[Need::Root, Need::Busybox, Need::Program("cc")]) {
        return;
    }
    let lath = Lath::with_busybox();
    let source = lath.write("t/asker.c", ASKER);
    let folder = source.parent().unwrap();
    let asker = lath.path("t/asker");
    host("cc", &["-static", "-o", asker.to_str().unwrap(), source.to_str().unwrap()]);
    const REFUSED: [libc::c_long; 14] = [
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_io_uring_setup,
        libc::SYS_userfaultfd,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_open_by_handle_at,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_mount,
        libc::SYS_pivot_root,
        libc::SYS_init_module,
        libc::SYS_swapon,
        libc::SYS_settimeofday,
    ];
    let mut asked = String::new();
    for number in REFUSED {
        asked.push_str(&format!("{number} 0\n"));
    }
    // What is newer than lath, clone3, AF_ALG and AF_VSOCK; a new user namespace by clone.
    let rest = [
        (600, 0, libc::ENOSYS),
        (libc::SYS_clone3, 0, libc::ENOSYS),
        (libc::SYS_socket, 38, libc::EPERM),
        (libc::SYS_socket, 40, libc::EPERM),
        (libc::SYS_clone, i64::from(libc::CLONE_NEWUSER), libc::EPERM),
        (libc::SYS_personality, 0x0004_0000, libc::EPERM),
        (libc::SYS_personality, 0xffff_ffff, 0),
        (libc::SYS_getpid, 0, 0),
    ];
    for (number, argument, _) in rest {
        asked.push_str(&format!("{number} {argument}\n"));
    }
    let expected: Vec<String> = REFUSED
        .iter()
        .map(|_| libc::EPERM)
        .chain(rest.iter().map(|(.., errno)| *errno))
        .map(|errno| errno.to_string())
        .collect();
    lath.write("t/asked", &asked);
    let volume = format!("{}:/t", folder.display());
    let words = ["run", "--rm", "-v", &volume, "busybox", "sh", "-c", "/t/asker < /t/asked"];
    let out = lath.ok(&words);
    assert_eq!(out.lines().collect::<Vec<_>>(), expected);
    // And in a step, by a program of the image's own.
    for status in both(&lath, "cat /proc/self/status") {
        assert!(status.contains("Seccomp:\t2"), "{status}");
    }
}

#[test]
fn a_container_has_parameters_of_the_kernel_for_itself_alone() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let here = |path: &str| fs::read_to_string(path).unwrap();
    let before = [here("/proc/sys/kernel/msgmax"), here("/proc/sys/net/ipv4/ip_default_ttl")];
    let words = ["run", "--rm", "--network", "none", "--sysctl", "kernel.msgmax=12345"];
    let look = "cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_default_ttl; \
                echo 1 >/proc/sys/kernel/msgmax";
    let rest = ["--sysctl=net/ipv4/ip_default_ttl=7", "busybox", "sh", "-c", look];
    let out = lath.run(&[&words[..], &rest].concat());
    assert_eq!(out.stdout, "12345\n7\n");
    assert!(out.stderr.contains("Read-only file system"), "{}", out.stderr);
    let after = [here("/proc/sys/kernel/msgmax"), here("/proc/sys/net/ipv4/ip_default_ttl")];
    assert_eq!(after, before);
    // It is so at each start.
    lath.ok(&[
        "run",
        "--name",
        "again",
        "--sysctl",
        "kernel.sem=1 2 3 4",
        "busybox",
        "cat",
        "/proc/sys/kernel/sem",
    ]);
    assert_eq!(lath.ok(&["start", "-a", "again"]), "1\t2\t3\t4\n");
    let shown =
        lath.ok(&["inspect", "-f", "{{index .HostConfig.Sysctls \"kernel.sem\"}}", "again"]);
    assert_eq!(shown, "1 2 3 4\n");
    for (word, text) in [
        ("kernel.core_pattern=|/x", "is not allowed"),
        ("vm.overcommit_memory=1", "is not allowed"),
        ("net..x=1", "is not allowed"),
        ("net.ipv4.ip_forward=1", "not allowed in the host's network"),
        ("kernel.msgmax", "write NAME=VALUE"),
        ("kernel.msgmax=x", "set the sysctl"),
    ] {
        let said = lath.run(&["run", "--rm", "--sysctl", word, "busybox", "true"]).failure(125);
        assert!(said.contains(text), "{said}");
    }
}

/// The way out of a chroot, for whoever may make another one.
const CLIMBER: &str = r#"
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void) {
    mkdir("/aside", 0755);
    if (chdir("/") || chroot("/aside")) return 1;
    for (int step = 0; step < 64; step++) if (chdir("..")) return 2;
    if (chroot(".")) return 3;
    puts(access(HOST, F_OK) ? "in" : "out");
    return 0;
}
"#;

/// The root of a chroot is no mount, so that pivot_root(2) alone cannot leave it.
#[test]
fn lath_works_in_a_chroot_and_a_container_does_not_leave_its_own_root() {
    if !needs(&[Need::Root, Need::Busybox, Need::Program("cc"), Need::Program("chroot")]) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.ok(&["save", "-o", lath.path("base.tar").to_str().unwrap(), "busybox"]);
    let root = lath.path("root");
    for dir in ["bin", "proc", "c", "tmp"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::copy(harness::binary(), root.join("bin/lath")).unwrap();
    fs::copy(lath.path("base.tar"), root.join("base.tar")).unwrap();
    let source = lath.write("climber.c", CLIMBER);
    let climber = root.join("c/climber");
    // What is there in the host's root, beside that of the chroot.
    let known = format!("-DHOST=\"{}\"", source.display());
    host("cc", &["-static", &known, "-o", climber.to_str().unwrap(), source.to_str().unwrap()]);
    let dockerfile = "FROM busybox\nCOPY climber /\nRUN /climber >/said; ls / >>/said\n";
    fs::write(root.join("c/Dockerfile"), dockerfile).unwrap();
    let root = root.to_str().unwrap();
    let script = "mount -t proc proc $0/proc && l=\"chroot $0 /bin/lath --root /store\" && \
                  $l load -q -i /base.tar && $l build -q -t climber /c && \
                  $l run --rm climber cat /said && $l run --rm climber /climber && \
                  $l run --rm --privileged climber /climber && $l fsck";
    let said = host("unshare", &["-m", "sh", "-c", script, root]);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines.contains(&"bin") && lines.contains(&"climber"), "{said}");
    assert_eq!(lines.iter().filter(|line| **line == "in").count(), 3, "{said}");
    assert!(!lines.contains(&"out"), "{said}");
}
