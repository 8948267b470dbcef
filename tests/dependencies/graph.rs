//! The packages that a build for a target brings in, as cargo resolves them: for binaries, build scripts and tests.

use serde::Deserialize;
use std::collections::BTreeSet;
use std::process::Command;

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    /// As its author wrote it.
    pub(crate) license: Option<String>,
    /// `None` for what is in the checkout.
    pub(crate) source: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
}

/// Those for a target.
///
/// # Panics
/// Where cargo fails.
pub(crate) fn of(target: &str) -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1", "--filter-platform", target])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let all: Metadata = serde_json::from_slice(&output.stdout).unwrap();
    let built: BTreeSet<_> = all.resolve.nodes.into_iter().map(|node| node.id).collect();
    all.packages.into_iter().filter(|package| built.contains(&package.id)).collect()
}
