//! Walking a stack of lines as libpam does (`pam_dispatch.c`), for every answer that its modules may give.

use super::control::{Action, Answer};
use super::service::Entry;
use std::collections::HashSet;

/// Where one walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct End {
    /// libpam says yes.
    pub(crate) yes: bool,
    /// Our module was asked.
    pub(crate) asked: bool,
    /// Which entry led past the first line of our module, by a jump or an end.
    pub(crate) past: Option<usize>,
}

/// More states than any file that somebody wrote by hand comes to.
const MOST_STATES: usize = 1 << 18;

/// How it looks so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Impression {
    None,
    Positive,
    Negative,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    at: usize,
    level_before: usize,
    impression: Impression,
    status: Answer,
    /// What it looked like when each substack was entered.
    entered: Vec<(Impression, Answer)>,
    asked: bool,
    past: Option<usize>,
}

/// Every end that a walk can come to, if each module gives one of the answers that `answers` says. `None` if there are
/// too many ways.
pub(crate) fn ends(
    stack: &[Entry],
    answers: impl Fn(&Entry) -> Vec<Answer>,
    ours: impl Fn(&Entry) -> bool,
) -> Option<HashSet<End>> {
    let first = stack.iter().position(&ours);
    let start = State {
        at: 0,
        level_before: 0,
        impression: Impression::None,
        status: Answer::PERM_DENIED,
        entered: Vec::new(),
        asked: false,
        past: None,
    };
    let (mut seen, mut ends, mut to_do) = (HashSet::new(), HashSet::new(), vec![start]);
    while let Some(state) = to_do.pop() {
        let Some(entry) = stack.get(state.at) else {
            let yes = state.status == Answer::SUCCESS && state.impression == Impression::Positive;
            ends.insert(End { yes, asked: state.asked, past: state.past });
            continue;
        };
        if !seen.insert(state.clone()) {
            continue;
        }
        if seen.len() > MOST_STATES {
            return None;
        }
        let mut entering = state.clone();
        if state.level_before < entry.level {
            let now = (state.impression, state.status);
            entering.entered.truncate(entry.level.saturating_sub(1));
            entering.entered.resize(entry.level, now);
        }
        entering.level_before = entry.level;
        if entry.is_substack() {
            entering.at = entering.at.saturating_add(1);
            to_do.push(entering);
            continue;
        }
        for answer in answers(entry) {
            let mut next = entering.clone();
            next.asked |= ours(entry);
            next.at = take(&mut next, stack, entry, answer);
            let skipped = first.is_some_and(|first| state.at < first && next.at > first);
            if skipped {
                next.past = Some(state.at);
            }
            to_do.push(next);
        }
    }
    Some(ends)
}

/// Does what the control field says about an answer. Gives the entry that comes next.
fn take(state: &mut State, stack: &[Entry], entry: &Entry, answer: Answer) -> usize {
    let next = state.at.saturating_add(1);
    match entry.control.action(answer) {
        Action::Ignore => next,
        Action::Reset => {
            let entered = entry.level.checked_sub(1).and_then(|level| state.entered.get(level));
            (state.impression, state.status) =
                entered.copied().unwrap_or((Impression::None, Answer::PERM_DENIED));
            next
        }
        action @ (Action::Ok | Action::Done) => {
            let so_far = (state.impression, state.status);
            if state.impression == Impression::None || so_far == (Impression::Positive, Answer::SUCCESS) {
                (state.impression, state.status) = (Impression::Positive, answer);
            }
            let done = action == Action::Done && state.impression == Impression::Positive;
            if done { end_of_level(stack, state.at, entry.level) } else { next }
        }
        action @ (Action::Bad | Action::Die) => {
            if state.impression != Impression::Negative {
                let status = if answer == Answer::IGNORE { Answer::PERM_DENIED } else { answer };
                (state.impression, state.status) = (Impression::Negative, status);
            }
            if action == Action::Die { end_of_level(stack, state.at, entry.level) } else { next }
        }
        Action::Jump(count) => {
            let mut at = state.at;
            for _ in 0..count {
                let stays = |at: usize| stack.get(at.saturating_add(1)).map(|next| next.level);
                if stays(at).is_none_or(|level| level < entry.level) {
                    // More than there are to skip: libpam takes it for a no.
                    (state.impression, state.status) = (Impression::Negative, Answer::PERM_DENIED);
                    break;
                }
                at = at.saturating_add(1);
                while stays(at).is_some_and(|level| level > entry.level) {
                    at = at.saturating_add(1);
                }
            }
            at.saturating_add(1)
        }
    }
}

/// Behind the last entry of this substack; of the whole stack, if it is none.
fn end_of_level(stack: &[Entry], at: usize, level: usize) -> usize {
    let rest = stack.iter().skip(at.saturating_add(1));
    at.saturating_add(1).saturating_add(rest.take_while(|entry| entry.level >= level).count())
}
