//! The process beside a container that serves its network: what comes to published ports by way of
//! this machine itself, and its name server. It may do nothing else, and ends with its parent.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::names::{Names, Reply};

/// Connections at once; more wait until one has ended.
const CONNECTIONS: usize = 256;
/// Senders of packets that are remembered.
const SENDERS: usize = 256;
/// How long a sender of packets is remembered that says nothing more.
const REMEMBERED: Duration = Duration::from_secs(90);
/// A server for names that has not answered after that long is passed over.
const PATIENCE: Duration = Duration::from_secs(1);
/// The largest packet, and what is carried of a stream at a time.
const PACKET: usize = 64 << 10;
const PIECE: usize = 16 << 10;

/// A socket of the container's or the machine's, and where it leads.
pub enum Door {
    /// Streams, to one address.
    Streams(TcpListener, SocketAddr),
    /// Packets, to one address.
    Packets(UdpSocket, SocketAddr),
    /// Questions for names; what nobody here knows goes to these servers, by turns.
    Questions(UdpSocket, Box<Names>, Vec<IpAddr>),
}

/// Carries everything until this process is killed.
pub fn serve(doors: &[Door]) -> Errno {
    let mut streams: Vec<Pair> = Vec::new();
    let mut senders: Vec<Sender> = Vec::new();
    let mut buffer = vec![0u8; PACKET];
    loop {
        let mut watched: Vec<PollFd<'_>> = Vec::new();
        for door in doors {
            let (socket, wants) = match door {
                Door::Streams(socket, _) => (socket.as_fd(), streams.len() < CONNECTIONS),
                Door::Packets(socket, _) | Door::Questions(socket, ..) => (socket.as_fd(), true),
            };
            let flags = if wants { PollFlags::IN } else { PollFlags::empty() };
            watched.push(PollFd::from_borrowed_fd(socket, flags));
        }
        for sender in &senders {
            watched.push(PollFd::from_borrowed_fd(sender.socket.as_fd(), PollFlags::IN));
        }
        for pair in &streams {
            let (near, far) = pair.waits_for();
            watched.push(PollFd::from_borrowed_fd(pair.near.as_fd(), near));
            watched.push(PollFd::from_borrowed_fd(pair.far.as_fd(), far));
        }
        // Whoever is remembered is forgotten some time.
        let wait = Timespec { tv_sec: 30, tv_nsec: 0 };
        match poll(&mut watched, if senders.is_empty() { None } else { Some(&wait) }) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(other) => return other,
        }
        let events: Vec<PollFlags> = watched.iter().map(|file| file.revents()).collect();
        drop(watched);
        let (at_doors, rest) = events.split_at_checked(doors.len()).unwrap_or_default();
        let (at_senders, at_streams) = rest.split_at_checked(senders.len()).unwrap_or_default();
        for (pair, events) in streams.iter_mut().zip(at_streams.chunks(2)) {
            let is_ready = |at: usize| events.get(at).is_some_and(|events| !events.is_empty());
            pair.carry(is_ready(0), is_ready(1), &mut buffer);
        }
        for (sender, events) in senders.iter_mut().zip(at_senders) {
            if !events.is_empty() {
                sender.answer(doors, &mut buffer);
            }
        }
        for ((at, door), events) in doors.iter().enumerate().zip(at_doors) {
            if events.is_empty() {
                continue;
            }
            match door {
                Door::Streams(listener, target) => {
                    if let Ok((near, _)) = listener.accept()
                        && let Ok(far) = begin(*target)
                        && near.set_nonblocking(true).is_ok()
                    {
                        streams.push(Pair::new(near, far));
                    }
                }
                Door::Packets(socket, target) => {
                    if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                        let packet = buffer.get(..length).unwrap_or_default();
                        hand_on(&mut senders, at, from, &[*target], packet);
                    }
                }
                Door::Questions(socket, names, servers) => {
                    let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                    let packet = buffer.get(..length).unwrap_or_default();
                    match names.reply(packet, !servers.is_empty()) {
                        // What cannot be sent will be asked for again.
                        Reply::Now(answer) => drop(socket.send_to(&answer, from)),
                        Reply::Ask => {
                            let targets: Vec<_> =
                                servers.iter().map(|server| SocketAddr::new(*server, 53)).collect();
                            hand_on(&mut senders, at, from, &targets, packet);
                        }
                        Reply::None => {}
                    }
                }
            }
        }
        streams.retain(|pair| !pair.is_over());
        senders.retain(|sender| sender.heard.elapsed() < REMEMBERED);
    }
}

/// Whoever sends packets, and the socket by which they go on and answers come.
struct Sender {
    door: usize,
    from: SocketAddr,
    socket: UdpSocket,
    /// Which one of the door's targets it leads to.
    target: usize,
    heard: Instant,
    /// When it has asked what nobody has answered yet.
    asked: Option<Instant>,
}

impl Sender {
    fn answer(&mut self, doors: &[Door], buffer: &mut [u8]) {
        let Ok(length) = self.socket.recv(buffer) else {
            // Nobody is there: with the next packet another is tried.
            self.asked = Instant::now().checked_sub(PATIENCE);
            return;
        };
        (self.heard, self.asked) = (Instant::now(), None);
        if let Some(Door::Packets(door, _) | Door::Questions(door, ..)) = doors.get(self.door) {
            // Packets may be lost.
            let _ = door.send_to(buffer.get(..length).unwrap_or_default(), self.from);
        }
    }
}

/// Sends a packet on to one of the targets: the first, or after a silence the next.
fn hand_on(
    senders: &mut Vec<Sender>,
    door: usize,
    from: SocketAddr,
    targets: &[SocketAddr],
    packet: &[u8],
) {
    let known = senders.iter().position(|sender| sender.door == door && sender.from == from);
    let mut target = 0;
    if let Some(at) = known
        && let Some(sender) = senders.get_mut(at)
    {
        let is_silent = sender.asked.is_some_and(|asked| asked.elapsed() >= PATIENCE);
        if !is_silent || targets.len() == 1 {
            sender.heard = Instant::now();
            sender.asked.get_or_insert(sender.heard);
            // What nobody takes is lost, as packets are.
            let _ = sender.socket.send(packet);
            return;
        }
        target = (sender.target + 1) % targets.len();
        senders.swap_remove(at);
    }
    if senders.len() >= SENDERS
        && let Some((oldest, _)) = senders.iter().enumerate().min_by_key(|(_, sender)| sender.heard)
    {
        senders.swap_remove(oldest);
    }
    let Some(to) = targets.get(target) else { return };
    let unbound = match to {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let opened = UdpSocket::bind(SocketAddr::new(unbound, 0)).and_then(|socket| {
        socket.set_nonblocking(true)?;
        socket.connect(to)?;
        socket.send(packet)?;
        Ok(socket)
    });
    if let Ok(socket) = opened {
        let heard = Instant::now();
        senders.push(Sender { door, from, socket, target, heard, asked: Some(heard) });
    }
}

/// Begins to connect, without waiting.
fn begin(target: SocketAddr) -> rustix::io::Result<TcpStream> {
    let family = match target {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket: OwnedFd = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &target) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
        Err(other) => Err(other),
    }
}

/// What was read from one side and not yet written to the other.
#[derive(Default)]
struct Flow {
    rest: Vec<u8>,
    /// The side that is read has said its last.
    is_ended: bool,
    /// The other one knows.
    is_told: bool,
}

impl Flow {
    /// Carries what is there; false when one of the two is broken.
    fn carry(
        &mut self,
        from: &TcpStream,
        to: &TcpStream,
        may_read: bool,
        buffer: &mut [u8],
    ) -> bool {
        if may_read && self.rest.is_empty() && !self.is_ended {
            let piece = buffer.get_mut(..PIECE).unwrap_or_default();
            match (&*from).read(piece) {
                Ok(0) => self.is_ended = true,
                Ok(length) => {
                    let read = piece.get(..length).unwrap_or_default();
                    match (&*to).write(read) {
                        Ok(written) => {
                            self.rest.extend_from_slice(read.get(written..).unwrap_or_default());
                        }
                        Err(cause) if waits(&cause) => self.rest.extend_from_slice(read),
                        Err(_) => return false,
                    }
                }
                Err(cause) if waits(&cause) => {}
                Err(_) => return false,
            }
        } else if !self.rest.is_empty() {
            match (&*to).write(&self.rest) {
                Ok(written) => drop(self.rest.drain(..written.min(self.rest.len()))),
                Err(cause) if waits(&cause) => {}
                Err(_) => return false,
            }
            if self.rest.is_empty() {
                // Memory for those who wait only.
                self.rest = Vec::new();
            }
        }
        if self.is_ended && self.rest.is_empty() && !self.is_told {
            self.is_told = true;
            // One that is not connected any more knows.
            let _ = to.shutdown(std::net::Shutdown::Write);
        }
        true
    }
}

fn waits(cause: &std::io::Error) -> bool {
    matches!(
        cause.kind(),
        std::io::ErrorKind::WouldBlock
            | std::io::ErrorKind::Interrupted
            | std::io::ErrorKind::NotConnected
    )
}

/// A connection from outside and the one to the container that belongs to it.
struct Pair {
    near: TcpStream,
    far: TcpStream,
    is_connected: bool,
    is_broken: bool,
    inwards: Flow,
    outwards: Flow,
}

impl Pair {
    fn new(near: TcpStream, far: TcpStream) -> Pair {
        let (inwards, outwards) = Default::default();
        Pair { near, far, is_connected: false, is_broken: false, inwards, outwards }
    }

    fn waits_for(&self) -> (PollFlags, PollFlags) {
        if !self.is_connected {
            return (PollFlags::empty(), PollFlags::OUT);
        }
        let mut near = PollFlags::empty();
        near.set(PollFlags::IN, self.inwards.rest.is_empty() && !self.inwards.is_ended);
        near.set(PollFlags::OUT, !self.outwards.rest.is_empty());
        let mut far = PollFlags::empty();
        far.set(PollFlags::IN, self.outwards.rest.is_empty() && !self.outwards.is_ended);
        far.set(PollFlags::OUT, !self.inwards.rest.is_empty());
        (near, far)
    }

    fn carry(&mut self, near: bool, far: bool, buffer: &mut [u8]) {
        if !self.is_connected {
            // Nobody listens, say: whoever has connected shall know.
            match self.far.take_error() {
                Ok(None) if far => self.is_connected = true,
                Ok(None) => self.is_broken = near,
                _ => self.is_broken = true,
            }
            return;
        }
        if near || far {
            let done = self.inwards.carry(&self.near, &self.far, near, buffer)
                && self.outwards.carry(&self.far, &self.near, far, buffer);
            self.is_broken = !done;
        }
    }

    fn is_over(&self) -> bool {
        self.is_broken || self.inwards.is_told && self.outwards.is_told
    }
}
