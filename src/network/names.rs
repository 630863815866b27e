//! The name server of a container, at docker's address: the names of its neighbours it knows from the
//! kernel's list of links, all else it asks the machine's own servers (RFC 1035).

use std::net::{IpAddr, Ipv4Addr};

use super::bridge;
use super::netlink::Socket;
use super::route;

/// Where containers ask, as with docker.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

const A: u16 = 1;
const AAAA: u16 = 28;
const ANY: u16 = 255;
const INTERNET: u16 = 1;
const HEADER: usize = 12;
/// Seconds that an answer may be kept: a container may be another's successor soon.
const KEPT: u32 = 10;
const NO_SUCH_NAME: u8 = 3;
const SERVER_FAILURE: u8 = 2;

/// What is said of a container in the kernel's list of links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Neighbour {
    /// The beginning of its id.
    pub id: String,
    /// Its address.
    pub address: Option<Ipv4Addr>,
    /// Its names: its own first.
    pub names: Vec<String>,
}

impl Neighbour {
    /// As the kernel keeps it, in 255 bytes at most; names that have no room are left out.
    pub fn to_alias(&self) -> String {
        let address = self.address.map(|address| address.to_string()).unwrap_or_default();
        let mut text = format!("{} {} {address}", super::nft::OURS, self.id);
        for name in &self.names {
            if text.len() + 1 + name.len() <= 255 {
                text.push(' ');
                text.push_str(name);
            }
        }
        text
    }

    /// Reads it.
    pub fn parse(alias: &str) -> Option<Neighbour> {
        let mut words = alias.split(' ');
        words.next().filter(|word| *word == super::nft::OURS)?;
        Some(Neighbour {
            id: words.next()?.to_owned(),
            address: words.next()?.parse().ok(),
            names: words.map(str::to_owned).collect(),
        })
    }
}

/// A question that was asked.
struct Question<'a> {
    /// The name, in small letters, with dots.
    name: String,
    kind: u16,
    /// The packet up to the end of the question.
    asked: &'a [u8],
}

impl Question<'_> {
    /// Reads it; nothing for a packet that is not one plain question.
    fn parse(packet: &[u8]) -> Option<Question<'_>> {
        let number = |at: usize| {
            packet.get(at..).and_then(|rest| rest.first_chunk()).map(|two| u16::from_be_bytes(*two))
        };
        // A query, of the standard kind, with one question.
        if packet.get(2)? & 0xf8 != 0 || number(4)? != 1 {
            return None;
        }
        let (mut at, mut name) = (HEADER, String::new());
        loop {
            let length = usize::from(*packet.get(at)?);
            at += 1;
            match length {
                0 => break,
                1..=63 => {
                    let label = packet.get(at..at + length)?;
                    if !name.is_empty() {
                        name.push('.');
                    }
                    name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
                    at += length;
                }
                _ => return None,
            }
        }
        let (kind, class) = (number(at)?, number(at + 2)?);
        let asked = packet.get(..at + 4)?;
        (class == INTERNET).then_some(Question { name, kind, asked })
    }

    /// The answer with these addresses, or with none and why.
    fn answer(&self, addresses: &[IpAddr], code: u8) -> Vec<u8> {
        let mut out = self.asked.to_vec();
        let flags = out.get(2).copied().unwrap_or(0) & 1;
        let count = u16::try_from(addresses.len()).unwrap_or(0).to_be_bytes();
        // An answer, by who knows; recursion was asked for or not, and is to be had.
        let head = [0x84 | flags, 0x80 | code, 0, 1, count[0], count[1], 0, 0, 0, 0];
        for (to, from) in out.iter_mut().skip(2).zip(head) {
            *to = from;
        }
        for address in addresses {
            // The name is the one of the question.
            out.extend_from_slice(&[0xc0, HEADER as u8]);
            let (kind, bytes) = match address {
                IpAddr::V4(address) => (A, address.octets().to_vec()),
                IpAddr::V6(address) => (AAAA, address.octets().to_vec()),
            };
            out.extend_from_slice(&kind.to_be_bytes());
            out.extend_from_slice(&INTERNET.to_be_bytes());
            out.extend_from_slice(&KEPT.to_be_bytes());
            out.extend_from_slice(&u16::try_from(bytes.len()).unwrap_or(0).to_be_bytes());
            out.extend_from_slice(&bytes);
        }
        out
    }
}

/// What a packet gets as an answer.
pub enum Reply {
    /// This.
    Now(Vec<u8>),
    /// Whatever the machine's own servers say.
    Ask,
    /// Nothing: it asks for nothing.
    None,
}

/// Who knows the names of a network.
pub struct Names {
    /// To the kernel, in the machine's own network namespace.
    pub socket: Socket,
    /// The bridge's link.
    pub bridge: u32,
    /// Its name.
    pub name: String,
    /// The network's own name, which may stand behind a container's.
    pub network: String,
    /// Containers have an address of IPv6 too.
    pub has_6: bool,
}

impl Names {
    /// The answer to a packet. `can_ask`: there is somebody else to be asked.
    pub fn reply(&self, packet: &[u8], can_ask: bool) -> Reply {
        let Some(question) = Question::parse(packet) else {
            let is_query = packet.get(2).is_some_and(|flags| flags & 0x80 == 0);
            return if can_ask && is_query { Reply::Ask } else { Reply::None };
        };
        let found = self.find(&question.name);
        if found.is_empty() {
            return match can_ask {
                true => Reply::Ask,
                // A name without a dot can be a container's only.
                false if !question.name.contains('.') => {
                    Reply::Now(question.answer(&[], NO_SUCH_NAME))
                }
                false => Reply::Now(question.answer(&[], SERVER_FAILURE)),
            };
        }
        let mut addresses = Vec::new();
        for address in found {
            if matches!(question.kind, A | ANY) {
                addresses.push(IpAddr::V4(address));
            }
            if matches!(question.kind, AAAA | ANY) && self.has_6 {
                addresses.push(IpAddr::V6(bridge::address_6(&self.name, address)));
            }
        }
        Reply::Now(question.answer(&addresses, 0))
    }

    fn find(&self, name: &str) -> Vec<Ipv4Addr> {
        let short = name.strip_suffix(&self.network).and_then(|name| name.strip_suffix('.'));
        let wanted = |known: &String| {
            known.eq_ignore_ascii_case(name)
                || short.is_some_and(|short| known.eq_ignore_ascii_case(short))
        };
        let links = route::links(&self.socket).unwrap_or_default();
        let mine = links.iter().filter(|link| link.master == self.bridge);
        mine.filter_map(|link| Neighbour::parse(&link.alias))
            .filter(|neighbour| neighbour.names.iter().any(wanted))
            .filter_map(|neighbour| neighbour.address)
            // A packet of 512 bytes must hold them (RFC 1035, 2.3.4).
            .take(8)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `dig db` as it goes over the wire.
    fn query(name: &str, kind: u16) -> Vec<u8> {
        let mut out = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            out.push(label.len() as u8);
            out.extend_from_slice(label.as_bytes());
        }
        out.push(0);
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&[0, 1]);
        out
    }

    #[test]
    fn a_question_is_read_and_answered() {
        let packet = query("Db.Net", A);
        let question = Question::parse(&packet).unwrap();
        assert_eq!((question.name.as_str(), question.kind), ("db.net", A));
        let answer = question.answer(&["10.0.0.7".parse().unwrap()], 0);
        assert_eq!(answer[..8], [0x12, 0x34, 0x85, 0x80, 0, 1, 0, 1]);
        assert_eq!(answer[packet.len()..packet.len() + 6], [0xc0, 12, 0, 1, 0, 1]);
        assert_eq!(answer[answer.len() - 6..], [0, 4, 10, 0, 0, 7]);
        assert_eq!(question.answer(&[], NO_SUCH_NAME)[3], 0x83);
    }

    #[test]
    fn what_is_no_question_is_passed_over() {
        let good = query("a.b", A);
        for length in 0..good.len() {
            assert!(Question::parse(&good[..length]).is_none(), "{length}");
        }
        let mut answer = good.clone();
        answer[2] |= 0x80;
        assert!(Question::parse(&answer).is_none());
        // A label that points somewhere.
        let pointer = [&good[..HEADER], &[0xc0, 12, 0, 1, 0, 1]].concat();
        assert!(Question::parse(&pointer).is_none());
        let mut two = good;
        two[5] = 2;
        assert!(Question::parse(&two).is_none());
    }

    #[test]
    fn what_the_kernel_keeps_comes_back() {
        let names = vec!["web".to_owned(), "www".to_owned()];
        let one = Neighbour { id: "0123".to_owned(), address: "10.1.2.3".parse().ok(), names };
        assert_eq!(Neighbour::parse(&one.to_alias()), Some(one.clone()));
        assert_eq!(Neighbour::parse("the uplink of the office"), None);
        let many = Neighbour { names: vec!["n".repeat(60); 9], ..one };
        assert!(many.to_alias().len() <= 255);
    }
}
