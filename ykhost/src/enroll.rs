//! The program `yubiotp-enroll`, for one login.
//!
//! It decides by itself who may enroll, and writes. Nobody is let in by its word: who was enrolled is read again afterwards.

use crate::Fault;
use crate::program::{Faults, Program};
use crate::settings::LoginSettings;
use std::time::{Duration, Instant};
use yubiotp::dialogue::{Answer, Frames, LoginFacts, Spoken};
use zeroize::Zeroizing;

/// How long it may take to say the next thing, beside the time that locks and validation servers may take.
const QUIET: Duration = Duration::from_secs(10);

const FAULTS: Faults = Faults {
    missing: |path| Fault::NoEnrollProgram { path },
    failed: |path, why| Fault::EnrollProgram { path, why },
};

/// The program, running. Killed when this is dropped.
pub struct Enrollment {
    program: Program,
    frames: Frames,
    quiet: Duration,
}

impl Enrollment {
    /// Starts the program that the settings name, for this login.
    ///
    /// # Errors
    /// It is missing, may be changed by others, or cannot be started.
    pub fn start(settings: &LoginSettings, facts: &LoginFacts) -> Result<Self, Fault> {
        let servers = settings.online().map_or(0, |online| online.deadline.get());
        // Two locks of the store and one of the lists, at most.
        let quiet = QUIET
            .saturating_add(settings.lock_wait.saturating_mul(3))
            .saturating_add(Duration::from_millis(servers.into()));
        let program = Program::start(&settings.enroll.program, &["login"], FAULTS)?;
        let it = Self { program, frames: Frames::default(), quiet };
        let facts = facts
            .write()
            .ok_or_else(|| it.program.fault("takes no login with so long a name or line".to_owned()))?;
        it.say(&facts)?;
        Ok(it)
    }

    /// Waits for what it says next. After an end, nothing follows.
    ///
    /// # Errors
    /// It ended, said nothing in time, or said what nobody says.
    pub fn listen(&mut self) -> Result<Spoken, Fault> {
        let (since, mut piece) = (Instant::now(), Zeroizing::new([0; 4096]));
        loop {
            match self.frames.spoken() {
                Ok(Some(spoken)) => return Ok(spoken),
                Ok(None) => {}
                Err(bad) => return Err(self.program.fault(bad.to_string())),
            }
            match self.program.hear(piece.as_mut_slice(), || self.quiet.saturating_sub(since.elapsed()))? {
                None => return Err(self.program.fault("said nothing in time and was killed".to_owned())),
                Some(0) => return Err(self.program.fault("ended early".to_owned())),
                Some(count) => self.frames.feed(piece.get(..count).unwrap_or_default()),
            }
        }
    }

    /// Sends an answer.
    ///
    /// # Errors
    /// It is too long, or the program does not read it.
    pub fn answer(&self, answer: Answer) -> Result<(), Fault> {
        match answer.write() {
            Some(frame) => self.say(&frame),
            None => Err(self.program.fault("takes no answer that is so long".to_owned())),
        }
    }

    fn say(&self, frame: &[u8]) -> Result<(), Fault> {
        let since = Instant::now();
        match self.program.say(frame, || self.quiet.saturating_sub(since.elapsed()))? {
            true => Ok(()),
            false => Err(self.program.fault("did not read what was said and was killed".to_owned())),
        }
    }
}
