//! The policy in config.toml, replaced by the one that is declared. Everything else in the file stays, comments too.

use super::declared::POLICY;
use std::path::Path;
use toml::{Table, Value};
use toml_edit::{DocumentMut, Item, Key, TableLike, Value as Edited};
use ykhost::settings::Settings;
use yubiotp::diagnostic::{Code, Diagnostic, Location};
use zeroize::Zeroizing;

/// The longest value that is written on one line.
const LINE: usize = 100;

/// A setting of the policy that is not as declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    /// The table, such as `[policy]`.
    pub(super) table: String,
    /// The name in it.
    pub(super) name: String,
    /// The value now.
    pub(super) before: Option<String>,
    /// The value that is declared.
    pub(super) after: Option<String>,
}

/// A configuration file that is not as declared.
pub(super) struct ConfigChange {
    pub(super) before: Option<Zeroizing<Vec<u8>>>,
    pub(super) after: Zeroizing<String>,
    pub(super) settings: Vec<Setting>,
    /// The settings as they will be.
    pub(super) will_be: Settings,
}

/// Compares the configuration file at `path`, which has this text, with what is declared. `None`: it is as declared.
///
/// # Errors
/// The file cannot be changed, or would be invalid.
pub(super) fn compare(
    path: &Path,
    text: Option<Zeroizing<Vec<u8>>>,
    declared: &Table,
    place: &Location,
) -> Result<Option<ConfigChange>, Diagnostic> {
    let refused = |problem: String| {
        Diagnostic::error(Code::DeclarationInvalid, format!("with it, {} {problem}", path.display()))
            .at(place.clone())
    };
    let old = text.as_ref().map_or(Ok(""), |text| str::from_utf8(text));
    let old = old.map_err(|_| refused("is not text in UTF-8".to_owned()))?;
    let parsed = |text: &str| {
        toml::from_str::<Table>(text).map_err(|why| refused(format!("would be invalid: {}", why.message())))
    };
    let before = parsed(old)?;
    let mut settings = Vec::new();
    for keys in tables(declared) {
        let wanted = table_of(declared, &keys);
        settings.extend(differences(&keys, table_of(&before, &keys), wanted));
    }
    if settings.is_empty() {
        return Ok(None);
    }
    let after =
        Zeroizing::new(edited(old, declared).map_err(|why| refused(format!("cannot be edited: {why}")))?);
    if !is_what_was_meant(before, &parsed(&after)?, declared) {
        return Err(refused("would say something else".to_owned()).advise("write its policy as tables"));
    }
    let will_be = Settings::of_text(path, after.as_bytes()).map_err(|fault| {
        let found = fault.diagnostic();
        let problem = format!("would be invalid: {}", found.problem);
        Diagnostic { code: found.code, remedies: found.remedies, ..refused(problem) }
    })?;
    Ok(Some(ConfigChange { before: text, after, settings, will_be }))
}

/// The tables that a declaration has, by their keys.
pub(super) fn tables(declared: &Table) -> Vec<Vec<&str>> {
    let mut tables = Vec::new();
    for name in POLICY {
        match declared.get(name) {
            Some(Value::Table(services)) if name == "service" => {
                tables.extend(services.keys().map(|service| vec![name, service.as_str()]));
            }
            Some(_) => tables.push(vec![name]),
            None => {}
        }
    }
    tables
}

pub(super) fn table_of<'t>(root: &'t Table, keys: &[&str]) -> Option<&'t Table> {
    let (first, rest) = keys.split_first()?;
    let table = root.get(*first)?.as_table()?;
    if rest.is_empty() { Some(table) } else { table_of(table, rest) }
}

/// A table in brackets.
pub(super) fn heading(keys: &[&str]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| Key::new(*key).to_string()).collect();
    format!("[{}]", keys.join("."))
}

/// The settings of a table that differ. A table that is not there has none.
fn differences(keys: &[&str], before: Option<&Table>, after: Option<&Table>) -> Vec<Setting> {
    let empty = Table::new();
    let (before, after) = (before.unwrap_or(&empty), after.unwrap_or(&empty));
    let mut names: Vec<_> = before.keys().chain(after.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let shown = |value: Option<&Value>| value.map(|value| on_one_line(value).to_string());
    names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| Setting {
            table: heading(keys),
            name: name.clone(),
            before: shown(before.get(name)),
            after: shown(after.get(name)),
        })
        .collect()
}

/// The text with the declared tables in place of its own.
fn edited(text: &str, declared: &Table) -> Result<String, String> {
    let mut document: DocumentMut =
        text.parse().map_err(|why: toml_edit::TomlError| why.message().to_owned())?;
    // What begins behind the last line: before it there may be comments that belong to the top of the file.
    let mut new = String::new();
    for keys in tables(declared) {
        let Some(wanted) = table_of(declared, &keys) else { continue };
        match found(document.as_table_mut(), &keys) {
            Place::Here(table) => replace(table, wanted),
            Place::Within(parent, name) => {
                parent.insert(name, Item::Value(value_of(&Value::Table(wanted.clone()))));
            }
            Place::Nowhere if wanted.is_empty() => {}
            Place::Nowhere => new += &format!("\n{}\n{}", heading(&keys), body(wanted)),
        }
    }
    let mut text = document.to_string();
    if !new.is_empty() && !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    if text.is_empty() {
        return Ok(new.trim_start().to_owned());
    }
    Ok(text + &new)
}

/// Where a table is.
enum Place<'d, 'k> {
    Here(&'d mut dyn TableLike),
    /// Not there, and its parent is written so that no `[parent.NAME]` can follow.
    Within(&'d mut dyn TableLike, &'k str),
    Nowhere,
}

fn found<'d, 'k>(table: &'d mut dyn TableLike, keys: &[&'k str]) -> Place<'d, 'k> {
    let Some((first, rest)) = keys.split_first() else { return Place::Here(table) };
    if !table.contains_key(first) {
        return Place::Nowhere;
    }
    let Some(item) = table.get_mut(first) else { return Place::Nowhere };
    let is_inline = item.is_inline_table() || item.as_table().is_some_and(toml_edit::Table::is_dotted);
    match (item.as_table_like_mut(), rest) {
        (None, _) => Place::Nowhere,
        (Some(inner), [name]) if is_inline && !inner.contains_key(name) => Place::Within(inner, name),
        (Some(inner), rest) => found(inner, rest),
    }
}

/// Makes a table have these settings. Those that it has already stay as they are written.
fn replace(table: &mut dyn TableLike, wanted: &Table) {
    let names: Vec<_> = table.iter().map(|(name, _)| name.to_owned()).collect();
    for name in names.iter().filter(|name| !wanted.contains_key(*name)) {
        table.remove(name);
    }
    for (name, value) in wanted {
        let now = table.get(name).cloned();
        if now.as_ref().and_then(plain).as_ref() == Some(value) {
            continue;
        }
        let mut new = value_of(value);
        // Blanks before it, and a comment behind it.
        if let Some(Item::Value(now)) = &now {
            *new.decor_mut() = now.decor().clone();
        }
        match (table.get_mut(name), now) {
            (Some(item), Some(Item::Value(_))) => *item = Item::Value(new),
            // A table of its own becomes a value.
            (_, now) => {
                if now.is_some() {
                    table.remove(name);
                }
                table.insert(name, Item::Value(new));
            }
        }
    }
}

/// What an item says.
fn plain(item: &Item) -> Option<Value> {
    let mut document = DocumentMut::new();
    document.insert("it", item.clone());
    toml::from_str::<Table>(&document.to_string()).ok()?.remove("it")
}

/// A value as it is written.
fn value_of(value: &Value) -> Edited {
    let one_line = on_one_line(value);
    match value {
        Value::Array(items) if one_line.to_string().len() > LINE => {
            let items: String = items.iter().map(|item| format!("  {},\n", on_one_line(item))).collect();
            format!("[\n{items}]").parse().unwrap_or(one_line)
        }
        _ => one_line,
    }
}

fn on_one_line(value: &Value) -> Edited {
    match value {
        Value::String(text) => Edited::from(text),
        Value::Integer(number) => Edited::from(*number),
        Value::Float(number) => Edited::from(*number),
        Value::Boolean(truth) => Edited::from(*truth),
        Value::Datetime(date) => Edited::from(*date),
        Value::Array(items) => Edited::Array(items.iter().map(on_one_line).collect()),
        Value::Table(table) => Edited::InlineTable(
            table.iter().map(|(name, value)| (Key::new(name), on_one_line(value))).collect(),
        ),
    }
}

/// The lines of a table.
pub(super) fn body(table: &Table) -> String {
    table.iter().map(|(name, value)| format!("{} = {}\n", Key::new(name), value_of(value))).collect()
}

/// Whether a file has the declared tables, and everything else as before.
fn is_what_was_meant(mut before: Table, after: &Table, declared: &Table) -> bool {
    for keys in tables(declared) {
        let Some(wanted) = table_of(declared, &keys) else { continue };
        match keys.as_slice() {
            [name] => drop(before.insert((*name).to_owned(), Value::Table(wanted.clone()))),
            [name, service] => {
                let services = before.entry(*name).or_insert_with(|| Value::Table(Table::new()));
                if let Value::Table(services) = services {
                    services.insert((*service).to_owned(), Value::Table(wanted.clone()));
                }
            }
            _ => return false,
        }
    }
    let mut after = after.clone();
    // An empty table is none.
    for table in [&mut before, &mut after] {
        if let Some(Value::Table(services)) = table.get_mut("service") {
            services.retain(|_, rules| rules.as_table().is_none_or(|rules| !rules.is_empty()));
        }
        table.retain(|name, value| {
            !POLICY.contains(&name) || value.as_table().is_none_or(|value| !value.is_empty())
        });
    }
    before == after
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"# ours
mode = "offline" # who decides

# All other settings, commented out.
# tries = 1

[groups] # by the personnel office
# on call
ops = ["alice", "bob"]
robots = { file = "robots" }

[policy]
# since March
require = "all" # everybody
until = 2027-03-01

[service.sudo]
require = "enrolled"

# the end
"#;

    fn after(text: &str, declared: &str) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("robots"), "backup\n").unwrap();
        let declared = toml::from_str(declared).unwrap();
        let text = Some(Zeroizing::new(text.as_bytes().to_vec()));
        let place = Location::file(b"file");
        let change = compare(&folder.path().join("config.toml"), text, &declared, &place);
        change.unwrap_or_else(|why| panic!("{why}")).map(|change| change.after.to_string())
    }

    #[test]
    fn what_is_as_declared_stays() {
        for declared in [
            "",
            "[policy]\nuntil = 2027-03-01\nrequire = 'all'\n",
            "service.sudo.require = 'enrolled'",
            "[service.sshd]\n",
        ] {
            assert_eq!(after(FILE, declared), None, "{declared}");
        }
        assert_eq!(after("", "[policy]\n"), None);
    }

    #[test]
    fn only_what_differs_is_written_anew() {
        for (declared, before, now) in [
            ("[policy]\nrequire = 'all'\n", "until = 2027-03-01\n", ""),
            ("[policy]\nrequire = 'enrolled'\nuntil = 2027-03-01\n", "\"all\" #", "\"enrolled\" #"),
            ("[policy]\n", "# since March\nrequire = \"all\" # everybody\nuntil = 2027-03-01\n", ""),
            (
                "[groups]\nops = ['alice', 'bob']\nrobots = { file = 'robots' }\nnew = ['zoe']\n",
                "{ file = \"robots\" }\n",
                "{ file = \"robots\" }\nnew = [\"zoe\"]\n",
            ),
            ("[service.sudo]\nmethods = ['yubikey']\n", "require = \"enrolled\"", "methods = [\"yubikey\"]"),
            (
                "[service.sshd]\nrequire = 'all'\n",
                "# the end\n",
                "# the end\n\n[service.sshd]\nrequire = \"all\"\n",
            ),
        ] {
            assert_eq!(after(FILE, declared).as_deref(), Some(&*FILE.replace(before, now)), "{declared}");
        }
    }

    #[test]
    fn a_new_table_is_at_the_end_and_comments_before_it_stay_at_the_top() {
        let text = "mode = \"offline\"\n\n# prompt = \"x\"";
        let expected = format!("{text}\n\n[policy]\nrequire = \"enrolled\"\n");
        assert_eq!(after(text, "policy.require = 'enrolled'"), Some(expected));
        assert_eq!(after("", "policy.require = 'all'").unwrap(), "[policy]\nrequire = \"all\"\n");
    }

    #[test]
    fn tables_in_any_form_are_replaced() {
        for text in [
            "policy = { require = \"all\" }\nservice = { sudo = { require = \"all\" } }\n",
            "policy.require = \"all\"\nservice.sudo.require = \"all\"\n",
            "[policy]\nrequire = \"all\"\n[[policy.exempt]]\nwho = [\"bob\"]\n",
            "[groups.robots]\nfile = \"x\"\n[policy]\nexempt = [\"@robots\"]\n",
        ] {
            let declared = "groups.robots = ['r']\n[policy]\nexempt = [{ who = ['alice'] }, '@robots']\n\
                            [service]\nsudo = { require = 'enrolled' }\nsu = { require = 'enrolled' }\n";
            let text = after(text, declared).unwrap();
            assert_eq!(after(&text, declared), None, "{text}");
        }
    }

    #[test]
    fn a_file_that_would_be_invalid_is_refused() {
        let text = "[groups]\nops = [\"alice\"]\n[policy]\nrequire = [\"@ops\"]\n";
        let declared = toml::from_str("groups.others = ['bob']").unwrap();
        let text = Some(Zeroizing::new(text.as_bytes().to_vec()));
        let refused = compare(Path::new("/c"), text, &declared, &Location::file(b"file")).err().unwrap();
        assert_eq!(refused.code, Code::SettingInvalid);
    }

    #[test]
    fn long_lists_are_written_on_several_lines() {
        let users: Vec<_> = (0..20).map(|n| format!("'user-{n:04}'")).collect();
        let text = after("", &format!("policy.require = [{}]", users.join(","))).unwrap();
        assert!(text.contains("\n  \"user-0007\",\n"), "{text}");
    }
}
