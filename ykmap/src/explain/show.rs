//! What `ykmap explain` prints.

use super::login::{Enroll, Explained, Line, Outcome, Token, WithoutToken};
use super::place::Places;
use super::rule::Deciding;
use crate::{Context, out};
use serde_json::{Value, json};
use ykcli::{diagnostic, time};
use ykhost::settings::Settings;
use yubiotp::diagnostic::{Calls, Code, Diagnostic, Program, shell_word};
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
    /// The exemptions that name the user, and do not hold now.
    pub(super) not_now: Vec<Deciding>,
    pub(super) methods: Option<Deciding>,
    pub(super) tries: u8,
}

impl One<'_> {
    /// Whether logins by it come to something else than by the general rules.
    pub(super) fn differs_from(&self, general: &Self) -> bool {
        let all = |one: &Self| {
            let explained = &one.explained;
            (explained.outcome.name(), explained.returns(one.tries))
        };
        all(self) != all(general)
    }

    fn json(&self, calls: Calls<'_>) -> Value {
        let Self { service, line, explained, need, not_now, methods, tries } = self;
        let ruling = explained.ruling.as_ref().ok();
        let names = ruling.map(|ruling| ruling.methods.iter().map(|it| it.name()).collect::<Vec<_>>());
        let until = ruling.and_then(|ruling| match ruling.need {
            Need::Postponable { until } => Some(time_json(until)),
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
            "not_now": not_now.iter().map(rule_json).collect::<Vec<_>>(),
            "methods": names,
            "methods_rule": methods.as_ref().map(rule_json),
            "nullok": line.nullok,
            "enroll": line.enroll != Enroll::Never,
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

/// In UTC, with its zone.
fn time_json(unix: u64) -> String {
    time::utc(unix).replace(' ', "T") + "Z"
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
    /// Why a line with `enroll` offers nothing.
    pub(super) unoffered: Option<&'a Diagnostic>,
    /// Whether the line, or that of some service, offers enrollment.
    pub(super) enrolls: bool,
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

    pub(super) fn json(&self, context: &Context) -> Value {
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
            "at": time_json(self.unix),
            "enroll_finding": self.unoffered.map(|found| diagnostic::json(found, calls)),
            "groups": groups,
            "services": self.services.iter().map(|one| one.json(calls)).collect::<Vec<_>>(),
        });
        if let (Value::Object(all), Value::Object(rest)) = (&mut all, rest) {
            all.extend(rest);
        }
        all
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
        line("needs", &needs(main));
        if let Some(rule) = &main.need {
            line("because", &rule.in_words());
        }
        for rule in &main.not_now {
            line("not now", &rule.in_words());
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
        if let Some(found) = self.unoffered {
            line("not offered", &context.line(found));
        }
        self.login(main, Some(context));
        for one in self.services {
            out::line(&format!("by {}", shown::text(one.service)));
            if let Some(rule) = &one.need {
                line("because", &rule.in_words());
            }
            self.login(one, None);
        }
    }

    fn tokens(&self) {
        let Some(tokens) = &self.main.explained.tokens else {
            if !matches!(self.main.explained.outcome, Outcome::Fault(_)) {
                line("tokens", "none: not listed");
            }
            return;
        };
        if tokens.is_empty() {
            line("tokens", "none: listed without a token");
        }
        let mut name = "tokens";
        for token in tokens {
            let method = token.method.map_or("unknown", |method| method.name());
            let not_allowed =
                if token.is_allowed { "" } else { ", and the policy does not allow the method" };
            line(name, &format!("{} ({method}): {}{not_allowed}", token.id, token.state));
            name = "";
        }
    }

    /// What a login comes to, and what the module returns. With a context, also what to do about it.
    fn login(&self, one: &One<'_>, context: Option<&Context>) {
        let returns = one.explained.returns(one.tries);
        let ends = |what: &str| {
            let others = if returns == "PAM_IGNORE" { ", and the other modules decide" } else { "" };
            format!("{what}. The module returns {returns}{others}")
        };
        let offered = match one.line.enroll {
            Enroll::AfterSshKey => "offered enrollment after an ssh key, and otherwise as below",
            Enroll::Always | Enroll::Never => "offered enrollment",
        };
        let (what, why) = match &one.explained.outcome {
            Outcome::Exempt(_) => (ends("not asked: exempt"), None),
            Outcome::Excused(..) => (ends("not asked: excused, not listed"), None),
            Outcome::Nullok => (ends("not asked: excused by nullok on the line, not listed"), None),
            Outcome::MayPostpone(_) => {
                line("login", offered);
                return line("if postponed", &ends("excused"));
            }
            Outcome::MustEnroll => {
                line("login", offered);
                return line("if not enrolled", &ends("rejected"));
            }
            Outcome::Asked => (format!("asked. After a right answer, the module returns {returns}"), None),
            Outcome::Rejected(code) => {
                (ends("rejected, whatever the user types"), Some(self.rejected(one, *code)))
            }
            Outcome::Fault(found) => (ends("rejected: nothing can be decided"), Some(found.clone())),
        };
        line("login", &what);
        match (why, context) {
            (Some(why), Some(context)) => line("", &context.line(&why)),
            (Some(why), None) => line("", &format!("{} [{}]", why.problem, why.code)),
            (None, _) => {}
        }
    }

    /// Why the user is rejected, and what to do.
    fn rejected(&self, one: &One<'_>, code: Code) -> Diagnostic {
        let user = shell_word(self.user.as_bytes());
        let add = format!("add {user}");
        let found = |problem| Diagnostic::error(code, problem);
        match one.explained.tokens.as_deref() {
            None => found("not listed").run(Program::Ykmap, add),
            Some([]) => {
                let found = found("listed without a token").run(Program::Ykmap, add);
                match self.enrolls {
                    true => found.run_when(
                        "to have them enroll at their next login",
                        Program::Ykmap,
                        format!("reset --enroll-again {user}"),
                    ),
                    false => found,
                }
            }
            Some(_) => {
                let doctor = format!("doctor {user}");
                found("none of the tokens can be used").run_when("to see why", Program::Ykmap, doctor)
            }
        }
    }
}

/// A row.
fn line(name: &str, text: &str) {
    out::line(&format!("  {name:<15} {text}"));
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
