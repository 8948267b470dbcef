//! What every file of `web-examples` has.

use std::collections::BTreeSet;
use std::fs;
use tests::web::example;

/// Each, and the test that runs it.
const TESTED: [&str; 9] = [
    "Caddyfile",            // closed, around
    "apache-external.conf", // external
    "apache-kerberos.conf", // kerberos
    "apache.conf",          // closed, around
    "config.toml",          // all
    "htaccess",             // around
    "nginx.conf",           // closed, around
    "traefik-dynamic.yml",  // closed, around
    "traefik.yml",          // the same
];

#[test]
fn every_example_is_run() {
    let there = fs::read_dir(example::folder()).unwrap().map(|entry| entry.unwrap().file_name());
    let there: BTreeSet<_> = there.map(|name| name.into_string().unwrap()).collect();
    assert_eq!(there, TESTED.map(str::to_owned).into());
}

#[test]
fn every_example_says_what_to_know() {
    for name in TESTED {
        let text = example::text(name);
        assert!(text.lines().all(|line| line.len() <= 130), "{name} has a long line");
        if ["config.toml", "htaccess", "traefik.yml"].contains(&name) {
            continue;
        }
        for words in ["# For whom:", "Forged headers:", "If ykwebd does not answer,"] {
            assert!(text.contains(words), "{name} does not say {words:?}");
        }
    }
}
