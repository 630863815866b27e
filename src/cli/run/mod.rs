//! `lath run`: a program in a container of its own, until it ends.

mod env_file;
mod volume;
mod wish;

use argh::FromArgs;

use super::normalize::{CONTENT_TRUST, Opt, Shape, Tail};
use super::{Globals, Output, exit, report};
use wish::Wish;
use crate::container::{self, Limits, Request};
use crate::error::{Error, Kind, Result};

/// Run a program in a container
#[derive(FromArgs)]
#[argh(subcommand, name = "run")]
pub struct Args {
    /// instead of the image's entrypoint; "" takes it away
    #[argh(option, arg_name = "program")]
    entrypoint: Option<String>,
    /// a variable of the environment; a name alone hands the caller's on
    #[argh(option, short = 'e', arg_name = "name=value")]
    env: Vec<String>,
    /// a file with a variable a line
    #[argh(option, arg_name = "file")]
    env_file: Vec<String>,
    /// name of the host inside
    #[argh(option, short = 'h', arg_name = "name")]
    hostname: Option<String>,
    /// keep standard input open
    #[argh(switch, short = 'i')]
    interactive: bool,
    /// host (the default) or none
    #[argh(option, arg_name = "mode")]
    network: Option<String>,
    /// the same as --network
    #[argh(option, arg_name = "mode")]
    net: Option<String>,
    /// which one of an image for several platforms, when it is pulled
    #[argh(option, arg_name = "platform")]
    platform: Option<String>,
    /// when to ask the registry: missing (the default), always, never
    #[argh(option, arg_name = "when")]
    pull: Option<String>,
    /// remove the container at its end (always so)
    #[argh(switch)]
    rm: bool,
    /// size of /dev/shm, e.g. 64m
    #[argh(option, arg_name = "bytes")]
    shm_size: Option<String>,
    /// a limit: name=soft[:hard], e.g. nofile=1024
    #[argh(option, arg_name = "limit")]
    ulimit: Vec<String>,
    /// user or number, perhaps with :group
    #[argh(option, short = 'u', arg_name = "user")]
    user: Option<String>,
    /// a directory or file of the host: SOURCE:TARGET or SOURCE:TARGET:ro
    #[argh(option, short = 'v', arg_name = "volume")]
    volume: Vec<String>,
    /// where the program starts
    #[argh(option, short = 'w', arg_name = "dir")]
    workdir: Option<String>,
    /// the image; what follows is the program and its words
    #[argh(positional, arg_name = "image")]
    images: Vec<String>,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape {
    options: &[
        Opt::value("entrypoint", None),
        Opt::values("env", Some('e')),
        Opt::values("env-file", None),
        Opt::value("hostname", Some('h')),
        Opt::switch("interactive", Some('i')),
        Opt::value("network", None),
        Opt::value("net", None),
        Opt::value("platform", None),
        Opt::value("pull", None),
        Opt::switch("rm", None),
        Opt::value("shm-size", None),
        Opt::values("ulimit", None),
        Opt::value("user", Some('u')),
        Opt::values("volume", Some('v')),
        Opt::value("workdir", Some('w')),
    ],
    settled: &[CONTENT_TRUST],
    planned: PLANNED,
    tail: Tail::After(1),
    runs_program: true,
};

#[rustfmt::skip]
const PLANNED: &[&str] = &[
    "add-host", "annotation", "attach", "a", "blkio-weight", "blkio-weight-device", "cap-add",
    "cap-drop", "cgroup-parent", "cgroupns", "cidfile", "cpu-count", "cpu-percent", "cpu-period",
    "cpu-quota", "cpu-rt-period", "cpu-rt-runtime", "cpu-shares", "c", "cpus", "cpuset-cpus",
    "cpuset-mems", "detach", "d", "detach-keys", "device", "device-cgroup-rule",
    "device-read-bps", "device-read-iops", "device-write-bps", "device-write-iops",
    "dns", "dns-opt", "dns-option", "dns-search", "domainname", "expose",
    "gpus", "group-add", "health-cmd", "health-interval", "health-retries",
    "health-start-interval", "health-start-period", "health-timeout", "init", "io-maxbandwidth",
    "io-maxiops", "ip", "ip6", "ipc", "isolation", "kernel-memory", "label", "l", "label-file",
    "link", "link-local-ip", "log-driver", "log-opt", "mac-address", "memory", "m",
    "memory-reservation", "memory-swap", "memory-swappiness", "mount", "name", "net-alias",
    "network-alias", "no-healthcheck", "oom-kill-disable", "oom-score-adj", "pid", "pids-limit",
    "privileged", "publish", "p", "publish-all", "P", "quiet", "q",
    "read-only", "restart", "runtime", "security-opt", "sig-proxy", "stop-signal",
    "stop-timeout", "storage-opt", "sysctl", "tmpfs", "tty", "t", "use-api-socket",
    "userns", "uts", "volume-driver", "volumes-from",
];

/// Runs the program and ends with its exit code.
pub fn run(args: Args, tail: Vec<String>, globals: &Globals, _: &mut Output) -> Result<i32> {
    let wish = Wish::parse(args.pull.as_deref(), args.platform.as_deref())?;
    let mut request = request(args, tail)?;
    let session = globals.open()?;
    request.image = wish.obtain(&session, &request.image)?;
    match container::run(&session, &request) {
        Ok(code) => Ok(code),
        Err(error) => match not_executed(&error) {
            Some(code) => {
                // With standard error gone, the exit code is all that can still be told.
                let _ = report::error(&mut std::io::stderr(), &error);
                Ok(code)
            }
            None => Err(error),
        },
    }
}

fn request(args: Args, command: Vec<String>) -> Result<Request> {
    let Some(image) = args.images.into_iter().next() else {
        return Err(
            Error::usage("\"lath run\" requires at least 1 argument").hint("see 'lath help run'")
        );
    };
    let mut env = Vec::new();
    for file in &args.env_file {
        env.append(&mut env_file::read(file)?);
    }
    // After the files', so that they count.
    env.extend(args.env);
    if let Some(wrong) = env.iter().find(|entry| entry.is_empty() || entry.starts_with('=')) {
        return Err(Error::usage(format!("invalid environment variable: {wrong:?}")));
    }
    if let Some(dir) = args.workdir.as_deref().filter(|dir| !dir.starts_with('/')) {
        let text = format!("the working directory {dir:?} is invalid, it needs to be absolute");
        return Err(Error::usage(text));
    }
    // A container never outlives its program here, so there is nothing to choose.
    let _ = args.rm;
    Ok(Request {
        image,
        command,
        entrypoint: args.entrypoint,
        env,
        workdir: args.workdir,
        user: args.user,
        volumes: volume::parse_all(&args.volume)?,
        no_network: no_network(args.network.or(args.net).as_deref())?,
        hostname: args.hostname,
        limits: Limits::parse(args.shm_size.as_deref(), &args.ulimit)?,
        interactive: args.interactive,
    })
}

fn no_network(mode: Option<&str>) -> Result<bool> {
    match mode {
        None | Some("host" | "default" | "") => Ok(false),
        Some("none") => Ok(true),
        Some(other) => {
            Err(Error::unsupported(format!("the network {other:?} is not supported yet"))
                .hint("use --network host or --network none"))
        }
    }
}

/// docker's exit code when the program could not be executed; nothing for other errors.
fn not_executed(error: &Error) -> Option<i32> {
    match (error.text().starts_with("exec:"), error.kind()) {
        (true, Kind::NotFound) => Some(exit::NOT_FOUND),
        (true, Kind::Denied) => Some(exit::NOT_EXECUTABLE),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_cannot_be_executed_have_dockers_codes() {
        for (kind, text, code) in [
            (Kind::NotFound, "exec: \"x\": executable file not found in $PATH", Some(127)),
            (Kind::Denied, "exec: \"/x\": permission denied", Some(126)),
            (Kind::NotFound, "No such image: x", None),
            (Kind::Denied, "mount: Operation not permitted", None),
        ] {
            assert_eq!(not_executed(&Error::new(kind, text)), code, "{text}");
        }
    }

    #[test]
    fn words_become_a_request() {
        let args = Args::from_args(
            &["lath", "run"],
            &[
                "--env",
                "A=1",
                "--env",
                "HOME",
                "--network",
                "none",
                "--workdir",
                "/w",
                "--user",
                "1:2",
                "--volume",
                "/a:/b:ro",
                "--entrypoint",
                "",
                "--hostname",
                "box",
                "--interactive",
                "--rm",
                "--",
                "alpine",
            ],
        )
        .unwrap();
        let request = request(args, vec!["sh".into(), "-c".into()]).unwrap();
        assert_eq!(request.image, "alpine");
        assert_eq!(request.command, ["sh", "-c"]);
        assert_eq!(request.env, ["A=1", "HOME"]);
        assert_eq!(request.entrypoint.as_deref(), Some(""));
        assert_eq!((request.no_network, request.interactive), (true, true));
        assert_eq!(request.volumes.len(), 1);
        assert_eq!(request.user.as_deref(), Some("1:2"));
    }

    #[test]
    fn only_two_networks_are_there() {
        assert!(!no_network(None).unwrap() && !no_network(Some("host")).unwrap());
        assert!(no_network(Some("none")).unwrap());
        assert!(no_network(Some("bridge")).unwrap_err().text().contains("\"bridge\""));
    }
}
