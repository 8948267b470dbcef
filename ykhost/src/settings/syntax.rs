//! What the TOML parser says of a configuration file, as a finding in the words of the file. It never shows a value: it may
//! be a password.

use super::{TABLE_NAMES, TABLES, online};
use yubiotp::diagnostic::{Code, Diagnostic, without_value};
use yubiotp::nearest::nearest;
use yubiotp::{shown, wrong_type};

/// The finding about the line `source`, of which the parser says `message`.
pub(super) fn finding(message: &str, source: &str) -> Diagnostic {
    without_quotes(source)
        .map(|why| Diagnostic::error(Code::SettingInvalid, why))
        .or_else(|| no_table(message, source))
        .or_else(|| misplaced(message))
        .unwrap_or_else(|| invalid(message, source))
}

/// Everything else that the parser says of a line.
fn invalid(message: &str, source: &str) -> Diagnostic {
    let name = source.trim_start_matches('\u{feff}').split('=').next().unwrap_or_default().trim();
    let is_setting = TABLES.iter().any(|(_, names)| names.contains(&name));
    if let Some(expected) = wrong_type::expected(message) {
        let name = if is_setting { format!("{name} ") } else { String::new() };
        return Diagnostic::error(Code::SettingInvalid, format!("{name}must be {expected}"));
    }
    let twice =
        |problem: String, advice: &str| Diagnostic::error(Code::SettingsConflict, problem).advise(advice);
    match message {
        "duplicate key" if is_setting => {
            twice(format!("sets {name} a second time"), "remove one of the two lines")
        }
        "duplicate key" if name.starts_with('[') => twice(
            format!("begins the table {} a second time", shown::text(name)),
            "move its settings below the first, and remove this line",
        ),
        _ if matches!(name, "not_before" | "until") => {
            Diagnostic::error(Code::SettingInvalid, format!("{name} must be a date"))
                .advise("write year, month and day, as 2027-03-01, without quotes")
        }
        _ if message.starts_with("missing escaped value") => {
            Diagnostic::error(Code::SettingInvalid, "has a backslash, which is special between double quotes")
                .advise(r"write such a name between single quotes, as 'EXAMPLE\alice'")
        }
        _ if is_setting => {
            let why = without_value(message);
            // Of an item of a list, the parser does not name the setting.
            let why = why
                .strip_prefix("the value")
                .map_or_else(|| why.clone(), |rest| format!("a value in {name}{rest}"));
            Diagnostic::error(Code::SettingInvalid, why)
        }
        _ => Diagnostic::error(Code::ConfigInvalid, without_value(message)),
    }
}

/// The finding about the first line of a table that there is not.
fn no_table(message: &str, source: &str) -> Option<Diagnostic> {
    let (name, _) = message.strip_prefix("unknown field `")?.split_once('`')?;
    let head = source.trim_start_matches('\u{feff}').trim_start().strip_prefix('[')?;
    let own = head.split([']', '.']).next().unwrap_or_default().trim();
    if own != name {
        return None;
    }
    let found = Diagnostic::error(Code::SettingUnknown, format!("there is no table [{}]", shown::text(name)));
    Some(match nearest(&name.to_ascii_lowercase(), TABLE_NAMES.iter().copied()) {
        Some(near) => found.advise(format!("write [{near}]")),
        None => {
            found.advise(format!("use one of {}", TABLE_NAMES.map(|name| format!("[{name}]")).join(", ")))
        }
    })
}

/// The message about a line whose value lacks its quotes. It never shows the value: it may be a secret, and what the
/// parser says of a key in base64, which ends with `=`, misleads.
fn without_quotes(line: &str) -> Option<String> {
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    let quoted = value.trim_start().starts_with(['"', '\'', '[', '{']);
    match name {
        _ if quoted => None,
        "api_key" => Some(online::NO_API_KEY.to_owned()),
        "api_key_file"
        | "client_key_passphrase_file"
        | "mapping"
        | "store"
        | "store_key"
        | "ca"
        | "client_cert"
        | "client_key"
        | "ask" => Some(format!("{name} must be the path of a file, in quotes")),
        "urls" => Some(online::NO_URLS.to_owned()),
        "proxy" => Some(format!("{}, in quotes", online::NO_PROXY)),
        "mode" | "prompt" => Some(format!("{name} must be text in quotes")),
        _ => None,
    }
}

/// The finding about a setting that is misspelt, or on the wrong side of `[online]`, from the parser's message.
fn misplaced(message: &str) -> Option<Diagnostic> {
    let (name, expected) = message.strip_prefix("unknown field `")?.split_once("`, expected ")?;
    let is_expected = |name: &str| expected.contains(&format!("`{name}`"));
    let (table, here) = TABLES.into_iter().find(|(_, names)| names.iter().all(|name| is_expected(name)))?;
    Some(unknown_setting(name, table, here))
}

/// The finding about a setting that the table `table` does not have: it has those of `here`.
pub(super) fn unknown_setting(name: &str, table: &str, here: &[&str]) -> Diagnostic {
    let elsewhere = TABLES.into_iter().find(|(other, names)| *other != table && names.contains(&name));
    if let Some((other, _)) = elsewhere.filter(|_| !TABLE_NAMES.contains(&name)) {
        let found = |problem, place: &str, table: &str| {
            Diagnostic::error(Code::SettingMisplaced, problem)
                .advise(format!("move it {place} the line {table}"))
        };
        return match (table, other) {
            ("", other) => {
                found(format!("{name} belongs to the table {other}, and is above it"), "below", other)
            }
            (table, "") => found(format!("{name} does not belong to the table {table}"), "above", table),
            (table, other) => {
                found(format!("{name} belongs to the table {other}, and is in {table}"), "below", other)
            }
        };
    }
    let spelt = name.to_ascii_lowercase().replace('-', "_");
    let found = Diagnostic::error(Code::SettingUnknown, format!("there is no setting {}", shown::text(name)));
    match nearest(&spelt, here.iter().copied()) {
        Some(near) => found.advise(format!("write {near}")),
        None => found.advise(format!("use one of {}", here.join(", "))),
    }
}
