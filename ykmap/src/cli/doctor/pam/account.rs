//! What follows from the account lines: whom they refuse, and who gets around ours.

use super::super::report::Level;
use super::access::{Front, Row, Unusual};
use super::findings::StackAnalysis;
use super::role::{self, Factors};
use super::service::{Entry, Kind};
use super::walk::Listing;

impl StackAnalysis<'_> {
    /// Everything about the account lines.
    pub(super) fn account(&mut self) {
        let access = self.access;
        let asking = access.auth.entries.iter().find(|entry| entry.is_ours());
        let guard = access.account.entries.iter().find(|entry| entry.is_ours());
        match (asking, guard) {
            (None, Some(guard)) => {
                let nullok = role::has_nullok(guard);
                let who = if nullok { "everybody whom the mapping lists" } else { "everybody" };
                let what = format!("an account line, and no auth line of this module: {who} is refused");
                let change = "add the auth line, or take this one out";
                self.say(Level::Error, Kind::Account, &guard.place, what, change);
            }
            (Some(asking), Some(guard)) => {
                self.refuses_the_excused(asking, guard);
                self.around(guard);
            }
            (Some(asking), None) if self.service.name == "sshd" => {
                let by_key = |row: &Row| {
                    let without = |way: &Factors| {
                        way.without(Factors::SSH_KEY) == Factors::NONE && *way != Factors::NONE
                    };
                    row.listing == Listing::Token && row.ways.iter().any(without)
                };
                if self
                    .fronts
                    .iter()
                    .any(|(front, rows)| front.condition.is_none() && rows.iter().any(by_key))
                {
                    let what = "no account line of this module: who comes by an ssh key that sshd takes for enough is not asked";
                    let change = "if that is not meant: account required pam_yubiotp.so";
                    self.say(Level::Note, Kind::Account, &asking.place, what, change);
                }
            }
            _ => {}
        }
    }

    /// `nullok` in the auth line, and an account line that refuses whom that excuses.
    fn refuses_the_excused(&mut self, asking: &Entry, guard: &Entry) {
        let access = self.access;
        let all = access.all().without(Factors::OTP);
        let Some(ends) = access.any_ends(Listing::NotListed, all, Unusual::default()) else { return };
        let excused = || ends.iter().filter(|end| end.excused && end.auth);
        let refused = excused().any(|end| end.refused_by.is_some());
        let mismatch = role::has_nullok(asking) && !role::has_nullok(guard);
        if mismatch && (refused || excused().next().is_none()) && !excused().any(|end| end.yes) {
            let what = format!("whom nullok excuses in {} is refused here", asking.place);
            self.say(Level::Warning, Kind::Account, &guard.place, what, "write nullok here, too");
        }
    }

    /// Ways around the account line, for whom no auth line accepted: sshd asks none after a key that it takes for enough.
    fn around(&mut self, guard: &Entry) {
        let access = self.access;
        let skips = |(front, _): &(Front, Vec<Row>)| front.methods.iter().any(|own| own.steps.is_empty());
        if self.service.name == "sshd" && !self.fronts.iter().any(skips) {
            return;
        }
        let unusual = Unusual { skips_auth: true, ..Unusual::default() };
        let Some(ends) = access.any_ends(Listing::Token, Factors::NONE, unusual) else { return };
        let who = "who comes without an OTP (by an ssh key that sshd takes for enough)";
        let guard_at = access.account.ours();
        let lets_in = || ends.iter().filter(|end| end.yes);
        let mut culprits: Vec<_> = lets_in().filter_map(|end| end.account_past).collect();
        culprits.sort_unstable();
        culprits.dedup();
        for culprit in culprits.into_iter().filter_map(|at| access.account.entries.get(at)) {
            let (control, name) = (culprit.control(), culprit.module());
            if role::is_deliberate(culprit) {
                let what = format!(
                    "{control} {name} leads past the account line of pam_yubiotp: users it matches need no OTP"
                );
                self.say(Level::Note, Kind::Account, &culprit.place, what, "");
                continue;
            }
            let what =
                format!("{control} {name} leads past the account line of pam_yubiotp, and lets in {who}");
            let change =
                "put the account line of pam_yubiotp above it (users with only an ssh key are then refused)";
            self.say(Level::Warning, Kind::Account, &culprit.place, what, change);
        }
        if guard_at.is_some() && lets_in().any(|end| end.refused_by == guard_at) {
            let what = format!("its no does not count ({}): it lets in {who}", guard.control());
            self.say(Level::Warning, Kind::Account, &guard.place, what, "write required");
        }
    }
}
