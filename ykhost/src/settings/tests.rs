//! What is a setting, what is none, and which one counts.

use super::*;
use yubiotp::diagnostic::Calls;

/// Without a folder, for files that no test here names.
fn parse(contents: &[u8]) -> Result<PartialConfig, Bad> {
    super::parse(contents, Path::new("/")).map(|(given, _)| given)
}

/// In the words of the file, and without the value, which may hold a password.
#[test]
fn a_wrong_type_is_named_in_plain_words() {
    for (text, problem) in [
        ("online = \"https://user:hunter2@host/\"", "online must be a table"),
        ("echo = \"hunter2\"", "echo must be true or false"),
        ("mapping = [\"hunter2\"]", "mapping must be text in quotes"),
    ] {
        let found = parse(text.as_bytes()).err().unwrap().found;
        assert_eq!((found.code, found.problem.as_str()), (Code::SettingInvalid, problem), "{text}");
    }
}

#[test]
fn what_is_no_setting_is_named() {
    for (text, line, code, names) in [
        ("mode = \"offline\"\nmodus = 1\n", 2, Code::SettingUnknown, "modus"),
        ("mode = \"on-line\"", 1, Code::SettingInvalid, "online-then-offline"),
        ("tries = 0", 1, Code::SettingInvalid, "tries"),
        ("\ntries = 300", 2, Code::SettingInvalid, "1 to 10"),
        ("lock_wait = 300", 1, Code::SettingInvalid, "0 to 255"),
        ("token_id_length = 13", 1, Code::SettingInvalid, "token_id_length"),
        ("echo = \"yes\"", 1, Code::SettingInvalid, "true or false"),
        ("tries = 3\ntries = 4", 2, Code::SettingsConflict, "tries"),
        ("\u{feff}tries =", 1, Code::SettingInvalid, ""),
        ("= 3", 1, Code::ConfigInvalid, ""),
    ] {
        let bad = parse(text.as_bytes()).err().unwrap();
        assert_eq!((bad.line, bad.found.code), (Some(line), code), "{text}: {bad:?}");
        assert!(bad.found.problem.contains(names), "{text}: {bad:?}");
    }
    let bad = parse(b"\xff").err().unwrap();
    assert_eq!((bad.line, bad.found.code), (None, Code::ConfigInvalid));
}

/// What the parser says does not name the setting, nor what to write.
#[test]
fn mistakes_that_people_make() {
    for (text, line, code, problem, remedy) in [
        ("[policy]\nuntil = 01.03.2027", 2, Code::SettingInvalid, "until must be a date", "2027-03-01"),
        ("[policy]\nuntil = 2027-3-1", 2, Code::SettingInvalid, "until must be a date", "2027-03-01"),
        (
            "[policy]\n[online]\n[policy]\n",
            3,
            Code::SettingsConflict,
            "the table [policy]",
            "below the first",
        ),
        ("[self]\nallow = [\"all\"]", 2, Code::SettingInvalid, "a value in allow", ""),
        ("[polcy]\nrequire = \"all\"", 1, Code::SettingUnknown, "no table [polcy]", "[policy]"),
        ("[servce.sudo]\nrequire = \"all\"", 1, Code::SettingUnknown, "no table [servce]", "[service]"),
        ("[policy]\nrequire = [\"EX\\alice\"]", 2, Code::SettingInvalid, "backslash", "'EXAMPLE\\alice'"),
    ] {
        let bad = parse(text.as_bytes()).err().unwrap();
        assert_eq!((bad.line, bad.found.code), (Some(line), code), "{text}: {bad:?}");
        assert!(bad.found.problem.contains(problem), "{text}: {bad:?}");
        assert!(bad.found.text(Calls::PLAIN).contains(remedy), "{text}: {bad:?}");
    }
}

#[test]
fn arguments_before_file_before_usual() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, "mapping = \"people\"\ntries = 3\nstore = \"/elsewhere\"\n").unwrap();
    std::os::unix::fs::chown(&path, Some(rustix::process::geteuid().as_raw()), None).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let overrides = PartialConfig { tries: Some(2), ..PartialConfig::default() };
    let settings = Settings::load(Some(&path), overrides).unwrap();
    assert_eq!(settings.mapping, folder.path().join("people").to_str().unwrap());
    assert_eq!((settings.tries, settings.store.to_str()), (2, Some("/elsewhere")));
    assert_eq!(settings.store_key, Path::new(STORE_KEY));
    let missing = folder.path().join("missing.toml");
    assert!(Settings::load(Some(&missing), PartialConfig::default()).is_err(), "a named file must be there");
}

#[test]
fn a_link_that_leads_nowhere_is_no_lack_of_settings() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("real")).unwrap();
    std::fs::set_permissions(at("real"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    symlink("real", at("linked")).unwrap();
    symlink("nowhere", at("real/dangling.toml")).unwrap();
    symlink("nowhere", at("lost")).unwrap();
    for (name, absent) in [
        ("real/config.toml", true),
        ("linked/config.toml", true),
        ("missing/config.toml", true),
        ("real/dangling.toml", false),
        ("lost/config.toml", false),
    ] {
        assert_eq!(is_absent(&at(name)), absent, "{name}");
    }
}

/// A settings file in a folder of its own, and what it comes to.
fn load(text: &str, mode: u32) -> Result<LoginSettings, Diagnostic> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    std::fs::write(folder.path().join("client.key"), "EHmo8FMxuhumBlTinC4uYL0Mgwg\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(folder.path().join("client.key"), mode).unwrap();
    let resolved = Settings::load(Some(&path), PartialConfig::default())
        .and_then(|settings| settings.resolve_online().map_err(Fault::from));
    resolved.map_err(|fault| fault.diagnostic())
}

/// Of the warnings.
fn codes(settings: Result<LoginSettings, Diagnostic>) -> Vec<Code> {
    settings.unwrap().warnings.iter().map(|warning| warning.code).collect()
}

const KEY: &str = "api_key = 'EHmo8FMxuhumBlTinC4uYL0Mgwg='\n";

#[test]
fn servers_as_the_settings_name_them() {
    let settings = load(
        "mode = 'online-then-offline'\n[online]\nurls = ['https://a', 'http://b/v?id=%d&otp=%s']\nclient_id = 16\n\
         api_key_file = 'client.key'\ndeadline = 3\nhedge = 100\nca = 'ca.pem'\nsync_level = 50\ntimeout = 2\n",
        0o644,
    )
    .unwrap();
    assert_eq!((settings.mode, settings.warnings.len()), (Mode::OnlineThenOffline, 1));
    let online = settings.online().unwrap();
    assert_eq!(online.servers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["https://a", "http://b"]);
    assert_eq!((online.deadline.get(), online.hedge.get(), online.timeout), (3000, 100, Some(2)));
    assert_eq!(online.sync_level.unwrap().to_string(), "50");
    assert!(online.ca.as_ref().unwrap().is_absolute() && online.key.is_some());
    assert_eq!(online.ask, Path::new(ASK));
    // Who names servers and no mode means them; who says offline, means that.
    let usual = "[online]\nurls = 'https://a'\nclient_id = 1\n";
    assert_eq!(load(usual, 0o644).unwrap().mode, Mode::Online);
    assert!(load(&format!("mode = 'offline'\n{usual}"), 0o644).unwrap().online().is_none());
}

#[test]
fn what_would_be_believed_without_proof_is_refused() {
    let with = |lines: &str| load(&format!("[online]\nclient_id = 1\n{lines}"), 0o600);
    for (lines, good) in [
        ("urls = 'https://a'", true),
        ("urls = 'http://127.0.0.1:80'", true),
        ("urls = 'http://a'", false),
        ("urls = ['https://a', 'http://a']", false),
        ("urls = 'http://127.0.0.1:80'\nproxy = 'http://p:1'", false),
        ("urls = 'http://a'\nplain_http = false", false),
    ] {
        let refused = with(lines).err();
        assert_eq!(refused.is_none(), good, "{lines}: {refused:?}");
        assert!(refused.is_none_or(|why| why.code == Code::UnprovenAnswers), "{lines}");
        // Signed, it is believed; but anyone on the network path reads the OTP, and may hold it back.
        let signed = codes(with(&format!("{lines}\n{KEY}")));
        assert_eq!(signed, if good { vec![] } else { vec![Code::PlainHttp] }, "{lines}");
    }
    assert_eq!(codes(with("urls = 'http://127.0.0.1:8080'")), [Code::UnprivilegedPort]);
    assert_eq!(codes(with("urls = 'http://a'\nplain_http = true")), [Code::UnprovenAnswers]);
}

#[test]
fn an_api_key_that_others_may_read_is_warned_about() {
    let text = format!("[online]\nclient_id = 1\nurls = 'https://a'\n{KEY}");
    assert_eq!(codes(load(&text, 0o600)), []);
    assert_eq!(codes(load(&text, 0o644)), [Code::ClientKeyReadable]);
}

/// In the settings, and in a file of its own.
#[test]
fn an_api_key_may_lack_its_end() {
    let online = "[online]\nclient_id = 1\nurls = 'https://a'\n";
    let key = |line: &str| {
        let settings = load(&format!("{online}{line}"), 0o600).unwrap();
        settings.online().unwrap().key.as_ref().unwrap().expose().to_vec()
    };
    let whole = key(KEY);
    assert_eq!(key("api_key = 'EHmo8FMxuhumBlTinC4uYL0Mgwg'\n"), whole);
    assert_eq!(key("api_key_file = 'client.key'\n"), whole);
}

#[test]
fn what_is_missing_or_too_much_is_named() {
    let (missing, conflict, invalid) = (Code::SettingMissing, Code::SettingsConflict, Code::SettingInvalid);
    let of_file = Code::ClientKeyInvalid;
    for (lines, line, code, names) in [
        ("", None, missing, "urls"),
        ("urls = 'https://a'", None, missing, "client_id"),
        ("urls = 'https://a'\nclient_id = 1\nclient_cert = 'c'", None, conflict, "client_key"),
        ("urls = 'https://a'\nclient_id = 1\nclient_key_passphrase_file = 'c'", None, conflict, "client_key"),
        (
            "urls = 'https://a'\nclient_id = 1\napi_key_file = 'k'\napi_key = 'AAAAAAAAAAAAAAAA'",
            None,
            conflict,
            "api_key",
        ),
        ("urls = 'https://a'\nclient_id = 1\napi_key_file = 'k'", None, Code::FileMissing, ""),
        ("urls = 'https://a'\nclient_id = 1\napi_key_file = 'config.toml'", None, of_file, ""),
        ("urls = []", Some(2), invalid, "1 to 16"),
        ("urls = 'a'", Some(2), invalid, "\"a\""),
        ("urls = 'https://u:hunter2@a'", Some(2), invalid, "user"),
        ("urls = 1", Some(2), invalid, "list of URLs"),
        ("client_id = '1'", Some(2), invalid, "client_id"),
        ("client_id = -1", Some(2), invalid, "client_id"),
        ("api_key = 'x'", Some(2), invalid, "api_key"),
        ("deadline = 0", Some(2), invalid, "1 to 60"),
        ("hedge = 0", Some(2), invalid, "milliseconds"),
        ("sync_level = 101", Some(2), invalid, "0 to 100"),
        ("sync_level = 'slow'", Some(2), invalid, "0 to 100"),
        ("timeout = 0", Some(2), invalid, "timeout"),
        ("proxy = 'ftp://x'", Some(2), invalid, "proxy"),
        ("plan_http = true", Some(2), Code::SettingUnknown, "plan_http"),
    ] {
        let found = load(&format!("[online]\n{lines}"), 0o600).err().unwrap();
        let Some(Location::File { line: at, .. }) = &found.location else { panic!("{found:?}") };
        assert_eq!((*at, found.code), (line, code), "{lines}: {found:?}");
        assert!(found.problem.contains(names), "{lines}: {found:?}");
    }
}

/// The likeliest mistakes: no quotes, a dash, and the wrong side of `[online]`.
#[test]
fn what_was_meant_is_named() {
    let bad = |text: &str| parse(text.as_bytes()).err().unwrap();
    let advice = |bad: &Bad| bad.found.remedies.iter().map(|it| it.text(Calls::PLAIN)).collect::<String>();
    for value in ["c2VjcmV0c2VjcmV0c2VjcmV0=", "c2VjcmV0+/c2VjcmV0==", "16", "# key", ""] {
        let bad = bad(&format!("[online]\napi_key = {value}\n"));
        assert_eq!((bad.line, bad.found.problem.as_str()), (Some(2), online::NO_API_KEY));
    }
    for (text, line, name) in [
        ("mapping = /etc/yubikeys", 1, "mapping"),
        ("mode = online", 1, "mode"),
        ("[online]\nurls = https://a", 2, "urls"),
        ("[online]\nproxy = http://p:1", 2, "proxy"),
    ] {
        let bad = bad(text);
        assert_eq!((bad.line, bad.found.code), (Some(line), Code::SettingInvalid), "{bad:?}");
        assert!(
            bad.found.problem.starts_with(&format!("{name} must be "))
                && bad.found.problem.ends_with("quotes")
        );
    }
    for (text, line, near) in [
        ("[online]\napi-key = 'x'", 2, "api_key"),
        ("[online]\nAPI_KEY = 'x'", 2, "api_key"),
        ("trise = 3", 1, "tries"),
        ("[onlien]\n", 1, "[online]"),
    ] {
        let bad = bad(text);
        assert_eq!((bad.line, bad.found.code), (Some(line), Code::SettingUnknown));
        assert_eq!(advice(&bad), format!("Write {near}"), "{text}");
    }
    let misplaced = |text: String, line, place, table| {
        let bad = bad(&text);
        assert_eq!((bad.line, bad.found.code), (Some(line), Code::SettingMisplaced), "{text}");
        assert_eq!(advice(&bad), format!("Move it {place} the line {table}"));
    };
    let tables: [(&str, &[&str]); 3] =
        [("[online]", &online::NAMES), ("[codes]", &codes::NAMES), ("[policy]", &policy::NAMES)];
    for (table, names) in tables {
        for name in names {
            misplaced(format!("{name} = 'x'"), 1, "below", table);
        }
        for name in TOP.into_iter().filter(|name| !TABLE_NAMES.contains(name)) {
            misplaced(format!("{table}\n{name} = 'x'"), 2, "above", table);
        }
    }
    misplaced("[online]\nlook_ahead = 1".into(), 2, "below", "[codes]");
    misplaced("[codes]\nurls = 'x'".into(), 2, "below", "[online]");
    // The lists are all that the parser knows.
    for (text, names) in
        [("zzz = 1", &TOP[..]), ("[online]\nzzz = 1", &online::NAMES), ("[codes]\nzzz = 1", &codes::NAMES)]
    {
        let why = toml::from_str::<PartialConfig>(text).err().unwrap();
        assert_eq!(why.message().matches('`').count() / 2 - 1, names.len(), "{why}");
        assert!(advice(&bad(text)).ends_with(&names.join(", ")));
    }
}

/// `key=` in pam.d stands for both ways to give one.
#[test]
fn an_argument_stands_before_either_form_of_a_key() {
    let key = |text: &[u8]| yubiotp::protocol::ClientKey::parse(text).ok();
    let given = PartialOnline { api_key: key(b"AAAAAAAAAAAAAAAA"), ..PartialOnline::default() };
    let file =
        PartialOnline { api_key_file: Some("/k".into()), deadline: Some(9), ..PartialOnline::default() };
    let both = given.or(file);
    assert!(both.api_key.is_some() && both.api_key_file.is_none() && both.deadline == Some(9));
}

#[test]
fn a_settings_file_of_each_user() {
    let of = |user: &[u8]| config_of("/home/%u/.yubiotp/%u.toml".into(), user);
    assert_eq!(of(b"alice").unwrap(), Path::new("/home/alice/.yubiotp/alice.toml"));
    for user in [&b""[..], b".", b"..", b"../root", b"a/b", b"al\xffice", b"a\0b"] {
        assert!(matches!(of(user), Err(Fault::UserInPath { .. })), "{user:?}");
    }
    assert_eq!(config_of("/etc/x".into(), b"..").unwrap(), Path::new("/etc/x"));
}

/// What stands in place of a secret, and whether any of it is in a text.
const SECRET_FORMS: [&str; 24] = [
    "73501928",
    "-73501928",
    "7350192.8",
    "73501928e2",
    "0x73501928",
    "073501928",
    "99999999973501928999",
    "true",
    "[73501928]",
    "['user:73501928@x']",
    "[['73501928']]",
    "{ a = 73501928 }",
    "{ 'k73501928' = 'v' }",
    "7350-19-28",
    "1973-05-01T07:35:01.928Z",
    "07:35:01.928",
    "EHmo73501928MxuhumBlTinC4uYL0Mgwg=",
    "hunter73501928",
    "'73501928",
    "\"73501928",
    "\"73501928\\q\"",
    "\x27\x27\x2773501928",
    "'73501928' '73501928'",
    "'user:73501928@'",
];

/// The digits of these are in no other text here.
fn tells_secret(text: &str) -> bool {
    ["73501928", "7350192", "07:35:01", "7350-19", "1973-05-01", "735019280"]
        .iter()
        .any(|part| text.contains(part))
}

#[test]
fn no_secret_of_the_settings_is_quoted_in_an_error() {
    for setting in ["api_key", "proxy", "urls", "api_key_file", "client_key_passphrase_file", "api_key.x"] {
        for form in SECRET_FORMS {
            // As a path, text is shown: that a file is missing cannot be told otherwise.
            let is_path = setting.ends_with("_file") && form.starts_with('\'');
            let text = format!("[online]\nclient_id = 1\nurls = 'https://a'\n{setting} = {form}\n");
            let text = if setting == "urls" { text.replacen("urls = 'https://a'\n", "", 1) } else { text };
            for text in [text.clone(), text.replace("\n", "\r\n")] {
                let error = load(&text, 0o600).err().map(|found| found.to_string()).unwrap_or_default();
                assert!(!error.is_empty() || form.starts_with('\''), "{text}");
                assert!(is_path || !tells_secret(&error), "{text}: {error}");
            }
        }
    }
    // A value where a table or a value of another type should be.
    for name in ["online", "echo", "debug", "store", "prompt"] {
        for form in ["'user:73501928@'", "73501928"] {
            let text = format!("{name} = {form}\n");
            let Err(error) = load(&text, 0o600) else { continue };
            assert!(!tells_secret(&error.to_string()), "{text}: {error}");
        }
    }
    // The key itself, where the path of its file should be.
    let error = load(
        "[online]\nurls = 'https://a'\nclient_id = 1\napi_key_file = 'EHmo8FMxuhumBlTinC4uYL0Mgwg='",
        0o600,
    );
    let error = error.err().unwrap();
    assert!(matches!(error.location, Some(Location::File { line: Some(4), .. })), "{error:?}");
    assert!(error.code == Code::SettingInvalid && !error.to_string().contains("EHmo"), "{error}");
}
