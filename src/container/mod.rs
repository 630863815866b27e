//! A container's life: its writable view, its process, its end.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{FileType, Mode, OFlags};

use crate::catalog::resolve::resolve;
use crate::error::{Context, Error, Kind, Result};
use crate::image::config::DEFAULT_PATH;
pub use crate::sandbox::Limits;
use crate::sandbox::{self, Bind, Content, Identity, Network, NetworkFiles, Powers, Spec};
use crate::session::Session;
use crate::snapshot::{Chain, Snapshot};
use crate::sys::fs::random_id;
use crate::sys::mount::clone_tree;

/// What to run.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Name, id or prefix of the image.
    pub image: String,
    /// The words after the image: instead of the image's CMD.
    pub command: Vec<String>,
    /// `--entrypoint`: instead of the image's; an empty one takes it away.
    pub entrypoint: Option<String>,
    /// `-e`: `NAME=value`, or `NAME` for that of the caller.
    pub env: Vec<String>,
    /// `-w`.
    pub workdir: Option<String>,
    /// `-u`.
    pub user: Option<String>,
    /// `-v`: host path, path inside, read-only.
    pub volumes: Vec<Volume>,
    /// `--network none`.
    pub no_network: bool,
    /// `--hostname`.
    pub hostname: Option<String>,
    /// `--shm-size` and `--ulimit`.
    pub limits: Limits,
    /// `-i`: standard input stays open.
    pub interactive: bool,
}

/// A directory or file of the host that appears inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// On the host.
    pub source: PathBuf,
    /// Inside.
    pub target: String,
    /// Not writable inside.
    pub readonly: bool,
}

/// Runs a container until its process ends; gives the exit code. Its changes are gone afterwards.
/// Errors before the process runs have the kinds by which `run`'s exit codes are told apart:
/// `NotFound` for a program that is not there, `Denied` for one that cannot be executed.
pub fn run(session: &Session, request: &Request) -> Result<i32> {
    let store = &session.store;
    let look = store.look()?;
    let found = resolve(store, &request.image)?;
    let image = store
        .config(&found.image)?
        .ok_or_else(|| Error::not_found(format!("No such image: {}", request.image)))?;
    let config = &image.config;
    let argv = command(request, config.entrypoint.as_deref(), config.cmd.as_deref())?;
    let scratch = session.scratch()?;
    scratch.uses(&found.image.hex())?;
    let chain = Chain::open(store, Some(&scratch), &image.chains())?;
    drop(look);
    let snapshot = Snapshot::prepare(&scratch, &chain)?;
    let under = store.mountpoints(&scratch, sandbox::DIRS, sandbox::FILES)?;
    let tree = snapshot.mount(Some(under.as_fd()))?;
    let identity =
        Identity::resolve(tree.as_fd(), request.user.as_deref().unwrap_or(&config.user))?;
    let id = random_id()?;
    let env =
        environment(request, &config.env, &identity, request.hostname.as_deref().unwrap_or(&id));
    let binds = request.volumes.iter().map(bind).collect::<Result<Vec<_>>>()?;
    let null = sandbox::null()?;
    let (input, output, errors) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let given = request.interactive.then_some(input.as_fd());
    for stream in given.into_iter().chain([output.as_fd(), errors.as_fd()]) {
        refuse_directory(stream)?;
    }
    let files = NetworkFiles::of_host(&[]);
    let spec = Spec {
        tree: tree.as_fd(),
        staging: &store.path().join("tmp"),
        argv: &argv,
        env: &env,
        cwd: request.workdir.as_deref().unwrap_or(&config.working_dir),
        identity: &identity,
        hostname: request.hostname.as_deref().unwrap_or(&id),
        network: if request.no_network { Network::None } else { Network::Host },
        files: &files,
        binds: &binds,
        scripts: &[],
        limits: &request.limits,
        powers: Powers::default(),
        stdio: [
            if request.interactive { input.as_fd() } else { null.as_fd() },
            output.as_fd(),
            errors.as_fd(),
        ],
    };
    let running = match sandbox::start(&spec) {
        Ok(running) => running,
        Err(error) => {
            drop(tree);
            snapshot.discard(&scratch)?;
            return Err(image.platform.explain(error));
        }
    };
    let ended = sandbox::supervise(running.pid);
    // The changes are thrown away, so what was mounted over needs no tidying.
    drop((running, tree));
    snapshot.discard(&scratch)?;
    ended
}

/// ENTRYPOINT and CMD as docker joins them: another entrypoint takes the image's CMD away.
fn command(
    request: &Request,
    entrypoint: Option<&[String]>,
    cmd: Option<&[String]>,
) -> Result<Vec<String>> {
    let (entrypoint, cmd) = match &request.entrypoint {
        Some(own) => {
            (Some(own.clone()).filter(|own| !own.is_empty()).into_iter().collect(), &[][..])
        }
        None => (entrypoint.unwrap_or_default().to_vec(), cmd.unwrap_or_default()),
    };
    let mut argv: Vec<String> = entrypoint;
    argv.extend_from_slice(if request.command.is_empty() { cmd } else { &request.command });
    if argv.is_empty() {
        return Err(Error::input("no command specified")
            .hint("the image names none: write it after the image, such as lath run IMAGE sh"));
    }
    Ok(argv)
}

/// The image's environment, then the caller's choices; PATH, HOSTNAME and HOME are always there.
fn environment(
    request: &Request,
    image: &[String],
    identity: &Identity,
    hostname: &str,
) -> Vec<String> {
    let mut config =
        crate::image::config::ContainerConfig { env: Vec::new(), ..Default::default() };
    config.set_env("PATH", DEFAULT_PATH);
    config.set_env("HOSTNAME", hostname);
    for entry in image.iter().chain(&request.env) {
        match entry.split_once('=') {
            Some((name, value)) => config.set_env(name, value),
            // A bare name hands the caller's own value on, if there is one.
            None => match std::env::var(entry) {
                Ok(value) => config.set_env(entry, &value),
                Err(_) => config.env.retain(|old| old.split('=').next() != Some(entry)),
            },
        }
    }
    if config.env_value("HOME").is_none() {
        config.set_env("HOME", identity.home.as_deref().unwrap_or("/"));
    }
    config.env
}

fn bind(volume: &Volume) -> Result<Bind> {
    let source = &volume.source;
    let open = || rustix::fs::open(source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let opened: OwnedFd = match open() {
        // As docker does for a directory that is not there yet.
        Err(rustix::io::Errno::NOENT) => {
            std::fs::create_dir_all(source).context(|| format!("mkdir {source:?}"))?;
            open().context(|| format!("open {source:?}"))?
        }
        other => other.context(|| format!("open {source:?}"))?,
    };
    let mode = rustix::fs::fstat(&opened)?.st_mode;
    let is_dir = FileType::from_raw_mode(mode) == FileType::Directory;
    if !volume.target.starts_with('/') || volume.target == "/" {
        let text = format!(
            "invalid volume: destination {:?} must be an absolute path below /",
            volume.target
        );
        return Err(Error::new(Kind::Usage, text));
    }
    let tree = clone_tree(opened.as_fd()).context(|| format!("bind {source:?}"))?;
    let content = Content::Tree(tree);
    // A single device that the caller has named is meant to be one.
    let target = volume.target.clone();
    Ok(Bind { content, target, is_dir, readonly: volume.readonly, is_device: !is_dir })
}

/// A directory of the host as a stream would be a way out of the container: from it `..` leads up
/// to the host's root.
fn refuse_directory(stream: BorrowedFd<'_>) -> Result<()> {
    match rustix::fs::fstat(stream) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
            Err(Error::input("a standard stream is a directory")
                .hint("give a directory to a container with -v"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn entrypoint_and_command_join_as_docker_joins_them() {
        let own = |entrypoint: Option<&str>, command: &[&str]| Request {
            entrypoint: entrypoint.map(str::to_owned),
            command: words(command),
            ..Request::default()
        };
        let (entrypoint, cmd) = (words(&["e"]), words(&["c"]));
        let join = |request: &Request| command(request, Some(&entrypoint), Some(&cmd)).ok();
        assert_eq!(join(&own(None, &[])), Some(words(&["e", "c"])));
        assert_eq!(join(&own(None, &["x", "y"])), Some(words(&["e", "x", "y"])));
        assert_eq!(join(&own(Some("z"), &[])), Some(words(&["z"])));
        assert_eq!(join(&own(Some("z"), &["x"])), Some(words(&["z", "x"])));
        assert_eq!(join(&own(Some(""), &["x"])), Some(words(&["x"])));
        assert_eq!(join(&own(Some(""), &[])), None);
    }
}
