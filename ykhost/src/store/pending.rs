//! `pending/USER`: the authenticator app that a user is offered, and has not taken yet.
//!
//! It is kept for an hour, so that a login that breaks off and the next one offer the same secret: a QR code that was scanned
//! stays good. Nobody can log in by it. The secret is sealed under the store key and bound to the user, token and time.

use super::Store;
use super::guesses::name_of;
use crate::Fault;
use crate::file::{self, Audience, FileFault, Folder};
use crate::random;
use data_encoding::BASE64;
use rustix::fs::Mode;
use yubiotp::Serial;
use yubiotp::key::OathKey;
use yubiotp::oath::Parameters;
use yubiotp::seal::StoreKey;

/// The folder of offers, in the store.
pub const PENDING: &str = "pending";

/// How long an offer is good, in seconds.
pub const OFFER_IS_GOOD: u64 = 3600;

const HEAD: &str = "# pam_yubiotp offer, version 1. Made by yubiotp-enroll, do not edit.";
const SECRET: Mode = Mode::RUSR.union(Mode::WUSR);
const MOST: u64 = 4096;

/// An authenticator app that a user is offered. Its parameters are those of [`Parameters::APP`].
pub struct PendingOffer {
    /// The serial number of the token to be.
    pub serial: Serial,
    /// Its secret.
    pub key: OathKey,
    /// When it was made, in seconds since 1970.
    pub made: u64,
}

impl PendingOffer {
    fn write(&self, user: &[u8], under: &StoreKey, nonce: [u8; 24]) -> String {
        let sealed = under.seal_offer(&self.key, &self.serial, self.made, user, nonce);
        format!(
            "{HEAD}\ntoken: oath-{}\nmade: {}\nsealed-under: {}\nsealed: {}\n",
            self.serial,
            self.made,
            under.id(),
            BASE64.encode(&sealed)
        )
    }

    /// `None` if the text is no offer to this user, or cannot be opened: a new one takes its place.
    fn read(text: &[u8], user: &[u8], key: &StoreKey) -> Option<Self> {
        let made = made(text)?;
        let mut lines = str::from_utf8(text).ok()?.lines();
        let serial = Serial::new(lines.nth(1)?.strip_prefix("token: oath-")?)?;
        let under = lines.nth(1)?.strip_prefix("sealed-under: ")?;
        let sealed = BASE64.decode(lines.next()?.strip_prefix("sealed: ")?.as_bytes()).ok()?;
        if under != key.id().to_string() || lines.next().is_some() {
            return None;
        }
        let key = key.open_offer(&sealed, &serial, Parameters::APP, made, user).ok()?;
        Some(Self { serial, key, made })
    }
}

/// When an offer was made. `None` if the text is none.
fn made(text: &[u8]) -> Option<u64> {
    let mut lines = str::from_utf8(text).ok()?.lines();
    lines.next().filter(|head| *head == HEAD)?;
    lines.nth(1)?.strip_prefix("made: ")?.parse().ok()
}

/// An offer of a later time was made when this host's clock was ahead: it would stay good for too long.
const fn is_good(made: u64, unix: u64) -> bool {
    made <= unix && unix < made.saturating_add(OFFER_IS_GOOD)
}

impl Store {
    fn pending(&self) -> Result<Folder, Fault> {
        self.part(PENDING)
    }

    /// The offer to `user` that is good at `unix`, in seconds since 1970; else a new one by `draw`, which is durable when this
    /// returns. Two logins at once get the same one.
    ///
    /// # Errors
    /// It cannot be written, or `draw` failed.
    pub fn offer<E: From<Fault>>(
        &self,
        user: &[u8],
        unix: u64,
        draw: impl FnOnce() -> Result<(Serial, OathKey), E>,
    ) -> Result<PendingOffer, E> {
        file::make_folder(&self.folder.join(PENDING), 0o700).map_err(Fault::from)?;
        let (folder, name, store_key) = (self.pending()?, name_of(user), self.store_key()?);
        let _changing = folder.lock(self.locking.wait).map_err(Fault::from)?;
        let text = match folder.read(&name, MOST, Audience::Owner) {
            Err(FileFault::Missing(_)) => Vec::new(),
            text => text.map_err(Fault::from)?,
        };
        let known = PendingOffer::read(&text, user, &store_key);
        if let Some(offer) = known.filter(|offer| is_good(offer.made, unix)) {
            return Ok(offer);
        }
        let (serial, key) = draw()?;
        let offer = PendingOffer { serial, key, made: unix };
        let text = offer.write(user, &store_key, random::bytes()?);
        folder.replace(&name, text.as_bytes(), SECRET).map_err(Fault::from)?;
        Ok(offer)
    }

    /// Removes the offer to a user, if there is one: it was taken, or another token was.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn end_offer(&self, user: &[u8]) -> Result<(), Fault> {
        match self.pending() {
            Err(Fault::NoStore { .. }) => Ok(()),
            folder => Ok(folder?.remove(&name_of(user))?),
        }
    }

    /// Removes every offer that is not good any more at `unix`, in seconds since 1970, and what is no offer.
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
            if !made(&text).is_some_and(|made| is_good(made, unix)) {
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
        PendingOffer { serial: Serial::new("app-1").unwrap(), key, made }
    }

    #[test]
    fn the_file_as_documented() {
        let key = StoreKey::new([1; 32]);
        let text = offer(1_796_000_000).write(b"alice", &key, [2; 24]);
        let (head, sealed) = text.split_once("sealed: ").unwrap();
        assert_eq!(
            head,
            format!(
                "# pam_yubiotp offer, version 1. Made by yubiotp-enroll, do not edit.\ntoken: oath-app-1\nmade: 1796000000\n\
                 sealed-under: {}\n",
                key.id()
            )
        );
        assert_eq!(BASE64.decode(sealed.trim_end().as_bytes()).unwrap().len(), 24 + 20 + 16);
        let read = |text: &str, user: &[u8], key| PendingOffer::read(text.as_bytes(), user, &key);
        let whole = read(&text, b"alice", StoreKey::new([1; 32])).unwrap();
        assert_eq!((whole.made, whole.serial.as_str()), (1_796_000_000, "app-1"));
        assert_eq!(whole.key.secret.expose(), &[7; 20]);
        assert!(read(&text, b"bob", StoreKey::new([1; 32])).is_none());
        assert!(read(&text, b"alice", StoreKey::new([3; 32])).is_none());
        for (from, to) in [
            ("1796000000", "1796000001"),
            ("version 1", "version 2"),
            ("app-1", "app-2"),
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
