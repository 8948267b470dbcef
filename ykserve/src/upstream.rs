//! The HTTP client for other servers of a site: validation servers, key storage modules, peers of YK-VAL.

pub mod plain;

use crate::{Daemon, certificates};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use std::fmt::Display;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use yubiotp::authorities::BUNDLES;
use yubiotp::diagnostic::{Code, Diagnostic, Location};

/// The connections that are kept to each server.
const KEPT: usize = 64;

/// Why a body was not read.
pub enum NoBody {
    /// It is longer than any answer.
    TooLong,
    /// The connection failed.
    Failed(String),
}

/// A client that asks these URLs, with the authorities of `ca`, or those of the system if one of them is asked by TLS.
/// `table` is the part of the configuration.
///
/// # Errors
/// A file of authorities cannot be used, or the system has none; `failed`: the client cannot be made.
pub fn client<'a>(
    daemon: Daemon,
    table: &str,
    ca: Option<&Path>,
    mut urls: impl Iterator<Item = &'a Url>,
    failed: Code,
) -> Result<Client, Diagnostic> {
    let tls = tls(table, ca, urls.any(|url| url.scheme() == "https"))?;
    let client = Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .referer(false)
        .user_agent(daemon.name)
        .tcp_nodelay(true)
        .pool_max_idle_per_host(KEPT)
        // Less than what servers keep a connection for.
        .pool_idle_timeout(Duration::from_secs(4))
        .tls_backend_preconfigured(tls)
        .build();
    client.map_err(|why| {
        Diagnostic::error(failed, format!("HTTP cannot be used: {why}"))
            .at(Location::Setting(table.to_owned()))
    })
}

/// The host and port of a URL, which are shown instead of it: the URL may hold a password. `None`: it has no host.
#[must_use]
pub fn name(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

/// Whether another host is asked without TLS.
#[must_use]
pub fn is_in_the_clear(url: &Url) -> bool {
    let is_here = |host: &str| {
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    };
    url.scheme() == "http" && !url.host_str().is_some_and(is_here)
}

/// The body of an answer, of at most `most` bytes.
///
/// # Errors
/// It is longer, or the connection failed.
pub async fn body(mut answer: Response, most: usize) -> Result<Vec<u8>, NoBody> {
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(|why| NoBody::Failed(plain::http(&why)))? {
        body.extend_from_slice(&part);
        if body.len() > most {
            return Err(NoBody::TooLong);
        }
    }
    Ok(body)
}

fn tls(table: &str, ca: Option<&Path>, secure: bool) -> Result<ClientConfig, Diagnostic> {
    let setting = format!("{table}.ca");
    let fault = |why: &dyn Display| {
        Diagnostic::error(Code::CaFileInvalid, why.to_string()).at(Location::Setting(setting.clone()))
    };
    let read = |path: &Path| certificates::read(path).map_err(|fault| fault.diagnostic());
    let mut roots = RootCertStore::empty();
    if let Some(ca) = ca {
        for certificate in read(ca)? {
            roots.add(certificate).map_err(|why| fault(&format!("{}: {why}", ca.display())))?;
        }
    } else if secure {
        let bundle = BUNDLES.iter().map(Path::new).find(|path| path.exists());
        let bundle = bundle.ok_or_else(|| {
            let none = Diagnostic::error(Code::CaBundleMissing, "this host has no certificate authorities");
            none.advise(format!("install ca-certificates, or set {setting}"))
        })?;
        // A bundle may hold some certificates that cannot be used.
        roots.add_parsable_certificates(read(bundle)?);
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|why| fault(&why))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
