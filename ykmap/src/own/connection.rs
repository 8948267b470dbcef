//! The service's end of a connection: frames, each within the time that is left.

use crate::enroll::talk::{Gone, Talk};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use yubiotp::dialogue::{Answer, BadFrame, End, Frames, OwnRequest, Spoken};
use zeroize::Zeroizing;

/// How long a client may take for its request.
const REQUEST: Duration = Duration::from_secs(10);
/// How long a client may take to read a message.
const READ: Duration = Duration::from_secs(10);

/// Why nobody is there any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// They went away, or cannot be reached.
    WentAway,
    /// The time is up.
    Late,
    /// They sent something that cannot be read.
    Unreadable,
}

/// A connected socket.
pub(super) struct Connection {
    socket: UnixStream,
    frames: Frames,
    until: Instant,
    /// Why the last call failed.
    pub(super) why: Why,
}

impl Connection {
    /// A run that ends at the latest in `time`.
    pub(super) fn new(socket: UnixStream, time: Duration) -> Self {
        let now = Instant::now();
        let until = now.checked_add(time).unwrap_or(now);
        Self { socket, frames: Frames::default(), until, why: Why::WentAway }
    }

    /// What the user asks for.
    pub(super) fn request(&mut self) -> Result<OwnRequest, Gone> {
        let now = Instant::now();
        self.next(now.checked_add(REQUEST).unwrap_or(now).min(self.until), Frames::own_request)
    }

    /// The last message.
    pub(super) fn end(&mut self, end: End) {
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

    fn speak(&mut self, spoken: &Spoken) -> Result<(), Gone> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return self.gone(Why::Late);
        }
        let frame = Zeroizing::new(spoken.write());
        self.write(&frame, left.min(READ))
    }

    const fn gone<T>(&mut self, why: Why) -> Result<T, Gone> {
        self.why = why;
        Err(Gone)
    }
}

impl Talk for Connection {
    fn say(&mut self, text: &str) -> Result<(), Gone> {
        self.speak(&Spoken::Text(text.to_owned()))
    }

    fn ask(&mut self, prompt: &str, echo: bool) -> Result<Answer, Gone> {
        self.speak(&Spoken::Question { prompt: prompt.to_owned(), echo })?;
        self.next(self.until, Frames::answer)
    }
}
