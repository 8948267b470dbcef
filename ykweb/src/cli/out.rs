//! Where the command prints.

pub(crate) use ykcli::out::{Field, json, line, note, paragraphs, question, table};
