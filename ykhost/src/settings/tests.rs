//! What is a setting, what is none, and which one counts.

use super::*;

#[test]
fn what_is_no_setting_is_named() {
    for (text, why) in [
        ("mode = \"offline\"\nmodus = 1\n", "line 2: unknown field `modus`"),
        ("mode = \"on-line\"", "line 1: unknown mode \"on-line\": there are offline, online, "),
        ("tries = 0", "line 1: tries is a number from 1 to 10"),
        ("\ntries = 300", "line 2: tries is a number from 1 to 10"),
        ("lock_wait = 300", "line 1: lock_wait is a number of seconds from 0 to 255"),
        ("token_id_length = 13", "line 1: token_id_length is an even number"),
        ("echo = \"yes\"", "line 1: invalid type: string \"yes\", expected a boolean"),
        ("tries = 3\ntries = 4", "line 2: duplicate key"),
        ("\u{feff}tries =", "line 1: "),
    ] {
        let error = parse(text.as_bytes()).err().unwrap();
        assert!(error.starts_with(why), "{text}: {error}");
    }
    assert!(parse(b"\xff").is_err());
}

#[test]
fn arguments_before_file_before_usual() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, "mapping = \"people\"\ntries = 3\nstore = \"/elsewhere\"\n").unwrap();
    std::os::unix::fs::chown(&path, Some(rustix::process::geteuid().as_raw()), None).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let overrides = Given { tries: Some(2), ..Given::default() };
    let settings = Settings::load(Some(&path), overrides).unwrap();
    assert_eq!(settings.mapping, folder.path().join("people").to_str().unwrap());
    assert_eq!((settings.tries, settings.store.to_str()), (2, Some("/elsewhere")));
    assert_eq!(settings.store_key, Path::new(STORE_KEY));
    let missing = folder.path().join("missing.toml");
    assert!(Settings::load(Some(&missing), Given::default()).is_err(), "a named file must be there");
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
fn load(text: &str, mode: u32) -> Result<Settings, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    std::fs::write(folder.path().join("client.key"), "EHmo8FMxuhumBlTinC4uYL0Mgwg\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(folder.path().join("client.key"), mode).unwrap();
    let prepared = Settings::load(Some(&path), Given::default()).and_then(|mut settings| {
        settings.prepare()?;
        Ok(settings)
    });
    prepared.map_err(|fault| fault.to_string())
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
        assert!(refused.is_none_or(|why| why.contains("unsigned and unencrypted")), "{lines}");
        // Signed, it is believed; but whoever is on the way reads the OTP, and may hold it back.
        let signed = with(&format!("{lines}\n{KEY}")).unwrap().warnings;
        let expected: &[&str] = if good { &[] } else { &["hold it back and use it: use an https URL"] };
        assert!(
            signed.len() == expected.len() && expected.iter().all(|words| signed.concat().ends_with(words)),
            "{lines}: {signed:?}"
        );
    }
    let port = with("urls = 'http://127.0.0.1:8080'").unwrap().warnings;
    assert!(port.concat().contains("whoever on this host takes that port"), "{port:?}");
    let warned = with("urls = 'http://a'\nplain_http = true").unwrap().warnings;
    assert!(warned.concat().contains("http://a is asked over plain http and without api_key"), "{warned:?}");
}

#[test]
fn an_api_key_that_others_may_read_is_warned_about() {
    let text = format!("[online]\nclient_id = 1\nurls = 'https://a'\n{KEY}");
    assert_eq!(load(&text, 0o600).unwrap().warnings.len(), 0);
    let warned = load(&text, 0o644).unwrap().warnings;
    assert!(warned.concat().contains("api_key_file"), "{warned:?}");
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
    for (lines, why) in [
        ("", "mode \"online\" needs urls (in pam.d: urllist=)"),
        ("urls = 'https://a'", "mode \"online\" needs client_id (in pam.d: id=)"),
        ("urls = 'https://a'\nclient_id = 1\nclient_cert = 'c'", "give client_cert and client_key both"),
        ("urls = 'https://a'\nclient_id = 1\nclient_key_passphrase_file = 'c'", "is for a client_key"),
        ("urls = 'https://a'\nclient_id = 1\napi_key_file = 'k'\napi_key = 'AAAAAAAAAAAAAAAA'", "not both"),
        ("urls = 'https://a'\nclient_id = 1\napi_key_file = 'k'", "k: does not exist"),
        ("urls = 'https://a'\nclient_id = 1\napi_key_file = 'config.toml'", "is not base64"),
        ("urls = []", "line 2: urls are 1 to 16 URLs"),
        ("urls = 'a'", "line 2: URL \"a\" begins with neither"),
        ("urls = 'https://u:hunter2@a'", "line 2: a URL has a user before the host"),
        ("urls = 1", "expected a URL or a list of URLs"),
        ("client_id = '1'", "line 2: client_id is a number of 1 to 10 digits"),
        ("client_id = -1", "line 2: client_id is a number of 1 to 10 digits"),
        ("api_key = 'x'", "line 2: api_key is not base64"),
        ("deadline = 0", "line 2: deadline is a number of seconds from 1 to 60"),
        ("hedge = 0", "line 2: hedge is a number of milliseconds"),
        ("sync_level = 101", "line 2: sync_level is a number from 0 to 100"),
        ("sync_level = 'slow'", "line 2: sync_level is a number from 0 to 100"),
        ("timeout = 0", "line 2: timeout is a number of seconds"),
        ("proxy = 'ftp://x'", "line 2: proxy is the URL of a proxy"),
        ("plan_http = true", "line 2: unknown field `plan_http`"),
    ] {
        let error = load(&format!("[online]\n{lines}"), 0o600).err().unwrap();
        assert!(error.contains(why), "{lines}: {error}");
    }
}

/// The likeliest mistakes: no quotes, a dash, and the wrong side of `[online]`.
#[test]
fn what_was_meant_is_named() {
    let why = |text: &str| parse(text.as_bytes()).err().unwrap();
    let key = "api_key is text in quotes: the key in base64, as the validation server gave it out";
    for value in ["c2VjcmV0c2VjcmV0c2VjcmV0=", "c2VjcmV0+/c2VjcmV0==", "16", "# key", ""] {
        assert_eq!(why(&format!("[online]\napi_key = {value}\n")), format!("line 2: {key}"));
    }
    for (text, expected) in [
        ("mapping = /etc/yubikeys", "line 1: mapping is the path of a file, in quotes"),
        ("mode = online", "line 1: mode is text in quotes"),
        ("[online]\nurls = https://a", "line 2: urls: expected a URL or a list of URLs, in quotes"),
        ("[online]\nproxy = http://p:1", "line 2: proxy is the URL of a proxy: http"),
        ("[online]\napi-key = 'x'", "line 2: unknown field `api-key` (did you mean api_key?)"),
        ("[online]\nAPI_KEY = 'x'", "line 2: unknown field `API_KEY` (did you mean api_key?)"),
        ("trise = 3", "line 1: unknown field `trise` (did you mean tries?)"),
        ("[onlien]\n", "line 1: unknown field `onlien` (did you mean online?)"),
    ] {
        let error = why(text);
        assert!(error.starts_with(expected), "{text}: {error}");
    }
    for name in online::NAMES {
        assert_eq!(why(&format!("{name} = 'x'")), format!("line 1: {name} belongs below the line [online]"));
    }
    for name in TOP.into_iter().filter(|name| *name != "online") {
        let error = why(&format!("[online]\n{name} = 'x'"));
        assert_eq!(error, format!("line 2: {name} belongs above the line [online]"));
    }
    // The two lists are all that the parser knows.
    for (text, names) in [("zzz = 1", &TOP[..]), ("[online]\nzzz = 1", &online::NAMES)] {
        let listed = why(text).matches('`').count() / 2 - 1;
        assert_eq!(listed, names.len(), "{}", why(text));
    }
}

/// `key=` in pam.d stands for both ways to give one.
#[test]
fn an_argument_stands_before_either_form_of_a_key() {
    let key = |text: &[u8]| yubiotp::protocol::ClientKey::parse(text).ok();
    let given = GivenOnline { api_key: key(b"AAAAAAAAAAAAAAAA"), ..GivenOnline::default() };
    let file = GivenOnline { api_key_file: Some("/k".into()), deadline: Some(9), ..GivenOnline::default() };
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
                let error = load(&text, 0o600).err().unwrap_or_default();
                assert!(!error.is_empty() || form.starts_with('\''), "{text}");
                assert!(is_path || !tells_secret(&error), "{text}: {error}");
            }
        }
    }
    // The key itself, where the path of its file should be.
    let error = load(
        "[online]\nurls = 'https://a'\nclient_id = 1\napi_key_file = 'EHmo8FMxuhumBlTinC4uYL0Mgwg='",
        0o600,
    );
    let error = error.err().unwrap();
    assert!(error.contains("line 4: api_key_file is the path") && !error.contains("EHmo"), "{error}");
}
