//! Our end of a connection: the module is at the other, or `ykmap self`. Frames, each within the time that is left.

use super::talk::{Gone, Talk};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_domain};
use std::os::fd::{AsFd as _, OwnedFd};
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

/// Standard input and output, which are one socket. For systemd only standard input is.
pub(crate) struct Connection {
    input: OwnedFd,
    output: OwnedFd,
    frames: Frames,
    until: Instant,
    /// Why the last call failed.
    pub(crate) why: Why,
}

impl Connection {
    /// For a run that ends at the latest in `time`. `None` if there are no more descriptors.
    pub(crate) fn begin(time: Duration) -> Option<Self> {
        let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
        let input = stdin.as_fd().try_clone_to_owned().ok()?;
        let is_socket = socket_domain(&stdin).is_ok();
        let output = if is_socket { input.try_clone() } else { stdout.as_fd().try_clone_to_owned() };
        let output = output.ok()?;
        // Anything else than a socket has no such limit, and needs none.
        let _ = set_socket_timeout(&output, Timeout::Send, Some(READ));
        let now = Instant::now();
        let until = now.checked_add(time).unwrap_or(now);
        Some(Self { input, output, frames: Frames::default(), until, why: Why::WentAway })
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
        let _ = self.write(&Spoken::End(end).write());
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
            let Some(time) = Timespec::try_from(left).ok().filter(|_| !left.is_zero()) else {
                return self.gone(Why::Late);
            };
            match poll(&mut [PollFd::new(&self.input, PollFlags::IN)], Some(&time)) {
                Ok(0) | Err(Errno::INTR) => continue,
                Ok(_) => {}
                Err(_) => return self.gone(Why::WentAway),
            }
            let mut bytes = Zeroizing::new([0; 4096]);
            match rustix::io::read(&self.input, bytes.as_mut_slice()) {
                Ok(0) => return self.gone(Why::WentAway),
                Ok(count) => self.frames.feed(bytes.get(..count).unwrap_or_default()),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(_) => return self.gone(Why::WentAway),
            }
        }
    }

    /// Not by way of a buffer that is not wiped.
    fn write(&mut self, mut frame: &[u8]) -> Result<(), Gone> {
        while !frame.is_empty() {
            match rustix::io::write(&self.output, frame) {
                Ok(count) => frame = frame.get(count..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(_) => return self.gone(Why::WentAway),
            }
        }
        Ok(())
    }

    /// Says it, and wipes it: it may hold the secret of an app.
    fn speak(&mut self, spoken: Spoken) -> Result<(), Gone> {
        let frame = Zeroizing::new(spoken.write());
        if let Spoken::Text(mut text) | Spoken::Question { prompt: mut text, .. } = spoken {
            text.zeroize();
        }
        if self.until <= Instant::now() {
            return self.gone(Why::Late);
        }
        self.write(&frame)
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
