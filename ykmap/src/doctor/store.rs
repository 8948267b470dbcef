//! The token store: every key opens, every key has a position that can be trusted, and a login can write it.

use super::pam::Fails;
use super::report::{Check, Report, at, shown, ykmap_with};
use super::settings::Case;
use crate::check::{disabled, restored, to_resync, twin};
use crate::exchange::unfinished;
use crate::key::rotation_unfinished;
use crate::list::States;
use crate::{out, status};
use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;
use std::collections::{BTreeSet, HashMap};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use ykhost::Fault;
use ykhost::file::FileFault;
use ykhost::settings::{CONFIG, Settings};
use ykhost::store::{OrphanFile, POSITIONS, PositionFile, State, Store, StoreScan, TokenKey};
use yubiotp::TokenId;
use yubiotp::diagnostic::{Code, Command, Diagnostic, Program, Remedy, shell_word};
use yubiotp::key::{Fingerprint, Holders};
use yubiotp::seal::StoreKeys;
use yubiotp::verdict::Mode;

const SEE_STORE: &str = "see store";

/// The parts that decide whether a token can be used.
pub(super) struct Seen {
    /// Whether a login can store a used OTP.
    pub(super) is_writable: bool,
    pub(super) states: States,
    /// Tokens whose files exist and cannot be used: why, and what to do.
    pub(super) refused: Refused,
    /// Which tokens have which AES keys.
    holders: Holders<TokenId>,
}

type Refused = HashMap<TokenId, Diagnostic>;

/// Looks at one store. Gives what it takes to tell whether a token can be used; `None` if the store as a whole cannot.
pub(super) fn look(report: &mut Report, settings: &Settings) -> Option<Seen> {
    let store = Store::new(settings);
    let opened = StoreScan::open(store.clone()).and_then(|survey| Ok((survey, store.tokens()?)));
    let (survey, (tokens, strays)) = match opened {
        Ok(opened) => opened,
        Err(fault) => {
            report.fault(Check::Store, &fault, "fix the folder");
            return None;
        }
    };
    for stray in strays {
        stray_file(report, &stray, "is not a key: nothing reads it");
    }
    let is_writable = writable(report, &settings.store.join(POSITIONS));
    let key = match store.store_key() {
        Ok(key) => Some(key),
        // Where servers decide about everybody, nothing is sealed.
        Err(Fault::NoStoreKey { .. }) if settings.mode.asks_servers() && tokens.is_empty() => None,
        Err(fault) => {
            report.fault(Check::Store, &fault, "restore your copy of the store key");
            return None;
        }
    };
    let mut refused = Refused::new();
    let mut holders = Holders::<TokenId>::default();
    if let Some(key) = &key {
        holders = each(report, &survey, key, &tokens, &mut refused);
    }
    positions(report, &survey, &tokens);
    if let Some(found) = unfinished(&store) {
        report.add(Check::Store, found);
    }
    if let Some(found) = rotation_unfinished(settings, &store) {
        report.add(Check::Store, found);
    }
    if is_writable {
        positions_writable(report, &survey, &tokens);
    }
    report.ok(Check::Store, Some(at(&settings.store)), out::count(tokens.len(), "key"));
    let id = key.map(|key| key.id());
    Some(Seen { is_writable, states: States::with(settings, store, survey, id), refused, holders })
}

/// Says whose logins a store of this kind makes end in a fault; `seen` is `None` if it cannot be used, or was not read.
pub(super) fn fail(case: &mut Case, seen: Option<&Seen>) {
    let is_bad = match seen {
        Some(seen) => !seen.is_writable,
        None => {
            let store = Store::new(&case.settings);
            let opened = StoreScan::open(store.clone()).map(|_| ()).and_then(|()| match case.settings.mode {
                Mode::Offline => store.store_key().map(|_| ()),
                _ => Ok(()),
            });
            opened.is_err_and(|fault| !fault.file().is_some_and(FileFault::is_denied))
        }
    };
    if is_bad {
        case.fail(Fails::WithToken);
    }
}

/// Whether a login can write in the folder of positions: it stores each accepted OTP before it lets anybody in. `false`
/// if no file in it can be written.
fn writable(report: &mut Report, folder: &Path) -> bool {
    match rustix::fs::accessat(CWD, folder, Access::WRITE_OK, AtFlags::EACCESS) {
        Err(Errno::ROFS) => {
            report.add(Check::Store, read_only(folder));
            return false;
        }
        Err(Errno::PERM) => {
            let what = "cannot be changed: it is immutable. No token can be added, disabled or used for the first time";
            report.add(Check::Store, immutable(folder, what));
        }
        _ => {}
    }
    let Ok(space) = rustix::fs::statvfs(folder) else { return true };
    let kib = space.f_bfree.saturating_mul(space.f_frsize) / 1024;
    // Some file systems count no inodes.
    let inodes = (space.f_files > 0).then_some(space.f_ffree);
    let what = match inodes {
        _ if kib < LEAST_KIB => {
            format!("the file system has {kib} KiB left, so logins cannot store used OTPs")
        }
        Some(left) if left < LEAST_INODES => {
            format!(
                "the file system has {} left, so logins cannot store used OTPs",
                out::count(left, "inode")
            )
        }
        _ => return true,
    };
    let word = shell_word(folder.as_os_str().as_bytes());
    let found = Diagnostic::error(Code::DiskFull, what)
        .at(at(folder))
        .advise("free space on that file system")
        .run_when("to see how full it is", Program::System, format!("df -h {word}; df -i {word}"));
    report.add(Check::Store, found);
    true
}

/// Less than this is full: a position file takes one block.
const LEAST_KIB: u64 = 64;
const LEAST_INODES: u64 = 8;

/// Whether a login can write each position.
fn positions_writable(report: &mut Report, survey: &StoreScan, keys: &[TokenId]) {
    const NOBODY: &str = "Nobody can log in with this token, because its OTPs cannot be stored as used";
    let others = survey.positions().map(|(tokens, _)| tokens).unwrap_or_default();
    let tokens: BTreeSet<_> = keys.iter().chain(&others).collect();
    for token in tokens {
        let Err(FileFault::System { path, why, .. }) = survey.can_write_position(token) else { continue };
        match Errno::from_io_error(&why) {
            Some(Errno::ROFS) => report.add(Check::Store, read_only(&path)),
            Some(Errno::PERM) => {
                let what = format!("cannot be written: it is immutable or append-only. {NOBODY}");
                report.add(Check::Store, immutable(&path, &what));
            }
            // A user other than root cannot tell what root can do; and a file that does not exist is reported
            // elsewhere.
            _ => {}
        }
    }
}

fn read_only(path: &Path) -> Diagnostic {
    let what = "cannot be written: its file system is mounted read-only. Nobody can log in with a token, because OTPs cannot be stored as used";
    Diagnostic::error(Code::StoreNotWritable, what)
        .at(at(path))
        .advise("find out why (dmesg shows errors of the disk), and mount it writable")
        .run_when(
            "to see the mount",
            Program::System,
            format!("findmnt -T {}", shell_word(path.as_os_str().as_bytes())),
        )
}

fn immutable(path: &Path, what: &str) -> Diagnostic {
    let chattr = format!("chattr -ia {}", shell_word(path.as_os_str().as_bytes()));
    let found = Diagnostic::error(Code::StoreNotWritable, what).at(at(path));
    found.run_when("to change that", Program::System, chattr)
}

fn stray_file(report: &mut Report, path: &Path, what: &str) {
    let found = Diagnostic::note(Code::StrayFile, what).at(at(path));
    report.add(Check::Store, found.advise("move it away"));
}

fn each(
    report: &mut Report,
    survey: &StoreScan,
    key: &StoreKeys,
    tokens: &[TokenId],
    refused: &mut Refused,
) -> Holders<TokenId> {
    let mut holders = Holders::<TokenId>::default();
    for token in tokens {
        let opened = survey.key_file(token).and_then(|file| survey.open_key(&file, token, key));
        match &opened {
            Ok(credential) => {
                if let Some(first) = credential.digest().and_then(|digest| holders.note(digest, *token)) {
                    report.add(Check::Store, twin(&survey.key_path(token), token, &first));
                }
            }
            Err(fault) => {
                let code = fault.diagnostic().code;
                let why = match fault {
                    Fault::BrokenSeal { .. } => Diagnostic::error(
                        code,
                        format!("its key does not open (keys/{token})"),
                    )
                    .run_when("to import it again", Program::Ykmap, "key import FILE"),
                    Fault::OtherStoreKey { .. } => {
                        Diagnostic::error(code, "its key is sealed under another store key").advise(SEE_STORE)
                    }
                    _ => Diagnostic::error(code, format!("its key cannot be used (keys/{token})"))
                        .advise(SEE_STORE),
                };
                if !fault.file().is_some_and(FileFault::is_denied) {
                    refused.insert(*token, why);
                }
                token_fault(report, fault, token);
            }
        }
        if let Some(why) = position(report, survey, token, opened.as_ref().ok()) {
            refused.entry(*token).or_insert(why);
        }
    }
    holders
}

/// A fault of the files of one token.
fn token_fault(report: &mut Report, fault: &Fault, token: &TokenId) {
    if fault.file().is_some_and(|file| report.is_unread(file)) {
        return;
    }
    let mut found = fault.diagnostic();
    if found.remedies.is_empty() {
        found = found.run_when("for details", Program::Ykmap, format!("key show {token}"));
    }
    report.add(Check::Store, found);
}

/// Compares the keys of stores that different services use. Each has positions of its own, so an OTP of a key that is
/// in two of them is accepted once in each.
pub(super) fn across(report: &mut Report, cases: &[Case], stores: &[Option<Seen>]) {
    let seen: Vec<_> = cases
        .iter()
        .zip(stores)
        .filter_map(|(case, seen)| Some((case, seen.as_ref()?, identity(&case.settings.store)?)))
        .collect();
    for (at_case, (case, store, identity)) in seen.iter().enumerate() {
        let settings = &case.settings;
        for (kept, other, same) in seen.iter().take(at_case) {
            let others = &kept.settings;
            // Where servers decide in both, the servers know what was used.
            let by_servers = settings.mode == Mode::Online && others.mode == Mode::Online;
            if identity == same || by_servers {
                continue;
            }
            for (key, token) in store.holders.iter() {
                let Some(twin) = other.holders.of(key) else { continue };
                report.add(Check::Store, in_two_stores((case, &token), (kept, &twin)));
            }
        }
    }
}

/// One AES key in two stores.
fn in_two_stores((case, token): (&Case, &TokenId), (kept, twin): (&Case, &TokenId)) -> Diagnostic {
    let [here, there] = [case, kept].map(|case| shown(&case.settings.store));
    let named = if twin == token { String::new() } else { format!(", there as token {twin}") };
    let what = format!(
        "the AES key of token {token} is also in {there}{named}: an OTP that one service accepted is accepted again by the other"
    );
    // The store that is kept may be behind. So the token is rejected there until two touches show how far it has come.
    let ykmap = ykmap_with(kept.config.as_deref());
    let step = |when: &str, verb: &str| Remedy::Command {
        when: Some(when.to_owned()),
        command: Command { program: Program::System, arguments: format!("{ykmap} {verb} {twin}") },
    };
    let file = shown(case.config.as_deref().unwrap_or(Path::new(CONFIG)));
    let mut found = Diagnostic::error(Code::AesKeyInTwoStores, what).at(at(&case
        .settings
        .store
        .join("keys")
        .join(token.to_string())));
    found.remedies = vec![
        step("use one store, in this order: first", "key disable"),
        Remedy::Text(format!("then, in {file}, set store and store_key to those of {there}")),
        step("then, with two touches of the YubiKey", "token resync"),
        step("then", "key enable"),
        Remedy::Text(format!("or program another YubiKey for {here}")),
    ];
    found
}

/// Which folder of positions it is, by whatever path it is named.
fn identity(store: &Path) -> Option<(u64, u64)> {
    let positions: PathBuf = store.join(POSITIONS);
    positions.metadata().ok().map(|folder| (folder.dev(), folder.ino()))
}

/// Gives why the token is refused, if it is.
fn position(
    report: &mut Report,
    survey: &StoreScan,
    token: &TokenId,
    key: Option<&TokenKey>,
) -> Option<Diagnostic> {
    let path = survey.position_path(token);
    let fault = match survey.slots(token) {
        Ok(None) => Fault::NoPosition { path, token: *token },
        Ok(Some(slots))
            if key.is_some_and(|key| !survey.is_position_of(key, slots.state.key).unwrap_or(false)) =>
        {
            if slots.state.key == Fingerprint::ELSEWHERE {
                let what = format!(
                    "has the position that validation servers reported for token {token}, not one of the key that is here now"
                );
                let found = Diagnostic::error(Code::PositionOfOtherKey, what).at(at(&path)).run_when(
                    "to go on from that position",
                    Program::Ykmap,
                    format!("key adopt {token}"),
                );
                report.add(Check::Store, found.clone());
                return Some(of_token(found, format!("positions/{token} is not of its key")));
            }
            Fault::OtherKeysPosition { path, token: *token }
        }
        Ok(Some(slots)) => {
            condition(report, survey, token, &slots);
            return None;
        }
        Err(fault) => fault,
    };
    if fault.file().is_some_and(|file| report.is_unread(file)) {
        return None;
    }
    token_fault(report, &fault, token);
    let why = match fault {
        Fault::NoPosition { .. } => "it has no position".to_owned(),
        Fault::OtherKeysPosition { .. } => format!("positions/{token} is not of its key"),
        _ => format!("positions/{token} cannot be used"),
    };
    let mut found = of_token(fault.diagnostic(), why);
    if !matches!(fault, Fault::NoPosition { .. } | Fault::OtherKeysPosition { .. }) {
        found.remedies = vec![Remedy::Text(SEE_STORE.to_owned())];
    }
    Some(found)
}

/// The same finding, as the reason why a token is refused.
fn of_token(found: Diagnostic, problem: String) -> Diagnostic {
    Diagnostic { problem, location: None, ..found }
}

/// Notes about things that may be intended.
fn condition(report: &mut Report, survey: &StoreScan, token: &TokenId, slots: &PositionFile) {
    let path = survey.position_path(token);
    let warning = |code, what: String| Diagnostic::warning(code, what).at(at(&path));
    let resync =
        |found: Diagnostic, when: &str| found.run_when(when, Program::Ykmap, format!("token resync {token}"));
    if slots.state.position == Some(State::last(token)) {
        let of = if token.yubikey().is_some() { "OTP" } else { "code" };
        let what = format!("no {of} of token {token} is accepted: nobody knows which of them were used");
        let found = warning(Code::TokenNeedsResync, what);
        report.add(Check::Store, resync(found, to_resync(token)));
    } else if let Some(counter) = status::near_end(token, &slots.state)
        && !survey.is_servers_word(&slots.state).unwrap_or(true)
    {
        let what =
            format!("the usage counter of token {token} is {counter}: no OTP is accepted after 32,767");
        let found = warning(Code::CounterNearEnd, what)
            .run_when("to program the slot with a new key", Program::Ykmap, "key new")
            .advise("or give the user another YubiKey")
            .run_when("once the user has a new one", Program::Ykmap, format!("key remove {token}"));
        report.add(Check::Store, resync(found, "if its OTPs are rejected because it is ahead of them"));
    } else if let Some(position) = slots.state.position
        && token.yubikey().is_some()
        && survey.is_doubtful(&slots.state).unwrap_or(true)
    {
        let said = if survey.is_servers_word(&slots.state).unwrap_or_default() {
            "as a validation server reported; neither a key on this host nor two touches confirmed it"
        } else {
            "farther than YubiKeys come in years"
        };
        let found =
            warning(Code::PositionImplausible, format!("token {token} is at position {position}, {said}"));
        report.add(Check::Store, resync(found, "if its OTPs are rejected because it is ahead of them"));
    }
    if slots.damaged {
        let found = warning(
            Code::PositionSlotDamaged,
            "one of its two slots is damaged: a write was cut off, or the disk is failing. Until the next login, the last OTP may be accepted once more".to_owned(),
        );
        let found = resync(found, "to prevent that").advise("if it happens again, check the disk");
        report.add(Check::Store, found);
    }
    if let Some(tries) = slots.state.restored {
        let what = match tries {
            0 => format!("token {token} is restored"),
            tries => format!(
                "token {token} is restored, and {} with timed touches failed",
                out::count(tries, "login")
            ),
        };
        report.add(Check::Store, restored(token, Diagnostic::note(Code::TokenRestored, what).at(at(&path))));
    }
    if !slots.state.enabled {
        let found = Diagnostic::note(Code::TokenDisabled, format!("token {token} is disabled")).at(at(&path));
        report.add(Check::Store, disabled(token, found));
    }
}

/// Positions of tokens that have no key here, and files that are not positions.
fn positions(report: &mut Report, survey: &StoreScan, keys: &[TokenId]) {
    let (tokens, strays) = match survey.positions() {
        Ok(found) => found,
        Err(fault) => return report.fault(Check::Store, &fault, "fix the folder"),
    };
    for token in tokens.iter().filter(|token| keys.binary_search(token).is_err()) {
        match survey.slots(token) {
            Ok(Some(slots)) if slots.state.key == Fingerprint::ELSEWHERE => {
                condition(report, survey, token, &slots)
            }
            Ok(Some(_)) => {
                let found = Diagnostic::note(Code::KeyMissing, "belongs to a key that is not in the store")
                    .at(at(&survey.position_path(token)))
                    .run_when("if it is somebody's token", Program::Ykmap, "key import FILE");
                report.add(Check::Store, found);
            }
            Ok(None) => {}
            Err(fault) => token_fault(report, &fault, token),
        }
    }
    for stray in strays {
        match stray {
            OrphanFile::NotAToken(path) => stray_file(report, &path, "is not a position: nothing reads it"),
            OrphanFile::CutOff(path) => {
                let what = "was left by a change that was interrupted: nothing reads it";
                let found = Diagnostic::note(Code::StrayFile, what).at(at(&path));
                report.add(Check::Store, found.advise("run that change again"));
            }
        }
    }
}
