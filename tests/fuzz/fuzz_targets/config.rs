//! `config.toml`, and the arguments in pam.d that override it.
//!
//! Settings are loaded only if the file is TOML and every name in it is one of those that the manual has, and what is
//! loaded is within the bounds that it states. Arguments are taken only if each is one of the names there are, once.
//!
//! Input: arguments on the first line, with tabs between them, and the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::ffi::{CStr, CString};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::LazyLock;
use ykhost::options::{NAMES, Options};
use ykhost::settings::{PartialConfig, Settings};

const TOP: [&str; 11] = [
    "mode",
    "mapping",
    "store",
    "store_key",
    "prompt",
    "echo",
    "tries",
    "token_id_length",
    "lock_wait",
    "debug",
    "online",
];
const ONLINE: [&str; 16] = [
    "urls",
    "client_id",
    "api_key",
    "api_key_file",
    "deadline",
    "hedge",
    "ca",
    "client_cert",
    "client_key",
    "client_key_passphrase_file",
    "proxy",
    "sync_level",
    "timeout",
    "plain_http",
    "accept_replays_while_servers_fail",
    "ask",
];

static CONFIG: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap().keep();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
    folder.join("config.toml")
});

fuzz_target!(|input: &[u8]| {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (line, file) = (&input[..end], input.get(end + 1..).unwrap_or_default());
    let given = arguments(line);
    std::fs::write(&*CONFIG, file).unwrap();
    std::fs::set_permissions(&*CONFIG, std::fs::Permissions::from_mode(0o600)).unwrap();
    settings(file, given.unwrap_or_default());
});

fn arguments(line: &[u8]) -> Option<PartialConfig> {
    let args: Vec<_> =
        line.split(|byte| *byte == b'\t').map(|arg| CString::new(arg).unwrap_or_default()).collect();
    let args: Vec<&CStr> = args.iter().map(CString::as_c_str).collect();
    let options = match Options::read(&args) {
        Ok(options) => options,
        Err(why) => {
            assert!(why.to_string().starts_with("argument "), "{why}");
            return None;
        }
    };
    let known = |arg: &&CStr| {
        let text = arg.to_str().unwrap();
        NAMES.iter().any(|name| if name.ends_with('=') { text.starts_with(name) } else { text == *name })
    };
    assert!(args.iter().all(known), "{args:?}");
    assert_eq!(options.nullok, args.contains(&c"nullok"));
    assert!(options.given.tries.is_none_or(|tries| (1..=10).contains(&tries)));
    Some(options.given)
}

fn settings(file: &[u8], given: PartialConfig) {
    let text = str::from_utf8(file).ok();
    let table = text.and_then(|text| text.parse::<toml::Table>().ok());
    let settings = match Settings::load(Some(&CONFIG), given) {
        Ok(settings) => settings,
        Err(why) => {
            let why = why.to_string();
            assert!(why.starts_with(&*CONFIG.to_string_lossy()), "the file is named: {why}");
            return;
        }
    };
    let table = table.unwrap_or_else(|| panic!("not TOML, and taken"));
    assert!(table.keys().all(|key| TOP.contains(&key.as_str())), "{table:?}");
    let online = table.get("online").and_then(toml::Value::as_table);
    assert!(online.is_none_or(|online| online.keys().all(|key| ONLINE.contains(&key.as_str()))), "{table:?}");
    assert!((1..=10).contains(&settings.tries));
    assert!(settings.token_id_length.is_none_or(|length| length <= 32 && length % 2 == 0));
    assert!(settings.lock_wait.as_secs() <= 255);
    assert!(
        settings.mapping.starts_with('/') && settings.store.is_absolute() && settings.store_key.is_absolute()
    );
    if let Ok(settings) = settings.resolve_online() {
        assert_eq!(settings.online().is_some(), settings.mode.asks_servers());
        if let Some(online) = settings.online() {
            assert!((1..=16).contains(&online.servers.len()));
            assert!(online.hedge.get() <= online.deadline.get() / 2);
            assert!(online.ask.is_absolute());
        }
    }
}
