//! What `ykmap explain` prints.

use super::login::{Explained, Line, Outcome, Token, WithoutToken};
use super::place::Places;
use super::rule::Deciding;
use crate::{Context, out};
use serde_json::{Value, json};
use ykcli::{diagnostic, time};
use ykhost::settings::Settings;
use yubiotp::diagnostic::{Calls, Diagnostic, Program, shell_word};
use yubiotp::policy::{Need, RemoteHost};
use yubiotp::shown;

/// Logins by one service, or by the general rules.
pub(super) struct One<'p> {
    /// Empty for the general rules.
    pub(super) service: &'p str,
    pub(super) line: Line,
    pub(super) explained: Explained<'p>,
    /// `None` if no rule decides.
    pub(super) need: Option<Deciding>,
    pub(super) methods: Option<Deciding>,
    pub(super) tries: u8,
}

impl One<'_> {
    /// Whether logins by it come to something else than by the general rules.
    pub(super) fn differs_from(&self, general: &Self) -> bool {
        let all = |one: &Self| {
            let ruling = one.explained.ruling.as_ref();
            let ruling = ruling.ok().map(|ruling| (ruling.need, ruling.methods));
            let returns = one.explained.returns(one.tries);
            (ruling, one.explained.without_token, one.explained.outcome.name(), returns)
        };
        all(self) != all(general)
    }

    fn json(&self, calls: Calls<'_>) -> Value {
        let Self { service, line, explained, need, methods, tries } = self;
        let ruling = explained.ruling.as_ref().ok();
        let names = ruling.map(|ruling| ruling.methods.iter().map(|it| it.name()).collect::<Vec<_>>());
        let until = ruling.and_then(|ruling| match ruling.need {
            Need::Postponable { until } => Some(time::utc(until)),
            Need::Exempt | Need::IfEnrolled | Need::Required => None,
        });
        let finding = match &explained.outcome {
            Outcome::Fault(found) => Some(diagnostic::json(found, calls)),
            _ => None,
        };
        let tokens = explained.tokens.as_deref().unwrap_or_default().iter().map(token_json);
        json!({
            "service": (!service.is_empty()).then_some(service),
            "need": ruling.map(|ruling| need_name(ruling.need)),
            "until": until,
            "rule": need.as_ref().map(rule_json),
            "methods": names,
            "methods_rule": methods.as_ref().map(rule_json),
            "nullok": line.nullok,
            "enroll": line.enroll,
            "without_token": explained.without_token.map(WithoutToken::name),
            "listed": explained.tokens.is_some(),
            "tokens": tokens.collect::<Vec<_>>(),
            "login": explained.outcome.name(),
            "code": explained.code().name(),
            "returns": explained.returns(*tries),
            "finding": finding,
        })
    }
}

const fn need_name(need: Need) -> &'static str {
    match need {
        Need::Exempt => "exempt",
        Need::IfEnrolled => "if-enrolled",
        Need::Postponable { .. } => "postponable",
        Need::Required => "required",
    }
}

fn rule_json(rule: &Deciding) -> Value {
    let Deciding { table, setting, item, words, location } = rule;
    json!({
        "table": table,
        "setting": setting,
        "item": item,
        "is_set": location.is_some(),
        "location": location.as_ref().map(diagnostic::location),
        "text": words,
    })
}

fn token_json(token: &Token) -> Value {
    json!({
        "id": token.id.to_string(),
        "method": token.method.map(|method| method.name()),
        "state": token.state.to_string(),
        "allowed": token.is_allowed,
        "usable": token.is_usable,
    })
}

/// All that is shown.
pub(super) struct Shown<'a> {
    pub(super) user: &'a str,
    pub(super) rhost: &'a str,
    pub(super) unix: u64,
    pub(super) settings: &'a Settings,
    pub(super) places: &'a Places,
    pub(super) main: &'a One<'a>,
    pub(super) services: &'a [One<'a>],
}

impl Shown<'_> {
    fn groups(&self) -> Vec<&str> {
        let is_in = |users: &[String]| users.iter().any(|user| user == self.user);
        let groups = self.settings.policy.groups.iter().filter(|(_, users)| is_in(users));
        groups.map(|(group, _)| group.as_str()).collect()
    }

    fn from(&self) -> RemoteHost {
        RemoteHost::read(Some(self.rhost.as_bytes()))
    }

    pub(super) fn json(&self, context: &Context) {
        let ykmap = context.ykmap();
        let calls = Calls { ykmap: &ykmap, ..Calls::PLAIN };
        let mut all = self.main.json(calls);
        let from = match self.from() {
            RemoteHost::Local => "local",
            RemoteHost::Address(_) => "address",
            RemoteHost::Name => "name",
        };
        let groups: Vec<_> = self
            .groups()
            .into_iter()
            .map(|group| json!({ "group": group, "location": diagnostic::location(&self.places.of_group(group)) }))
            .collect();
        let rest = json!({
            "user": self.user,
            "rhost": (!self.rhost.is_empty()).then_some(self.rhost),
            "from": from,
            "at": time::utc(self.unix),
            "groups": groups,
            "services": self.services.iter().map(|one| one.json(calls)).collect::<Vec<_>>(),
        });
        if let (Value::Object(all), Value::Object(rest)) = (&mut all, rest) {
            all.extend(rest);
        }
        out::json(&all);
    }

    pub(super) fn print(&self, context: &Context) {
        let main = self.main;
        let by = match main.service {
            "" => String::new(),
            service => format!(" by {}", shown::text(service)),
        };
        let from = match self.from() {
            RemoteHost::Local => "this host".to_owned(),
            RemoteHost::Address(_) => shown::text(self.rhost).to_string(),
            RemoteHost::Name => {
                format!("{} (a name: it is in no network)", shown::text(self.rhost))
            }
        };
        let heading = format!("{}{by}, from {from}, at {} UTC", shown::text(self.user), time::utc(self.unix));
        out::line(&out::styled(out::Style::Bold, &heading));
        let line = |name: &str, text: &str| out::line(&format!("  {name:<14} {text}"));
        line("needs", &needs(main));
        if let Some(rule) = &main.need {
            line("because", &rule.in_words());
        }
        let groups = self.groups();
        if !groups.is_empty() {
            line("groups", &shown::text(&groups.join(", ")).to_string());
        }
        self.tokens();
        if let Some(methods) = &main.methods
            && methods.location.is_some()
        {
            line("methods", &methods.in_words());
        }
        if let Some(text) = main.explained.without_token.and_then(|it| without_token(it, main.line)) {
            line("without token", text);
        }
        line("login", &self.login(main, Some(context)));
        for one in self.services {
            let rule = one.need.as_ref().map(|rule| format!("; {}", rule.in_words())).unwrap_or_default();
            out::line(&format!("by {}: {}{rule}", shown::text(one.service), self.login(one, None)));
        }
    }

    fn tokens(&self) {
        let Some(tokens) = &self.main.explained.tokens else {
            if !matches!(self.main.explained.outcome, Outcome::Fault(_)) {
                out::line(&format!("  {:<14} none: not listed", "tokens"));
            }
            return;
        };
        if tokens.is_empty() {
            out::line(&format!("  {:<14} none: listed without a token", "tokens"));
        }
        let mut name = "tokens";
        for token in tokens {
            let method = token.method.map_or("unknown", |method| method.name());
            let not_allowed =
                if token.is_allowed { "" } else { ", and the policy does not allow the method" };
            let text = format!("{} ({method}): {}{not_allowed}", token.id, token.state);
            out::line(&format!("  {name:<14} {text}"));
            name = "";
        }
    }

    /// What a login comes to, in a sentence, and what the module returns. With a context, also what to do about it.
    fn login(&self, one: &One<'_>, context: Option<&Context>) -> String {
        let returns = one.explained.returns(one.tries);
        let user = shell_word(self.user.as_bytes());
        let others = if returns == "PAM_IGNORE" { ", and the other modules decide" } else { "" };
        let (what, why) = match &one.explained.outcome {
            Outcome::Exempt(_) => ("not asked: exempt", None),
            Outcome::Excused(..) | Outcome::Nullok => ("not asked: not listed, and excused", None),
            Outcome::Offered { required: false } => ("offered enrollment; without it, excused", None),
            Outcome::Offered { required: true } => ("offered enrollment; without it, rejected", None),
            Outcome::Asked => return format!("asked. After a right answer, the module returns {returns}"),
            Outcome::Rejected(code) => {
                let found = |problem| Diagnostic::error(*code, problem);
                let add = format!("add {user}");
                let why = match one.explained.tokens.as_deref() {
                    None => found("not listed").run(Program::Ykmap, add),
                    Some([]) => found("listed without a token").run(Program::Ykmap, add),
                    Some(_) => found("none of the tokens can be used").run_when(
                        "to see why",
                        Program::Ykmap,
                        format!("doctor {user}"),
                    ),
                };
                ("rejected, whatever the user types", Some(why))
            }
            Outcome::Fault(found) => ("rejected: nothing can be decided", Some(found.clone())),
        };
        let why = match (why, context) {
            (Some(why), Some(context)) => format!(": {}", context.line(&why)),
            (Some(why), None) => format!(": {} [{}]", why.problem, why.code),
            (None, _) => String::new(),
        };
        format!("{what}. The module returns {returns}{others}{why}")
    }
}

/// The need, in words.
fn needs(one: &One<'_>) -> String {
    let until = match one.explained.ruling.as_ref().map(|ruling| ruling.need) {
        Err(_) => return "unknown".to_owned(),
        Ok(Need::Exempt) => return "no second factor, even with a token".to_owned(),
        Ok(Need::Required) => return "a second factor".to_owned(),
        Ok(Need::IfEnrolled) => None,
        Ok(Need::Postponable { until }) => Some(until),
    };
    let base = "a second factor if the user has one";
    match until {
        Some(until) => format!("{base}; from {} UTC on in every case", time::utc(until)),
        None => base.to_owned(),
    }
}

const fn without_token(without: WithoutToken, line: Line) -> Option<&'static str> {
    match without {
        WithoutToken::Exempt => None,
        WithoutToken::Excused if line.nullok => Some("excused (nullok is on the line)"),
        WithoutToken::Excused => Some("excused"),
        WithoutToken::Offered => Some("offered enrollment, which they may put off"),
        WithoutToken::MustEnroll => Some("offered enrollment, without which they are rejected"),
        WithoutToken::Rejected => Some("rejected"),
    }
}
