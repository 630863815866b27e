//! Ports of this machine that lead to ports of a container.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use crate::error::{Context, Error, Kind, Result};

/// How packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Streams.
    Tcp,
    /// Packets of their own.
    Udp,
}

impl Protocol {
    /// Its number in packets.
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

/// A published port: `-p`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Which address of this machine's; none for all.
    pub address: Option<IpAddr>,
    /// The port of this machine; 0 for one that is free.
    pub host: u16,
    /// The container's port.
    pub inside: u16,
    /// How.
    pub protocol: Protocol,
}

impl fmt::Display for Port {
    /// As records have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(address) = self.address {
            write!(f, "{address} ")?;
        }
        write!(f, "{} {} {}", self.host, self.inside, self.protocol.name())
    }
}

impl Port {
    /// Reads what a record has.
    pub fn parse(text: &str) -> Option<Port> {
        let mut words = text.rsplit(' ');
        let protocol = match words.next()? {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return None,
        };
        let (inside, host) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let address = match words.next() {
            Some(address) => Some(address.parse().ok()?),
            None => None,
        };
        Some(Port { address, host, inside, protocol })
    }

    /// Holds the port of this machine open, both for IPv4 and IPv6 where no address is said. A port
    /// that is free is chosen where none is said.
    pub fn hold(&mut self) -> Result<OwnedFd> {
        let all = [IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
        let own = self.address.map(|address| [address]);
        let addresses = own.as_ref().map_or(all.as_slice(), |own| own.as_slice());
        let mut last = None;
        for address in addresses {
            match self.hold_at(*address) {
                // No IPv6 in this kernel, or switched off.
                Err(error) if addresses.len() > 1 && error.kind() != Kind::Conflict => {
                    last = Some(error);
                }
                other => return other,
            }
        }
        Err(last.unwrap_or_else(|| Error::usage("a port without an address")))
    }

    fn hold_at(&mut self, address: IpAddr) -> Result<OwnedFd> {
        let at = SocketAddr::new(address, self.host);
        let held = match self.protocol {
            Protocol::Tcp => TcpListener::bind(at)
                .and_then(|socket| Ok((socket.local_addr()?.port(), OwnedFd::from(socket)))),
            Protocol::Udp => UdpSocket::bind(at)
                .and_then(|socket| Ok((socket.local_addr()?.port(), OwnedFd::from(socket)))),
        };
        match held {
            Ok((port, socket)) => {
                self.host = port;
                rustix::io::ioctl_fionbio(&socket, true).context(|| "make a socket not wait")?;
                Ok(socket)
            }
            Err(cause) if cause.kind() == std::io::ErrorKind::AddrInUse => {
                let shown = self.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
                let shown = SocketAddr::new(shown, self.host);
                let text = format!("Bind for {shown} failed: port is already allocated");
                Err(Error::new(Kind::Conflict, text)
                    .hint("choose another port, or end what has it"))
            }
            Err(cause) => Err(cause).context(|| format!("listen on {at}/{}", self.protocol.name())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_comes_back_as_it_was_written() {
        for port in [
            Port { address: None, host: 8080, inside: 80, protocol: Protocol::Tcp },
            Port { address: "::1".parse().ok(), host: 0, inside: 53, protocol: Protocol::Udp },
        ] {
            assert_eq!(Port::parse(&port.to_string()), Some(port));
        }
        for wrong in ["", "80 tcp", "80 80 sctp", "x 80 80 tcp", "80 70000 tcp"] {
            assert_eq!(Port::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_port_is_held_once() {
        let mut first = Port { address: None, host: 0, inside: 1, protocol: Protocol::Tcp };
        let held = first.hold().unwrap();
        assert_ne!(first.host, 0);
        let mut second = first;
        let error = second.hold().unwrap_err();
        assert!(error.text().ends_with("failed: port is already allocated"), "{error}");
        drop(held);
        drop(second.hold().unwrap());
    }
}
