//! The classes of users that a policy makes at one service: those whom it exempts, and those without a token whom it
//! excuses, or does not.

use super::control::Answer;
use super::walk::Listing;
use yubiotp::policy::OnExempt;

/// The classes of users at one service. The default is that of a host without a policy: whoever is not listed is
/// rejected, or excused by `nullok`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PolicyClasses {
    /// The exempt users, in words; `None` if there are none.
    pub(crate) exempt: Option<String>,
    pub(crate) on_exempt: OnExempt,
    /// Whether users who are not listed are excused: all, or all that no rule names.
    pub(crate) excuses: bool,
    /// Whether all of these may postpone enrolling: they are offered it where a line offers enrollment.
    pub(crate) may_postpone: bool,
    /// The users who need a token, in words; `None` if there are none, empty for all of them.
    pub(crate) required: Option<String>,
}

impl Default for PolicyClasses {
    fn default() -> Self {
        Self {
            exempt: None,
            on_exempt: OnExempt::Ignore,
            excuses: false,
            may_postpone: false,
            required: Some(String::new()),
        }
    }
}

impl PolicyClasses {
    pub(crate) const fn on_exempt(&self) -> Answer {
        match self.on_exempt {
            OnExempt::Ignore => Answer::IGNORE,
            OnExempt::Success => Answer::SUCCESS,
        }
    }

    /// The classes that there are.
    pub(crate) fn listings(&self) -> Vec<Listing> {
        let mut all = vec![Listing::Token, Listing::NoToken];
        all.extend(self.required.is_some().then_some(Listing::NotListed));
        all.extend(self.excuses.then_some(Listing::Excused));
        all.extend(self.exempt.is_some().then_some(Listing::Exempt));
        all
    }

    /// Some of these classes, in the order of [`Listing`], in words.
    pub(crate) fn in_words(&self, listings: &[Listing]) -> String {
        if self.listings().len() == listings.len() {
            return "everybody".to_owned();
        }
        let exempt = self.exempt.as_deref().unwrap_or_default();
        match listings {
            [Listing::NoToken, Listing::NotListed] if self.required.as_deref() == Some("") => {
                return "no usable token, or not listed".to_owned();
            }
            [Listing::Token, Listing::NoToken] => return "listed".to_owned(),
            _ => {}
        }
        let words = listings.iter().map(|listing| match listing {
            Listing::Token => "has a usable token".to_owned(),
            Listing::NoToken => "listed without a usable token".to_owned(),
            Listing::NotListed => match self.required.as_deref() {
                None | Some("") => "not listed".to_owned(),
                Some(whom) => format!("not listed ({whom})"),
            },
            Listing::Excused if self.required.is_some() => "not listed, excused (others)".to_owned(),
            Listing::Excused => "not listed, excused".to_owned(),
            Listing::Exempt => format!("exempt ({exempt})"),
        });
        words.collect::<Vec<_>>().join(", or ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Listing::{Excused, Exempt, NoToken, NotListed, Token};

    #[test]
    fn without_a_policy_there_are_three_classes() {
        let classes = PolicyClasses::default();
        assert_eq!(classes.listings(), [Token, NoToken, NotListed]);
        for (listings, words) in [
            (&[Token][..], "has a usable token"),
            (&[NoToken], "listed without a usable token"),
            (&[NotListed], "not listed"),
            (&[NoToken, NotListed], "no usable token, or not listed"),
            (&[Token, NoToken], "listed"),
            (&[Token, NotListed], "has a usable token, or not listed"),
            (&[Token, NoToken, NotListed], "everybody"),
        ] {
            assert_eq!(classes.in_words(listings), words);
        }
    }

    #[test]
    fn a_policy_makes_more() {
        let classes = PolicyClasses {
            exempt: Some("@robots".to_owned()),
            on_exempt: OnExempt::Success,
            excuses: true,
            may_postpone: false,
            required: Some("@ops".to_owned()),
        };
        assert_eq!(classes.listings(), [Token, NoToken, NotListed, Excused, Exempt]);
        assert_eq!(classes.in_words(&[NotListed]), "not listed (@ops)");
        assert_eq!(classes.in_words(&[Excused, Exempt]), "not listed, excused (others), or exempt (@robots)");
        assert_eq!(classes.in_words(&classes.listings()), "everybody");
        assert_eq!(classes.on_exempt(), Answer::SUCCESS);
        let nobody_needs_one = PolicyClasses { required: None, exempt: None, ..classes };
        assert_eq!(nobody_needs_one.listings(), [Token, NoToken, Excused]);
        assert_eq!(nobody_needs_one.in_words(&[Excused]), "not listed, excused");
    }
}
