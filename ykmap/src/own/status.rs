//! `ykmap self status`: what the user has, what logins need, and what the user may do.

use super::session::{Session, name};
use crate::enroll::offers::Stop;
use crate::enroll::talk::Talk;
use crate::list::States;
use crate::unlock;
use serde_json::{Value, json};
use std::fmt::Write as _;
use ykcli::{out, time};
use ykhost::enrolled;
use yubiotp::dialogue::End;
use yubiotp::guesses::CAPACITY;
use yubiotp::mapping::Enrolment;
use yubiotp::policy::{Doubt, Method, Need, Ruling};
use yubiotp::{TokenId, shown};

/// One token, as its owner sees it.
struct Row {
    id: TokenId,
    method: Option<Method>,
    state: String,
    is_allowed: bool,
    /// Whether the owner enrolled it, and may lose it.
    is_own: bool,
}

impl Row {
    fn json(&self) -> Value {
        json!({
            "id": self.id.to_string(),
            "method": self.method.map(Method::name),
            "state": self.state,
            "allowed": self.is_allowed,
            "own": self.is_own,
        })
    }

    fn line(&self) -> String {
        let kind = match self.method {
            Some(Method::YubiKey) => "YubiKey",
            Some(Method::Totp) => "codes by time",
            Some(Method::Hotp) => "codes by counter",
            Some(Method::Recovery) => "recovery codes",
            None => "unknown",
        };
        let allowed = if self.is_allowed { "" } else { ", not allowed by the policy" };
        let whose = if self.is_own { "" } else { ", assigned by the administrator" };
        format!("  {:<20} {kind}: {}{allowed}{whose}\n", self.id.to_string(), self.state)
    }
}

impl Session<'_> {
    pub(super) fn status(&self, json: bool, talk: &mut impl Talk) -> Result<End, Stop> {
        let states = States::new(self.context, self.settings);
        let lists = enrolled::read(self.settings, self.user.as_bytes())?;
        let by_administrator = match lists.mapping.tokens(self.user.as_bytes())? {
            Enrolment::Listed(tokens) => tokens,
            Enrolment::NotListed => Vec::new(),
        };
        let rows = self.tokens().iter().map(|id| Row {
            id: *id,
            method: self.method(id),
            state: states.of(id).to_string(),
            is_allowed: self.allows(id),
            is_own: !by_administrator.contains(id),
        });
        let rows: Vec<_> = rows.collect();
        let has_counted = unlock::has_counted_codes(&self.store, self.tokens());
        let left = match has_counted {
            true => Some(unlock::tries_left(&self.store, self.user.as_bytes())?),
            false => None,
        };
        talk.say(&if json { self.json(&rows, left) } else { self.text(&rows, left) })?;
        Ok(self.done())
    }

    /// The end of a run after which the user has these tokens.
    pub(super) fn done(&self) -> End {
        let tokens: Vec<_> = self.tokens().iter().map(ToString::to_string).collect();
        End::Done(tokens.join(":"))
    }

    fn json(&self, rows: &[Row], left: Option<u64>) -> String {
        let rows: Vec<_> = rows.iter().map(Row::json).collect();
        let allow: Vec<_> = self.settings.own.iter().map(|verb| name(*verb)).collect();
        let methods: Vec<_> = self.methods.iter().map(Method::name).collect();
        let services: serde_json::Map<_, _> = self
            .settings
            .policy
            .services
            .keys()
            .map(|service| (service.clone(), need_json(&self.ruling(service.as_bytes()))))
            .collect();
        out::json_text(&json!({
            "user": self.user,
            "tokens": rows,
            "tries_left": left,
            "logins": need_json(&self.ruling(b"")),
            "services": services,
            "methods": methods,
            "allow": allow,
        }))
    }

    fn text(&self, rows: &[Row], left: Option<u64>) -> String {
        let name_of_user = shown::text(self.user);
        let mut text = match rows {
            [] => format!("{name_of_user} has no second factor on this host.\n"),
            rows => format!("{name_of_user} has {}:\n", out::count(rows.len(), "token")),
        };
        rows.iter().for_each(|row| text.push_str(&row.line()));
        // Writing to a String does not fail.
        if let Some(left) = left {
            let _ = match left {
                0 => writeln!(text, "{}", unlock::few(0)),
                left => writeln!(text, "{left} of {CAPACITY} tries are left for codes."),
            };
        }
        let _ = writeln!(text, "Logins: {}.", need_text(&self.ruling(b"")));
        for service in self.settings.policy.services.keys() {
            let _ = writeln!(
                text,
                "Logins by {}: {}.",
                shown::text(service),
                need_text(&self.ruling(service.as_bytes()))
            );
        }
        let methods: Vec<_> = self.methods.iter().map(Method::name).collect();
        let _ = writeln!(text, "You may use: {}.", methods.join(", "));
        let own: Vec<_> = self.settings.own.iter().map(|verb| name(*verb)).collect();
        let _ = writeln!(text, "You may do yourself: {}.", own.join(", "));
        text
    }
}

fn need_json(ruling: &Result<Ruling<'_>, Doubt>) -> Value {
    let (need, until) = match ruling.as_ref().map(|ruling| ruling.need) {
        Ok(Need::Exempt) => ("exempt", None),
        Ok(Need::IfEnrolled) => ("if-enrolled", None),
        Ok(Need::Postponable { until }) => ("postponable", Some(until)),
        Ok(Need::Required) => ("required", None),
        Err(_) => ("unknown", None),
    };
    json!({ "need": need, "until": until })
}

fn need_text(ruling: &Result<Ruling<'_>, Doubt>) -> String {
    match ruling.as_ref().map(|ruling| ruling.need) {
        Ok(Need::Exempt) => "you are exempt, and not asked for a second factor".to_owned(),
        Ok(Need::IfEnrolled) => "you are asked for a second factor if you have one".to_owned(),
        Ok(Need::Postponable { until }) => {
            format!(
                "you are asked for a second factor if you have one; from {} UTC on you need one",
                time::utc(until)
            )
        }
        Ok(Need::Required) => "you need a second factor".to_owned(),
        Err(doubt) => doubt.to_string(),
    }
}
