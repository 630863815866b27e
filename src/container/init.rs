//! `--init`: lath itself as the first process of a container. It hands signals on to the program, and
//! takes in the processes that have lost their parents, so that they do not pile up.
//!
//! It is the same file, mounted read-only at `PATH`: so nothing inside can write to it
//! (CVE-2019-5736), and a container without an init has nothing of lath in it.

/// Where it is inside; called so, lath is nothing else.
pub const PATH: &str = "/dev/init";

#[cfg(feature = "containers")]
pub use with_containers::{bind, main};

#[cfg(not(feature = "containers"))]
pub use without_containers::{bind, main};

#[cfg(feature = "containers")]
mod with_containers {
    use std::ffi::OsString;
    use std::io::Write as _;
    use std::os::fd::AsFd as _;

    use rustix::fs::{Mode, OFlags};

    use crate::error::{Context, Kind, Result};
    use crate::sandbox::{Bind, Content};
    use crate::sys::mount::clone_tree;
    use crate::sys::process;
    use crate::sys::program::Program;
    use crate::sys::signal::Blocked;

    /// Its mount.
    pub fn bind() -> Result<Bind> {
        let own = rustix::fs::open("/proc/self/exe", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let own = own.context(|| "open lath itself")?;
        let content = Content::Tree(clone_tree(own.as_fd()).context(|| "mount lath itself")?);
        let target = super::PATH.to_owned();
        Ok(Bind { content, target, is_dir: false, readonly: true, is_device: false })
    }

    /// Runs the program and gives its exit code when it has ended.
    pub fn main(mut words: impl Iterator<Item = OsString>) -> i32 {
        let Some(program) = words.next() else { return 127 };
        let blocked = Blocked::new();
        let child = match process::fork() {
            Ok(Some(child)) => child,
            Ok(None) => {
                drop(blocked);
                return execute(&program, words);
            }
            Err(error) => return told(error.text(), 126),
        };
        loop {
            while let Some((pid, code)) = process::reap() {
                if pid == child {
                    return code;
                }
            }
            // What a terminal sends, the program has got too.
            let (number, is_from_process) = blocked.next();
            if number != libc::SIGCHLD && is_from_process {
                process::kill(child, number);
            }
        }
    }

    fn execute(name: &OsString, words: impl Iterator<Item = OsString>) -> i32 {
        let mut program = Program::new(std::iter::once(name.clone()).chain(words));
        program.inherit();
        let problem = program.become_it();
        match problem.kind() {
            Kind::NotFound => {
                told(&format!("exec: {name:?}: executable file not found in $PATH"), 127)
            }
            _ => {
                let text = problem.text().to_ascii_lowercase();
                told(&format!("exec: {name:?}: {text}"), 126)
            }
        }
    }

    /// With standard error gone, the exit code is all that can be told.
    fn told(text: &str, code: i32) -> i32 {
        let _ = writeln!(std::io::stderr(), "lath: {text}");
        code
    }
}

#[cfg(not(feature = "containers"))]
mod without_containers {
    use crate::error::{Error, Result};
    use crate::sandbox::Bind;

    /// There is none.
    pub fn bind() -> Result<Bind> {
        Err(Error::built_without("containers"))
    }

    /// Nobody starts it.
    pub fn main(_: impl Iterator<Item = std::ffi::OsString>) -> i32 {
        127
    }
}
