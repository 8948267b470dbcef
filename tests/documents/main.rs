//! The documents are true: what code, `--help`, manual, README and docs/ say of one thing is the same, in both directions; what
//! they name is there; and the commands that they show are run. One topic a file.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that fails must stop"
)]

mod arguments;
mod chance;
mod clients;
mod codes;
mod commands;
mod examples;
mod hosted;
mod lint;
mod markdown;
mod outcomes;
mod page;
mod profiles;
mod security;
mod server;
mod server_examples;
mod server_settings;
mod settings;
mod source;
mod verbs;
mod web;
mod web_examples;
mod web_settings;
mod words;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The checkout.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A file of the checkout.
fn text_of(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

/// Two lists that should be one: what each has and the other has not.
#[track_caller]
fn same(one: (&str, &BTreeSet<String>), other: (&str, &BTreeSet<String>)) {
    let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>();
    let (here, there) = (only(one.1, other.1), only(other.1, one.1));
    assert!(
        here.is_empty() && there.is_empty(),
        "only in {}: {here:#?}\nonly in {}: {there:#?}",
        one.0,
        other.0
    );
    assert!(!one.1.is_empty(), "{} and {} have nothing", one.0, other.0);
}
