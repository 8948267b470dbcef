//! The steps of `ykmap setup`, from what was found on the host: values in, values out.
//!
//! No file remembers how far somebody came. A step is done if the host shows it, so a plan that is made again goes on where
//! the last one stopped, whoever did the step and by whichever verb.

use super::found::{Asks, Found, FoundService};
use yubiotp::diagnostic::shell_word;

/// A verb and its arguments.
pub(crate) type Words = Vec<String>;

/// The words of a command.
pub(crate) fn words<const N: usize>(words: [&str; N]) -> Words {
    words.map(str::to_owned).to_vec()
}

/// The words as a shell needs them.
pub(crate) fn text(words: &[String]) -> String {
    words.iter().map(|word| shell_word(word.as_bytes())).collect::<Vec<_>>().join(" ")
}

/// The steps, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    /// Settings, mapping, store key and store.
    Store,
    /// A token of the user.
    Token,
    /// The host has accepted it once.
    Touch,
    /// Another way in, for the day when the token is lost.
    WayBack,
    /// A service asks for it.
    Services,
    /// The administrator has kept the change, which is undone otherwise.
    Keep,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// The host shows it.
    Done,
    /// It can be done now.
    ToDo,
    /// It follows one that is to do.
    Later,
    /// This host has no use for it.
    Unused,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) name: Name,
    pub(crate) status: Status,
    /// What there is, or what is missing, in a few words.
    pub(crate) detail: String,
    /// The verbs that do it.
    pub(crate) commands: Vec<Words>,
}

impl Name {
    /// As `--json` has it.
    pub(crate) const fn id(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Token => "token",
            Self::Touch => "touch",
            Self::WayBack => "way-back",
            Self::Services => "services",
            Self::Keep => "keep",
        }
    }

    /// As people read it.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Token => "token",
            Self::Touch => "check",
            Self::WayBack => "way back",
            Self::Services => "services",
            Self::Keep => "keep",
        }
    }
}

impl Status {
    /// As `--json` has it.
    pub(crate) const fn id(self) -> &'static str {
        match self {
            Self::ToDo => "to-do",
            other => other.name(),
        }
    }

    /// As people read it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::ToDo => "to do",
            Self::Later => "later",
            Self::Unused => "unused",
        }
    }
}

/// Every step, in order.
pub(crate) fn plan(found: &Found) -> Vec<Step> {
    let steps = [store(found), token(found), touch(found), way_back(found), services(found), keep(found)];
    let mut is_blocked = false;
    let steps = steps.into_iter().map(|mut step| {
        if step.status == Status::ToDo && is_blocked {
            step.status = Status::Later;
        }
        // Whatever happens, somebody can come back with the token that they have.
        is_blocked |= step.status == Status::ToDo && step.name != Name::WayBack;
        step
    });
    steps.collect()
}

/// Whether nothing is left to do.
pub(crate) fn is_done(steps: &[Step]) -> bool {
    steps.iter().all(|step| matches!(step.status, Status::Done | Status::Unused))
}

fn step(name: Name, is_done: bool, detail: impl Into<String>, commands: Vec<Words>) -> Step {
    let status = if is_done { Status::Done } else { Status::ToDo };
    let commands = if is_done { Vec::new() } else { commands };
    Step { name, status, detail: detail.into(), commands }
}

fn store(found: &Found) -> Step {
    match &found.unusable {
        None => step(Name::Store, true, "settings, store key and store are here", Vec::new()),
        Some(why) => step(Name::Store, false, why.problem(), vec![words(["init"])]),
    }
}

fn token(found: &Found) -> Step {
    let name = yubiotp::shown::text(&found.user).to_string();
    let usable: Vec<_> = found.usable().map(|token| token.id.as_str()).collect();
    if !usable.is_empty() {
        return step(Name::Token, true, format!("{name} has {}", usable.join(", ")), Vec::new());
    }
    let detail = match found.tokens.as_slice() {
        [] => format!("{name} has none"),
        tokens => {
            let states: Vec<_> =
                tokens.iter().map(|token| format!("{}: {}", token.id, token.state)).collect();
            format!("{name} has none that works ({})", states.join("; "))
        }
    };
    let user = found.user.as_str();
    let add = words(["add", user]);
    let fix = found.tokens.iter().find_map(|token| token.fix.clone());
    let commands = match (found.takes_yubikeys, found.takes_apps) {
        _ if fix.is_some() => fix.into_iter().collect(),
        (true, _) if found.asks_servers || found.unowned > 0 => vec![add],
        (true, _) => vec![words(["key", "new"]), add],
        (false, true) => vec![words(["totp", "add", user])],
        (false, false) => vec![add],
    };
    step(Name::Token, false, detail, commands)
}

fn touch(found: &Found) -> Step {
    let is_proved = found.usable().any(|token| token.is_proved);
    let detail = if is_proved { "this host has accepted it" } else { "this host has not accepted it yet" };
    step(Name::Touch, is_proved, detail, vec![words(["verify", &found.user])])
}

fn way_back(found: &Found) -> Step {
    let usable = found.usable().count();
    let detail = match (found.codes_left, usable) {
        (0, 0 | 1) => "no recovery code, and no second token".to_owned(),
        (0, more) => format!("{more} tokens"),
        (1, _) => "1 recovery code".to_owned(),
        (left, _) => format!("{left} recovery codes"),
    };
    let is_done = found.codes_left > 0 || usable > 1;
    let user = found.user.as_str();
    let new = if found.takes_recovery { words(["recovery", "new", user]) } else { words(["add", user]) };
    step(Name::WayBack, is_done, detail, vec![new])
}

fn services(found: &Found) -> Step {
    let names = |asks: Asks| {
        found.services.iter().filter(move |service| service.asks == asks).map(|service| service.name)
    };
    let asking: Vec<_> = names(Asks::Yes)
        .chain(names(Asks::Partly))
        .chain(found.others_asking.iter().map(String::as_str))
        .collect();
    let missing: Vec<_> = names(Asks::No).collect();
    if asking.is_empty() && missing.is_empty() {
        let detail = "this host has no service that ykmap enable knows";
        return Step {
            name: Name::Services,
            status: Status::Unused,
            detail: detail.to_owned(),
            commands: Vec::new(),
        };
    }
    let detail = match (asking.is_empty(), missing.is_empty()) {
        (true, _) => format!("none asks for a token yet; here are {}", missing.join(", ")),
        (false, true) => format!("{} ask for a token", asking.join(", ")),
        (false, false) => format!("{}; not yet {}", asking.join(", "), missing.join(", ")),
    };
    let first = found.first_to_enable().map(|service| words(["enable", service.name]));
    step(Name::Services, !asking.is_empty(), detail, first.into_iter().collect())
}

fn keep(found: &Found) -> Step {
    let pending: Vec<&FoundService> =
        found.services.iter().filter(|service| service.undone_at.is_some()).collect();
    if pending.is_empty() {
        let is_on =
            found.services.iter().any(|service| service.asks != Asks::No) || !found.others_asking.is_empty();
        let (status, detail) = match (is_on, found.services.is_empty()) {
            (true, _) => (Status::Done, "no change waits for it"),
            (false, false) => (Status::Later, "after a second login; otherwise the change is undone"),
            (false, true) => (Status::Unused, "there is nothing to keep"),
        };
        return Step { name: Name::Keep, status, detail: detail.to_owned(), commands: Vec::new() };
    }
    let when = pending.iter().map(|service| {
        format!("{} is undone at {}", service.name, service.undone_at.as_deref().unwrap_or_default())
    });
    let when = when.collect::<Vec<_>>().join("; ");
    let commands = pending.iter().map(|service| words(["enable", "--keep", service.name])).collect();
    step(Name::Keep, false, when, commands)
}

#[cfg(test)]
mod tests;
