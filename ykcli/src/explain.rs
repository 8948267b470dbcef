//! The verb `explain-code` of every command: what a code means, from `docs/reference/codes.md`.

use crate::{docs, out};
use serde_json::{Value, json};
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::nearest::nearest;

/// The page, with one entry a code.
const PAGE: &str = include_str!("../../docs/reference/codes.md");

/// The arguments of the verb.
#[derive(clap::Args)]
pub struct Args {
    /// Code, as logs and --json have it [default: list all codes]
    // The values are for completions: one that is misspelt is answered with the nearest.
    #[arg(value_name = "CODE", hide_possible_values = true, value_parser = AnyCode)]
    code: Option<String>,
}

impl Args {
    /// For the entry of this code.
    #[must_use]
    pub fn of(code: &str) -> Self {
        Self { code: Some(code.to_owned()) }
    }
}

/// Takes any text, and offers the codes to shells.
#[derive(Clone)]
struct AnyCode;

impl clap::builder::TypedValueParser for AnyCode {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<String, clap::Error> {
        clap::builder::StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = clap::builder::PossibleValue> + '_>> {
        Some(Box::new(Code::ALL.iter().map(|code| clap::builder::PossibleValue::new(code.name()))))
    }
}

/// An entry of the page.
struct Entry<'a> {
    cause: &'a str,
    remedy: &'a str,
}

/// Prints the entry of a code, or all codes.
///
/// # Errors
/// There is no such code.
pub fn run(args: &Args, as_json: bool) -> Result<(), Diagnostic> {
    let Some(name) = &args.code else {
        list(as_json);
        return Ok(());
    };
    // As it was copied: `code=key-missing` of a log, `[key-missing]` of an error.
    let name = name.strip_prefix("code=").unwrap_or(name).trim_matches(['[', ']']);
    let Ok(code) = name.parse::<Code>() else {
        let unknown =
            Diagnostic::error(Code::InputInvalid, format!("there is no code {name} in this version"));
        return Err(match nearest(name, Code::ALL.iter().map(|code| code.name())) {
            Some(near) => unknown.advise(format!("did you mean {near}?")),
            None => unknown.advise("run explain-code without a code to list all of them"),
        });
    };
    let entry = entry(code);
    if as_json {
        out::json(&json(code, &entry));
    } else {
        out::lines(&format!("{code}\n\nCause: {}\n\nRemedy: {}", plain(entry.cause), plain(entry.remedy)));
    }
    Ok(())
}

fn list(as_json: bool) {
    if as_json {
        let all: Vec<_> = Code::ALL.iter().map(|code| json(*code, &entry(*code))).collect();
        return out::json(&json!(all));
    }
    for code in Code::ALL {
        out::line(code.name());
    }
}

fn json(code: Code, entry: &Entry<'_>) -> Value {
    json!({ "code": code.name(), "cause": plain(entry.cause), "remedy": plain(entry.remedy) })
}

/// The entry of a code. A test of the documents sees to it that there is one.
fn entry(code: Code) -> Entry<'static> {
    let head = format!("\n### {code}\n");
    let body = PAGE.split_once(&head).map_or("", |(_, behind)| behind);
    let body = body.split("\n#").next().unwrap_or_default();
    let (cause, remedy) = body.split_once("**Remedy.**").unwrap_or((body, ""));
    Entry { cause: cause.trim().trim_start_matches("**Cause.**").trim(), remedy: remedy.trim() }
}

/// A paragraph without the line ends and marks of the page.
fn plain(text: &str) -> String {
    docs::with_paths(&text.split_whitespace().collect::<Vec<_>>().join(" ").replace('`', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_found_and_ends_before_the_next() {
        for code in Code::ALL {
            let entry = entry(*code);
            for text in [entry.cause, entry.remedy] {
                assert!(
                    text.ends_with('.') && !text.contains("**") && !text.contains("\n#"),
                    "{code}: {text}"
                );
            }
        }
        assert!(plain(entry(Code::KeyMissing).remedy).contains("ykmap key import FILE"));
    }

    #[test]
    fn a_code_is_taken_as_it_was_copied() {
        for code in ["key-missing", "code=key-missing", "[key-missing]"] {
            assert!(run(&Args { code: Some(code.to_owned()) }, true).is_ok(), "{code}");
        }
    }

    #[test]
    fn a_misspelt_code_is_answered_with_the_nearest() {
        let unknown = |code: &str| run(&Args { code: Some(code.to_owned()) }, false).unwrap_err();
        assert!(unknown("key-mising").to_string().contains("key-missing?"));
        assert_eq!(unknown("nonsense").code, Code::InputInvalid);
    }
}
