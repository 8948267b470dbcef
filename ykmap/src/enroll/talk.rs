//! Whoever is enrolled, as a dialogue sees them.

use yubiotp::dialogue::Answer;
use zeroize::Zeroizing;

/// Nobody is there any more, or the time is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

/// A person who sees texts and answers questions: at the other end of a socket, or a script in the tests.
pub(crate) trait Talk {
    /// Shows a text: whole lines. It may be shown only together with the next question.
    fn say(&mut self, text: &str) -> Result<(), Gone>;
    /// Asks. `echo` is whether the answer may be seen. The answer has no line end.
    fn ask(&mut self, prompt: &str, echo: bool) -> Result<Answer, Gone>;
}

/// An answer without the blanks around it. Empty: the user only typed Enter.
pub(crate) fn trimmed(answer: &Answer) -> &[u8] {
    answer.0.trim_ascii()
}

/// An answer that was typed before the question was asked.
pub(crate) fn answer(text: &[u8]) -> Answer {
    Answer(Zeroizing::new(text.to_vec()))
}
