//! Remedies for auth lines that ask for less than it seems, or refuse everybody: an edit only where it is enough,
//! opens nothing, and keeps nobody out.

use super::super::report::shown;
use super::access::{Access, Unusual};
use super::analysis::StackAnalysis;
use super::control::{Answer, Control};
use super::role::{Factors, Role};
use super::service::{Entry, Kind, Place, What};
use super::walk::{End, Listing};
use std::collections::HashSet;
use yubiotp::diagnostic::Remedy;

/// Where no edit of one line or two is enough.
pub(super) const SEE_EXAMPLES: &str = "see pam_yubiotp(8), EXAMPLES, for lines that ask for both";

/// A single remedy in words.
pub(super) fn text(change: impl Into<String>) -> Vec<Remedy> {
    vec![Remedy::Text(change.into())]
}

/// Of more edits, the first are looked at.
const MOST_EDITS: usize = 6;

/// An edit of a line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Do {
    WriteRequired,
    TakeOut,
    /// Its file is included; a yes in it is not to end the lines behind.
    Substack,
}

type Edit = (Do, Place, String);

impl StackAnalysis<'_> {
    /// The fewest edits after which these lines ask for an OTP, and for what else they ask for now.
    pub(super) fn fix(&self) -> Vec<Remedy> {
        let edits = self.edits();
        let mut sets: Vec<u32> = (1..1_u32 << edits.len()).collect();
        sets.sort_by_key(|set| set.count_ones());
        let chosen = |set: u32| {
            let among = edits.iter().zip(0_u32..).filter(move |(_, bit)| set & (1 << bit) != 0);
            among.map(|(edit, _)| edit).collect::<Vec<_>>()
        };
        let found = sets.into_iter().map(chosen).find(|set| self.is_right_for_all(set));
        let Some(found) = found else { return text(SEE_EXAMPLES) };
        let words = found.into_iter().map(|(what, place, module)| match what {
            Do::WriteRequired => format!("write required in the line of {module} ({place})"),
            Do::TakeOut => format!("remove the line of {module} ({place})"),
            Do::Substack => {
                let file = shown(&place.file);
                format!("write substack in place of include in the auth line that includes {file}")
            }
        });
        words.map(Remedy::Text).collect()
    }

    fn edits(&self) -> Vec<Edit> {
        let auth = &self.access.auth;
        let asks = |role: &Role| matches!(role, Role::Password { .. } | Role::Other { .. });
        let only_one_asks = auth.roles.iter().filter(|role| asks(role)).count() == 1;
        let own = self.service.files.first();
        let mut edits = Vec::<Edit>::new();
        for (entry, role) in auth.entries.iter().zip(&auth.roles) {
            let is_required = entry.control == Control::read("required");
            let what = match role {
                Role::Ours { broken: false, .. } if !is_required => Do::WriteRequired,
                // Of several, each may be for other people.
                Role::Password { .. } if !is_required && only_one_asks && self.is_its_own(entry) => {
                    Do::WriteRequired
                }
                Role::Deny if self.is_its_own(entry) => Do::TakeOut,
                Role::Password { .. } if own != Some(&entry.place.file) => Do::Substack,
                _ => continue,
            };
            let same = |(own, place, _): &Edit| *own == Do::Substack && place.file == entry.place.file;
            if edits.len() < MOST_EDITS && !(what == Do::Substack && edits.iter().any(same)) {
                edits.push((what, entry.place.clone(), entry.module().to_owned()));
            }
        }
        edits
    }

    /// Whether the edits are right for each service that has one of these lines.
    fn is_right_for_all(&self, edits: &[&Edit]) -> bool {
        let concerned = self.services.iter().filter(|service| {
            let has = |(what, place, _): &Edit| {
                *what != Do::Substack && service.entries.iter().any(|entry| entry.place == *place)
            };
            service.name == self.service.name || edits.iter().any(|edit| has(edit))
        });
        concerned.into_iter().all(|service| {
            let before = Access::new(service, None);
            let after = before.edited(|auth, _| edits.iter().for_each(|edit| apply(auth, edit)));
            is_right(&before, &after) == Some(true)
        })
    }

    /// The lines that always say no and keep everybody out.
    pub(super) fn always_no(&self) -> Vec<&Entry> {
        let auth = &self.access.auth;
        let denies: Vec<_> = auth
            .entries
            .iter()
            .zip(&auth.roles)
            .filter(|(_, role)| **role == Role::Deny)
            .map(|(entry, _)| entry)
            .collect();
        let to_blame = |entry: &&&Entry| {
            let without = self.access.edited(|auth, _| auth.retain(|own| own.place != entry.place));
            let ends = without.any_ends(Listing::Token, without.all(), Unusual::default());
            ends.is_some_and(|ends| is_accepted(&ends))
        };
        let one: Vec<_> = denies.iter().filter(to_blame).copied().collect();
        if one.is_empty() { denies } else { one }
    }
}

fn apply(auth: &mut Vec<Entry>, (what, place, _): &Edit) {
    match what {
        Do::WriteRequired => {
            for entry in auth.iter_mut().filter(|entry| entry.place == *place) {
                entry.control = Control::read("required");
            }
        }
        Do::TakeOut => auth.retain(|entry| entry.place != *place),
        Do::Substack => {
            let Some(first) = auth.iter().position(|entry| entry.place.file == place.file) else { return };
            for entry in auth.iter_mut().filter(|entry| entry.place.file == place.file) {
                entry.level = entry.level.saturating_add(1);
            }
            let Some(level) = auth.get(first).map(|entry| entry.level.saturating_sub(1)) else { return };
            let control = Control::missing();
            let begin = Entry {
                place: place.clone(),
                kind: Kind::Auth,
                level,
                what: What::Substack,
                control,
                control_text: String::new(),
                suspect: false,
            };
            auth.insert(first, begin);
        }
    }
}

fn is_accepted(ends: &HashSet<End>) -> bool {
    ends.iter().any(|end| end.auth && end.accepted)
}

/// Whether the lines ask everybody whom no deliberate gate exempts for an OTP and for what else they ask, and let in
/// the users who got in with a password and an OTP before.
fn is_right(before: &Access, after: &Access) -> Option<bool> {
    let usual = Unusual::default();
    let all = before.all();
    let yes = |ends: HashSet<End>| ends.iter().any(|end| end.auth);
    let has_nullok = before.auth.roles.iter().any(|role| matches!(role, Role::Ours { nullok: true, .. }));
    for gates in before.assignments() {
        let ends = |access: &Access, listing, has| access.ends(listing, &gates, has, usual);
        let without = all.without(Factors::OTP);
        let unlisted = [before, after].map(|access| ends(access, Listing::NotListed, without).map(yes));
        let asked = ends(before, Listing::Token, all)?.iter().any(|end| end.asked);
        if !asked {
            let was = yes(ends(before, Listing::Token, without)?);
            if yes(ends(after, Listing::Token, without)?) != was || unlisted[0] != unlisted[1] {
                return Some(false);
            }
            continue;
        }
        let two = Factors::PASSWORD.and(Factors::OTP);
        let kept = !is_accepted(&ends(before, Listing::Token, two)?)
            || is_accepted(&ends(after, Listing::Token, two)?);
        let alone = without != Factors::NONE && yes(ends(after, Listing::Token, Factors::OTP)?);
        let listed = is_accepted(&ends(after, Listing::Token, all)?)
            && !yes(ends(after, Listing::Token, without)?)
            && !yes(ends(after, Listing::NoToken, all)?);
        let others = if has_nullok { unlisted[0] == unlisted[1] } else { unlisted[1] == Some(false) };
        let fault = |ours: Answer| {
            let unusual = Unusual { ours: Some(ours), ..usual };
            after.ends(Listing::Token, &gates, all, unusual).is_none_or(yes)
        };
        let faults = [Answer::AUTHINFO_UNAVAIL, Answer::SERVICE_ERR, Answer::CONV_ERR, Answer::MAXTRIES];
        if !(kept && !alone && listed && others) || faults.into_iter().any(fault) {
            return Some(false);
        }
    }
    Some(true)
}
