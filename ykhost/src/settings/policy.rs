//! `[groups]`, `[policy]` and `[service.NAME]`: who needs a second factor, and by which methods.

mod dates;
mod groups;
#[cfg(test)]
mod tests;

pub use dates::parse_date;

use super::Bad;
use super::syntax::unknown_setting;
use crate::Fault;
use crate::file::Folders;
use groups::Source;
use std::collections::BTreeMap;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::nearest::nearest;
use yubiotp::policy::{
    BadFrom, Exemption, From, Interval, Method, Methods, MethodsFor, OnExempt, Policy, Require, Rules,
    Subject,
};
use yubiotp::shown;

/// The settings of `[policy]` and of each `[service.NAME]`.
pub(super) const NAMES: [&str; 7] =
    ["require", "not_before", "until", "exempt", "methods", "methods_for", "on_exempt"];
/// The settings of an item of `exempt`.
const OF_EXEMPT: [&str; 4] = ["who", "from", "not_before", "until"];
/// The settings of an item of `methods_for`.
const OF_METHODS_FOR: [&str; 2] = ["who", "methods"];

/// The policy as the configuration file has it: files of groups are not read yet.
#[derive(Default)]
pub(super) struct PartialPolicy {
    groups: BTreeMap<String, Source>,
    general: Rules,
    services: BTreeMap<String, Rules>,
}

type Value<'v, 'i> = &'v Spanned<DeValue<'i>>;
type Names<'n, 'i> = &'n DeTable<'i>;

/// Reads the three tables of a configuration file that is otherwise in order. Names of files are relative to `folder`.
pub(super) fn read(text: &str, folder: &Path) -> Result<PartialPolicy, Bad> {
    // It was parsed before, so this cannot fail.
    let root = DeTable::parse(text).unwrap_or_else(|_| Spanned::new(0..0, DeTable::new())).into_inner();
    read_from(&root, text, folder, Vec::new())
}

/// Checks the three tables where another file than the configuration file has them, in `root` of its text. Without
/// `[groups]`, rules may name the groups `others`.
///
/// # Errors
/// The finding, and the line that it is about, counted from 1.
pub fn check_policy(
    root: &DeTable<'_>,
    text: &str,
    folder: &Path,
    others: Vec<String>,
) -> Result<(), (Option<usize>, Box<Diagnostic>)> {
    read_from(root, text, folder, others).map(drop).map_err(|Bad { line, found }| (line, found))
}

fn read_from(
    root: &DeTable<'_>,
    text: &str,
    folder: &Path,
    others: Vec<String>,
) -> Result<PartialPolicy, Bad> {
    let reader = Reader { text, groups: Vec::new() };
    let (groups, known) = match root.get("groups") {
        Some(table) => {
            let groups = reader.groups(table, folder)?;
            let names = groups.keys().cloned().collect();
            (groups, names)
        }
        None => (BTreeMap::new(), others),
    };
    let reader = Reader { text, groups: known };
    let general = match root.get("policy") {
        Some(table) => {
            let rules = reader.rules(reader.table(table, "policy")?, "[policy]")?;
            reader.in_order(&rules, &rules, table)?;
            rules
        }
        None => Rules::default(),
    };
    let mut services = BTreeMap::new();
    if let Some(table) = root.get("service") {
        for (name, of_service) in reader.table(table, "service")? {
            let name: &str = name.get_ref();
            reader.service_name(name, of_service)?;
            let rules = reader.rules(reader.table(of_service, name)?, &format!("[service.{name}]"))?;
            reader.in_order(&rules, &general, of_service)?;
            services.insert(name.to_owned(), rules);
        }
    }
    Ok(PartialPolicy { groups, general, services })
}

impl PartialPolicy {
    /// Reads the files of groups.
    pub(super) fn resolve(self, folders: &Folders) -> Result<Policy, Fault> {
        let groups = self.groups.into_iter().map(|(name, source)| {
            let users = source.users(&name, folders)?;
            Ok((name, users))
        });
        Ok(Policy {
            groups: groups.collect::<Result<_, Fault>>()?,
            general: self.general,
            services: self.services,
        })
    }
}

struct Reader<'t> {
    text: &'t str,
    /// The names of the groups.
    groups: Vec<String>,
}

impl Reader<'_> {
    fn bad(&self, at: Value<'_, '_>, found: Diagnostic) -> Bad {
        let line = self.text.get(..at.span().start).unwrap_or_default().matches('\n').count();
        Bad { line: Some(line.saturating_add(1)), found: Box::new(found) }
    }

    fn invalid(&self, at: Value<'_, '_>, problem: impl Into<String>) -> Bad {
        self.bad(at, Diagnostic::error(Code::SettingInvalid, problem))
    }

    fn invalid_but(&self, at: Value<'_, '_>, problem: impl Into<String>, advice: impl Into<String>) -> Bad {
        self.bad(at, Diagnostic::error(Code::SettingInvalid, problem).advise(advice))
    }

    fn table<'v, 'i>(&self, value: Value<'v, 'i>, name: &str) -> Result<Names<'v, 'i>, Bad> {
        value.get_ref().as_table().ok_or_else(|| self.invalid(value, format!("{name} must be a table")))
    }

    fn list<'v, 'i>(&self, value: Value<'v, 'i>, name: &str) -> Result<Vec<Value<'v, 'i>>, Bad> {
        match value.get_ref() {
            DeValue::Array(items) => Ok(items.iter().collect()),
            _ => Err(self.invalid(value, format!("{name} must be a list, in brackets"))),
        }
    }

    /// A list that says nothing if it is empty.
    fn some<'v, 'i>(&self, value: Value<'v, 'i>, name: &str) -> Result<Vec<Value<'v, 'i>>, Bad> {
        let items = self.list(value, name)?;
        if items.is_empty() {
            return Err(self.invalid_but(
                value,
                format!("{name} is an empty list"),
                if name == "require" {
                    "name users or groups, or write \"enrolled\" if nobody must have one".to_owned()
                } else {
                    format!("name someone or something, or remove {name}")
                },
            ));
        }
        Ok(items)
    }

    fn text<'v>(&self, value: &'v Spanned<DeValue<'_>>, what: &str) -> Result<&'v str, Bad> {
        value.get_ref().as_str().ok_or_else(|| self.invalid(value, format!("{what} must be text in quotes")))
    }

    /// That a table has no other settings than these.
    fn only(&self, table: Names<'_, '_>, names: &[&str], label: &str) -> Result<(), Bad> {
        let Some((name, value)) = table.iter().find(|(name, _)| !names.contains(&&**name.get_ref())) else {
            return Ok(());
        };
        Err(self.bad(value, unknown_setting(name.get_ref(), label, names)))
    }

    /// The name of a user, in a list that takes nothing else.
    fn user(&self, value: Value<'_, '_>, name: &str) -> Result<String, Bad> {
        let user = self.text(value, &format!("each user in {name}"))?;
        groups::check_user(user).map_err(|why| self.invalid(value, format!("{name}: {why}")))?;
        Ok(user.to_owned())
    }

    fn groups(&self, table: Value<'_, '_>, folder: &Path) -> Result<BTreeMap<String, Source>, Bad> {
        let mut groups = BTreeMap::new();
        for (name, value) in self.table(table, "groups")? {
            let name: &str = name.get_ref();
            if name.is_empty() || name.starts_with('@') || name.chars().any(char::is_control) {
                let problem = format!("{} cannot be the name of a group", shown::quoted(name));
                return Err(self.invalid_but(
                    value,
                    problem,
                    "write the name without @: it has one only in rules",
                ));
            }
            let source = match value.get_ref() {
                DeValue::Table(table) => {
                    self.only(table, &["file"], &format!("group {name}"))?;
                    let file = table.get("file").ok_or_else(|| self.not_a_group(value, name))?;
                    Source::File(super::joined(folder, self.text(file, "file")?.into()))
                }
                DeValue::Array(_) => {
                    let users = self.some(value, name)?.into_iter().map(|user| self.user(user, name));
                    Source::Users(users.collect::<Result<_, _>>()?)
                }
                _ => return Err(self.not_a_group(value, name)),
            };
            groups.insert(name.to_owned(), source);
        }
        Ok(groups)
    }

    fn not_a_group(&self, value: Value<'_, '_>, name: &str) -> Bad {
        self.invalid(
            value,
            format!("{name} must be a list of users, as [\"alice\", \"bob\"], or {{ file = \"/etc/yubiotp/{name}\" }}"),
        )
    }

    fn service_name(&self, name: &str, at: Value<'_, '_>) -> Result<(), Bad> {
        // libpam makes them lower case, and looks for a file of this name.
        let lower = name.to_ascii_lowercase();
        if lower != name {
            let problem = format!("service.{name} is no service: names of PAM services are lower case");
            return Err(self.invalid_but(at, problem, format!("write [service.{lower}]")));
        }
        if name.is_empty() || name.contains('/') || NAMES.contains(&name) {
            let problem = format!("{} is not the name of a PAM service", shown::quoted(name));
            return Err(self.invalid_but(at, problem, "name a file of /etc/pam.d, as [service.sudo]"));
        }
        Ok(())
    }

    fn rules(&self, table: Names<'_, '_>, label: &str) -> Result<Rules, Bad> {
        self.only(table, &NAMES, label)?;
        let mut rules = Rules::default();
        for (name, value) in table {
            let name: &str = name.get_ref();
            match name {
                "require" => rules.require = Some(self.require(value)?),
                "not_before" => rules.not_before = Some(self.date(value, name)?),
                "until" => rules.until = Some(self.date(value, name)?),
                "exempt" => {
                    let items = self.list(value, name)?.into_iter().map(|item| self.exemption(item));
                    rules.exempt = Some(items.collect::<Result<_, _>>()?);
                }
                "methods" => rules.methods = Some(self.methods(value)?),
                "methods_for" => {
                    let items = self.list(value, name)?.into_iter().map(|item| self.methods_for(item));
                    rules.methods_for = Some(items.collect::<Result<_, _>>()?);
                }
                _ => rules.on_exempt = Some(self.on_exempt(value)?),
            }
        }
        Ok(rules)
    }

    fn require(&self, value: Value<'_, '_>) -> Result<Require, Bad> {
        let text = match value.get_ref() {
            DeValue::String(text) => text,
            DeValue::Array(_) => return self.who(value, "require").map(Require::These),
            _ => {
                return Err(self.invalid(
                    value,
                    "require must be \"all\", \"enrolled\", or a list of users and @groups",
                ));
            }
        };
        match &**text {
            "all" => Ok(Require::All),
            "enrolled" => Ok(Require::Enrolled),
            other => {
                let problem = format!(
                    "require must be \"all\", \"enrolled\", or a list of users and @groups, and is {}",
                    shown::quoted(other)
                );
                let advice = match nearest(&other.to_ascii_lowercase(), ["all", "enrolled"]) {
                    Some(near) => format!("write \"{near}\""),
                    None => format!("write [{}] if that is a user or a group", shown::quoted(other)),
                };
                Err(self.invalid_but(value, problem, advice))
            }
        }
    }

    fn who(&self, value: Value<'_, '_>, name: &str) -> Result<Vec<Subject>, Bad> {
        let items = self.some(value, name)?;
        items.into_iter().map(|item| self.subject(item, name)).collect()
    }

    fn subject(&self, value: Value<'_, '_>, name: &str) -> Result<Subject, Bad> {
        let text = self.text(value, &format!("each user or group in {name}"))?;
        match Subject::parse(text) {
            Some(Subject::Group(group)) if !self.groups.contains(&group) => {
                let found = Diagnostic::error(
                    Code::SettingInvalid,
                    format!("{name}: there is no group {}", shown::text(&group)),
                );
                let found = match nearest(&group, self.groups.iter().map(String::as_str)) {
                    Some(near) => found.advise(format!("write @{near}")),
                    None => found.advise(format!("add {} to the table [groups]", shown::text(&group))),
                };
                Err(self.bad(value, found))
            }
            Some(subject @ Subject::Group(_)) => Ok(subject),
            Some(Subject::User(user)) if self.groups.contains(&user) => {
                let user = shown::text(&user);
                Err(self.invalid_but(value, format!("{name}: {user} is a group"), format!("write @{user}")))
            }
            Some(Subject::User(user)) => {
                groups::check_user(&user).map_err(|why| self.invalid(value, format!("{name}: {why}")))?;
                Ok(Subject::User(user))
            }
            None => Err(self.invalid(value, format!("{name}: an empty name"))),
        }
    }

    fn exemption(&self, value: Value<'_, '_>) -> Result<Exemption, Bad> {
        let table = match value.get_ref() {
            DeValue::Table(table) => table,
            DeValue::String(_) => {
                let who = Some(vec![self.subject(value, "exempt")?]);
                return Ok(Exemption { who, from: None, when: Interval::default() });
            }
            _ => {
                return Err(self.invalid(
                    value,
                    "each item of exempt must be a user, a @group, or { who = […], from = […] }",
                ));
            }
        };
        self.only(table, &OF_EXEMPT, "an item of exempt")?;
        let who = table.get("who").map(|who| self.who(who, "who")).transpose()?;
        let from = table.get("from").map(|from| self.networks(from)).transpose()?;
        if who.is_none() && from.is_none() {
            return Err(self.invalid_but(
                value,
                "an item of exempt has neither who nor from: everybody would be exempt",
                "add who or from, or set require = \"enrolled\" if that is meant",
            ));
        }
        let date = |name| table.get(name).map(|date| self.date(date, name)).transpose();
        let when = Interval { not_before: date("not_before")?, until: date("until")? };
        if let (Some(begin), Some(end)) = (when.not_before, when.until)
            && begin >= end
        {
            return Err(self.out_of_order(table.get("until").unwrap_or(value)));
        }
        Ok(Exemption { who, from, when })
    }

    fn networks(&self, value: Value<'_, '_>) -> Result<Vec<From>, Bad> {
        let items = self.some(value, "from")?;
        items.into_iter().map(|item| self.network(item)).collect()
    }

    fn network(&self, value: Value<'_, '_>) -> Result<From, Bad> {
        let text = self.text(value, "each network in from")?;
        From::parse(text).map_err(|why| {
            let given = shown::quoted(text);
            match why {
                BadFrom::HostBits(network) => self.invalid_but(
                    value,
                    format!("from: {given} has bits behind the prefix"),
                    format!("write {network}, or the address without a prefix for one host"),
                ),
                BadFrom::NotANetwork => self.invalid_but(
                    value,
                    format!("from: {given} is not an address, a network or \"local\""),
                    "write an address or a network, as 10.1.0.0/16: a name never matches, and is never looked up",
                ),
            }
        })
    }

    fn methods(&self, value: Value<'_, '_>) -> Result<Methods, Bad> {
        let items = self.some(value, "methods")?;
        let methods = items.into_iter().map(|item| self.method(item)).collect::<Result<Vec<_>, _>>()?;
        Ok(Methods::of(methods))
    }

    fn method(&self, value: Value<'_, '_>) -> Result<Method, Bad> {
        let text = self.text(value, "each of methods")?;
        Method::ALL.into_iter().find(|method| method.name() == text).ok_or_else(|| {
            let all = Method::ALL.map(Method::name);
            let advice = match nearest(&text.to_ascii_lowercase(), all) {
                Some(near) => format!("write \"{near}\""),
                None => format!("use {}", all.join(", ")),
            };
            self.invalid_but(value, format!("methods: there is no method {}", shown::quoted(text)), advice)
        })
    }

    fn methods_for(&self, value: Value<'_, '_>) -> Result<MethodsFor, Bad> {
        let shape = "each item of methods_for must be { who = [\"@group\"], methods = [\"yubikey\"] }";
        let table = value.get_ref().as_table().ok_or_else(|| self.invalid(value, shape))?;
        self.only(table, &OF_METHODS_FOR, "an item of methods_for")?;
        match (table.get("who"), table.get("methods")) {
            (Some(who), Some(methods)) => {
                Ok(MethodsFor { who: self.who(who, "who")?, methods: self.methods(methods)? })
            }
            _ => Err(self.invalid(value, shape)),
        }
    }

    fn on_exempt(&self, value: Value<'_, '_>) -> Result<OnExempt, Bad> {
        match value.get_ref().as_str() {
            Some("ignore") => Ok(OnExempt::Ignore),
            Some("success") => Ok(OnExempt::Success),
            _ => Err(self.invalid(value, "on_exempt must be \"ignore\" or \"success\"")),
        }
    }

    fn date(&self, value: Value<'_, '_>, name: &str) -> Result<u64, Bad> {
        let quoted = value.get_ref().as_str().is_some();
        let date = value.get_ref().as_datetime().and_then(dates::unix);
        date.ok_or_else(|| {
            let advice = if quoted {
                "write it without quotes"
            } else {
                "write it as 2027-01-15 or 2027-01-15T08:00:00Z"
            };
            self.invalid_but(value, format!("{name} must be a date, or a date with a time"), advice)
        })
    }

    /// That a roll-out does not end before it begins, also where a service takes one of the dates from `[policy]`.
    fn in_order(&self, rules: &Rules, general: &Rules, table: Value<'_, '_>) -> Result<(), Bad> {
        let begin = rules.not_before.or(general.not_before);
        let end = rules.until.or(general.until);
        let own = rules.not_before.is_some() || rules.until.is_some();
        let (true, Some(begin), Some(end)) = (own, begin, end) else { return Ok(()) };
        if begin <= end {
            return Ok(());
        }
        let names = ["until", "not_before"];
        let at = table.get_ref().as_table().and_then(|table| names.iter().find_map(|name| table.get(*name)));
        Err(self.out_of_order(at.unwrap_or(table)))
    }

    fn out_of_order(&self, at: Value<'_, '_>) -> Bad {
        self.bad(
            at,
            Diagnostic::error(Code::SettingsConflict, "until is not after not_before")
                .advise("write the later date for until"),
        )
    }
}
