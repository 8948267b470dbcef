//! Showing a plan, to people and to scripts.

use super::{Plan, Planned};
use crate::exchange::warn_of_mode;
use crate::{Context, out, service};
use serde_json::{Value, json};
use ykcli::input::SHOWN;
use ykhost::settings::Settings;
use ykhost::store::Enrolled;
use yubiotp::oath::Kind;
use yubiotp::shown;

impl Plan {
    /// A line for each user of each token.
    pub(crate) fn lines(&self) -> Vec<String> {
        let of = |token: &Planned| {
            let text = token.text();
            token.users.iter().map(|user| format!("{}: {text}", shown::text(user))).collect::<Vec<_>>()
        };
        self.tokens.iter().flat_map(of).collect()
    }

    /// The same for scripts. `extra` has more about each user.
    pub(crate) fn json(&self, extra: &dyn Fn(&str) -> Value) -> Vec<Value> {
        self.tokens.iter().flat_map(|token| token.json(extra)).collect()
    }

    /// Says what was imported, or would be. `extra` has more about each user, for scripts.
    pub(crate) fn say(&self, context: &Context, dry_run: bool, extra: &dyn Fn(&str) -> Value) {
        if context.json {
            out::json(
                &json!({ "dry_run": dry_run, "tokens": self.json(extra), "passed_over": self.passed_over }),
            );
            return;
        }
        self.lines().iter().for_each(|line| out::line(line));
        let did = if dry_run { "would import" } else { "imported" };
        let users = out::count(self.users().count(), "user");
        out::line(&format!("{did} {} of {users}", out::count(self.tokens.len(), "token")));
        for user in self.passed_over.iter().take(SHOWN) {
            out::note(&format!(
                "{}: skipped: is listed without a token (ykmap reset, or ykmap remove). Name the user to import their token",
                shown::text(user)
            ));
        }
        if let Some(more) = self.passed_over.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            out::note(&format!("{more} more users like these (--json names all)"));
        }
    }

    /// Notes what an administrator has to know before and after.
    pub(crate) fn warn(&self, context: &Context, settings: &Settings) {
        service::warn_of_others(context, settings, None, &[]);
        warn_of_mode(context, settings);
    }
}

impl Planned {
    fn text(&self) -> String {
        let kind = match self.parameters.kind {
            Kind::Totp { period } => format!("TOTP of {} s", period.seconds()),
            Kind::Hotp => "HOTP".to_owned(),
        };
        let codes = match self.emergency.count {
            0 => String::new(),
            codes => {
                let sets: Vec<_> = self.emergency.sets().map(|set| set.to_string()).collect();
                format!(", {} ({})", out::count(codes, "emergency code"), sets.join(", "))
            }
        };
        let state = match self.enrolled {
            Enrolled::Added => "",
            Enrolled::Unchanged => ", in the store already",
            Enrolled::Returned => ", used here before: going on from there",
            Enrolled::Mended => ", could not be opened: written anew",
        };
        format!("{}, {kind}, {} digits{codes}{state}", self.id, self.parameters.digits.get())
    }

    fn json(&self, extra: &dyn Fn(&str) -> Value) -> Vec<Value> {
        let sets: Vec<_> = self.emergency.sets().map(|set| set.to_string()).collect();
        let (kind, period) = match self.parameters.kind {
            Kind::Totp { period } => ("totp", Some(period.seconds())),
            Kind::Hotp => ("hotp", None),
        };
        let of = |user: &String| {
            json!({
                "user": user,
                "token": self.id.to_string(),
                "kind": kind,
                "period": period,
                "digits": self.parameters.digits.get(),
                "is_new": self.enrolled == Enrolled::Added,
                "emergency_codes": self.emergency.count,
                "sets": sets,
                "notes": extra(user),
            })
        };
        self.users.iter().map(of).collect()
    }
}
