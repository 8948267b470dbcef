//! The servers of pam_yubico's lines, as `[online]` of config.toml and a file with the key.

use super::old::Servers;
use super::stacks::at;
use crate::system::{FileChange, current};
use crate::{Context, Failure};
use std::ffi::CString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use ykhost::file::{self, Audience, FileFault};
use ykhost::options::Options;
use ykhost::settings::{Mode, Settings};
use yubiotp::diagnostic::{Code, Diagnostic};
use yubiotp::protocol::ClientKey;
use zeroize::Zeroizing;

/// The name of the file with the key, beside config.toml.
const KEY_FILE: &str = "pam_yubico.key";

/// What changes, so that this host asks the servers that the other module asked.
pub(super) struct Change {
    pub(super) file: FileChange,
    /// A new file of mode 0600, and the key in it.
    pub(super) key: Option<(PathBuf, Zeroizing<String>)>,
}

/// The change for these servers; `None` if config.toml asks them already.
///
/// # Errors
/// The servers cannot be used, or config.toml says something else: the finding says what to do.
pub(super) fn change(
    context: &Context,
    settings: &Settings,
    servers: &Servers,
    ours: &[String],
) -> Result<Option<Change>, Failure> {
    let as_args = |servers: &Servers| -> Vec<CString> {
        servers.iter().filter_map(|(name, value)| CString::new(format!("{name}={value}")).ok()).collect()
    };
    let args = as_args(servers);
    let options = Options::read(&args.iter().map(CString::as_c_str).collect::<Vec<_>>());
    let mut given = options.map_err(|bad| bad.diagnostic())?.given;
    // The same check as at a login.
    given.mode = Some(Mode::Online);
    let wanted =
        Settings::load(context.config.as_deref(), given)?.resolve_online().map_err(ykhost::Fault::from)?;
    let Some(wanted) = wanted.online() else { return Ok(None) };
    let is = context.login_settings();
    let path = &settings.config;
    let conflict = |problem: String| {
        Failure::from(Diagnostic::error(Code::SettingsConflict, problem).at(at(path)).advise(
            "set mode and [online] in config.toml as you want them, and run the command with --keep-config",
        ))
    };
    match is.as_ref().map(|settings| settings.online()) {
        Ok(Some(online)) => {
            let same_key = match (&online.key, &wanted.key) {
                (Some(one), Some(other)) => one.expose() == other.expose(),
                (one, other) => one.is_none() && other.is_none(),
            };
            if same_key && online.servers == wanted.servers && online.client_id == wanted.client_id {
                return Ok(None);
            }
            return Err(conflict(
                "asks other validation servers than the lines, or as another client".to_owned(),
            ));
        }
        Ok(None) if ours.is_empty() => {}
        Ok(None) => {
            let names = ours.join(", ");
            return Err(conflict(format!(
                "has no validation servers, and services use it already ({names})"
            )));
        }
        Err(_) if settings.mode.asks_servers() => {
            return Err(conflict("has an [online] that cannot be used".to_owned()));
        }
        Err(_) => return Err(context.login_settings().err().unwrap_or(Failure::Bad)),
    }
    let key = servers.get("key").map(|key| key_file(path, key)).transpose()?;
    let before = current(path)?;
    let text = String::from_utf8_lossy(before.as_deref().unwrap_or_default()).into_owned();
    let after = with_online(&text, servers, key.as_ref().map(|(path, ..)| path.as_path()))
        .ok_or_else(|| conflict("has an [online] or a mode that this command does not change".to_owned()))?;
    let key = key.and_then(|(path, text, is_new)| is_new.then_some((path, text)));
    Ok(Some(Change { file: FileChange { path: path.clone(), before, after: Some(after.into_bytes()) }, key }))
}

/// The file for a key, its text, and whether it is new.
fn key_file(config: &Path, key: &str) -> Result<(PathBuf, Zeroizing<String>, bool), Failure> {
    let path = config.parent().unwrap_or(Path::new("/")).join(KEY_FILE);
    let text = Zeroizing::new(format!("{key}\n"));
    match file::read(&path, 1024, Audience::Owner).map(Zeroizing::new) {
        Err(FileFault::Missing(_)) => Ok((path, text, true)),
        Err(fault) => Err(fault.into()),
        Ok(there) => {
            let is_same = ClientKey::parse(&there).is_ok_and(|one| {
                ClientKey::parse(key.as_bytes()).is_ok_and(|other| one.expose() == other.expose())
            });
            if is_same {
                return Ok((path, text, false));
            }
            let found = Diagnostic::error(Code::FileExists, "exists, and holds another key than the line");
            Err(found.at(at(&path)).advise("rename it").into())
        }
    }
}

/// The text with these servers, and nothing else changed. `None` if it has `[online]` already, or sets another mode in a
/// way that is not understood.
fn with_online(text: &str, servers: &Servers, key_file: Option<&Path>) -> Option<String> {
    let table: toml::Table = toml::from_str(text).ok()?;
    if table.contains_key("online") {
        return None;
    }
    let mut lines: Vec<String> = text.split_inclusive('\n').map(ToOwned::to_owned).collect();
    if let Some(mode) = table.get("mode") {
        let is_mode = |line: &&mut String| {
            line.trim_start().strip_prefix("mode").is_some_and(|rest| rest.trim_start().starts_with('='))
        };
        let quoted = format!("\"{}\"", mode.as_str()?);
        let line = lines.iter_mut().find(is_mode).filter(|line| line.contains(&quoted))?;
        *line = line.replacen(&quoted, "\"online\"", 1);
    }
    let mut after = lines.concat();
    if !after.is_empty() && !after.ends_with('\n') {
        after.push('\n');
    }
    // Every string of JSON is one of TOML.
    let quoted = |value: &str| serde_json::Value::from(value).to_string();
    let urls: Vec<_> =
        servers.get("urllist")?.split(';').map(str::trim).filter(|url| !url.is_empty()).map(quoted).collect();
    let _ = write!(
        after,
        "\n# From the lines of pam_yubico, by ykmap migrate.\n[online]\nurls = [{}]\n",
        urls.join(", ")
    );
    if let Some(id) = servers.get("id") {
        let _ = writeln!(after, "client_id = {id}");
    }
    if let Some(path) = key_file.and_then(Path::file_name).and_then(|name| name.to_str()) {
        let _ = writeln!(after, "api_key_file = {}", quoted(path));
    }
    for (name, setting) in [("capath", "ca"), ("proxy", "proxy")] {
        if let Some(value) = servers.get(name) {
            let _ = writeln!(after, "{setting} = {}", quoted(value));
        }
    }
    let is_valid: toml::Table = toml::from_str(&after).ok()?;
    (is_valid.contains_key("online")).then_some(after)
}

/// A finding that says which servers will be asked.
pub(super) fn names_servers(servers: &Servers, path: &Path) -> Diagnostic {
    let urls = servers.get("urllist").map_or("", String::as_str);
    let cloud = if urls.contains(".yubico.com/") { ", which is YubiCloud, Yubico's servers" } else { "" };
    Diagnostic::note(
        Code::NotMoved,
        format!("each OTP goes to {}{cloud}, as before", yubiotp::shown::text(urls)),
    )
    .at(at(path))
    .run_when(
        "to decide on this host instead, import the keys",
        yubiotp::diagnostic::Program::Ykmap,
        "key import FILE",
    )
    .advise("and set mode = \"offline\" in config.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(pairs: &[(&'static str, &str)]) -> Servers {
        pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
    }

    #[test]
    fn online_is_added_and_nothing_else_changes() {
        let all = servers(&[
            ("id", "16"),
            ("urllist", "https://a/x;https://b"),
            ("capath", "/etc/ssl"),
            ("proxy", "http://p:1"),
        ]);
        let key = Some(Path::new("/etc/yubiotp/pam_yubico.key"));
        let online = "\n# From the lines of pam_yubico, by ykmap migrate.\n[online]\nurls = [\"https://a/x\", \"https://b\"]\nclient_id = 16\napi_key_file = \"pam_yubico.key\"\nca = \"/etc/ssl\"\nproxy = \"http://p:1\"\n";
        for (before, after) in [
            ("", ""),
            ("# c\n[policy]\nrequire = \"all\"", "# c\n[policy]\nrequire = \"all\"\n"),
            ("mode = \"offline\"   # who\nx = 1\n", "mode = \"online\"   # who\nx = 1\n"),
        ] {
            assert_eq!(with_online(before, &all, key), Some(format!("{after}{online}")), "{before:?}");
        }
        for text in ["[online]\nurls = []\n", "mode = 'offline'\n", "not toml"] {
            assert_eq!(with_online(text, &all, None), None, "{text:?}");
        }
    }
}
