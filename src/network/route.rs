//! Links, addresses and routes (rtnetlink(7), linux/if_link.h).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd as _, BorrowedFd};

use super::netlink::{Attributes, MAY_BE, Message, NEW, Socket, attributes, u32_at};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
/// struct ifinfomsg, ifaddrmsg, rtmsg.
const LINK_BYTES: usize = 16;
const ADDRESS_BYTES: usize = 8;
const ROUTE_BYTES: usize = 12;

/// A link of this network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// What was said of it.
    pub alias: String,
    /// The bridge that it belongs to; 0 for none.
    pub master: u32,
}

/// All links.
pub fn links(socket: &Socket) -> rustix::io::Result<Vec<Link>> {
    let mut found = Vec::new();
    socket.list(RTM_GETLINK, &link_body(0, false), &mut |body| {
        let text = |value: &[u8]| {
            String::from_utf8_lossy(value.strip_suffix(b"\0").unwrap_or(value)).into_owned()
        };
        let mut link = Link { index: u32_at(body, 4).unwrap_or(0), ..Link::default() };
        for (kind, value) in attributes(body, LINK_BYTES) {
            match kind {
                IFLA_IFNAME => link.name = text(value),
                IFLA_IFALIAS => link.alias = text(value),
                IFLA_MASTER => link.master = u32_at(value, 0).unwrap_or(0),
                _ => {}
            }
        }
        found.push(link);
    })?;
    Ok(found)
}

/// The number of the link of a name.
pub fn index_of(socket: &Socket, name: &str) -> rustix::io::Result<u32> {
    let found = links(socket)?.into_iter().find(|link| link.name == name);
    found.map(|link| link.index).ok_or(rustix::io::Errno::NODEV)
}

/// The networks that this namespace has a way to besides the one to everywhere, as address and bits.
pub fn known_networks(socket: &Socket) -> rustix::io::Result<Vec<(Ipv4Addr, u8)>> {
    let mut found = Vec::new();
    for (request, length, bits) in [(RTM_GETADDR, ADDRESS_BYTES, 1), (RTM_GETROUTE, ROUTE_BYTES, 1)]
    {
        let mut body = vec![0; length];
        if let Some(family) = body.first_mut() {
            *family = FAMILY_4;
        }
        socket.list(request, &body, &mut |body| {
            let bits = body.get(bits).copied().unwrap_or(0);
            // IFA_ADDRESS and RTA_DST have the same number.
            let address = attributes(body, length).find(|(kind, _)| *kind == 1);
            let address = address.and_then(|(_, value)| value.first_chunk::<4>().copied());
            if let Some(address) = address.filter(|_| bits > 0) {
                found.push((Ipv4Addr::from(address), bits));
            }
        })?;
    }
    Ok(found)
}

/// The addresses of a link, IPv4.
pub fn addresses(socket: &Socket, index: u32) -> rustix::io::Result<Vec<(Ipv4Addr, u8)>> {
    let mut found = Vec::new();
    let body = [FAMILY_4, 0, 0, 0, 0, 0, 0, 0];
    socket.list(RTM_GETADDR, &body, &mut |body| {
        let address = attributes(body, ADDRESS_BYTES).find(|(kind, _)| *kind == IFA_LOCAL);
        let address = address.and_then(|(_, value)| value.first_chunk::<4>().copied());
        if let Some(address) = address
            && u32_at(body, 4) == Some(index)
        {
            found.push((Ipv4Addr::from(address), body.get(1).copied().unwrap_or(32)));
        }
    })?;
    Ok(found)
}

/// Makes a bridge with a hardware address of its own, which else were that of whatever joins it; EEXIST
/// when there is a link of that name.
pub fn make_bridge(socket: &Socket, name: &str, mac: [u8; 6]) -> rustix::io::Result<()> {
    let kind = Attributes::new(&[]).text(IFLA_INFO_KIND, "bridge");
    let message = Message::new(RTM_NEWLINK, NEW, &link_body(0, false));
    let message = message.text(IFLA_IFNAME, name).with(IFLA_ADDRESS, &mac);
    socket.ask(message.nest(IFLA_LINKINFO, kind))
}

/// Removes a link.
pub fn remove(socket: &Socket, name: &str) -> rustix::io::Result<()> {
    socket.ask(Message::new(RTM_DELLINK, 0, &link_body(0, false)).text(IFLA_IFNAME, name))
}

/// A pair of links, of which one end is `name` here, part of the bridge `master`, and the other
/// `inside` in the namespace `there`, with the hardware address `mac`.
pub fn make_pair(
    socket: &Socket,
    name: &str,
    master: u32,
    there: BorrowedFd<'_>,
    inside: &str,
    mac: [u8; 6],
) -> rustix::io::Result<()> {
    let peer = Attributes::new(&link_body(0, false))
        .text(IFLA_IFNAME, inside)
        .with(IFLA_ADDRESS, &mac)
        .with(IFLA_NET_NS_FD, &there.as_raw_fd().to_ne_bytes());
    let info = Attributes::new(&[])
        .text(IFLA_INFO_KIND, "veth")
        .nest(IFLA_INFO_DATA, Attributes::new(&[]).nest(VETH_INFO_PEER, peer));
    let message = Message::new(RTM_NEWLINK, NEW, &link_body(0, true))
        .text(IFLA_IFNAME, name)
        .with(IFLA_MASTER, &master.to_ne_bytes());
    socket.ask(message.nest(IFLA_LINKINFO, info))
}

/// Says something of a link, for whoever lists it.
pub fn set_alias(socket: &Socket, name: &str, alias: &str) -> rustix::io::Result<()> {
    let message = Message::new(RTM_NEWLINK, 0, &link_body(0, false));
    socket.ask(message.text(IFLA_IFNAME, name).with(IFLA_IFALIAS, alias.as_bytes()))
}

/// Sets a link up.
pub fn raise(socket: &Socket, index: u32) -> rustix::io::Result<()> {
    socket.ask(Message::new(RTM_NEWLINK, 0, &link_body(index, true)))
}

const FAMILY_4: u8 = 2;
const FAMILY_6: u8 = 10;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// Gives a link an address; one that it has already is no error.
pub fn add_address(
    socket: &Socket,
    index: u32,
    address: IpAddr,
    bits: u8,
) -> rustix::io::Result<()> {
    /// Nobody else has it: it need not be asked for first (IFA_F_NODAD).
    const NO_DOUBT: u8 = 2;
    let (family, bytes) = bytes_of(address);
    let mut body = vec![family, bits, NO_DOUBT, 0];
    body.extend_from_slice(&index.to_ne_bytes());
    let message = Message::new(RTM_NEWADDR, NEW, &body);
    match socket.ask(message.with(IFA_LOCAL, &bytes).with(IFA_ADDRESS, &bytes)) {
        Err(rustix::io::Errno::EXIST) => Ok(()),
        other => other,
    }
}

/// Sends what has no other way through `gateway`.
pub fn add_way_out(socket: &Socket, index: u32, gateway: IpAddr) -> rustix::io::Result<()> {
    const RTA_OIF: u16 = 4;
    const RTA_GATEWAY: u16 = 5;
    /// The main table; by hand, at boot; everywhere; to one receiver (linux/rtnetlink.h).
    const KIND: [u8; 4] = [254, 3, 0, 1];
    let (family, bytes) = bytes_of(gateway);
    let mut body = vec![family, 0, 0, 0];
    body.extend_from_slice(&KIND);
    body.extend_from_slice(&[0; 4]);
    let message = Message::new(RTM_NEWROUTE, MAY_BE, &body);
    socket.ask(message.with(RTA_GATEWAY, &bytes).with(RTA_OIF, &index.to_ne_bytes()))
}

fn bytes_of(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (FAMILY_4, Ipv4Addr::octets(&address).to_vec()),
        IpAddr::V6(address) => (FAMILY_6, Ipv6Addr::octets(&address).to_vec()),
    }
}

/// struct ifinfomsg: one that sets the link up, or leaves it as it is.
fn link_body(index: u32, up: bool) -> Vec<u8> {
    let up = u32::from(up);
    let mut body = vec![0; 4];
    body.extend([index, up, up].into_iter().flat_map(u32::to_ne_bytes));
    body
}
