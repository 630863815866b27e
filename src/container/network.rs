//! A container's place in a network: the host's, none, a network of its own, or another container's.

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};

use super::{Container, Record, control, keeper};
use crate::error::{Context, Error, Kind, Result};
pub use crate::network::BRIDGE;
pub use crate::network::first_of;
use crate::network::{self, Network, Plug, Wish};
use crate::sandbox::{self, Dns, NetworkFiles};
use crate::session::Session;
use crate::sort::sort_by;
pub use crate::store::networks::NetworkRecord;

/// Before the id of a container whose network is used.
pub const CONTAINER: &str = "container:";

/// What a program's network hangs on, for as long as it runs.
pub enum Line {
    /// The host's, or none.
    Plain {
        /// None.
        is_none: bool,
    },
    /// A place in a network.
    Own(Plug),
    /// That of another container.
    Shared(OwnedFd),
}

impl Line {
    /// As the sandbox wants it.
    pub fn network(&self) -> sandbox::Network<'_> {
        use std::os::fd::AsFd;
        match self {
            Line::Plain { is_none: false } => sandbox::Network::Host,
            Line::Plain { is_none: true } => sandbox::Network::None,
            Line::Own(plug) => sandbox::Network::Other(plug.namespace()),
            Line::Shared(namespace) => sandbox::Network::Other(namespace.as_fd()),
        }
    }

    /// Its place, if it has one of its own.
    pub fn plug(&self) -> Option<&Plug> {
        match self {
            Line::Own(plug) => Some(plug),
            _ => None,
        }
    }
}

impl Container {
    /// Makes ready what its record asks for.
    pub(super) fn line(&self, session: &Session) -> Result<Line> {
        let record = &self.record;
        let Some(name) = &record.network else {
            return Ok(Line::Plain { is_none: record.flags.no_network });
        };
        if let Some(id) = name.strip_prefix(CONTAINER) {
            return shared(session, id).map(Line::Shared);
        }
        let network = find(session, name)?;
        let servers = match record.dns.is_empty() {
            true => sandbox::name_servers(),
            false => record.dns.iter().filter_map(|server| server.parse().ok()).collect(),
        };
        let plug = network::plug(&Wish {
            network: &network,
            id: &record.id,
            names: names(record),
            address: record.address,
            ports: &record.ports,
            servers,
        })?;
        if let Some(lack) = &plug.lacks {
            log::warn!("{}: {lack}", record.name);
        }
        Ok(Line::Own(plug))
    }

    /// What it sees as resolv.conf and hosts.
    pub(super) fn network_files(&self, line: &Line) -> NetworkFiles {
        let (hosts, dns) = (&self.record.hosts, self.dns());
        match line.plug().filter(|plug| plug.has_links()) {
            Some(plug) => {
                let servers = [network::SERVER.to_string()];
                let dns = Dns { servers: &servers, ..dns };
                let gateway = plug.gateway.to_string();
                NetworkFiles::new(hosts, dns, &plug.address.to_string(), &gateway)
            }
            None => NetworkFiles::of_host(hosts, dns),
        }
    }
}

/// What a container is called by its neighbours.
fn names(record: &Record) -> Vec<String> {
    let short = record.id.get(..12).unwrap_or_default();
    let mut names = vec![record.name.clone()];
    names.extend_from_slice(&record.aliases);
    for more in [short, record.hostname.as_str()] {
        if !names.iter().any(|name| name == more) {
            names.push(more.to_owned());
        }
    }
    names.retain(|name| !name.contains(' '));
    names
}

/// The network of a name or of the beginning of an id.
pub fn find(session: &Session, name: &str) -> Result<Network> {
    if name == BRIDGE {
        return Ok(Network { name: BRIDGE.to_owned(), ..Network::default() });
    }
    let found = match session.store.network(name)? {
        Some(found) => Some(found),
        None if name.len() >= 4 => {
            let all = session.store.networks()?;
            all.into_iter().find(|network| network.id.starts_with(name))
        }
        None => None,
    };
    let found = found.ok_or_else(|| {
        Error::not_found(format!("network {name} not found"))
            .hint(format!("lath network create {name} makes it"))
    })?;
    if found.id.len() != 64 {
        return Err(Error::corrupt(format!("the record of the network {name:?} is damaged"))
            .hint("remove it with lath network rm, and make it again"));
    }
    let (subnet, internal) = (found.subnet, found.internal);
    Ok(Network { name: found.name, id: found.id, subnet, internal })
}

impl Record {
    /// Whether it has a place in a network, and not another container's.
    pub fn has_place(&self) -> bool {
        self.network.as_ref().is_some_and(|name| !name.starts_with(CONTAINER))
    }
}

/// What containers with a network of their own have to do without here.
pub fn lack() -> Option<&'static str> {
    (!network::has_tables()).then_some(
        "this kernel has no nftables (CONFIG_NF_TABLES, CONFIG_NFT_NAT, CONFIG_NFT_MASQ): published ports \
         work, but the container reaches this machine and its neighbours only",
    )
}

/// What is written of networks with a name, by name.
pub fn all(session: &Session) -> Result<Vec<NetworkRecord>> {
    let mut found = session.store.networks()?;
    sort_by(&mut found, &mut |one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// Makes a network, of addresses that nobody has where none are said; its id.
pub fn create(session: &Session, mut network: NetworkRecord) -> Result<String> {
    let others = session.store.networks()?;
    let taken: Vec<_> = others.iter().filter_map(|other| other.subnet).collect();
    match network.subnet {
        None => network.subnet = Some(network::free_network(&taken)?),
        Some(subnet) if taken.iter().any(|other| network::overlap(subnet, *other)) => {
            return Err(Error::new(
                Kind::Conflict,
                "Pool overlaps with other one on this address space",
            )
            .hint("lath network ls shows the others; choose another --subnet"));
        }
        Some(_) => {}
    }
    let made = session.store.make_network(&network)?;
    made.ok_or_else(|| {
        Error::new(Kind::Conflict, format!("network with name {} already exists", network.name))
    })
}

/// The containers in a network: those that run with their addresses, the others without.
pub fn members(session: &Session, network: &Network) -> Result<Vec<(Record, Option<Ipv4Addr>)>> {
    let known = network::members(network);
    let mut found = Vec::new();
    for container in control::all(session)? {
        let record = container.record;
        if record.network.as_ref() == Some(&network.name) {
            let own = known.iter().find(|(id, _)| record.id.starts_with(id.as_str()));
            let own = own.map(|(_, address)| *address);
            found.push((record, own));
        }
    }
    Ok(found)
}

/// Removes a network that no container has.
pub fn remove(session: &Session, name: &str) -> Result<()> {
    if matches!(name, BRIDGE | "host" | "none") {
        let text = format!("{name} is a pre-defined network and cannot be removed");
        return Err(Error::new(Kind::Denied, text));
    }
    let network = match find(session, name) {
        // Of one that is damaged the name is enough.
        Err(error) if error.kind() == Kind::Corrupt => {
            return session.store.forget_network(name).map(drop);
        }
        other => other?,
    };
    if let Some((user, _)) = members(session, &network)?.first() {
        let text = format!(
            "error while removing network: network {} has active endpoints ({})",
            network.name, user.name
        );
        return Err(Error::new(Kind::Conflict, text)
            .hint("remove the containers that use it: lath ps -a shows them"));
    }
    session.store.forget_network(&network.name)?;
    network.take_down()
}

/// The addresses of a network as far as they are known, and the machine's own in it.
pub fn addresses(network: &Network) -> Option<(Ipv4Addr, u8, Ipv4Addr)> {
    let planned =
        || network.subnet.map(|(address, bits)| (network::gateway_of(address, bits), bits));
    let (gateway, bits) = network.gateway().or_else(planned)?;
    Some((first_of(gateway, bits), bits, gateway))
}

/// The network namespace of a container that runs.
fn shared(session: &Session, id: &str) -> Result<OwnedFd> {
    let other = control::find(session, id)?;
    let is_down = || {
        let text = format!("cannot join network of a non running container: {}", other.record.name);
        Error::input(text).hint("start that one first")
    };
    let (is_running, state) = other.state()?;
    let leader = keeper::process_of(state.pid).filter(|_| is_running).ok_or_else(is_down)?;
    let path = format!("/proc/{}/ns/net", leader.as_raw_nonzero());
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .context(|| "open the other container's network")?;
    // It was still that process when the file was opened.
    match crate::sys::process::began(leader) == Some(state.began) {
        true => Ok(file),
        false => Err(is_down()),
    }
}

/// docker's word for the network of a container.
pub fn mode(record: &Record) -> &str {
    match &record.network {
        Some(name) => name,
        None if record.flags.no_network => "none",
        None => "host",
    }
}

/// The address of a container in its network, while it runs.
pub fn address(container: &Container) -> Option<Ipv4Addr> {
    let record = &container.record;
    if record.has_place() { network::address_of(&record.id) } else { None }
}

/// Tells the neighbours of a container that runs its new name.
pub(super) fn tell_name(record: &Record) {
    if record.network.is_some() {
        network::rename(&record.id, names(record));
    }
}
