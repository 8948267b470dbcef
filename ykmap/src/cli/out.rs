//! Where the command prints. A reader that went away is not an error.

use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use std::io::{IsTerminal, Write};

/// A line for whoever asked.
pub(crate) fn line(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Text as it is.
pub(crate) fn raw(text: &str) -> std::io::Result<()> {
    std::io::stdout().lock().write_all(text.as_bytes())
}

/// A remark, beside the answer.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// A question: without a newline, where the one who is to answer sees it.
pub(crate) fn question(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = write!(stderr, "{text}");
    let _ = stderr.flush();
}

/// A value for a script.
pub(crate) fn json(value: &serde_json::Value) {
    line(&serde_json::to_string_pretty(value).unwrap_or_default());
}

/// A field of a table.
pub(crate) enum Field {
    Plain(String),
    /// Something that wants attention.
    Loud(String),
}

/// A table: with lines and colour for a person, bare columns for a pipe.
pub(crate) fn table(header: &[&str], rows: Vec<Vec<Field>>) {
    let person = std::io::stdout().is_terminal();
    let mut table = Table::new();
    table.load_style(if person { presets::UTF8_FULL_CONDENSED } else { presets::NOTHING });
    if person {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table.set_header(header.iter().map(Cell::new));
    for row in rows {
        table.add_row(row.into_iter().map(|field| match field {
            Field::Plain(text) => Cell::new(text),
            Field::Loud(text) if person => Cell::new(text).fg(Color::Yellow),
            Field::Loud(text) => Cell::new(text),
        }));
    }
    line(&table.trim_fmt());
}

/// `1 key`, `2 keys`.
pub(crate) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
