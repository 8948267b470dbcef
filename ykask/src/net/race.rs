//! Connecting to a host that has several addresses (RFC 8305): the next address is tried when one has failed, or has been
//! silent for a while, and the first connection that is made is used. One that is dead so costs a fraction of a second.
//!
//! No thread: the sockets do not block, and one call waits for all of them.

use crate::failure;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, ipproto, socket_with, sockopt};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How long an address may be silent before the next one is tried beside it: the Connection Attempt Delay that RFC 8305
/// recommends.
pub(super) const DELAY: Duration = Duration::from_millis(250);

/// The state of an address that was tried.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// Nothing was heard of it.
    Silent,
    /// It failed.
    Failed(io::Error),
    /// Its connection is the one that is used.
    Used,
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum Lost {
    /// This host lacks what a connection takes.
    Own(io::Error),
    /// Every address failed.
    Failed,
    /// The time is over.
    Time,
}

/// The addresses that were tried, and what became of each.
#[derive(Debug, Default)]
pub(crate) struct Attempts(pub(crate) Vec<(SocketAddr, Attempt)>);

struct Racer {
    /// Which of the attempts.
    at: usize,
    socket: OwnedFd,
}

/// Connects to one of these addresses, in this order. `note` learns of each attempt when it begins and when it ends.
pub(super) fn first(
    addresses: &[SocketAddr],
    limit: Duration,
    note: &impl Fn(&dyn Fn(&mut Attempts)),
) -> Result<TcpStream, Lost> {
    let began = Instant::now();
    let mut rest = addresses.iter().copied().enumerate().peekable();
    let mut racers: Vec<Racer> = Vec::new();
    let mut lack = None;
    let mut next = began;
    loop {
        if racers.is_empty() || Instant::now() >= next {
            if let Some((at, address)) = rest.next() {
                note(&|all| all.0.push((address, Attempt::Silent)));
                match begin(address) {
                    Ok(socket) => {
                        racers.push(Racer { at, socket });
                        next = Instant::now() + DELAY;
                    }
                    Err(errno) => {
                        ended(at, address, errno, &mut lack, note);
                        continue;
                    }
                }
            } else if racers.is_empty() {
                return Err(lack.map_or(Lost::Failed, Lost::Own));
            }
        }
        let left = limit.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Err(Lost::Time);
        }
        let wait = if rest.peek().is_some() {
            left.min(next.saturating_duration_since(Instant::now()))
        } else {
            left
        };
        for at in ready(&racers, wait).map_err(|errno| Lost::Own(errno.into()))?.into_iter().rev() {
            let Racer { at, socket } = racers.remove(at);
            match sockopt::socket_error(&socket).and_then(|result| result) {
                Ok(()) => {
                    note(&|all| all.set(at, Attempt::Used));
                    return Ok(TcpStream::from(socket));
                }
                Err(errno) => {
                    let address = addresses.get(at).copied();
                    if let Some(address) = address {
                        ended(at, address, errno, &mut lack, note);
                    }
                    next = Instant::now();
                }
            }
        }
    }
}

/// A socket that is being connected.
fn begin(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(socket),
        Err(errno) => Err(errno),
    }
}

/// Which of them have a connection or an error, within a time.
fn ready(racers: &[Racer], wait: Duration) -> Result<Vec<usize>, Errno> {
    let mut sockets: Vec<_> = racers.iter().map(|it| PollFd::new(&it.socket, PollFlags::OUT)).collect();
    let wait = Timespec::try_from(wait).map_err(|_| Errno::INVAL)?;
    match poll(&mut sockets, Some(&wait)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(errno),
    }
    Ok(sockets.iter().enumerate().filter(|(_, it)| !it.revents().is_empty()).map(|(at, _)| at).collect())
}

/// Notes how an attempt failed. A lack of this host's is told only if no other address is left.
fn ended(
    at: usize,
    address: SocketAddr,
    errno: Errno,
    lack: &mut Option<io::Error>,
    note: &impl Fn(&dyn Fn(&mut Attempts)),
) {
    let error = io::Error::from(errno);
    if is_unrouted(&error, address) {
        note(&|all| all.set(at, Attempt::Failed(ErrorKind::NetworkUnreachable.into())));
        return;
    }
    note(&|all| all.set(at, Attempt::Failed(errno.into())));
    if failure::is_own(&error) {
        *lack = Some(error);
    }
}

impl Attempts {
    fn set(&mut self, at: usize, attempt: Attempt) {
        if let Some((_, before)) = self.0.get_mut(at) {
            *before = attempt;
        }
    }
}

/// Whether "no address available" means that this host has none of that kind (IPv6, mostly), and not that all ports are
/// taken: then UDP would find one.
fn is_unrouted(error: &io::Error, address: SocketAddr) -> bool {
    let none = |error: &io::Error| {
        matches!(
            error.kind(),
            ErrorKind::AddrNotAvailable | ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable
        )
    };
    let socket = || match address {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
    };
    error.kind() == ErrorKind::AddrNotAvailable
        && socket().and_then(|socket| socket.connect(address)).is_err_and(|error| none(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::sync::Mutex;

    #[test]
    fn taken_ports_are_no_missing_route() {
        let missing = io::Error::from(nix::errno::Errno::EADDRNOTAVAIL);
        assert!(
            !is_unrouted(&missing, "127.0.0.1:80".parse().unwrap()),
            "there is a route, so ports were missing"
        );
        let other = io::Error::from(nix::errno::Errno::EMFILE);
        assert!(!is_unrouted(&other, "127.0.0.1:80".parse().unwrap()));
    }

    /// What became of each address: `u`sed, `s`ilent, `f`ailed.
    fn race(addresses: &[SocketAddr], limit: Duration) -> (Result<SocketAddr, Lost>, String) {
        let attempts = Mutex::new(Attempts::default());
        let won = first(addresses, limit, &|act| act(&mut attempts.lock().unwrap()));
        let states = attempts.into_inner().unwrap().0.into_iter().map(|(_, state)| match state {
            Attempt::Silent => 's',
            Attempt::Failed(_) => 'f',
            Attempt::Used => 'u',
        });
        (won.map(|stream| stream.peer_addr().unwrap()), states.collect())
    }

    /// A listener whose queue is full: the kernel drops what comes. Its address, and what keeps it so.
    fn silent() -> (SocketAddr, (TcpListener, Vec<OwnedFd>)) {
        let socket =
            socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        rustix::net::listen(&socket, 0).unwrap();
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().unwrap();
        let waiting = (0..4).map(|_| begin(address).unwrap()).collect();
        (address, (listener, waiting))
    }

    fn open() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    fn refused() -> SocketAddr {
        open().1
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn the_first_connection_is_used() {
        let ((_open, good), (other, second), hole) = (open(), open(), silent());
        for (addresses, winner, states) in [
            (vec![good, second], good, "u"),
            (vec![refused(), good, second], good, "fu"),
            (vec![hole.0, good], good, "su"),
            (vec![hole.0, refused(), refused(), good, second], good, "sffu"),
        ] {
            let (won, seen) = race(&addresses, LONG);
            assert_eq!((won.unwrap(), seen.as_str()), (winner, states));
        }
        // Nobody came to the one after the winner.
        other.set_nonblocking(true).unwrap();
        assert_eq!(other.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn without_a_connection_it_says_why() {
        let hole = silent();
        let (lost, states) = race(&[refused(), refused()], LONG);
        assert!(matches!(lost, Err(Lost::Failed)) && states == "ff", "{lost:?} {states}");
        let (lost, states) = race(&[hole.0, refused()], DELAY * 8);
        assert!(matches!(lost, Err(Lost::Time)) && states == "sf", "{lost:?} {states}");
        let (lost, states) = race(&[], LONG);
        assert!(matches!(lost, Err(Lost::Failed)) && states.is_empty(), "{lost:?} {states}");
    }
}
