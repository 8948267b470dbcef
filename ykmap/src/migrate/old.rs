//! The modules that users come from, and what the arguments of their lines mean here.

mod google_authenticator;
mod oath;
#[cfg(test)]
mod tests;
mod yubico;

use std::collections::BTreeMap;
use yubiotp::diagnostic::{Code, Diagnostic};

/// A module that `ykmap migrate` replaces in pam.d.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Old {
    Yubico,
    GoogleAuthenticator,
    Oath,
}

impl Old {
    /// As lines of pam.d name it, without `.so`.
    pub(super) const fn module(self) -> &'static str {
        match self {
            Self::Yubico => "pam_yubico",
            Self::GoogleAuthenticator => "pam_google_authenticator",
            Self::Oath => "pam_oath",
        }
    }

    /// As `ykmap migrate` names it.
    pub(super) const fn verb(self) -> &'static str {
        match self {
            Self::Yubico => "pam_yubico",
            Self::GoogleAuthenticator => "google-authenticator",
            Self::Oath => "oath",
        }
    }

    /// The name of the change in the store.
    pub(super) fn change(self) -> String {
        format!("migrate-{}", self.verb())
    }
}

/// Where a line finds the tokens of users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// pam_yubico: a file of all users.
    Mapping(String),
    /// pam_yubico: a file in each home.
    Homes,
    /// pam_yubico: a directory or a database, which is named, and the command that shows what it has.
    Elsewhere { what: &'static str, export: String },
    /// google-authenticator: the path of a user's file, with `${USER}` and `${HOME}`, and the user who is to own it.
    Secrets { path: Option<String>, owner: Option<String>, any_owner: bool },
    /// pam_oath: the users file, and `window=`.
    UsersFile { path: String, window: Option<u16> },
    /// A line that asks nobody.
    Nothing,
}

/// A line of another module as it is written for this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Translated {
    /// The control field, if it changes, without its brackets.
    pub(super) control: Option<String>,
    /// Arguments of pam_yubiotp.so.
    pub(super) args: Vec<String>,
    /// Which servers are asked, and as whom, by pam_yubico's names: `id`, `key`, `urllist`, `capath`, `proxy`.
    pub(super) servers: Servers,
    pub(super) source: Source,
    /// Whether the line stays as it is.
    pub(super) stays: bool,
    /// What has to be known.
    pub(super) findings: Vec<Diagnostic>,
}

/// Arguments about validation servers, and their values.
pub(super) type Servers = BTreeMap<&'static str, String>;

impl Translated {
    const fn new(source: Source) -> Self {
        Self {
            control: None,
            args: Vec::new(),
            servers: BTreeMap::new(),
            source,
            stays: false,
            findings: Vec::new(),
        }
    }

    /// Whether the line can be written for this module.
    pub(super) const fn is_movable(&self) -> bool {
        !self.stays
    }

    fn arg(&mut self, arg: impl Into<String>) {
        let arg = arg.into();
        if !self.args.contains(&arg) {
            self.args.push(arg);
        }
    }

    /// The last of two arguments of one name counts.
    fn first_pass(&mut self, arg: &str) {
        self.args.retain(|old| !old.ends_with("_first_pass"));
        self.args.push(arg.to_owned());
    }

    fn prompt(&mut self, prompt: &str) {
        self.args.retain(|old| !old.starts_with("prompt="));
        self.args.push(format!("prompt={prompt}"));
    }

    fn warn(&mut self, problem: impl Into<String>, advice: &str) {
        self.find(Diagnostic::warning(Code::NotMoved, problem), advice);
    }

    fn note(&mut self, problem: impl Into<String>) {
        self.find(Diagnostic::note(Code::NotMoved, problem), "");
    }

    /// The line stays as it is.
    fn stay(&mut self, problem: impl Into<String>, advice: &str) {
        self.stays = true;
        self.find(Diagnostic::warning(Code::LineNotMovable, problem), advice);
    }

    fn find(&mut self, found: Diagnostic, advice: &str) {
        let found = if advice.is_empty() { found } else { found.advise(advice) };
        if !self.findings.contains(&found) {
            self.findings.push(found);
        }
    }
}

/// A line of another module: its control field, without brackets, and its arguments.
pub(super) fn translate(old: Old, is_auth: bool, control: &str, args: &[String]) -> Translated {
    let mut line = if is_auth {
        match old {
            Old::Yubico => yubico::translate(args),
            Old::GoogleAuthenticator => google_authenticator::translate(args),
            Old::Oath => oath::translate(args),
        }
    } else {
        // Such lines say yes in these modules, and have nothing to read.
        Translated::new(Source::Nothing)
    };
    if !is_auth && args.iter().any(|arg| arg == "nullok") {
        line.arg("nullok");
    }
    answers(&mut line, control);
    line
}

/// What the control field makes of answers that have another meaning here.
fn answers(line: &mut Translated, control: &str) {
    let pairs: Vec<_> = control.split_ascii_whitespace().filter_map(|pair| pair.split_once('=')).collect();
    let action = |answer: &str| pairs.iter().rfind(|(name, _)| *name == answer).map(|(_, action)| *action);
    if action("user_unknown") == Some("ignore") {
        // To users who are not listed, the module returns PAM_IGNORE with nullok, and rejects them otherwise.
        line.arg("nullok");
        if action("ignore").or_else(|| action("default")) != Some("ignore") {
            line.control = Some(format!("{control} ignore=ignore"));
        }
    }
    if action("authinfo_unavail").is_some_and(|action| action != "bad" && action != "die") {
        line.warn(
            "authinfo_unavail in the control field: this module returns it for every fault, such as a mapping that cannot be read",
            "write authinfo_unavail=die, so that a fault lets nobody pass",
        );
    }
}

/// The name and the value of an argument; the value is empty if it has none.
fn parts(arg: &str) -> (&str, &str) {
    arg.split_once('=').unwrap_or((arg, ""))
}

/// An argument that the other module ignores, or does not know.
fn unknown(line: &mut Translated, old: Old, arg: &str) {
    let (name, _) = parts(arg);
    line.note(format!("{}: {} does not know it: left out", yubiotp::shown::text(name), old.module()));
}

/// `alwaysok`
fn always_ok(line: &mut Translated) {
    line.warn("alwaysok: let everybody in, whatever they typed; this module has no such argument", "");
}
