//! Where the command prints.

pub(crate) use ykcli::out::{Field, count, failed, json, line, lines, note, notes, raw, table};
