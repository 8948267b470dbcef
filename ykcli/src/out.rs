//! Where a command prints: answers on standard output, remarks and questions on standard error. A reader that went away
//! is not an error; a disk that is full is, and [`failed`] says so at the end.

use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::OnceLock;
use yubiotp::shown;

static FAILED: OnceLock<String> = OnceLock::new();

/// Why some of what was printed did not get to whoever asked: the first fault of standard output in this process.
#[must_use]
pub fn failed() -> Option<&'static str> {
    FAILED.get().map(String::as_str)
}

/// A line for whoever asked. What is not printable in it is escaped.
pub fn line(text: &str) {
    raw(&format!("{}\n", shown::line(text)));
}

/// Several lines, whose ends are our own.
pub fn lines(text: &str) {
    text.split('\n').for_each(line);
}

/// Text as it is: escaped already, or secret on purpose.
pub fn raw(text: &str) {
    let mut stdout = std::io::stdout().lock();
    if let Err(why) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
        && why.kind() != ErrorKind::BrokenPipe
    {
        FAILED.get_or_init(|| format!("standard output: {why}"));
    }
}

/// A remark, beside the answer.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", shown::line(text));
}

/// Several remarks, whose line ends are our own.
pub fn notes(text: &str) {
    text.split('\n').for_each(note);
}

/// A question: without a newline, where the one who is to answer sees it.
pub fn question(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = write!(stderr, "{}", shown::line(text));
    let _ = stderr.flush();
}

/// A value for a script, over several lines.
pub fn json(value: &serde_json::Value) {
    raw(&format!("{}\n", shown::json(&serde_json::to_string_pretty(value).unwrap_or_default())));
}

/// A field of a table. What is not printable in it is escaped.
pub enum Field {
    /// As everything else.
    Plain(String),
    /// Something that wants attention.
    Loud(String),
}

/// A table: with lines and colour for a person, bare columns for a pipe.
pub fn table(header: &[&str], rows: Vec<Vec<Field>>) {
    let person = std::io::stdout().is_terminal();
    let colour = person && colours_are_wanted();
    let mut table = Table::new();
    table.load_style(if person { presets::UTF8_FULL_CONDENSED } else { presets::NOTHING });
    if person {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table.set_header(header.iter().map(Cell::new));
    for row in rows {
        table.add_row(row.into_iter().map(|field| match field {
            Field::Plain(text) => Cell::new(shown::line(&text)),
            Field::Loud(text) if colour => Cell::new(shown::line(&text)).fg(Color::Yellow),
            Field::Loud(text) => Cell::new(shown::line(&text)),
        }));
    }
    raw(&format!("{}\n", table.trim_fmt()));
}

#[expect(clippy::disallowed_methods, reason = "colour decides nothing")]
fn colours_are_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty())
        && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// `1 key`, `2 keys`.
#[must_use]
pub fn count(number: impl TryInto<u64>, what: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
