//! The host that logins are tried on: settings, a store with three YubiKeys and an OATH token, and a mapping that is new each
//! time.

use crate::soft_yubikey::SoftYubiKey;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::LazyLock;
use ykhost::file::make_folder;
use ykhost::settings::{PartialConfig, Settings};
use ykhost::store::{GUESSES, KEYS, OathNotes, POSITIONS, Store, TokenKey, write_store_key};
use yubiotp::key::OathKey;
use yubiotp::ledger::{Advance, Ledger as _};
use yubiotp::seal::StoreKey;
use yubiotp::oath::{Algorithm, Code, Digits, Kind, Parameters, Secret};
use yubiotp::{AesKey, Credential, Position, PrivateId, PublicId, Serial, TokenId};

/// How many YubiKeys there are. The last has no public ID. The OATH token, which counts, comes after them.
pub(crate) const TOKENS: usize = 3;
/// How many OTPs of each were used before.
pub(crate) const USED: [usize; TOKENS] = [3, 0, 0];
/// OTPs of each token, the nth of usage counter n + 1.
pub(crate) static OTPS: LazyLock<[Vec<String>; TOKENS]> = LazyLock::new(|| {
    [0, 1, 2].map(|token| {
        let mut key = key(token);
        let press = |counter| {
            key.set_counter(counter);
            key.press()
        };
        (1..=10).map(press).collect()
    })
});
pub(crate) static WORLD: LazyLock<World> = LazyLock::new(World::new);

pub(crate) struct World {
    folder: PathBuf,
    store: Store,
    /// The position files of a host on which nothing has happened yet.
    fresh: Vec<(PathBuf, Vec<u8>)>,
}

/// What the mapping calls the OATH token.
pub(crate) const OATH: &str = "oath-h";

fn oath() -> (Serial, OathKey) {
    let secret = Secret::new(b"12345678901234567890".to_vec().into()).unwrap();
    let parameters = Parameters { kind: Kind::Hotp, algorithm: Algorithm::Sha1, digits: Digits::SIX };
    (Serial::new("h").unwrap(), OathKey { secret, parameters })
}

/// The code of the OATH token at a counter: RFC 4226, appendix D, up to 9.
pub(crate) fn code(counter: u64) -> String {
    let (_, key) = oath();
    let made = yubiotp::oath::code(&key.secret, key.parameters, counter);
    (0..1_000_000)
        .map(|number| format!("{number:06}"))
        .find(|text| Code::read(text.as_bytes()).unwrap().matches(&made))
        .unwrap()
}

/// The codes that a script can name.
static CODES: LazyLock<Vec<String>> = LazyLock::new(|| (0..10).map(code).collect());

const IDS: [&[u8]; TOKENS] = [&[0xff, 0, 0, 0, 0, 1], &[0xff, 1], &[]];

fn secrets(token: usize) -> ([u8; 6], [u8; 16]) {
    let byte = u8::try_from(token).unwrap();
    ([7 + byte; 6], [70 + byte; 16])
}

fn key(token: usize) -> SoftYubiKey {
    let (private_id, aes_key) = secrets(token);
    SoftYubiKey::new(IDS[token], private_id, aes_key)
}

fn public_id(token: usize) -> PublicId {
    PublicId::from_bytes(IDS[token]).unwrap()
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap().keep();
        fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
        for name in [KEYS, POSITIONS] {
            make_folder(&folder.join(name), 0o700).unwrap();
        }
        let mut world = Self {
            store: Store::new(&Settings::load(None, PartialConfig::default()).unwrap()),
            folder,
            fresh: Vec::new(),
        };
        world.write("store.key", write_store_key(&StoreKey::new([1; 32])).as_bytes());
        world.write(
            "config.toml",
            b"mapping = 'mapping'\nstore = '.'\nstore_key = 'store.key'\nlock_wait = 0\n",
        );
        world.store = Store::new(&Settings::load(Some(&world.config()), PartialConfig::default()).unwrap());
        let tokens = [0, 1, 2].map(|token| {
            let (private_id, aes_key) = secrets(token);
            let credential =
                Credential { private_id: PrivateId::new(private_id), aes_key: AesKey::new(aes_key) };
            TokenKey::YubiKey(public_id(token), credential)
        });
        world.store.change().unwrap().enrol(&tokens, &|| {}).unwrap();
        for (token, key) in tokens.iter().enumerate() {
            if let Some(last) = USED[token].checked_sub(1) {
                let to = Position::yubikey(u16::try_from(last + 1).unwrap(), 0);
                let advanced = world.store.advance(&key.id(), key.fingerprint(), to).unwrap();
                assert!(matches!(advanced, Advance::Fresh(_)));
            }
            world.keep(world.position(token));
        }
        let (serial, key) = oath();
        world.store.change().unwrap().enrol(&[TokenKey::Oath(serial, key, OathNotes::default())], &|| {}).unwrap();
        world.keep(world.folder.join(POSITIONS).join(OATH));
        world
    }

    fn keep(&mut self, path: PathBuf) {
        let contents = fs::read(&path).unwrap();
        self.fresh.push((path, contents));
    }

    fn write(&self, name: &str, contents: &[u8]) {
        fs::write(self.folder.join(name), contents).unwrap();
        fs::set_permissions(self.folder.join(name), Permissions::from_mode(0o600)).unwrap();
    }

    fn position(&self, token: usize) -> PathBuf {
        self.folder.join(POSITIONS).join(public_id(token).to_string())
    }

    /// As it was in the beginning, with this mapping.
    pub(crate) fn restore(&self, mapping: &[u8]) {
        self.write("mapping", mapping);
        for (path, contents) in &self.fresh {
            fs::write(path, contents).unwrap();
        }
        let _ = fs::remove_dir_all(self.folder.join(GUESSES));
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.join("config.toml")
    }

    /// How far each token has come, the OATH token last.
    pub(crate) fn positions(&self) -> Vec<Option<u64>> {
        let state = |token| self.store.slots(&public_id(token).into()).unwrap().unwrap().state;
        let mut positions: Vec<_> = (0..TOKENS).map(|token| state(token).position).collect();
        positions.push(self.store.slots(&TokenId::Oath(oath().0)).unwrap().unwrap().state.position);
        positions.into_iter().map(|position| position.map(Position::to_stored)).collect()
    }

    /// The id of a token as the mapping's model has it.
    pub(crate) fn id(token: usize) -> String {
        key(token).public_id()
    }
}

/// With an OTP wherever `%` and two digits stand for one, and a code wherever `%h` and a digit do.
pub(crate) fn with_otps(text: &[u8]) -> Vec<u8> {
    replaced(text, b'%', |rest| match rest {
        [b'h', number @ b'0'..=b'9', ..] => Some((2, CODES[usize::from(number - b'0')].clone())),
        [token @ b'0'..=b'2', number @ b'0'..=b'9', ..] => {
            Some((2, OTPS[usize::from(token - b'0')][usize::from(number - b'0')].clone()))
        }
        _ => None,
    })
}

/// With a token wherever `$` and a digit, or an h, stand for one.
pub(crate) fn with_ids(text: &[u8]) -> Vec<u8> {
    replaced(text, b'$', |rest| match rest {
        [b'h', ..] => Some((1, OATH.to_owned())),
        [token @ b'0'..=b'2', ..] => Some((1, public_id(usize::from(token - b'0')).to_string())),
        _ => None,
    })
}

fn replaced(mut text: &[u8], sign: u8, with: impl Fn(&[u8]) -> Option<(usize, String)>) -> Vec<u8> {
    let mut replaced = Vec::new();
    while let Some((first, rest)) = text.split_first() {
        text = rest;
        match with(rest).filter(|_| *first == sign) {
            Some((taken, by)) => {
                replaced.extend_from_slice(by.as_bytes());
                text = &rest[taken..];
            }
            None => replaced.push(*first),
        }
    }
    replaced
}
