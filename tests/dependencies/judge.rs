//! What of the packages breaks a rule.

use crate::graph::Package;
use crate::rules::Rules;
use spdx::{Expression, Licensee, ParseMode};
use std::collections::BTreeMap;

/// What is wrong, with the name and version of the crate.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// Its license is not allowed, is missing, or is no SPDX expression.
    License(String),
    /// It is forbidden by name.
    Banned(String),
    /// It comes from git, or from another registry than the others.
    Source(String),
    /// It comes in several versions, and no exception says why.
    Twice(String),
}

pub(crate) fn problems(rules: &Rules, packages: &[Package]) -> Vec<Problem> {
    let allowed: Vec<_> = rules.licenses.allow.iter().map(|name| Licensee::parse(name).unwrap()).collect();
    let registry = registry(packages);
    let mut problems = Vec::new();
    let mut versions = BTreeMap::<_, Vec<_>>::new();
    for package in packages {
        let Some(source) = &package.source else { continue };
        let (name, version) = (package.name.as_str(), package.version.as_str());
        let both = || format!("{name} {version}");
        if !package.license.as_deref().is_some_and(|license| is_allowed(license, &allowed)) {
            problems.push(Problem::License(both()));
        }
        if rules.bans.deny.iter().any(|banned| banned.is(name, version)) {
            problems.push(Problem::Banned(both()));
        }
        if Some(source.as_str()) != registry {
            problems.push(Problem::Source(both()));
        }
        if !rules.bans.skip.iter().any(|excepted| excepted.is(name, version)) {
            versions.entry(name).or_default().push(version);
        }
    }
    let several = versions.into_iter().filter(|(_, versions)| versions.len() > 1);
    problems
        .extend(several.map(|(name, versions)| Problem::Twice(format!("{name} {}", versions.join(", ")))));
    problems
}

/// The one registry that most packages come from: cargo's own, unless all of Cargo.lock says otherwise.
fn registry(packages: &[Package]) -> Option<&str> {
    let mut counted = BTreeMap::<_, usize>::new();
    let sources = packages.iter().filter_map(|package| package.source.as_deref());
    for source in sources.filter(|source| source.starts_with("registry+")) {
        *counted.entry(source).or_default() += 1;
    }
    counted.into_iter().max_by_key(|(_, packages)| *packages).map(|(source, _)| source)
}

/// Old crates have a slash for OR, which is not SPDX.
fn is_allowed(license: &str, allowed: &[Licensee]) -> bool {
    Expression::parse_mode(license, ParseMode::LAX).is_ok_and(|expression| {
        expression.evaluate(|required| allowed.iter().any(|licensee| licensee.satisfies(required)))
    })
}
