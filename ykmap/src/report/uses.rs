//! Uses of tokens, counted.

use super::By;
use crate::log::{self, Entry, Outcome};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use yubiotp::{TokenId, shown};

/// The most rows: strangers choose the names of users that they try.
const MOST_ROWS: usize = 100_000;
/// The most values that a row lists.
const MOST_VALUES: usize = 20;

/// What a row is about: the user, and by [`By`] a token, a service or a host.
type Key = (Vec<u8>, Vec<u8>);

/// All rows.
pub(super) struct Uses {
    by: By,
    rows: BTreeMap<Key, Row>,
    /// Decisions that no row counts.
    pub(super) left_out: u64,
}

/// Some values, each once.
#[derive(Debug, Default)]
struct Values {
    values: BTreeSet<Vec<u8>>,
    has_more: bool,
}

impl Values {
    fn add(&mut self, value: &[u8]) {
        if self.values.contains(value) {
        } else if self.values.len() < MOST_VALUES {
            self.values.insert(value.to_vec());
        } else {
            self.has_more = true;
        }
    }

    /// In one field: those with a blank are quoted.
    fn text(&self) -> String {
        let mut texts: Vec<_> = self.values.iter().map(|value| shown::field(value).to_string()).collect();
        texts.extend(self.has_more.then(|| "…".to_owned()));
        texts.join(" ")
    }

    fn json(&self) -> Value {
        json!(self.values.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect::<Vec<_>>())
    }
}

/// One row: what it is about, and what was decided.
#[derive(Debug, Default)]
pub(super) struct Row {
    pub(super) user: Vec<u8>,
    /// Tokens, services and hosts of uses; what the row is about in any case.
    tokens: Values,
    services: Values,
    hosts: Values,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    pub(super) accepted: u64,
    rejected: u64,
    faults: u64,
    others: u64,
}

impl Uses {
    pub(super) const fn new(by: By) -> Self {
        Self { by, rows: BTreeMap::new(), left_out: 0 }
    }

    /// Counts a decision about a login.
    pub(super) fn add(&mut self, entry: &Entry) {
        if matches!(entry.outcome, Outcome::Warning | Outcome::Trial) {
            return;
        }
        let token = entry.tokens.first().map(|token| of_set(token)).unwrap_or_default();
        let other = match self.by {
            By::User => &[][..],
            By::Token => token.as_bytes(),
            By::Service => entry.service.as_deref().unwrap_or_default(),
            By::Host => entry.rhost.as_deref().unwrap_or_default(),
        };
        let Some(row) = self.row(entry.user.as_deref().unwrap_or_default(), other) else {
            self.left_out = self.left_out.saturating_add(1);
            return;
        };
        let count = match entry.outcome {
            Outcome::Accepted => {
                row.first = row.first.or(Some(entry.time)).min(Some(entry.time));
                row.last = row.last.max(Some(entry.time));
                if !token.is_empty() {
                    row.tokens.add(token.as_bytes());
                }
                entry.service.iter().for_each(|service| row.services.add(service));
                entry.rhost.iter().for_each(|host| row.hosts.add(host));
                &mut row.accepted
            }
            Outcome::Rejected => &mut row.rejected,
            Outcome::Fault => &mut row.faults,
            _ => &mut row.others,
        };
        *count = count.saturating_add(1);
    }

    /// Adds a row for each user or token that has none.
    pub(super) fn complete(&mut self, listed: &BTreeSet<(Vec<u8>, TokenId)>) {
        for (user, token) in listed {
            let token = token.to_string();
            match self.by {
                By::User => self.row(user, b""),
                By::Token => self.row(user, token.as_bytes()),
                By::Service | By::Host => return,
            };
        }
    }

    fn row(&mut self, user: &[u8], other: &[u8]) -> Option<&mut Row> {
        let key = (user.to_vec(), other.to_vec());
        if self.rows.len() >= MOST_ROWS && !self.rows.contains_key(&key) {
            return None;
        }
        let by = self.by;
        Some(self.rows.entry(key).or_insert_with(|| {
            let mut row = Row { user: user.to_vec(), ..Row::default() };
            match by {
                _ if other.is_empty() => {}
                By::User => {}
                By::Token => row.tokens.add(other),
                By::Service => row.services.add(other),
                By::Host => row.hosts.add(other),
            }
            row
        }))
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }
}

/// The set of a recovery code, as users are given it; any other token as it is.
fn of_set(token: &str) -> String {
    match TokenId::of_file(token) {
        Some(TokenId::RecoveryCode(set, _)) => TokenId::RecoverySet(set).to_string(),
        _ => token.to_owned(),
    }
}

impl Row {
    pub(super) const HEADS: [&str; 10] = [
        "User",
        "Token",
        "First use (UTC)",
        "Last use (UTC)",
        "Accepted",
        "Rejected",
        "Faults",
        "Others",
        "Services",
        "From",
    ];

    /// As fields of a table.
    pub(super) fn fields(&self) -> Vec<String> {
        let time = |at: Option<Timestamp>| at.map_or_else(|| "never".to_owned(), log::time);
        let [user, tokens, _, _, accepted, rejected, faults, others, services, hosts] = self.texts();
        let named = |name: String, nothing: &str| if name.is_empty() { nothing.to_owned() } else { name };
        let (user, tokens) = (named(user, "\"\""), named(tokens, "none"));
        let fields = [
            user,
            tokens,
            time(self.first),
            time(self.last),
            accepted,
            rejected,
            faults,
            others,
            services,
            hosts,
        ];
        fields.into()
    }

    /// As fields of CSV: times of ISO 8601, empty for never.
    pub(super) fn texts(&self) -> [String; 10] {
        let time = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
        [
            shown::line(&String::from_utf8_lossy(&self.user)).to_string(),
            self.tokens.text(),
            time(self.first),
            time(self.last),
            self.accepted.to_string(),
            self.rejected.to_string(),
            self.faults.to_string(),
            self.others.to_string(),
            self.services.text(),
            self.hosts.text(),
        ]
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "user": String::from_utf8_lossy(&self.user),
            "tokens": self.tokens.json(),
            "first": self.first.map(|at| at.to_string()),
            "last": self.last.map(|at| at.to_string()),
            "accepted": self.accepted,
            "rejected": self.rejected,
            "faults": self.faults,
            "others": self.others,
            "services": self.services.json(),
            "hosts": self.hosts.json(),
            "more_values": self.tokens.has_more || self.services.has_more || self.hosts.has_more,
        })
    }
}
