//! Whether a history keeps the promises. A position is a register that only grows, and an OK raises it, so this is
//! enough: no search over orders is needed.

use crate::history::{Answer, Event};
use std::collections::BTreeMap;
use std::time::Duration;

/// A promise that was broken, with the place in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Violation {
    /// This OTP got OK, and so did another question about it.
    Twice(usize),
    /// This one got OK although an equal or higher one of its token had got it before it was asked about.
    Behind(usize),
    /// This one was called replayed, and no equal or higher one of its token was offered before that was said.
    WithoutCause(usize),
    /// This got an answer that is none of those.
    Unexpected(usize),
    /// The store has this token lower than its highest OK.
    Lost(usize),
}

/// Every broken promise. `stored` has the last position of each token, if the store was asked.
pub(crate) fn check(history: &[Event], stored: Option<&BTreeMap<usize, u32>>) -> Vec<Violation> {
    let mut tokens = BTreeMap::<usize, Vec<usize>>::new();
    for (index, event) in history.iter().enumerate() {
        tokens.entry(event.token).or_default().push(index);
    }
    let mut violations = Vec::new();
    for (token, events) in tokens {
        let of: Vec<_> = events.iter().map(|&index| (index, &history[index])).collect();
        let oks: Vec<_> = of.iter().copied().filter(|(_, event)| event.is_ok()).collect();
        twice(&oks, &mut violations);
        behind(&oks, &mut violations);
        without_cause(&of, &mut violations);
        let highest = oks.iter().map(|(_, event)| event.position).max();
        if stored.is_some_and(|stored| stored.get(&token).copied() < highest) {
            violations.push(Violation::Lost(token));
        }
    }
    let other = |(index, event): (usize, &Event)| {
        matches!(event.answer, Answer::Other(_)).then_some(Violation::Unexpected(index))
    };
    violations.extend(history.iter().enumerate().filter_map(other));
    violations.sort_unstable();
    violations
}

type Of<'a> = [(usize, &'a Event)];

fn twice(oks: &Of<'_>, violations: &mut Vec<Violation>) {
    let mut times = BTreeMap::<u32, usize>::new();
    for (_, ok) in oks {
        *times.entry(ok.position).or_default() += 1;
    }
    let again = oks.iter().filter(|(_, ok)| times[&ok.position] > 1);
    violations.extend(again.map(|&(index, _)| Violation::Twice(index)));
}

fn behind(oks: &Of<'_>, violations: &mut Vec<Violation>) {
    // The highest OK that had ended by then.
    let mut ended: Vec<(Duration, u32)> = oks.iter().map(|(_, ok)| (ok.ended, ok.position)).collect();
    ended.sort_unstable();
    let mut highest = 0;
    for one in &mut ended {
        highest = highest.max(one.1);
        one.1 = highest;
    }
    for &(index, ok) in oks {
        let before = ended.partition_point(|(end, _)| *end < ok.begun);
        if before.checked_sub(1).is_some_and(|last| ended[last].1 >= ok.position) {
            violations.push(Violation::Behind(index));
        }
    }
}

fn without_cause(of: &Of<'_>, violations: &mut Vec<Violation>) {
    let mut begun: Vec<(Duration, u32, usize)> =
        of.iter().map(|&(index, event)| (event.begun, event.position, index)).collect();
    begun.sort_unstable();
    // The two highest that were offered by then: one of them may be the question itself.
    let mut highest = Vec::with_capacity(begun.len());
    let mut two: [Option<(u32, usize)>; 2] = [None; 2];
    for &(_, position, index) in &begun {
        let mut three = [two[0], two[1], Some((position, index))];
        three.sort_unstable();
        two = [three[1], three[2]];
        highest.push(two);
    }
    for &(index, event) in of.iter().filter(|(_, event)| event.answer == Answer::Replayed) {
        let before = begun.partition_point(|(begin, _, _)| *begin < event.ended);
        let offered = before.checked_sub(1).map_or([None; 2], |last| highest[last]);
        let mut others = offered.into_iter().flatten().filter(|(_, other)| *other != index);
        if !others.any(|(position, _)| position >= event.position) {
            violations.push(Violation::WithoutCause(index));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::silence;

    /// A question about a position of token 0, to server 0.
    fn asked(position: u32, begun: u64, ended: u64, answer: Answer) -> Event {
        let [begun, ended] = [begun, ended].map(Duration::from_millis);
        Event { token: 0, position, server: 0, begun, ended, answer }
    }

    fn found(history: &[Event]) -> Vec<Violation> {
        check(history, None)
    }

    #[test]
    fn nothing_is_wrong() {
        use Answer::{Ok, Replayed, Undecided};
        let good = [
            asked(1, 0, 1, Ok),
            asked(1, 2, 3, Replayed),
            // Both at once: either order explains it.
            asked(3, 4, 9, Ok),
            asked(2, 5, 8, Ok),
            asked(3, 4, 9, Replayed),
            // Nobody knows whether it was stored; so it may be replayed, and what is below it too.
            asked(5, 10, 11, Undecided),
            asked(5, 12, 13, Replayed),
            asked(4, 12, 13, Replayed),
            asked(7, 14, 15, Undecided),
            asked(7, 16, 17, Ok),
        ];
        assert_eq!(found(&good), []);
        assert_eq!(check(&good, Some(&[(0, 7)].into())), []);
        // Other tokens do not count.
        let mut other = asked(1, 20, 21, Ok);
        other.token = 1;
        assert_eq!(found(&[&good[..], &[other]].concat()), []);
    }

    #[test]
    fn twice_whether_at_once_or_later() {
        use Answer::Ok;
        let at_once = [asked(1, 0, 5, Ok), asked(1, 1, 4, Ok)];
        assert_eq!(found(&at_once), [Violation::Twice(0), Violation::Twice(1)]);
        let later = [asked(1, 0, 5, Ok), asked(1, 6, 7, Ok)];
        assert_eq!(found(&later), [Violation::Twice(0), Violation::Twice(1), Violation::Behind(1)]);
    }

    #[test]
    fn behind_one_that_had_ended() {
        use Answer::Ok;
        assert_eq!(found(&[asked(2, 0, 5, Ok), asked(1, 6, 7, Ok)]), [Violation::Behind(1)]);
        assert_eq!(found(&[asked(2, 0, 5, Ok), asked(1, 4, 7, Ok)]), []);
        // The order in the history is of no importance.
        assert_eq!(found(&[asked(1, 6, 7, Ok), asked(2, 0, 5, Ok)]), [Violation::Behind(0)]);
    }

    #[test]
    fn replayed_without_cause() {
        use Answer::{Ok, Replayed};
        assert_eq!(found(&[asked(1, 0, 1, Replayed)]), [Violation::WithoutCause(0)]);
        assert_eq!(found(&[asked(1, 0, 1, Ok), asked(2, 2, 3, Replayed)]), [Violation::WithoutCause(1)]);
        // Offered too late to be its cause.
        assert_eq!(found(&[asked(2, 0, 1, Replayed), asked(2, 2, 3, Ok)]), [Violation::WithoutCause(0)]);
        assert_eq!(found(&[asked(2, 0, 3, Replayed), asked(2, 2, 3, Ok)]), []);
    }

    #[test]
    fn answers_of_no_kind_and_a_store_that_forgot() {
        let other = [asked(1, 0, 1, Answer::Other("BAD_OTP".to_owned()))];
        assert_eq!(found(&other), [Violation::Unexpected(0)]);
        let ok = [asked(3, 0, 1, Answer::Ok)];
        assert_eq!(check(&ok, Some(&[(0, 2)].into())), [Violation::Lost(0)]);
        assert_eq!(check(&ok, Some(&BTreeMap::new())), [Violation::Lost(0)]);
    }

    #[test]
    fn silence_has_edges() {
        let ms = Duration::from_millis;
        let history = [asked(1, 0, 100, Answer::Ok), asked(2, 110, 400, Answer::Ok)];
        assert_eq!(silence(&history, ms(0), ms(500), |_| true), ms(300));
        assert_eq!(silence(&history, ms(0), ms(900), |_| true), ms(500));
        assert_eq!(silence(&history, ms(0), ms(900), |_| false), ms(900));
        assert_eq!(silence(&history, ms(90), ms(110), |_| true), ms(10));
    }

    /// Random questions to one true register keep every promise, however much they overlap. Where they do not, each
    /// answer that is turned into its opposite breaks one.
    #[test]
    fn each_planted_lie_is_found() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        for round in 0..200 {
            let (mut register, longest) = (0, if round % 2 == 0 { 40 } else { 4 });
            let mut history = Vec::new();
            for n in 10..70 {
                // It is decided at 10n; what is asked about is near the register.
                let position = u32::try_from(n + random(8) - 4).unwrap();
                let (begun, ended) = (10 * n - random(longest), 10 * n + 1 + random(longest));
                let fresh = position > register;
                register = register.max(position);
                let answer = if fresh { Answer::Ok } else { Answer::Replayed };
                history.push(asked(position, begun, ended, answer));
            }
            assert_eq!(found(&history), []);
            let number = usize::try_from(random(60)).unwrap();
            let truth = history[number].answer.clone();
            history[number].answer = if truth == Answer::Ok { Answer::Replayed } else { Answer::Ok };
            assert!(longest > 4 || !found(&history).is_empty(), "{number}, {truth:?}: {history:#?}");
        }
    }
}
