//! Carries out a RUN: a process in the sandbox over the image so far.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::pipe::PipeFlags;
use rustix::process::Pid;

use crate::error::{Context, Error, Kind, Result};
use crate::event::Stream;
use crate::image::config::{ContainerConfig, DEFAULT_PATH};
use crate::instruction::RunEffect;
use crate::sandbox::{
    self, Bind, Bounds, Cgroup, Guest, Identity, Limits, Network, NetworkFiles, Powers, Running,
    Spec, Streams,
};
use crate::sys::kernel::number_in;
use crate::sys::process::largest_child;

/// What a step's process needs besides its effect.
pub struct Surroundings<'a> {
    /// The writable view, mounted nowhere yet.
    pub tree: BorrowedFd<'a>,
    /// A directory of the host for the mount.
    pub staging: &'a Path,
    /// Host name: the container's id.
    pub hostname: &'a str,
    /// For steps that do not say.
    pub network: Network<'a>,
    /// Name servers and hosts.
    pub files: &'a NetworkFiles,
    /// What it may use at most.
    pub limits: &'a Limits,
    /// What all of it together may use at most.
    pub bounds: &'a Bounds,
    /// `--allow security.insecure`
    pub may_be_insecure: bool,
    /// Mounts besides the usual ones.
    pub binds: &'a [Bind],
    /// Variables that those bring along.
    pub env: &'a [(String, String)],
}

/// A started step.
pub struct Started {
    running: Running,
    streams: [(Stream, std::os::fd::OwnedFd); 2],
    memory: Memory,
}

/// What tells whether a step was killed for want of memory.
struct Memory {
    /// That of the step, when it has bounds.
    cgroup: Option<Cgroup>,
    /// How many processes the kernel had killed for that before the step.
    kills: u64,
}

impl Memory {
    /// Why the step has failed, if that is why.
    fn lack(&self) -> Option<String> {
        if let Some(cgroup) = &self.cgroup
            && cgroup.was_short_of_memory()
        {
            let used = cgroup.peak_memory() >> 20;
            return Some(format!(
                "a process of it was killed: it has used the {used} MiB that it may use; give it \
                 more with --memory"
            ));
        }
        if oom_kills() == self.kills {
            return None;
        }
        let used = largest_child() >> 20;
        let has = number_in("/proc/meminfo", "MemTotal:") >> 10;
        Some(format!(
            "the kernel has killed a process meanwhile, since memory was short: a process of the \
             build has used {used} MiB, and the device has {has} MiB; add swap, build with --jobs 1, \
             or build on a larger device"
        ))
    }
}

/// How many processes the kernel has killed for want of memory so far (kernel 4.13).
fn oom_kills() -> u64 {
    number_in("/proc/vmstat", "oom_kill ")
}

impl Started {
    /// The process's id.
    pub fn pid(&self) -> Pid {
        self.running.pid
    }
}

/// Starts the process; it runs when this returns.
pub fn start(run: &RunEffect, around: &Surroundings<'_>) -> Result<Started> {
    let is_insecure = run.security == "insecure";
    if is_insecure && !around.may_be_insecure {
        return Err(Error::new(Kind::Denied, "security.insecure is not allowed")
            .hint("allow it with --allow security.insecure"));
    }
    let identity = Identity::resolve(around.tree, &run.user)?;
    let env = environment(run, &identity, around.env);
    let network = match run.network {
        "" | "default" => around.network,
        "host" => Network::Host,
        "none" => Network::None,
        other => return Err(Error::input(format!("unsupported network mode {other:?}"))),
    };
    let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).context(|| "pipe");
    let (out, out_inside) = pipe()?;
    let (errors, errors_inside) = pipe()?;
    let null = sandbox::null()?;
    let memory =
        Memory { cgroup: Cgroup::make(around.hostname, around.bounds)?, kills: oom_kills() };
    let running = sandbox::start(&Spec {
        tree: around.tree,
        staging: around.staging,
        guest: Guest {
            argv: &run.argv,
            env: &env,
            cwd: &run.cwd,
            identity: &identity,
            limits: around.limits,
            powers: if is_insecure { Powers::all()? } else { Powers::default() },
            streams: Streams::Files([null.as_fd(), out_inside.as_fd(), errors_inside.as_fd()]),
            cgroup: memory.cgroup.as_ref(),
            is_expendable: true,
        },
        hostname: around.hostname,
        network,
        files: around.files,
        binds: around.binds,
        scripts: &run.scripts,
        sysctls: &[],
        is_read_only: false,
    })?;
    Ok(Started { running, streams: [(Stream::Out, out), (Stream::Err, errors)], memory })
}

/// Hands the output on until the process ends; an exit code other than 0 is an error. `output`
/// says whether the step is still wanted.
pub fn finish(
    run: &RunEffect,
    started: Started,
    output: &mut dyn FnMut(Stream, &[u8]) -> bool,
) -> Result<()> {
    let ended = sandbox::pump(started.running.pid, started.streams.into(), output);
    started.running.clean()?;
    match ended? {
        0 => Ok(()),
        code => Err(failed(run, code, started.memory.lack())),
    }
}

fn failed(run: &RunEffect, code: i32, lack: Option<String>) -> Error {
    let command = run.argv.join(" ");
    let text = format!("The command '{command}' returned a non-zero code: {code}");
    let error = Error::new(Kind::StepFailed(code), text);
    if let Some(lack) = lack {
        return error.hint(lack);
    }
    match code {
        137 => error.hint("it was killed: perhaps the device has too little memory for this step"),
        127 => error.hint("127 means that a command was not found"),
        _ => error,
    }
}

/// The step's environment, with PATH and HOME when the image has none.
fn environment(run: &RunEffect, identity: &Identity, more: &[(String, String)]) -> Vec<String> {
    let mut config = ContainerConfig { env: run.env.clone(), ..ContainerConfig::default() };
    if config.env_value("PATH").is_none() {
        config.env.insert(0, format!("PATH={DEFAULT_PATH}"));
    }
    if config.env_value("HOME").is_none() {
        config.set_env("HOME", identity.home.as_deref().unwrap_or("/"));
    }
    for (name, value) in more {
        config.set_env(name, value);
    }
    config.env
}
