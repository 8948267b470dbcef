//! Listening sockets, and accepting connections.

use super::connection::{Connection, Role};
use super::http;
use super::log::Event;
use super::peer::Peer;
use super::places::Short;
use super::timer::ConnectionTimer;
use super::tls::Certificate;
use super::{ServeFault, Shared};
use crate::file;
use listenfd::ListenFd;
use rustix::net::{SendFlags, send};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use ykserve::log::LogThrottle;
use yubiotp::diagnostic::{Code, Diagnostic};

/// Connections that may wait in the system until they are accepted.
const BACKLOG: u32 = 4096;

/// How long to wait when the system has no descriptor or memory for one more.
const BREATH: Duration = Duration::from_millis(50);

/// A listening socket.
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, Option<InFileSystem>),
}

/// A socket that we created in the file system. Removed at the end, unless another file has its name by then.
pub(super) struct InFileSystem {
    path: PathBuf,
    is: (u64, u64),
}

impl Drop for InFileSystem {
    fn drop(&mut self) {
        if inode(&self.path) == Some(self.is) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    let is = std::fs::symlink_metadata(path).ok()?;
    Some((is.dev(), is.ino()))
}

/// Sockets that systemd opened for us.
#[derive(Default)]
pub(super) struct Given {
    tcp: Vec<TcpListener>,
    unix: Option<UnixListener>,
}

impl Given {
    /// Takes the sockets of systemd. Those with an IP address are for verifications; one in the file system is for
    /// `/wsapi/decrypt`.
    pub(super) fn from_environment() -> Result<Self, ServeFault> {
        let fault = |why: io::Error| ServeFault::listen("a socket that systemd passed", &why);
        let mut list = ListenFd::from_env();
        let mut given = Self::default();
        for index in 0..list.len() {
            if let Ok(Some(unix)) = list.take_unix_listener(index) {
                unix.set_nonblocking(true).map_err(fault)?;
                given.unix = Some(UnixListener::from_std(unix).map_err(fault)?);
            } else if let Some(tcp) = list.take_tcp_listener(index).map_err(fault)? {
                tcp.set_nonblocking(true).map_err(fault)?;
                given.tcp.push(TcpListener::from_std(tcp).map_err(fault)?);
            }
        }
        Ok(given)
    }

    /// The sockets for verifications: systemd's, or those of the configuration if it passed none; and the one for
    /// `/wsapi/decrypt`.
    pub(super) fn or_bind(self, listen: &[SocketAddr]) -> Result<(Vec<Socket>, Option<Socket>), ServeFault> {
        let unix = self.unix.map(|unix| Socket::Unix(unix, None));
        if self.tcp.is_empty() {
            let sockets = listen.iter().map(|at| Socket::tcp(*at, listen)).collect::<Result<_, _>>()?;
            return Ok((sockets, unix));
        }
        Ok((self.tcp.into_iter().map(Socket::Tcp).collect(), unix))
    }
}

impl Socket {
    /// Listens on one of several addresses.
    pub(super) fn tcp(at: SocketAddr, beside: &[SocketAddr]) -> Result<Self, ServeFault> {
        let bind = || {
            let socket = if at.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            socket.set_reuseaddr(true)?;
            if at.is_ipv6() && beside.iter().any(|other| other.is_ipv4() && other.port() == at.port()) {
                // Otherwise it would listen on IPv4 as well.
                rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
            }
            socket.bind(at)?;
            socket.listen(BACKLOG)
        };
        bind().map(Self::Tcp).map_err(|why: io::Error| ServeFault::listen(&at.to_string(), &why))
    }

    /// Listens on a socket in the file system, created with mode 0660. A socket that a dead server left is replaced;
    /// one that is in use is not.
    pub(super) fn unix(path: &Path) -> Result<Self, ServeFault> {
        if let Ok(is) = std::fs::symlink_metadata(path) {
            let found = |problem: &str| {
                ServeFault::new(
                    Diagnostic::error(Code::DecryptSocketInvalid, problem).at(file::location(path)),
                )
            };
            if !is.file_type().is_socket() {
                return Err(found("exists and is not a socket"));
            }
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(found("another server answers there"));
            }
        }
        let bind = || {
            let mut new = path.as_os_str().to_owned();
            new.push(format!(".{}", std::process::id()));
            let _ = std::fs::remove_file(&new);
            let listener = UnixListener::bind(&new)?;
            let named = std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o660))
                .and_then(|()| std::fs::rename(&new, path));
            if let Err(why) = named {
                let _ = std::fs::remove_file(&new);
                return Err(why);
            }
            let is = inode(path).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            Ok(Self::Unix(listener, Some(InFileSystem { path: path.to_owned(), is })))
        };
        bind().map_err(|why: io::Error| ServeFault::listen(&path.display().to_string(), &why))
    }

    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(..) => None,
        }
    }

    /// For people.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Tcp(listener) => listener.local_addr().map_or_else(|_| "-".to_owned(), |at| at.to_string()),
            Self::Unix(_, Some(at)) => format!("unix:{}", at.path.display()),
            Self::Unix(_, None) => "a socket of systemd".to_owned(),
        }
    }

    async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                // Answers are one small write, which must not be delayed.
                let _ = stream.set_nodelay(true);
                Ok((Stream::Tcp(stream), Peer::address(from.ip())))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred().ok().map(|peer| peer.uid());
                Ok((Stream::Unix(stream), Peer::local(uid)))
            }
        }
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Sent if there is no place for a connection: a client that gets no answer would consider the server dead.
const NO_PLACE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\ncontent-length: 21\r\n\
    connection: close\r\n\r\ntoo many connections\n";

/// The same on a listener with TLS: the fatal alert `internal_error`.
const NO_PLACE_BY_TLS: &[u8] = &[0x15, 3, 3, 0, 2, 2, 80];

impl Stream {
    /// Answers that there is no place, and closes.
    fn turn_away(self, tls: bool) {
        let words = if tls { NO_PLACE_BY_TLS } else { NO_PLACE };
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        // A client that has gone away misses nothing.
        let _ = match &self {
            Self::Tcp(stream) => send(stream, words, flags),
            Self::Unix(stream) => send(stream, words, flags),
        };
    }
}

/// A listening socket, with the role of its connections.
pub(super) struct Listener {
    pub(super) socket: Socket,
    pub(super) role: Role,
    pub(super) tls: Option<Arc<Certificate>>,
}

impl Listener {
    /// Accepts connections until the server stops.
    pub(super) async fn accept(self, shared: Arc<Shared>) {
        let mut stop = pin!(shared.stopping.finish.cancelled());
        let (limit, share, fault) = (LogThrottle::default(), LogThrottle::default(), LogThrottle::default());
        loop {
            let accepted = tokio::select! {
                () = &mut stop => return,
                accepted = self.socket.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(why) if is_of_the_client(&why) => continue,
                Err(why) => {
                    if fault.should_log().is_some() {
                        shared.log.tell(Event::NotAccepted { why });
                    }
                    // Out of descriptors: wait until one may have been closed.
                    tokio::time::sleep(BREATH).await;
                    continue;
                }
            };
            let timer = Arc::new(ConnectionTimer::new());
            let (place, short) = shared.places.take(peer.from, &timer, shared.may_look(peer.from));
            if let Some(short) = short {
                // A stopping server takes all places to wait for the last connection: this is not the limit.
                if shared.stopping.finish.is_cancelled() {
                    return;
                }
                shared.metrics.server.connections_brief.inc_by(place.is_some().into());
                match short {
                    Short::Places => {
                        if let Some(refused) = limit.should_log() {
                            shared
                                .log
                                .tell(Event::ConnectionLimit { limit: shared.room.connections, refused });
                        }
                    }
                    Short::Share => {
                        if let Some(refused) = share.should_log() {
                            shared.log.tell(Event::AddressLimit { peer: peer.from, refused });
                        }
                    }
                }
            }
            let Some(place) = place else {
                stream.turn_away(self.tls.is_some());
                shared.metrics.server.connections_refused.inc();
                continue;
            };
            shared.metrics.server.connections.inc();
            let connection =
                Connection { shared: Arc::clone(&shared), role: self.role, peer, timer, stay: place.stay };
            let tls = self.tls.clone();
            match stream {
                Stream::Tcp(stream) => tokio::spawn(async move {
                    http::serve(connection, stream, tls).await;
                    drop(place);
                }),
                Stream::Unix(stream) => tokio::spawn(async move {
                    http::serve(connection, stream, tls).await;
                    drop(place);
                }),
            };
        }
    }
}

/// Whether the fault is that of one connection, which went away before it was accepted.
fn is_of_the_client(why: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(why.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
