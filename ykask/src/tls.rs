//! TLS 1.2 and 1.3 by rustls and *ring*: the trusted authorities and the client's identity.

mod connector;
mod identity;
mod roots;
mod verifier;

pub(crate) use connector::{AtProxy, Tls};
pub(crate) use verifier::SelfSigned;

use crate::failure::Unable;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::{ClientConfig, crypto::ring};
use std::sync::Arc;
use yubiotp::ask::Question;

/// The configuration for https, and the origin of the certificate authorities.
pub(crate) struct Trust {
    /// How to connect.
    pub configs: Configs,
    /// The file or folder of the certificate authorities.
    pub from: String,
}

/// The configurations for servers and proxies.
#[derive(Clone)]
pub(crate) struct Configs {
    /// To a server: with the client's certificate, if there is one.
    pub server: Arc<ClientConfig>,
    /// To an https proxy, which gets no client certificate.
    pub proxy: Arc<ClientConfig>,
}

/// Reads all the files that https needs, as root.
pub(crate) fn prepare(question: &Question) -> Result<Trust, Unable> {
    let (roots, from) = roots::read(question.ca.as_deref())?;
    let provider = Arc::new(ring::default_provider());
    let client = identity::read(question, &provider)?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|error| format!("no TLS: {error}"))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("no TLS: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier::Verifier(verifier)));
    let finish = |mut config: ClientConfig| {
        // One connection a server: there is nothing to resume.
        config.resumption = Resumption::disabled();
        Arc::new(config)
    };
    let proxy = finish(builder.clone().with_no_client_auth());
    let server = match client {
        Some(client) => finish(builder.with_client_cert_resolver(Arc::new(client))),
        None => Arc::clone(&proxy),
    };
    Ok(Trust { configs: Configs { server, proxy }, from })
}
