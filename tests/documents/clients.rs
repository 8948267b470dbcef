//! `docs/clients.md` has the clients and servers that `make test-clients` runs, in the versions that it runs, and no others.

use crate::{same, text_of};
use std::collections::BTreeSet;
use tests::foreign::{CLIENTS, SERVERS};

/// The first two cells of each row of the table in this section, without the head.
fn rows(heading: &str) -> BTreeSet<String> {
    let page = text_of("docs/clients.md");
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    rows.map(|row| row.trim_start_matches("| ").split(" | ").take(2).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn clients() {
    let run = CLIENTS.iter().map(|client| format!("{} {}", client.name, client.version)).collect();
    same(("docs/clients.md", &rows("Clients of `ykvald`")), ("tests::foreign::CLIENTS", &run));
}

#[test]
fn servers() {
    let run = SERVERS.iter().map(|server| format!("{} {}", server.name, server.version));
    // These two are asked by tests/server and tests/online.
    let run = run.chain(["ykvald this one", "yubiserver 0.6"].map(str::to_owned)).collect();
    same(("docs/clients.md", &rows("Servers for `pam_yubiotp`")), ("tests::foreign::SERVERS", &run));
}

/// The crates are pinned where they are built.
#[test]
fn crates() {
    let manifest = text_of("tests/clients/rust/Cargo.toml");
    for client in CLIENTS.iter().filter(|client| matches!(client.origin, tests::foreign::Origin::Crate(_))) {
        let pinned = manifest.lines().any(|line| {
            line.starts_with(&format!("{} = ", client.name))
                && line.contains(&format!("\"={}\"", client.version))
        });
        assert!(pinned, "{} {}", client.name, client.version);
    }
}
