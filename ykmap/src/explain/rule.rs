//! The rule that decides, in words.

use super::place::Places;
use ykcli::time;
use yubiotp::diagnostic::Location;
use yubiotp::policy::{Doubt, Exemption, Need, Policy, Require, Rule, Rules, Ruling, Subject, Table};
use yubiotp::shown;

/// A setting that decides, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deciding {
    /// Its table: `[policy]`
    pub(crate) table: String,
    /// Its name.
    pub(crate) setting: &'static str,
    /// Of a list, the item that decides, counted from 1.
    pub(crate) item: Option<usize>,
    /// Its effect on this user, in words.
    pub(crate) words: String,
    /// Its place; `None` if nobody set it, and its default decides.
    pub(crate) location: Option<Location>,
}

impl Deciding {
    /// In a sentence: `exempt in [policy], item 2, exempts @robots (/etc/yubiotp/config.toml:8)`.
    pub(crate) fn in_words(&self) -> String {
        let Self { table, setting, item, words, location } = self;
        let item = item.map(|item| format!(", item {item},")).unwrap_or_default();
        match location {
            Some(location @ Location::File { .. }) => {
                format!("{setting} in {table}{item} {words} ({location})")
            }
            Some(_) => format!("{setting} in {table}{item} {words}"),
            None => format!("{setting} is not set, which {words}"),
        }
    }
}

/// The rules of a policy, for one login, with their places.
#[derive(Clone, Copy)]
pub(crate) struct Decides<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) places: &'a Places,
    /// The service; empty for the general rules.
    pub(crate) service: &'a str,
}

impl Decides<'_> {
    fn deciding(&self, table: Table, setting: &'static str, item: Option<usize>, words: String) -> Deciding {
        let is_set = self.rules(table).is_some_and(|rules| is_set(rules, setting));
        let location = is_set.then(|| self.places.of_rule(table, self.service, setting, item));
        Deciding { table: table.text(self.service.as_bytes()), setting, item, words, location }
    }

    fn rules(&self, table: Table) -> Option<&Rules> {
        match table {
            Table::Policy => Some(&self.policy.general),
            Table::Service => self.policy.services.get(self.service),
        }
    }

    /// The rule about the need.
    pub(crate) fn need(&self, ruling: &Ruling<'_>) -> Deciding {
        if let Need::Postponable { until } = ruling.need {
            let own = self.rules(Table::Service).is_some_and(|rules| rules.until.is_some());
            let table = if own { Table::Service } else { Table::Policy };
            let words = format!("lets users without a token in before {} UTC", time::utc(until));
            return self.deciding(table, "until", None, words);
        }
        let (setting, item, words) = match ruling.rule {
            Rule::Exempt(item, exemption) => {
                ("exempt", Some(item), format!("exempts {}", whom_and_when(exemption)))
            }
            Rule::All => ("require", None, "requires it of every user".to_owned()),
            Rule::Enrolled => ("require", None, "asks only users who have a second factor".to_owned()),
            Rule::Named(subject) => {
                let words = format!("names {}", shown::text(&subject.to_string()));
                ("require", self.item_of(ruling.table, subject), words)
            }
            Rule::NotNamed => ("require", None, "does not name the user".to_owned()),
            Rule::NotYet { not_before } => {
                ("not_before", None, format!("begins the roll-out on {} UTC", time::utc(not_before)))
            }
        };
        self.deciding(ruling.table, setting, item, words)
    }

    /// The rule that keeps a doubtful name from being decided about.
    pub(crate) fn doubt(&self, user: &str, Doubt { setting, subject }: &Doubt) -> Deciding {
        let own = self.rules(Table::Service).is_some_and(|rules| is_set(rules, setting));
        let table = if own { Table::Service } else { Table::Policy };
        let item = match *setting {
            "require" => self.item_of(table, subject),
            _ => self.line_of(table, subject),
        };
        let words = format!(
            "names {}, which may mean {} in another spelling",
            shown::text(&subject.to_string()),
            shown::text(user)
        );
        self.deciding(table, setting, item, words)
    }

    /// The exemptions that name the user, and do not hold for this login: by its network, or by the date.
    pub(crate) fn not_now(&self, user: &str) -> Vec<Deciding> {
        let own = self.rules(Table::Service).is_some_and(|rules| rules.exempt.is_some());
        let table = if own { Table::Service } else { Table::Policy };
        let exempt = self.rules(table).and_then(|rules| rules.exempt.as_ref());
        let is_named = |exemption: &Exemption| match &exemption.who {
            Some(who) => who.iter().any(|subject| subject.is(user.as_bytes(), &self.policy.groups)),
            None => true,
        };
        let named = (1..).zip(exempt.into_iter().flatten()).filter(|(_, exemption)| is_named(exemption));
        let words = |exemption| format!("exempts {}", whom_and_when(exemption));
        named.map(|(item, it)| self.deciding(table, "exempt", Some(item), words(it))).collect()
    }

    /// The rule about the methods.
    pub(crate) fn methods(&self, ruling: &Ruling<'_>) -> Deciding {
        let names: Vec<_> = ruling.methods.iter().map(|method| method.name()).collect();
        let words = format!("allows {}", if names.is_empty() { "none".to_owned() } else { names.join(", ") });
        match ruling.methods_rule {
            Some((item, table)) => self.deciding(table, "methods_for", Some(item), words),
            None => {
                let own = self.policy.services.get(self.service).is_some_and(|rules| rules.methods.is_some());
                let table = if own { Table::Service } else { Table::Policy };
                self.deciding(table, "methods", None, words)
            }
        }
    }

    fn line_of(&self, table: Table, subject: &Subject) -> Option<usize> {
        let lines = self.rules(table)?.methods_for.as_ref()?;
        lines.iter().position(|line| line.who.contains(subject))?.checked_add(1)
    }

    fn item_of(&self, table: Table, subject: &Subject) -> Option<usize> {
        let Some(Require::These(who)) = self.rules(table)?.require.as_ref() else { return None };
        who.iter().position(|other| other == subject)?.checked_add(1)
    }
}

fn is_set(rules: &Rules, setting: &str) -> bool {
    match setting {
        "require" => rules.require.is_some(),
        "not_before" => rules.not_before.is_some(),
        "until" => rules.until.is_some(),
        "exempt" => rules.exempt.is_some(),
        "methods" => rules.methods.is_some(),
        "methods_for" => rules.methods_for.is_some(),
        "on_exempt" => rules.on_exempt.is_some(),
        _ => false,
    }
}

/// Users and groups in a sentence.
pub(crate) fn subjects(who: &[Subject]) -> String {
    let names: Vec<_> = who.iter().map(|subject| shown::text(&subject.to_string()).to_string()).collect();
    names.join(", ")
}

/// Whom an exemption exempts, and from where.
pub(crate) fn whom(exemption: &Exemption) -> String {
    let words = exemption.who.as_deref().map_or_else(|| "everybody".to_owned(), subjects);
    match &exemption.from {
        Some(from) => {
            let from: Vec<_> = from.iter().map(ToString::to_string).collect();
            format!("{words} from {}", from.join(", "))
        }
        None => words,
    }
}

/// The same, and when.
fn whom_and_when(exemption: &Exemption) -> String {
    let mut words = whom(exemption);
    if let Some(begin) = exemption.when.not_before {
        words += &format!(" since {} UTC", time::utc(begin));
    }
    if let Some(end) = exemption.when.until {
        words += &format!(" until {} UTC", time::utc(end));
    }
    words
}
