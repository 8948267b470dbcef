//! The arguments of the module in pam.d. One that is not understood denies: a misspelt one must not be lost.

use crate::settings::{
    Given, GivenOnline, check_client_id, check_token_id_length, check_tries, parse_mode, parse_proxy,
    parse_urls,
};
use std::ffi::CStr;
use std::fmt::Write;
use std::path::PathBuf;
use yubiotp::protocol::ClientKey;
use yubiotp::shown;

/// What is done with a password that a module before this one asked for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum FirstPass {
    /// Nothing.
    #[default]
    Never,
    /// `try_first_pass`: it may hold an OTP; if not, the user is asked.
    Try,
    /// `use_first_pass`: it must hold an OTP; the user is never asked.
    Use,
}

/// The arguments of one line in pam.d.
#[derive(Default)]
pub struct Options {
    /// `config=`; `%u` stands for the user, see [`crate::settings::config_of`]
    pub config: Option<PathBuf>,
    /// Settings that stand before those of the file.
    pub given: Given,
    /// `nullok`
    pub nullok: bool,
    /// `try_first_pass`, `use_first_pass`
    pub first_pass: FirstPass,
    /// `always_prompt`
    pub always_prompt: bool,
}

/// Every argument that is understood, with the names that pam_yubico has for some.
pub const NAMES: [&str; 23] = [
    "config=",
    "mapping=",
    "authfile=",
    "mode=",
    "store=",
    "nullok",
    "try_first_pass",
    "use_first_pass",
    "always_prompt",
    "prompt=",
    "echo",
    "verbose_otp",
    "tries=",
    "token_id_length=",
    "debug",
    "id=",
    "key=",
    "url=",
    "urllist=",
    "capath=",
    "cainfo=",
    "proxy=",
    "ask=",
];

impl Options {
    /// Reads the arguments.
    ///
    /// # Errors
    /// Names every argument that is unknown, has a wrong value, or is given twice.
    pub fn read(args: &[&CStr]) -> Result<Self, String> {
        let mut options = Self::default();
        let (mut wrong, mut any_unknown) = (Vec::new(), false);
        for (at, arg) in args.iter().enumerate() {
            let name = || Self::shown(arg, at.saturating_add(1));
            let Ok(arg) = arg.to_str() else {
                wrong.push(format!("{} is not UTF-8", name()));
                continue;
            };
            if let Err(why) = options.take(arg) {
                any_unknown |= why == UNKNOWN;
                wrong.push(format!("{}: {why}", name()));
            }
        }
        if wrong.is_empty() {
            return Ok(options);
        }
        let mut wrong = wrong.join("; ");
        if any_unknown {
            let known = NAMES.join(" ");
            let _ = write!(wrong, "; known are {known} (quote blanks: [prompt=two words])");
        }
        Err(wrong)
    }

    /// How an error names an argument: as it is, or without what may be a secret; `number` is its place on the line.
    fn shown(arg: &CStr, number: usize) -> String {
        let text = arg.to_string_lossy();
        match without_secret(&text) {
            Some(whole) if whole == text => format!("argument {}", shown::quoted(arg.to_bytes())),
            Some(name) => format!("argument {}", shown::quoted(name)),
            None => format!("argument {number} (not shown, as it may be a secret)"),
        }
    }

    fn take(&mut self, arg: &str) -> Result<(), String> {
        let given = &mut self.given;
        match arg.split_once('=').map_or((arg, None), |(name, value)| (name, Some(value))) {
            ("config", Some(path)) => once(&mut self.config, absolute(path)?),
            ("mapping" | "authfile", Some(path)) => {
                absolute(path)?;
                once(&mut given.mapping, path.to_owned())
            }
            ("mode", Some(mode)) => once(&mut given.mode, parse_mode(mode)?),
            ("store", Some(path)) => once(&mut given.store, absolute(path)?),
            ("prompt", Some(prompt)) => once(&mut given.prompt, prompt.to_owned()),
            ("tries", Some(tries)) => once(&mut given.tries, check_tries(number(tries))?),
            ("token_id_length", Some(length)) => {
                once(&mut given.token_id_length, check_token_id_length(number(length))?)
            }
            ("echo" | "verbose_otp", None) => once(&mut given.echo, true),
            ("debug", None) => once(&mut given.debug, true),
            ("nullok", None) => set(&mut self.nullok),
            ("always_prompt", None) => set(&mut self.always_prompt),
            ("try_first_pass", None) => self.first_pass(FirstPass::Try),
            ("use_first_pass", None) => self.first_pass(FirstPass::Use),
            (name, Some(value)) if NAMES.iter().any(|known| known.strip_suffix('=') == Some(name)) => {
                online(given.online.get_or_insert_default(), name, value)
            }
            (name, _) => Err(unknown(name)),
        }
    }

    /// What these arguments do that is unwise, for the log.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        let key = self.given.online.as_ref().is_some_and(|online| online.api_key.is_some());
        key.then(|| "key= in pam.d can be read by everybody on this host: move the key to a file that only root can read, and name that file as api_key_file in [online] of config.toml".to_owned())
            .into_iter()
    }

    fn first_pass(&mut self, wanted: FirstPass) -> Result<(), String> {
        if self.first_pass != FirstPass::Never {
            return Err("try_first_pass and use_first_pass: give one of them, once".to_owned());
        }
        self.first_pass = wanted;
        Ok(())
    }
}

/// The arguments about validation servers, under pam_yubico's names.
fn online(given: &mut GivenOnline, name: &str, value: &str) -> Result<(), String> {
    match name {
        "id" => once(&mut given.client_id, check_client_id(number(value))?),
        "key" => once(&mut given.api_key, ClientKey::parse(value.as_bytes()).map_err(|why| why.to_string())?),
        "url" | "urllist" => once(&mut given.urls, parse_urls(value)?),
        "capath" | "cainfo" => once(&mut given.ca, absolute(value)?).map_err(|_| {
            "cainfo= and capath= both say whom to trust: give one, a file or a folder".to_owned()
        }),
        "proxy" => once(&mut given.proxy, parse_proxy(value)?),
        "ask" => once(&mut given.ask, absolute(value)?),
        other => Err(unknown(other)),
    }
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), String> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err("given twice".to_owned()),
    }
}

/// What an error may show of an argument: of those that hold secrets, or may be misspelt ones that do, the name. `None`
/// if even the name may be a secret.
fn without_secret(arg: &str) -> Option<&str> {
    match arg.split_once('=') {
        Some((name @ ("key" | "proxy" | "url" | "urllist"), _)) => Some(name),
        Some((name, _)) if NAMES.iter().any(|known| known.trim_end_matches('=') == name) => Some(arg),
        other => {
            let name = other.map_or(arg, |(name, _)| name);
            // A key or a URL that stands there by itself, after a blank or without its =, is no name.
            let is_name = |c: char| {
                c.is_ascii_alphanumeric() || matches!(c, '_' | '-') || !c.is_ascii() || c.is_control()
            };
            (name.chars().count() < 20 && name.chars().all(is_name)).then_some(name)
        }
    }
}

fn set(flag: &mut bool) -> Result<(), String> {
    if std::mem::replace(flag, true) { Err("given twice".to_owned()) } else { Ok(()) }
}

fn absolute(path: &str) -> Result<PathBuf, String> {
    if path.starts_with('/') {
        Ok(path.into())
    } else {
        Err("give an absolute path, beginning with /".to_owned())
    }
}

/// What is no number is none that any setting takes.
fn number(text: &str) -> i64 {
    text.parse().unwrap_or(i64::MAX)
}

/// What to say of an argument that nothing reads: how it is spelt right, if that can be told.
fn unknown(name: &str) -> String {
    if let Some(near) = NAMES.iter().find(|known| known.trim_end_matches('=') == name) {
        let rule = if near.ends_with('=') { "takes a value" } else { "takes no value" };
        return format!("{name} {rule}: write {near}");
    }
    if let Some(instead) = of_pam_yubico(name) {
        return instead.to_owned();
    }
    let lowercase = name.to_ascii_lowercase();
    let misspelt =
        if NAMES.iter().any(|known| known.trim_end_matches('=') == lowercase) { &lowercase } else { name };
    if let Some(near) = nearest(misspelt, NAMES) {
        return format!("unknown (did you mean {near}?)");
    }
    UNKNOWN.to_owned()
}

/// Of an argument that is near to no other; the names that are known follow once, after all arguments.
const UNKNOWN: &str = "unknown";

/// What to do about an argument that pam_yubico has and this module has not.
fn of_pam_yubico(name: &str) -> Option<&'static str> {
    Some(match name {
        "alwaysok" => "there is no alwaysok: it would let everybody in",
        "debug_file" => {
            "debug of this module goes to the system log (journalctl): write debug, without a file"
        }
        "chalresp_path" => {
            "there is no challenge-response: program a slot with Yubico OTP (ykmap key new), and take chalresp_path and mode=challenge-response out"
        }
        "ldap_uri"
        | "ldap_server"
        | "ldapserver"
        | "ldapdn"
        | "ldap_dn"
        | "ldap_filter"
        | "ldap_bind_user"
        | "ldap_bind_password"
        | "ldap_bind_no_anonymous"
        | "ldap_cacertfile"
        | "ldap_clientcertfile"
        | "ldap_clientkeyfile"
        | "ldap_starttls"
        | "user_attr"
        | "yubi_attr"
        | "yubi_attr_prefix" => {
            "no directory is asked: export USER:ID lines from it into the file that mapping= names, and take the arguments of LDAP out"
        }
        "mysql_server" | "mysql_port" | "mysql_user" | "mysql_password" | "mysql_database" => {
            "no database is asked: export USER:ID lines from it into the file that mapping= names, and take the arguments of MySQL out"
        }
        _ => return None,
    })
}

/// Which of these names is meant by one that is misspelt: the nearest, if no more than two letters are wrong, and not
/// half of them. What stands behind a name's `=` has no part in it.
#[must_use]
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |name: &str| distance(word.as_bytes(), name.trim_end_matches('=').as_bytes());
    let close = |(wrong, name): &(usize, &str)| *wrong <= 2 && wrong.saturating_mul(2) < name.len();
    names
        .into_iter()
        .map(|name| (near(name), name))
        .filter(close)
        .min_by_key(|(wrong, _)| *wrong)
        .map(|(_, name)| name)
}

/// How many letters must be added, taken out or replaced to make one of the other.
fn distance(one: &[u8], other: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (done, letter) in one.iter().enumerate() {
        let mut left = done.saturating_add(1);
        let mut next = vec![left];
        for ((kept, above), own) in row.iter().zip(row.iter().skip(1)).zip(other) {
            let kept = kept.saturating_add(usize::from(letter != own));
            left = kept.min(above.saturating_add(1)).min(left.saturating_add(1));
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Mode;
    use std::ffi::CString;
    use std::path::Path;

    fn read(args: &[&str]) -> Result<Options, String> {
        let owned: Vec<_> = args.iter().map(|arg| CString::new(*arg).unwrap()).collect();
        Options::read(&owned.iter().map(CString::as_c_str).collect::<Vec<_>>())
    }

    #[test]
    fn every_argument_by_its_names() {
        let options = read(&[
            "config=/c",
            "authfile=/m/%u",
            "mode=offline",
            "store=/s",
            "nullok",
            "try_first_pass",
            "always_prompt",
            "prompt=Press: ",
            "verbose_otp",
            "tries=3",
            "token_id_length=12",
            "debug",
        ])
        .unwrap();
        assert_eq!(options.config.as_deref(), Some(Path::new("/c")));
        assert_eq!((options.nullok, options.always_prompt, options.first_pass), (true, true, FirstPass::Try));
        let given = options.given;
        assert_eq!((given.mode, given.mapping.as_deref()), (Some(Mode::Offline), Some("/m/%u")));
        assert_eq!(
            (given.store.as_deref(), given.prompt.as_deref()),
            (Some(Path::new("/s")), Some("Press: "))
        );
        assert_eq!((given.echo, given.tries, given.token_id_length), (Some(true), Some(3), Some(12)));
        assert_eq!((given.debug, given.lock_wait, given.online.is_some()), (Some(true), None, false));
        assert_eq!(read(&["mapping=/x", "echo"]).unwrap().given.mapping.as_deref(), Some("/x"));
        assert_eq!(read(&["use_first_pass"]).unwrap().first_pass, FirstPass::Use);
    }

    /// A line as it stands in pam.d of those who come from pam_yubico.
    #[test]
    fn pam_yubicos_arguments() {
        let options = read(&[
            "id=16",
            "key=EHmo8FMxuhumBlTinC4uYL0Mgwg=",
            "urllist=https://a/wsapi/2.0/verify;https://b",
            "capath=/etc/ssl/certs",
            "proxy=http://p:3128",
            "ask=/libexec/ask",
            "authfile=/etc/yubikeys",
            "mode=client",
        ])
        .unwrap();
        assert_eq!(options.warnings().count(), 1, "of key=");
        assert_eq!(options.given.mode, Some(Mode::Online));
        let online = options.given.online.unwrap();
        assert_eq!(online.client_id.unwrap().to_string(), "16");
        let servers: Vec<_> = online.urls.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["https://a", "https://b"]);
        assert_eq!(online.ca.as_deref(), Some(Path::new("/etc/ssl/certs")));
        assert!(online.api_key.is_some() && online.proxy.is_some() && online.ask.is_some());
        let template = read(&["url=http://127.0.0.1/wsapi/2.0/verify?id=%d&otp=%s"]).unwrap();
        assert_eq!((template.given.online.unwrap().urls.unwrap().len(), template.given.mode), (1, None));
    }

    /// Every argument of pam_yubico's manual, and of its later versions', is taken, or says what to do in its place.
    #[test]
    fn no_argument_of_pam_yubico_is_unknown() {
        let taken = [
            "debug",
            "mode=client",
            "authfile=/x",
            "id=1",
            "key=EHmo8FMxuhumBlTinC4uYL0Mgwg=",
            "try_first_pass",
            "use_first_pass",
            "nullok",
            "urllist=https://a",
            "url=https://a",
            "capath=/x",
            "cainfo=/x",
            "proxy=http://p:1",
            "verbose_otp",
            "token_id_length=12",
        ];
        for arg in taken {
            assert!(read(&[arg]).is_ok(), "{arg}");
        }
        for (arg, instead) in [
            ("alwaysok", "let everybody in"),
            ("debug_file=/x", "write debug"),
            ("debug_file=stdout", "write debug"),
            ("chalresp_path=/x", "ykmap key new"),
            ("ldap_uri=ldap://x", "mapping="),
            ("ldap_server=x", "mapping="),
            ("ldapserver=x", "mapping="),
            ("ldapdn=x", "mapping="),
            ("user_attr=x", "mapping="),
            ("yubi_attr=x", "mapping="),
            ("yubi_attr_prefix=x", "mapping="),
            ("ldap_bind_user=x", "mapping="),
            ("ldap_bind_password=hunter2", "mapping="),
            ("ldap_filter=(uid=%u)", "mapping="),
            ("ldap_cacertfile=/x", "mapping="),
            ("ldap_clientcertfile=/x", "mapping="),
            ("ldap_clientkeyfile=/x", "mapping="),
            ("ldap_starttls", "mapping="),
            ("mysql_server=x", "mapping="),
            ("mysql_port=1", "mapping="),
            ("mysql_user=x", "mapping="),
            ("mysql_password=hunter2", "mapping="),
            ("mysql_database=x", "mapping="),
        ] {
            let error = read(&[arg]).err().unwrap();
            assert!(error.contains(instead) && !error.contains("unknown"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_secret_that_is_none_is_not_shown() {
        for arg in [
            "key=hunter2",
            "proxy=hunter2",
            "KEY=hunter2",
            "api_key=hunter2",
            "url=ftp://user:hunter2@host",
            "urllist=https://a;https://user:hunter2@b",
            "keyEHmo8FMxuhumBlhunter2YL0Mgwg=",
            "EHmo8FMxuhumBlhunter2YL0Mgwg=",
            "key:hunter2",
            "https://user:hunter2@host",
        ] {
            let why = read(&[arg]).err().unwrap();
            assert!(!why.contains("hunter2"), "{why}");
        }
    }

    /// Nobody can find an argument that an error names by nothing.
    #[test]
    fn every_wrong_argument_is_named() {
        let wrong = |args: &[&str]| read(args).err().unwrap();
        let error = wrong(&["tires=3", "nullok", "tries=0", "nullok", "blue", "words"]);
        assert!(
            error.starts_with(
                "argument \"tires\": unknown (did you mean tries=?); argument \"tries=0\": tries is a number from 1 to 10; \
                 argument \"nullok\": given twice; argument \"blue\": unknown; argument \"words\": unknown; known are "
            ),
            "{error}"
        );
        assert_eq!(error.matches("known are").count(), 1, "{error}");
        assert!(wrong(&["nul\u{202e}ok"]).starts_with("argument \"nul\\u{202e}ok\": unknown"), "escaped");
        for secret in ["EHmo8FMxuhumBlTinC4uYL0Mgwg=", "https://user:hunter2@host"] {
            assert!(wrong(&["debug", secret]).starts_with("argument 2 (not shown, as it may be a secret): "));
        }
        let error = Options::read(&[c"key=hunter2\xff"]).err().unwrap();
        assert_eq!(error, "argument \"key\" is not UTF-8");
        assert_eq!(Options::read(&[c"x\xff"]).err().unwrap(), "argument \"x\\xff\" is not UTF-8");
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for (arg, why) in [
            ("nulok", "unknown (did you mean nullok?)"),
            ("tires=3", "unknown (did you mean tries=?)"),
            ("confg=/x", "unknown (did you mean config=?)"),
            ("lock_wait=3", "unknown; known are config= mapping="),
            ("nullok=yes", "nullok takes no value: write nullok"),
            ("NULLOK", "unknown (did you mean nullok?)"),
            ("KEY=x", "unknown (did you mean key=?)"),
            ("Id=1", "unknown (did you mean id=?)"),
            ("tries", "tries takes a value: write tries="),
            ("tries=", "tries is a number from 1 to 10"),
            ("tries=0", "tries is a number from 1 to 10"),
            ("tries=-1", "tries is a number from 1 to 10"),
            ("tries=many", "tries is a number from 1 to 10"),
            ("tries=300", "tries is a number from 1 to 10"),
            ("mode=online-ish", "unknown mode"),
            ("mapping=relative", "give an absolute path"),
            ("config=", "give an absolute path"),
            ("token_id_length=13", "token_id_length is an even number"),
            ("alwaysok", "there is no alwaysok"),
            ("mode=challenge-response", "mode challenge-response is not supported"),
            ("id=x", "client_id is a number"),
            ("urllist=", "urls are 1 to 16"),
            ("urllist=https://a;b", "URL \"b\" begins with neither"),
            ("capath=ca", "give an absolute path"),
            ("", "unknown"),
        ] {
            let error = read(&[arg]).err().unwrap();
            assert!(
                error.starts_with(&format!("argument {:?}: {why}", without_secret(arg).unwrap())),
                "{error}"
            );
        }
        for twice in [
            &["debug", "debug"][..],
            &["nullok", "nullok"],
            &["mapping=/a", "authfile=/b"],
            &["url=https://a", "urllist=https://a"],
        ] {
            assert!(read(twice).err().unwrap().ends_with("given twice"));
        }
        assert!(read(&["capath=/a", "cainfo=/b"]).err().unwrap().ends_with("give one, a file or a folder"));
        assert!(read(&["use_first_pass", "try_first_pass"]).is_err());
        assert!(Options::read(&[c"\xff"]).is_err());
    }

    #[test]
    fn the_list_of_names_is_complete() {
        for name in &NAMES {
            let value = match *name {
                "mode=" => "offline",
                "tries=" => "2",
                "token_id_length=" => "12",
                "id=" => "1",
                "key=" => "EHmo8FMxuhumBlTinC4uYL0Mgwg=",
                "url=" | "urllist=" => "https://a",
                "proxy=" => "http://p:1",
                name if name.ends_with('=') => "/x",
                _ => "",
            };
            assert!(read(&[&format!("{name}{value}")]).is_ok(), "{name}");
            assert!(
                include_str!("../../docs/reference/module.md").contains(&format!("`{name}`")),
                "the reference lacks {name}"
            );
        }
    }
}
