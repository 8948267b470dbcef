//! The status of a host on one screen.

use super::host::{Host, state_name};
use super::need::{Count, Counts, Needs, RollOut};
use super::recent::Decision;
use super::tokens::Token;
use crate::list::State;
use crate::system::Pending;
use std::collections::BTreeMap;
use ykcli::out::{self, Field, Style};
use ykcli::time;
use yubiotp::diagnostic::{Diagnostic, Severity};
use yubiotp::shown;

/// How many names a line has; more are counted.
const MOST_NAMES: usize = 6;

/// How many tokens are listed without `--all`.
const MOST_TOKENS: usize = 10;

/// How many of the last decisions are shown.
const MOST_DECISIONS: usize = 3;

/// How many findings of one code are shown one by one without `--all`.
const MOST_ALIKE: usize = 3;

/// Columns before the text of a row, as those of `ykmap explain`.
const INDENT: &str = "                  ";

/// Names in a sentence, the first of them if there are many.
pub(super) fn names(all: &[String]) -> String {
    let some: Vec<_> = all.iter().take(MOST_NAMES).cloned().collect();
    match all.len().saturating_sub(some.len()) {
        0 => some.join(", "),
        more => format!("{} and {more} more", some.join(", ")),
    }
}

/// A row: what it is about, and a line for each sentence, wrapped to the terminal.
pub(super) fn row(name: &str, sentences: &[String]) {
    let mut head = out::styled(Style::Bold, &format!("  {name:<15} "));
    for sentence in sentences {
        let sentence = shown::line(sentence).to_string();
        let width = out::width().unwrap_or(usize::MAX);
        for line in out::wrapped(&sentence, ["", ""], width.saturating_sub(INDENT.len()).max(1)) {
            out::raw(&format!("{head}{line}\n"));
            INDENT.clone_into(&mut head);
        }
    }
}

/// `1 user: erin`; `None` if there is nobody.
fn users(names_of: &[String], one: &str, many: &str) -> Option<String> {
    match names_of {
        [] => None,
        [only] => Some(format!("1 user {one}: {only}")),
        all => Some(format!("{} users {many}: {}", all.len(), names(all))),
    }
}

impl Host {
    pub(super) fn print(&self, all: bool) {
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let heading = format!("{}, {} UTC", shown::line(&name), time::utc(self.unix));
        out::raw(&format!("{}\n", out::styled(Style::Bold, &heading)));
        row("services", &self.services());
        let access = self.access.1.iter().map(|(services, text)| format!("{services}: {text}"));
        row("who gets in", &access.collect::<Vec<_>>());
        row("users", &self.of_users());
        row("policy", &self.needs.iter().map(needs).collect::<Vec<_>>());
        let unusable = self.unusable();
        let roll_outs = self.roll_outs.iter().map(|it| roll_out(it, &unusable));
        row("roll-out", &roll_outs.collect::<Vec<_>>());
        row("tokens", &self.of_tokens());
        row("codes", &self.codes());
        row("servers", &[self.servers()]);
        row("backup", &self.backup.in_words(self.unix).into_iter().collect::<Vec<_>>());
        row("changes", &self.changes.iter().map(waiting).collect::<Vec<_>>());
        row("decisions", &self.decisions());
        if all || self.tokens.len() <= MOST_TOKENS {
            self.list();
        }
        let is_shown = |found: &Diagnostic| all || found.severity > Severity::Note;
        self.report(is_shown, if all { usize::MAX } else { MOST_ALIKE }).print();
        out::line(&self.summary(all));
    }

    /// The last line.
    fn summary(&self, all: bool) -> String {
        let count = |severity: Severity| out::count(self.count(severity), severity.name());
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        match (self.count(Severity::Error), self.count(Severity::Warning), self.count(Severity::Note)) {
            (0, 0, 0) => "healthy".to_owned(),
            (0, 0, _) if all => "healthy".to_owned(),
            (0, 0, notes) => format!("healthy, {} (--all shows them)", out::count(notes, "note")),
            _ => format!("{errors}, {warnings}"),
        }
    }

    fn services(&self) -> Vec<String> {
        let mut lines = Vec::new();
        match self.asking.as_slice() {
            [] => lines.push("no service asks for a second factor".to_owned()),
            [one] => lines.push(format!("{one} asks for a second factor")),
            all => lines.push(format!("{} ask for a second factor", names(all))),
        }
        match self.silent.as_slice() {
            [] => {}
            [one] => lines.push(format!("{one} does not")),
            all => lines.push(format!("{} do not", all.join(", "))),
        }
        if !self.others.is_empty() {
            lines.push(format!("by other settings than the rest of this page: {}", names(&self.others)));
        }
        lines
    }

    fn of_users(&self) -> Vec<String> {
        let listed = self.users.listed().count();
        let enrolled = self.users.listed().filter(|user| user.is_enrolled).count();
        let mut first = format!("{} listed", out::count(listed, "user"));
        if enrolled > 0 {
            first += &format!(", {enrolled} of them enrolled on this host");
        }
        if self.has_store {
            first += &format!("; {} can use a token", self.covered());
        }
        let mut lines = vec![first];
        lines.extend(users(&self.without_token(), "is listed without a token", "are listed without a token"));
        if self.has_store {
            lines.extend(users(&self.unusable(), "has no token that works", "have no token that works"));
        }
        let not_listed = self.not_listed();
        lines.extend(users(&not_listed, "is not listed", "are not listed"));
        lines
    }

    fn of_tokens(&self) -> Vec<String> {
        if !self.has_store {
            return vec!["not known: the store cannot be used".to_owned()];
        }
        let mut kinds = BTreeMap::<&str, usize>::new();
        let mut states = BTreeMap::<String, usize>::new();
        for ((kind, state), count) in self.kinds_and_states() {
            let of_kind = kinds.entry(kind).or_default();
            *of_kind = of_kind.saturating_add(count);
            let of_state = states.entry(state).or_default();
            *of_state = of_state.saturating_add(count);
        }
        let kinds: Vec<_> = ["yubikey", "totp", "hotp", "recovery", "unknown"]
            .into_iter()
            .filter_map(|kind| Some(kind_in_words(kind, *kinds.get(kind)?)))
            .collect();
        let mut lines = vec![if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") }];
        let is_good =
            |state: &str| [State::Enabled, State::Elsewhere].iter().any(|it| it.to_string() == state);
        let mut notable: Vec<_> = states
            .iter()
            .filter(|(state, _)| !is_good(state))
            .map(|(state, count)| format!("{count} {state}"))
            .collect();
        let mut add = |count: usize, what: &str| {
            if count > 0 {
                notable.push(format!("{count} {what}"));
            }
        };
        add(self.tokens.iter().filter(|token| token.owners.is_empty()).count(), "unassigned");
        let near = self.tokens.iter().filter(|token| token.is_near_end).count();
        add(
            near,
            if near == 1 {
                "with a usage counter near its end"
            } else {
                "with usage counters near their end"
            },
        );
        if !notable.is_empty() {
            lines.push(notable.join(", "));
        }
        lines
    }

    fn codes(&self) -> Vec<String> {
        let few = self.few_codes();
        let few =
            users(&few, "has fewer than two recovery codes left", "have fewer than two recovery codes left");
        let locked = users(
            &self.locked,
            "needs two successive codes, after too many wrong ones",
            "need two successive codes, after too many wrong ones",
        );
        few.into_iter().chain(locked).collect()
    }

    fn servers(&self) -> String {
        let mode = self.settings.mode;
        match (mode.asks_servers(), self.asked_servers) {
            (false, _) => format!("none: mode {}", mode.name()),
            (true, false) => format!("mode {}; not asked now (--servers asks them)", mode.name()),
            (true, true) => {
                let bad = self
                    .findings
                    .iter()
                    .filter(|(area, found, _)| *area == "servers" && found.severity > Severity::Note);
                match bad.count() {
                    0 => format!("mode {}; asked now, and they answer", mode.name()),
                    _ => format!("mode {}; asked now, see below", mode.name()),
                }
            }
        }
    }

    /// How the last logins went.
    fn decisions(&self) -> Vec<String> {
        let log = match &self.log {
            Ok(log) => log,
            Err(why) => return vec![format!("not known: {}", why.problem())],
        };
        let counts = log.outcomes().into_iter().map(|(outcome, count)| format!("{count} {outcome}"));
        let counts: Vec<_> = counts.collect();
        let counts = if counts.is_empty() { "none".to_owned() } else { counts.join(", ") };
        let mut lines = vec![format!("in the last 24 hours: {counts}")];
        lines.extend(log.last("").take(MOST_DECISIONS).map(Decision::in_words));
        lines
    }

    /// The last login with a token, by the log.
    pub(super) fn last_login(&self, token: &Token) -> Option<String> {
        let used = self.log.as_ref().ok()?.uses.get(&token.id)?;
        Some(format!("{} {}", used.time(), used.place()))
    }

    /// The tokens of users, then unassigned ones, then users without a token.
    fn list(&self) {
        let mut rows: Vec<_> = self.tokens.iter().map(|token| (token.owners.join(", "), token)).collect();
        rows.sort_by_key(|(owners, _)| (owners.is_empty(), owners.clone()));
        let plain = |text: &str| Field::Plain(text.to_owned());
        let mut fields: Vec<_> = rows
            .into_iter()
            .map(|(owners, token)| {
                let owners = if owners.is_empty() { "-" } else { &owners };
                let login = self.last_login(token).unwrap_or_default();
                vec![
                    plain(owners),
                    plain(&token.id.to_string()),
                    state(token),
                    plain(&changed(token)),
                    plain(&login),
                ]
            })
            .collect();
        for user in self.without_token() {
            fields.push(vec![plain(&user), Field::Loud("none".to_owned()), plain(""), plain(""), plain("")]);
        }
        if !fields.is_empty() {
            out::table(&["User", "Token", "State", "Last change (UTC)", "Last login (7 days)"], fields);
        }
    }
}

fn state(token: &Token) -> Field {
    let text = match token.state {
        State::CodesLeft(_) => token.state.to_string(),
        state if token.is_near_end => format!("{}, near its end", state_name(state)),
        state => state_name(state),
    };
    match token.is_usable && !token.is_near_end && !matches!(token.state, State::CodesLeft(1)) {
        true => Field::Plain(text),
        false => Field::Loud(text),
    }
}

/// When a token changed last.
pub(super) fn changed(token: &Token) -> String {
    match (token.is_unused, token.changed) {
        (true, _) => "never used here".to_owned(),
        (false, Some(at)) => time::utc(at),
        (false, None) => "unknown".to_owned(),
    }
}

fn kind_in_words(kind: &str, count: usize) -> String {
    match kind {
        "yubikey" => out::count(count, "YubiKey"),
        "totp" => out::count(count, "TOTP token"),
        "hotp" => out::count(count, "HOTP token"),
        "recovery" if count == 1 => "1 set of recovery codes".to_owned(),
        "recovery" => format!("{count} sets of recovery codes"),
        _ => format!("{count} of an unknown kind"),
    }
}

fn waiting(change: &Pending) -> String {
    format!(
        "{} is undone at {} UTC unless somebody keeps it",
        shown::text(&change.name),
        time::utc(change.deadline)
    )
}

pub(super) fn by(services: &[String]) -> String {
    if services.is_empty() { String::new() } else { format!("{}: ", names(services)) }
}

fn needs(needs: &Needs) -> String {
    let Counts { required, postponable, if_enrolled, exempt, undecided, by_nullok } = needs.counts;
    let of = |what: &str, count: Count, without: &str| {
        let Count { users, without_token } = count;
        match (users, without_token) {
            (0, _) => None,
            (_, 0) => Some(format!("{what}: {users}")),
            _ => Some(format!("{what}: {users} ({without_token} {without})")),
        }
    };
    let nullok = if by_nullok == 0 { String::new() } else { format!(", {by_nullok} excused by nullok") };
    let parts = [
        of("required", required, &format!("without a token{nullok}")),
        of("may postpone", postponable, "without a token"),
        of("asked if enrolled", if_enrolled, "excused"),
        of("exempt", exempt, "without a token"),
        of("undecided, because a rule may mean them in another spelling", undecided, "without a token"),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    let parts = if parts.is_empty() { "no users".to_owned() } else { parts.join(", ") };
    format!("{}{parts}", by(&needs.services))
}

fn roll_out(it: &RollOut, unusable: &[String]) -> String {
    let begin = it.not_before.map(|at| format!("from {} ", time::utc(at))).unwrap_or_default();
    let until = it.until.map(|at| format!("until {} ", time::utc(at))).unwrap_or_default();
    let all = it.enrolled.len().saturating_add(it.missing.len());
    let without = match it.enrolled.iter().filter(|user| unusable.contains(user)).count() {
        0 => String::new(),
        count => format!(" ({count} of them none that works)"),
    };
    let missing = match it.missing.as_slice() {
        [] => "nobody is missing".to_owned(),
        missing => format!("missing: {}", names(missing)),
    };
    format!(
        "{}{begin}{until}UTC: {} of {all} have a token{without}, {missing}",
        by(&it.services),
        it.enrolled.len()
    )
}
