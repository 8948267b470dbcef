//! `ykmap self status`: what the user has, what logins need, and what the user may do.

use super::session::{Session, name};
use crate::check::KeptOut;
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
    /// A login accepts it, as far as its state says.
    is_usable: bool,
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

    /// Whether it was set up on a phone: such a token has a serial number of ours.
    fn is_app(&self) -> bool {
        matches!(&self.id, TokenId::Oath(serial) if serial.as_str().starts_with("app-"))
    }

    fn line(&self) -> String {
        let kind = match self.method {
            Some(Method::YubiKey) => "YubiKey",
            Some(Method::Totp) if self.is_app() => "authenticator app",
            Some(Method::Totp) => "hardware token, by time",
            Some(Method::Hotp) => "hardware token, by counter",
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
            is_usable: KeptOut::by(states.of(id), self.settings.mode.asks_servers()).is_none(),
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
        // Recovery codes come to an end, and count as no token.
        let codes = rows.iter().filter(|row| row.id.recovery_set().is_some()).count();
        let mut text = match (rows.len().saturating_sub(codes), codes) {
            (0, 0) => format!("{name_of_user} has no second factor on this host.\n"),
            (0, _) => format!("{name_of_user} has recovery codes, and no token:\n"),
            (tokens, 0) => format!("{name_of_user} has {}:\n", out::count(tokens, "token")),
            (tokens, _) => {
                format!("{name_of_user} has {}, and recovery codes:\n", out::count(tokens, "token"))
            }
        };
        rows.iter().for_each(|row| text.push_str(&row.line()));
        if !rows.is_empty() && !rows.iter().any(|row| row.is_usable && row.is_allowed) {
            text.push_str("None of them lets you in any more: ask your administrator.\n");
        }
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
