//! Networks of containers: a bridge, a pair of links for each container, what nftables do for it, and a
//! process that serves its ports and its names. Nothing of it lies in a file: who has which address is
//! in the kernel's own list of links, and goes with the container.

mod bridge;
mod names;
mod netlink;
mod nft;
mod port;
mod route;
mod server;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;

pub use bridge::{first_of, gateway_of, overlap};
pub use names::SERVER;
pub use port::{Port, Protocol};

use crate::error::{Context, Error, Kind, Result};
use crate::image::digest::Digest;
use crate::sys::{identity, network, process};
use bridge::Bridge;
use names::{Names, Neighbour};
use netlink::Socket;
use server::Door;

/// The network that is always there.
pub const BRIDGE: &str = "bridge";
/// The link of a container, inside.
const INSIDE: &str = "eth0";
/// Who serves a container is nobody (the user of that name in most places).
const NOBODY: u32 = 65534;

/// A network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// 64 hex digits; nothing for the one that is always there.
    pub id: String,
    /// Its first address and how many bits of it are the network's; chosen when it begins otherwise.
    pub subnet: Option<(Ipv4Addr, u8)>,
    /// Without a way out.
    pub internal: bool,
}

impl Network {
    /// The name of its link, of 15 bytes at most.
    pub fn bridge(&self) -> String {
        match self.id.get(..8) {
            Some(id) => format!("{}-{id}", nft::OURS),
            None => format!("{}0", nft::OURS),
        }
    }

    /// Removes what the kernel has of it. One that has containers is not asked for here.
    pub fn take_down(&self) -> Result<()> {
        let name = self.bridge();
        match route::remove(&Socket::route()?, &name) {
            Ok(()) | Err(Errno::NODEV) => {}
            Err(other) => return Err(other).context(|| format!("remove the bridge {name}")),
        }
        // Without nftables there are no tables either.
        let _ = Socket::netfilter().map(|tables| nft::remove(&tables, &name));
        Ok(())
    }

    /// The machine's address in it, while the kernel has it.
    pub fn gateway(&self) -> Option<(Ipv4Addr, u8)> {
        let socket = Socket::route().ok()?;
        let index = route::index_of(&socket, &self.bridge()).ok()?;
        route::addresses(&socket, index).ok()?.first().copied()
    }
}

/// Whether this kernel has nftables.
pub fn has_tables() -> bool {
    Socket::netfilter().is_ok_and(|socket| nft::is_there(&socket))
}

/// Whether this kernel has bridges and pairs of links: both are made, in a namespace that goes at once.
#[cfg(feature = "doctor")]
pub fn has_links() -> bool {
    let mut found = false;
    let mut look = || {
        let socket = Socket::route()?;
        let mac = [2, 66, 0, 0, 0, 1];
        route::make_bridge(&socket, "lath0", mac).context(|| "make a bridge")?;
        let index = route::index_of(&socket, "lath0").context(|| "look at a bridge")?;
        let own = network::own()?;
        route::make_pair(&socket, "lv0", index, own.as_fd(), INSIDE, mac)
            .context(|| "make a pair of links")?;
        found = true;
        Ok(())
    };
    network::in_new_namespace(&mut look).is_ok() && found
}

/// A network's addresses that nobody has yet.
pub fn free_network(taken: &[(Ipv4Addr, u8)]) -> Result<(Ipv4Addr, u8)> {
    bridge::free_network(&Socket::route()?, taken)
}

/// What a container wants of its network.
pub struct Wish<'a> {
    /// Which one.
    pub network: &'a Network,
    /// The container's id.
    pub id: &'a str,
    /// Its names in the network, its own first.
    pub names: Vec<String>,
    /// The address that it shall have.
    pub address: Option<Ipv4Addr>,
    /// Ports of this machine that lead to it.
    pub ports: &'a [Port],
    /// Whom its name server asks for what it does not know.
    pub servers: Vec<IpAddr>,
}

/// A container's place in a network. It is given up when this is dropped.
pub struct Plug {
    namespace: OwnedFd,
    /// Its address.
    pub address: Ipv4Addr,
    /// The machine's address as it sees it.
    pub gateway: Ipv4Addr,
    /// What could not be had: said once, when the container begins.
    pub lacks: Option<Error>,
    /// Its ports, those that were chosen here too.
    pub ports: Vec<Port>,
    /// The table of its ports hangs on this.
    _tables: Option<Socket>,
    table: Option<String>,
    link: Option<String>,
    helper: Option<Pid>,
}

impl Plug {
    /// Its network namespace.
    pub fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// Whether it has more than a loopback.
    pub fn has_links(&self) -> bool {
        self.link.is_some()
    }
}

impl Drop for Plug {
    fn drop(&mut self) {
        if let Some(helper) = self.helper {
            process::kill(helper, libc::SIGKILL);
            // Whoever else has waited for it has seen its end.
            let _ = process::wait(helper);
        }
        // The namespace's end would take both away, some time later; its address may be wanted again now.
        if let (Some(link), Ok(socket)) = (&self.link, Socket::route()) {
            let _ = route::remove(&socket, link);
        }
        if let (Some(table), Ok(socket)) = (&self.table, Socket::netfilter()) {
            let _ = nft::remove(&socket, table);
        }
    }
}

/// The sockets of the name server, in the container's namespace.
struct NameSockets {
    questions: UdpSocket,
    streams: TcpListener,
}

impl NameSockets {
    /// At a port that nobody else will want, where the kernel can send there what goes to port 53; else
    /// at that port itself.
    fn open(tables: Option<&Socket>) -> Result<NameSockets> {
        let open = |port: u16| -> std::io::Result<NameSockets> {
            let questions = UdpSocket::bind((SERVER, port))?;
            let streams = TcpListener::bind((SERVER, port))?;
            questions.set_nonblocking(true)?;
            streams.set_nonblocking(true)?;
            Ok(NameSockets { questions, streams })
        };
        let hidden = open(0).context(|| "listen for names")?;
        let ports = hidden.questions.local_addr().and_then(|questions| {
            let streams = hidden.streams.local_addr()?;
            Ok([(Protocol::Udp, questions.port()), (Protocol::Tcp, streams.port())])
        });
        match (tables, ports) {
            (Some(tables), Ok(ports)) if nft::set_name_server(tables, ports).is_ok() => Ok(hidden),
            _ => open(53).context(|| "listen for names"),
        }
    }
}

/// Gives a container its place in a network: a namespace with its links, addresses, ports and names. The
/// caller has no other threads.
pub fn plug(wish: &Wish<'_>) -> Result<Plug> {
    let mut ports = wish.ports.to_vec();
    // First, since only this can be somebody else's.
    let mut held = Vec::new();
    for port in &mut ports {
        held.push(port.hold()?);
    }
    let socket = Socket::route()?;
    let tables = Socket::netfilter().ok().filter(nft::is_there);
    let mut inner = None;
    let mut make = || {
        network::raise_loopback()?;
        let tables = Socket::netfilter().ok().filter(|_| tables.is_some());
        inner = Some((Socket::route()?, NameSockets::open(tables.as_ref())?));
        Ok(())
    };
    let namespace = network::in_new_namespace(&mut make)?;
    let (inner, names) = inner.ok_or_else(|| Error::unsupported("no network namespace"))?;
    let mut plug = Plug {
        namespace,
        address: Ipv4Addr::LOCALHOST,
        gateway: Ipv4Addr::LOCALHOST,
        lacks: None,
        ports,
        _tables: None,
        table: None,
        link: None,
        helper: None,
    };
    let found = bridge::ready(wish.network, &socket, tables.as_ref())
        .and_then(|bridge| plug.connect(wish, &socket, &inner, &bridge).map(|()| bridge));
    let doors = match found {
        Ok(bridge) => {
            if let Err(error) = let_pass(tables.as_ref()) {
                plug.lacks = Some(error);
            }
            if let Some(tables) = tables.filter(|_| !plug.ports.is_empty()) {
                let table = format!("{}-{}", nft::OURS, wish.id.get(..12).unwrap_or_default());
                // Without, what comes from outside goes through the helper as well.
                if nft::set_ports(&tables, &table, &plug.ports, plug.address).is_ok() {
                    (plug.table, plug._tables) = (Some(table), Some(tables));
                }
            }
            let names_door = Names {
                socket,
                bridge: bridge.index,
                name: wish.network.bridge(),
                network: wish.network.name.clone(),
                has_6: bridge.has_6,
            };
            let mut doors = plug.doors(held, plug.address)?;
            if let Some(server) = wish.servers.first() {
                doors.push(Door::Streams(names.streams, SocketAddr::new(*server, 53)));
            }
            let servers = wish.servers.clone();
            doors.push(Door::Questions(names.questions, Box::new(names_door), servers));
            (doors, None)
        }
        // No bridge, no pairs of links: ports alone, by way of the helper, which then is in there.
        Err(error) if error.kind() == Kind::Unsupported => {
            let text = format!("{}: the container has no way out", error.text());
            let hint = error.hints().first().cloned().unwrap_or_default();
            plug.lacks = Some(Error::unsupported(text).hint(hint));
            (plug.doors(held, Ipv4Addr::LOCALHOST)?, Some(plug.namespace.as_fd()))
        }
        Err(error) => return Err(error),
    };
    let (doors, inside) = doors;
    let helper = process::helper(&mut || {
        let mut kept: Vec<RawFd> = inside.iter().map(|fd| fd.as_raw_fd()).collect();
        for door in &doors {
            match door {
                Door::Streams(socket, _) => kept.push(socket.as_raw_fd()),
                Door::Packets(socket, _) => kept.push(socket.as_raw_fd()),
                Door::Questions(socket, names, _) => {
                    kept.extend([socket.as_raw_fd(), names.socket.fd().as_raw_fd()]);
                }
            }
        }
        process::close_all_but(&kept);
        if let Some(inside) = inside {
            network::enter(inside)?;
        }
        identity::become_user(NOBODY, NOBODY, &[], rustix::thread::CapabilitySet::empty())?;
        Err(server::serve(&doors)).context(|| "serve the network")
    })?;
    plug.helper = Some(helper);
    Ok(plug)
}

impl Plug {
    /// Makes the container's links, and gives them their addresses.
    fn connect(
        &mut self,
        wish: &Wish<'_>,
        socket: &Socket,
        inner: &Socket,
        bridge: &Bridge,
    ) -> Result<()> {
        let says = || format!("connect to the network {:?}", wish.network.name);
        let link = self.take_address(wish, socket, bridge)?;
        let neighbour = Neighbour {
            id: wish.id.get(..12).unwrap_or_default().to_owned(),
            address: Some(self.address),
            names: wish.names.clone(),
        };
        let index = route::index_of(inner, INSIDE).context(says)?;
        let name = wish.network.bridge();
        route::add_address(inner, index, IpAddr::V4(self.address), bridge.bits).context(says)?;
        if bridge.has_6 {
            let address = IpAddr::V6(bridge::address_6(&name, self.address));
            route::add_address(inner, index, address, 64).context(says)?;
        }
        route::raise(inner, index).context(says)?;
        if !wish.network.internal {
            route::add_way_out(inner, index, IpAddr::V4(bridge.gateway)).context(says)?;
        }
        if !wish.network.internal && bridge.has_6 {
            let gateway = IpAddr::V6(bridge::address_6(&name, bridge.gateway));
            route::add_way_out(inner, index, gateway).context(says)?;
        }
        // Last: who is found by its name can be reached.
        route::set_alias(socket, &link, &neighbour.to_alias()).context(says)
    }

    /// Makes the pair of links. Its name here is made of the address, so that no two have the same one,
    /// however many are made at once. The name.
    fn take_address(
        &mut self,
        wish: &Wish<'_>,
        socket: &Socket,
        bridge: &Bridge,
    ) -> Result<String> {
        let first = first_of(bridge.gateway, bridge.bits).to_bits();
        // Neither the network's own address nor the last one, which is everybody's.
        let count = (!bridge::mask(bridge.bits)).saturating_sub(1).max(1);
        let digest = Digest::of(wish.id.as_bytes());
        let begin = digest.bytes().first_chunk().map_or(0, |four| u32::from_be_bytes(*four));
        let tries = if wish.address.is_some() { 1 } else { count.min(4096) };
        for step in 0..tries {
            let chosen = first + 1 + begin.wrapping_add(step) % count;
            let address = wish.address.unwrap_or(Ipv4Addr::from_bits(chosen));
            if address == bridge.gateway {
                continue;
            }
            let link = format!("lv{:08x}", address.to_bits());
            let [a, b, c, d] = address.octets();
            let mac = [2, 66, a, b, c, d];
            let there = self.namespace.as_fd();
            match route::make_pair(socket, &link, bridge.index, there, INSIDE, mac) {
                Ok(()) => {
                    (self.address, self.gateway) = (address, bridge.gateway);
                    self.link = Some(link.clone());
                    return Ok(link);
                }
                Err(Errno::EXIST) => {}
                Err(Errno::OPNOTSUPP) => {
                    return Err(Error::unsupported("this kernel has no pairs of links")
                        .hint("CONFIG_VETH, or its module, is missing"));
                }
                Err(other) => return Err(other).context(|| "make a pair of links"),
            }
        }
        let text = match wish.address {
            Some(address) => format!("the address {address} is in use already"),
            None => format!("the network {:?} has no free address left", wish.network.name),
        };
        Err(Error::new(Kind::Conflict, text).hint("lath network inspect shows who has which"))
    }

    fn doors(&self, held: Vec<OwnedFd>, address: Ipv4Addr) -> Result<Vec<Door>> {
        let each = self.ports.iter().zip(held).map(|(port, held)| {
            let target = SocketAddr::new(IpAddr::V4(address), port.inside);
            match port.protocol {
                Protocol::Tcp => Door::Streams(TcpListener::from(held), target),
                Protocol::Udp => Door::Packets(UdpSocket::from(held), target),
            }
        });
        Ok(each.collect())
    }
}

/// Lets this machine pass packets on (ip_forward). One that did not do so before does it for containers
/// only.
fn let_pass(tables: Option<&Socket>) -> Result<()> {
    const SWITCH: &str = "ipv4/ip_forward";
    if std::fs::read(format!("{SWITCHES}/{SWITCH}")).is_ok_and(|text| text.starts_with(b"1")) {
        return Ok(());
    }
    if let Some(tables) = tables {
        nft::set_guard(tables).context(|| "make the nftables of lath")?;
    }
    turn(SWITCH, b"1").map_err(|error| error.during("let packets of containers pass"))
}

/// The kernel's settings of networks.
const SWITCHES: &str = "/proc/sys/net";

/// Changes one of them.
fn turn(switch: &str, value: &[u8]) -> Result<()> {
    let path = format!("{SWITCHES}/{switch}");
    let says = || format!("write {path}");
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(path.as_str(), flags, Mode::empty()).context(says)?;
    if crate::sys::fs::is_proc(file.as_fd()) {
        rustix::io::write(&file, value).context(says)?;
    }
    Ok(())
}

/// The address of a container that runs, by the beginning of its id, with that of IPv6.
pub fn address_of(id: &str) -> Option<Ipv4Addr> {
    neighbours(None).into_iter().find(|one| id.starts_with(&one.id)).and_then(|one| one.address)
}

/// The address of IPv6 that goes with one of IPv4, in a network that has them.
pub fn address_6(network: &Network, address: Ipv4Addr) -> Ipv6Addr {
    bridge::address_6(&network.bridge(), address)
}

/// Changes the names of a container that runs.
pub fn rename(id: &str, names: Vec<String>) {
    let Ok(socket) = Socket::route() else { return };
    for link in route::links(&socket).unwrap_or_default() {
        let known = Neighbour::parse(&link.alias).filter(|one| id.starts_with(&one.id));
        if let Some(known) = known {
            let alias = Neighbour { names: names.clone(), ..known }.to_alias();
            // Its old name is still there then.
            let _ = route::set_alias(&socket, &link.name, &alias);
        }
    }
}

/// Who is in a network: id, and address.
pub fn members(network: &Network) -> Vec<(String, Ipv4Addr)> {
    let all = neighbours(Some(network)).into_iter();
    all.filter_map(|one| Some((one.id, one.address?))).collect()
}

fn neighbours(network: Option<&Network>) -> Vec<Neighbour> {
    let Ok(socket) = Socket::route() else { return Vec::new() };
    let links = route::links(&socket).unwrap_or_default();
    let bridge = network.map(Network::bridge);
    let master = links.iter().find(|link| Some(&link.name) == bridge.as_ref());
    let master = master.map(|link| link.index);
    let of_it = links.iter().filter(|link| network.is_none() || Some(link.master) == master);
    of_it.filter_map(|link| Neighbour::parse(&link.alias)).collect()
}
