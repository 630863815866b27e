//! A container's life: its files, its process, its end.
//!
//! `start` makes it run; `keeper` looks after one in the background, `relay` after one with a
//! terminal; `control` is for the others that want something of it; `record` and `state` are what
//! lies in the store.

#[cfg(feature = "containers")]
pub mod attach;
#[cfg(feature = "containers")]
pub mod changes;
#[cfg(feature = "containers")]
pub mod commit;
#[cfg(feature = "containers")]
pub mod control;
#[cfg(feature = "containers")]
pub mod copy;
#[cfg(feature = "containers")]
pub mod exec;
#[cfg(feature = "containers")]
mod files;
#[cfg(feature = "containers")]
pub mod health;
pub mod init;
#[cfg(feature = "containers")]
pub mod inspect;
#[cfg(feature = "containers")]
mod keeper;
#[cfg(feature = "containers")]
pub mod log;
#[cfg(feature = "bridge")]
pub mod network;
#[cfg(feature = "containers")]
pub mod processes;
mod record;
#[cfg(feature = "containers")]
mod relay;
mod restart;
mod start;
mod state;
#[cfg(feature = "containers")]
pub mod stats;
mod volume;

pub use record::{Flags, Record};
pub use restart::Restart;
pub use start::{Ended, run};
#[cfg(feature = "containers")]
pub use start::{Side, create, detach};
pub use state::State;
pub use volume::{Source, Volume, cleaned};

use crate::catalog::resolve::resolve;
use crate::error::{Error, Result};
pub use crate::image::config::Healthcheck;
use crate::image::config::{ContainerConfig, DEFAULT_PATH};
use crate::image::digest::{ChainId, Digest};
#[cfg(feature = "bridge")]
pub use crate::instruction::Ports;
pub use crate::instruction::{csv_fields, parse_size, signal_number};
#[cfg(feature = "bridge")]
pub use crate::network::{Port, Protocol};
use crate::sandbox::Powers;
pub use crate::sandbox::{Bounds, Limits, Tmpfs};
use crate::session::Session;
use crate::snapshot::{Chain, kept};
#[cfg(feature = "containers")]
pub use crate::store::volumes::{Volume as Stored, random_name};
use crate::store::{Driver, Folder, Store};
use crate::sys::fs::{now, random_bytes};

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
    /// `-v`, `--mount`, `--tmpfs`, `--device`.
    pub volumes: Vec<Volume>,
    /// `--group-add`.
    pub groups: Vec<String>,
    /// `--network`, where that is not the host's or none.
    #[cfg(feature = "bridge")]
    pub network: Option<String>,
    /// `--ip`.
    #[cfg(feature = "bridge")]
    pub address: Option<std::net::Ipv4Addr>,
    /// `--network-alias`.
    #[cfg(feature = "bridge")]
    pub aliases: Vec<String>,
    /// `-p`.
    #[cfg(feature = "bridge")]
    pub ports: Vec<Port>,
    /// `-P`: all that the image exposes too.
    #[cfg(feature = "bridge")]
    pub all_ports: bool,
    /// `--expose`: what counts as exposed besides, `PORT/PROTOCOL`.
    #[cfg(feature = "bridge")]
    pub exposed: Vec<String>,
    /// `--dns`.
    pub dns: Vec<String>,
    /// `--dns-search`.
    pub dns_search: Vec<String>,
    /// `--dns-option`.
    pub dns_options: Vec<String>,
    /// `--hostname`.
    pub hostname: Option<String>,
    /// `--name`.
    pub name: Option<String>,
    /// `--label`.
    pub labels: Vec<String>,
    /// `--add-host`: name and address.
    pub hosts: Vec<(String, String)>,
    /// `--shm-size`.
    pub shm_size: Option<String>,
    /// `--ulimit`.
    pub ulimits: Vec<String>,
    /// `--cap-add`.
    pub cap_add: Vec<String>,
    /// `--cap-drop`.
    pub cap_drop: Vec<String>,
    /// What one word each says.
    pub flags: Flags,
    /// `--memory`, `--memory-swap`, `--cpus`, `--pids-limit`.
    pub bounds: Bounds,
    /// `--restart`.
    pub restart: Restart,
    /// `--sysctl`: names with dots, and values.
    pub sysctls: Vec<(String, String)>,
    /// `--stop-signal`, by its number; else the image's.
    pub stop_signal: Option<i32>,
    /// `--stop-timeout`, seconds.
    pub stop_timeout: Option<u64>,
    /// `--health-cmd` and such, over the image's check.
    pub health: Healthcheck,
    /// `--no-healthcheck`.
    pub no_health: bool,
}

/// A container.
pub struct Container {
    /// What it is.
    pub record: Record,
    folder: Folder,
}

/// Makes a container, and holds it.
fn make(session: &Session, request: &Request) -> Result<Container> {
    let store = &session.store;
    // Nobody removes the image before the container has said that it uses it.
    let look = store.look()?;
    let found = resolve(store, &request.image)?;
    let image = store
        .config(&found.image)?
        .ok_or_else(|| Error::not_found(format!("No such image: {}", request.image)))?;
    let config = &image.config;
    let id = Digest::of(&random_bytes::<32>()?).hex();
    let short = id.get(..12).unwrap_or_default();
    let hostname = request.hostname.as_deref().unwrap_or(short);
    let chains = image.chains();
    let record = Record {
        name: request.name.clone().unwrap_or_else(|| short.to_owned()),
        image_name: request.image.clone(),
        chains: chains.iter().map(Digest::hex).collect(),
        created: now(),
        argv: command(request, config.entrypoint.as_deref(), config.cmd.as_deref())?,
        env: environment(request, &config.env, hostname),
        cwd: request.workdir.clone().unwrap_or_else(|| config.working_dir.clone()),
        user: request.user.clone().unwrap_or_else(|| config.user.clone()),
        hostname: hostname.to_owned(),
        labels: labels(request, config),
        volumes: volumes(request, config)?,
        groups: request.groups.clone(),
        dns: request.dns.clone(),
        dns_search: request.dns_search.clone(),
        dns_options: request.dns_options.clone(),
        hosts: request.hosts.clone(),
        shm_size: request.shm_size.clone(),
        ulimits: request.ulimits.clone(),
        cap_add: request.cap_add.clone(),
        cap_drop: request.cap_drop.clone(),
        sysctls: request.sysctls.clone(),
        flags: request.flags,
        #[cfg(feature = "bridge")]
        network: request.network.clone(),
        #[cfg(feature = "bridge")]
        address: request.address,
        #[cfg(feature = "bridge")]
        aliases: request.aliases.clone(),
        #[cfg(feature = "bridge")]
        ports: ports(request, &config.exposed_ports),
        bounds: request.bounds,
        restart: request.restart,
        stop_signal: stop_signal(request, config),
        stop_timeout: request.stop_timeout.unwrap_or(10),
        #[cfg(feature = "containers")]
        health: health::of(&request.health, request.no_health, config),
        id,
        ..Record::empty(found.image)
    };
    // What is wrong with these is said now, and not at each start.
    limits(&record)?;
    powers(&record)?;
    #[cfg(feature = "bridge")]
    let record = named_network(session, record)?;
    if !record.has_own_network()
        && let Some((name, _)) = record.sysctls.iter().find(|(name, _)| name.starts_with("net."))
    {
        return Err(Error::usage(format!("sysctl {name:?} is not allowed in the host's network"))
            .hint("set it outside, or give the container a network of its own: --network none"));
    }
    let mut uses = record.chains.join("\n");
    uses.push('\n');
    uses.push_str(&found.image.hex());
    uses.push('\n');
    let folder = store.new_container(&record.id, &uses, record.flags.remove)?;
    drop(look);
    let container = Container { record, folder };
    let made = container
        .is_only(session, request.name.is_some())
        .and_then(|()| room(store, &chains))
        .and_then(|()| Chain::open(store, None, &chains))
        .and_then(|chain| kept::make(container.folder.dir(), &chain, request.flags.remove))
        // Last: with it there is a container.
        .and_then(|()| container.folder.write_config(&container.record.to_text()))
        .and_then(|()| container.is_only(session, request.name.is_some()))
        .and_then(|()| container.make_volumes(session));
    match made {
        Ok(()) => Ok(container),
        Err(error) => {
            container.take_away(session, true)?;
            Err(error)
        }
    }
}

/// Makes room for all the files of an image, where each container has its own.
fn room(store: &Store, chains: &[ChainId]) -> Result<()> {
    if cfg!(feature = "containers") && store.driver().driver == Driver::Copy {
        let layers = chains.iter().filter_map(|chain| store.layer(chain).ok()?);
        store.room(layers.map(|layer| layer.size_bytes).fold(0, u64::saturating_add))?;
    }
    Ok(())
}

impl Container {
    /// Makes the volumes of the store that it has.
    fn make_volumes(&self, session: &Session) -> Result<()> {
        #[cfg(feature = "containers")]
        for volume in &self.record.volumes {
            volume.make(&session.store, &self.record)?;
        }
        let _ = session;
        Ok(())
    }

    /// The layers of its image.
    fn chain(&self, session: &Session) -> Result<Chain> {
        let chains = self.record.chains.iter().filter_map(|hex| Digest::parse_hex(hex));
        Chain::open(&session.store, None, &chains.collect::<Vec<_>>())
    }

    /// Removes one that goes with its program (`--rm`), which has ended.
    pub fn go_if_brief(&self, session: &Session) -> Result<()> {
        match self.record.flags.remove {
            true => self.take_away(session, true),
            false => Ok(()),
        }
    }

    /// Removes it with its files. Its volumes without a name go too, or stay, and then nobody's.
    fn take_away(&self, session: &Session, with_volumes: bool) -> Result<()> {
        #[cfg(feature = "containers")]
        let nameless = self.record.volumes.iter().filter_map(|volume| match &volume.source {
            Source::Nameless(name) => Some(name),
            _ => None,
        });
        #[cfg(feature = "containers")]
        if !with_volumes {
            nameless.clone().try_for_each(|name| session.store.keep_volume(name))?;
        }
        self.folder.remove()?;
        // What is not removed now the next command sweeps.
        #[cfg(feature = "containers")]
        if with_volumes {
            nameless.clone().try_for_each(|name| session.store.drop_volume(name))?;
        }
        let _ = (session, with_volumes);
        Ok(())
    }

    /// Says how it is doing.
    fn says(&self, state: &State) -> Result<()> {
        self.folder.write_state(&state.to_text())
    }

    /// What whoever sees only an exit code would not guess.
    fn lack(&self) -> Option<Error> {
        let state = self.folder.state().ok()?;
        let bytes = self.record.bounds.memory.unwrap_or(0);
        state.contains("short-of-memory").then(|| {
            let text = format!(
                "a process of the container was killed: it may use {bytes} bytes of memory"
            );
            Error::new(crate::error::Kind::System, text).hint("give it more with --memory")
        })
    }

    /// No other container has its name; two that are made at once see each other.
    fn is_only(&self, session: &Session, is_chosen: bool) -> Result<()> {
        #[cfg(feature = "containers")]
        if is_chosen {
            let others = control::all(session)?;
            let mine = |other: &&Container| other.record.name == self.record.name;
            if let Some(other) =
                others.iter().filter(mine).find(|other| other.record.id != self.record.id)
            {
                let text = format!(
                    "Conflict. The container name \"/{}\" is already in use by container \"{}\"",
                    self.record.name, other.record.id
                );
                return Err(Error::new(crate::error::Kind::Conflict, text).hint(
                    "remove or rename that container, or choose another name, to be able to use \
                     this one",
                ));
            }
        }
        let _ = (session, is_chosen);
        Ok(())
    }
}

/// What was asked for, and a volume without a name for each that the image has, as docker makes them.
fn volumes(request: &Request, config: &ContainerConfig) -> Result<Vec<Volume>> {
    let mut volumes = request.volumes.clone();
    if cfg!(not(feature = "containers")) {
        return Ok(volumes);
    }
    for path in &config.volumes {
        let target = cleaned(path);
        if target != "/" && !volumes.iter().any(|volume| volume.target == target) {
            let source = Source::Nameless(String::new());
            volumes.push(Volume { source, target, readonly: false });
        }
    }
    #[cfg(feature = "containers")]
    for volume in &mut volumes {
        if volume.source == Source::Nameless(String::new()) {
            volume.source = Source::Nameless(crate::store::volumes::random_name()?);
        }
    }
    Ok(volumes)
}

/// `-p`, and with `-P` what the image exposes, each at a port that is free.
#[cfg(feature = "bridge")]
fn ports(request: &Request, exposed: &[String]) -> Vec<Port> {
    let mut ports = request.ports.clone();
    let exposed = exposed.iter().chain(&request.exposed);
    for (inside, protocol) in exposed.filter_map(|text| text.split_once('/')) {
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => continue,
        };
        let Ok(inside) = inside.parse() else { continue };
        let is_known = |port: &Port| (port.inside, port.protocol) == (inside, protocol);
        if request.all_ports && !ports.iter().any(is_known) {
            ports.push(Port { address: None, host: 0, inside, protocol });
        }
    }
    ports
}

/// With the network as it is called, and a container whose network is used by its id.
#[cfg(feature = "bridge")]
fn named_network(session: &Session, mut record: Record) -> Result<Record> {
    if let Some(name) = &record.network {
        record.network = Some(match name.strip_prefix(network::CONTAINER) {
            Some(other) => {
                let id = control::find(session, other)?.record.id;
                format!("{}{id}", network::CONTAINER)
            }
            None => network::find(session, name)?.name,
        });
    }
    Ok(record)
}

/// What it may use.
fn limits(record: &Record) -> Result<Limits> {
    Limits::parse(record.shm_size.as_deref(), &record.ulimits)
}

/// What it may do.
fn powers(record: &Record) -> Result<Powers> {
    let mut powers = match record.flags.privileged {
        true => Powers::all()?,
        false => Powers::default(),
    };
    if !record.flags.privileged {
        powers.change(&record.cap_add, &record.cap_drop)?;
    }
    powers.any_call |= record.flags.any_call;
    powers.no_new_privileges = record.flags.no_new_privileges;
    Ok(powers)
}

fn labels(request: &Request, config: &ContainerConfig) -> Vec<String> {
    let name = |label: &String| label.split('=').next().unwrap_or_default().to_owned();
    let own: Vec<String> = request.labels.iter().map(name).collect();
    let image = config.labels.iter().filter(|(name, _)| !own.contains(name));
    let image = image.map(|(name, value)| format!("{name}={value}"));
    image.chain(request.labels.iter().cloned()).collect()
}

fn stop_signal(request: &Request, config: &ContainerConfig) -> i32 {
    let image = config.stop_signal.as_deref().and_then(signal_number);
    request.stop_signal.or(image).unwrap_or(libc::SIGTERM)
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

/// The image's environment, then the caller's choices; PATH and HOSTNAME are always there.
fn environment(request: &Request, image: &[String], hostname: &str) -> Vec<String> {
    let mut config = ContainerConfig::default();
    config.set_env("PATH", DEFAULT_PATH);
    config.set_env("HOSTNAME", hostname);
    if request.flags.tty {
        config.set_env("TERM", "xterm");
    }
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
    config.env
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
