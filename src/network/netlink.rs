//! Messages to the kernel and what it answers (netlink(7)), for routes and for nftables.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto,
};

use crate::error::{Context, Result};

const REQUEST: u16 = 1;
const ACK: u16 = 4;
/// A new thing, which must not be there yet (netlink(7), NLM_F_CREATE and NLM_F_EXCL).
pub const NEW: u16 = 0x600;
/// A thing that may be there (NLM_F_CREATE).
pub const MAY_BE: u16 = 0x400;
/// At the end of a list (NLM_F_APPEND).
pub const LAST: u16 = 0x800;
/// All things of a kind (NLM_F_DUMP).
const DUMP: u16 = 0x300;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// The kind is in the lower bits, above are a nest and the order of bytes.
const KIND: u16 = 0x3fff;
const NESTED: u16 = 0x8000;
/// Of a message, and of an attribute.
const HEADER: usize = 16;
const ATTRIBUTE: usize = 4;

/// A message: a header, a struct of the kernel's, attributes.
pub struct Message(Vec<u8>);

impl Message {
    /// One that asks for `kind`, with the struct that goes with it.
    pub fn new(kind: u16, flags: u16, body: &[u8]) -> Message {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | REQUEST | ACK).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(body);
        let mut message = Message(bytes);
        message.pad();
        message
    }

    /// Adds an attribute.
    pub fn with(mut self, kind: u16, value: &[u8]) -> Message {
        self.add(kind, value);
        self
    }

    /// Adds an attribute that has a text, with the NUL at its end.
    pub fn text(self, kind: u16, text: &str) -> Message {
        let mut value = text.as_bytes().to_vec();
        value.push(0);
        self.with(kind, &value)
    }

    /// Adds an attribute that has attributes.
    pub fn nest(self, kind: u16, inside: Attributes) -> Message {
        self.with(kind | NESTED, &inside.0.0)
    }

    fn add(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(value.len() + ATTRIBUTE).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.pad();
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// With its length and number in the header.
    fn sealed(mut self, number: u32) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        let number = number.to_ne_bytes();
        for (to, from) in self.0.iter_mut().zip(length.to_ne_bytes()) {
            *to = from;
        }
        for (to, from) in self.0.iter_mut().skip(8).zip(number) {
            *to = from;
        }
        self.0
    }
}

/// Attributes for the inside of one.
pub struct Attributes(Message);

impl Attributes {
    /// None yet; a struct of the kernel's may stand before them.
    pub fn new(body: &[u8]) -> Attributes {
        Attributes(Message(body.to_vec()))
    }

    /// Adds one.
    pub fn with(self, kind: u16, value: &[u8]) -> Attributes {
        Attributes(self.0.with(kind, value))
    }

    /// Adds one that has a text.
    pub fn text(self, kind: u16, text: &str) -> Attributes {
        Attributes(self.0.text(kind, text))
    }

    /// Adds one that has attributes.
    pub fn nest(self, kind: u16, inside: Attributes) -> Attributes {
        Attributes(self.0.nest(kind, inside))
    }
}

/// A socket to a part of the kernel. It stays in the network namespace in which it was made.
pub struct Socket(OwnedFd);

impl Socket {
    /// One for links, addresses and routes (rtnetlink(7)).
    pub fn route() -> Result<Socket> {
        Socket::new(None)
    }

    /// One for nftables.
    pub fn netfilter() -> Result<Socket> {
        Socket::new(Some(rustix::net::netlink::NETFILTER))
    }

    fn new(protocol: Option<Protocol>) -> Result<Socket> {
        let (family, flags) = (AddressFamily::NETLINK, SocketFlags::CLOEXEC);
        rustix::net::socket_with(family, SocketType::RAW, flags, protocol)
            .map(Socket)
            .context(|| "socket for netlink")
    }

    /// Its descriptor.
    pub fn fd(&self) -> &OwnedFd {
        &self.0
    }

    /// Asks for something to be done.
    pub fn ask(&self, message: Message) -> rustix::io::Result<()> {
        self.ask_all(vec![message])
    }

    /// Asks for several things, in this order. The first error that the kernel tells.
    pub fn ask_all(&self, messages: Vec<Message>) -> rustix::io::Result<()> {
        let mut bytes = Vec::new();
        for (number, message) in (1u32..).zip(messages) {
            bytes.append(&mut message.sealed(number));
        }
        self.send(&bytes)?;
        // The kernel has done it, and answered, before sendto(2) returns.
        let mut found = Err(Errno::NOMSG);
        loop {
            let mut buffer = vec![0u8; 16 << 10];
            let length = match recv(&self.0, buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
                Ok((length, _)) => length,
                Err(Errno::AGAIN) => return found,
                Err(Errno::INTR) => continue,
                Err(other) => return Err(other),
            };
            for (kind, body) in messages_of(buffer.get(..length).unwrap_or_default()) {
                if kind == NLMSG_ERROR {
                    found = match i32_at(body, 0) {
                        Some(0) if found == Err(Errno::NOMSG) => Ok(()),
                        Some(0) => found,
                        Some(code) if found.is_ok() || found == Err(Errno::NOMSG) => {
                            Err(Errno::from_raw_os_error(code.wrapping_neg()))
                        }
                        _ => found,
                    };
                }
            }
        }
    }

    /// All things of a kind: each with its struct and attributes.
    pub fn list(
        &self,
        kind: u16,
        body: &[u8],
        each: &mut dyn FnMut(&[u8]),
    ) -> rustix::io::Result<()> {
        self.send(&Message::new(kind, DUMP, body).sealed(1))?;
        let mut buffer = vec![0u8; 32 << 10];
        loop {
            let length = match recv(&self.0, buffer.as_mut_slice(), RecvFlags::empty()) {
                Ok((length, _)) => length,
                Err(Errno::INTR) => continue,
                Err(other) => return Err(other),
            };
            for (kind, body) in messages_of(buffer.get(..length).unwrap_or_default()) {
                match kind {
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => {
                        let code = i32_at(body, 0).unwrap_or_default();
                        return Err(Errno::from_raw_os_error(code.wrapping_neg()));
                    }
                    _ => each(body),
                }
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> rustix::io::Result<()> {
        let kernel = SocketAddrNetlink::new(0, 0);
        rustix::io::retry_on_intr(|| sendto(&self.0, bytes, SendFlags::empty(), &kernel))
            .map(|_| ())
    }
}

/// The messages in what was read: kind, and what follows the header.
fn messages_of(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(rest, 0)?).ok()?;
        let body = rest.get(HEADER..length)?;
        let kind = u16_at(rest, 4)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

/// The attributes behind a struct: kind and value.
pub fn attributes(bytes: &[u8], after: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes.get(after..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let value = rest.get(ATTRIBUTE..length)?;
        let kind = u16_at(rest, 2)? & KIND;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

/// A number in a struct, in the machine's order.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_ne_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_come_back_padded() {
        let message = Message::new(1, 0, &[9; 6])
            .with(5, b"abc")
            .text(7, "xy")
            .nest(8, Attributes::new(&[]).with(1, &[1, 2]));
        let bytes = message.sealed(3);
        let (kind, body) = messages_of(&bytes).next().unwrap();
        assert_eq!((kind, bytes.len() % 4), (1, 0));
        let found: Vec<_> = attributes(body, 8).collect();
        assert_eq!(found[0], (5, b"abc".as_slice()));
        assert_eq!(found[1], (7, b"xy\0".as_slice()));
        assert_eq!(attributes(found[2].1, 0).next(), Some((1, [1u8, 2].as_slice())));
    }

    #[test]
    fn what_is_cut_off_is_passed_over() {
        let whole = Message::new(1, 0, &[]).with(5, b"abcdef").sealed(1);
        for length in 0..whole.len() {
            assert_eq!(messages_of(&whole[..length]).count(), 0, "{length}");
        }
        assert_eq!(attributes(&[200, 0, 1, 0, 1], 0).count(), 0);
        assert_eq!(attributes(&[1, 0, 1, 0], 0).count(), 0, "shorter than its own header");
        assert_eq!(messages_of(&[3, 0, 0, 0, 1, 0, 0, 0]).count(), 0);
    }
}
