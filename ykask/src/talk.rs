//! The socket to the login process: it is both standard input and standard output.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;
use yubiotp::ask::{Event, MAX_QUESTION, NEXT, Question};
use zeroize::Zeroizing;

/// Writes an event, whole. Whether the login process still listens is noticed when reading.
pub(crate) fn tell(event: &Event) {
    let text = event.write();
    let mut rest = text.as_slice();
    // Not `io::stdout()` itself: its buffer would keep what a full socket did not take.
    while !rest.is_empty() {
        match nix::unistd::write(io::stdout(), rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                wait(PollFlags::POLLOUT, None);
            }
            Err(_) => return,
        }
    }
}

/// Reads the question, and what was written after it. `None` if the login process left without one.
pub(crate) fn question() -> Result<Option<(Question, Orders)>, String> {
    // Room for all of it, so that no part stays behind in memory that was too small.
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_QUESTION));
    let mut piece = Zeroizing::new([0; 4096]);
    loop {
        match read(piece.as_mut_slice()) {
            Read::Some(length) => text.extend_from_slice(piece.get(..length).unwrap_or_default()),
            Read::None => {
                wait(PollFlags::POLLIN, None);
                continue;
            }
            Read::End => return Ok(None),
        }
        let end = text.windows(2).position(|pair| pair == b"\n\n").map(|end| end.saturating_add(2));
        let (whole, rest) = match end.and_then(|end| text.split_at_checked(end)) {
            Some(parts) => parts,
            None if text.len() < MAX_QUESTION => continue,
            None => return Err("the question is too long".into()),
        };
        let question = Question::read(whole).map_err(|bad| bad.to_string())?;
        return Ok(Some((question, Orders { unread: rest.to_vec() })));
    }
}

/// An order of the login process after its question.
pub(crate) enum Order {
    /// The next server is to be asked.
    Next,
    /// It has closed the socket, or says what it must not: the end.
    Leave,
    /// Nothing in the time given.
    Nothing,
}

/// Reads orders.
pub(crate) struct Orders {
    unread: Vec<u8>,
}

impl Orders {
    /// Waits so long for an order.
    pub(crate) fn wait(&mut self, time: Duration) -> Order {
        if let Some(order) = self.take() {
            return order;
        }
        if !wait(PollFlags::POLLIN, Some(time)) {
            return Order::Nothing;
        }
        let mut piece = [0; 64];
        match read(&mut piece) {
            Read::Some(length) => self.unread.extend_from_slice(piece.get(..length).unwrap_or_default()),
            Read::None => return Order::Nothing,
            Read::End => return Order::Leave,
        }
        self.take().unwrap_or(Order::Nothing)
    }

    fn take(&mut self) -> Option<Order> {
        if self.unread.starts_with(NEXT) {
            self.unread.drain(..NEXT.len());
            return Some(Order::Next);
        }
        if NEXT.starts_with(&self.unread) { None } else { Some(Order::Leave) }
    }
}

enum Read {
    Some(usize),
    None,
    End,
}

fn read(piece: &mut [u8]) -> Read {
    match nix::unistd::read(io::stdin(), piece) {
        Ok(0) => Read::End,
        Ok(length) => Read::Some(length),
        Err(Errno::EINTR | Errno::EAGAIN) => Read::None,
        Err(_) => Read::End,
    }
}

/// Whether the socket is ready within a time.
fn wait(for_what: PollFlags, time: Option<Duration>) -> bool {
    // One more, so that a time that is over is not polled for again and again.
    let milliseconds = |time: Duration| PollTimeout::try_from(time.as_millis().saturating_add(1)).ok();
    let time = time.and_then(milliseconds).unwrap_or(PollTimeout::NONE);
    let socket = io::stdin();
    let mut sockets = [PollFd::new(socket.as_fd(), for_what)];
    poll(&mut sockets, time).is_ok_and(|ready| ready > 0)
}
