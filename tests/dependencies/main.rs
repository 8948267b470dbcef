//! What may come in with a dependency: `deny.toml`, judged over `cargo metadata`. Few distributions have cargo-deny, and
//! building it fetches and compiles some 140 crates. So the part of its rules that this project uses is judged here, from the
//! same file. A rule in that file which is not known here is an error. Not judged here: advisories (`make advisories`), and whether the texts
//! of licenses are what crates say.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that fails must stop"
)]

mod graph;
mod judge;
mod rules;

use graph::Package;
use judge::{Problem, problems};
use rules::Rules;
use std::path::Path;

fn rules() -> Rules {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deny.toml");
    toml::from_str(&std::fs::read_to_string(file).unwrap()).unwrap_or_else(|why| panic!("deny.toml: {why}"))
}

#[test]
fn every_dependency_is_allowed() {
    let rules = rules();
    for target in &rules.graph.targets {
        let packages = graph::of(target);
        assert!(packages.iter().any(|package| package.name == "rustls"), "{target}: {packages:?}");
        let problems = problems(&rules, &packages);
        assert!(problems.is_empty(), "deny.toml, for {target}: {problems:#?}");
    }
}

/// An exception that nothing needs any more would hide the next one.
#[test]
fn every_exception_is_needed() {
    let rules = rules();
    let graphs: Vec<_> = rules.graph.targets.iter().map(|target| graph::of(target)).collect();
    for at in 0..rules.bans.skip.len() {
        let mut fewer = rules.clone();
        let removed = fewer.bans.skip.remove(at);
        let needed = graphs.iter().any(|packages| !problems(&fewer, packages).is_empty());
        assert!(needed, "deny.toml: nothing needs the exception of {}: remove it", removed.name());
    }
}

fn package(name: &str, version: &str, license: &str, source: Option<&str>) -> Package {
    Package {
        id: format!("{name}@{version}"),
        name: name.to_owned(),
        version: version.to_owned(),
        license: Some(license.to_owned()).filter(|license| !license.is_empty()),
        source: source.map(str::to_owned),
    }
}

#[test]
fn what_is_forbidden_is_found() {
    let rules: Rules = toml::from_str(
        r#"
        graph.targets = []
        licenses = { allow = ["MIT", "Apache-2.0"], private.ignore = true }
        bans = { multiple-versions = "deny", deny = [{ crate = "openssl-sys" }], skip = [{ crate = "syn@^2" }] }
        sources = { unknown-registry = "deny", unknown-git = "deny" }
        "#,
    )
    .unwrap();
    let known = Some("registry+https://example.org/index");
    let of = |packages: &[Package]| problems(&rules, packages);
    for (license, allowed) in [
        ("MIT", true),
        ("MIT OR GPL-3.0-only", true),
        ("Unlicense/MIT", true),
        ("Apache-2.0 AND MIT", true),
        ("(MIT OR ISC) AND Apache-2.0", true),
        ("Apache-2.0 AND ISC", false),
        ("GPL-3.0-only", false),
        ("Apache-2.0 WITH LLVM-exception", false),
        ("as you like", false),
        ("", false),
    ] {
        let expected = if allowed { vec![] } else { vec![Problem::License("a 1.0.0".to_owned())] };
        assert_eq!(of(&[package("a", "1.0.0", license, known)]), expected, "{license}");
    }
    assert_eq!(
        of(&[package("openssl-sys", "0.9.1", "MIT", known)]),
        [Problem::Banned("openssl-sys 0.9.1".to_owned())]
    );
    for source in ["git+https://example.com/a#0123", "registry+https://example.com/index", "sparse+https://x"]
    {
        let mut packages = ["b", "c"].map(|name| package(name, "1.0.0", "MIT", known)).to_vec();
        packages.push(package("a", "1.0.0", "MIT", Some(source)));
        let found = of(&packages);
        assert_eq!(found, [Problem::Source("a 1.0.0".to_owned())], "{source}");
    }
    let two = |name, one, other| of(&[package(name, one, "MIT", known), package(name, other, "MIT", known)]);
    assert_eq!(two("der", "0.7.1", "0.8.0"), [Problem::Twice("der 0.7.1, 0.8.0".to_owned())]);
    assert_eq!(two("syn", "2.0.1", "3.0.0"), []);
    assert_eq!(two("syn", "20.0.1", "3.0.0"), [Problem::Twice("syn 20.0.1, 3.0.0".to_owned())]);
    // Ours
    assert_eq!(of(&[package("tests", "0.1.0", "", None)]), []);
}

#[test]
fn a_rule_that_is_not_known_here_is_an_error() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deny.toml")).unwrap();
    for (from, to) in [
        ("[bans]", "[bans]\nwildcards = 'deny'"),
        ("[licenses]", "[licenses]\nexceptions = []"),
        ("[sources]", "[sources]\nallow-git = []"),
        ("unknown-git = \"deny\"", "unknown-git = \"warn\""),
        ("syn@^2", "syn@2"),
        ("[sources]", "[output]\n[sources]"),
    ] {
        assert!(text.contains(from), "{from}");
        let changed = text.replacen(from, to, 1);
        assert!(toml::from_str::<Rules>(&changed).is_err(), "{to} was taken");
    }
}
