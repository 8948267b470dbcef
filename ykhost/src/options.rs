//! The arguments of the module in pam.d. The module refuses everyone if it does not understand one: a misspelt one must
//! not be lost.

use crate::settings::{
    PartialConfig, PartialOnline, check_client_id, check_token_id_length, check_tries, parse_mode,
    parse_proxy, parse_urls,
};
use std::ffi::CStr;
use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;
use yubiotp::diagnostic::{Code, Diagnostic, Location, Remedy};
pub use yubiotp::nearest::nearest;
use yubiotp::protocol::ClientKey;
use yubiotp::shown;

/// The use of a password that an earlier module asked for.
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
    /// `config=`; `%u` is replaced by the user, see [`crate::settings::config_of`]
    pub config: Option<PathBuf>,
    /// Settings of the line, which override those of the file.
    pub given: PartialConfig,
    /// `nullok`
    pub nullok: bool,
    /// `try_first_pass`, `use_first_pass`
    pub first_pass: FirstPass,
    /// `always_prompt`
    pub always_prompt: bool,
    /// `enroll`: users who need a token and have none may enroll one, after their first factor is proven.
    pub enroll: bool,
}

/// Every argument that is understood, with the names that pam_yubico has for some.
pub const NAMES: [&str; 24] = [
    "config=",
    "mapping=",
    "authfile=",
    "mode=",
    "store=",
    "nullok",
    "try_first_pass",
    "use_first_pass",
    "always_prompt",
    "enroll",
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
    pub fn read(args: &[&CStr]) -> Result<Self, BadArguments> {
        let mut options = Self::default();
        let (mut wrong, mut any_unknown) = (Vec::new(), false);
        for (at, arg) in args.iter().enumerate() {
            let taken = match arg.to_str() {
                Ok(arg) => options.take(arg),
                Err(_) => Err(invalid("is not UTF-8")),
            };
            if let Err(found) = taken {
                any_unknown |= found.code == Code::ArgumentUnknown && found.remedies.is_empty();
                wrong.push(found.at(Location::Argument(Self::shown(arg, at.saturating_add(1)))));
            }
        }
        if let (true, Some(last)) = (any_unknown, wrong.last_mut()) {
            let known = NAMES.join(" ");
            let advice = format!(
                "use only these arguments: {known} (in brackets where a value has blanks: [prompt=two words])"
            );
            last.remedies.push(Remedy::Text(advice));
        }
        if wrong.is_empty() { Ok(options) } else { Err(BadArguments(wrong)) }
    }

    /// How an error names an argument: as it is, or without what may be a secret; `number` is its place on the line.
    fn shown(arg: &CStr, number: usize) -> String {
        let text = arg.to_string_lossy();
        match without_secret(&text) {
            Some("") => "\"\"".to_owned(),
            Some(whole) if whole == text => shown::text(arg.to_bytes()).to_string(),
            Some(name) => shown::text(name).to_string(),
            None => format!("{number} (not shown, as it may be a secret)"),
        }
    }

    fn take(&mut self, arg: &str) -> Result<(), Diagnostic> {
        let given = &mut self.given;
        match arg.split_once('=').map_or((arg, None), |(name, value)| (name, Some(value))) {
            ("config", Some(path)) => once(&mut self.config, absolute(path)?),
            ("mapping" | "authfile", Some(path)) => {
                absolute(path)?;
                once(&mut given.mapping, path.to_owned())
            }
            ("mode", Some(mode)) => once(&mut given.mode, parse_mode(mode).map_err(invalid)?),
            ("store", Some(path)) => once(&mut given.store, absolute(path)?),
            ("prompt", Some(prompt)) => once(&mut given.prompt, prompt.to_owned()),
            ("tries", Some(tries)) => once(&mut given.tries, check_tries(number(tries)).map_err(invalid)?),
            ("token_id_length", Some(length)) => {
                once(&mut given.token_id_length, check_token_id_length(number(length)).map_err(invalid)?)
            }
            ("echo" | "verbose_otp", None) => once(&mut given.echo, true),
            ("debug", None) => once(&mut given.debug, true),
            ("nullok", None) => set(&mut self.nullok),
            ("always_prompt", None) => set(&mut self.always_prompt),
            ("enroll", None) => set(&mut self.enroll),
            ("try_first_pass", None) => self.first_pass(FirstPass::Try),
            ("use_first_pass", None) => self.first_pass(FirstPass::Use),
            (name, Some(value)) if NAMES.iter().any(|known| known.strip_suffix('=') == Some(name)) => {
                online(given.online.get_or_insert_default(), name, value)
            }
            (name, _) => Err(unknown(name)),
        }
    }

    /// Warnings about arguments that are allowed and unwise, for the log.
    pub fn warnings(&self) -> impl Iterator<Item = Diagnostic> {
        let key = self.given.online.as_ref().is_some_and(|online| online.api_key.is_some());
        key.then(|| {
            Diagnostic::warning(Code::ClientKeyInPamD, "every user of this host can read it in pam.d")
                .at(Location::Argument("key=".to_owned()))
                .advise("move the key to a file that only root may read, and name that file as api_key_file in [online] of config.toml")
        })
        .into_iter()
    }

    fn first_pass(&mut self, wanted: FirstPass) -> Result<(), Diagnostic> {
        if self.first_pass != FirstPass::Never {
            return Err(repeated("is given twice, or together with use_first_pass or try_first_pass"));
        }
        self.first_pass = wanted;
        Ok(())
    }
}

/// The errors in the arguments of a line: at least one finding, each about an argument, in the order of the line.
#[derive(Debug)]
pub struct BadArguments(Vec<Diagnostic>);

impl BadArguments {
    /// Every finding.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.0
    }

    /// All of them as one, for a line of the log: with the code of the first.
    pub fn diagnostic(&self) -> Diagnostic {
        match self.0.as_slice() {
            [found] => found.clone(),
            several => {
                let code = several.first().map_or(Code::ArgumentInvalid, |found| found.code);
                let problems: Vec<_> = several.iter().map(Diagnostic::problem).collect();
                let mut all = Diagnostic::error(code, problems.join("; "));
                for remedy in several.iter().flat_map(|found| &found.remedies) {
                    if !all.remedies.contains(remedy) {
                        all.remedies.push(remedy.clone());
                    }
                }
                all
            }
        }
    }
}

/// In one line, with remedies: for logs.
impl Display for BadArguments {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.diagnostic().fmt(f)
    }
}

impl std::error::Error for BadArguments {}

fn invalid(problem: impl Into<String>) -> Diagnostic {
    Diagnostic::error(Code::ArgumentInvalid, problem)
}

fn repeated(problem: &str) -> Diagnostic {
    Diagnostic::error(Code::ArgumentRepeated, problem).advise("remove one of them")
}

/// The arguments about validation servers, under pam_yubico's names.
fn online(given: &mut PartialOnline, name: &str, value: &str) -> Result<(), Diagnostic> {
    match name {
        "id" => once(&mut given.client_id, check_client_id(number(value)).map_err(invalid)?),
        "key" => {
            let key = ClientKey::parse(value.as_bytes()).map_err(|why| invalid(why.to_string()))?;
            once(&mut given.api_key, key)
        }
        "url" | "urllist" => once(&mut given.urls, parse_urls(value).map_err(invalid)?),
        "capath" | "cainfo" => once(&mut given.ca, absolute(value)?),
        "proxy" => once(&mut given.proxy, parse_proxy(value).map_err(invalid)?),
        "ask" => once(&mut given.ask, absolute(value)?),
        other => Err(unknown(other)),
    }
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), Diagnostic> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(repeated("is given twice, or under two names")),
    }
}

/// The part of an argument that an error may show: only the name if it holds a secret, or may be a misspelt one that
/// does. `None` if even the name may be a secret.
fn without_secret(arg: &str) -> Option<&str> {
    match arg.split_once('=') {
        Some((name @ ("key" | "proxy" | "url" | "urllist"), _)) => Some(name),
        Some((name, _)) if NAMES.iter().any(|known| known.trim_end_matches('=') == name) => Some(arg),
        other => {
            let name = other.map_or(arg, |(name, _)| name);
            // A key or a URL by itself, after a blank or without its =, is not a name.
            let is_name = |c: char| {
                c.is_ascii_alphanumeric() || matches!(c, '_' | '-') || !c.is_ascii() || c.is_control()
            };
            (name.chars().count() < 20 && name.chars().all(is_name)).then_some(name)
        }
    }
}

fn set(flag: &mut bool) -> Result<(), Diagnostic> {
    if std::mem::replace(flag, true) { Err(repeated("is given twice")) } else { Ok(()) }
}

fn absolute(path: &str) -> Result<PathBuf, Diagnostic> {
    if path.starts_with('/') {
        Ok(path.into())
    } else {
        Err(invalid("is not an absolute path").advise("write the whole path, beginning with /"))
    }
}

/// Text that is not a number becomes one that no setting takes.
fn number(text: &str) -> i64 {
    text.parse().unwrap_or(i64::MAX)
}

/// The finding about an unknown argument: with the right spelling, if there is one.
fn unknown(name: &str) -> Diagnostic {
    if let Some(near) = NAMES.iter().find(|known| known.trim_end_matches('=') == name) {
        let rule = if near.ends_with('=') { "takes a value" } else { "takes no value" };
        return invalid(rule).advise(format!("write {near}"));
    }
    let unknown = Diagnostic::error(Code::ArgumentUnknown, "is unknown");
    if let Some((problem, change)) = of_pam_yubico(name) {
        return Diagnostic { problem: problem.to_owned(), ..unknown }.advise(change);
    }
    let lowercase = name.to_ascii_lowercase();
    let misspelt =
        if NAMES.iter().any(|known| known.trim_end_matches('=') == lowercase) { &lowercase } else { name };
    match nearest(misspelt, NAMES) {
        Some(near) => unknown.advise(format!("write {near}")),
        // The names that are known follow once, after all arguments.
        None => unknown,
    }
}

/// An argument that pam_yubico has and this module has not: what is wrong with it, and what to do instead.
fn of_pam_yubico(name: &str) -> Option<(&'static str, &'static str)> {
    Some(match name {
        "alwaysok" => ("does not exist here: it would let everybody in", "remove it"),
        "debug_file" => (
            "does not exist here: debug messages go to the system log",
            "write debug, without a file, and read journalctl",
        ),
        "chalresp_path" => (
            "does not exist here: there is no challenge-response",
            "program a slot with Yubico OTP (ykmap key new), and remove chalresp_path and mode=challenge-response",
        ),
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
        | "yubi_attr_prefix" => (
            "does not exist here: no directory is asked",
            "export USER:ID lines from the directory into the file that mapping= names, and remove the LDAP arguments",
        ),
        "mysql_server" | "mysql_port" | "mysql_user" | "mysql_password" | "mysql_database" => (
            "does not exist here: no database is asked",
            "export USER:ID lines from the database into the file that mapping= names, and remove the MySQL arguments",
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Mode;
    use std::ffi::CString;
    use std::path::Path;

    fn read(args: &[&str]) -> Result<Options, BadArguments> {
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
            "enroll",
            "prompt=Press: ",
            "verbose_otp",
            "tries=3",
            "token_id_length=12",
            "debug",
        ])
        .unwrap();
        assert_eq!(options.config.as_deref(), Some(Path::new("/c")));
        assert_eq!((options.nullok, options.always_prompt, options.first_pass), (true, true, FirstPass::Try));
        assert!(options.enroll && !read(&[]).unwrap().enroll);
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

    /// A line in pam.d as people who migrate from pam_yubico have it.
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
            ("debug_file=/x", "Write debug"),
            ("debug_file=stdout", "Write debug"),
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
            let error = read(&[arg]).err().unwrap().to_string();
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
            assert!(!format!("{why} {why:?}").contains("hunter2"), "{why}");
        }
    }

    /// Code and argument of everything that is wrong.
    fn found(bad: &BadArguments) -> Vec<(Code, String)> {
        let place = |found: &Diagnostic| match &found.location {
            Some(Location::Argument(name)) => (found.code, name.clone()),
            other => panic!("{other:?}"),
        };
        bad.diagnostics().iter().map(place).collect()
    }

    /// Nobody can find an argument that an error names by nothing.
    #[test]
    fn every_wrong_argument_is_named() {
        let wrong = |args: &[&str]| read(args).err().unwrap();
        let bad = wrong(&["tires=3", "nullok", "tries=0", "nullok", "blue", "words"]);
        let expected = [
            (Code::ArgumentUnknown, "tires"),
            (Code::ArgumentInvalid, "tries=0"),
            (Code::ArgumentRepeated, "nullok"),
            (Code::ArgumentUnknown, "blue"),
            (Code::ArgumentUnknown, "words"),
        ];
        assert_eq!(found(&bad), expected.map(|(code, name)| (code, name.to_owned())));
        let line = bad.to_string();
        assert!(expected.iter().all(|(_, name)| line.contains(&format!("argument {name}: "))), "{line}");
        assert_eq!(line.matches(&NAMES.join(" ")).count(), 1, "{line}");
        assert_eq!(bad.diagnostic().code, Code::ArgumentUnknown);
        assert_eq!(found(&wrong(&["nul\u{202e}ok"]))[0].1, "nul\\u{202e}ok", "escaped");
        for secret in ["EHmo8FMxuhumBlTinC4uYL0Mgwg=", "https://user:hunter2@host"] {
            assert_eq!(found(&wrong(&["debug", secret]))[0].1, "2 (not shown, as it may be a secret)");
        }
        let not_utf8 = |arg| found(&Options::read(&[arg]).err().unwrap());
        assert_eq!(not_utf8(c"key=hunter2\xff"), [(Code::ArgumentInvalid, "key".to_owned())]);
        assert_eq!(not_utf8(c"x\xff"), [(Code::ArgumentInvalid, "x\\xff".to_owned())]);
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let (unknown, invalid) = (Code::ArgumentUnknown, Code::ArgumentInvalid);
        for (arg, code, says) in [
            ("nulok", unknown, "Write nullok"),
            ("tires=3", unknown, "Write tries="),
            ("confg=/x", unknown, "Write config="),
            ("lock_wait=3", unknown, "config= mapping="),
            ("nullok=yes", invalid, "Write nullok"),
            ("NULLOK", unknown, "Write nullok"),
            ("enrol", unknown, "Write enroll"),
            ("enroll=yes", invalid, "Write enroll"),
            ("KEY=x", unknown, "Write key="),
            ("Id=1", unknown, "Write id="),
            ("tries", invalid, "Write tries="),
            ("tries=", invalid, "1 to 10"),
            ("tries=0", invalid, "1 to 10"),
            ("tries=-1", invalid, "1 to 10"),
            ("tries=many", invalid, "1 to 10"),
            ("tries=300", invalid, "1 to 10"),
            ("mode=online-ish", invalid, "offline-then-online"),
            ("mapping=relative", invalid, "beginning with /"),
            ("config=", invalid, "beginning with /"),
            ("token_id_length=13", invalid, "even number"),
            ("alwaysok", unknown, "everybody"),
            ("mode=challenge-response", invalid, "offline-then-online"),
            ("id=x", invalid, "client_id"),
            ("urllist=", invalid, "1 to 16"),
            ("urllist=https://a;b", invalid, "\"b\""),
            ("capath=ca", invalid, "beginning with /"),
            ("", unknown, "config= mapping="),
        ] {
            let bad = read(&[arg]).err().unwrap();
            assert_eq!(found(&bad)[0].0, code, "{bad}");
            assert!(bad.to_string().contains(says), "{bad}");
        }
        for twice in [
            &["debug", "debug"][..],
            &["nullok", "nullok"],
            &["mapping=/a", "authfile=/b"],
            &["url=https://a", "urllist=https://a"],
            &["capath=/a", "cainfo=/b"],
            &["use_first_pass", "try_first_pass"],
        ] {
            assert_eq!(found(&read(twice).err().unwrap())[0].0, Code::ArgumentRepeated);
        }
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
