//! The settings of the validation server: those of the code, ykvald-config.toml(5), and the file that `ykvald init`
//! writes are one list, with the same defaults.

use crate::page::Page;
use crate::same;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use tests::built;
use ykval::config::{Config, ETCD_DEADLINE, LISTEN, Limits, LogFormat, LogTo, Standby, StoreAt};

/// The tables, and the part of the page that each has. The first is the file itself.
const TABLES: [(&str, &str); 10] = [
    ("", "Settings"),
    ("tls", "TLS"),
    ("limits", "Limits"),
    ("log", "Log"),
    ("postgres", "PostgreSQL"),
    ("etcd", "etcd"),
    ("decrypt", "Decryption"),
    ("ksm", "Key storage modules"),
    ("sync", "Peers of YK-VAL"),
    ("cluster", "Servers of the site"),
];

fn load(folder: &Path, text: &str) -> Result<Config, String> {
    let path = folder.join("config.toml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    Config::load(&path, &[]).map_err(|why| why.to_string())
}

/// Names that the code takes, by its own word: it lists them where one is unknown. `limits.deadline_ms`
fn in_code() -> BTreeSet<String> {
    let folder = tempfile::tempdir().unwrap();
    let mut names = BTreeSet::new();
    for (table, _) in TABLES {
        let head = if table.is_empty() { String::new() } else { format!("[{table}]\n") };
        let why = load(folder.path(), &format!("{head}no_such_setting = 1\n")).unwrap_err();
        let (_, list) = why.split_once(". Use one of ").unwrap_or_else(|| panic!("{why}"));
        names.extend(list.split(", ").map(|name| of_table(table, name)));
    }
    for (table, _) in &TABLES[1..] {
        assert!(names.remove(*table), "{table}");
    }
    names
}

fn of_table(table: &str, name: &str) -> String {
    if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") }
}

/// What `ykvald init` writes, in comments or not: name and value.
fn in_file() -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new(built::program("ykvald"))
        .args(["init", "--no-client", "--dir"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let text = fs::read_to_string(folder.path().join("config.toml")).unwrap();
    let (mut found, mut table) = (BTreeMap::new(), String::new());
    for line in text.lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            name.clone_into(&mut table);
        }
        let Some((name, value)) = line.split_once(" = ") else { continue };
        if name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
            let value = value.split("  ").next().unwrap();
            let value = value.split(" # ").next().unwrap().trim();
            let twice = found.insert(of_table(&table, name), value.to_owned());
            assert!(twice.is_none(), "{name} stands there twice");
        }
    }
    found
}

#[test]
fn the_file_of_init_has_every_setting_and_no_other() {
    let file = in_file().into_keys().collect();
    same(("the code", &in_code()), ("the file of ykvald init", &file));
}

#[test]
fn the_manual_has_every_setting_and_no_other() {
    let Some(page) = Page::read("ykvald-config.toml.5") else { return };
    let mut manual = BTreeSet::new();
    for (table, section) in TABLES {
        let heads = page.section(section).heads();
        manual.extend(heads.iter().map(|head| {
            let head = head.template();
            of_table(table, head.strip_suffix(" = {}").unwrap_or_else(|| panic!("{head}")))
        }));
    }
    same(("the code", &in_code()), ("ykvald-config.toml(5)", &manual));
}

/// The defaults, in the manual and in the file.
#[test]
fn defaults_are_told_as_they_are() {
    let Some(page) = Page::read("ykvald-config.toml.5") else { return };
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
    let plain = load(folder.path(), "").unwrap();
    let more = "store = \"postgres://u@db/x\"\n[ksm]\nurls = \"http://127.0.0.1/wsapi/decrypt\"\n\
                [sync]\npeers = [{ url = \"http://127.0.0.1/wsapi/2.0/sync\" }]\n";
    let more = load(folder.path(), more).unwrap();
    let StoreAt::Postgres(postgres) = &more.store else { panic!("{more:?}") };
    let ksm = more.ksm.unwrap();
    let sync = more.sync.unwrap();
    let StoreAt::Sqlite(store) = &plain.store else { panic!("{plain:?}") };
    let name = |path: &Path| format!("{:?}", path.strip_prefix(folder.path()).unwrap().display().to_string());
    let Limits {
        connections,
        connections_per_address,
        unlimited_from,
        in_flight,
        deadline,
        read,
        idle,
        head_bytes,
        body_bytes,
        client_rate,
        token_rate,
    } = plain.limits.clone();
    let code = [
        ("listen", format!("{LISTEN:?}")),
        ("plain_http", plain.plain_http.to_string()),
        ("plain_http2", plain.plain_http2.to_string()),
        ("require_signature", plain.require_signature.to_string()),
        ("store", name(store)),
        ("store_key", name(&plain.store_key)),
        ("status_from", networks(&plain.status_from)),
        ("limits.connections", connections.to_string()),
        ("limits.connections_per_address", connections_per_address.to_string()),
        ("limits.unlimited_from", networks(&unlimited_from)),
        ("limits.in_flight", in_flight.to_string()),
        ("limits.deadline_ms", deadline.as_millis().to_string()),
        ("limits.read_ms", read.as_millis().to_string()),
        ("limits.idle_ms", idle.as_millis().to_string()),
        ("limits.head_bytes", head_bytes.to_string()),
        ("limits.body_bytes", body_bytes.to_string()),
        ("limits.client_rate", client_rate.to_string()),
        ("limits.token_rate", token_rate.to_string()),
        (
            "log.format",
            format!("{:?}", if plain.log.format == LogFormat::Logfmt { "logfmt" } else { "json" }),
        ),
        ("log.to", format!("{:?}", if plain.log.to == LogTo::Stdout { "stdout" } else { "syslog" })),
        ("log.required", plain.log.required.to_string()),
        ("postgres.pool", postgres.pool.to_string()),
        (
            "postgres.standby",
            format!("{:?}", if postgres.standby == Standby::Optional { "optional" } else { "required" }),
        ),
        ("etcd.plain_http", "false".to_owned()),
        ("etcd.deadline_ms", ETCD_DEADLINE.as_millis().to_string()),
        ("ksm.deadline_ms", ksm.deadline.as_millis().to_string()),
        ("ksm.in_flight", ksm.in_flight.to_string()),
        ("sync.default_level", sync.default_level.to_string()),
        ("sync.fast_level", sync.fast_level.to_string()),
        ("sync.secure_level", sync.secure_level.to_string()),
        ("sync.timeout_ms", sync.timeout.as_millis().to_string()),
    ];
    let code: BTreeMap<_, _> = code.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    assert_eq!(told, code, "ykvald-config.toml(5) and the code");
    let file = in_file();
    for (name, value) in code {
        assert_eq!(file.get(&name), Some(&value), "{name} in the file of ykvald init");
    }
}

fn networks(list: &[impl ToString]) -> String {
    let quoted: Vec<_> = list.iter().map(|net| format!("{:?}", net.to_string())).collect();
    format!("[{}]", quoted.join(", "))
}

/// Each file that the manual shows is one that a server can start with.
#[test]
fn the_examples_are_settings() {
    let Some(page) = Page::read("ykvald-config.toml.5") else { return };
    let folder = tempfile::tempdir().unwrap();
    let examples = page.section("EXAMPLES").displays();
    let examples: Vec<_> = examples.iter().filter(|text| text.contains(" = ")).collect();
    assert_eq!(examples.len(), 5);
    for text in examples {
        load(folder.path(), text).unwrap();
    }
}
