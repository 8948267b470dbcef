//! What a file for `ykmap apply` declares.

use super::json;
use crate::Failure;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use ykcli::input;
use ykhost::settings::{Settings, check_policy};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, without_value};
use yubiotp::nearest::nearest;
use yubiotp::{TokenId, mapping, shown, wrong_type};

/// The version of the format.
pub(super) const VERSION: u32 = 1;
/// The tables of the policy, in the words of config.toml.
pub(super) const POLICY: [&str; 3] = ["groups", "policy", "service"];
/// The longest file that is read: some hundred thousand users.
const LIMIT: usize = 64 << 20;

/// A file, as it declares a host.
pub(super) struct Declared {
    /// Whether users whom it does not name lose their tokens.
    pub(super) exclusive: bool,
    /// Whether its users are declared in `enrolled`, too.
    pub(super) adopt: bool,
    /// Its users, each with the place of the name.
    pub(super) users: BTreeMap<String, (Location, User)>,
    /// Whether each of its tokens is enabled, with the place of the token.
    pub(super) tokens: BTreeMap<TokenId, (Location, bool)>,
    /// Those of [`POLICY`] that it has.
    pub(super) policy: toml::Table,
    /// The file.
    pub(super) place: Location,
}

/// What is declared of a user.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum User {
    /// Only the name: the user stays as they are.
    Named,
    /// The user is not listed.
    Absent,
    /// The user is listed, with these tokens.
    Has(Vec<TokenId>),
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    version: Spanned<u32>,
    #[serde(default)]
    exclusive: bool,
    #[serde(default)]
    adopt: bool,
    #[serde(default)]
    users: BTreeMap<Spanned<String>, RawUser>,
    #[serde(default)]
    tokens: BTreeMap<Spanned<String>, RawToken>,
    // These are read by the reader of config.toml.
    #[serde(rename = "groups")]
    _groups: Option<IgnoredAny>,
    #[serde(rename = "policy")]
    _policy: Option<IgnoredAny>,
    #[serde(rename = "service")]
    _service: Option<IgnoredAny>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUser {
    tokens: Option<Vec<Spanned<String>>>,
    state: Option<Spanned<String>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawToken {
    state: Spanned<String>,
}

#[derive(serde::Deserialize)]
struct Wrapped {
    declared: Raw,
}

/// Reads the file that an argument names, or standard input.
pub(super) fn read(path: &Path, settings: &Settings) -> Result<Declared, Failure> {
    let named = input::named(path)?;
    let name: &[u8] = if path == Path::new("-") { b"standard input" } else { path.as_os_str().as_bytes() };
    let bad = |problem: &str| {
        Failure::from(Diagnostic::error(Code::DeclarationInvalid, problem).at(Location::file(name)))
    };
    if named.text.len() > LIMIT {
        return Err(bad("is longer than any declaration"));
    }
    let text = str::from_utf8(&named.text).map_err(|_| bad("is not text in UTF-8"))?;
    let folder = settings.config.parent().unwrap_or(Path::new("/"));
    let groups = settings.policy.groups.keys().cloned().collect();
    Ok(parse(text, name, folder, groups)?)
}

/// Reads a declaration. `groups` are those that the rules may name if the text has none.
fn parse(text: &str, name: &[u8], folder: &Path, groups: Vec<String>) -> Result<Declared, Diagnostic> {
    let at = |line| Location::line(name, line);
    let converted =
        match json::is_json(text) {
            true => Some(json::as_toml(text).map_err(|(line, problem)| {
                Diagnostic::error(Code::DeclarationInvalid, problem).at(at(line))
            })?),
            false => None,
        };
    let reader = Reader { text: converted.as_deref().unwrap_or(text), name };
    let raw = match converted.is_some() {
        true => toml::from_str::<Wrapped>(reader.text).map(|it| it.declared),
        false => toml::from_str::<Raw>(reader.text),
    };
    let raw = raw.map_err(|error| reader.unknown(error.message(), error.span().unwrap_or_default()))?;
    if *raw.version.get_ref() != VERSION {
        let problem = format!("version {} is not known", raw.version.get_ref());
        return Err(reader.bad(&raw.version.span(), problem).advise(format!("write version = {VERSION}")));
    }
    let users = raw.users.into_iter().map(|(name, user)| reader.user(name, user));
    let users = users.collect::<Result<_, _>>()?;
    Ok(Declared {
        exclusive: raw.exclusive,
        adopt: raw.adopt,
        users,
        tokens: reader.tokens(raw.tokens)?,
        policy: reader.policy(converted.is_some(), folder, groups)?,
        place: Location::file(name),
    })
}

/// A text in TOML, and the name of its file.
struct Reader<'t> {
    text: &'t str,
    name: &'t [u8],
}

impl Reader<'_> {
    fn at(&self, span: &Range<usize>) -> Location {
        let line = self.text.get(..span.start).unwrap_or_default().matches('\n').count();
        Location::line(self.name, line.saturating_add(1))
    }

    fn bad(&self, span: &Range<usize>, problem: impl Into<String>) -> Diagnostic {
        Diagnostic::error(Code::DeclarationInvalid, problem).at(self.at(span))
    }

    /// What the parser says, in the words of the file.
    fn unknown(&self, message: &str, span: Range<usize>) -> Diagnostic {
        if let Some((name, expected)) =
            message.strip_prefix("unknown field `").and_then(|rest| rest.split_once("`, expected "))
        {
            let names: Vec<_> = expected.split('`').skip(1).step_by(2).collect();
            let found = self.bad(&span, format!("there is no {} here", shown::quoted(name)));
            return match nearest(&name.to_ascii_lowercase(), names.iter().copied()) {
                Some(near) => found.advise(format!("write {near}")),
                None => found.advise(format!("use {}", names.join(", "))),
            };
        }
        if let Some(name) = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
            let found = self.bad(&span, format!("{name} is missing"));
            return match name {
                "version" => found.advise(format!("begin the file with version = {VERSION}")),
                name => found.advise(format!("add {name}")),
            };
        }
        match wrong_type::expected(message) {
            Some(expected) => {
                let found = self.bad(&span, format!("the value must be {expected}"));
                match expected {
                    "a list" => found.advise("write it in brackets, such as [\"vvccccccccbd\"]"),
                    _ => found,
                }
            }
            None => self.bad(&span, without_value(message)),
        }
        .run_when("to see how this host is written in such a file", Program::Ykmap, "apply --export")
    }

    fn user(
        &self,
        name: Spanned<String>,
        RawUser { tokens, state }: RawUser,
    ) -> Result<(String, (Location, User)), Diagnostic> {
        let (span, name) = (name.span(), name.into_inner());
        mapping::check_name(name.as_bytes())
            .map_err(|why| Diagnostic::error(Code::UserNameInvalid, why.to_string()).at(self.at(&span)))?;
        let user = match (state, tokens) {
            (Some(state), _) if state.get_ref() != "absent" => {
                let problem = format!("a user has no state {}", shown::quoted(state.get_ref()));
                let found = self.bad(&state.span(), problem);
                return Err(found.advise(
                    "write state = \"absent\" for a user who is not to be listed, or tokens for one who is",
                ));
            }
            (Some(state), Some(_)) => {
                let found = self.bad(&state.span(), "a user who is absent has no tokens");
                return Err(found.advise("remove tokens or state"));
            }
            (Some(_), None) => User::Absent,
            (None, None) => User::Named,
            (None, Some(tokens)) => User::Has(self.ids(tokens)?),
        };
        Ok((name, (self.at(&span), user)))
    }

    fn ids(&self, tokens: Vec<Spanned<String>>) -> Result<Vec<TokenId>, Diagnostic> {
        let mut ids = Vec::new();
        for token in tokens {
            let id = self.id(&token)?;
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    fn id(&self, token: &Spanned<String>) -> Result<TokenId, Diagnostic> {
        let text = token.get_ref();
        TokenId::parse(text.as_bytes())
            .map_err(|why| self.bad(&token.span(), format!("{}: {why}", shown::quoted(text))))
    }

    fn tokens(
        &self,
        raw: BTreeMap<Spanned<String>, RawToken>,
    ) -> Result<BTreeMap<TokenId, (Location, bool)>, Diagnostic> {
        let mut tokens = BTreeMap::new();
        for (name, RawToken { state }) in raw {
            let id = match TokenId::of_file(name.get_ref()) {
                Some(id) => id,
                None => self.id(&name)?,
            };
            if matches!(id, TokenId::RecoverySet(_) | TokenId::RecoveryCode(..)) {
                let found = self.bad(&name.span(), "recovery codes have no state");
                return Err(found.advise("name the set among the tokens of a user, or leave it out"));
            }
            let enabled = match state.get_ref().as_str() {
                "enabled" => true,
                "disabled" => false,
                other => {
                    let problem = format!("a token has no state {}", shown::quoted(other));
                    let found = self.bad(&state.span(), problem).advise("write \"enabled\" or \"disabled\"");
                    return Err(match other {
                        "absent" => found.run_when(
                            "to remove its key, which apply never does",
                            Program::Ykmap,
                            format!("token remove {id}"),
                        ),
                        _ => found,
                    });
                }
            };
            if tokens.insert(id, (self.at(&name.span()), enabled)).is_some() {
                return Err(self.bad(&name.span(), format!("token {id} is declared twice")));
            }
        }
        Ok(tokens)
    }

    /// The tables of the policy, checked as config.toml is.
    fn policy(
        &self,
        is_wrapped: bool,
        folder: &Path,
        groups: Vec<String>,
    ) -> Result<toml::Table, Diagnostic> {
        // Both were parsed before, so neither can fail.
        let root = DeTable::parse(self.text).unwrap_or_else(|_| Spanned::new(0..0, DeTable::new()));
        let root = root.into_inner();
        let inner = match root.get(json::ROOT).map(Spanned::get_ref) {
            Some(DeValue::Table(inner)) if is_wrapped => inner,
            _ => &root,
        };
        check_policy(inner, self.text, folder, groups).map_err(|(line, found)| {
            found.at(line.map_or_else(|| Location::file(self.name), |line| Location::line(self.name, line)))
        })?;
        let mut values: toml::Table = toml::from_str(self.text).unwrap_or_default();
        if is_wrapped && let Some(toml::Value::Table(inner)) = values.remove(json::ROOT) {
            values = inner;
        }
        values.retain(|name, _| POLICY.contains(&name));
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Declared, (Code, String)> {
        parse(text, b"file", Path::new("/"), vec!["ops".to_owned()])
            .map_err(|found| (found.code, found.location.map(|it| it.to_string()).unwrap_or_default()))
    }

    fn token(text: &str) -> TokenId {
        TokenId::parse(text.as_bytes()).unwrap()
    }

    const TOML: &str = r#"version = 1
exclusive = true
[users]
alice.tokens = ["vvcb", "oath-1", "vvcb"]
[users.bob]
state = "absent"
[users.carol]
[tokens]
vvcb = { state = "disabled" }
[policy]
until = 2027-03-01
exempt = [{ who = ["@ops"] }]
"#;
    const JSON: &str = r#"{"version": 1, "exclusive": true,
"users": {"alice": {"tokens": ["vvcb", "oath-1", "vvcb"]}, "bob": {"state": "absent"}, "carol": {}},
"tokens": {"vvcb": {"state": "disabled"}},
"policy": {"until": "2027-03-01", "exempt": [{"who": ["@ops"]}]}}"#;

    #[test]
    fn toml_and_json_declare_the_same() {
        for text in [TOML, JSON] {
            let declared = read(text).unwrap();
            assert!(declared.exclusive && !declared.adopt);
            let users: Vec<_> =
                declared.users.iter().map(|(name, (_, user))| (name.as_str(), user)).collect();
            let has = User::Has(vec![token("vvcb"), token("oath-1")]);
            assert_eq!(users, [("alice", &has), ("bob", &User::Absent), ("carol", &User::Named)]);
            let tokens: Vec<_> = declared.tokens.iter().map(|(id, (_, enabled))| (*id, *enabled)).collect();
            assert_eq!(tokens, [(token("vvcb"), false)]);
            let expected = "[policy]\nuntil = 2027-03-01\nexempt = [{ who = [\"@ops\"] }]\n";
            assert_eq!(declared.policy, toml::from_str::<toml::Table>(expected).unwrap());
        }
    }

    #[test]
    fn mistakes_are_refused_with_their_line() {
        use Code::{DeclarationInvalid, SettingInvalid, SettingUnknown, UserNameInvalid};
        for (text, code, line) in [
            ("", DeclarationInvalid, 1),
            ("[users]\n", DeclarationInvalid, 1),
            ("version = 2\n", DeclarationInvalid, 1),
            ("version = 1\n\nexclusiv = true\n", DeclarationInvalid, 3),
            ("version = 1\nexclusive = 1\n", DeclarationInvalid, 2),
            ("version = 1\n[users.alice]\ntoken = []\n", DeclarationInvalid, 3),
            ("version = 1\n[users.alice]\ntokens = [\n\"vvcb\",\n\"vvcx\"]\n", DeclarationInvalid, 5),
            ("version = 1\n[users.alice]\ntokens = []\nstate = \"absent\"\n", DeclarationInvalid, 4),
            ("version = 1\n[users.alice]\nstate = \"present\"\n", DeclarationInvalid, 3),
            ("version = 1\n[users.\"a:b\"]\n", UserNameInvalid, 2),
            ("version = 1\n[tokens.vvcb]\n", DeclarationInvalid, 2),
            ("version = 1\n[tokens.vvcb]\nstate = \"absent\"\n", DeclarationInvalid, 3),
            ("version = 1\n[tokens.VVCB]\nstate = \"x\"\n", DeclarationInvalid, 3),
            ("version = 1\n[tokens.rec-abc]\nstate = \"disabled\"\n", DeclarationInvalid, 2),
            ("version = 1\n[policy]\nrequired = \"all\"\n", SettingUnknown, 3),
            ("version = 1\n[policy]\nrequire = [\"@nobody\"]\n", SettingInvalid, 3),
            ("version = 1\n[policy]\nuntil = \"2027-01-01\"\n", SettingInvalid, 3),
            ("{\"version\": 1,\n\"users\": {\"alice\": {\n\"token\": []}}}", DeclarationInvalid, 3),
            ("{\"version\": 1,\n\"policy\": {\n\"until\": \"soon\"}}", SettingInvalid, 3),
            ("{\"version\": 1,\n\"users\": null}", DeclarationInvalid, 2),
            ("{\"version\": 1,\n\"users\": {},\n\"users\": {}}", DeclarationInvalid, 3),
        ] {
            let found = read(text).err();
            assert_eq!(found, Some((code, format!("file:{line}"))), "{text}");
        }
    }
}
