//! A user who enrolls at a login: sees texts, and types what they say.

use crate::libpam::{Code, Conversation, Prompt, Reply, Style};
use crate::soft_app::{self, SoftApp};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// Every text that was shown, in order.
pub type Shown = Rc<RefCell<Vec<String>>>;

/// Answers in order. One that begins with `@` stands for a code of the app whose secret was shown last: `@0` is that of this
/// moment, `@1` the one after it.
#[derive(Debug, Default)]
pub struct Enrolling {
    answers: VecDeque<Vec<u8>>,
    shown: Shown,
}

impl Enrolling {
    /// Types these answers; after them nothing.
    pub fn new<A: AsRef<[u8]>>(answers: impl IntoIterator<Item = A>) -> Self {
        let answers = answers.into_iter().map(|answer| answer.as_ref().to_vec()).collect();
        Self { answers, shown: Shown::default() }
    }

    /// What will have been shown.
    #[must_use]
    pub fn shown(&self) -> Shown {
        Rc::clone(&self.shown)
    }

    fn typed(&mut self) -> Option<Vec<u8>> {
        let answer = self.answers.pop_front()?;
        let Some(off) = answer.strip_prefix(b"@") else { return Some(answer) };
        let app = app(&self.shown.borrow())?;
        let off: u64 = str::from_utf8(off).ok()?.parse().ok()?;
        Some(app.code(soft_app::now() + off).into_bytes())
    }
}

/// The app whose secret was shown last.
#[must_use]
pub fn app(shown: &[String]) -> Option<SoftApp> {
    shown.iter().rev().find_map(|text| {
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix("secret "))?;
        Some(SoftApp::of_secret(line))
    })
}

/// The recovery codes that were shown last, in their order.
#[must_use]
pub fn recovery_codes(shown: &[String]) -> Vec<String> {
    let lines = |text: &String| -> Vec<String> {
        let codes =
            text.lines().map(str::trim).filter(|line| line.len() == 14 && line.matches('-').count() == 3);
        codes.map(str::to_owned).collect()
    };
    shown.iter().rev().map(lines).find(|codes| !codes.is_empty()).unwrap_or_default()
}

impl Conversation for Enrolling {
    fn answer(&mut self, prompts: &[Prompt]) -> Reply {
        let mut answers = Vec::new();
        for Prompt { style, text } in prompts {
            self.shown.borrow_mut().push(text.clone());
            answers.push(match style {
                Style::Error | Style::Info => None,
                Style::EchoOff | Style::EchoOn | Style::Other(_) => match self.typed() {
                    Some(answer) => Some(answer),
                    None => return Reply::Error(Code::CONV_ERR.0),
                },
            });
        }
        Reply::Answers(answers)
    }
}
