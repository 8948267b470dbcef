//! `pending/USER`: the authenticator app that a user is offered, and has not taken yet.
//!
//! It is kept for an hour, so that a login that breaks off and the next one from the same place offer the same secret: a QR
//! code that was scanned stays good. A login from elsewhere gets another secret: somebody who only looked at an offer must not
//! know the secret with which the user enrolls. Nobody can log in by an offer. The secret is sealed under the store key and
//! bound to the user, token, time and place.

mod origin;

pub use origin::Origin;

use super::guesses::{name_of, user_of};
use super::{Rotation, SECRET, Store};
use crate::Fault;
use crate::file::{self, Audience, Changing, FileFault, Folder};
use crate::random;
use data_encoding::BASE64;
use yubiotp::Serial;
use yubiotp::key::OathKey;
use yubiotp::oath::Parameters;
use yubiotp::seal::{StoreKey, StoreKeyId, StoreKeys};

/// The folder of offers, in the store.
pub const PENDING: &str = "pending";

/// How long an offer is good, in seconds.
pub const OFFER_IS_GOOD: u64 = 3600;
/// How long after that it can still be taken: a dialogue that showed it at the last moment takes no longer.
const LAST_DIALOGUE: u64 = 600;

const HEAD: &str = "# pam_yubiotp offer, version 1. Made by yubiotp-enroll, do not edit.";
const MOST: u64 = 4096;

/// An authenticator app that a user is offered. Its parameters are those of [`Parameters::APP`].
pub struct PendingOffer {
    /// The serial number of the token to be.
    pub serial: Serial,
    /// Its secret.
    pub key: OathKey,
    /// When it was made, in seconds since 1970.
    pub made: u64,
    /// Where it was made.
    pub from: Origin,
    /// How often it was shown, this time among them.
    pub times: u32,
    /// When it was shown the time before, in seconds since 1970; when it was made if it never was.
    pub last: u64,
    /// This showing of it.
    pub seen: Seen,
}

/// What the file of an offer said when the user saw it. Each showing writes it anew, so that only the last one can be taken: who
/// sees an offer after its user did must not know the secret with which the user then enrolls. Which store key seals it does
/// not matter: that may be replaced meanwhile.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen(Vec<u8>);

/// What was offered to the user before, and is still good.
#[derive(Debug, PartialEq, Eq)]
pub enum Earlier {
    /// Nothing.
    Nothing,
    /// The same.
    Same,
    /// Another secret, which this one has replaced.
    Replaced {
        /// When it was made, in seconds since 1970.
        made: u64,
        /// Where it was made.
        from: Origin,
    },
}

/// An offer that no other process can replace or end until this is dropped.
pub struct HeldOffer {
    folder: Folder,
    name: String,
    _changing: Changing,
}

impl HeldOffer {
    /// Removes it, durably.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn end(self) -> Result<(), Fault> {
        self.folder.remove(&self.name)?;
        Ok(self.folder.sync()?)
    }
}

impl Seen {
    fn of(text: &[u8]) -> Self {
        let lines = text.split_inclusive(|byte| *byte == b'\n');
        Self(lines.take_while(|line| !line.starts_with(b"sealed-under: ")).flatten().copied().collect())
    }
}

impl PendingOffer {
    /// As it is shown at `unix`.
    fn write(&self, user: &[u8], under: &StoreKey, nonce: [u8; 24], unix: u64) -> String {
        let from = self.from.as_str();
        let sealed = under.seal_offer(&self.key, &self.serial, self.made, from, user, nonce);
        format!(
            "{HEAD}\ntoken: oath-{}\nmade: {}\nfrom: {from}\nshown: {} {unix}\nsealed-under: {}\nsealed: {}\n",
            self.serial,
            self.made,
            self.times,
            under.id(),
            BASE64.encode(&sealed)
        )
    }

    /// `None` if the text is no offer to this user, or cannot be opened: a new one takes its place.
    fn read(text: &[u8], user: &[u8], keys: &StoreKeys) -> Option<Self> {
        let (serial, made) = (serial(text)?, made(text)?);
        let mut lines = str::from_utf8(text).ok()?.lines();
        let from = Origin::read(lines.nth(3)?.strip_prefix("from: ")?);
        let (times, last) = lines.next()?.strip_prefix("shown: ")?.split_once(' ')?;
        let (times, last) = (times.parse().ok()?, last.parse().ok()?);
        let under = lines.next()?.strip_prefix("sealed-under: ")?;
        let sealed = BASE64.decode(lines.next()?.strip_prefix("sealed: ")?.as_bytes()).ok()?;
        let key = keys.with_id(StoreKeyId::parse(under)?)?;
        if lines.next().is_some() {
            return None;
        }
        let key = key.open_offer(&sealed, &serial, Parameters::APP, made, from.as_str(), user).ok()?;
        Some(Self { serial, key, made, from, times, last, seen: Seen::of(text) })
    }
}

/// The value of a line of an offer. `None` if the text is none.
fn value<'t>(text: &'t [u8], line: usize, name: &str) -> Option<&'t str> {
    let text = str::from_utf8(text).ok()?;
    text.lines().next().filter(|head| *head == HEAD)?;
    text.lines().nth(line)?.strip_prefix(name)
}

/// The token that is offered.
fn serial(text: &[u8]) -> Option<Serial> {
    Serial::new(value(text, 1, "token: oath-")?)
}

/// When an offer was made. `None` if the text is none.
fn made(text: &[u8]) -> Option<u64> {
    value(text, 2, "made: ")?.parse().ok()
}

/// An offer of a later time was made when this host's clock was ahead: it would stay good for too long.
const fn is_good(made: u64, unix: u64) -> bool {
    made <= unix && unix < made.saturating_add(OFFER_IS_GOOD)
}

impl Store {
    fn pending(&self) -> Result<Folder, Fault> {
        self.part(PENDING)
    }

    /// The offer to `user` that was made at the same place and is good at `unix`, in seconds since 1970; else, or if `renew`, a
    /// new one by `draw`, which is durable when this returns. Two logins at once from one place get the same one, and only the last
    /// of them can take it.
    ///
    /// # Errors
    /// It cannot be written, or `draw` failed.
    pub fn offer<E: From<Fault>>(
        &self,
        user: &[u8],
        from: &Origin,
        unix: u64,
        renew: bool,
        draw: impl FnOnce() -> Result<(Serial, OathKey), E>,
    ) -> Result<(PendingOffer, Earlier), E> {
        file::make_folder(&self.folder.join(PENDING), 0o700).map_err(Fault::from)?;
        let (folder, name) = (self.pending()?, name_of(user));
        let _changing = folder.lock(self.locking.wait).map_err(Fault::from)?;
        // Under the lock: once a rotation has had it, nothing is sealed under the former key.
        let store_key = self.store_key()?;
        let text = match folder.read(&name, MOST, Audience::Owner) {
            Err(FileFault::Missing(_)) => Vec::new(),
            text => text.map_err(Fault::from)?,
        };
        let known = PendingOffer::read(&text, user, &store_key).filter(|offer| is_good(offer.made, unix));
        let earlier = match known {
            Some(mut offer) if offer.from == *from && !renew => {
                offer.times = offer.times.saturating_add(1);
                let text = offer.write(user, &store_key, random::bytes()?, unix);
                folder.replace(&name, text.as_bytes(), SECRET).map_err(Fault::from)?;
                offer.seen = Seen::of(text.as_bytes());
                return Ok((offer, Earlier::Same));
            }
            Some(PendingOffer { made, from, .. }) => Earlier::Replaced { made, from },
            None => Earlier::Nothing,
        };
        let (serial, key) = draw()?;
        let (from, seen) = (from.clone(), Seen::default());
        let mut offer = PendingOffer { serial, key, made: unix, from, times: 1, last: unix, seen };
        let text = offer.write(user, &store_key, random::bytes()?, unix);
        folder.replace(&name, text.as_bytes(), SECRET).map_err(Fault::from)?;
        offer.seen = Seen::of(text.as_bytes());
        Ok((offer, earlier))
    }

    /// The offer of this token to a user, if it was not replaced or ended; with `seen`, nor shown again since.
    ///
    /// # Errors
    /// It cannot be read, or another process keeps it for too long.
    pub fn hold_offer(
        &self,
        user: &[u8],
        token: &Serial,
        seen: Option<&Seen>,
    ) -> Result<Option<HeldOffer>, Fault> {
        let folder = match self.pending() {
            Err(Fault::NoStore { .. }) => return Ok(None),
            folder => folder?,
        };
        let (name, _changing) = (name_of(user), folder.lock(self.locking.wait)?);
        let text = match folder.read(&name, MOST, Audience::Owner) {
            Err(FileFault::Missing(_)) => return Ok(None),
            text => text?,
        };
        let is_it = serial(&text) == Some(*token) && seen.is_none_or(|seen| *seen == Seen::of(&text));
        Ok(is_it.then_some(HeldOffer { folder, name, _changing }))
    }

    /// Removes the offer to a user, if there is one, durably: another token was taken, or the user was reset. Returns
    /// whether there was one.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn end_offer(&self, user: &[u8]) -> Result<bool, Fault> {
        let folder = match self.pending() {
            Err(Fault::NoStore { .. }) => return Ok(false),
            folder => folder?,
        };
        let (name, _changing) = (name_of(user), folder.lock(self.locking.wait)?);
        let was_there = folder.has(&name)?;
        HeldOffer { folder, name, _changing }.end()?;
        Ok(was_there)
    }

    /// Seals every offer that is sealed under the former store key under the current one, and returns how many these were. One
    /// that does not open goes: it would be replaced.
    pub(super) fn reseal_offers(&self, rotation: Rotation) -> Result<usize, Fault> {
        let folder = match self.pending() {
            Err(Fault::NoStore { .. }) => return Ok(0),
            folder => folder?,
        };
        let _changing = folder.lock(self.locking.wait)?;
        let keys = self.store_key()?;
        let (former, mut count) = (format!("sealed-under: {}", rotation.former), 0_usize);
        for name in folder.all_names()? {
            // Left by a process that was killed.
            if name.starts_with('.') && name.ends_with(".new") {
                folder.remove(&name)?;
            }
            if name.starts_with('.') {
                continue;
            }
            let text = match folder.read(&name, MOST, Audience::Owner) {
                Err(FileFault::Missing(_)) => continue,
                text => text?,
            };
            if !text.split(|byte| *byte == b'\n').any(|line| line == former.as_bytes()) {
                continue;
            }
            let offer =
                user_of(&name).and_then(|user| Some((PendingOffer::read(&text, &user, &keys)?, user)));
            match offer {
                Some((offer, user)) => {
                    let text = offer.write(&user, &keys, random::bytes()?, offer.last);
                    folder.replace(&name, text.as_bytes(), SECRET)?;
                    count = count.saturating_add(1);
                }
                None => folder.remove(&name)?,
            }
        }
        folder.sync()?;
        Ok(count)
    }

    /// Removes every offer that cannot be taken any more at `unix`, in seconds since 1970, and what is no offer.
    ///
    /// # Errors
    /// The folder cannot be used, or a file cannot be removed.
    pub fn end_old_offers(&self, unix: u64) -> Result<(), Fault> {
        let folder = match self.pending() {
            Err(Fault::NoStore { .. }) => return Ok(()),
            folder => folder?,
        };
        let names = folder.names()?;
        if names.is_empty() {
            return Ok(());
        }
        let _changing = folder.lock(self.locking.wait)?;
        for name in names {
            let text = match folder.read(&name, MOST, Audience::Owner) {
                Err(FileFault::Missing(_)) => continue,
                text => text?,
            };
            let is_last = |made| is_good(made, unix) || is_good(made, unix.saturating_sub(LAST_DIALOGUE));
            if !made(&text).is_some_and(is_last) {
                folder.remove(&name)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yubiotp::oath::Secret;
    use zeroize::Zeroizing;

    fn offer(made: u64) -> PendingOffer {
        let secret = Secret::new(Zeroizing::new(vec![7; 20])).unwrap();
        let key = OathKey { secret, parameters: Parameters::APP };
        let from = Origin::login(b"sshd", Some(b"192.0.2.1"));
        PendingOffer {
            serial: Serial::new("app-1").unwrap(),
            key,
            made,
            from,
            times: 2,
            last: made,
            seen: Seen::default(),
        }
    }

    #[test]
    fn the_file_as_documented() {
        let key = StoreKey::new([1; 32]);
        let text = offer(1_796_000_000).write(b"alice", &key, [2; 24], 1_796_000_007);
        let (head, sealed) = text.split_once("sealed: ").unwrap();
        assert_eq!(
            head,
            format!(
                "# pam_yubiotp offer, version 1. Made by yubiotp-enroll, do not edit.\ntoken: oath-app-1\nmade: 1796000000\n\
                 from: login sshd 192.0.2.1\nshown: 2 1796000007\nsealed-under: {}\n",
                key.id()
            )
        );
        assert_eq!(BASE64.decode(sealed.trim_end().as_bytes()).unwrap().len(), 24 + 20 + 16);
        let read =
            |text: &str, user: &[u8], key| PendingOffer::read(text.as_bytes(), user, &StoreKeys::from(key));
        let whole = read(&text, b"alice", StoreKey::new([1; 32])).unwrap();
        assert_eq!((whole.made, whole.serial.as_str()), (1_796_000_000, "app-1"));
        assert_eq!((whole.times, whole.last), (2, 1_796_000_007));
        assert_eq!(whole.key.secret.expose(), &[7; 20]);
        assert!(read(&text, b"bob", StoreKey::new([1; 32])).is_none());
        assert!(read(&text, b"alice", StoreKey::new([3; 32])).is_none());
        for (from, to) in [
            ("1796000000", "1796000001"),
            ("version 1", "version 2"),
            ("app-1", "app-2"),
            ("192.0.2.1", "192.0.2.2"),
            ("from: login sshd 192.0.2.1\n", ""),
            ("\nsealed: ", "\nsealed: A"),
        ] {
            assert!(read(&text.replace(from, to), b"alice", StoreKey::new([1; 32])).is_none(), "{to}");
        }
        assert!(read("", b"alice", StoreKey::new([1; 32])).is_none());
    }

    #[test]
    fn good_for_an_hour() {
        for (made, unix, good) in [(100, 100, true), (100, 3699, true), (100, 3700, false), (101, 100, false)]
        {
            assert_eq!(is_good(made, unix), good, "{made} {unix}");
        }
    }
}
