//! The bridge of a network: a link of the machine's to which the links of containers belong.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::io::Errno;

use super::netlink::Socket;
use super::{Network, nft, route};
use crate::error::{Context, Error, Kind, Result};
use crate::image::digest::Digest;

/// Where networks are looked for that nobody else has: the first two numbers of each address.
const PLACES: [[u8; 2]; 3] = [[172, 29], [10, 209], [192, 168]];
const BITS: u8 = 24;

/// A bridge that is there.
pub struct Bridge {
    /// The number of its link.
    pub index: u32,
    /// The machine's address on it.
    pub gateway: Ipv4Addr,
    /// How many bits of it are the network's.
    pub bits: u8,
    /// It has an address of IPv6 too.
    pub has_6: bool,
}

/// A network that this machine has no way to and that is not in `taken`.
pub fn free_network(socket: &Socket, taken: &[(Ipv4Addr, u8)]) -> Result<(Ipv4Addr, u8)> {
    let mut known = route::known_networks(socket).context(|| "list the routes")?;
    known.extend_from_slice(taken);
    let all = PLACES.into_iter().flat_map(|[first, second]| {
        (0..=255).map(move |third| Ipv4Addr::new(first, second, third, 0))
    });
    let mut free = all.filter(|one| !known.iter().any(|other| overlap((*one, BITS), *other)));
    let found = free.next().map(|network| (network, BITS));
    found.ok_or_else(|| {
        Error::new(Kind::System, "there is no free address for a network")
            .hint("name one that is free: lath network create --subnet 10.7.0.0/24 NAME")
    })
}

/// Whether two networks have an address in common.
pub fn overlap((one, one_bits): (Ipv4Addr, u8), (other, other_bits): (Ipv4Addr, u8)) -> bool {
    let mask = mask(one_bits.min(other_bits));
    one.to_bits() & mask == other.to_bits() & mask
}

/// The bits of an address that are the network's.
pub fn mask(bits: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0)
}

/// The first address of a network, which is nobody's, by any address of it.
pub fn first_of(address: Ipv4Addr, bits: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(address.to_bits() & mask(bits))
}

/// The address that the machine itself has in a network: the second one.
pub fn gateway_of(address: Ipv4Addr, bits: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(first_of(address, bits).to_bits() + 1)
}

/// Makes the bridge of a network where it is not there yet, and its tables. What the kernel lacks for
/// it is `Kind::Unsupported`.
pub fn ready(network: &Network, socket: &Socket, tables: Option<&Socket>) -> Result<Bridge> {
    let name = network.bridge();
    let says = || format!("make the bridge {name}");
    let [_, a, b, c, d, ..] = prefix_6(&name);
    match route::make_bridge(socket, &name, [2, 66, a, b, c, d]) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(Errno::OPNOTSUPP) => {
            return Err(Error::unsupported("this kernel has no bridges")
                .hint("CONFIG_BRIDGE, or its module, is missing"));
        }
        Err(other) => return Err(other).context(says),
    }
    // A container that says it is a router must not lead this machine's packets (CVE-2020-13401). Without
    // IPv6 nobody can.
    match super::turn(&format!("ipv6/conf/{name}/accept_ra"), b"0") {
        Err(error) if error.kind() != Kind::NotFound => return Err(error),
        _ => {}
    }
    let index = route::index_of(socket, &name).context(says)?;
    let there = route::addresses(socket, index).context(says)?;
    let (gateway, bits) = match there.first() {
        Some(found) => *found,
        None => {
            let (address, bits) = match network.subnet {
                Some(subnet) => subnet,
                None => free_network(socket, &[])?,
            };
            let gateway = gateway_of(address, bits);
            route::add_address(socket, index, IpAddr::V4(gateway), bits).context(says)?;
            (gateway, bits)
        }
    };
    let subnet = first_of(gateway, bits);
    let gateway_6 = IpAddr::V6(address_6(&name, gateway));
    // A kernel without IPv6, or with it switched off, does without.
    let has_6 = route::add_address(socket, index, gateway_6, 64).is_ok();
    route::raise(socket, index).context(says)?;
    // Whoever takes all tables away gets these back with the next container.
    if let Some(tables) = tables
        && !nft::has(tables, &name).unwrap_or(false)
    {
        nft::set_network(tables, &name, (subnet, bits), network.internal, has_6)
            .context(|| format!("make the nftables of {name}"))?;
    }
    Ok(Bridge { index, gateway, bits, has_6 })
}

/// The first 64 bits of a network's addresses of IPv6: private ones (RFC 4193), made of its name.
pub fn prefix_6(bridge: &str) -> [u8; 8] {
    let digest = Digest::of(bridge.as_bytes());
    let mut out = [0xfd, 0, 0, 0, 0, 0, 0, 0];
    for (to, from) in out.iter_mut().skip(1).take(5).zip(digest.bytes()) {
        *to = *from;
    }
    out
}

/// The address of IPv6 that goes with one of IPv4.
pub fn address_6(bridge: &str, address: Ipv4Addr) -> Ipv6Addr {
    let prefix = u128::from(u64::from_be_bytes(prefix_6(bridge))) << 64;
    Ipv6Addr::from_bits(prefix | u128::from(address.to_bits()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_overlap_by_their_common_bits() {
        let net = |text: &str, bits: u8| (text.parse::<Ipv4Addr>().unwrap(), bits);
        assert!(overlap(net("10.0.0.0", 8), net("10.209.3.0", 24)));
        assert!(overlap(net("10.209.3.0", 24), net("10.209.3.9", 32)));
        assert!(!overlap(net("10.209.3.0", 24), net("10.209.4.0", 24)));
        assert!(overlap(net("1.2.3.4", 0), net("9.9.9.9", 32)));
    }

    #[test]
    fn addresses_of_both_kinds_go_together() {
        let address = address_6("lath0", Ipv4Addr::new(172, 29, 0, 5));
        assert_eq!(address.octets()[0], 0xfd);
        assert_eq!(address.octets()[12..], [172, 29, 0, 5]);
        assert_ne!(prefix_6("lath0"), prefix_6("lath1"));
    }
}
