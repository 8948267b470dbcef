//! Reads back what our programs log: the module's decisions, and the changes that commands make.
//!
//! What a log proves: in the journal, `_UID` is the kernel's word, so that only root can write a line of [`Sender::Root`]. A
//! text file proves nothing of its lines. No name, host or terminal that a line holds makes another line or field of it.
#![expect(dead_code, unused_imports, reason = "read by the verbs that follow")]

mod entry;
mod fields;
mod files;
mod journal;
mod lines;
mod reader;
mod tally;

pub(crate) use entry::{Entry, Outcome, Sender};
pub(crate) use reader::{Latest, Logs, Period, Reader};
pub(crate) use tally::Span;
