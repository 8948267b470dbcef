//! Findings about the account lines: users whom they refuse, and users who get around ours.

use super::super::report::shown;
use super::super::sshd::otp_after_the_key;
use super::access::{Access, Front, Row, Unusual};
use super::advice::text;
use super::analysis::StackAnalysis;
use super::control::{Action, Answer};
use super::role::{self, Factors};
use super::service::{Entry, Kind, What};
use super::walk::Listing;
use yubiotp::diagnostic::{Code, Diagnostic, Remedy};

/// Where the manual says how some people are exempt.
const SEE_EXEMPT: &str = "see pam_yubiotp(8), EXAMPLES, for how to exempt a group: the account line of pam_yubiotp only in /etc/pam.d/sshd, below the line that exempts";

impl StackAnalysis<'_> {
    /// Everything about the account lines.
    pub(super) fn account(&mut self) {
        let access = self.access;
        let asking = access.auth.entries.iter().find(|entry| entry.is_ours());
        let guard = access.account.entries.iter().find(|entry| entry.is_ours());
        if access.runs_no_auth() {
            return guard.into_iter().for_each(|guard| self.refuses_jobs(guard));
        }
        match (asking, guard) {
            (None, Some(guard)) => {
                let what = format!(
                    "an account line without an auth line of this module: {} is rejected",
                    whom(guard)
                );
                let found = Diagnostic::error(Code::AccountLineWithoutAuth, what)
                    .advise("add the auth line (see pam_yubiotp(8), EXAMPLES)")
                    .advise("if this service is not to ask for a YubiKey, remove this line from what the service reads");
                self.say(Kind::Account, &guard.place, found, Vec::new());
            }
            (Some(asking), Some(guard)) => {
                self.refuses_the_excused(asking, guard);
                self.refuses_without_a_question(guard);
                self.around(guard);
            }
            (Some(asking), None) if self.service.name == "sshd" => self.key_without_otp(asking),
            _ => {}
        }
    }

    /// sshd skips the auth lines after a key that it takes for enough.
    fn key_without_otp(&mut self, asking: &Entry) {
        let by_key = |row: &Row| {
            let without =
                |way: &Factors| way.without(Factors::SSH_KEY) == Factors::NONE && *way != Factors::NONE;
            row.listing == Listing::Token && row.ways.iter().any(without)
        };
        if self.fronts.iter().any(|(front, rows)| front.condition.is_none() && rows.iter().any(by_key)) {
            let what = "an ssh key gets in without a touch: sshd skips these lines after a key, and there is no account line of this module";
            let base = self.fronts.iter().find(|(front, _)| front.condition.is_none());
            let rows = base.map(|(_, rows)| rows.as_slice()).unwrap_or_default();
            let found = otp_after_the_key(rows, Diagnostic::warning(Code::SshKeyWithoutOtp, what));
            let remedies = self.account_line_like(asking);
            self.say(Kind::Account, &asking.place, found, remedies);
        }
    }

    /// An application that never runs an auth line.
    fn refuses_jobs(&mut self, guard: &Entry) {
        if !self.refuses_the_unasked() {
            return;
        }
        let what = format!(
            "this application runs account lines and no auth lines, so this line rejects {} who was not asked: none of their jobs or sessions starts",
            whom(guard)
        );
        let found = Diagnostic::error(Code::AccountLineRefusesUnasked, what);
        self.say(Kind::Account, &guard.place, found, self.without_account_line(guard));
    }

    /// sudo runs no auth line where it asks nothing.
    fn refuses_without_a_question(&mut self, guard: &Entry) {
        if !["sudo", "sudo-i"].contains(&self.service.name.as_str()) || !self.refuses_the_unasked() {
            return;
        }
        let what = "where sudo asks nothing (NOPASSWD, or some minutes after a question), it runs account lines and no auth lines, and this line rejects the call";
        let found = Diagnostic::warning(Code::AccountLineRefusesUnasked, what);
        self.say(Kind::Account, &guard.place, found, self.without_account_line(guard));
    }

    /// Whether the account lines refuse somebody who has a token and was not asked for it.
    fn refuses_the_unasked(&self) -> bool {
        let rows = self.access.rows(&Front::without_auth()).unwrap_or_default();
        rows.iter().any(|row| row.listing == Listing::Token && row.ways.is_empty())
    }

    fn without_account_line(&self, guard: &Entry) -> Vec<Remedy> {
        let remedies = self.move_to_sshd(guard).or_else(|| self.take_out(guard));
        remedies.unwrap_or_else(|| {
            text("keep account lines of pam_yubiotp only in /etc/pam.d/sshd (see pam_yubiotp(8), EXAMPLES)")
        })
    }

    /// The advice to remove an account line, where that changes nothing for anybody who is asked.
    fn take_out(&self, guard: &Entry) -> Option<Vec<Remedy>> {
        let is_guard = |entry: &Entry| entry.kind == Kind::Account && entry.place == guard.place;
        let mut with = self.services.iter().filter(|service| service.entries.iter().any(is_guard));
        let is_good = with.all(|service| {
            let before = Access::new(service, None);
            let after = before.edited(|_, account| account.retain(|entry| !is_guard(entry)));
            service.name != "sshd" && changes_nothing(&before, &after)
        });
        is_good.then(|| text("remove this line"))
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
            let what = format!("this line rejects the users whom nullok excuses in {}", asking.place);
            let change = match self.service.name.as_str() {
                "sshd" => {
                    "write nullok here as well (users who are not listed then also get in with what is enough for sshd, such as an ssh key)"
                }
                _ => "write nullok here as well",
            };
            let found = Diagnostic::warning(Code::NullokNotInAccount, what);
            self.say(Kind::Account, &guard.place, found, text(change));
        }
    }

    /// Ways around the account line, for whom no auth line accepted: sshd asks none after a key that it takes for
    /// enough.
    fn around(&mut self, guard: &Entry) {
        let access = self.access;
        let skips = |(front, _): &(Front, Vec<Row>)| front.methods.iter().any(|own| own.steps.is_empty());
        if self.service.name == "sshd" && !self.fronts.iter().any(skips) {
            return;
        }
        let unusual = Unusual { skips_auth: true, ..Unusual::default() };
        let Some(ends) = access.any_ends(Listing::Token, Factors::NONE, unusual) else { return };
        let who = "users with an ssh key that is enough for sshd, who were not asked for an OTP";
        let guard_at = access.account.ours();
        let lets_in = || ends.iter().filter(|end| end.yes);
        let mut culprits: Vec<_> = lets_in().filter_map(|end| end.account_past).collect();
        culprits.sort_unstable();
        culprits.dedup();
        for (at, culprit) in culprits.into_iter().filter_map(|at| Some((at, access.account.entries.get(at)?)))
        {
            let (control, name) = (culprit.control(), culprit.module());
            if name == "pam_rootok" && !access.account.is_deliberate(at) {
                self.root_is_everybody(culprit);
                continue;
            }
            if access.account.is_deliberate(at) {
                let what = format!(
                    "{control} {name} bypasses the account line of pam_yubiotp: users whom it matches need no OTP"
                );
                let found = Diagnostic::note(Code::UsersExempt, what);
                self.say(Kind::Account, &culprit.place, found, Vec::new());
                continue;
            }
            if self.service.name != "sshd" {
                continue;
            }
            let what =
                format!("{control} {name} bypasses the account line of pam_yubiotp, and lets in {who}");
            let found = Diagnostic::warning(Code::AccountLineBypassed, what);
            self.say(Kind::Account, &culprit.place, found, self.one_more_above());
        }
        let is_sshd = self.service.name == "sshd";
        if is_sshd && guard_at.is_some() && lets_in().any(|end| end.refused_by == guard_at) {
            let what = format!("its rejection is not enforced ({}): it lets in {who}", guard.control());
            let remedies =
                if self.is_its_own(guard) { text("write required") } else { self.one_more_above() };
            let found = Diagnostic::warning(Code::RefusalNotEnforced, what);
            self.say(Kind::Account, &guard.place, found, remedies);
        }
    }

    /// `pam_rootok` in a service whose application is root.
    fn root_is_everybody(&mut self, culprit: &Entry) {
        if self.service.name != "sshd" {
            return;
        }
        let what = format!(
            "{} pam_rootok accepts everybody here, because sshd runs as root: an ssh key that is enough for sshd gets in without an OTP",
            culprit.control()
        );
        let found = Diagnostic::warning(Code::AccountLineBypassed, what);
        self.say(Kind::Account, &culprit.place, found, self.one_more_above());
    }

    /// The advice to have one more account line in sshd's own file: what it includes stays as it is for other services,
    /// and no jump counts other lines.
    fn one_more_above(&self) -> Vec<Remedy> {
        text(format!(
            "add an account line of pam_yubiotp to {}, above its other account lines (users who have only an ssh key are then rejected)",
            self.file()
        ))
    }

    /// The file of this service.
    pub(super) fn file(&self) -> String {
        self.service.files.first().map(|file| shown(file)).unwrap_or_default()
    }

    /// Whether a line is in the file of this service, and no other service includes that.
    pub(super) fn is_its_own(&self, entry: &Entry) -> bool {
        let own = self.service.files.first() == Some(&entry.place.file);
        let others = self.services.iter().filter(|other| other.name != self.service.name);
        own && !others.into_iter().any(|other| other.files.contains(&entry.place.file))
    }

    /// How the account lines let in, too, the users whom an auth line exempts: an edit only where it changes nothing
    /// for anybody else.
    pub(super) fn exempt_in_account(&self, culprit: &Entry, guard: &Entry) -> Vec<Remedy> {
        let root = culprit.module() == "pam_rootok";
        if root && let Some(change) = self.move_to_sshd(guard) {
            return change;
        }
        // A line more, or less, would change what other jumps skip.
        let jumps = |entries: &[Entry]| {
            entries.iter().any(|entry| entry.place != culprit.place && entry.control.jumps())
        };
        let counted = jumps(&self.access.auth.entries) || jumps(&self.access.account.entries);
        if counted || !self.is_its_own(guard) || (root && !self.access.runs_by_its_caller()) {
            return text(SEE_EXEMPT);
        }
        let by_a_yes = matches!(culprit.control.action(Answer::SUCCESS), Action::Jump(_) | Action::Done);
        let control = if by_a_yes { "[success=1 default=ignore]" } else { "[success=ignore default=1]" };
        let same = format!("account {control} {}", culprit.module_with_arguments());
        vec![
            Remedy::Text(format!(
                "to let them in without a YubiKey, add above that account line: {}",
                shown_text(&same)
            )),
            Remedy::Text("to ask them for a YubiKey, remove this line".to_owned()),
        ]
    }

    /// The advice to keep an account line that others include only in sshd, where that changes nothing for anybody whom
    /// it does not refuse for want of auth lines.
    pub(super) fn move_to_sshd(&self, guard: &Entry) -> Option<Vec<Remedy>> {
        let sshd = self.services.iter().find(|service| service.name == "sshd")?;
        let file = sshd.files.first().filter(|file| **file != guard.place.file)?;
        let is_guard = |entry: &Entry| entry.kind == Kind::Account && entry.place == guard.place;
        let take_out = |account: &mut Vec<Entry>| account.retain(|entry| !is_guard(entry));
        for service in self.services.iter().filter(|service| service.entries.iter().any(is_guard)) {
            let before = Access::new(service, None);
            let after = before.edited(|_, account| {
                take_out(account);
                if service.name == "sshd" {
                    account.insert(0, Entry { level: 0, ..guard.clone() });
                }
            });
            let same = |front: &Front| after.is_the_same_as(&before, front) == Some(true);
            let is_good = match service.name.as_str() {
                "sshd" => same(&Front::plain()) && same(&Front::without_auth()),
                _ => changes_nothing(&before, &after),
            };
            if !is_good {
                return None;
            }
        }
        sshd.entries.iter().any(is_guard).then(|| {
            vec![
                Remedy::Text(format!(
                    "write the account line of pam_yubiotp into {}, above its other account lines",
                    shown(file)
                )),
                Remedy::Text(format!("then remove it from {}", shown(&guard.place.file))),
            ]
        })
    }

    /// The advice to add the account line: one that excuses whom the auth line excuses.
    fn account_line_like(&self, asking: &Entry) -> Vec<Remedy> {
        let exempts = (0..self.access.auth.entries.len()).any(|at| self.access.auth.is_deliberate(at));
        let by_match = |(front, _): &(Front, Vec<Row>)| {
            front.condition.is_some() && front.methods.iter().any(|list| list.steps.is_empty())
        };
        if exempts || self.fronts.iter().any(by_match) {
            return text(SEE_EXEMPT);
        }
        let What::Module { path, args } = &asking.what else { return Vec::new() };
        let mut line = format!("account required {path}");
        let excuses = |arg: &str| {
            let name = arg.split('=').next().unwrap_or_default();
            ["nullok", "config", "mapping", "authfile"].contains(&name)
        };
        for arg in args.iter().filter_map(|arg| arg.to_str().ok()).filter(|arg| excuses(arg)) {
            line += " ";
            line += arg;
        }
        let line = shown_text(&line);
        text(format!(
            "to reject users who were not asked, add above the other account lines of {}: {line}",
            self.file()
        ))
    }
}

/// The users whom an account line refuses because they were not asked.
fn whom(guard: &Entry) -> &'static str {
    if role::has_nullok(guard) { "everybody whom the mapping lists" } else { "everybody" }
}

fn shown_text(text: &str) -> String {
    yubiotp::shown::text(text).to_string()
}

/// Whether an account line that was removed changes nothing for anybody who is asked; where nobody is, they are to get
/// in.
fn changes_nothing(before: &Access, after: &Access) -> bool {
    if before.runs_no_auth() {
        let rows = after.rows(&Front::without_auth()).unwrap_or_default();
        return !rows.is_empty() && rows.iter().all(|row| !row.ways.is_empty());
    }
    after.is_the_same_as(before, &Front::plain()) == Some(true)
}
