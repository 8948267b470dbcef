//! The client's certificate and private key.

use crate::failure::Unable;
use crate::files::{self, Kind};
use crate::pem::{self, Section};
use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::pkcs5;
use rustls::InconsistentKeys;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use std::path::Path;
use yubiotp::ask::{Obstacle, Question};

/// Reads them, if the question names them.
pub(crate) fn read(
    question: &Question,
    provider: &CryptoProvider,
) -> Result<Option<SingleCertAndKey>, Unable> {
    let parts = |why: &str| Err(Unable::new(Obstacle::IdentityParts, why));
    let (certificate, key) = match (&question.client_cert, &question.client_key) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) if question.client_key_passphrase_file.is_none() => return Ok(None),
        (None, None) => {
            return parts("client_key_passphrase_file is set, and client_cert and client_key are not");
        }
        (Some(_), None) => return parts("client_cert is set, and client_key is not"),
        (None, Some(_)) => return parts("client_key is set, and client_cert is not"),
    };
    let chain = chain(certificate)?;
    let private = private_key(key, question.client_key_passphrase_file.as_deref())?;
    let Ok(signs) = provider.key_provider.load_private_key(private) else {
        return Err(Unable::new(
            Obstacle::KeyType,
            format!("{key}: this kind of private key cannot be used"),
        ));
    };
    let both = CertifiedKey::new(chain, signs);
    match both.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Some(both.into())),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(format!("{key}: this private key is not that of the first certificate in {certificate}")
                .into())
        }
        Err(error) => Err(format!("{certificate}: the first certificate cannot be used: {error}").into()),
    }
}

/// The certificates of a file, the client's first.
fn chain(name: &str) -> Result<Vec<CertificateDer<'static>>, Unable> {
    let text = files::read(Path::new(name), Kind::Named)?;
    pem::refuse_binary(name, &text, Obstacle::DerCertificate)?;
    let mut chain = Vec::new();
    for section in pem::sections(&text) {
        let section = section.map_err(|line| not_whole(name, line))?;
        if matches!(section.label, "CERTIFICATE" | "X509 CERTIFICATE") {
            chain.push(CertificateDer::from_slice(&section.der).into_owned());
        }
    }
    if chain.is_empty() {
        return Err(format!("{name}: holds no certificate (PEM: -----BEGIN CERTIFICATE-----)").into());
    }
    Ok(chain)
}

/// The private key of a file, which may hold certificates too.
fn private_key(name: &str, passphrase_file: Option<&str>) -> Result<PrivateKeyDer<'static>, Unable> {
    let text = files::read(Path::new(name), Kind::Secret)?;
    pem::refuse_binary(name, &text, Obstacle::DerKey)?;
    for section in pem::sections(&text) {
        let Section { label, old_encryption, der, .. } = section.map_err(|line| not_whole(name, line))?;
        if old_encryption {
            return Err(encryption(name, "is encrypted in the old way (Proc-Type: 4,ENCRYPTED)"));
        }
        let copy = || der.to_vec();
        return Ok(match label {
            "PRIVATE KEY" => PrivateKeyDer::Pkcs8(copy().into()),
            "RSA PRIVATE KEY" => PrivateKeyDer::Pkcs1(copy().into()),
            "EC PRIVATE KEY" => PrivateKeyDer::Sec1(copy().into()),
            "ENCRYPTED PRIVATE KEY" => decrypted(name, &der, passphrase_file)?,
            _ => continue,
        });
    }
    Err(format!("{name}: holds no private key (PEM: -----BEGIN PRIVATE KEY-----)").into())
}

fn decrypted(
    name: &str,
    der: &[u8],
    passphrase_file: Option<&str>,
) -> Result<PrivateKeyDer<'static>, Unable> {
    let Some(file) = passphrase_file else {
        let why = format!("{name}: is encrypted, and client_key_passphrase_file is not set");
        return Err(Unable::new(Obstacle::NoPassphrase, why));
    };
    let passphrase = files::read(Path::new(file), Kind::Secret)?;
    let passphrase = passphrase.strip_suffix(b"\n").unwrap_or(&passphrase);
    let passphrase = passphrase.strip_suffix(b"\r").unwrap_or(passphrase);
    let unknown = || encryption(name, "is encrypted in a way that is not supported");
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(der).map_err(|_| unknown())?;
    match encrypted.decrypt(passphrase) {
        Ok(key) => Ok(PrivateKeyDer::Pkcs8(key.as_bytes().to_vec().into())),
        Err(pkcs8::Error::EncryptedPrivateKey(
            pkcs5::Error::UnsupportedAlgorithm { .. }
            | pkcs5::Error::NoPbes1CryptSupport
            | pkcs5::Error::AlgorithmParametersInvalid { .. },
        )) => Err(unknown()),
        // A wrong passphrase decrypts to bad padding, or to no key.
        Err(_) => Err(format!("{name}: the passphrase in {file} is not that of this key").into()),
    }
}

fn encryption(name: &str, what: &str) -> Unable {
    Unable::new(Obstacle::KeyEncryption, format!("{name}: {what}"))
}

fn not_whole(name: &str, line: usize) -> String {
    format!("{name}: line {line} begins what is not whole PEM")
}
