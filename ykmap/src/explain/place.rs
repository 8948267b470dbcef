//! The lines of the configuration file that the rules of the policy are on.

use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};
use ykhost::file::{self, Audience};
use ykhost::settings::CONFIG;
use yubiotp::diagnostic::Location;
use yubiotp::policy::Table;

/// The most that is read of a configuration file, as a login reads it.
const LIMIT: u64 = 64 << 10;

/// A configuration file, to find lines in.
#[derive(Default)]
pub(crate) struct Places {
    path: PathBuf,
    text: String,
}

impl Places {
    /// Of this configuration file; `None` for the usual one. No line is found in a file that cannot be read.
    pub(crate) fn of(config: Option<&Path>) -> Self {
        let path = config.unwrap_or(Path::new(CONFIG)).to_owned();
        let text = file::read(&path, LIMIT, Audience::Everyone).unwrap_or_default();
        Self { path, text: String::from_utf8(text).unwrap_or_default() }
    }

    /// A setting of the policy, or one item of its list, counted from 1. Its name, if its line is not known.
    pub(crate) fn of_rule(
        &self,
        table: Table,
        service: &str,
        setting: &str,
        item: Option<usize>,
    ) -> Location {
        let keys: &[&str] = match table {
            Table::Policy => &["policy", setting],
            Table::Service => &["service", service, setting],
        };
        self.of_keys(keys, item)
            .unwrap_or_else(|| Location::Setting(format!("{setting} in {}", table.text(service.as_bytes()))))
    }

    /// A group. Its name, if its line is not known.
    pub(crate) fn of_group(&self, group: &str) -> Location {
        self.of_keys(&["groups", group], None)
            .unwrap_or_else(|| Location::Setting(format!("{group} in [groups]")))
    }

    /// The line where `[service.NAME]` begins.
    pub(crate) fn of_service(&self, service: &str) -> Location {
        self.of_keys(&["service", service], None)
            .unwrap_or_else(|| Location::Setting(Table::Service.text(service.as_bytes())))
    }

    fn of_keys(&self, keys: &[&str], item: Option<usize>) -> Option<Location> {
        let document = DeTable::parse(&self.text).ok()?;
        let span = span(document.get_ref(), keys, item)?;
        let line = self.text.get(..span.start)?.matches('\n').count().saturating_add(1);
        Some(Location::line(self.path.as_os_str().as_bytes(), line))
    }
}

fn span(table: &DeTable<'_>, keys: &[&str], item: Option<usize>) -> Option<Range<usize>> {
    let (first, rest) = keys.split_first()?;
    let (key, value) = table.iter().find(|(key, _)| key.get_ref().as_ref() == *first)?;
    match (rest, value.get_ref()) {
        ([], DeValue::Array(items)) => {
            let item = item.and_then(|item| items.get(item.checked_sub(1)?));
            Some(item.map_or(key.span(), |item| item.span()))
        }
        ([], _) => Some(key.span()),
        (rest, DeValue::Table(inner)) => span(inner, rest, item),
        (_, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
[groups]
operators = [\"alice\"]

[policy]
require = \"all\"
exempt = [
  \"backup\",
  { who = [\"@operators\"], from = [\"local\"] },
]

[service.sudo]
require = \"enrolled\"
[service]
su = { require = \"all\" }
";

    fn place(text: &str) -> Places {
        Places { path: "/c".into(), text: text.to_owned() }
    }

    #[test]
    fn a_rule_has_its_line() {
        let places = place(TEXT);
        for (table, service, setting, item, expected) in [
            (Table::Policy, "", "require", None, "/c:5"),
            (Table::Policy, "", "exempt", None, "/c:6"),
            (Table::Policy, "", "exempt", Some(1), "/c:7"),
            (Table::Policy, "", "exempt", Some(2), "/c:8"),
            (Table::Policy, "", "until", None, "until in [policy]"),
            (Table::Service, "sudo", "require", None, "/c:12"),
            (Table::Service, "su", "require", None, "/c:14"),
            (Table::Service, "sshd", "require", None, "require in [service.sshd]"),
        ] {
            assert_eq!(places.of_rule(table, service, setting, item).to_string(), expected);
        }
        assert_eq!(places.of_group("operators").to_string(), "/c:2");
        assert_eq!(places.of_service("su").to_string(), "/c:14");
    }

    #[test]
    fn without_a_file_it_has_its_name() {
        let places = Places::default();
        assert_eq!(places.of_group("ops").to_string(), "ops in [groups]");
        let found = place("[policy\n").of_rule(Table::Policy, "", "require", None);
        assert_eq!(found.to_string(), "require in [policy]");
    }
}
