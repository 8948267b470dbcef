//! The texts in the validation server's log, and those that keep it from starting.

use super::Log;
use crate::source::{Which, sentences};

/// Where the reasons come from.
pub(super) const SAY: &[(&str, Which)] = &[
    ("yubiotp/src/protocol/question.rs", Which::All),
    ("ykval/src/config.rs", Which::All),
    ("ykval/src/config/listen.rs", Which::All),
    ("ykval/src/file.rs", Which::Errors),
    ("ykval/src/guard.rs", Which::All),
    ("ykval/src/ksm.rs", Which::All),
    ("ykval/src/ksm/said.rs", Which::All),
    ("ykval/src/random.rs", Which::Errors),
    ("ykval/src/serve.rs", Which::All),
    ("ykval/src/serve/descriptors.rs", Which::All),
    ("ykval/src/serve/health.rs", Which::All),
    ("ykval/src/serve/listen.rs", Which::All),
    ("ykval/src/serve/log.rs", Which::All),
    ("ykval/src/serve/log/state.rs", Which::All),
    ("ykval/src/serve/parameters.rs", Which::All),
    ("ykval/src/serve/stop.rs", Which::All),
    ("ykval/src/serve/tls.rs", Which::All),
    ("ykval/src/store/fault.rs", Which::All),
    ("ykval/src/store/postgres.rs", Which::All),
    ("ykval/src/store/postgres/accepted.rs", Which::All),
    ("ykval/src/store/postgres/advance.rs", Which::All),
    ("ykval/src/store/postgres/batch.rs", Which::All),
    ("ykval/src/store/postgres/change.rs", Which::All),
    ("ykval/src/store/postgres/clients.rs", Which::All),
    ("ykval/src/store/postgres/durable.rs", Which::All),
    ("ykval/src/store/postgres/hosts.rs", Which::All),
    ("ykval/src/store/postgres/identity.rs", Which::All),
    ("ykval/src/store/postgres/lease.rs", Which::All),
    ("ykval/src/store/postgres/opening.rs", Which::All),
    ("ykval/src/store/postgres/place.rs", Which::All),
    ("ykval/src/store/postgres/restored.rs", Which::All),
    ("ykval/src/store/postgres/schema.rs", Which::All),
    ("ykval/src/store/postgres/seen.rs", Which::All),
    ("ykval/src/store/postgres/session.rs", Which::All),
    ("ykval/src/store/postgres/tls.rs", Which::All),
    ("ykval/src/store/postgres/tokens.rs", Which::All),
    ("ykval/src/store/sqlite.rs", Which::All),
    ("ykval/src/store/sqlite/accepted.rs", Which::All),
    ("ykval/src/store/sqlite/admin.rs", Which::All),
    ("ykval/src/store/sqlite/advance.rs", Which::All),
    ("ykval/src/store/sqlite/checkpoint.rs", Which::All),
    ("ykval/src/store/sqlite/connect.rs", Which::All),
    ("ykval/src/store/sqlite/look.rs", Which::All),
    ("ykval/src/store/sqlite/header.rs", Which::All),
    ("ykval/src/store/sqlite/place.rs", Which::All),
    ("ykval/src/store/sqlite/readers.rs", Which::All),
    ("ykval/src/store/sqlite/restored.rs", Which::All),
    ("ykval/src/store/sqlite/rows.rs", Which::All),
    ("ykval/src/store/sqlite/writer.rs", Which::All),
    ("ykval/src/verify.rs", Which::All),
    ("ykval/src/verify/clients.rs", Which::All),
    ("ykval/src/verify/restored.rs", Which::All),
    ("ykval/src/limit.rs", Which::All),
];

/// Texts that are joined from several sentences: the head, and its parts.
const TOGETHER: [(&str, &[&str]); 1] = [("fresh", &[])]; // one word is no sentence

/// Texts in those files that are not reasons.
const NO_REASON: &[&str] = &[
    // what is damaged, or was looked at
    "a client",
    "a public id",
    "a row",
    "a table",
    "a token",
    "client {}",
    "its schema",
    "the file",
    "the id of its store key",
    "the last touch of token {}",
    "the log",
    "token {}",
    // what a file of SQLite's begins with
    "SQLite format 30",
    // numbers that no store can have
    "a client id of more than 10 digits",
    "a key with the fingerprint of none",
    "a pause",
    "a pause without end",
    "a position beyond all YubiKeys",
    "a position is no number of PostgreSQL's",
    // to the administrator who adds a client
    "there is no higher id for a client: give one",
    // which key storage module did what, and how long it took
    "{}: {} ({} ms)",
    // parts of SQL
    "id, name, enabled, require_signature, rate, certificate_name, sealed_key, created",
    "public_id = ANY($1)",
    ", pg_is_in_recovery(), current_setting('transaction_read_only')::boolean",
    // what is remembered of PostgreSQL
    "# The PostgreSQL that ykvald has stored in, version 1. Written by ykvald. Without it, an old primary that comes back is not noticed, and used OTPs are good again.",
    "# The PostgreSQL that ykvald has stored in, version 1. Written by ykvald. Without it, an old primary that comes back is not noticed, and used OTPs are good again.\n{}timeline: {}",
    "system identifier",
    "system: {}",
    "timeline {}",
    "of the cluster with the system identifier {}",
    // where it listens, and what holds instead: not why
    "a socket of systemd's",
    "a socket that systemd gave",
    "the one that was read before",
    // versions
    "SQLite {}",
    "PostgreSQL {}",
];

/// Files whose texts do not go to the log: commands, and answers to clients.
pub(super) const OTHERS: &[&str] = &[
    "ykval/src/capacity.rs",
    "ykval/src/clock.rs",
    "ykval/src/decrypt.rs",
    "ykval/src/guard/memory.rs",
    "ykval/src/lib.rs",
    "ykval/src/main.rs",
    "ykval/src/serve/compare.rs",
    "ykval/src/serve/connection.rs",
    "ykval/src/serve/log/line.rs",
    "ykval/src/serve/metrics.rs",
    "ykval/src/serve/multipart.rs",
    "ykval/src/serve/pace.rs",
    "ykval/src/serve/page.rs",
    "ykval/src/serve/peer.rs",
    "ykval/src/serve/places.rs",
    "ykval/src/prefix.rs",
    "ykval/src/serve/route.rs",
    "ykval/src/serve/systemd.rs",
    "ykval/src/serve/validity.rs",
    "ykval/src/store.rs",
    "ykval/src/store/contract.rs",
    "ykval/src/store/distinct.rs",
    "ykval/src/store/postgres/cluster.rs",
    "ykval/src/store/postgres/traps.rs",
    "ykval/src/store/restored.rs",
    "ykval/src/store/sqlite/backup.rs",
    "ykval/src/store/sqlite/restore.rs",
    "ykval/src/store/sqlite/restore/merge.rs",
    "ykval/src/cli.rs",
    "ykval/src/import.rs",
];

pub(super) fn log() -> Log {
    let said = SAY.iter().flat_map(|(path, which)| sentences(path, *which));
    Log {
        pages: &["ykvald.8", "ykvald-config.toml.5"],
        words: &[],
        said: said.filter(|text| !is_for_a_machine(text)).collect(),
        together: &TOGETHER,
        no_reason: NO_REASON,
        at_least: 100,
    }
}

/// SQL, the lines of a key storage module, and HTTP.
fn is_for_a_machine(text: &str) -> bool {
    const SQL: [&str; 17] = [
        "SELECT", "INSERT", "UPDATE", "DELETE", "SET", "WHERE", "VALUES", "FROM", "SHOW", "CREATE", "PRAGMA",
        "ORDER", "ON", "BEGIN", "CASE", "THEN", "AS",
    ];
    let begins = |text: &str| ["PRAGMA ", "OK ", "ERR ", "HTTP/"].iter().any(|head| text.starts_with(head));
    begins(text) || text.split_whitespace().any(|word| SQL.contains(&word))
}

/// Every file of the server is in one of the two lists, but tests, and what only commands have.
#[test]
fn every_file_is_in_a_list() {
    let apart = |path: &str| {
        !path.ends_with(".rs")
            || path.ends_with("tests.rs")
            || ["ykval/src/cli/", "ykval/src/import/"].iter().any(|folder| path.starts_with(folder))
            || path.contains("/tests/")
    };
    let known = |path: &str| SAY.iter().any(|(said, _)| *said == path) || OTHERS.contains(&path);
    let new: Vec<_> =
        crate::source::files("ykval/src").into_iter().filter(|path| !apart(path) && !known(path)).collect();
    assert!(new.is_empty(), "say in SAY or OTHERS what these are: {new:?}");
    let both = SAY.iter().map(|(path, _)| path).chain(OTHERS);
    let gone: Vec<_> = both.filter(|path| !crate::root().join(path).exists()).collect();
    assert!(gone.is_empty(), "{gone:?}");
}
