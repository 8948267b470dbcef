//! A file in JSON, read as the TOML that it amounts to: one reader for both, and every mistake has its line.

use serde::de::IgnoredAny;
use std::fmt::Write as _;
use toml::value::Datetime;

/// The name that the whole of a file in JSON has in [`as_toml`].
pub(super) const ROOT: &str = "declared";

/// The settings that are dates, which JSON writes as text.
const DATES: [&str; 2] = ["not_before", "until"];

/// Whether a text is JSON: TOML never begins with a brace.
pub(super) fn is_json(text: &str) -> bool {
    text.trim_start_matches('\u{feff}').trim_start().starts_with('{')
}

/// A mistake, and its line, counted from 1.
pub(super) type Mistake = (usize, String);

/// The TOML that a text in JSON amounts to, with the same lines: one value, [`ROOT`].
///
/// # Errors
/// It is not JSON, or says null.
pub(super) fn as_toml(text: &str) -> Result<String, Mistake> {
    let text = text.trim_start_matches('\u{feff}');
    serde_json::from_str::<IgnoredAny>(text).map_err(|why| {
        let message = why.to_string();
        let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
        (why.line().max(1), message.to_owned())
    })?;
    let mut reader = Reader { rest: text, toml: String::with_capacity(text.len() + 64), line: 1 };
    reader.blanks();
    reader.toml.push_str(ROOT);
    reader.toml.push_str(" = ");
    reader.value(None)?;
    reader.blanks();
    Ok(reader.toml)
}

/// Goes through a text that is JSON.
struct Reader<'t> {
    rest: &'t str,
    toml: String,
    line: usize,
}

impl<'t> Reader<'t> {
    /// Takes so many bytes.
    fn take(&mut self, length: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn blanks(&mut self) {
        let length = self.rest.len().saturating_sub(self.rest.trim_start().len());
        let blanks = self.take(length);
        self.line = self.line.saturating_add(blanks.matches('\n').count());
        self.toml.push_str(blanks);
    }

    /// Copies a comma or a bracket.
    fn mark(&mut self) {
        let mark = self.take(1);
        self.toml.push_str(mark);
        self.blanks();
    }

    /// A value, which `name` names.
    fn value(&mut self, name: Option<&str>) -> Result<(), Mistake> {
        match self.rest.as_bytes().first() {
            Some(b'{') => {
                self.mark();
                while self.rest.starts_with('"') {
                    let name = self.text();
                    self.toml.push_str(&quoted(&name));
                    self.blanks();
                    self.take(1);
                    self.toml.push('=');
                    self.blanks();
                    self.value(Some(&name))?;
                    self.blanks();
                    if self.rest.starts_with(',') {
                        self.mark();
                    }
                }
                self.mark();
            }
            Some(b'[') => {
                self.mark();
                while !self.rest.starts_with(']') {
                    self.value(None)?;
                    self.blanks();
                    if self.rest.starts_with(',') {
                        self.mark();
                    }
                }
                self.mark();
            }
            Some(b'"') => {
                let text = self.text();
                let is_date =
                    name.is_some_and(|name| DATES.contains(&name)) && text.parse::<Datetime>().is_ok();
                self.toml.push_str(&if is_date { text } else { quoted(&text) });
            }
            _ => {
                let end = self.rest.find([',', ']', '}', ' ', '\t', '\r', '\n']).unwrap_or(self.rest.len());
                match self.take(end) {
                    "null" => {
                        return Err((self.line, "null says nothing: leave the name out".to_owned()));
                    }
                    word => self.toml.push_str(word),
                }
            }
        }
        Ok(())
    }

    /// Takes a string.
    fn text(&mut self) -> String {
        let mut is_escaped = false;
        let end = self.rest.char_indices().skip(1).find(|(_, letter)| {
            let ends = *letter == '"' && !is_escaped;
            is_escaped = *letter == '\\' && !is_escaped;
            ends
        });
        let length = end.map_or(self.rest.len(), |(at, _)| at.saturating_add(1));
        serde_json::from_str(self.take(length)).unwrap_or_default()
    }
}

/// A string of TOML, on one line.
fn quoted(text: &str) -> String {
    let mut toml = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => toml.extend(['\\', letter]),
            letter if letter.is_control() => {
                let _ = write!(toml, "\\U{:08X}", u32::from(letter));
            }
            letter => toml.push(letter),
        }
    }
    toml.push('"');
    toml
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn back(text: &str) -> Value {
        let toml = as_toml(text).unwrap();
        assert_eq!(toml.matches('\n').count(), text.matches('\n').count(), "{toml}");
        let table: toml::Table = toml::from_str(&toml).unwrap_or_else(|why| panic!("{why}: {toml}"));
        serde_json::to_value(&table[ROOT]).unwrap()
    }

    #[test]
    fn json_and_its_toml_say_the_same() {
        for value in [
            json!({}),
            json!({ "a": [], "b": [1, -2, 0.5, true, false, "x"], "": { " ": [[{}], {}] } }),
            json!({ "text": "\" \\ / \n \u{7f} \u{e9} \u{1f600} : { } [ ] , #", "a=b": { "c:d": 1 } }),
        ] {
            assert_eq!(back(&value.to_string()), value);
            assert_eq!(back(&serde_json::to_string_pretty(&value).unwrap()), value);
        }
        assert_eq!(back("\n\n{\"a\" :\n\"\\ud83d\\ude00\\/\\u0041\"\n}\n"), json!({ "a": "\u{1f600}/A" }));
    }

    #[test]
    fn dates_are_dates_only_where_a_date_belongs() {
        let toml = as_toml(r#"{"until": "2027-03-01", "a": "2027-03-01", "not_before": "soon"}"#).unwrap();
        assert_eq!(toml, r#"declared = {"until"= 2027-03-01, "a"= "2027-03-01", "not_before"= "soon"}"#);
    }

    #[test]
    fn mistakes_have_their_line() {
        assert_eq!(as_toml("{\n \"a\": 1,\n}").unwrap_err().0, 3);
        assert_eq!(as_toml("{\n \"a\": null}").unwrap_err().0, 2);
        assert_eq!(as_toml("").unwrap_err().0, 1);
        assert!(is_json(" \n{") && !is_json("version = 1\n"));
    }
}
