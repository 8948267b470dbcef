//! Certificates: an authority, what it signs and what it does not, as files that programs read.

use data_encoding::BASE64;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _, SanType, date_time_ymd,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The issuer.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its private key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate, PEM.
    pub certificate: String,
    /// The key, PKCS#8 in PEM.
    pub key: String,
}

/// The properties of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// For 127.0.0.1 and localhost, as it should be.
    Right,
    /// For another name and another address.
    WrongName,
    /// Until 2020.
    Expired,
    /// From 2100 on.
    NotYetValid,
    /// For two more days.
    Ending,
    /// Signed by itself.
    SelfSigned,
    /// For clients.
    Client,
}

impl Authority {
    /// An authority of that name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Its certificate, PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Signs a certificate for a client of this DNS name.
    ///
    /// # Panics
    /// Where it is no DNS name.
    #[must_use]
    pub fn client(&self, name: &str) -> Identity {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { certificate, key: key.serialize_pem() }
    }

    /// Signs a certificate for a web server of this name, which may begin with `*.`; and SHA-256 of its public key (SPKI), in base64.
    ///
    /// # Panics
    /// Where it is no DNS name.
    #[must_use]
    pub fn site(&self, name: &str) -> (Identity, String) {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        let hash = BASE64.encode(&Sha256::digest(key.subject_public_key_info()));
        (Identity { certificate, key: key.serialize_pem() }, hash)
    }

    /// For a client that trusts only this authority, and shows this certificate, if it has one, to a server that asks.
    #[must_use]
    pub fn trusting(&self, own: Option<&Identity>) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        let builder =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        Arc::new(match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let certificate = CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        })
    }

    /// Signs a certificate, or lets it sign itself.
    #[must_use]
    pub fn identity(&self, kind: Kind) -> Identity {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("{kind:?}"));
        let (name, address) = match kind {
            Kind::WrongName => ("other.example", Ipv4Addr::new(192, 0, 2, 1)),
            _ => ("localhost", Ipv4Addr::LOCALHOST),
        };
        let usage = if kind == Kind::Client {
            ExtendedKeyUsagePurpose::ClientAuth
        } else {
            let name = SanType::DnsName(name.try_into().unwrap());
            params.subject_alt_names = vec![name, SanType::IpAddress(IpAddr::V4(address))];
            ExtendedKeyUsagePurpose::ServerAuth
        };
        params.extended_key_usages = vec![usage];
        match kind {
            Kind::Expired => params.not_after = date_time_ymd(2020, 1, 1),
            Kind::Ending => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                params.not_after = date_time_ymd(1970, 1, 1) + now + Duration::from_secs(2 * 24 * 3600);
            }
            Kind::NotYetValid => params.not_before = date_time_ymd(2100, 1, 1),
            _ => {}
        }
        let key = KeyPair::generate().unwrap();
        let certificate = if kind == Kind::SelfSigned {
            params.self_signed(&key)
        } else {
            params.signed_by(&key, &self.issuer)
        };
        Identity { certificate: certificate.unwrap().pem(), key: key.serialize_pem() }
    }
}

impl Identity {
    /// For a server that proves itself by this. Where `clients` is given, its clients have to prove themselves by
    /// certificates of that authority.
    #[must_use]
    pub fn server(&self, clients: Option<&Authority>) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        Arc::new(builder.with_single_cert(vec![certificate], key).unwrap())
    }

    /// The key under a passphrase, as `openssl pkcs8` writes it with these options.
    ///
    /// # Panics
    /// Where openssl is missing or refuses.
    #[must_use]
    pub fn encrypted_key(&self, passphrase: &str, options: &[&str]) -> String {
        let output = openssl(
            &[&["pkcs8", "-topk8", "-passout", &format!("pass:{passphrase}")], options].concat(),
            self.key.as_bytes(),
        );
        String::from_utf8(output).unwrap()
    }

    /// Both in one PKCS#12 file under a passphrase, as browsers export it.
    ///
    /// # Panics
    /// Where openssl is missing or refuses.
    #[must_use]
    pub fn pkcs12(&self, passphrase: &str) -> Vec<u8> {
        let both = tempfile::NamedTempFile::new().unwrap(); // openssl reads it twice
        fs::write(both.path(), format!("{}{}", self.certificate, self.key)).unwrap();
        let path = both.path().to_str().unwrap();
        openssl(&["pkcs12", "-export", "-passout", &format!("pass:{passphrase}"), "-in", path], b"")
    }

    /// Writes `NAME.pem` and `NAME.key`; only the owner may read the key.
    ///
    /// # Panics
    /// Where it cannot.
    pub fn write(&self, folder: &Path, name: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        for (suffix, text, mode) in [("pem", &self.certificate, 0o644), ("key", &self.key, 0o600)] {
            let path = folder.join(name).with_extension(suffix);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
    }
}

/// What `openssl` prints for this input.
fn openssl(args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new("openssl");
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::Server;

    /// What `openssl s_client` says of a server.
    fn verdict(server: &Server, folder: &Path, more: &[&str]) -> String {
        let output = Command::new("openssl")
            .args(["s_client", "-verify_ip", "127.0.0.1", "-CAfile", "ca.pem", "-connect"])
            .arg(server.address().to_string())
            .args(more)
            .current_dir(folder)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        said.into_owned()
    }

    #[test]
    fn openssl_sees_what_is_meant() {
        if Command::new("openssl").arg("version").output().is_err() {
            return crate::skip("needs openssl");
        }
        let dir = tempfile::tempdir().unwrap();
        let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
        fs::write(dir.path().join("ca.pem"), ours.pem()).unwrap();
        for (identity, expected) in [
            (ours.identity(Kind::Right), "Verify return code: 0 (ok)"),
            (ours.identity(Kind::WrongName), "IP address mismatch"),
            (ours.identity(Kind::Expired), "certificate has expired"),
            (ours.identity(Kind::NotYetValid), "certificate is not yet valid"),
            (ours.identity(Kind::SelfSigned), "self-signed certificate"),
            (theirs.identity(Kind::Right), "unable to get local issuer certificate"),
        ] {
            let server = Server::start_tls(&[], identity.server(None));

            let said = verdict(&server, dir.path(), &[]);
            assert!(said.contains(expected), "{expected}: {said}");
        }
        let client = ours.identity(Kind::Client);
        client.write(dir.path(), "client");
        assert!(client.encrypted_key("secret", &[]).starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
        assert!(!client.pkcs12("secret").is_empty());
        let server = Server::start_tls(&[], ours.identity(Kind::Right).server(Some(&ours)));
        let said = verdict(&server, dir.path(), &["-cert", "client.pem", "-key", "client.key"]);
        assert!(said.contains("Verify return code: 0 (ok)") && !said.contains("alert"), "{said}");
    }
}
