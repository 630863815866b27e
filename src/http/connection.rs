//! A connection to a server: all its addresses are tried, and one that stalls is given up.

use std::io::{self, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::error::{Context, Error, Kind, Result};
use crate::sys::signal;

/// How long an address has to itself before the next one is tried too (RFC 8305, 5).
const HEAD_START: Duration = Duration::from_millis(250);
/// How long a wait goes on before it is asked whether the user wants an end: a signal wakes only one
/// of the threads.
const SLICE: Duration = Duration::from_millis(500);

/// How long a server is waited for, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection to come about, over all addresses.
    connect: u64,
    /// While a connection carries nothing.
    stall: u64,
    /// From the request to the end of the head of its answer.
    answer: u64,
}

impl Patience {
    /// For a server that nobody else can stand in for.
    pub const LONG: Patience = Patience { connect: 30, stall: 30, answer: 60 };
    /// For one of several.
    pub const SHORT: Patience = Patience { connect: 5, stall: 10, answer: 15 };
}

/// Most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

/// What a response is read from.
pub(super) type Input = BufReader<Box<dyn Stream>>;

/// Bytes in both directions, encrypted or not.
pub(super) trait Stream: Read + Write + Send {
    /// The connection below.
    fn wire(&mut self) -> &mut Wire;
}

/// A plain connection that does not wait for ever, and ends with the process.
pub(super) struct Wire {
    socket: TcpStream,
    /// The head of the answer is to be complete by then.
    deadline: Option<Instant>,
    patience: Patience,
}

impl Wire {
    /// Connects to a host by its name or address.
    pub fn connect(host: &str, port: u16, patience: Patience) -> Result<Wire> {
        let addresses = resolve(host, port)?;
        let socket = TcpStream::from(
            race(&addresses, patience.connect)
                .map_err(|error| error.during(format!("connect to {host}:{port}")))?,
        );
        socket.set_read_timeout(Some(SLICE))?;
        socket.set_write_timeout(Some(SLICE))?;
        // A request is one write; there is nothing to gather.
        socket.set_nodelay(true)?;
        Ok(Wire { socket, deadline: None, patience })
    }

    /// The time for an answer begins.
    pub fn expect_answer(&mut self) {
        self.deadline = Some(Instant::now() + Duration::from_secs(self.patience.answer));
    }

    /// The answer has come; its body may take as long as it likes.
    pub fn answered(&mut self) {
        self.deadline = None;
    }

    /// Whether the other side has neither said anything nor hung up.
    pub fn is_silent(&self) -> bool {
        let mut polls = [PollFd::new(&self.socket, PollFlags::IN)];
        matches!(poll(&mut polls, Some(&Timespec::default())), Ok(0))
    }

    /// Reads or writes, again and again until something went by or too much time has.
    fn patiently(
        &mut self,
        mut go: impl FnMut(&mut TcpStream) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let begun = Instant::now();
        loop {
            signal::check()?;
            if self.deadline.is_some_and(|deadline| Instant::now() > deadline) {
                let seconds = self.patience.answer;
                let text = format!("the server has not answered within {seconds} seconds");
                return Err(stalled(text).into());
            }
            match go(&mut self.socket) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A timeout of a socket (man 7 socket).
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let seconds = self.patience.stall;
                    if begun.elapsed() >= Duration::from_secs(seconds) {
                        let text =
                            format!("the connection has carried nothing for {seconds} seconds");
                        return Err(stalled(text).into());
                    }
                }
                done => return done,
            }
        }
    }
}

impl Stream for Wire {
    fn wire(&mut self) -> &mut Wire {
        self
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.patiently(|socket| socket.read(buffer))
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.patiently(|socket| socket.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn stalled(text: String) -> Error {
    Error::new(Kind::System, text).hint("try again; the server or the network has stalled")
}

pub(super) fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let unknown = || {
        Error::not_found(format!("the host {host:?} cannot be found"))
            .hint("is the name right, and can this device ask its name server (/etc/resolv.conf)?")
    };
    let found = (host, port).to_socket_addrs().map_err(|_| unknown())?;
    let addresses = alternating(found.collect());
    if addresses.is_empty() { Err(unknown()) } else { Ok(addresses) }
}

/// The resolver's order, but the two families by turns, so that a network where one of them is
/// broken costs a moment and no more (RFC 8305, 4).
fn alternating(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut mixed = Vec::new();
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        let (one, other) = (first.next(), second.next());
        if one.is_none() && other.is_none() {
            mixed.truncate(MAX_ADDRESSES);
            return mixed;
        }
        mixed.extend(one);
        mixed.extend(other);
    }
}

/// The first address that answers; each next one is begun when those before it take too long or
/// have refused.
fn race(addresses: &[SocketAddr], seconds: u64) -> Result<OwnedFd> {
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut waiting = addresses.iter();
    let mut running: Vec<OwnedFd> = Vec::new();
    let mut failed =
        Error::new(Kind::System, format!("it does not answer within {seconds} seconds"));
    loop {
        let next = waiting.next();
        if let Some(address) = next {
            match begin(address) {
                Ok(socket) => running.push(socket),
                Err(errno) => failed = errno.into(),
            }
        }
        let left = end.saturating_duration_since(Instant::now());
        if (running.is_empty() && waiting.len() == 0) || left.is_zero() {
            return Err(failed.hint("is the server up, and does the network lead there?"));
        }
        if running.is_empty() {
            continue;
        }
        let patience = if waiting.len() > 0 { HEAD_START.min(left) } else { left };
        let patience = Timespec::try_from(patience).map_err(|_| Errno::INVAL)?;
        let mut polls: Vec<PollFd<'_>> =
            running.iter().map(|socket| PollFd::new(socket, PollFlags::OUT)).collect();
        match poll(&mut polls, Some(&patience)) {
            Err(Errno::INTR) => signal::check()?,
            done => drop(done.context(|| "poll")?),
        }
        let ready = polls.iter().position(|poll| !poll.revents().is_empty());
        if let Some(index) = ready {
            let socket = running.swap_remove(index);
            match sockopt::socket_error(&socket)? {
                Ok(()) => {
                    rustix::io::ioctl_fionbio(&socket, false)?;
                    return Ok(socket);
                }
                Err(errno) => failed = errno.into(),
            }
        }
    }
}

fn begin(address: &SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(other) => Err(other),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A server's end of a connection that has said this and nothing more.
    pub(in crate::http) fn input(text: &str) -> Input {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let text = text.to_owned();
        std::thread::spawn(move || listener.accept().unwrap().0.write_all(text.as_bytes()));
        BufReader::new(Box::new(
            Wire::connect("127.0.0.1", address.port(), Patience::LONG).unwrap(),
        ))
    }

    #[test]
    fn a_refused_address_gives_way_to_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(race(&[closed, closed, open], 30).is_ok());
        let error = race(&[closed], 30).unwrap_err();
        assert!(error.text().contains("refused"), "{error}");
        assert!(race(&[], 30).is_err());
    }

    #[test]
    fn families_take_turns() {
        let addresses = ["[::1]:1", "[::2]:1", "1.1.1.1:1", "1.1.1.2:1", "1.1.1.3:1"];
        let addresses: Vec<SocketAddr> = addresses.map(|text| text.parse().unwrap()).into();
        let mixed: Vec<String> = alternating(addresses).iter().map(ToString::to_string).collect();
        assert_eq!(mixed, ["[::1]:1", "1.1.1.1:1", "[::2]:1", "1.1.1.2:1", "1.1.1.3:1"]);
    }
}
