//! What is typed at a terminal without being shown.

use crate::failure::Failure;
use crate::out;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{BufRead as _, Read as _};
use yubiotp::diagnostic::cause;
use zeroize::Zeroizing;

/// A terminal that does not show what is typed, until this is dropped. A shell sets its terminal back where a signal ended
/// the command before that.
pub struct Hidden(Termios);

impl Hidden {
    /// `None` if standard input is no terminal.
    #[must_use]
    pub fn begin() -> Option<Self> {
        let before = tcgetattr(std::io::stdin()).ok()?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        hidden.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(std::io::stdin(), OptionalActions::Drain, &hidden).ok()?;
        Some(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Drain, &self.0);
    }
}

/// A line of at most so many bytes, typed without being shown, and without its end. Wiped on drop.
///
/// # Errors
/// It cannot be read, or is longer.
pub fn hidden_line(question: &str, most: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    out::question(question);
    let _hidden = Hidden::begin();
    // Room for all of it, so that no part stays behind in memory that was too small.
    let room = most.saturating_add(2);
    let mut line = Zeroizing::new(Vec::with_capacity(room));
    let limit = u64::try_from(room).unwrap_or(u64::MAX);
    std::io::stdin()
        .lock()
        .take(limit)
        .read_until(b'\n', &mut line)
        .map_err(|why| Failure::input(format!("standard input: {}", cause(&why))))?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    if line.len() > most {
        return Err(Failure::input(format!("what was typed is longer than {most} bytes")));
    }
    Ok(line)
}
