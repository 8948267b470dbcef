//! `ykmap log --follow`: goes on with what is logged, until it is interrupted or nobody reads any more.

use super::filter::Filter;
use super::reader::Reader;
use super::show::Printer;
use crate::{Context, Done};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::time::Duration;
use yubiotp::diagnostic::{Code, Diagnostic};

/// How often files are looked at.
const PAUSE: Duration = Duration::from_millis(250);
/// How long after the end of journalctl a signal that ended both may come.
const TOGETHER: Duration = Duration::from_millis(100);

/// Prints the last entries, or all, and then those that are logged later. A signal that ends it is its usual end.
pub(super) fn run(
    context: &Context,
    mut reader: Reader,
    mut printer: Printer,
    filter: &Filter,
    last: Option<usize>,
) -> Done {
    let signals = ending_signals()?;
    match last {
        Some(count) => {
            let _ = super::last(&mut reader, count, filter).iter().all(|entry| printer.print(entry));
        }
        None => {
            let _ = reader.by_ref().filter(|entry| filter.matches(entry)).all(|entry| printer.print(&entry));
        }
    }
    if !printer.flush() {
        return Ok(());
    }
    reader.remarks().iter().for_each(|found| context.note(found));
    let mut follower = reader.follow()?;
    loop {
        while let Some(entry) = follower.next() {
            if filter.matches(&entry) && !printer.print(&entry) {
                return Ok(());
            }
        }
        let has_ended = follower.has_ended();
        let pause = if has_ended { Some(TOGETHER) } else { follower.readable().is_none().then_some(PAUSE) };
        let journal = follower.readable().filter(|_| !has_ended);
        if !printer.flush() || wait(&signals, journal, pause) {
            follower.remarks().iter().for_each(|found| context.note(found));
            return Ok(());
        }
        if has_ended {
            let found = follower.remarks().pop();
            return Err(found
                .unwrap_or_else(|| Diagnostic::error(Code::LogUnreadable, "journalctl ended"))
                .into());
        }
    }
}

/// The signals that end a command. They are read, and do not end it at once.
fn ending_signals() -> Result<SignalFd, Diagnostic> {
    let mut set = SigSet::empty();
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().for_each(|signal| set.add(signal));
    let signals = set
        .thread_block()
        .and_then(|()| SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC));
    signals.map_err(|why| {
        Diagnostic::error(Code::InternalError, format!("signals cannot be read: {}", why.desc()))
    })
}

/// Waits for entries. Returns whether it is the end: by a signal, or because standard output has no reader any more.
fn wait(signals: &SignalFd, journal: Option<std::os::fd::BorrowedFd<'_>>, pause: Option<Duration>) -> bool {
    let stdout = std::io::stdout();
    let mut waiting = vec![PollFd::new(signals, PollFlags::IN), PollFd::new(&stdout, PollFlags::empty())];
    waiting.extend(journal.map(|journal| PollFd::from_borrowed_fd(journal, PollFlags::IN)));
    let pause = pause.and_then(|pause| Timespec::try_from(pause).ok());
    // Interrupted by another signal: what is there is looked at again.
    let _ = poll(&mut waiting, pause.as_ref());
    let gone = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
    waiting.get(1).is_some_and(|stdout| stdout.revents().intersects(gone))
        || matches!(signals.read_signal(), Ok(Some(_)))
}
