//! `lath attach`: to what runs in the background.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use harness::{Lath, Need, finish, needs};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

#[test]
fn what_is_said_comes_out_what_is_typed_goes_in_and_the_exit_code_is_the_program_s() {
    if !needs(&[Need::Root, Need::Busybox]) {
        return;
    }
    let lath = Lath::with_busybox();
    // It says something for each line, on both streams, and ends by a word.
    let script = "echo before; while read -r line; do echo \"got $line\"; echo \"err $line\" >&2; \
                  [ \"$line\" != end ] || exit 7; done; echo closed";
    for extra in [&[][..], &["--rm"]] {
        let words =
            [&["run", "-d", "-i", "--name", "talk"], extra, &["busybox", "sh", "-c", script]];
        lath.ok(&words.concat());
        // The first one leaves: its input ends, and that of the program does not.
        let mut first = lath.command(&["attach", "--sig-proxy=false", "talk"]);
        let mut first = first.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        first.stdin.take().unwrap().write_all(b"one\n").unwrap();
        while !lath.run(&["logs", "talk"]).stdout.contains("got one") {
            sleep(Duration::from_millis(20));
        }
        assert!(first.try_wait().unwrap().is_none());
        first.kill().unwrap();
        first.wait().unwrap();
        let out = lath.give(&["attach", "talk"], b"two\nend\n");
        assert_eq!((out.stdout.as_str(), out.code), ("got two\ngot end\n", 7), "{}", out.stderr);
        assert_eq!(out.stderr, "err two\nerr end\n");
        if extra.is_empty() {
            let out = lath.run(&["attach", "talk"]);
            assert!(out.code == 1 && out.stderr.contains("does not run"), "{}", out.all());
            lath.ok(&["rm", "talk"]);
        }
    }
    // Without -i nothing goes in, and signals are the program's.
    let script = "trap 'told=1' USR1; echo up; while [ -z \"$told\" ]; do sleep 0.05; done; \
                  for n in 1 2 3 4 5 6 7 8 9; do sleep 0.1; echo told; done; exit 3";
    lath.ok(&["run", "-d", "--name", "deaf", "busybox", "sh", "-c", script]);
    while !lath.run(&["logs", "deaf"]).stdout.contains("up") {
        sleep(Duration::from_millis(20));
    }
    let running = lath.start(&["attach", "deaf"]);
    // Once it takes the signal for itself (proc(5), SigCgt).
    let status = format!("/proc/{}/status", running.pid());
    let takes = || {
        let status = std::fs::read_to_string(&status).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() & 1 << (libc::SIGUSR1 - 1) != 0
    };
    while !takes() {
        sleep(Duration::from_millis(20));
    }
    running.signal(rustix::process::Signal::USR1);
    let out = running.wait();
    assert!(out.stdout.ends_with("told\n") && out.code == 3, "{}", out.all());
}

/// Types on a terminal and looks what comes.
const TYPIST: &str = r#"
import fcntl, os, pty, select, struct, sys, termios
lath, name = sys.argv[1:3]
def attached():
    pid, fd = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 111, 0, 0))
        os.execv(lath, [lath, "attach", name])
    return pid, fd
def until(fd, what, again=b""):
    seen = b""
    while what not in seen:
        if select.select([fd], [], [], 1)[0]:
            seen += os.read(fd, 4096)
        elif again:
            os.write(fd, again)
    return seen
pid, fd = attached()
os.write(fd, b"stty size; echo m$((40+2))\r")
seen = until(fd, b"m42\r\n")
assert b"33 111" in seen, seen
os.write(fd, b"\x10")
os.write(fd, b"\x11")
seen = until(fd, b"read escape sequence")
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
assert code == 0, code
# Another one goes on where the first has left, with Ctrl-C for the program.
pid, fd = attached()
os.write(fd, b"sleep 1000\r")
until(fd, b"sleep 1000")
# The shell may not have got that far.
until(fd, b"n2\r\n", b"\x03echo n$((1+1)); exit 5\r")
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
assert code == 5, code
print("fine")
"#;

#[test]
fn a_terminal_is_typed_on_resized_and_left_again() {
    if !needs(&[Need::Root, Need::Busybox, Need::Program("python3")]) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.ok(&["run", "-dit", "--name", "shell", "busybox", "sh"]);
    let typist = lath.write("typist.py", TYPIST);
    let mut command = Command::new("python3");
    command.arg(typist).arg(harness::binary()).arg("shell").env("LATH_ROOT", lath.store());
    let out = finish(&mut command, b"").success();
    assert_eq!(out.stdout.trim(), "fine", "{}", out.all());
    assert_eq!(lath.ok(&["wait", "shell"]), "5\n");
}
