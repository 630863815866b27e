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
    self, Bind, Guest, Identity, Limits, Network, NetworkFiles, Powers, Running, Spec, Streams,
};

/// What a step's process needs besides its effect.
pub struct Surroundings<'a> {
    /// The writable view, mounted nowhere yet.
    pub tree: BorrowedFd<'a>,
    /// A directory of the host for the mount.
    pub staging: &'a Path,
    /// Host name: the container's id.
    pub hostname: &'a str,
    /// For steps that do not say.
    pub network: Network,
    /// Name servers and hosts.
    pub files: &'a NetworkFiles,
    /// What it may use at most.
    pub limits: &'a Limits,
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
            cgroup: None,
        },
        hostname: around.hostname,
        network,
        files: around.files,
        binds: around.binds,
        scripts: &run.scripts,
        is_read_only: false,
    })?;
    Ok(Started { running, streams: [(Stream::Out, out), (Stream::Err, errors)] })
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
        code => Err(failed(run, code)),
    }
}

fn failed(run: &RunEffect, code: i32) -> Error {
    let command = run.argv.join(" ");
    let text = format!("The command '{command}' returned a non-zero code: {code}");
    let error = Error::new(Kind::StepFailed(code), text);
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
