//! Starting a container: here, with the caller's streams, or under a keeper in the background.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::FileType;

#[cfg(feature = "bridge")]
use super::network::Line;
use super::{Container, Request, State, Volume, limits, make, powers};
#[cfg(feature = "containers")]
use crate::error::Context;
use crate::error::{Error, Kind, Result};
use crate::sandbox::{self, Cgroup, Dns, Guest, Identity, Running, Spec, Streams};
#[cfg(not(feature = "bridge"))]
use crate::sandbox::{Network, NetworkFiles};
use crate::session::Session;
use crate::snapshot::kept;
use crate::sys::fs::now;
use crate::sys::process::began;

/// How a program has ended.
pub struct Ended {
    /// Its exit code.
    pub code: i32,
    /// It was killed for want of memory: why, and what to do.
    pub lack: Option<Error>,
}

/// Runs a container until its program ends. With `--rm` it is gone afterwards.
/// Errors before the program runs have the kinds by which `run`'s exit codes are told apart:
/// `NotFound` for a program that is not there, `Denied` for one that cannot be executed. `made`
/// hears of the container before it runs.
pub fn run(
    session: &Session,
    request: &Request,
    made: &mut dyn FnMut(&Container) -> Result<()>,
) -> Result<Ended> {
    let container = make(session, request)?;
    let ended = made(&container).and_then(|()| container.run_here(session));
    let ended = ended.map(|code| Ended { code, lack: container.lack() });
    container.go_if_brief(session)?;
    ended
}

/// Makes a container that does not run yet. It is on the medium when this returns.
#[cfg(feature = "containers")]
pub fn create(session: &Session, request: &Request) -> Result<Container> {
    let container = make(session, request)?;
    if !request.flags.remove {
        container.folder.sync()?;
    }
    Ok(container)
}

/// Who comes back from `detach`.
#[cfg(feature = "containers")]
pub enum Side {
    /// The caller; the container runs.
    Caller,
    /// The keeper, when all is over. It has nothing more to say to anybody.
    Keeper,
}

/// Starts a container under a keeper of its own, which nobody waits for. An error says why it does
/// not run. The caller holds the container and has no threads.
#[cfg(feature = "containers")]
pub fn detach(session: &Session, container: &Container) -> Result<Side> {
    use rustix::pipe::{PipeFlags, pipe_with};
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).context(|| "pipe")?;
    if crate::sys::process::fork()?.is_none() {
        drop(reader);
        super::keeper::keep(session, container, writer);
        return Ok(Side::Keeper);
    }
    drop(writer);
    super::keeper::hear(reader).map(|()| Side::Caller)
}

/// A program that runs, and what goes with it.
pub(super) struct Launched {
    pub running: Running,
    cgroup: Option<Cgroup>,
    /// What its network hangs on.
    #[cfg(feature = "bridge")]
    line: Line,
}

impl Container {
    /// Runs it with the streams of this process.
    pub fn run_here(&self, session: &Session) -> Result<i32> {
        #[cfg(feature = "containers")]
        if self.record.flags.tty {
            return super::relay::run(self, session);
        }
        let own = OwnStreams::new()?;
        let streams = own.given(self.record.flags.interactive)?;
        let (launched, mut state) = self.launch(session, streams, &State::default())?;
        let ended = sandbox::supervise(launched.running.pid);
        state.code = *ended.as_ref().unwrap_or(&1);
        self.ended(&mut state, &launched)?;
        ended
    }

    /// Starts its program and writes down that it runs.
    pub(super) fn launch(
        &self,
        session: &Session,
        streams: Streams<'_>,
        before: &State,
    ) -> Result<(Launched, State)> {
        let mut state = State { started: now(), restarts: before.restarts, ..State::default() };
        match self.start(session, streams) {
            Ok(launched) => {
                let pid = launched.running.pid;
                state.pid = pid.as_raw_nonzero().get();
                state.began = began(pid).unwrap_or(0);
                #[cfg(feature = "bridge")]
                if let Some(plug) = launched.line.plug() {
                    state.ports.clone_from(&plug.ports);
                }
                self.says(&state)?;
                Ok((launched, state))
            }
            Err(error) => {
                state.error = error.text().to_owned();
                state.code = match error.kind() {
                    Kind::NotFound => 127,
                    Kind::Denied => 126,
                    _ => 128,
                };
                self.over(&mut state)?;
                Err(error)
            }
        }
    }

    /// Writes down that its program has ended, and why, where that is known.
    pub(super) fn ended(&self, state: &mut State, launched: &Launched) -> Result<()> {
        state.was_short_of_memory =
            launched.cgroup.as_ref().is_some_and(Cgroup::was_short_of_memory);
        self.over(state)
    }

    fn over(&self, state: &mut State) -> Result<()> {
        state.pid = 0;
        state.finished = now();
        self.says(state)
    }

    fn start(&self, session: &Session, streams: Streams<'_>) -> Result<Launched> {
        let (record, store) = (&self.record, &session.store);
        let chain = self.chain(session)?;
        let under = store.mountpoints(sandbox::DIRS, sandbox::FILES)?;
        let is_brief = record.flags.remove;
        let tree = kept::mount(self.folder.dir(), &chain, under.as_fd(), is_brief)?;
        #[cfg_attr(not(feature = "containers"), expect(unused_mut, reason = "it joins no groups"))]
        let mut identity = Identity::resolve(tree.as_fd(), &record.user)?;
        let mut env = record.env.clone();
        if !env.iter().any(|entry| entry.starts_with("HOME=")) {
            env.push(format!("HOME={}", identity.home.as_deref().unwrap_or("/")));
        }
        #[cfg(feature = "containers")]
        for group in &record.groups {
            identity.join(tree.as_fd(), group)?;
        }
        let cgroup = Cgroup::make(&record.id, &record.bounds)?;
        let bind = |volume: &Volume| volume.bind(store, record, tree.as_fd());
        let mut binds = record.volumes.iter().map(bind).collect::<Result<Vec<_>>>()?;
        let mut argv = record.argv.clone();
        if record.flags.init {
            binds.push(super::init::bind()?);
            argv.insert(0, super::init::PATH.to_owned());
        }
        #[cfg(feature = "bridge")]
        let line = self.line(session)?;
        #[cfg(feature = "bridge")]
        let (network, files) = (line.network(), self.network_files(&line));
        #[cfg(not(feature = "bridge"))]
        let network = if record.flags.no_network { Network::None } else { Network::Host };
        #[cfg(not(feature = "bridge"))]
        let files = NetworkFiles::of_host(&record.hosts, self.dns());
        let running = sandbox::start(&Spec {
            tree: tree.as_fd(),
            staging: &store.path().join("tmp"),
            guest: Guest {
                argv: &argv,
                env: &env,
                cwd: &record.cwd,
                identity: &identity,
                limits: &limits(record)?,
                powers: powers(record)?,
                streams,
                cgroup: cgroup.as_ref(),
                is_expendable: false,
            },
            hostname: &record.hostname,
            network,
            files: &files,
            binds: &binds,
            scripts: &[],
            sysctls: &record.sysctls,
            is_read_only: record.flags.read_only,
        });
        let running = running.map_err(|error| match store.config(&record.image) {
            Ok(Some(image)) => image.platform.explain(error),
            _ => error,
        })?;
        Ok(Launched {
            running,
            cgroup,
            #[cfg(feature = "bridge")]
            line,
        })
    }

    /// What the user says of names.
    pub(super) fn dns(&self) -> Dns<'_> {
        let record = &self.record;
        Dns { servers: &record.dns, search: &record.dns_search, options: &record.dns_options }
    }
}

/// The streams of this process, open.
pub(super) struct OwnStreams(OwnedFd, std::io::Stdin, std::io::Stdout, std::io::Stderr);

impl OwnStreams {
    /// Takes them.
    pub fn new() -> Result<OwnStreams> {
        Ok(OwnStreams(sandbox::null()?, std::io::stdin(), std::io::stdout(), std::io::stderr()))
    }

    /// As a program gets them: the input only where that is wanted.
    pub fn given(&self, is_interactive: bool) -> Result<Streams<'_>> {
        let OwnStreams(null, input, output, errors) = self;
        let input = if is_interactive { input.as_fd() } else { null.as_fd() };
        let streams = [input, output.as_fd(), errors.as_fd()];
        streams.into_iter().try_for_each(refuse_directory)?;
        Ok(Streams::Files(streams))
    }
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
