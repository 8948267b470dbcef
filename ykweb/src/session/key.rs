//! The secrets that browsers keep in cookies and bring in URLs: 256 random bits each, stored only as a hash.

use crate::random::{self, NoRandom};
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// A secret of 256 bits. Never printed or copied, wiped on drop.
pub struct Key(Zeroizing<[u8; 32]>);

/// What is stored of a [`Key`]: its SHA-256, from which nobody learns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub [u8; 32]);

impl Key {
    /// A new one.
    ///
    /// # Errors
    /// The system has no random source.
    pub fn new() -> Result<Self, NoRandom> {
        Ok(Self(Zeroizing::new(random::bytes()?)))
    }

    /// Reads what [`Self::write`] wrote; `None`: it is something else.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        // Only one text is read as a key.
        let mut key = Zeroizing::new([0; 32]);
        let is_whole = text.len() == 43
            && BASE64URL_NOPAD.decode_mut(text.as_bytes(), &mut *key).is_ok_and(|length| length == key.len());
        is_whole.then_some(Self(key))
    }

    /// For a cookie or a URL: 43 letters of base64url.
    #[must_use]
    pub fn write(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64URL_NOPAD.encode(&*self.0))
    }

    /// What is stored of it.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        KeyHash(Sha256::digest(self.0.as_slice()).into())
    }

    /// The word that a form has to bring beside this key in a cookie: nobody else can make it.
    #[must_use]
    pub fn word_for(&self, cookie: &Self) -> String {
        let Ok(mac) = Hmac::<Sha256>::new_from_slice(&*self.0) else { return String::new() };
        let mac = mac.chain_update(b"ykweb form 1").chain_update(cookie.0.as_slice());
        BASE64URL_NOPAD.encode(&mac.finalize().into_bytes())
    }

    /// Whether a form brought the right word.
    #[must_use]
    pub fn is_word_for(&self, cookie: &Self, word: &str) -> bool {
        let wanted = self.word_for(cookie);
        !wanted.is_empty() && bool::from(wanted.as_bytes().ct_eq(word.as_bytes()))
    }
}

impl KeyHash {
    /// For a URL: 43 letters of base64url.
    #[must_use]
    pub fn write(&self) -> String {
        BASE64URL_NOPAD.encode(&self.0)
    }

    /// Reads what [`Self::write`] wrote; `None`: it is something else.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let mut hash = [0; 32];
        let is_whole = text.len() == 43
            && BASE64URL_NOPAD
                .decode_mut(text.as_bytes(), &mut hash)
                .is_ok_and(|length| length == hash.len());
        is_whole.then_some(Self(hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_in_one_way_only() {
        let key = Key::new().unwrap();
        let text = key.write();
        assert_eq!(Key::read(&text).unwrap().hash(), key.hash());
        assert_eq!(KeyHash::read(&key.hash().write()), Some(key.hash()));
        let longer = format!("{}A", *text);
        // The last letter has two bits that belong to no byte.
        let bent = format!("{}B", "A".repeat(42));
        for bad in ["", "A", &text[..42], longer.as_str(), bent.as_str(), &"=".repeat(43), &"ä".repeat(22)] {
            assert!(Key::read(bad).is_none() && KeyHash::read(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_word_is_for_one_cookie() {
        let [server, other, one, two] = std::array::from_fn(|_| Key::new().unwrap());
        let word = server.word_for(&one);
        assert!(server.is_word_for(&one, &word));
        assert!(
            !server.is_word_for(&two, &word)
                && !other.is_word_for(&one, &word)
                && !server.is_word_for(&one, "")
        );
    }
}
