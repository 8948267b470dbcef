//! Showing findings: in one line for people, as an object for scripts.

use crate::out;
use serde_json::{Value, json};
use std::fmt::Write as _;
use yubiotp::diagnostic::{Calls, Diagnostic, Location, Remedy};
use yubiotp::shown;

/// In one line, with its remedies and with its code at the end:
/// `/etc/yubiotp/store.key: does not exist. Restore your copy of the store key. For a new store: ykmap init [store-key-missing]`.
/// Not escaped: print it with [`out::note`] or [`out::line`].
#[must_use]
pub fn line(diagnostic: &Diagnostic, calls: Calls<'_>) -> String {
    format!("{} [{}]", diagnostic.text(calls), diagnostic.code)
}

/// As an object with the fields `code`, `severity`, `location`, `problem` and `remedies`. `location` is null, or has one of
/// `file` (perhaps with `line` and `setting`), `setting`, `argument`, `service`, `url`, `user` and `token`. A remedy is
/// either a `command`, with `when` null or the case that it is for, or a `text`.
#[must_use]
pub fn json(diagnostic: &Diagnostic, calls: Calls<'_>) -> Value {
    json!({
        "code": diagnostic.code.name(),
        "severity": diagnostic.severity.name(),
        "location": diagnostic.location.as_ref().map(location),
        "problem": diagnostic.problem,
        "remedies": diagnostic.remedies.iter().map(|it| remedy(it, calls)).collect::<Vec<_>>(),
    })
}

/// Shows a finding on standard error, behind `before`. On a terminal a command of a remedy is on a line of its own, to be
/// copied; elsewhere, such as in a log, all of it is in one [`line()`].
pub fn note(before: &str, diagnostic: &Diagnostic, calls: Calls<'_>) {
    match out::error_width() {
        Some(width) => out::raw_note(&lines(before, diagnostic, calls, width)),
        None => out::note(&format!("{before}{}", line(diagnostic, calls))),
    }
}

/// Over several lines: what is wrong and its code; below, each remedy.
fn lines(before: &str, diagnostic: &Diagnostic, calls: Calls<'_>, width: usize) -> String {
    const HANGING: &str = "  ";
    const OF_COMMAND: &str = "    ";
    let mut text = String::new();
    let sentence = |text: &mut String, sentence: &str, first| {
        for line in out::wrapped(&shown::line(sentence).to_string(), [first, HANGING], width) {
            let _ = writeln!(text, "{line}");
        }
    };
    sentence(&mut text, &format!("{before}{} [{}]", diagnostic.problem(), diagnostic.code), "");
    for remedy in &diagnostic.remedies {
        match remedy {
            Remedy::Text(_) => sentence(&mut text, &remedy.text(calls), HANGING),
            Remedy::Command { when, command } => {
                let when = when.as_deref().unwrap_or("run");
                sentence(&mut text, &Remedy::Text(format!("{when}:")).text(calls), HANGING);
                let _ = writeln!(text, "{OF_COMMAND}{}", shown::line(&command.line(calls)));
            }
        }
    }
    text
}

/// Shows why a command fails: with `as_json`, as `{"error": …}` on standard output; else as a [`note`], which begins with the
/// name of the `program`. Where standard output fails, the line comes with `as_json`, too.
pub fn fail(program: &str, diagnostic: &Diagnostic, calls: Calls<'_>, as_json: bool) {
    if as_json {
        out::json(&json!({ "error": json(diagnostic, calls) }));
    }
    if !as_json || out::failed().is_some() {
        note(&format!("{program}: "), diagnostic, calls);
    }
}

/// A location as a value of JSON.
#[must_use]
pub fn location(location: &Location) -> Value {
    match location {
        Location::File { path, line, setting } => json!({ "file": path, "line": line, "setting": setting }),
        Location::Setting(name) => json!({ "setting": name }),
        Location::Argument(name) => json!({ "argument": name }),
        Location::Service(name) => json!({ "service": name }),
        Location::Url(url) => json!({ "url": url }),
        Location::User(name) => json!({ "user": name }),
        Location::Token(id) => json!({ "token": id }),
    }
}

fn remedy(remedy: &Remedy, calls: Calls<'_>) -> Value {
    match remedy {
        Remedy::Command { when, command } => json!({ "command": command.line(calls), "when": when }),
        Remedy::Text(text) => json!({ "text": text }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yubiotp::diagnostic::{Code, Program};

    #[test]
    fn a_finding_is_an_object_with_every_part_of_it() {
        let calls = Calls { ykmap: "ykmap --config /x", ..Calls::PLAIN };
        let found = Diagnostic::error(Code::StoreKeyMissing, "does not exist")
            .at(Location::line(b"/etc/key", 7))
            .advise("restore it")
            .run_when("for a new store", Program::Ykmap, "init");
        assert_eq!(
            json(&found, calls),
            json!({
                "code": "store-key-missing",
                "severity": "error",
                "location": { "file": "/etc/key", "line": 7, "setting": null },
                "problem": "does not exist",
                "remedies": [
                    { "text": "restore it" },
                    { "command": "ykmap --config /x init", "when": "for a new store" },
                ],
            })
        );
        assert_eq!(
            line(&found, calls),
            "/etc/key:7: does not exist. Restore it. For a new store: ykmap --config /x init [store-key-missing]"
        );
    }

    #[test]
    fn on_a_terminal_a_command_has_a_line_of_its_own() {
        let found = Diagnostic::error(Code::StoreKeyMissing, "does not exist, and nothing opens without it")
            .at(Location::file(b"/etc/ke\ny"))
            .advise("restore it")
            .run_when(
                "for a new store, which nobody has yet",
                Program::Ykmap,
                "init --dir /a/long/folder/for/it",
            )
            .run(Program::System, "true");
        assert_eq!(
            lines("ykmap: ", &found, Calls::PLAIN, 200),
            "ykmap: /etc/ke\\u{a}y: does not exist, and nothing opens without it [store-key-missing]\n  Restore it\n  \
             For a new store, which nobody has yet:\n    ykmap init --dir /a/long/folder/for/it\n  Run:\n    true\n"
        );
        let narrow = lines("ykmap: ", &found, Calls::PLAIN, 40);
        let command = "    ykmap init --dir /a/long/folder/for/it";
        assert!(narrow.lines().all(|line| line.len() <= 40 || line == command), "{narrow}");
        assert!(narrow.lines().any(|line| line == command), "{narrow}");
    }

    #[test]
    fn a_finding_without_a_place_says_so() {
        let shown = json(&Diagnostic::note(Code::NoServers, "none"), Calls::PLAIN);
        assert_eq!((&shown["location"], &shown["remedies"]), (&Value::Null, &json!([])));
        let shown =
            json(&Diagnostic::note(Code::NoServers, "none").at(Location::user(b"al\nice")), Calls::PLAIN);
        assert_eq!(shown["location"], json!({ "user": r"al\u{a}ice" }));
    }
}
