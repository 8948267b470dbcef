//! The other end of standard input and output: the module, or a server of `ykmap self`.

use super::talk::{Gone, Talk};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use std::time::{Duration, Instant};
use yubiotp::dialogue::{Answer, End, Frames, LoginFacts, Spoken};
use zeroize::{Zeroize as _, Zeroizing};

/// How long the other end may take to read what is said to it.
const UNREAD: Duration = Duration::from_secs(30);

/// Frames over standard input and output, until a deadline.
pub(super) struct Channel {
    frames: Frames,
    deadline: Instant,
}

impl Channel {
    /// For so long.
    pub(super) fn new(time: Duration) -> Self {
        // A pipe has no such limit, and needs none.
        let _ = set_socket_timeout(std::io::stdout(), Timeout::Send, Some(UNREAD));
        let now = Instant::now();
        Self { frames: Frames::default(), deadline: now.checked_add(time).unwrap_or(now) }
    }

    /// The first message of a login.
    pub(super) fn login_facts(&mut self) -> Result<LoginFacts, Gone> {
        self.next(Frames::login_facts)
    }

    /// The last message.
    pub(super) fn end(self, end: End) {
        let _ = send(Spoken::End(end));
    }

    fn next<T>(
        &mut self,
        read: fn(&mut Frames) -> Result<Option<T>, yubiotp::dialogue::BadFrame>,
    ) -> Result<T, Gone> {
        let mut piece = Zeroizing::new([0; 4096]);
        loop {
            if let Some(message) = read(&mut self.frames).map_err(|_| Gone)? {
                return Ok(message);
            }
            self.wait()?;
            match rustix::io::read(std::io::stdin(), piece.as_mut_slice()) {
                Ok(0) => return Err(Gone),
                Ok(count) => self.frames.feed(piece.get(..count).unwrap_or_default()),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(_) => return Err(Gone),
            }
        }
    }

    fn wait(&self) -> Result<(), Gone> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Gone);
            }
            let time = Timespec::try_from(left).map_err(|_| Gone)?;
            match poll(&mut [PollFd::new(&std::io::stdin(), PollFlags::IN)], Some(&time)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(_) => return Err(Gone),
            }
        }
    }
}

impl Talk for Channel {
    fn say(&mut self, text: &str) -> Result<(), Gone> {
        send(Spoken::Text(text.to_owned()))
    }

    fn ask(&mut self, prompt: &str, echo: bool) -> Result<Answer, Gone> {
        send(Spoken::Question { prompt: prompt.to_owned(), echo })?;
        self.next(Frames::answer)
    }
}

/// Says it, and wipes it: it may hold the secret of an app.
fn send(spoken: Spoken) -> Result<(), Gone> {
    let frame = Zeroizing::new(spoken.write());
    if let Spoken::Text(mut text) | Spoken::Question { prompt: mut text, .. } = spoken {
        text.zeroize();
    }
    let mut rest = frame.as_slice();
    while !rest.is_empty() {
        // Not by way of a buffer that is not wiped.
        match rustix::io::write(std::io::stdout(), rest) {
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(_) => return Err(Gone),
        }
    }
    Ok(())
}
