//! The words of `run` that only a build with the feature `containers` knows: what belongs to a
//! container that has a name, a terminal, somebody who looks after it.

use super::Args;
use super::volume::is_name;
use crate::cli::arguments;
use crate::container::{Flags, Healthcheck, Request, Restart, health};
use crate::error::{Error, Result};

/// What they ask for, and nothing else yet.
pub(super) fn request(args: &Args) -> Result<Request> {
    let restart = Restart::parse(args.restart.as_deref().unwrap_or_default())?;
    if args.rm && restart != Restart::No {
        return Err(Error::usage("conflicting options: --restart and --rm"));
    }
    Ok(Request {
        restart,
        name: args.name.as_deref().map(checked_name).transpose()?,
        flags: Flags { tty: args.tty, init: args.init, ..Flags::default() },
        groups: args.group_add.clone(),
        dns: checked_servers(&args.dns)?,
        dns_search: args.dns_search.clone(),
        dns_options: args.dns_option.clone(),
        health: checked_health(args)?,
        no_health: args.no_healthcheck,
        stop_signal: args.stop_signal.as_deref().map(arguments::signal).transpose()?,
        sysctls: checked_sysctls(&args.sysctl)?,
        stop_timeout: args.stop_timeout.as_deref().map(arguments::seconds).transpose()?,
        ..Request::default()
    })
}

fn checked_health(args: &Args) -> Result<Healthcheck> {
    let times = [
        &args.health_interval,
        &args.health_timeout,
        &args.health_start_period,
        &args.health_start_interval,
    ];
    let has_any = args.health_cmd.is_some()
        || args.health_retries.is_some()
        || times.iter().any(|time| time.is_some());
    match has_any {
        true if args.no_healthcheck => {
            Err(Error::usage("--no-healthcheck conflicts with --health-* options"))
        }
        true => health::parse(
            args.health_cmd.as_deref(),
            times.map(|time| time.as_deref()),
            args.health_retries.as_deref(),
        ),
        false => Ok(Healthcheck::default()),
    }
}

/// `--sysctl`: what belongs to the container's own namespaces, and nothing of the whole machine (the
/// list of docker's `opts.ValidateSysctl`).
fn checked_sysctls(words: &[String]) -> Result<Vec<(String, String)>> {
    const OWN: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    let read = |word: &String| {
        let (name, value) = word.split_once('=').ok_or_else(|| {
            Error::usage(format!("--sysctl {word:?}: write NAME=VALUE, such as kernel.msgmax=65536"))
        })?;
        // As `sysctl` itself takes it.
        let name = name.replace('/', ".");
        let is_own = OWN.contains(&name.as_str())
            || name.starts_with("net.")
            || name.starts_with("fs.mqueue.");
        if !is_own || name.split('.').any(str::is_empty) {
            return Err(Error::usage(format!("sysctl {word:?} is not allowed"))
                .hint("it is one of the whole machine: set it outside"));
        }
        Ok((name, value.to_owned()))
    };
    words.iter().map(read).collect()
}

/// `--dns`: addresses, and no names.
fn checked_servers(servers: &[String]) -> Result<Vec<String>> {
    match servers.iter().find(|server| server.parse::<std::net::IpAddr>().is_err()) {
        Some(wrong) => Err(Error::usage(format!(
            "invalid argument {wrong:?} for \"--dns\" flag: it is not an ip address"
        ))),
        None => Ok(servers.to_vec()),
    }
}

/// A container's name as docker allows it.
pub fn checked_name(name: &str) -> Result<String> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    match is_name(bare) {
        true => Ok(bare.to_owned()),
        false => Err(Error::usage(format!("invalid container name ({name:?})"))
            .hint("only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")),
    }
}

