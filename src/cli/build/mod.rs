//! `lath build`: an image from a Dockerfile.

mod cache;
#[cfg(feature = "lint")]
mod call;
#[cfg(feature = "outputs")]
mod digest;
mod fields;
#[cfg(feature = "outputs")]
mod output;
#[cfg(not(feature = "outputs"))]
#[path = "output_missing.rs"]
mod output;
#[cfg(feature = "lint")]
mod page;
mod settled;
pub(super) mod words;

use std::io::Write;
use std::mem::take;

use argh::FromArgs;

use super::normalize::{Opt, Shape};
use super::progress::{self, Mode, Terminals};
use super::whole_file::{self, WholeFile};
use super::{Globals, Output, arguments, bounds, exit, priority, report};
use crate::build::{self, Limits, Request, context::Place};
use output::Outputs;
use crate::catalog::resolve::new_name;
use crate::error::{Context as _, Result};
use crate::image::platform::Platform;
use crate::sys::flow::Outflow;

/// Build an image from a Dockerfile
#[derive(FromArgs)]
#[argh(subcommand, name = "build")]
pub struct Args {
    /// one more line of /etc/hosts for the steps
    #[argh(option, arg_name = "name:address")]
    add_host: Vec<String>,
    /// what steps may ask for: security.insecure; network.host always
    #[argh(option, arg_name = "entitlement")]
    allow: Vec<String>,
    /// a note for an archive: [manifest|manifest-descriptor|index:]KEY=VALUE
    #[argh(option, arg_name = "note")]
    annotation: Vec<String>,
    /// a name for --from and FROM: a directory, an http address, docker-image://IMAGE, oci-layout://DIR:TAG
    #[argh(option, arg_name = "name=value")]
    build_context: Vec<String>,
    /// a value for an ARG; a name alone hands the caller's variable on
    #[argh(option, arg_name = "name=value")]
    build_arg: Vec<String>,
    /// how many processors a step may use, e.g. 0.5
    #[argh(option, arg_name = "number")]
    cpus: Option<String>,
    /// a share of the time of a processor: --cpu-quota of so many microseconds in --cpu-period
    #[cfg(feature = "containers")]
    #[argh(option, arg_name = "microseconds")]
    cpu_quota: Option<String>,
    /// what --cpu-quota is a part of (default: 100000)
    #[cfg(feature = "containers")]
    #[argh(option, arg_name = "microseconds")]
    cpu_period: Option<String>,
    /// instead of a build: check, outline or targets; with ,format=json
    #[argh(option, arg_name = "what")]
    call: Option<String>,
    /// where else to look for finished steps: type=local,src=DIR
    #[argh(option, arg_name = "cache")]
    cache_from: Vec<String>,
    /// keep finished steps for other stores too: type=local,dest=DIR[,mode=max]
    #[argh(option, arg_name = "cache")]
    cache_to: Vec<String>,
    /// say what is wrong or likely not meant in the Dockerfile, and build nothing
    #[argh(switch)]
    check: bool,
    /// say for each step that is not from the cache why
    #[argh(switch)]
    explain: bool,
    /// the Dockerfile, "-" for standard input (default: Dockerfile in the context)
    #[argh(option, short = 'f', arg_name = "file")]
    file: Option<String>,
    /// remove the containers of steps that failed too (always so)
    #[argh(switch)]
    force_rm: bool,
    /// write the id of the image to a file
    #[argh(option, arg_name = "file")]
    iidfile: Option<String>,
    /// how many stages may be built side by side (default: as many as there are processors)
    #[argh(option, arg_name = "number")]
    jobs: Option<usize>,
    /// a label for the image
    #[argh(option, arg_name = "name=value")]
    label: Vec<String>,
    /// keep the image in the store (always so)
    #[argh(switch)]
    load: bool,
    /// how much memory a step may use, e.g. 64m
    #[argh(option, short = 'm', arg_name = "bytes")]
    memory: Option<String>,
    /// memory and swap of a step together; -1 is no limit
    #[argh(option, arg_name = "bytes")]
    memory_swap: Option<String>,
    /// write what is known of the result to a file, as JSON
    #[argh(option, arg_name = "file")]
    metadata_file: Option<String>,
    /// network of the steps: default, host or none
    #[argh(option, arg_name = "mode")]
    network: Option<String>,
    /// do every step again
    #[argh(switch)]
    no_cache: bool,
    /// do the steps of these stages again
    #[argh(option, arg_name = "stages")]
    no_cache_filter: Vec<String>,
    /// what else becomes of the image: DIR, "-" for a tar, or type=local|tar|oci|docker|squashfs|ext4|erofs|cpio|image|cacheonly,dest=PATH
    #[argh(option, short = 'o', arg_name = "output")]
    output: Vec<String>,
    /// how many processes and threads a step may have
    #[argh(option, arg_name = "number")]
    pids_limit: Option<String>,
    /// what the image is for, e.g. linux/arm/v7
    #[argh(option, arg_name = "platform")]
    platform: Option<String>,
    /// low: give way to all else; normal. low where there is one processor, else normal
    #[argh(option, arg_name = "word")]
    priority: Option<String>,
    /// auto, plain, tty, json or quiet
    #[argh(option, arg_name = "kind")]
    progress: Option<String>,
    /// ask the registries for newer bases
    #[argh(switch)]
    pull: bool,
    /// push the image by all its names
    #[argh(switch)]
    push: bool,
    /// print the id and nothing else
    #[argh(switch, short = 'q')]
    quiet: bool,
    /// remove the containers of steps (always so)
    #[argh(option, arg_name = "bool")]
    rm: Option<bool>,
    /// a secret for RUN --mount=type=secret: id=ID,src=FILE or id=ID,env=NAME
    #[argh(option, arg_name = "secret")]
    secret: Vec<String>,
    /// size of /dev/shm for the steps, e.g. 64m
    #[argh(option, arg_name = "bytes")]
    shm_size: Option<String>,
    /// a socket for RUN --mount=type=ssh: default, or ID=SOCKET
    #[argh(option, arg_name = "socket")]
    ssh: Vec<String>,
    /// make one layer of all that the build adds to its base
    #[argh(switch)]
    squash: bool,
    /// name the image
    #[argh(option, short = 't', arg_name = "name:tag")]
    tag: Vec<String>,
    /// the stage to build
    #[argh(option, arg_name = "stage")]
    target: Option<String>,
    /// a limit of the steps: name=soft[:hard], e.g. nofile=1024
    #[argh(option, arg_name = "limit")]
    ulimit: Vec<String>,
    /// directory or tar of the files for COPY, its http address, or "-": standard input
    #[argh(positional, arg_name = "path")]
    paths: Vec<String>,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape {
    options: &[
        Opt::values("add-host", None),
        Opt::values("allow", None),
        Opt::values("annotation", None),
        Opt::values("build-arg", None),
        Opt::values("build-context", None),
        Opt::value("call", None),
        Opt::values("cache-from", None),
        Opt::values("cache-to", None),
        Opt::switch("check", None),
        #[cfg(feature = "containers")]
        Opt::value("cpu-period", None),
        #[cfg(feature = "containers")]
        Opt::value("cpu-quota", None),
        Opt::value("cpus", None),
        Opt::switch("explain", None),
        Opt::value("file", Some('f')),
        Opt::switch("force-rm", None),
        Opt::value("iidfile", None),
        Opt::value("jobs", None),
        Opt::values("label", None),
        Opt::switch("load", None),
        Opt::value("memory", Some('m')),
        Opt::value("memory-swap", None),
        Opt::value("metadata-file", None),
        Opt::value("network", None),
        Opt::switch("no-cache", None),
        Opt::values("no-cache-filter", None),
        Opt::values("output", Some('o')),
        Opt::value("pids-limit", None),
        Opt::value("platform", None),
        Opt::value("priority", None),
        Opt::value("progress", None),
        Opt::switch("pull", None),
        Opt::switch("push", None),
        Opt::switch("quiet", Some('q')),
        Opt::truth("rm", None),
        Opt::values("secret", None),
        Opt::value("shm-size", None),
        Opt::values("ssh", None),
        Opt::switch("squash", None),
        Opt::values("tag", Some('t')),
        Opt::value("target", None),
        Opt::values("ulimit", None),
    ],
    settled: settled::SETTLED,
    planned: PLANNED,
    #[cfg(not(feature = "containers"))]
    lacking: ("containers", &["cpu-period", "cpu-quota"]),
    ..Shape::PLAIN
};

#[rustfmt::skip]
const PLANNED: &[&str] = &[
    "cgroup-parent", "cpu-shares", "c", "cpuset-cpus", "cpuset-mems", "policy", "security-opt",
];

/// Builds the image and shows the progress.
pub fn run(mut args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    let iidfile = args.iidfile.clone();
    let mode = match (args.quiet, args.progress.as_deref()) {
        (true, _) => Mode::Quiet,
        (false, word) => Mode::parse(word.unwrap_or("auto"))?,
    };
    let word = if args.check { "check" } else { args.call.as_deref().unwrap_or_default() };
    #[cfg(feature = "lint")]
    let call = call::Call::parse(word)?;
    #[cfg(not(feature = "lint"))]
    if !matches!(word, "" | "build") {
        return Err(crate::error::Error::built_without("lint"));
    }
    #[cfg(not(feature = "outputs"))]
    if args.squash || !(args.cache_from.is_empty() && args.cache_to.is_empty()) {
        return Err(crate::error::Error::built_without("outputs"));
    }
    let words = (take(&mut args.output), take(&mut args.annotation), take(&mut args.metadata_file));
    let is_pushed = args.push;
    priority::take(args.priority.as_deref())?;
    if args.network.is_none() {
        args.network = globals.network("build")?;
    }
    let mut request = request(args, &|name| std::env::var(name).ok())?;
    let newest = request.epoch()?;
    let outputs =
        Outputs::parse(&words.0, &words.1, words.2, newest, &mut request.tags, is_pushed)?;
    #[cfg(feature = "lint")]
    if let Some(call) = call {
        return call.answer(build::check(globals.find().as_ref(), &request)?, out);
    }
    let session = globals.open()?;
    if let Some(path) = &iidfile {
        // Whoever finds it after a failed build must not take it for that build's.
        whole_file::remove(path)?;
    }
    outputs.begin()?;
    let (mut err, mut log) = (std::io::stderr(), std::io::stderr());
    let (log, stdout): (&mut dyn Outflow, Option<&mut dyn Outflow>) = match outputs.take_stdout() {
        true => (&mut log, Some(out)),
        false => (out, None),
    };
    let mut progress = progress::choose(mode, log, &mut err, Terminals::probe());
    let built = build::build(&session, &request, &mut *progress).and_then(|image| {
        outputs.make(&session, image, stdout, &mut *progress)?;
        Ok(image)
    });
    progress.finish(built.as_ref().err());
    drop(progress);
    match built {
        Ok(image) => {
            if let Some(path) = &iidfile {
                let mut file = WholeFile::create(path, 0o666)?;
                file.write_all(image.to_string().as_bytes())
                    .context(|| format!("write to {path:?}"))?;
                file.finish()?;
            }
            Ok(exit::SUCCESS)
        }
        // A build that failed is no success, even when nobody reads its log any more.
        Err(error) if out.is_closed() => {
            let _ = report::error(&mut err, &error);
            Ok(exit::of_error(&error, false))
        }
        Err(error) => Err(error),
    }
}

fn request(args: Args, own: &dyn Fn(&str) -> Option<String>) -> Result<Request> {
    let [context] = arguments::exactly("build", args.paths)?;
    // Containers of steps never stay here, whatever these two say.
    let _ = (args.rm, args.force_rm);
    // Nor is there another place for the image than the store.
    let _ = args.load;
    Ok(Request {
        place: Place { context, dockerfile: args.file },
        tags: args.tag.iter().map(|tag| new_name(tag)).collect::<Result<_>>()?,
        build_args: words::build_args(&args.build_arg, own)?,
        target: args.target.filter(|target| !target.is_empty()),
        no_cache: args.no_cache,
        jobs: words::jobs(args.jobs)?,
        no_cache_stages: words::stages(args.no_cache, &args.no_cache_filter)?,
        explain: args.explain,
        limits: Limits::parse(args.shm_size.as_deref(), &args.ulimit)?,
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
        network: words::network(args.network.as_deref())?,
        labels: args.label.iter().map(|label| words::label_of(label)).collect::<Result<_>>()?,
        pull: args.pull,
        platform: args
            .platform
            .as_deref()
            .filter(|text| !text.is_empty())
            .map(Platform::parse)
            .transpose()?,
        secrets: args.secret.iter().map(|word| words::secret(word, own)).collect::<Result<_>>()?,
        sockets: args.ssh.iter().map(|word| words::socket(word, own)).collect::<Result<_>>()?,
        may_be_insecure: words::allow(&args.allow)?,
        contexts: args.build_context.iter().map(|word| words::named(word)).collect::<Result<_>>()?,
        hosts: args.add_host.iter().map(|word| words::host(word)).collect::<Result<_>>()?,
        squash: args.squash,
        cache_from: cache::places("cache-from", &args.cache_from)?,
        cache_to: cache::places("cache-to", &args.cache_to)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::Network;
    use crate::image::reference::Reference;

    fn parsed(words: &[&str]) -> Result<Request> {
        let own = |name: &str| (name == "SET").then(|| "mine".to_owned());
        request(Args::from_args(&["lath", "build"], words).unwrap(), &own)
    }

    #[test]
    fn words_become_a_request() {
        let request = parsed(&[
            "--tag",
            "hub/redis",
            "--tag",
            "b:1",
            "--build-arg",
            "A=1",
            "--build-arg",
            "A=2",
            "--build-arg",
            "SET",
            "--build-arg",
            "UNSET",
            "--label",
            "x=y=z",
            "--label",
            "bare",
            "--network",
            "none",
            "--target",
            "last",
            "--no-cache",
            "--platform",
            "linux/arm/v7",
            "--rm",
            "true",
            "--file",
            "D",
            "--",
            "dir",
        ])
        .unwrap();
        assert_eq!(request.place, Place { context: "dir".into(), dockerfile: Some("D".into()) });
        let tags: Vec<String> = request.tags.iter().map(Reference::to_string).collect();
        assert_eq!(tags, ["hub/redis:latest", "b:1"]);
        let args: Vec<(&str, &str)> = request
            .build_args
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(args, [("A", "2"), ("SET", "mine")]);
        assert_eq!(request.labels, [("x".into(), "y=z".into()), ("bare".into(), String::new())]);
        assert!(matches!(request.network, Network::None));
        assert_eq!(request.target.as_deref(), Some("last"));
        assert_eq!(request.platform.map(|platform| platform.variant).as_deref(), Some("v7"));
        assert!(request.no_cache);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (words, text) in [
            (&["--"][..], "\"lath build\" requires exactly 1 argument"),
            (&["--", "a", "b"], "\"lath build\" requires exactly 1 argument"),
            (&["--network", "bridge", "--", "."], "the network \"bridge\" is not for steps"),
            (&["--build-arg", "=x", "--", "."], "invalid build argument \"=x\": write NAME=value"),
            (&["--label", "=x", "--", "."], "invalid label \"=x\": write NAME=value"),
        ] {
            assert_eq!(parsed(words).unwrap_err().text(), text, "{words:?}");
        }
        assert!(parsed(&["--tag", "UPPER", "--", "."]).is_err());
        let digest = format!("a@{}", crate::image::digest::Digest::of(b""));
        assert!(parsed(&["--tag", &digest, "--", "."]).is_err());
    }
}
