//! `lath run`: a program in a container of its own, until it ends or in the background. `create` has
//! the same words.

mod cidfile;
mod env_file;
#[cfg(feature = "containers")]
mod managed;
#[cfg(feature = "bridge")]
mod network;
mod security;
mod started;
mod volume;
mod wish;

#[cfg(feature = "containers")]
use std::io::Write as _;

use argh::FromArgs;

use super::bounds;
use super::normalize::{CONTENT_TRUST, Opt, Shape, Tail};
#[cfg(feature = "containers")]
use super::exit;
use super::{Globals, Output, report};
use crate::container::{self, Flags, Limits, Request};
#[cfg(feature = "containers")]
use crate::container::Side;
use crate::error::{Error, Result};
use crate::session::Session;
pub(super) use cidfile::CidFile;
pub(super) use started::started;
#[cfg(feature = "containers")]
pub(super) use managed::checked_name;
#[cfg(feature = "containers")]
pub(super) use volume::checked_name as checked_volume;
#[cfg(feature = "bridge")]
pub(super) use volume::is_name;
use wish::Wish;

/// Run a program in a container
#[derive(FromArgs)]
#[argh(subcommand, name = "run")]
pub struct Args {
    /// a line of /etc/hosts
    #[argh(option, arg_name = "name:address")]
    add_host: Vec<String>,
    /// a capability more, or ALL
    #[argh(option, arg_name = "capability")]
    cap_add: Vec<String>,
    /// a capability less, or ALL
    #[argh(option, arg_name = "capability")]
    cap_drop: Vec<String>,
    /// write the container's id to a new file
    #[argh(option, arg_name = "file")]
    pub(super) cidfile: Option<String>,
    /// a share of the time of a processor: --cpu-quota of so many microseconds in --cpu-period
    #[cfg(feature = "containers")]
    #[argh(option, arg_name = "microseconds")]
    cpu_quota: Option<String>,
    /// what --cpu-quota is a part of (default: 100000)
    #[cfg(feature = "containers")]
    #[argh(option, arg_name = "microseconds")]
    cpu_period: Option<String>,
    /// how many processors it may use, e.g. 0.5
    #[argh(option, arg_name = "number")]
    cpus: Option<String>,
    /// in the background: print the id and return
    #[argh(switch, short = 'd')]
    pub(super) detach: bool,
    /// a device of the host, or a directory with devices: PATH or PATH:TARGET
    #[argh(option, arg_name = "device")]
    device: Vec<String>,
    /// the address of a name server, instead of the host's
    #[cfg(feature = "containers")]
    #[argh(option, arg_name = "address")]
    dns: Vec<String>,
    /// an option of the resolver
    #[cfg(feature = "containers")]
    #[argh(option, arg_name = "option")]
    dns_option: Vec<String>,
    /// a domain to search names in; "." for none
    #[cfg(feature = "containers")]
    #[argh(option, arg_name = "domain")]
    dns_search: Vec<String>,
    /// instead of the image's entrypoint; "" takes it away
    #[argh(option, arg_name = "program")]
    entrypoint: Option<String>,
    /// a variable of the environment; a name alone hands the caller's on
    #[argh(option, short = 'e', arg_name = "name=value")]
    env: Vec<String>,
    /// a file with a variable a line
    #[argh(option, arg_name = "file")]
    env_file: Vec<String>,
    /// a port that -P publishes too, beside those of the image
    #[cfg(feature = "bridge")]
    #[argh(option, arg_name = "port")]
    expose: Vec<String>,
    /// one more group of the program, by name or number
    #[cfg(feature = "containers")]
    #[argh(option, arg_name = "group")]
    group_add: Vec<String>,
    /// what is run again and again to see whether it is well, by the shell
    #[cfg(feature = "containers")]
    #[argh(option, arg_name = "command")]
    health_cmd: Option<String>,
    /// time between two checks, e.g. 30s
    #[cfg(feature = "containers")]
    #[argh(option, arg_name = "time")]
    health_interval: Option<String>,
    /// failures in a row that make it unhealthy
    #[cfg(feature = "containers")]
    #[argh(option, arg_name = "number")]
    health_retries: Option<String>,
    /// time between two checks at the start
    #[cfg(feature = "containers")]
    #[argh(option, arg_name = "time")]
    health_start_interval: Option<String>,
    /// how long failures do not count at the start
    #[cfg(feature = "containers")]
    #[argh(option, arg_name = "time")]
    health_start_period: Option<String>,
    /// a check that takes longer has failed
    #[cfg(feature = "containers")]
    #[argh(option, arg_name = "time")]
    health_timeout: Option<String>,
    /// name of the host inside
    #[argh(option, short = 'h', arg_name = "name")]
    hostname: Option<String>,
    /// a first process that hands signals on and takes in orphans
    #[cfg(feature = "containers")]
    #[argh(switch)]
    init: bool,
    /// keep standard input open
    #[argh(switch, short = 'i')]
    interactive: bool,
    /// the address in a network that was created
    #[cfg(feature = "bridge")]
    #[argh(option, arg_name = "address")]
    ip: Option<String>,
    /// a label
    #[argh(option, short = 'l', arg_name = "name=value")]
    label: Vec<String>,
    /// how much memory it may use, e.g. 64m
    #[argh(option, short = 'm', arg_name = "bytes")]
    memory: Option<String>,
    /// memory and swap together; -1 is no limit
    #[argh(option, arg_name = "bytes")]
    memory_swap: Option<String>,
    /// type=bind|volume|tmpfs,source=...,target=...[,readonly]
    #[argh(option, arg_name = "mount")]
    mount: Vec<String>,
    /// the container's name
    #[cfg(feature = "containers")]
    #[argh(option, arg_name = "name")]
    name: Option<String>,
    /// host (the default without -p), none, bridge, the name of a network, or container:NAME
    #[argh(option, arg_name = "mode")]
    network: Option<String>,
    /// the same as --network
    #[argh(option, arg_name = "mode")]
    net: Option<String>,
    /// one more name for others in the network
    #[cfg(feature = "bridge")]
    #[argh(option, arg_name = "name")]
    network_alias: Vec<String>,
    /// the same as --network-alias
    #[cfg(feature = "bridge")]
    #[argh(option, arg_name = "name")]
    net_alias: Vec<String>,
    /// without the image's health check
    #[cfg(feature = "containers")]
    #[argh(switch)]
    no_healthcheck: bool,
    /// how many processes and threads it may have
    #[argh(option, arg_name = "number")]
    pids_limit: Option<String>,
    /// which one of an image for several platforms, when it is pulled
    #[argh(option, arg_name = "platform")]
    platform: Option<String>,
    /// all capabilities and system calls, nothing of /proc and /sys masked
    #[argh(switch)]
    privileged: bool,
    /// a port of the container's at one of the host's: [ADDRESS:][PORT:]PORT[/udp]
    #[cfg(feature = "bridge")]
    #[argh(option, short = 'p', arg_name = "port")]
    publish: Vec<String>,
    /// all ports that the image exposes, at ones that are free
    #[cfg(feature = "bridge")]
    #[argh(switch, short = 'P')]
    publish_all: bool,
    /// when to ask the registry: missing (the default), always, never
    #[argh(option, arg_name = "when")]
    pull: Option<String>,
    /// the container's root cannot be written to
    #[argh(switch)]
    read_only: bool,
    /// no (the default), on-failure[:times], always, unless-stopped
    #[cfg(feature = "containers")]
    #[argh(option, arg_name = "policy")]
    restart: Option<String>,
    /// remove the container at its end
    #[argh(switch)]
    rm: bool,
    /// no-new-privileges, seccomp=unconfined
    #[argh(option, arg_name = "option")]
    security_opt: Vec<String>,
    /// size of /dev/shm, e.g. 64m
    #[argh(option, arg_name = "bytes")]
    shm_size: Option<String>,
    /// what asks the program to end
    #[cfg(feature = "containers")]
    #[argh(option, arg_name = "signal")]
    stop_signal: Option<String>,
    /// how long it may take then; it is killed after that
    #[cfg(feature = "containers")]
    #[argh(option, arg_name = "seconds")]
    stop_timeout: Option<String>,
    /// a parameter of the kernel, of those that a container has for itself
    #[cfg(feature = "containers")]
    #[argh(option, arg_name = "name=value")]
    sysctl: Vec<String>,
    /// a file system in memory: TARGET or TARGET:size=64m,mode=755
    #[argh(option, arg_name = "target")]
    tmpfs: Vec<String>,
    /// a terminal of its own
    #[cfg(feature = "containers")]
    #[argh(switch, short = 't')]
    tty: bool,
    /// a limit: name=soft[:hard], e.g. nofile=1024
    #[argh(option, arg_name = "limit")]
    ulimit: Vec<String>,
    /// user or number, perhaps with :group
    #[argh(option, short = 'u', arg_name = "user")]
    user: Option<String>,
    /// a directory or file of the host, or a volume by its name: SOURCE:TARGET or SOURCE:TARGET:ro;
    /// TARGET alone for a new volume
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
        Opt::values("add-host", None),
        Opt::values("cap-add", None),
        Opt::values("cap-drop", None),
        Opt::value("cidfile", None),
        #[cfg(feature = "containers")]
        Opt::value("cpu-period", None),
        #[cfg(feature = "containers")]
        Opt::value("cpu-quota", None),
        Opt::value("cpus", None),
        Opt::switch("detach", Some('d')),
        Opt::values("device", None),
        #[cfg(feature = "containers")]
        Opt::values("dns", None),
        #[cfg(feature = "containers")]
        Opt::values("dns-option", None),
        #[cfg(feature = "containers")]
        Opt::values("dns-search", None),
        Opt::value("entrypoint", None),
        Opt::values("env", Some('e')),
        Opt::values("env-file", None),
        #[cfg(feature = "bridge")]
        Opt::values("expose", None),
        #[cfg(feature = "containers")]
        Opt::values("group-add", None),
        #[cfg(feature = "containers")]
        Opt::value("health-cmd", None),
        #[cfg(feature = "containers")]
        Opt::value("health-interval", None),
        #[cfg(feature = "containers")]
        Opt::value("health-retries", None),
        #[cfg(feature = "containers")]
        Opt::value("health-start-interval", None),
        #[cfg(feature = "containers")]
        Opt::value("health-start-period", None),
        #[cfg(feature = "containers")]
        Opt::value("health-timeout", None),
        Opt::value("hostname", Some('h')),
        #[cfg(feature = "containers")]
        Opt::switch("init", None),
        Opt::switch("interactive", Some('i')),
        #[cfg(feature = "bridge")]
        Opt::value("ip", None),
        Opt::values("label", Some('l')),
        Opt::value("memory", Some('m')),
        Opt::value("memory-swap", None),
        Opt::values("mount", None),
        #[cfg(feature = "containers")]
        Opt::value("name", None),
        Opt::value("network", None),
        Opt::value("net", None),
        #[cfg(feature = "bridge")]
        Opt::values("network-alias", None),
        #[cfg(feature = "bridge")]
        Opt::values("net-alias", None),
        #[cfg(feature = "containers")]
        Opt::switch("no-healthcheck", None),
        Opt::value("pids-limit", None),
        Opt::value("platform", None),
        Opt::switch("privileged", None),
        #[cfg(feature = "bridge")]
        Opt::values("publish", Some('p')),
        #[cfg(feature = "bridge")]
        Opt::switch("publish-all", Some('P')),
        Opt::value("pull", None),
        Opt::switch("read-only", None),
        #[cfg(feature = "containers")]
        Opt::value("restart", None),
        Opt::switch("rm", None),
        Opt::values("security-opt", None),
        Opt::value("shm-size", None),
        #[cfg(feature = "containers")]
        Opt::value("stop-signal", None),
        #[cfg(feature = "containers")]
        Opt::value("stop-timeout", None),
        #[cfg(feature = "containers")]
        Opt::values("sysctl", None),
        Opt::values("tmpfs", None),
        #[cfg(feature = "containers")]
        Opt::switch("tty", Some('t')),
        Opt::values("ulimit", None),
        Opt::value("user", Some('u')),
        Opt::values("volume", Some('v')),
        Opt::value("workdir", Some('w')),
    ],
    settled: &[CONTENT_TRUST],
    planned: PLANNED,
    lacking: LACKING,
    tail: Tail::After(1),
    runs_program: true,
};

#[rustfmt::skip]
const PLANNED: &[&str] = &[
    "annotation", "attach", "a", "blkio-weight", "blkio-weight-device", "cgroup-parent",
    "cgroupns", "cpu-count", "cpu-percent", "cpu-rt-period",
    "cpu-rt-runtime", "cpu-shares", "c", "cpuset-cpus", "cpuset-mems", "detach-keys",
    "device-cgroup-rule", "device-read-bps", "device-read-iops", "device-write-bps",
    "device-write-iops", "dns-opt", "domainname",
    "gpus", 
    "io-maxbandwidth",
    "io-maxiops", "ip6", "ipc", "isolation", "kernel-memory", "label-file", "link",
    "link-local-ip", "log-driver", "log-opt", "mac-address", "memory-reservation",
    "memory-swappiness", "oom-kill-disable", "oom-score-adj", "pid",
    "quiet", "q", "runtime", "sig-proxy", "storage-opt", "use-api-socket",
    "userns", "uts", "volume-driver", "volumes-from",
];

#[cfg(feature = "bridge")]
const LACKING: (&str, &[&str]) = Shape::PLAIN.lacking;
#[cfg(all(feature = "containers", not(feature = "bridge")))]
const LACKING: (&str, &[&str]) =
    ("bridge", &["expose", "ip", "net-alias", "network-alias", "p", "publish", "P", "publish-all"]);
#[cfg(not(feature = "containers"))]
#[rustfmt::skip]
const LACKING: (&str, &[&str]) = ("containers", &[
    "cpu-period", "cpu-quota", "dns", "dns-option", "dns-search", "group-add", "health-cmd", "health-interval",
    "health-retries", "health-start-interval", "health-start-period", "health-timeout", "init",
    "name", "no-healthcheck", "restart", "stop-signal", "stop-timeout", "sysctl", "tty", "t",
    "expose", "ip", "net-alias", "network-alias", "p", "publish", "P", "publish-all",
]);

/// Runs the program and ends with its exit code; in the background, prints the container's id.
pub fn run(args: Args, tail: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    let (detach, cidfile) = (args.detach, args.cidfile.clone());
    let (session, request) = ask(args, tail, globals)?;
    let cidfile = cidfile.map(CidFile::new).transpose()?;
    if detach {
        return started(background(&session, &request, cidfile, out));
    }
    let ended = container::run(&session, &request, &mut |container| match &cidfile {
        Some(file) => file.write(&container.record.id),
        None => Ok(()),
    });
    started(ended.map(|ended| {
        if let Some(lack) = &ended.lack {
            // With standard error gone, the exit code is all that can still be told.
            let _ = report::error(&mut std::io::stderr(), lack);
        }
        ended.code
    }))
}

/// The words as a request, and the image, which may have to come first.
pub(super) fn ask(
    mut args: Args,
    tail: Vec<String>,
    globals: &Globals,
) -> Result<(Session, Request)> {
    if args.network.is_none() && args.net.is_none() {
        args.network = globals.network("run")?;
        // Whoever publishes a port wants a network that has some.
        #[cfg(feature = "bridge")]
        if (args.publish_all || !args.publish.is_empty())
            && matches!(args.network.as_deref(), Some("host" | "none"))
        {
            args.network = None;
        }
    }
    let wish = Wish::parse(args.pull.as_deref(), args.platform.as_deref())?;
    let mut request = request(args, tail)?;
    let session = globals.open()?;
    request.image = wish.obtain(&session, &request.image)?;
    Ok((session, request))
}

#[cfg(feature = "containers")]
fn background(
    session: &Session,
    request: &Request,
    cidfile: Option<CidFile>,
    out: &mut Output,
) -> Result<i32> {
    let container = container::create(session, request)?;
    if let Some(file) = cidfile {
        file.write(&container.record.id)?;
    }
    if let Side::Caller = container::detach(session, &container)? {
        writeln!(out, "{}", container.record.id)?;
    }
    Ok(exit::SUCCESS)
}

#[cfg(not(feature = "containers"))]
fn background(_: &Session, _: &Request, _: Option<CidFile>, _: &mut Output) -> Result<i32> {
    Err(Error::built_without("containers"))
}

fn request(args: Args, command: Vec<String>) -> Result<Request> {
    #[cfg(feature = "containers")]
    let request = managed::request(&args)?;
    #[cfg(feature = "bridge")]
    let request = network::add(&args, request)?;
    #[cfg(not(feature = "containers"))]
    let request = Request::default();
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
    let mut flags = Flags {
        #[cfg(not(feature = "bridge"))]
        no_network: no_network(args.network.or(args.net).as_deref())?,
        interactive: args.interactive,
        // Nobody could name it afterwards.
        remove: args.rm || cfg!(not(feature = "containers")),
        read_only: args.read_only,
        privileged: args.privileged,
        ..request.flags
    };
    security::parse(&args.security_opt, &mut flags)?;
    Limits::parse(args.shm_size.as_deref(), &args.ulimit)?;
    let hosts = args.add_host.iter().map(|word| super::build::words::host(word));
    Ok(Request {
        image,
        command,
        entrypoint: args.entrypoint,
        env,
        workdir: args.workdir,
        user: args.user,
        volumes: volume::parse_all(&volume::Words {
            volumes: &args.volume,
            mounts: &args.mount,
            tmpfs: &args.tmpfs,
            devices: &args.device,
        })?,
        hostname: args.hostname,
        labels: args.label,
        hosts: hosts.collect::<Result<_>>()?,
        shm_size: args.shm_size,
        ulimits: args.ulimit,
        cap_add: args.cap_add,
        cap_drop: args.cap_drop,
        flags,
        bounds: bounds::parse(&bounds::Words {
            memory: args.memory.as_deref(),
            memory_swap: args.memory_swap.as_deref(),
            cpus: args.cpus.as_deref(),
            #[cfg(feature = "containers")]
            cpu_quota: args.cpu_quota.as_deref(),
            #[cfg(feature = "containers")]
            cpu_period: args.cpu_period.as_deref(),
            pids: args.pids_limit.as_deref(),
        })?,
        ..request
    })
}

#[cfg(not(feature = "bridge"))]
fn no_network(mode: Option<&str>) -> Result<bool> {
    match mode {
        None | Some("host" | "default" | "") => Ok(false),
        Some("none") => Ok(true),
        Some(other) => {
            Err(Error::unsupported(format!("the network {other:?}: lath was built without bridge"))
                .hint("use --network host or --network none"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!((request.flags.no_network, request.flags.interactive), (true, true));
        assert!(request.flags.remove && !request.flags.tty);
        assert_eq!(request.volumes.len(), 1);
        assert_eq!(request.user.as_deref(), Some("1:2"));
    }

    #[cfg(not(feature = "bridge"))]
    #[test]
    fn only_two_networks_are_there() {
        assert!(!no_network(None).unwrap() && !no_network(Some("host")).unwrap());
        assert!(no_network(Some("none")).unwrap());
        assert!(no_network(Some("bridge")).unwrap_err().text().contains("\"bridge\""));
    }
}
