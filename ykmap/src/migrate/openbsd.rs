//! OpenBSD's login_yubikey: a folder with `USER.uid`, `USER.key` and `USER.ctr`.

use super::stacks::at;
use crate::init::LOST;
use crate::{Done, Failure, files};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use ykcli::input;
use ykhost::settings::Settings;
use ykhost::store::{Change, Enrolled, Store, TokenKey};
use yubiotp::diagnostic::{Code, Diagnostic, Location, Severity};
use yubiotp::key::Holders;
use yubiotp::keyfile::{self, Secret};
use yubiotp::mapping::{Enrolment, Line, entries};
use yubiotp::{Position, PublicId, TokenId, shown};
use zeroize::Zeroizing;

/// The keys that come, and whose they are.
#[derive(Default)]
pub(super) struct Keys {
    pub(super) tokens: Vec<(String, TokenId)>,
    pub(super) keys: Vec<TokenKey>,
    pub(super) known: BTreeMap<TokenId, Position>,
    pub(super) additions: Vec<(String, bool, Vec<TokenId>)>,
    pub(super) findings: Vec<Diagnostic>,
}

impl Keys {
    /// Reads a folder. The public IDs, which it has not, come from `ids`, a file of `USER:ID` lines, and from the mapping.
    pub(super) fn of(
        settings: &Settings,
        store: &Store,
        change: &Change<'_>,
        from: &Path,
        ids: Option<&Path>,
    ) -> Result<Self, Failure> {
        let mut found = Self::default();
        let named = ids.map(public_ids).transpose()?.unwrap_or_default();
        let mut holders = Holders::default();
        for user in users(from)? {
            let place = || at(&from.join(format!("{user}.key")));
            let id = match id_of(settings, &named, &user)? {
                Ok(id) => id,
                Err(why) => {
                    let word = yubiotp::diagnostic::shell_word(user.as_bytes());
                    found.findings.push(Diagnostic::warning(Code::PublicIdUnknown, why).at(Location::user(user.as_bytes())).advise(format!(
                        "have the user touch the YubiKey in an editor; what is before the last 32 characters is the ID. Write {word}:ID into a file, and name it with --ids FILE"
                    )));
                    continue;
                }
            };
            if let Some(problem) = found.take((settings, store, change), from, &user, id, &mut holders).err()
            {
                match problem {
                    Failure::Fault(problem) => found.findings.push(
                        Diagnostic { problem: problem.problem(), location: None, ..*problem }.at(place()),
                    ),
                    other => return Err(other),
                }
            }
        }
        Ok(found)
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.findings.iter().any(|found| found.severity == Severity::Error)
    }

    /// Whether nothing would change.
    pub(super) fn is_done(&self) -> bool {
        self.keys.is_empty() && self.additions.is_empty()
    }

    /// How the command ends once everything that can come has come.
    pub(super) fn left(&self) -> Done {
        if self.findings.iter().any(|found| found.code == Code::PublicIdUnknown) {
            Err(Failure::No)
        } else {
            Ok(())
        }
    }

    fn take(
        &mut self,
        (settings, store, change): (&Settings, &Store, &Change<'_>),
        from: &Path,
        user: &str,
        id: PublicId,
        holders: &mut Holders<PublicId>,
    ) -> Result<(), Failure> {
        let token = TokenId::YubiKey(id);
        let text = |end: &str| input::named(&from.join(format!("{user}.{end}"))).map(|it| it.text);
        let (uid, aes) = (text("uid")?, text("key")?);
        let position = match text("ctr") {
            Ok(text) => Some(counter(&text).ok_or_else(|| {
                Diagnostic::error(Code::KeyFileLineInvalid, format!("{user}.ctr holds no counter"))
            })?),
            // login_yubikey takes a missing counter for 0.
            Err(why) if why.code == Code::FileMissing => None,
            Err(why) => return Err(why.into()),
        };
        let hex = |text: &[u8]| -> Zeroizing<String> {
            Zeroizing::new(
                String::from_utf8_lossy(text).split_ascii_whitespace().next().unwrap_or_default().to_owned(),
            )
        };
        let line = Zeroizing::new(format!("# yubiotp keys 1\n{id} plain {} {}\n", *hex(&uid), *hex(&aes)));
        let mut file = keyfile::read(line.as_bytes()).map_err(|problems| {
            let why = problems.first().map(|problem| problem.diagnostic(b"").problem).unwrap_or_default();
            Diagnostic::error(Code::KeyFileLineInvalid, format!("{user}.uid or {user}.key: {why}"))
        })?;
        let Some(Secret::Plain(credential)) = file.entries.pop().map(|entry| entry.secret) else {
            return Ok(());
        };
        if let Some(holder) = holders.note(credential.aes_key.digest(), id) {
            let problem = format!(
                "has the AES key of token {holder}: an OTP used as one would be accepted again as the other"
            );
            return Err(Diagnostic::error(Code::KeyOfOtherToken, problem).into());
        }
        let key = TokenKey::YubiKey(id, credential);
        let enrolled = change.would_enrol(&key)?;
        let here = store.slots(&token)?.and_then(|slots| slots.state.position);
        let was_lost = settings.store.join(LOST).exists();
        let position = if was_lost && enrolled == Enrolled::Added { Some(Position::LAST) } else { position };
        if enrolled != Enrolled::Unchanged || position > here {
            self.keys.push(key);
            self.known.extend(position.map(|position| (token, position)));
        }
        if was_lost && enrolled == Enrolled::Added {
            let problem = "a store of this host was lost: no OTP is accepted until two touches show how far the YubiKey has come";
            self.findings.push(
                Diagnostic::warning(Code::StoreLost, problem)
                    .at(Location::Token(id.to_string()))
                    .run(yubiotp::diagnostic::Program::Ykmap, format!("token resync {id}")),
            );
        }
        self.tokens.push((user.to_owned(), token));
        match files::tokens_of(settings, user)? {
            Enrolment::NotListed => self.additions.push((user.to_owned(), false, vec![token])),
            Enrolment::Listed(tokens) if !tokens.contains(&token) => {
                self.additions.push((user.to_owned(), true, vec![token]));
            }
            Enrolment::Listed(_) => {}
        }
        Ok(())
    }
}

/// The users that a folder has keys of.
fn users(from: &Path) -> Result<BTreeSet<String>, Failure> {
    let fault = |why: std::io::Error| {
        let problem = format!("cannot read: {}", yubiotp::diagnostic::cause(&why));
        Diagnostic::error(Code::FileInaccessible, problem).at(Location::file(from.as_os_str().as_bytes()))
    };
    let mut users = BTreeSet::new();
    for entry in from.read_dir().map_err(fault)? {
        let name = entry.map_err(fault)?.file_name();
        users.extend(name.to_str().and_then(|name| name.strip_suffix(".key")).map(ToOwned::to_owned));
    }
    if users.is_empty() {
        let found = Diagnostic::error(Code::NothingImported, "has no file USER.key");
        return Err(found
            .at(Location::file(from.as_os_str().as_bytes()))
            .advise("copy /var/db/yubikey of the OpenBSD host there")
            .into());
    }
    Ok(users)
}

/// The last counter that login_yubikey accepted: usage counter and session counter in one number.
fn counter(text: &[u8]) -> Option<Position> {
    let number: u32 = str::from_utf8(text).ok()?.trim().parse().ok()?;
    let usage = u16::try_from(number >> 8).ok().filter(|usage| *usage <= 0x7fff)?;
    Some(Position::yubikey(usage, u8::try_from(number & 0xff).ok()?))
}

/// The IDs of a file of `USER:ID` lines.
fn public_ids(path: &Path) -> Result<BTreeMap<String, PublicId>, Failure> {
    let file = input::named(path)?;
    let mut ids = BTreeMap::new();
    for (number, line) in entries(&file.text) {
        let place = Location::line(path.as_os_str().as_bytes(), number);
        let line = line
            .map_err(|why| Diagnostic::error(Code::MappingLineInvalid, why.to_string()).at(place.clone()))?;
        let Line::Entry { user, fields } = line else { continue };
        let tokens: Vec<_> = fields.tokens().collect();
        let [TokenId::YubiKey(id)] = tokens.as_slice() else {
            let problem = "names no ID, or several: login_yubikey has one YubiKey a user";
            return Err(Diagnostic::error(Code::MappingLineInvalid, problem).at(place).into());
        };
        ids.insert(String::from_utf8_lossy(user).into_owned(), *id);
    }
    Ok(ids)
}

/// The public ID of a user's YubiKey, or why it is not known.
fn id_of(
    settings: &Settings,
    named: &BTreeMap<String, PublicId>,
    user: &str,
) -> Result<Result<PublicId, String>, Failure> {
    if let Some(id) = named.get(user) {
        return Ok(Ok(*id));
    }
    let Enrolment::Listed(tokens) = files::tokens_of(settings, user)? else {
        return Ok(Err(
            "login_yubikey does not know the public ID of the YubiKey, and nothing else names it".to_owned(),
        ));
    };
    let ids: Vec<_> = tokens.iter().filter_map(TokenId::yubikey).collect();
    match ids.as_slice() {
        [id] => Ok(Ok(*id)),
        _ => Ok(Err(format!(
            "the mapping lists {} for {}, and one is needed",
            crate::out::count(ids.len(), "YubiKey"),
            shown::text(user)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_as_login_yubikey_writes_them() {
        for (text, position) in [
            ("0", Some((0, 0))),
            ("1281\n", Some((5, 1))),
            ("8388607", Some((0x7fff, 0xff))),
            ("8388608", None),
            ("-1", None),
            ("", None),
        ] {
            let position = position.map(|(usage, session)| Position::yubikey(usage, session));
            assert_eq!(counter(text.as_bytes()), position, "{text:?}");
        }
    }
}
