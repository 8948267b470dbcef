//! `ykmap status USER`

use super::host::Host;
use super::recent::Decision;
use super::show::{changed, row};
use super::tokens::Token;
use crate::explain;
use crate::unlock;
use crate::{Context, Done, Failure};
use serde_json::{Value, json};
use std::path::PathBuf;
use ykcli::out;
use ykhost::store::Store;
use yubiotp::diagnostic::{Diagnostic, Location, Severity};
use yubiotp::guesses::CAPACITY;
use yubiotp::{TokenId, shown};

/// Shows all about these users.
pub(super) fn run(context: &Context, host: &Host, users: &[String], pam_dirs: &[PathBuf]) -> Done {
    let mut all = Vec::new();
    for (number, name) in users.iter().enumerate() {
        let user = OneUser::of(host, name);
        if number > 0 && !context.json {
            out::line("");
        }
        let explained = explain::for_status(context, name, pam_dirs)?;
        if let Some(explained) = explained {
            all.push(user.json(explained));
        } else {
            user.print();
        }
    }
    // Errors of the host are theirs, too.
    let is_shown = |found: &Diagnostic| {
        let is_of = |name: &String| found.location == Some(Location::user(name.as_bytes()));
        found.severity == Severity::Error || users.iter().any(is_of)
    };
    let report = host.report(is_shown, usize::MAX);
    if context.json {
        let mut json = report.json();
        json.insert("users".to_owned(), all.into());
        out::json(&Value::Object(json));
    } else {
        report.print();
    }
    if host.is_blind() {
        return Err(Failure::Bad);
    }
    match report.exit_status() {
        0 => Ok(()),
        _ => Err(Failure::No),
    }
}

struct OneUser<'h> {
    host: &'h Host,
    name: String,
    tokens: Vec<&'h Token>,
    codes_left: Option<usize>,
    /// How many codes may still be tried; `None` if tries are not counted, or nobody can tell.
    tries_left: Option<u64>,
}

impl<'h> OneUser<'h> {
    fn of(host: &'h Host, name: &str) -> Self {
        let key = shown::text(name).to_string();
        let tokens: Vec<_> = host.tokens.iter().filter(|token| token.owners.contains(&key)).collect();
        let ids: Vec<TokenId> = tokens.iter().map(|token| token.id).collect();
        let store = Store::new(&host.settings);
        let counted = unlock::has_counted_codes(&store, &ids);
        let tries_left = counted.then(|| unlock::tries_left(&store, name.as_bytes()).ok()).flatten();
        let codes_left = host.codes_left.get(&key).copied();
        Self { host, name: key, tokens, codes_left, tries_left }
    }

    fn json(&self, explained: Value) -> Value {
        let own = json!({
            "tokens": self.tokens.iter().map(|token| self.host.token_json(token)).collect::<Vec<_>>(),
            "decisions": self.decisions().map(Decision::json).collect::<Vec<_>>(),
            "codes_left": self.codes_left,
            "tries_left": self.tries_left,
        });
        json!({ "explained": explained, "status": own })
    }

    /// The last decisions about the user, the latest first.
    fn decisions(&self) -> impl Iterator<Item = &Decision> {
        self.host.log.as_ref().into_iter().flat_map(|log| log.last(&self.name))
    }

    fn print(&self) {
        let changes = self.tokens.iter().map(|token| format!("{}: {}", token.id, changed(token)));
        row("last change", &changes.collect::<Vec<_>>());
        let logins = self.tokens.iter().filter_map(|token| {
            let login = self.host.last_login(token)?;
            Some(format!("{}: {login}", token.id))
        });
        row("last login", &logins.collect::<Vec<_>>());
        if let Some(left) = self.codes_left {
            row("codes left", &[left.to_string()]);
        }
        if let Some(left) = self.tries_left {
            row("tries left", &[format!("{left} of {CAPACITY}")]);
        }
        row(
            "decisions",
            &match &self.host.log {
                Ok(_) => self.decisions().map(Decision::in_words).collect::<Vec<_>>(),
                Err(why) => vec![format!("not known: {}", why.problem())],
            },
        );
    }
}
