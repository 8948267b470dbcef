//! The questions of modules, and the answers of the application.

use super::Code;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::c_int;
use std::rc::Rc;

/// How a module wants a message shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A question whose answer must not be seen.
    EchoOff,
    /// A question whose answer may be seen.
    EchoOn,
    /// A complaint; no answer.
    Error,
    /// A remark; no answer.
    Info,
    /// A style that libpam knows and this application does not.
    Other(c_int),
}

/// One message of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// How to show it.
    pub style: Style,
    /// What it says; bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// The application's answers to a batch of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// One answer a message, in order; `None` and missing ones arrive as NULL.
    Answers(Vec<Option<Vec<u8>>>),
    /// The conversation fails with this code, for instance `Code::CONV_ERR.0`.
    Error(c_int),
    /// PAM_SUCCESS with no array of answers at all, as careless applications give.
    Nothing,
}

/// The application's side of the conversation.
pub trait Conversation {
    /// Answers one batch of messages. A panic in here comes out of the call into [`Pam`](super::Pam) that led to it.
    fn answer(&mut self, prompts: &[Prompt]) -> Reply;
}

/// Every message that a [`Script`] was shown, readable while the login holds the script.
pub type Seen = Rc<RefCell<Vec<Prompt>>>;

/// A conversation written down beforehand: each question takes the next answer; without one left it fails with
/// PAM_CONV_ERR.
#[derive(Debug, Default)]
pub struct Script {
    answers: VecDeque<Vec<u8>>,
    seen: Seen,
}

impl Script {
    /// A script that gives these answers to the first questions.
    pub fn new<A: AsRef<[u8]>>(answers: impl IntoIterator<Item = A>) -> Self {
        let answers = answers.into_iter().map(|answer| answer.as_ref().to_vec()).collect();
        Self { answers, seen: Seen::default() }
    }

    /// What will have been shown; take it before the script goes into [`Pam::start`](super::Pam::start).
    #[must_use]
    pub fn seen(&self) -> Seen {
        Rc::clone(&self.seen)
    }
}

impl Conversation for Script {
    fn answer(&mut self, prompts: &[Prompt]) -> Reply {
        self.seen.borrow_mut().extend_from_slice(prompts);
        let mut answers = Vec::new();
        for prompt in prompts {
            answers.push(match prompt.style {
                Style::Error | Style::Info => None,
                Style::EchoOff | Style::EchoOn | Style::Other(_) => match self.answers.pop_front() {
                    Some(answer) => Some(answer),
                    None => return Reply::Error(Code::CONV_ERR.0),
                },
            });
        }
        Reply::Answers(answers)
    }
}
