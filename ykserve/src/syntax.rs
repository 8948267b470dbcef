//! What the TOML parser says about a file, as a finding.

use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::nearest::nearest;
use yubiotp::{shown, wrong_type};

/// The finding, and its line, counted from 1. It quotes no value, because any of them may be a password.
pub fn finding(text: &str, error: &toml::de::Error) -> (usize, Diagnostic) {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count();
    let is_toml = toml::from_str::<toml::Table>(text).is_ok();
    let found = finding_in(text.lines().nth(line).unwrap_or_default(), error.message(), is_toml);
    (line.saturating_add(1), found)
}

fn finding_in(line: &str, message: &str, is_toml: bool) -> Diagnostic {
    let name = setting_of(line);
    if let Some(rest) = message.strip_prefix("unknown field `")
        && let Some((name, known)) = rest.split_once("`, expected ")
    {
        return unknown(name, known);
    }
    if let Some(missing) = message.strip_prefix("missing field ") {
        let problem = format!("the setting {} is missing in this table", missing.replace('`', ""));
        return Diagnostic::error(Code::SettingInvalid, problem);
    }
    if let Some(expected) = wrong_type::expected(message) {
        let name = name.map(|name| format!("{name} ")).unwrap_or_default();
        return Diagnostic::error(Code::SettingInvalid, format!("{name}must be {expected}"));
    }
    match name {
        Some(name) if message == "duplicate key" => {
            Diagnostic::error(Code::SettingsConflict, format!("sets {name} a second time"))
                .advise("remove one of the two lines")
        }
        _ if is_toml => Diagnostic::error(Code::SettingInvalid, message),
        // Behind it the parser lists what else could be there.
        _ => Diagnostic::error(Code::ConfigInvalid, message.split(", expected ").next().unwrap_or(message)),
    }
}

/// There is no such setting; `known` names those that there are, each in backquotes.
fn unknown(name: &str, known: &str) -> Diagnostic {
    let known: Vec<_> = known.split('`').skip(1).step_by(2).collect();
    let spelt = name.to_ascii_lowercase().replace('-', "_");
    let found =
        Diagnostic::error(Code::SettingUnknown, format!("there is no setting {} here", shown::text(name)));
    match nearest(&spelt, known.iter().copied()) {
        Some(near) => found.advise(format!("write {near}")),
        None => found.advise(format!("use one of {}", known.join(", "))),
    }
}

/// The name of the setting in a line.
fn setting_of(line: &str) -> Option<&str> {
    let (name, _) = line.split_once('=')?;
    let is_bare = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    Some(name.trim()).filter(|name| !name.is_empty() && name.chars().all(is_bare))
}
