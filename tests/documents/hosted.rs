//! The job file of a hosted CI: its commands are there, and its oldest Rust is the one of Cargo.toml.

use crate::{root, text_of};
use std::os::unix::fs::PermissionsExt as _;

const JOBS: &str = ".github/workflows/ci.yml";

/// Commands that come with the image. What they do is not this project's.
const OF_THE_IMAGE: [&str; 5] = [
    "rustup component add clippy rustfmt",
    "useradd --create-home tester",
    "chown -R tester .",
    "cargo check --workspace --all-targets --locked",
    "cargo install --locked cargo-deny",
];

/// The value of a key, wherever the key is.
fn values<'a>(jobs: &'a str, key: &str) -> Vec<&'a str> {
    let lines = jobs.lines().map(|line| line.trim_start().trim_start_matches("- "));
    lines.filter_map(|line| line.strip_prefix(key)?.strip_prefix(": ")).collect()
}

#[test]
fn every_command_is_there() {
    let (jobs, makefile) = (text_of(JOBS), text_of("Makefile"));
    let commands = values(&jobs, "run");
    for needed in [".ci/run", "make advisories", "make test-reproducible"] {
        assert!(commands.contains(&needed), "no job runs {needed}");
    }
    for command in commands {
        if OF_THE_IMAGE.contains(&command) {
            continue;
        }
        let command = command.strip_prefix("runuser -u tester -- env HOME=/home/tester ").unwrap_or(command);
        let words: Vec<_> = command.split(' ').collect();
        match &words[..] {
            ["make", targets @ ..] => {
                for target in targets {
                    let there = makefile.lines().any(|line| line.starts_with(&format!("{target}:")));
                    assert!(there, "{command}: the Makefile has no target {target}");
                }
            }
            ["packaging/need", what] => assert!(
                text_of("packaging/need").contains(&format!("|{what}|"))
                    || text_of("packaging/need").contains(&format!(" {what}|")),
                "{command}: not known there"
            ),
            [file] => {
                let mode = std::fs::metadata(root().join(file)).unwrap().permissions().mode();
                assert!(mode & 0o100 != 0, "{file} cannot be run");
            }
            _ => panic!("{command}: neither a target of the Makefile nor a file of this tree"),
        }
    }
}

#[test]
fn the_oldest_rust_is_the_one_of_cargo_toml() {
    let manifest = text_of("Cargo.toml");
    let oldest = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")).unwrap();
    let image = format!("rust:{}-bookworm", oldest.trim_end_matches('"'));
    assert!(values(&text_of(JOBS), "image").contains(&image.as_str()), "no job has the image {image}");
}

/// Code of others runs with the rights of the job: only what the host of the CI gives itself, at a major version.
#[test]
fn no_action_of_others() {
    for action in values(&text_of(JOBS), "uses") {
        let (name, version) = action.split_once('@').unwrap();
        assert!(name.starts_with("actions/"), "{action}");
        let number = version.strip_prefix('v').unwrap();
        assert!(number.parse::<u32>().is_ok(), "{action}: pin the major version");
    }
}
