//! Our end of a connection: the module is at the other, or `ykmap self`. Frames, each within the time that is left.

use super::talk::{Gone, Talk};
use rustix::net::AddressFamily;
use rustix::net::sockopt::socket_domain;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use yubiotp::dialogue::{Answer, BadFrame, End, Frames, LoginFacts, OwnRequest, Spoken};
use zeroize::{Zeroize as _, Zeroizing};

/// How long the other end may take for its first message.
const REQUEST: Duration = Duration::from_secs(10);
/// How long the other end may take to read a message.
const READ: Duration = Duration::from_secs(30);

/// Why nobody is there any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// They went away, or cannot be reached.
    WentAway,
    /// The time is up.
    Late,
    /// They sent something that cannot be read.
    Unreadable,
}

/// A connected socket.
pub(crate) struct Connection {
    socket: UnixStream,
    frames: Frames,
    until: Instant,
    /// Why the last call failed.
    pub(crate) why: Why,
}

impl Connection {
    /// On standard input, for a run that ends at the latest in `time`. `None` if that is no unix socket.
    pub(crate) fn on_stdin(time: Duration) -> Option<Self> {
        let stdin = std::io::stdin();
        if socket_domain(&stdin).ok()? != AddressFamily::UNIX {
            return None;
        }
        let socket = UnixStream::from(stdin.as_fd().try_clone_to_owned().ok()?);
        let now = Instant::now();
        let until = now.checked_add(time).unwrap_or(now);
        Some(Self { socket, frames: Frames::default(), until, why: Why::WentAway })
    }

    /// What the module knows of a login.
    pub(crate) fn login_facts(&mut self) -> Result<LoginFacts, Gone> {
        self.first(Frames::login_facts)
    }

    /// What the user asks for.
    pub(crate) fn request(&mut self) -> Result<OwnRequest, Gone> {
        self.first(Frames::own_request)
    }

    fn first<T>(&mut self, read: impl Fn(&mut Frames) -> Result<Option<T>, BadFrame>) -> Result<T, Gone> {
        let now = Instant::now();
        self.next(now.checked_add(REQUEST).unwrap_or(now).min(self.until), read)
    }

    /// The last message.
    pub(crate) fn end(&mut self, end: End) {
        let _ = self.write(&Spoken::End(end).write(), READ);
    }

    fn next<T>(
        &mut self,
        until: Instant,
        read: impl Fn(&mut Frames) -> Result<Option<T>, BadFrame>,
    ) -> Result<T, Gone> {
        loop {
            match read(&mut self.frames) {
                Ok(Some(message)) => return Ok(message),
                Ok(None) => {}
                Err(_) => return self.gone(Why::Unreadable),
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return self.gone(Why::Late);
            }
            if self.socket.set_read_timeout(Some(left)).is_err() {
                return self.gone(Why::WentAway);
            }
            let mut bytes = Zeroizing::new([0; 4096]);
            match self.socket.read(&mut *bytes) {
                Ok(0) => return self.gone(Why::WentAway),
                Ok(count) => self.frames.feed(bytes.get(..count).unwrap_or_default()),
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return self.gone(Why::Late);
                }
                Err(_) => return self.gone(Why::WentAway),
            }
        }
    }

    fn write(&mut self, frame: &[u8], within: Duration) -> Result<(), Gone> {
        let written = self.socket.set_write_timeout(Some(within)).and_then(|()| self.socket.write_all(frame));
        written.or_else(|_| self.gone(Why::WentAway))
    }

    /// Says it, and wipes it: it may hold the secret of an app.
    fn speak(&mut self, spoken: Spoken) -> Result<(), Gone> {
        let frame = Zeroizing::new(spoken.write());
        if let Spoken::Text(mut text) | Spoken::Question { prompt: mut text, .. } = spoken {
            text.zeroize();
        }
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return self.gone(Why::Late);
        }
        self.write(&frame, left.min(READ))
    }

    const fn gone<T>(&mut self, why: Why) -> Result<T, Gone> {
        self.why = why;
        Err(Gone)
    }
}

impl Talk for Connection {
    fn say(&mut self, text: &str) -> Result<(), Gone> {
        self.speak(Spoken::Text(text.to_owned()))
    }

    fn ask(&mut self, prompt: &str, echo: bool) -> Result<Answer, Gone> {
        self.speak(Spoken::Question { prompt: prompt.to_owned(), echo })?;
        self.next(self.until, Frames::answer)
    }
}
