//! One handle of a libpam that follows a script.

use crate::handle::{Answer, Handle, Item, Priority, Remembered, Standing};
use pam::constants::PamResultCode;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::CStr;
use std::time::{Duration, Instant};
use ykhost::store::{Undisturbed, plainly};
use zeroize::Zeroizing;

/// The call that panics, with a secret in the message.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Panics {
    #[default]
    Never,
    User,
    Ask,
    HandOn,
    Tell,
    /// The record that the account line reads.
    Remember,
    Remembered,
}

/// The answers to give, and a record of all calls.
#[derive(Default)]
pub(crate) struct Scripted {
    pub(crate) user: Vec<u8>,
    /// PAM_SERVICE, in place of `test`.
    pub(crate) service: Option<&'static str>,
    /// PAM_RHOST.
    pub(crate) rhost: Option<&'static str>,
    pub(crate) answers: RefCell<VecDeque<Vec<u8>>>,
    pub(crate) prompts: RefCell<Vec<String>>,
    /// What was shown without a question, and after how many lines of the log.
    pub(crate) told: RefCell<Vec<(String, usize)>>,
    pub(crate) authtok: Option<Vec<u8>>,
    pub(crate) log: RefCell<Vec<String>>,
    /// When each line of that was written.
    pub(crate) logged: RefCell<Vec<Instant>>,
    pub(crate) delayed: bool,
    /// When each answer was given.
    pub(crate) answered: RefCell<Vec<Instant>>,
    /// Since when, how long, and after how many prompts it was to wait.
    pub(crate) waits: RefCell<Vec<(Instant, Duration, usize)>>,
    pub(crate) remembered: Option<Remembered>,
    pub(crate) panics: Panics,
}

impl Scripted {
    fn panics_at(&self, call: Panics) {
        assert!(self.panics != call, "hunter2");
    }
}

impl Handle for Scripted {
    fn user(&mut self) -> Result<Vec<u8>, PamResultCode> {
        self.panics_at(Panics::User);
        Ok(self.user.clone())
    }
    fn item(&self, item: Item) -> Option<Vec<u8>> {
        match item {
            Item::Service => Some(self.service.unwrap_or("test").into()),
            Item::User => Some(self.user.clone()),
            Item::RemoteHost => self.rhost.map(Into::into),
            Item::Terminal => None,
        }
    }
    fn environment(&self, _name: &CStr) -> Option<Vec<u8>> {
        None
    }
    fn authtok(&self) -> Option<Answer> {
        self.authtok.clone().map(Zeroizing::new)
    }
    fn set_authtok(&mut self, password: Option<&[u8]>) -> Result<(), PamResultCode> {
        self.panics_at(Panics::HandOn);
        self.authtok = password.map(<[u8]>::to_vec);
        Ok(())
    }
    fn ask(&self, prompt: &str, _echo: bool) -> Result<Option<Answer>, PamResultCode> {
        self.prompts.borrow_mut().push(prompt.to_owned());
        self.panics_at(Panics::Ask);
        let answer = self.answers.borrow_mut().pop_front().ok_or(PamResultCode::PAM_CONV_ERR)?;
        self.answered.borrow_mut().push(Instant::now());
        Ok(Some(Zeroizing::new(answer)))
    }
    fn tell(&self, text: &str) -> Result<(), PamResultCode> {
        self.told.borrow_mut().push((text.to_owned(), self.log.borrow().len()));
        self.panics_at(Panics::Tell);
        Err(PamResultCode::PAM_CONV_ERR)
    }
    fn log(&self, _priority: Priority, line: &str) {
        self.log.borrow_mut().push(line.to_owned());
        self.logged.borrow_mut().push(Instant::now());
    }
    fn delay_refusal(&mut self, _microseconds: u32) {
        self.delayed = true;
    }
    fn wait(&self, since: Instant, delay: Duration) {
        self.waits.borrow_mut().push((since, delay, self.prompts.borrow().len()));
    }
    fn undisturbed(&self) -> Undisturbed {
        plainly
    }
    fn remember(&mut self, what: Remembered) -> Result<(), PamResultCode> {
        let is_yes = matches!(what.standing, Standing::Accepted);
        self.remembered = Some(what);
        // After it was kept.
        if is_yes {
            self.panics_at(Panics::Remember);
        }
        Ok(())
    }
    fn remembered(&self) -> Option<&Remembered> {
        self.panics_at(Panics::Remembered);
        self.remembered.as_ref()
    }
}
