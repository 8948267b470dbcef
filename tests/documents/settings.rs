//! The settings: those of the code, yubiotp-config.toml(5), and the file that `ykmap init` writes are one list, with
//! the same defaults.

use crate::page::Page;
use crate::same;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use tests::built;
use ykhost::settings::{PartialConfig, Settings};
use yubiotp::policy::{Need, OnExempt, RemoteHost};

/// The tables of the file.
const TABLES: [&str; 7] = ["online", "codes", "groups", "policy", "service", "enroll", "self"];

/// Names that the code takes, by its own word: it lists them where one is unknown.
fn in_code(table: &str) -> BTreeSet<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, format!("{table}\nno_such_setting = 1\n")).unwrap();
    let why = Settings::load(Some(&path), PartialConfig::default()).err().unwrap().to_string();
    let (_, names) = why.split_once("Use one of ").unwrap_or_else(|| panic!("{why}"));
    names.split(", ").map(|name| name.trim_matches('`').to_owned()).collect()
}

/// What `ykmap init` offers in comments, name and value: first of the file, then of `[online]`, `[codes]`, `[policy]` and
/// `[enroll]`.
fn in_file() -> [BTreeMap<String, String>; 5] {
    let source = crate::text_of("ykmap/src/init.rs");
    let text = |name: &str| {
        let (_, behind) = source.split_once(&format!("const {name}: &str = \"")).unwrap();
        let (text, _) = behind.split_once("\n\";").unwrap();
        text.replace("\\\"", "\"")
    };
    [&["SYSTEM", "LOGIN"][..], &["ONLINE"], &["CODES"], &["POLICY"], &["ENROLL"]].map(|names| {
        let text = names.iter().map(|name| text(name) + "\n").collect::<String>();
        let lines = text.lines().filter_map(|line| line.strip_prefix("# ")?.split_once(" = "));
        let lines = lines.filter(|(name, _)| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
        let value = |value: &str| {
            let end = match value.strip_prefix('"') {
                Some(text) => text.find('"').unwrap() + 2,
                None => value.find([' ', ',']).unwrap_or(value.len()),
            };
            value[..end].to_owned()
        };
        lines.map(|(name, text)| (name.to_owned(), value(text))).collect()
    })
}

/// The file is what the source has: not by a string alone, but written by the command.
#[test]
fn init_writes_what_these_tests_read() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("yubiotp/config.toml");
    let made =
        Command::new(built::program("ykmap")).arg("--config").arg(&config).arg("init").output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let written = std::fs::read_to_string(config).unwrap();
    let [file, online, codes, policy, enroll] = in_file();
    for (name, value) in online.iter().chain(&codes).chain(&policy).chain(&enroll) {
        assert!(written.contains(&format!("# {name} = {value}")), "{name} = {value}: {written}");
    }
    for name in file.keys() {
        let is_set = |line: &str| line.trim_start_matches("# ").starts_with(&format!("{name} = "));
        assert!(written.lines().any(is_set), "{name}: {written}");
    }
}

#[test]
fn the_file_of_init_has_every_setting_and_no_other() {
    let [file, online, codes, policy, enroll] =
        in_file().map(|settings| settings.into_keys().collect::<BTreeSet<_>>());
    let mut code = in_code("");
    assert!(TABLES.into_iter().all(|table| code.remove(table)));
    same(("the code", &code), ("the file of ykmap init", &file));
    let mut code = in_code("[online]");
    // Beside api_key_file, in the same line.
    assert!(code.remove("api_key") && crate::text_of("ykmap/src/init.rs").contains("or api_key = "));
    same(("the code", &code), ("[online] of the file of ykmap init", &online));
    same(("the code", &in_code("[codes]")), ("[codes] of the file of ykmap init", &codes));
    same(("the code", &in_code("[policy]")), ("[policy] of the file of ykmap init", &policy));
    same(("the code", &in_code("[service.sudo]")), ("[policy] of the file of ykmap init", &policy));
    same(("the code", &in_code("[enroll]")), ("[enroll] of the file of ykmap init", &enroll));
}

#[test]
fn the_manual_has_every_setting_and_no_other() {
    let Some(page) = Page::read("yubiotp-config.toml.5") else { return };
    let manual = |section| {
        let heads = page.section(section).heads();
        // `mode = {}`; the modes themselves are heads without a value.
        heads
            .iter()
            .filter_map(|head| head.template().strip_suffix(" = {}").map(str::to_owned))
            .collect::<BTreeSet<_>>()
    };
    let mut code = in_code("");
    assert!(TABLES.into_iter().all(|table| code.remove(table)));
    same(("the code", &in_code("[policy]")), ("yubiotp-config.toml(5)", &manual("Policy")));
    same(("the code", &in_code("[codes]")), ("yubiotp-config.toml(5)", &manual("Codes")));
    let enroll = manual("Enrollment at login");
    same(("the code", &in_code("[enroll]")), ("yubiotp-config.toml(5)", &enroll));
    same(("the code", &code), ("yubiotp-config.toml(5)", &manual("Settings")));
    same(("the code", &in_code("[online]")), ("yubiotp-config.toml(5)", &manual("Validation servers")));
}

/// The defaults, in the manual and in the file.
#[test]
fn defaults_are_told_as_they_are() {
    let Some(page) = Page::read("yubiotp-config.toml.5") else { return };
    let mut told = BTreeMap::new();
    for section in ["Settings", "Codes", "Policy", "Enrollment at login", "Validation servers"] {
        for (head, body) in page.section(section).entries() {
            let (body, head) = (body.text(), head.template());
            // As the last sentence has it: `…. 5 if not given.`
            if let (Some(name), Some((before, _))) =
                (head.strip_suffix(" = {}"), body.split_once(" if not given."))
            {
                let value = before.rsplit_once(". ").map_or(before, |(_, value)| value);
                told.insert(name.to_owned(), value.to_owned());
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, "[online]\nurls = \"https://a\"\nclient_id = 1\n").unwrap();
    let settings = Settings::load(Some(&path), PartialConfig::default()).unwrap();
    let settings = settings.resolve_online().map_err(ykhost::Fault::from).unwrap();
    let online = settings.online().unwrap();
    let quoted = |path: &Path| format!("{:?}", path.display().to_string());
    let code = [
        ("mapping", format!("{:?}", settings.mapping)),
        ("store", quoted(&settings.store)),
        ("store_key", quoted(&settings.store_key)),
        ("prompt", format!("{:?}", settings.prompt)),
        ("echo", settings.echo.to_string()),
        ("tries", settings.tries.to_string()),
        ("lock_wait", settings.lock_wait.as_secs().to_string()),
        ("debug", settings.debug.to_string()),
        ("deadline", (online.deadline.get() / 1000).to_string()),
        ("hedge", online.hedge.to_string()),
        ("plain_http", "false".to_owned()),
        ("accept_replays_while_servers_fail", online.accept_replays_while_servers_fail.to_string()),
        ("ask", quoted(&online.ask)),
        ("local", settings.codes.local.to_string()),
        ("window", settings.codes.usual.seconds.to_string()),
        ("look_ahead", settings.codes.usual.ahead.to_string()),
        ("program", quoted(&settings.enroll.program)),
    ];
    // Without a policy: every user, and PAM_IGNORE for those who pass.
    let policy = yubiotp::policy::Policy::default();
    let nobody = yubiotp::policy::Login { user: b"u", service: b"s", from: RemoteHost::Local, unix: 0 };
    let ruling = policy.ruling(&nobody).unwrap();
    assert_eq!((ruling.need, ruling.on_exempt), (Need::Required, OnExempt::Ignore));
    let policy = [("require", "\"all\"".to_owned()), ("on_exempt", "\"ignore\"".to_owned())];
    let code = code.into_iter().chain(policy);
    let code: BTreeMap<_, _> = code.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    assert_eq!(told, code, "yubiotp-config.toml(5) and the code");
    let [file, of_online, of_codes, of_policy, of_enroll] = in_file();
    for (name, value) in code {
        let tables = [&file, &of_online, &of_codes, &of_policy, &of_enroll];
        let written = tables.iter().find_map(|table| table.get(&name));
        assert_eq!(written, Some(&value), "{name} in the file of ykmap init");
    }
    // A mode depends on what else is given.
    assert_eq!(settings.mode.name(), "online");
    std::fs::write(&path, "").unwrap();
    assert_eq!(Settings::load(Some(&path), PartialConfig::default()).unwrap().mode.name(), "offline");
}

/// Each file that the manual shows is one that a login can use.
#[test]
fn the_examples_are_settings() {
    let Some(page) = Page::read("yubiotp-config.toml.5") else { return };
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        path
    };
    write("client.key", "EHmo8FMxuhumBlTinC4uYL0Mgwg=\n");
    let examples: Vec<_> = page.section("EXAMPLES").displays();
    let examples: Vec<_> = examples.iter().filter(|text| text.contains(" = ")).collect();
    assert_eq!(examples.len(), 4);
    for text in examples {
        let path = write("config.toml", text);
        let settings =
            Settings::load(Some(&path), PartialConfig::default()).map_err(|why| why.to_string()).unwrap();
        settings.resolve_online().map_err(|why| ykhost::Fault::from(why).to_string()).map(drop).unwrap();
    }
}

/// `[self]` has one setting.
#[test]
fn what_users_may_do_themselves() {
    let Some(page) = Page::read("yubiotp-config.toml.5") else { return };
    let entries = page.section("Self-service").entries();
    let [(head, body)] = entries.as_slice() else { panic!("not one setting") };
    assert!(head.template().starts_with("allow = "), "{}", head.template());
    same(("the code", &in_code("[self]")), ("yubiotp-config.toml(5)", &BTreeSet::from(["allow".to_owned()])));
    let usual = "[\"status\", \"test\"]";
    assert!(body.text().contains(&format!("{usual} if not given.")), "{}", body.text());
    let made = crate::text_of("ykmap/src/init.rs").replace("\\\"", "\"");
    assert!(made.contains(&format!("\n# [self]\n# allow = {usual}\n")), "the file of ykmap init");
    let settings = |text: &str| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        Settings::load(Some(&path), PartialConfig::default())
    };
    let own = |text: &str| settings(text).unwrap().own;
    assert_eq!(own(""), own(&format!("[self]\nallow = {usual}\n")));
    // Every value that the page names is one, and there are no others.
    let known = "[self]\nallow = [\"status\", \"test\", \"add\", \"remove\", \"recovery\"]\n";
    assert_eq!(own(known).len(), 5);
    for verb in known.split('"').skip(1).step_by(2) {
        assert!(body.text().contains(&format!("\"{verb}\"")), "{verb}: {}", body.text());
    }
    let why = settings("[self]\nallow = [\"everything\"]\n").err().unwrap().to_string();
    assert!(why.contains("`status`, `test`, `add`, `remove`, `recovery`") || why.contains("allow"), "{why}");
}
