//! `ykmap init`

mod earlier;

use super::{Context, Done, Failure, absolute, out, service};
use clap::ValueHint;
use earlier::Evidence;
use serde_json::json;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use ykhost::enrolled::{self, MAPPING_HEAD};
use ykhost::file::{self, Audience, FileFault, Folder};
use ykhost::settings::{CONFIG, Mode, PartialConfig, Settings};
use ykhost::store::{KEYS, POSITIONS, Store, write_store_key};
use ykhost::{Fault, mapping};
use yubiotp::diagnostic::{Code, Diagnostic, Location};
use yubiotp::seal::StoreKey;
use yubiotp::shown;
use zeroize::Zeroizing;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Create everything in this one folder, and touch nothing else
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    dir: Option<PathBuf>,
    /// Create nothing that is missing; convert and check files of an older version
    #[arg(long)]
    upgrade: bool,
    /// Folder of service files, in place of /etc/pam.d and those of the distribution; may be given several times
    #[arg(long = "pam-dir", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pam_dirs: Vec<PathBuf>,
}

/// How long one init waits for another: several may begin together on a host whose disk is busy, and each syncs what it makes.
const INIT_WAIT: std::time::Duration = std::time::Duration::from_secs(60);

const SYSTEM: &str = "\
# Settings of pam_yubiotp, read at every login. Paths may be relative to this file's folder.
# Every setting, commented out at its default. Check your changes with: ykmap doctor

# mode = \"offline\"            # who decides about OTPs: \"offline\", the keys in this host's store; \"online\", the servers
#                             # below; \"online-then-offline\", the keys if no server answers; \"offline-then-online\",
#                             # the servers for tokens whose key is not here. The default is \"online\" if there is [online]
# mapping = \"/etc/yubiotp/authorized_yubikeys\"    # who owns which token; %u means the user's name
# store = \"/var/lib/yubiotp\"  # contains keys/, positions/ and guesses/
# store_key = \"/etc/yubiotp/store.key\"    # seals the keys in the store. Keep a copy apart from the store
";

const LOGIN: &str = "\
# prompt = \"YubiKey for %u: \"
# echo = false                # show the answer while the user types it
# tries = 1                   # how often a user may try in one login
# token_id_length = 12        # example: accept only public IDs of this length; default: any length
# lock_wait = 5               # seconds to wait for another login of the same token
# debug = false               # log each step
";

const ONLINE: &str = "\n\
# Validation servers, which the program yubiotp-ask asks. urls and client_id are required, and api_key_file unless every
# URL is https. deadline, hedge, plain_http, accept_replays_while_servers_fail and ask are at their defaults; the other
# values are examples.
# [online]
# urls = [\"https://val1.example.org\", \"https://val2.example.org/wsapi/2.0/verify\"]   # or one
# client_id = 1               # the number that the servers gave this host
# api_key_file = \"client.key\"    # a file with the key in base64 (chmod 600); or api_key = \"...\"
# deadline = 5                # seconds that a question may take, name resolution included
# hedge = 300                 # milliseconds to wait for the first server before all are asked
# ca = \"ca.pem\"               # file or folder of certificate authorities, instead of the system's
# client_cert = \"host.pem\"    # for servers that identify their clients by certificate (PEM)
# client_key = \"host.key\"     # its private key (PEM)
# client_key_passphrase_file = \"host.pass\"   # if the key is encrypted
# proxy = \"http://proxy.example.org:3128\"   # http, https or socks5
# sync_level = \"secure\"       # how many of a server's peers must confirm: 0 to 100 percent, \"fast\" or \"secure\"
# timeout = 3                 # seconds that a server may wait for them
# plain_http = false          # accept unsigned answers over http, with a warning at each login
# accept_replays_while_servers_fail = false   # in online-then-offline: let this host decide also if a server answers
#                             # without deciding. OTPs that were used on other hosts may then be accepted here
# ask = \"/usr/libexec/yubiotp/yubiotp-ask\"
";

const CODES: &str = "\n\
# Codes of authenticator apps and hardware tokens, which this host decides about.
# [codes]
# local = false               # decide about codes although mode is \"online\"
# window = 60                 # seconds that a code may be early or late
# look_ahead = 4              # how many codes of a counting token (HOTP) may have been shown and not typed
";

const GROUPS: &str = "\n\
# Groups for the policy: a list of users, or a file with one name a line. The groups of the system are never looked up.
# [groups]
# operators = [\"alice\", \"bob\"]
# robots = { file = \"/etc/yubiotp/robots\" }
";

const POLICY: &str = "\n\
# Who needs a second factor, and by which methods. require, methods and on_exempt are at their defaults; the other values are
# examples. Users are named as the login names them; write @ before a group.
# [policy]
# require = \"all\"             # \"all\", \"enrolled\" (only those who have a token), or a list of users and groups
# not_before = 2027-01-15     # a roll-out begins: before it, only those who have a token are asked
# until = 2027-03-01          # and ends: from then on, those whom require names are rejected without one
# exempt = [\"backup\", \"@robots\", { who = [\"@operators\"], from = [\"10.20.0.0/16\"] }]   # never asked
# methods = [\"yubikey\", \"totp\", \"hotp\", \"recovery\"]   # for users whom no item of methods_for names
# methods_for = [{ who = [\"@operators\"], methods = [\"yubikey\", \"recovery\"] }]
# on_exempt = \"ignore\"        # or \"success\", if nothing else in the stack says yes: with care, see docs/policy.md
# [service.sudo]              # a setting here replaces that of [policy] in this PAM service
";

const ENROLL: &str = "\n\
# How users enroll at a login, where pam.d says enroll.
# [enroll]
# program = \"/usr/libexec/yubiotp/yubiotp-enroll\" # the program that enrolls them
# pam_dirs = []               # folders of service files, in place of /etc/pam.d and those of the distribution
";

const OWN: &str = "\n\
# What users may do themselves with ykmap self, once yubiotp-self.socket is enabled: also \"add\", \"remove\", \"recovery\".
# [self]
# allow = [\"status\", \"test\"]
";

const SELF_CONTAINED: &str = "\
# Settings of pam_yubiotp, read at every login. Everything is in this folder, and you can move the folder.
# Check your changes with: ykmap --config FILE doctor

mode = \"offline\"              # who decides about OTPs: \"offline\", the keys in this host's store; \"online\", the servers
#                             # below; \"online-then-offline\", the keys if no server answers; \"offline-then-online\",
#                             # the servers for tokens whose key is not here
mapping = \"authorized_yubikeys\"    # who owns which token; %u means the user's name
store = \".\"                   # contains keys/, positions/ and guesses/
store_key = \"store.key\"       # seals the keys in the store. Keep a copy apart from the store

# All other settings, commented out at their defaults.
";

/// Whether this is the configuration file of a host as [`run`] creates it.
pub(crate) fn is_template(text: &[u8]) -> bool {
    [SYSTEM, SELF_CONTAINED]
        .iter()
        .any(|head| [head, LOGIN, ONLINE, CODES, GROUPS, POLICY, ENROLL, OWN].concat().as_bytes() == text)
}

/// In the folder of a store that was created anew on a host that may have had one: its tokens may have been used.
pub(crate) const LOST: &str = "lost";

const LOST_TEXT: &str = "\
# ykmap init created this store anew: there was a store key, a mapping with tokens, or keys, but no positions. So ykmap
# key import asks whether a token was used on this host (--used or --never-used). Remove this file only if the host
# never had a store.
";

pub(crate) fn run(context: &Context, args: Args) -> Done {
    let pam_dirs = service::pam_dirs(&args.pam_dirs)?;
    let named = match (args.dir, &context.config) {
        // Not left to clap, which does not look at options before the verb.
        (Some(_), Some(_)) => return Err(Failure::input("--dir cannot be used with --config")),
        (Some(dir), None) => Some(absolute(dir)?.join("config.toml")),
        (None, config) => config.clone().filter(|config| config != Path::new(CONFIG)),
    };
    let mut made = Made { only_look: args.upgrade, ..Made::default() };
    let config = named.clone().unwrap_or_else(|| CONFIG.into());
    let folder = config.parent().unwrap_or(Path::new("/"));
    made.folder(folder, if named.is_some() { 0o700 } else { 0o755 })?;
    // Of the same name, another init created it just now.
    let beside = folder.join("config.toml");
    if beside.file_name() != config.file_name() && !config.exists() && beside.exists() {
        let problem = format!(
            "would be a second configuration file beside {}, with a store of its own in the same folder",
            beside.display()
        );
        let found = Diagnostic::error(Code::SecondConfig, problem)
            .at(Location::file(config.as_os_str().as_bytes()))
            .advise("choose a folder without config.toml");
        return Err(found.into());
    }
    // One init at a time: of two, the second finds what the first made.
    let _changing = Folder::open(folder)?.lock(INIT_WAIT)?;
    // It need not be there.
    if !args.upgrade || named.is_some() || config.exists() {
        made.file(&config, 0o644, || {
            Ok(Zeroizing::new(
                [
                    if named.is_some() { SELF_CONTAINED } else { SYSTEM },
                    LOGIN,
                    ONLINE,
                    CODES,
                    GROUPS,
                    POLICY,
                    ENROLL,
                    OWN,
                ]
                .concat(),
            ))
        })?;
    }

    let settings = Settings::load(Some(&config), PartialConfig::default())?;
    let list = Path::new(&settings.mapping);
    match list.parent() {
        Some(folder) if settings.mapping.contains("%u") => made.folder(folder, 0o755)?,
        _ => made.file(list, 0o644, || Ok(Zeroizing::new(MAPPING_HEAD.into())))?,
    }
    made.file(&settings.store_key, 0o600, || Ok(write_store_key(&StoreKey::new(ykhost::random::bytes()?))))?;
    made.store(&settings.store, named.is_none())?;
    let store = Store::new(&settings);
    let evidence = if args.upgrade || settings.store.join(POSITIONS).exists() {
        None
    } else {
        earlier::use_of(&settings, &store, made.kept.contains(&settings.store_key), (&config, &pam_dirs))?
    };
    if evidence.is_some() {
        // Before the positions: a command that is interrupted here finds the same evidence again.
        made.file(&settings.store.join(LOST), 0o600, || Ok(Zeroizing::new(LOST_TEXT.into())))?;
    }
    for folder in [KEYS, POSITIONS] {
        made.folder(&settings.store.join(folder), 0o700)?;
    }
    if matches!(mapping::enrolled_text(&settings), Ok(Some(_))) {
        store.note_enrolled()?;
    }
    if !args.upgrade && matches!(mapping::enrolled_text(&settings), Err(Fault::NoEnrolled { .. })) {
        made.file(&enrolled::path(&settings), 0o644, || Ok(Zeroizing::new(enrolled::HEAD.into())))?;
        out::note(
            "who enrolled on this host was lost: users whom the mapping does not list have no token now, unless you restore a \
             backup (ykmap restore FILE), or they enroll again",
        );
    }
    // What was there already must be as good as what is new.
    store.keys()?;
    store.positions()?;
    store.store_key()?;
    let (keys, _) = store.tokens()?;
    let are_sealed_elsewhere = made.new.contains(&settings.store_key) && !keys.is_empty();
    if are_sealed_elsewhere {
        out::note(&format!(
            "{}: new, so it does not open {} in the store",
            settings.store_key.display(),
            out::count(keys.len(), "key"),
        ));
    }

    if context.json {
        out::json(&json!({ "config": config, "made": made.new, "kept": made.kept }));
        return Ok(());
    }
    for path in &made.new {
        out::line(&format!("created {}", path.display()));
    }
    for path in &made.kept {
        out::line(&format!("kept {}", path.display()));
    }
    if args.upgrade {
        return Ok(());
    }
    let config = config.display();
    let ykmap = Context { config: named, json: false, is_guided: false }.ykmap();
    if let Some(evidence) = evidence {
        out::lines(&lost_and_next(&evidence, made.kept.contains(&settings.store_key), &ykmap));
        if settings.mode == Mode::Online {
            out::line("In mode online, validation servers decide, and there is no key to import.");
        }
        return Ok(());
    }
    if are_sealed_elsewhere {
        out::lines(&sealed_elsewhere(&settings.store_key, &ykmap));
        return Ok(());
    }
    if context.is_guided {
        return Ok(());
    }
    out::lines(&format!(
        "\nNext, one of these:\n  {ykmap} key import FILE\n  {ykmap} key new\n  with validation servers: set mode and [online] in \
         {config}\nThen:\n  {ykmap} add USER\n  {ykmap} verify USER\nThen make a service ask for it, and keep a root shell open:\n  \
         {ykmap} enable sudo\nOr be led through all of it:\n  {ykmap} setup USER"
    ));
    Ok(())
}

/// What to say where the store may have been lost: which commands keep used OTPs invalid, and what to do if there never
/// was a store.
fn lost_and_next(evidence: &Evidence, has_store_key: bool, ykmap: &str) -> String {
    let what = match evidence {
        Evidence::Keys => "The store has keys and had no positions.".to_owned(),
        Evidence::StoreKey => "The store key was here, and the positions were not.".to_owned(),
        Evidence::Mapping(path) => {
            let path = shown::text(path.as_os_str().as_bytes());
            format!("The mapping {path} lists tokens, and the store is new.")
        }
    };
    let what = format!(
        "{what}\nIf you have a backup (ykmap backup), put its store key in place, and run this. It brings users, tokens and \
         those who\nenrolled back, and used OTPs stay invalid:\n  {ykmap} restore FILE\nWithout a backup:"
    );
    if *evidence == Evidence::Keys && has_store_key {
        return format!(
            "\n{what}\nUsed OTPs stay invalid if you run this for each token, with two touches of the YubiKey:\n  \
             {ykmap} key adopt ID"
        );
    }
    format!(
        "\n{what}\nIf tokens were used on this host, its store was lost. Used OTPs stay invalid if you run, the second \
         command\nfor each token, with two touches of the YubiKey:\n  {ykmap} key import --used FILE\n  {ykmap} token resync \
         ID\nIf no OTP of these tokens was ever used on this host:\n  {ykmap} key import --never-used FILE"
    )
}

/// What to do about keys whose store key was lost, if their positions are still here.
fn sealed_elsewhere(store_key: &Path, ykmap: &str) -> String {
    format!(
        "\nCopy your backup of the store key to {}. If you have none, import every key again. Each continues from its \
         position, so\nused OTPs stay invalid:\n  {ykmap} key import FILE\nThen:\n  {ykmap} check",
        shown::text(store_key.as_os_str().as_bytes())
    )
}

/// What was made, and what was there.
#[derive(Default)]
struct Made {
    new: Vec<PathBuf>,
    kept: Vec<PathBuf>,
    /// A missing file is a fault.
    only_look: bool,
}

impl Made {
    /// The store of a host can be passed through by everybody: a process of an ordinary user, as a screen locker, must find
    /// out that nobody enrolled. Up to format 1 it was closed.
    fn store(&mut self, path: &Path, is_host: bool) -> Done {
        let mode = if is_host { 0o711 } else { 0o700 };
        self.folder(path, mode)?;
        let now = rustix::fs::stat(path).map(|stat| stat.st_mode & 0o777);
        if is_host && now == Ok(0o700) {
            rustix::fs::chmod(path, rustix::fs::Mode::from_raw_mode(mode)).map_err(|errno| {
                Failure::input(format!("{}: cannot set mode 0711: {errno}", path.display()))
            })?;
        }
        Ok(())
    }

    fn folder(&mut self, path: &Path, mode: u32) -> Done {
        if self.only_look {
            Folder::open(path)?;
        } else if file::make_folder(path, mode)? {
            self.new.push(path.to_owned());
        }
        Ok(())
    }

    fn file(
        &mut self,
        path: &Path,
        mode: u32,
        contents: impl FnOnce() -> Result<Zeroizing<String>, Failure>,
    ) -> Done {
        let audience = if mode & 0o077 == 0 { Audience::Owner } else { Audience::Everyone };
        match file::open(path, audience) {
            Ok(_) => self.kept.push(path.to_owned()),
            Err(FileFault::Missing(missing)) if missing == path && !self.only_look => {
                let (folder, name) = file::locate(path)?;
                folder.replace(&name, contents()?.as_bytes(), rustix::fs::Mode::from_raw_mode(mode))?;
                self.new.push(path.to_owned());
            }
            Err(fault) => return Err(fault.into()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both new files have every setting, and each of them is valid.
    #[test]
    fn every_setting_that_is_explained_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        let is_setting =
            |line: &str| line.starts_with('[') || line.starts_with(|c: char| c.is_ascii_lowercase());
        for head in [SYSTEM, SELF_CONTAINED] {
            let text = [head, LOGIN, ONLINE].concat();
            let lines: Vec<_> = text
                .lines()
                .map(|line| line.strip_prefix("# ").unwrap_or(line))
                .filter(|line| is_setting(line) && (line.starts_with('[') || line.contains(" = ")))
                .collect();
            // All but api_key, which is named beside api_key_file.
            assert_eq!(lines.len(), 10 + 1 + 15, "{lines:#?}");
            std::fs::write(&path, lines.join("\n")).unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            let settings =
                Settings::load(Some(&path), PartialConfig::default()).map_err(|fault| fault.to_string());
            assert_eq!(settings.map(|settings| settings.tries), Ok(1));
        }
    }
}
