//! What the log says of the last days: decisions, and the last time that each token was accepted.

use crate::doctor::in_time;
use crate::log::{Entry, Logs, Outcome, Period, Reader, Sender};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;
use ykcli::time;
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::{TokenId, shown};

/// How long the log may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many of the last decisions are kept.
const MOST: usize = 5;

/// Which part of the log is read.
pub(crate) struct Query {
    pub(crate) logs: Logs,
    /// Decisions of this many seconds are counted.
    pub(crate) counted: u64,
    /// Uses of tokens in this many seconds are looked for.
    pub(crate) read: u64,
    /// The users whose last decisions are kept; empty for everybody.
    pub(crate) users: Vec<String>,
}

/// A line of the log about a login.
#[derive(Clone)]
pub(crate) struct Decision {
    unix: u64,
    outcome: Outcome,
    pub(crate) user: String,
    token: Option<String>,
    service: Option<String>,
    rhost: Option<String>,
    tty: Option<String>,
    code: String,
}

impl Decision {
    /// `None` of a line that is about no login.
    fn of(entry: &Entry) -> Option<Self> {
        if matches!(entry.outcome, Outcome::Event | Outcome::Trial | Outcome::Warning) {
            return None;
        }
        let shown = |text: &Vec<u8>| shown::text(text).to_string();
        Some(Self {
            unix: u64::try_from(entry.time.as_second()).ok()?,
            outcome: entry.outcome,
            user: entry.user.as_ref().map(shown)?,
            token: entry.tokens.first().cloned(),
            service: entry.service.as_ref().map(shown),
            rhost: entry.rhost.as_ref().map(shown),
            tty: entry.tty.as_ref().map(shown),
            code: entry.code.clone().unwrap_or_default(),
        })
    }

    /// The place of a login: `sshd from 192.0.2.7`, `sudo on /dev/pts/3`
    pub(super) fn place(&self) -> String {
        let service = self.service.as_deref().unwrap_or("an unknown service");
        match (&self.rhost, &self.tty) {
            (Some(rhost), _) => format!("{service} from {rhost}"),
            (None, Some(tty)) => format!("{service} on {tty}"),
            (None, None) => service.to_owned(),
        }
    }

    /// The time of it, in words.
    pub(super) fn time(&self) -> String {
        time::utc(self.unix)
    }

    /// In a sentence: `2026-11-30 04:10 UTC rejected alice by sshd from 192.0.2.7 [otp-replayed]`
    pub(super) fn in_words(&self) -> String {
        let (outcome, user) = (self.outcome.name(), &self.user);
        let code = if self.code == outcome { String::new() } else { format!(" [{}]", self.code) };
        format!("{} UTC {outcome} {user} by {}{code}", self.time(), self.place())
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "at": super::host::time_of(self.unix),
            "outcome": self.outcome.name(),
            "user": self.user,
            "token": self.token,
            "service": self.service,
            "rhost": self.rhost,
            "tty": self.tty,
            "code": self.code,
        })
    }
}

/// What was read.
#[derive(Default)]
pub(crate) struct Recent {
    /// Decisions are counted from here on: seconds since 1970.
    since: u64,
    /// How many decisions there were, by outcome and code.
    pub(crate) counts: BTreeMap<(&'static str, String), usize>,
    /// The last ones, oldest first: of each user that was asked for, or of all under an empty name.
    last: BTreeMap<String, VecDeque<Decision>>,
    /// The last time that each token was accepted.
    pub(super) uses: HashMap<TokenId, Decision>,
    /// What is not in the log.
    pub(super) remarks: Vec<Diagnostic>,
}

impl Recent {
    /// Reads the log. An error is why there is nothing to say.
    pub(super) fn read(query: &Query, unix: u64) -> Result<Self, Diagnostic> {
        let Query { logs, counted, read, users } = query;
        let (logs, users, since) = (logs.clone(), users.clone(), unix.saturating_sub(*counted));
        let from = unix.saturating_sub((*read).max(*counted));
        let period = Period {
            since: i64::try_from(from).ok().and_then(|from| Timestamp::from_second(from).ok()),
            until: None,
        };
        // A journal on a failing disk may never answer.
        let all = move || {
            let opened = Reader::open(&logs, period);
            Ok(opened.map(|reader| Self::of(reader, since, &users)).map_err(|failure| failure.diagnostic()))
        };
        let late = |why| Diagnostic::note(Code::LogUnreadable, format!("the log was not read: {why}"));
        in_time(PATIENCE, all)
            .map_err(late)?
            .map_err(|why| why.unwrap_or_else(|| late("it failed".to_owned())))
    }

    fn of(mut reader: Reader, since: u64, users: &[String]) -> Self {
        let mut recent = Self { since, ..Self::default() };
        for entry in &mut reader {
            let Some(decision) = Decision::of(&entry) else { continue };
            recent.add(decision, matches!(entry.sender, Sender::User(_)), users);
        }
        recent.remarks = reader.remarks();
        recent
    }

    fn add(&mut self, decision: Decision, is_of_user: bool, users: &[String]) {
        if decision.unix >= self.since {
            let count = self.counts.entry((decision.outcome.name(), decision.code.clone())).or_default();
            *count = count.saturating_add(1);
        }
        // Anybody may claim to have used a token.
        if decision.outcome == Outcome::Accepted
            && !is_of_user
            && let Some(token) = decision.token.as_deref().and_then(TokenId::of_file)
        {
            let token = match token {
                TokenId::RecoveryCode(set, _) => TokenId::RecoverySet(set),
                token => token,
            };
            self.uses.insert(token, decision.clone());
        }
        let whose = if users.is_empty() { String::new() } else { decision.user.clone() };
        if users.is_empty() || users.contains(&whose) {
            let last = self.last.entry(whose).or_default();
            if last.len() >= MOST {
                last.pop_front();
            }
            last.push_back(decision);
        }
    }

    /// The last decisions, the latest first: those of a user that was asked for, or `""` for all.
    pub(super) fn last(&self, user: &str) -> impl Iterator<Item = &Decision> {
        self.last.get(user).into_iter().flatten().rev()
    }

    /// How many decisions there were of each outcome.
    pub(super) fn outcomes(&self) -> BTreeMap<&'static str, usize> {
        let mut outcomes = BTreeMap::<_, usize>::new();
        for ((outcome, _), count) in &self.counts {
            let of_outcome = outcomes.entry(*outcome).or_default();
            *of_outcome = of_outcome.saturating_add(*count);
        }
        outcomes
    }

    pub(super) fn json(&self) -> Value {
        let counts = self
            .counts
            .iter()
            .map(|((outcome, code), count)| json!({ "outcome": outcome, "code": code, "count": count }));
        json!({
            "since": super::host::time_of(self.since),
            "counts": counts.collect::<Vec<_>>(),
            "last": self.last("").map(Decision::json).collect::<Vec<_>>(),
        })
    }
}
