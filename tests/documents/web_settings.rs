//! The settings of the web login: those of the code, ykwebd-config.toml(5), and the file that `ykwebd init` writes are one
//! list, with the same defaults.

use crate::page::Page;
use crate::same;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use tests::built;
use ykweb::config::{Config, LogFormat, LogTo};

const URL: &str = "https://login.example.com";

/// The tables, and the part of the page that each has. The first is the file itself.
const TABLES: [(&str, &str); 11] = [
    ("", "Settings"),
    ("tls", "TLS"),
    ("password", "Passwords"),
    ("validation", "Validation servers"),
    ("host", "Protected hosts"),
    ("authorizer", "Authorizers"),
    ("identity", "Identity socket"),
    ("check", "Check socket"),
    ("sessions", "Sessions"),
    ("limits", "Limits"),
    ("log", "Log"),
];

fn load(folder: &Path, text: &str) -> Result<Config, String> {
    let path = folder.join("config.toml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    Config::load(&path, &[]).map_err(|why| why.to_string())
}

fn of_table(table: &str, name: &str) -> String {
    if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") }
}

/// Names that the code takes, by its own word: it lists them where one is unknown. `limits.connections`
fn in_code() -> BTreeSet<String> {
    let folder = tempfile::tempdir().unwrap();
    let mut names = BTreeSet::new();
    for (table, _) in TABLES {
        let head = match table {
            "" => String::new(),
            "host" => "[[host]]\n".to_owned(),
            table => format!("[{table}]\n"),
        };
        let text = format!("public_url = \"{URL}\"\n{head}no_such_setting = 1\n");
        let why = load(folder.path(), &text).err().unwrap();
        let list = why.split_once(". Use one of ").or_else(|| why.split_once(". Use "));
        let (_, list) = list.unwrap_or_else(|| panic!("{why}"));
        let list = list.split(" [").next().unwrap();
        names.extend(list.split(", ").map(|name| of_table(table, name)));
    }
    for (table, _) in &TABLES[1..] {
        assert!(names.remove(*table), "{table}: {names:?}");
    }
    names
}

/// What `ykwebd init` writes, in comments or not: name and value.
fn in_file() -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new(built::program("ykwebd"))
        .args(["init", "--public-url", URL, "--dir"])
        .arg(folder.path().join("made"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let text = fs::read_to_string(folder.path().join("made/config.toml")).unwrap();
    let (mut found, mut table) = (BTreeMap::new(), String::new());
    for line in text.lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        if line.starts_with('[') && line.ends_with(']') {
            line.trim_matches(['[', ']']).clone_into(&mut table);
        }
        let Some((name, value)) = line.split_once(" = ") else { continue };
        if name.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            let value = value.split("  ").next().unwrap();
            let value = value.split(" # ").next().unwrap().trim();
            let twice = found.insert(of_table(&table, name), value.to_owned());
            assert!(twice.is_none(), "{name} is there twice");
        }
    }
    found
}

#[test]
fn the_file_of_init_has_every_setting_but_one_and_no_other() {
    let mut code = in_code();
    // Of no use yet, and so only in the manual.
    assert!(code.remove("tls.client_ca"));
    let file = in_file().into_keys().collect();
    same(("the code", &code), ("the file of ykwebd init", &file));
}

#[test]
fn the_manual_has_every_setting_and_no_other() {
    let Some(page) = Page::read("ykwebd-config.toml.5") else { return };
    let mut manual = BTreeSet::new();
    for (table, section) in TABLES {
        let heads = page.section(section).heads();
        manual.extend(heads.iter().map(|head| {
            let head = head.template();
            of_table(table, head.strip_suffix(" = {}").unwrap_or_else(|| panic!("{head}")))
        }));
    }
    same(("the code", &in_code()), ("ykwebd-config.toml(5)", &manual));
}

fn quoted(text: impl std::fmt::Display) -> String {
    format!("{:?}", text.to_string())
}

fn list(of: &[impl std::fmt::Display]) -> String {
    format!("[{}]", of.iter().map(quoted).collect::<Vec<_>>().join(", "))
}

/// The defaults, in the manual and in the file.
#[test]
fn defaults_are_told_as_they_are() {
    let Some(page) = Page::read("ykwebd-config.toml.5") else { return };
    let mut told = BTreeMap::new();
    for (table, section) in TABLES {
        for (head, body) in page.section(section).entries() {
            // As a sentence has it: `…. 5 if not given.` Others say what is so then: `The system's if not given.`
            let (body, head) = (body.text(), head.template());
            let value = body.split_once(" if not given").map(|(before, _)| before);
            let value = value.map(|before| before.rsplit_once(". ").map_or(before, |(_, value)| value));
            let is_value = |text: &&str| !text.starts_with(|c: char| c.is_ascii_uppercase());
            if let (Some(name), Some(value)) = (head.strip_suffix(" = {}"), value.filter(is_value)) {
                told.insert(of_table(table, name), value.to_owned());
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let servers = "[validation]\nservers = \"http://127.0.0.1:8000\"\nclient_id = 1\n";
    let plain = load(folder.path(), &format!("public_url = \"{URL}\"\n{servers}")).unwrap();
    let validation = plain.validation.as_ref().unwrap();
    let name = |path: &Path| quoted(path.strip_prefix(folder.path()).unwrap().display());
    let [listen] = plain.listen[..] else { panic!("{:?}", plain.listen) };
    let hours = |time: std::time::Duration| quoted(format!("{}h", time.as_secs() / 3600));
    let code = [
        ("listen", quoted(listen)),
        ("store", name(&plain.store)),
        ("store_key", name(&plain.store_key)),
        ("proxies", list(&plain.proxies)),
        ("demo_pages", plain.demo_pages.to_string()),
        ("status_from", list(&plain.status_from)),
        ("validation.deadline_ms", validation.deadline.as_millis().to_string()),
        ("validation.hedge_ms", validation.hedge.as_millis().to_string()),
        ("sessions.idle", hours(plain.sessions.idle)),
        ("sessions.most", hours(plain.sessions.most)),
        ("sessions.per_user", plain.sessions.per_user.to_string()),
        ("limits.connections", plain.limits.connections.to_string()),
        ("limits.connections_per_address", plain.limits.connections_per_address.to_string()),
        ("limits.unlimited_from", list(&plain.limits.unlimited_from)),
        ("log.format", quoted(if plain.log.format == LogFormat::Logfmt { "logfmt" } else { "json" })),
        ("log.to", quoted(if plain.log.to == LogTo::Stdout { "stdout" } else { "syslog" })),
        ("log.required", plain.log.required.to_string()),
    ];
    let code: BTreeMap<_, _> = code.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    assert_eq!(told, code, "ykwebd-config.toml(5) and the code");
    let file = in_file();
    for (name, value) in code {
        assert_eq!(file.get(&name), Some(&value), "{name} in the file of ykwebd init");
    }
}

/// Each file that the manual shows is one that a server can start with.
#[test]
fn the_examples_are_settings() {
    let Some(page) = Page::read("ykwebd-config.toml.5") else { return };
    let folder = tempfile::tempdir().unwrap();
    let examples = page.section("EXAMPLES").displays();
    assert_eq!(examples.len(), 2);
    for text in examples {
        load(folder.path(), &text).unwrap_or_else(|why| panic!("{why}: {text}"));
    }
}
