//! Tables of nftables (linux/netfilter/nf_tables.h): what a network needs, what a published port needs.
//! Tables are made whole, in one transaction, so that none is ever half there.

use std::net::Ipv4Addr;

use rustix::io::Errno;

use super::netlink::{Attributes, LAST, MAY_BE, Message, Socket, attributes};
use super::port::{Port, Protocol};

/// The names of all bridges of lath begin so.
pub const OURS: &str = "lath";

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const NEW_TABLE: u16 = 0;
const GET_TABLE: u16 = 1;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
/// struct nfgenmsg.
const HEADER: usize = 4;
/// IPv4 and IPv6 together (NFPROTO_INET).
const INET: u8 = 1;
const IPV4: u8 = 2;
const IPV6: u8 = 10;
/// The table goes when the socket that has made it does (NFT_TABLE_F_OWNER, kernel 5.12).
const OWNED: u32 = 2;

/// The places in the kernel where chains hang, with their order (netfilter hooks, priorities).
#[derive(Clone, Copy)]
enum Hook {
    /// Before it is decided where a packet goes: where its target is changed.
    Arriving,
    /// Packets that this machine passes on.
    Forward,
    /// The last place: where the sender is changed.
    Leaving,
    /// Packets that this machine itself sends.
    Own,
}

/// The register in which a value is looked at, and a second one.
const LOOK: u32 = 1;
const SECOND: u32 = 2;

/// A table in the making.
pub struct Table {
    name: String,
    messages: Vec<Message>,
}

impl Table {
    fn new(name: &str, flags: u32) -> Table {
        let add =
            |flags: u32| message(NEW_TABLE, MAY_BE).text(1, name).with(2, &flags.to_be_bytes());
        // Whatever was there of that name is replaced; to be removed it must be there.
        let delete = message(DELETE_TABLE, 0).text(1, name);
        Table { name: name.to_owned(), messages: vec![add(0), delete, add(flags)] }
    }

    fn chain(&mut self, chain: &str, hook: Hook, drops: bool) {
        let (kind, number, priority) = match hook {
            Hook::Arriving => ("nat", 0u32, -100i32),
            Hook::Forward => ("filter", 2, 0),
            Hook::Own => ("nat", 3, -100),
            Hook::Leaving => ("nat", 4, 100),
        };
        let place =
            Attributes::new(&[]).with(1, &number.to_be_bytes()).with(2, &priority.to_be_bytes());
        self.messages.push(
            message(NEW_CHAIN, MAY_BE)
                .text(1, &self.name)
                .text(3, chain)
                .nest(4, place)
                .with(5, &u32::from(!drops).to_be_bytes())
                .text(7, kind),
        );
    }

    fn rule(&mut self, chain: &str, rule: Rule) {
        self.messages.push(
            message(NEW_RULE, MAY_BE | LAST).text(1, &self.name).text(2, chain).nest(4, rule.0),
        );
    }

    /// Puts it in place.
    fn set(self, socket: &Socket) -> rustix::io::Result<()> {
        let mut all = vec![batch(BATCH_BEGIN)];
        all.extend(self.messages);
        all.push(batch(BATCH_END));
        socket.ask_all(all)
    }
}

/// Removes a table; one that is not there is no error.
pub fn remove(socket: &Socket, name: &str) -> rustix::io::Result<()> {
    let delete = message(DELETE_TABLE, 0).text(1, name);
    match socket.ask_all(vec![batch(BATCH_BEGIN), delete, batch(BATCH_END)]) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// What a network needs: its containers reach the world under the address of this machine, and the
/// world reaches only what is published; one network does not reach another. `bridge` is the name of
/// its link, of 15 bytes at most; an internal one has no way out.
pub fn set_network(
    socket: &Socket,
    bridge: &str,
    (network, bits): (Ipv4Addr, u8),
    is_internal: bool,
    has_6: bool,
) -> rustix::io::Result<()> {
    let name = link_name(bridge);
    let mut table = Table::new(bridge, 0);
    if !is_internal {
        table.chain("leaving", Hook::Leaving, false);
        let mask = super::bridge::mask(bits).to_be_bytes();
        let rule = Rule::new().family(IPV4).network(12, 4).masked(&mask).equals(&network.octets());
        table.rule("leaving", rule.link_out().differs(&name).masquerade());
    }
    if !is_internal && has_6 {
        // Its addresses are private ones too.
        let rule = Rule::new().family(IPV6).network(8, 8).equals(&super::bridge::prefix_6(bridge));
        table.rule("leaving", rule.link_out().differs(&name).masquerade());
    }
    table.chain("forward", Hook::Forward, false);
    let inwards = || Rule::new().link_out().equals(&name);
    table.rule("forward", inwards().link_in().equals(&name).accept());
    if is_internal {
        table.rule("forward", Rule::new().link_in().equals(&name).drop());
    } else {
        /// The connection is known, or belongs to one that is (nf_conntrack_common.h, bits of states).
        const ANSWERS: u32 = 2 | 4;
        /// Its target was changed here (IPS_DST_NAT).
        const PUBLISHED: u32 = 1 << 5;
        for (key, bits) in [(0, ANSWERS), (2, PUBLISHED)] {
            table.rule("forward", inwards().connection(key).has(bits).accept());
        }
    }
    table.rule("forward", inwards().drop());
    table.set(socket)
}

/// Keeps a machine that passed nothing on from doing so for others than containers.
pub fn set_guard(socket: &Socket) -> rustix::io::Result<()> {
    let mut table = Table::new(OURS, 0);
    table.chain("forward", Hook::Forward, true);
    for rule in [Rule::new().link_in(), Rule::new().link_out()] {
        table.rule("forward", rule.equals(OURS.as_bytes()).accept());
    }
    table.set(socket)
}

/// Sends what arrives at ports of this machine to the ones of a container. It holds for as long as the
/// socket lives; with a kernel before 5.12 until it is removed.
pub fn set_ports(
    socket: &Socket,
    name: &str,
    ports: &[Port],
    address: Ipv4Addr,
) -> rustix::io::Result<()> {
    let make = |flags: u32| {
        let mut table = Table::new(name, flags);
        table.chain("arriving", Hook::Arriving, false);
        for port in ports {
            let host = match port.address {
                None => None,
                Some(std::net::IpAddr::V4(host)) if !host.is_loopback() => Some(host),
                // Nothing of the kind arrives from outside.
                Some(_) => continue,
            };
            // What containers send goes by the port that lath itself holds open.
            let rule =
                Rule::new().family(IPV4).link_in().differs(OURS.as_bytes()).for_this_machine();
            let mut rule =
                rule.protocol(port.protocol).target_port().equals(&port.host.to_be_bytes());
            if let Some(host) = host.filter(|host| !host.is_unspecified()) {
                rule = rule.network(16, 4).equals(&host.octets());
            }
            table.rule("arriving", rule.send_to(address, port.inside));
        }
        table
    };
    match make(OWNED).set(socket) {
        Err(Errno::INVAL | Errno::OPNOTSUPP) => make(0).set(socket),
        other => other,
    }
}

/// In a container's own namespace: what asks the name server of docker's, 127.0.0.11, asks these ports.
pub fn set_name_server(socket: &Socket, ports: [(Protocol, u16); 2]) -> rustix::io::Result<()> {
    let mut table = Table::new(OURS, 0);
    table.chain("own", Hook::Own, false);
    for (protocol, port) in ports {
        let rule = Rule::new().family(IPV4).network(16, 4).equals(&super::names::SERVER.octets());
        let rule = rule.protocol(protocol).target_port().equals(&53u16.to_be_bytes());
        table.rule("own", rule.send_to(super::names::SERVER, port));
    }
    table.set(socket)
}

/// Whether this kernel has tables at all.
pub fn is_there(socket: &Socket) -> bool {
    has(socket, "").is_ok()
}

/// Whether there is a table of this name. Only asks: each change costs milliseconds.
pub fn has(socket: &Socket, name: &str) -> rustix::io::Result<bool> {
    let mut found = false;
    socket.list(SUBSYSTEM << 8 | GET_TABLE, &[INET, 0, 0, 0], &mut |body| {
        let mut names = attributes(body, HEADER).filter(|(kind, _)| *kind == 1);
        found |= names.any(|(_, value)| value.strip_suffix(b"\0") == Some(name.as_bytes()));
    })?;
    Ok(found)
}

fn message(kind: u16, flags: u16) -> Message {
    Message::new(SUBSYSTEM << 8 | kind, flags, &[INET, 0, 0, 0])
}

/// The begin or the end of a transaction.
fn batch(kind: u16) -> Message {
    let [high, low] = SUBSYSTEM.to_be_bytes();
    Message::new(kind, 0, &[0, 0, high, low])
}

/// A link's name as the kernel compares it: 16 bytes, filled up with NUL.
fn link_name(name: &str) -> [u8; 16] {
    let mut out = [0; 16];
    for (to, from) in out.iter_mut().take(15).zip(name.bytes()) {
        *to = from;
    }
    out
}

/// Expressions, one after the other; the first that does not hold ends the rule.
struct Rule(Attributes);

impl Rule {
    fn new() -> Rule {
        Rule(Attributes::new(&[]))
    }

    fn expression(self, name: &str, data: Attributes) -> Rule {
        Rule(self.0.nest(1, Attributes::new(&[]).text(1, name).nest(2, data)))
    }

    /// Loads by an expression that has a number for what, into the first register.
    fn load(self, name: &str, what: u32) -> Rule {
        self.expression(name, numbers(&[(1, LOOK), (2, what)]))
    }

    fn link_in(self) -> Rule {
        self.load("meta", 6)
    }

    fn link_out(self) -> Rule {
        self.load("meta", 7)
    }

    fn family(self, family: u8) -> Rule {
        self.load("meta", 15).equals(&[family])
    }

    fn protocol(self, protocol: Protocol) -> Rule {
        self.load("meta", 16).equals(&[protocol.number()])
    }

    /// A fact of the connection that the packet belongs to.
    fn connection(self, key: u32) -> Rule {
        self.load("ct", key)
    }

    /// Bytes of the packet's network header.
    fn network(self, offset: u32, length: u32) -> Rule {
        self.expression("payload", numbers(&[(1, LOOK), (2, 1), (3, offset), (4, length)]))
    }

    fn target_port(self) -> Rule {
        self.expression("payload", numbers(&[(1, LOOK), (2, 2), (3, 2), (4, 2)]))
    }

    /// The target is an address of this machine.
    fn for_this_machine(self) -> Rule {
        /// The kind of an address (NFT_FIB_RESULT_ADDRTYPE), of the target's (NFTA_FIB_F_DADDR).
        const KIND: u32 = 3;
        const TARGET: u32 = 2;
        const LOCAL: u32 = 2;
        self.expression("fib", numbers(&[(1, LOOK), (2, KIND), (3, TARGET)]))
            .equals(&LOCAL.to_ne_bytes())
    }

    fn equals(self, value: &[u8]) -> Rule {
        self.compare(0, value)
    }

    fn differs(self, value: &[u8]) -> Rule {
        self.compare(1, value)
    }

    fn compare(self, how: u32, value: &[u8]) -> Rule {
        let value = Attributes::new(&[]).with(1, value);
        self.expression("cmp", numbers(&[(1, LOOK), (2, how)]).nest(3, value))
    }

    fn masked(self, mask: &[u8]) -> Rule {
        let length = u32::try_from(mask.len()).unwrap_or(0);
        let value = |bytes: &[u8]| Attributes::new(&[]).with(1, bytes);
        let zero = vec![0; mask.len()];
        let data = numbers(&[(1, LOOK), (2, LOOK), (3, length)]);
        self.expression("bitwise", data.nest(4, value(mask)).nest(5, value(&zero)))
    }

    /// At least one of these bits is set.
    fn has(self, bits: u32) -> Rule {
        self.masked(&bits.to_ne_bytes()).differs(&[0; 4])
    }

    fn put(self, register: u32, value: &[u8]) -> Rule {
        let value = Attributes::new(&[]).with(1, value);
        self.expression("immediate", numbers(&[(1, register)]).nest(2, value))
    }

    fn send_to(self, address: Ipv4Addr, port: u16) -> Rule {
        /// Changes the target (NFT_NAT_DNAT).
        const TARGET: u32 = 1;
        let rule = self.put(LOOK, &address.octets()).put(SECOND, &port.to_be_bytes());
        rule.expression("nat", numbers(&[(1, TARGET), (2, IPV4.into()), (3, LOOK), (5, SECOND)]))
    }

    fn masquerade(self) -> Rule {
        self.expression("masq", Attributes::new(&[]))
    }

    fn accept(self) -> Rule {
        self.verdict(1)
    }

    fn drop(self) -> Rule {
        self.verdict(0)
    }

    fn verdict(self, code: u32) -> Rule {
        let verdict = Attributes::new(&[]).nest(2, numbers(&[(1, code)]));
        self.expression("immediate", numbers(&[(1, 0)]).nest(2, verdict))
    }
}

fn numbers(list: &[(u16, u32)]) -> Attributes {
    list.iter()
        .fold(Attributes::new(&[]), |out, (kind, number)| out.with(*kind, &number.to_be_bytes()))
}
