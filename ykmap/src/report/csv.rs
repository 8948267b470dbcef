//! CSV by RFC 4180, for spreadsheets too: no value is taken for a formula.

use super::uses::Row;
use super::{CHANGE_HEADS, change};
use crate::log::Entry;
use crate::out::Stream;

/// Prints uses of tokens.
pub(super) fn uses<'r>(rows: impl Iterator<Item = &'r Row>) {
    let heads =
        ["user", "tokens", "first", "last", "accepted", "rejected", "faults", "others", "services", "hosts"];
    print(&heads, rows.map(|row| row.texts().to_vec()));
}

/// Prints changes.
pub(super) fn changes(entries: &[Entry]) {
    let heads = ["time", "change", "user", "tokens", "by", "code"];
    debug_assert_eq!(heads.len(), CHANGE_HEADS.len());
    print(
        &heads,
        entries.iter().map(|entry| {
            let mut fields = change(entry);
            if let Some(time) = fields.first_mut() {
                *time = entry.time.to_string();
            }
            fields
        }),
    );
}

fn print(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let mut to = Stream::new();
    let heads = heads.iter().map(|head| (*head).to_owned()).collect();
    let _ = std::iter::once(heads).chain(rows).all(|row: Vec<String>| to.raw(&record(&row)));
}

/// One record with its end.
fn record(fields: &[String]) -> String {
    let fields: Vec<_> = fields.iter().map(|value| field(value)).collect();
    format!("{}\r\n", fields.join(","))
}

/// A field. An apostrophe keeps a spreadsheet from computing a value that a stranger chose.
fn field(value: &str) -> String {
    // The public ID of a YubiKey without one is `-`.
    let is_formula = value.starts_with(['=', '+', '-', '@', '\t', '\r']) && value != "-";
    let value = if is_formula { format!("'{value}") } else { value.to_owned() };
    if value.contains([',', '"', '\r', '\n']) { format!("\"{}\"", value.replace('"', "\"\"")) } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        for (value, written) in [
            ("", ""),
            ("alice", "alice"),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("a\r\nb", "\"a\r\nb\""),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("-", "-"),
            ("@SUM(A1,A2)", "\"'@SUM(A1,A2)\""),
            ("\t=1", "'\t=1"),
            ("a=1", "a=1"),
        ] {
            assert_eq!(field(value), written);
        }
        assert_eq!(record(&["a".to_owned(), String::new()]), "a,\r\n");
    }
}
