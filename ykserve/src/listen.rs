//! Listening sockets, and accepting connections.

use crate::connection::{Connection, Service};
use crate::log::LogThrottle;
use crate::peer::Peer;
use crate::places::Short;
use crate::timer::ConnectionTimer;
use crate::tls::Certificate;
use crate::{ServeFault, ServerEvent, file, http};
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
use yubiotp::diagnostic::{Code, Diagnostic};

/// Connections that may wait in the system until they are accepted.
const BACKLOG: u32 = 4096;

/// How long to wait when the system has no descriptor or memory for one more.
const BREATH: Duration = Duration::from_millis(50);

/// A listening socket.
pub struct Socket(Kind);

enum Kind {
    Tcp(TcpListener),
    Unix(UnixListener, Option<InFileSystem>),
}

/// A socket that we created in the file system. Removed at the end, unless another file has its name by then.
struct InFileSystem {
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
pub struct Given {
    tcp: Vec<Socket>,
    unix: Vec<Socket>,
}

impl Given {
    /// Takes the sockets of systemd, once.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub fn from_environment() -> Result<Self, ServeFault> {
        let fault = |why: io::Error| ServeFault::listen("a socket that systemd passed", &why);
        let mut list = ListenFd::from_env();
        let mut given = Self::default();
        for index in 0..list.len() {
            if let Ok(Some(unix)) = list.take_unix_listener(index) {
                unix.set_nonblocking(true).map_err(fault)?;
                let unix = UnixListener::from_std(unix).map_err(fault)?;
                given.unix.push(Socket(Kind::Unix(unix, None)));
            } else if let Some(tcp) = list.take_tcp_listener(index).map_err(fault)? {
                tcp.set_nonblocking(true).map_err(fault)?;
                given.tcp.push(Socket(Kind::Tcp(TcpListener::from_std(tcp).map_err(fault)?)));
            }
        }
        Ok(given)
    }

    /// Those with an IP address, or sockets that listen on these addresses if there are none; and those in the file system,
    /// in the order of systemd.
    ///
    /// # Errors
    /// The system does not give one of the addresses.
    pub fn or_bind(self, listen: &[SocketAddr]) -> Result<(Vec<Socket>, Vec<Socket>), ServeFault> {
        if self.tcp.is_empty() {
            let sockets = listen.iter().map(|at| Socket::tcp(*at, listen)).collect::<Result<_, _>>()?;
            return Ok((sockets, self.unix));
        }
        Ok((self.tcp, self.unix))
    }
}

impl Socket {
    /// Listens on an address of the server, which has these addresses.
    ///
    /// # Errors
    /// The system does not give it.
    pub fn tcp(at: SocketAddr, beside: &[SocketAddr]) -> Result<Self, ServeFault> {
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
        bind()
            .map(|tcp| Self(Kind::Tcp(tcp)))
            .map_err(|why: io::Error| ServeFault::listen(&at.to_string(), &why))
    }

    /// Listens on a socket in the file system, created with mode 0660. A socket that a dead server left is replaced;
    /// one that is in use is not.
    ///
    /// # Errors
    /// The system does not give it; or something else is there, which is the finding `invalid`.
    pub fn unix(path: &Path, invalid: Code) -> Result<Self, ServeFault> {
        if let Ok(is) = std::fs::symlink_metadata(path) {
            let found =
                |problem: &str| ServeFault::new(Diagnostic::error(invalid, problem).at(file::location(path)));
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
            Ok(Self(Kind::Unix(listener, Some(InFileSystem { path: path.to_owned(), is }))))
        };
        bind().map_err(|why: io::Error| ServeFault::listen(&path.display().to_string(), &why))
    }

    /// Its address, with the port that the system chose; `None`: it is in the file system.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.0 {
            Kind::Tcp(listener) => listener.local_addr().ok(),
            Kind::Unix(..) => None,
        }
    }

    /// What it is called, for people: `127.0.0.1:8000`, `unix:/run/ykvald/decrypt`.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.0 {
            Kind::Tcp(listener) => listener.local_addr().map_or_else(|_| "-".to_owned(), |at| at.to_string()),
            Kind::Unix(_, Some(at)) => format!("unix:{}", at.path.display()),
            Kind::Unix(_, None) => "a socket of systemd".to_owned(),
        }
    }

    async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match &self.0 {
            Kind::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                // Answers are one small write, which must not be delayed.
                let _ = stream.set_nodelay(true);
                Ok((Stream::Tcp(stream), Peer::address(from.ip())))
            }
            Kind::Unix(listener, _) => {
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
pub struct Listener<R> {
    /// The socket.
    pub socket: Socket,
    /// What is answered there.
    pub role: R,
    /// The certificate that is shown there; `None`: it is without TLS.
    pub tls: Option<Arc<Certificate>>,
}

impl<R: Copy + Send + Sync + 'static> Listener<R> {
    /// Accepts connections until the server stops.
    pub(crate) async fn accept<S: Service<Role = R>>(self, service: Arc<S>) {
        let server = service.server();
        let mut stop = pin!(server.stopping.finish.cancelled());
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
                        server.tell(ServerEvent::NotAccepted { why });
                    }
                    // Out of descriptors: wait until one may have been closed.
                    tokio::time::sleep(BREATH).await;
                    continue;
                }
            };
            let timer = Arc::new(ConnectionTimer::new());
            let (place, short) = server.places.take(peer.from, &timer, service.is_watching(peer.from));
            if let Some(short) = short {
                // A stopping server takes all places to wait for the last connection: this is not the limit.
                if server.stopping.finish.is_cancelled() {
                    return;
                }
                server.metrics.connections_brief.inc_by(place.is_some().into());
                match short {
                    Short::Places => {
                        if let Some(refused) = limit.should_log() {
                            let limit = server.room.connections;
                            server.tell(ServerEvent::ConnectionLimit { limit, refused });
                        }
                    }
                    Short::Share => {
                        if let Some(refused) = share.should_log() {
                            server.tell(ServerEvent::AddressLimit { peer: peer.from, refused });
                        }
                    }
                }
            }
            let Some(place) = place else {
                stream.turn_away(self.tls.is_some());
                server.metrics.connections_refused.inc();
                continue;
            };
            server.metrics.connections.inc();
            let (service, role, stay) = (Arc::clone(&service), self.role, place.stay);
            let connection = Connection { service, role, peer, timer, stay };
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
