//! The client's certificate and private key.

use crate::files::{self, Kind};
use crate::pem::{self, Section};
use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::pkcs5;
use rustls::InconsistentKeys;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use std::path::Path;
use yubiotp::ask::Question;

/// Reads them, if the question names them.
pub(crate) fn read(
    question: &Question,
    provider: &CryptoProvider,
) -> Result<Option<SingleCertAndKey>, String> {
    let (certificate, key) = match (&question.client_cert, &question.client_key) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) if question.client_key_passphrase_file.is_none() => return Ok(None),
        (None, None) => {
            return Err("client_key_passphrase_file is set, and client_cert and client_key are not".into());
        }
        (Some(_), None) => {
            return Err("client_cert is set, and client_key is not: each needs the other".into());
        }
        (None, Some(_)) => {
            return Err("client_key is set, and client_cert is not: each needs the other".into());
        }
    };
    let chain = chain(certificate)?;
    let private = private_key(key, question.client_key_passphrase_file.as_deref())?;
    let Ok(signs) = provider.key_provider.load_private_key(private) else {
        return Err(format!(
            "{key}: this kind of private key cannot be used: RSA (2048 to 4096 bits), ECDSA P-256 or P-384, or Ed25519"
        ));
    };
    let both = CertifiedKey::new(chain, signs);
    match both.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Some(both.into())),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(format!("{key}: this private key is not that of the first certificate in {certificate}"))
        }
        Err(error) => Err(format!("{certificate}: the first certificate cannot be used: {error}")),
    }
}

/// The certificates of a file, the client's first.
fn chain(name: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = files::read(Path::new(name), Kind::Named)?;
    pem::refuse_binary(name, &text, "x509")?;
    let mut chain = Vec::new();
    for section in pem::sections(&text) {
        let section = section.map_err(|line| not_whole(name, line))?;
        if matches!(section.label, "CERTIFICATE" | "X509 CERTIFICATE") {
            chain.push(CertificateDer::from_slice(&section.der).into_owned());
        }
    }
    if chain.is_empty() {
        return Err(format!("{name}: holds no certificate (PEM: -----BEGIN CERTIFICATE-----)"));
    }
    Ok(chain)
}

/// The private key of a file, which may hold certificates too.
fn private_key(name: &str, passphrase_file: Option<&str>) -> Result<PrivateKeyDer<'static>, String> {
    let text = files::read(Path::new(name), Kind::Secret)?;
    pem::refuse_binary(name, &text, "pkey")?;
    for section in pem::sections(&text) {
        let Section { label, old_encryption, der, .. } = section.map_err(|line| not_whole(name, line))?;
        if old_encryption {
            return Err(convert(name, "is encrypted in the old way (Proc-Type: 4,ENCRYPTED)"));
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
    Err(format!("{name}: holds no private key (PEM: -----BEGIN PRIVATE KEY-----)"))
}

fn decrypted(
    name: &str,
    der: &[u8],
    passphrase_file: Option<&str>,
) -> Result<PrivateKeyDer<'static>, String> {
    let Some(file) = passphrase_file else {
        return Err(format!(
            "{name}: is encrypted: name a file with its passphrase in client_key_passphrase_file"
        ));
    };
    let passphrase = files::read(Path::new(file), Kind::Secret)?;
    let passphrase = passphrase.strip_suffix(b"\n").unwrap_or(&passphrase);
    let passphrase = passphrase.strip_suffix(b"\r").unwrap_or(passphrase);
    let unknown = || convert(name, "is encrypted in a way that is not supported");
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(der).map_err(|_| unknown())?;
    match encrypted.decrypt(passphrase) {
        Ok(key) => Ok(PrivateKeyDer::Pkcs8(key.as_bytes().to_vec().into())),
        Err(pkcs8::Error::EncryptedPrivateKey(
            pkcs5::Error::UnsupportedAlgorithm { .. }
            | pkcs5::Error::NoPbes1CryptSupport
            | pkcs5::Error::AlgorithmParametersInvalid { .. },
        )) => Err(unknown()),
        // What was decrypted by a wrong passphrase is no padding, or no key.
        Err(_) => Err(format!("{name}: the passphrase in {file} is not that of this key")),
    }
}

fn convert(name: &str, what: &str) -> String {
    format!("{name}: {what}: openssl pkcs8 -topk8 -in {name} -out NEW, and name NEW in client_key")
}

fn not_whole(name: &str, line: usize) -> String {
    format!("{name}: line {line} begins what is not whole PEM")
}
