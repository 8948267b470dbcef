//! The way of libpam through the lines of one kind (`pam_dispatch.c`): where it is, and what it thinks so far.

use super::control::{Action, Answer};
use super::service::Entry;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Impression {
    None,
    Positive,
    Negative,
}

/// The state so far.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Dispatch {
    /// The entry that comes next; behind the last one at the end.
    pub(crate) at: usize,
    level_before: usize,
    impression: Impression,
    status: Answer,
    /// The state when each substack was entered.
    entered: Vec<(Impression, Answer)>,
}

impl Dispatch {
    /// Before the first entry.
    pub(crate) const fn new() -> Self {
        Self {
            at: 0,
            level_before: 0,
            impression: Impression::None,
            status: Answer::PERM_DENIED,
            entered: Vec::new(),
        }
    }

    /// Whether the lines would say yes if they ended here.
    pub(crate) fn is_yes(&self) -> bool {
        self.status == Answer::SUCCESS && self.impression == Impression::Positive
    }

    /// Whether the lines will not say yes, whatever comes: only a `reset` changes that.
    pub(crate) fn is_no(&self) -> bool {
        let other = self.impression == Impression::Positive && self.status != Answer::SUCCESS;
        other || self.impression == Impression::Negative
    }

    /// Comes to an entry: to be called before [`Dispatch::take`]. Steps over one that only begins a substack.
    pub(crate) fn enter(&mut self, entry: &Entry) {
        if self.level_before < entry.level {
            let now = (self.impression, self.status);
            self.entered.truncate(entry.level.saturating_sub(1));
            self.entered.resize(entry.level, now);
        }
        self.level_before = entry.level;
        if entry.is_substack() {
            self.at = self.at.saturating_add(1);
        }
    }

    /// Does what the control field of this entry of `stack` says about an answer.
    pub(crate) fn take(&mut self, stack: &[Entry], entry: &Entry, answer: Answer) {
        let next = self.at.saturating_add(1);
        self.at = match entry.control.action(answer) {
            Action::Ignore => next,
            Action::Reset => {
                let entered = entry.level.checked_sub(1).and_then(|level| self.entered.get(level));
                (self.impression, self.status) =
                    entered.copied().unwrap_or((Impression::None, Answer::PERM_DENIED));
                next
            }
            action @ (Action::Ok | Action::Done) => {
                let so_far = (self.impression, self.status);
                if self.impression == Impression::None || so_far == (Impression::Positive, Answer::SUCCESS) {
                    (self.impression, self.status) = (Impression::Positive, answer);
                }
                let done = action == Action::Done && self.impression == Impression::Positive;
                if done { end_of_level(stack, self.at, entry.level) } else { next }
            }
            action @ (Action::Bad | Action::Die) => {
                if self.impression != Impression::Negative {
                    let status = if answer == Answer::IGNORE { Answer::PERM_DENIED } else { answer };
                    (self.impression, self.status) = (Impression::Negative, status);
                }
                if action == Action::Die { end_of_level(stack, self.at, entry.level) } else { next }
            }
            Action::Jump(count) => self.jump(stack, entry.level, count),
        };
    }

    fn jump(&mut self, stack: &[Entry], level: usize, count: u32) -> usize {
        let (at, is_short) = behind_jump(stack, self.at, level, count);
        if is_short {
            // More than there are to skip: libpam takes it for a no.
            (self.impression, self.status) = (Impression::Negative, Answer::PERM_DENIED);
        }
        at
    }
}

/// Where a jump over `count` lines of the entry `at` ends, and whether there are fewer to skip. A substack counts as one line.
pub(crate) fn behind_jump(stack: &[Entry], mut at: usize, level: usize, count: u32) -> (usize, bool) {
    for _ in 0..count {
        let stays = |at: usize| stack.get(at.saturating_add(1)).map(|next| next.level);
        if stays(at).is_none_or(|next| next < level) {
            return (at.saturating_add(1), true);
        }
        at = at.saturating_add(1);
        while stays(at).is_some_and(|next| next > level) {
            at = at.saturating_add(1);
        }
    }
    (at.saturating_add(1), false)
}

/// Behind the last entry of this substack; of the whole stack, if it is none.
fn end_of_level(stack: &[Entry], at: usize, level: usize) -> usize {
    let rest = stack.iter().skip(at.saturating_add(1));
    at.saturating_add(1).saturating_add(rest.take_while(|entry| entry.level >= level).count())
}
