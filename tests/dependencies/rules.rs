//! `deny.toml`, as far as this project uses cargo-deny's format. Everything else in it is an error.

use serde::Deserialize;
use serde::de::IgnoredAny;

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    pub(crate) graph: Graph,
    pub(crate) licenses: Licenses,
    pub(crate) bans: Bans,
    #[expect(dead_code, reason = "it has one value, which is judged by")]
    sources: Sources,
    #[expect(dead_code, reason = "left to cargo-deny")]
    advisories: Option<IgnoredAny>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Graph {
    pub(crate) targets: Vec<String>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Licenses {
    pub(crate) allow: Vec<String>,
    #[expect(dead_code, reason = "it has one value, which is judged by")]
    private: Private,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Private {
    #[expect(dead_code, reason = "what is in the checkout is not judged")]
    ignore: True,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Bans {
    #[expect(dead_code, reason = "it has one value, which is judged by")]
    multiple_versions: Deny,
    pub(crate) deny: Vec<Crate>,
    pub(crate) skip: Vec<Crate>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Sources {
    #[expect(dead_code, reason = "it has one value, which is judged by")]
    unknown_registry: Deny,
    #[expect(dead_code, reason = "it has one value, which is judged by")]
    unknown_git: Deny,
}

/// The one level that is known here.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Deny {
    Deny,
}

#[derive(Clone, Deserialize)]
#[serde(try_from = "bool")]
struct True;

impl TryFrom<bool> for True {
    type Error = &'static str;

    fn try_from(value: bool) -> Result<Self, Self::Error> {
        if value { Ok(Self) } else { Err("only true is known here") }
    }
}

/// `NAME`, or `NAME@^VERSION`: that version and those that are compatible with it.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Crate {
    #[serde(rename = "crate")]
    spec: Spec,
    #[expect(dead_code, reason = "for people")]
    reason: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
struct Spec {
    name: String,
    /// The numbers that must be the same, each with a dot behind it.
    begin: String,
}

impl TryFrom<String> for Spec {
    type Error = &'static str;

    fn try_from(spec: String) -> Result<Self, Self::Error> {
        let Some((name, version)) = spec.split_once('@') else {
            return Ok(Self { name: spec, begin: String::new() });
        };
        let version = version.strip_prefix('^').ok_or("write NAME or NAME@^VERSION")?;
        let digits = version.strip_prefix("0.").unwrap_or(version);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("write ^1 or ^0.1: the number that compatible versions share");
        }
        Ok(Self { name: name.to_owned(), begin: format!("{version}.") })
    }
}

impl Crate {
    pub(crate) fn name(&self) -> &str {
        &self.spec.name
    }

    /// Whether it means that version of that crate.
    pub(crate) fn is(&self, name: &str, version: &str) -> bool {
        name == self.spec.name && version.starts_with(&self.spec.begin)
    }
}
