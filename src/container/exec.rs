//! One more program in a container that runs.

use std::os::fd::AsFd;

use rustix::process::Pid;

use super::relay::{Own, pair};
use super::start::OwnStreams;
use super::{Container, Side, keeper, powers};
use crate::error::Result;
use crate::sandbox::{self, Cgroup, Guest, Limits, Powers, Streams, World};
use crate::sys::process;

/// What to run there.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The program and its words.
    pub argv: Vec<String>,
    /// `-e`, over the container's own.
    pub env: Vec<String>,
    /// `-w`.
    pub workdir: Option<String>,
    /// `-u`.
    pub user: Option<String>,
    /// `-i`.
    pub interactive: bool,
    /// `-t`.
    pub tty: bool,
    /// `--privileged`.
    pub privileged: bool,
}

/// Runs it until it ends; the exit code.
pub fn exec(container: &Container, request: &Request) -> Result<i32> {
    if request.tty {
        let own = Own::look(request.interactive)?;
        let (here, there) = pair()?;
        let pid = start(container, request, Streams::Terminal(there.as_fd()))?;
        let terminal = sandbox::receive(here.as_fd())?;
        return own.relay(&terminal, pid);
    }
    let own = OwnStreams::new()?;
    sandbox::supervise(start(container, request, own.given(request.interactive)?)?)
}

/// Runs it under a process of lath in the background, which only waits for its end; nobody hears
/// what it says. The caller has no threads.
pub fn exec_detached(container: &Container, request: &Request) -> Result<Side> {
    keeper::apart(&mut |runs| {
        let null = sandbox::null()?;
        if !request.tty {
            let streams = Streams::Files([null.as_fd(); 3]);
            let pid = start(container, request, streams)?;
            runs();
            return process::wait(pid).map(drop);
        }
        let (here, there) = pair()?;
        let pid = start(container, request, Streams::Terminal(there.as_fd()))?;
        let terminal = sandbox::receive(here.as_fd())?;
        runs();
        // Until nobody has it open any more, which is an error of its own.
        let mut buffer = [0u8; 4096];
        while rustix::io::read(&terminal, &mut buffer[..]).is_ok_and(|count| count > 0) {}
        process::wait(pid).map(drop)
    })
}

pub(super) fn start(container: &Container, request: &Request, streams: Streams<'_>) -> Result<Pid> {
    let record = &container.record;
    let (is_running, state) = container.state()?;
    let Some(leader) = keeper::process_of(state.pid).filter(|_| is_running) else {
        return Err(container.is_not_running());
    };
    let world = World::of(leader)?;
    if !container.is_program(leader, &state)? {
        return Err(container.is_not_running());
    }
    let identity = world.identity(request.user.as_deref().unwrap_or(&record.user))?;
    let mut config =
        crate::image::config::ContainerConfig { env: record.env.clone(), ..Default::default() };
    if request.tty {
        config.set_env("TERM", "xterm");
    }
    for entry in &request.env {
        match entry.split_once('=') {
            Some((name, value)) => config.set_env(name, value),
            None => {
                if let Ok(value) = std::env::var(entry) {
                    config.set_env(entry, &value);
                }
            }
        }
    }
    if config.env_value("HOME").is_none() {
        config.set_env("HOME", identity.home.as_deref().unwrap_or("/"));
    }
    let powers = if request.privileged { Powers::all()? } else { powers(record)? };
    let (limits, cgroup) = (Limits::default(), Cgroup::of(&record.id));
    world.start(&Guest {
        argv: &request.argv,
        env: &config.env,
        cwd: request.workdir.as_deref().unwrap_or(&record.cwd),
        identity: &identity,
        limits: &limits,
        powers,
        streams,
        cgroup: Some(&cgroup),
        is_expendable: false,
    })
}
