//! A new set of recovery codes, and how it is shown.

use crate::{Failure, out};
use std::fmt::Write as _;
use std::io::Write as _;
use ykcli::time;
use ykhost::store::{RecoveryRecord, Shape, Store, TokenKey};
use ykhost::{Fault, clock, random};
use yubiotp::diagnostic::{Code, Diagnostic, cause};
use yubiotp::recovery::{RANDOM, RecoveryCode, RecoveryKey};
use yubiotp::seal::StoreKeys;
use yubiotp::{SetId, TokenId, shown};
use zeroize::Zeroizing;

/// Crockford's alphabet in lower case: no i, l, o or u.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// How many characters the name of a set has.
const NAME: usize = 6;

/// A set of recovery codes that is not in the store yet. Wiped on drop.
pub(crate) struct NewSet {
    name: SetId,
    codes: Vec<RecoveryCode>,
}

impl NewSet {
    /// Draws the codes, and a name that no set of this store has.
    pub(crate) fn draw(store: &Store, count: u8) -> Result<Self, Failure> {
        let name = set_name(store)?;
        let mut codes = Vec::new();
        for number in 1..=count {
            let random = Zeroizing::new(random::bytes::<RANDOM>()?);
            codes.extend(RecoveryCode::new(number, &random));
        }
        Ok(Self { name, codes })
    }

    /// As the mapping lists it.
    pub(crate) const fn token(&self) -> TokenId {
        TokenId::RecoverySet(self.name)
    }

    /// What the store keeps of the codes.
    pub(crate) fn keys(&self, store_key: &StoreKeys) -> Vec<TokenKey> {
        let (key, under) = (RecoveryKey::of(store_key), store_key.id());
        let record =
            |code: &RecoveryCode| RecoveryRecord::new(Shape::Letters, under, code.mac(&key, &self.name));
        self.codes.iter().map(|code| TokenKey::RecoveryCode(self.name, code.number(), record(code))).collect()
    }

    /// The codes as their owner writes them down.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.codes.iter().map(|code| code.write().as_str().to_owned()).collect()
    }

    /// The codes for paper.
    pub(crate) fn page(&self, user: &str) -> Zeroizing<String> {
        let mut page = Zeroizing::new(String::with_capacity(1024));
        let (host, name) = (rustix::system::uname(), shown::text(user));
        let host = host.nodename().to_string_lossy();
        // Writing to a String does not fail.
        let _ = writeln!(
            page,
            "Recovery codes of {name} on {} ({}), {} UTC\n",
            shown::text(host.as_bytes()),
            self.token(),
            time::utc(clock::unix())
        );
        for code in &self.codes {
            let _ = writeln!(page, "    {}", code.write().as_str());
        }
        let (each, they_are, them) = match self.codes.len() {
            1 => ("The code", "It is", "it"),
            _ => ("Each code", "They are", "them"),
        };
        let _ = writeln!(
            page,
            "\n{each} lets {name} in once, typed at the prompt for the OTP. {they_are} not shown again: keep {them} on paper."
        );
        page
    }
}

/// A random name that no set of this store has.
pub(crate) fn set_name(store: &Store) -> Result<SetId, Fault> {
    loop {
        let random = random::bytes::<NAME>()?;
        let letters = random.iter().filter_map(|byte| ALPHABET.get(usize::from(byte & 31)));
        let text: String = letters.map(|letter| char::from(*letter)).collect();
        if let Some(name) = SetId::new(&text)
            && store.recovery_codes(&name)?.is_empty()
        {
            return Ok(name);
        }
    }
}

/// Prints codes or a secret, and fails unless all was written: nobody may have what nobody has seen.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|why| {
        let problem = format!("standard output: {}: nothing was shown, and nothing was changed", cause(&why));
        Failure::from(Diagnostic::error(Code::OutputFailed, problem))
    })
}

/// The same for a script.
pub(crate) fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    let text = Zeroizing::new(out::json_text(value));
    print(&text)
}
