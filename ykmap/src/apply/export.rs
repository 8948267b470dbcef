//! `ykmap apply --export`: this host as a file that declares it.

use super::config::{body, heading, table_of, tables};
use super::declared::{POLICY, VERSION};
use crate::{Context, Done, Failure, out};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use toml::{Table, Value};
use toml_edit::Key;
use ykhost::Fault;
use ykhost::enrolled::AllLists;
use ykhost::file::{self, Audience, FileFault};
use ykhost::settings::Settings;
use ykhost::store::Store;
use yubiotp::TokenId;
use yubiotp::diagnostic::{Code, Diagnostic, Location, Severity, cause};
use yubiotp::mapping::{Line, entries};
use yubiotp::shown;

const HEAD: &str = "# A host as it is, for ykmap apply. Recovery codes of users with other tokens are left out: users keep them.\n";

/// The tokens of each user.
type Users = BTreeMap<String, Vec<TokenId>>;

pub(super) fn run(context: &Context, settings: &Settings, store: &Store) -> Done {
    let users = users(settings)?;
    let disabled = disabled(context, settings, store)?;
    let policy = policy(settings)?;
    if context.json {
        out::json(&as_json(&users, &disabled, &policy));
    } else {
        out::raw(&as_toml(&users, &disabled, &policy));
    }
    Ok(())
}

fn users(settings: &Settings) -> Result<Users, Failure> {
    let mut users = Users::new();
    let lists = AllLists::read(settings, std::iter::empty())?;
    for list in lists.mappings().chain([&lists.enrolled]) {
        for (line, entry) in entries(list.text()) {
            match entry {
                Ok(Line::Nothing) => {}
                Ok(Line::Entry { user, fields }) => {
                    let name = str::from_utf8(user).map_err(|_| {
                        let place = Location::line(list.path().as_os_str().as_encoded_bytes(), line);
                        let problem =
                            format!("{} is not text in UTF-8: no file can declare it", shown::text(user));
                        Diagnostic::error(Code::UserNameInvalid, problem).at(place)
                    })?;
                    let tokens = users.entry(name.to_owned()).or_default();
                    for id in fields.tokens() {
                        if !tokens.contains(&id) {
                            tokens.push(id);
                        }
                    }
                }
                Err(why) => return Err(Fault::Mapping { path: list.path().clone(), line, why }.into()),
            }
        }
    }
    for tokens in users.values_mut() {
        let is_set = |id: &TokenId| matches!(id, TokenId::RecoverySet(_));
        if !tokens.iter().all(is_set) {
            tokens.retain(|id| !is_set(id));
        }
    }
    Ok(users)
}

/// The tokens that are disabled. Those whose position cannot be used are noted.
fn disabled(context: &Context, settings: &Settings, store: &Store) -> Result<BTreeSet<TokenId>, Failure> {
    let names = match store.positions() {
        Err(Fault::NoStore { .. }) if settings.mode.asks_servers() => Vec::new(),
        folder => folder?.names()?,
    };
    let mut disabled = BTreeSet::new();
    for id in names.iter().filter_map(|name| TokenId::of_file(name)) {
        match store.slots(&id) {
            _ if matches!(id, TokenId::RecoveryCode(..)) => {}
            Ok(Some(slots)) if !slots.state.enabled => drop(disabled.insert(id)),
            Ok(_) => {}
            Err(fault) => context.note(&fault.diagnostic().with_severity(Severity::Warning)),
        }
    }
    Ok(disabled)
}

/// The tables of the policy, as config.toml has them.
fn policy(settings: &Settings) -> Result<Table, Failure> {
    let text = match file::read(&settings.config, 64 << 10, Audience::Everyone) {
        Err(FileFault::Missing(_)) => return Ok(Table::new()),
        text => text?,
    };
    let bad = |why: &dyn std::fmt::Display| {
        let place = Location::file(settings.config.as_os_str().as_encoded_bytes());
        Failure::from(Diagnostic::error(Code::ConfigInvalid, cause(why)).at(place))
    };
    let text = str::from_utf8(&text).map_err(|why| bad(&why))?;
    let mut table: Table = toml::from_str(text).map_err(|why| bad(&why.message()))?;
    table.retain(|name, _| POLICY.contains(&name));
    Ok(table)
}

fn as_toml(users: &Users, disabled: &BTreeSet<TokenId>, policy: &Table) -> String {
    let mut text = format!("{HEAD}version = {VERSION}\nexclusive = true\n");
    for (name, tokens) in users {
        let tokens: Vec<_> = tokens.iter().map(|id| format!("\"{id}\"")).collect();
        let _ = write!(text, "\n{}\ntokens = [{}]\n", heading(&["users", name]), tokens.join(", "));
    }
    for id in disabled {
        let name = Key::new(id.to_string());
        let _ = write!(text, "\n[tokens.{name}]\nstate = \"disabled\"\n");
    }
    for keys in tables(policy) {
        let table = table_of(policy, &keys).cloned().unwrap_or_default();
        let _ = write!(text, "\n{}\n{}", heading(&keys), body(&table));
    }
    text
}

fn as_json(users: &Users, disabled: &BTreeSet<TokenId>, policy: &Table) -> serde_json::Value {
    let mut json = json!({ "version": VERSION, "exclusive": true });
    let names = |tokens: &[TokenId]| tokens.iter().map(ToString::to_string).collect::<Vec<_>>();
    let users = users.iter().map(|(name, tokens)| (name.clone(), json!({ "tokens": names(tokens) })));
    let tokens = disabled.iter().map(|id| (id.to_string(), json!({ "state": "disabled" })));
    if let Some(fields) = json.as_object_mut() {
        fields.insert("users".to_owned(), users.collect());
        fields.insert("tokens".to_owned(), tokens.collect());
        fields.extend(policy.iter().map(|(name, value)| (name.clone(), of_toml(value))));
    }
    json
}

fn of_toml(value: &Value) -> serde_json::Value {
    match value {
        Value::String(text) => json!(text),
        Value::Integer(number) => json!(number),
        Value::Float(number) => json!(number),
        Value::Boolean(truth) => json!(truth),
        // As a file in JSON has it.
        Value::Datetime(date) => json!(date.to_string()),
        Value::Array(items) => items.iter().map(of_toml).collect(),
        Value::Table(table) => table
            .iter()
            .map(|(name, value)| (name.clone(), of_toml(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    }
}
