//! The program `yubiotp-ask`, for one question.

use crate::Fault;
use crate::program::{Faults, Program};
use std::num::NonZeroU32;
use std::path::Path;
use std::time::{Duration, Instant};
use yubiotp::ask::{Event, Events, NEXT};

/// The program, running.
pub(super) struct Asker {
    program: Program,
    events: Events,
    since: Instant,
    deadline: Duration,
}

/// The next news from the program.
pub(super) enum Heard {
    Event(Event),
    /// It has closed its end: there is nothing more to tell.
    End,
    /// The deadline has passed.
    Deadline,
}

const FAULTS: Faults =
    Faults { missing: |path| Fault::NoProgram { path }, failed: |path, why| Fault::Program { path, why } };

impl Asker {
    /// Starts the program.
    pub(super) fn start(path: &Path, deadline: NonZeroU32) -> Result<Self, Fault> {
        let (since, deadline) = (Instant::now(), Duration::from_millis(deadline.get().into()));
        let program = Program::start(path, &[], FAULTS)?;
        Ok(Self { program, events: Events::default(), since, deadline })
    }

    /// How long it has been, in milliseconds.
    pub(super) fn waited(&self) -> u32 {
        u32::try_from(self.since.elapsed().as_millis()).unwrap_or(u32::MAX)
    }

    /// A fault of the program itself.
    pub(super) fn fault(&self, why: String) -> Fault {
        self.program.fault(why)
    }

    /// Says all of it, before the deadline.
    pub(super) fn say(&self, text: &[u8]) -> Result<(), Fault> {
        match self.program.say(text, || self.left())? {
            true => Ok(()),
            false => Err(self.fault("did not read the question and was killed".to_owned())),
        }
    }

    /// Has the next server asked. If that cannot be said, the program goes on by the clock.
    pub(super) fn say_next(&self) {
        self.program.mention(NEXT);
    }

    /// Waits for what it tells next.
    pub(super) fn listen(&mut self) -> Result<Heard, Fault> {
        let mut piece = [0; 4096];
        loop {
            match self.events.next() {
                Some(Ok(event)) => return Ok(Heard::Event(event)),
                Some(Err(bad)) => return Err(self.fault(bad.to_string())),
                None => {}
            }
            match self.program.hear(&mut piece, || self.left())? {
                None => return Ok(Heard::Deadline),
                Some(0) if self.events.is_cut_off() => {
                    return Err(self.fault("ended in the middle of what it said".to_owned()));
                }
                Some(0) => return Ok(Heard::End),
                Some(count) => self.events.feed(piece.get(..count).unwrap_or_default()),
            }
        }
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_sub(self.since.elapsed())
    }
}
