//! What protects the secrets of a file, and how they are opened.

use super::MAX_ITERATIONS;
use super::crypto::{Cipher, Hash};
use super::key::SecretValue;
use super::tree::Element;
use crate::encoding::Encoding;
use crate::password::{Password, Wanted};
use crate::problem::{BadPskc, Limit, Locked, Why};
use crate::token::Protection;
use data_encoding::{BASE64, BASE64_NOPAD};
use subtle::ConstantTimeEq as _;
use yubiotp::oath::Secret;
use zeroize::Zeroizing;

/// Opens secrets.
#[derive(Default)]
pub(super) struct Opener {
    source: Source,
    mac: Option<MacMethod>,
    keys: Option<Keys>,
}

/// Where the key comes from that secrets are encrypted with.
#[derive(Default)]
enum Source {
    /// The file does not say it.
    #[default]
    Unsaid,
    /// From somebody, on another way.
    Key { name: Option<String> },
    /// From a password.
    Password { name: Option<String>, derivation: Derivation },
}

/// PBKDF2 with its parameters.
struct Derivation {
    salt: Vec<u8>,
    rounds: u32,
    length: Option<usize>,
    hash: Hash,
}

/// How MACs are made.
struct MacMethod {
    hash: Hash,
    /// The key of the MACs, encrypted. Without it they are made with the key that secrets are encrypted with.
    key: Option<Encrypted>,
}

/// The keys of a file.
struct Keys {
    encryption: Zeroizing<Vec<u8>>,
    mac: Zeroizing<Vec<u8>>,
}

/// An encrypted value: an initialization vector and blocks.
pub(super) struct Encrypted {
    pub(super) cipher: Cipher,
    pub(super) value: Vec<u8>,
}

/// A secret, and whether a MAC said that nobody changed it.
pub(super) struct Opened {
    pub(super) secret: Secret,
    pub(super) by_mac: bool,
}

impl Opener {
    /// Reads `EncryptionKey`.
    pub(super) fn encryption_key(&mut self, element: &Element) -> Result<(), Why> {
        if !matches!(self.source, Source::Unsaid) {
            return Err(BadPskc::Twice("EncryptionKey").into());
        }
        if let Some(derived) = element.child("DerivedKey")? {
            let name = derived.text_of("MasterKeyName")?.map(str::to_owned);
            self.source = Source::Password { name, derivation: Derivation::read(derived)? };
            return Ok(());
        }
        if ["X509Data", "EncryptedKey", "RetrievalMethod", "AgreementMethod"]
            .iter()
            .any(|name| element.has(name))
        {
            return Err(BadPskc::Unsupported("an EncryptionKey other than a name or a password").into());
        }
        let name = element.text_of("KeyName")?.map(str::to_owned);
        self.source = Source::Key { name };
        Ok(())
    }

    /// Reads `MACMethod`.
    pub(super) fn mac_method(&mut self, element: &Element) -> Result<(), Why> {
        if self.mac.is_some() {
            return Err(BadPskc::Twice("MACMethod").into());
        }
        let uri = element.attribute("Algorithm").ok_or(BadPskc::Missing("Algorithm of MACMethod"))?;
        let hash = Hash::by_uri(uri).ok_or(BadPskc::Unsupported("the Algorithm of MACMethod"))?;
        let key = element.child("MACKey")?.map(Encrypted::read).transpose()?;
        if key.is_none() && element.child("MACKeyReference")?.is_some() {
            return Err(BadPskc::Unsupported("MACKeyReference").into());
        }
        self.mac = Some(MacMethod { hash, key });
        Ok(())
    }

    /// Asks for the password or key, if the package has something encrypted and nobody was asked yet.
    pub(super) fn open_for(
        &mut self,
        package: &Element,
        ask: &mut dyn FnMut(Wanted<'_>) -> Option<Password>,
    ) -> Result<(), Why> {
        if self.keys.is_some() || !package.has("EncryptedValue") {
            return Ok(());
        }
        let length = first_cipher(package)?.key_length();
        let mac = self.mac.as_ref().ok_or(BadPskc::NoMac)?;
        let encryption = match &self.source {
            Source::Unsaid => pre_shared(None, length, ask)?,
            Source::Key { name } => pre_shared(name.as_deref(), length, ask)?,
            Source::Password { name, derivation } => {
                if derivation.length.is_some_and(|said| said != length) {
                    return Err(BadPskc::Value("KeyLength").into());
                }
                let password =
                    ask(Wanted::PskcPassword { name: name.as_deref() }).ok_or(Locked::PasswordNeeded)?;
                let Derivation { salt, rounds, hash, .. } = derivation;
                hash.derive(password.expose(), salt, *rounds, length)
            }
        };
        let mac = match &mac.key {
            // Of the MAC key itself there is no MAC: a wrong one shows at the first secret.
            Some(key) => key.cipher.decrypt(&encryption, &key.value).ok_or_else(|| self.wrong())?,
            None => encryption.clone(),
        };
        self.keys = Some(Keys { encryption, mac });
        Ok(())
    }

    /// The secret of a key. The MAC is compared before anything is decrypted.
    pub(super) fn secret(&self, value: SecretValue) -> Result<Opened, Why> {
        let (bytes, by_mac) = match value {
            SecretValue::Plain(bytes) => {
                if self.mac.is_some() || !matches!(self.source, Source::Unsaid) {
                    return Err(BadPskc::PlainSecret.into());
                }
                (bytes, false)
            }
            SecretValue::Encrypted { encrypted, mac } => {
                let (Some(method), Some(keys), Some(mac)) = (&self.mac, &self.keys, mac) else {
                    return Err(BadPskc::NoMac.into());
                };
                let made = method.hash.mac(&keys.mac, &encrypted.value);
                if made.is_empty() || !bool::from(made.ct_eq(&mac)) {
                    return Err(BadPskc::Mac.into());
                }
                let plain = encrypted.cipher.decrypt(&keys.encryption, &encrypted.value);
                (plain.ok_or(BadPskc::Cipher("Secret"))?, true)
            }
        };
        let secret = Secret::new(bytes).map_err(BadPskc::SecretLength)?;
        Ok(Opened { secret, by_mac })
    }

    /// What a password or key is that opens nothing.
    pub(super) const fn wrong(&self) -> Locked {
        match self.source {
            Source::Password { .. } => Locked::WrongPassword,
            Source::Unsaid | Source::Key { .. } => Locked::WrongKey,
        }
    }

    /// What protected the secrets that were read.
    pub(super) const fn protection(&self) -> Protection {
        match (&self.keys, &self.source) {
            (None, _) => Protection::None,
            (Some(_), Source::Password { .. }) => Protection::Password,
            (Some(_), Source::Unsaid | Source::Key { .. }) => Protection::Key,
        }
    }
}

fn pre_shared(
    name: Option<&str>,
    bytes: usize,
    ask: &mut dyn FnMut(Wanted<'_>) -> Option<Password>,
) -> Result<Zeroizing<Vec<u8>>, Why> {
    let key = ask(Wanted::PskcKey { name, bytes }).ok_or(Locked::KeyNeeded)?;
    let text = str::from_utf8(key.expose()).unwrap_or_default();
    let key = Encoding::Hex.decode(text).filter(|key| key.len() == bytes);
    key.ok_or_else(|| Locked::KeyNotHex { digits: bytes.saturating_mul(2) }.into())
}

/// The cipher of the first encrypted value of a package.
fn first_cipher(package: &Element) -> Result<Cipher, BadPskc> {
    fn find(element: &Element) -> Option<&Element> {
        element
            .children()
            .iter()
            .find_map(|child| if child.name == "EncryptedValue" { Some(child) } else { find(child) })
    }
    cipher_of(find(package).ok_or(BadPskc::Missing("EncryptedValue"))?)
}

fn cipher_of(encrypted: &Element) -> Result<Cipher, BadPskc> {
    let method = encrypted.needed("EncryptionMethod")?;
    let uri = method.attribute("Algorithm").ok_or(BadPskc::Missing("Algorithm of EncryptionMethod"))?;
    Cipher::by_uri(uri).ok_or(BadPskc::Unsupported("the Algorithm of EncryptionMethod"))
}

impl Encrypted {
    /// Reads an element of the type `EncryptedDataType`.
    pub(super) fn read(element: &Element) -> Result<Self, BadPskc> {
        let cipher = cipher_of(element)?;
        let data = element.needed("CipherData")?;
        if data.child("CipherReference")?.is_some() {
            return Err(BadPskc::Unsupported("CipherReference"));
        }
        let value = base64(data.needed("CipherValue")?.text(), "CipherValue")?.to_vec();
        Ok(Self { cipher, value })
    }
}

impl Derivation {
    fn read(derived: &Element) -> Result<Self, Why> {
        let method = derived.needed("KeyDerivationMethod")?;
        let uri =
            method.attribute("Algorithm").ok_or(BadPskc::Missing("Algorithm of KeyDerivationMethod"))?;
        if !uri.to_ascii_lowercase().ends_with("#pbkdf2") {
            return Err(BadPskc::Unsupported("the Algorithm of KeyDerivationMethod").into());
        }
        let parameters = method.needed("PBKDF2-params")?;
        let salt = parameters.needed("Salt")?.child("Specified")?;
        let salt = salt.ok_or(BadPskc::Unsupported("a Salt other than Specified"))?;
        let rounds: u64 = number(parameters.needed("IterationCount")?, "IterationCount")?;
        let rounds = u32::try_from(rounds).ok().filter(|rounds| (1..=MAX_ITERATIONS).contains(rounds));
        let length = parameters.child("KeyLength")?.map(|length| number(length, "KeyLength")).transpose()?;
        Ok(Self {
            salt: base64(salt.text(), "Salt")?.to_vec(),
            rounds: rounds.ok_or(Limit::Iterations { most: MAX_ITERATIONS })?,
            length,
            hash: prf(parameters)?,
        })
    }
}

/// The pseudo-random function: by its attribute `Algorithm`, or as text, as python-pskc writes it; HMAC-SHA1 if it is not
/// there or says nothing.
fn prf(parameters: &Element) -> Result<Hash, BadPskc> {
    let Some(prf) = parameters.child("PRF")? else { return Ok(Hash::Sha1) };
    match prf.attribute("Algorithm").unwrap_or_else(|| prf.text()) {
        "" => Ok(Hash::Sha1),
        uri => Hash::by_uri(uri).ok_or(BadPskc::Unsupported("the PRF of the password")),
    }
}

/// A number that is not negative.
pub(super) fn number<N: std::str::FromStr>(element: &Element, name: &'static str) -> Result<N, BadPskc> {
    crate::lines::number(element.text()).ok_or(BadPskc::Value(name))
}

/// The bytes of a base64 text, in which blanks and line ends do not count.
pub(super) fn base64(text: &str, name: &'static str) -> Result<Zeroizing<Vec<u8>>, BadPskc> {
    let mut packed = Zeroizing::new(Vec::with_capacity(text.len()));
    packed.extend(text.bytes().filter(|byte| !byte.is_ascii_whitespace()));
    let bad = BadPskc::Base64(name);
    let padded = packed.ends_with(b"=") || packed.len().is_multiple_of(4);
    let base64 = if padded { BASE64 } else { BASE64_NOPAD };
    let mut bytes = Zeroizing::new(vec![0; base64.decode_len(packed.len()).map_err(|_| bad)?]);
    let length = base64.decode_mut(&packed, &mut bytes).map_err(|_| bad)?;
    bytes.truncate(length);
    if bytes.is_empty() { Err(bad) } else { Ok(bytes) }
}
