//! TLS 1.2 and 1.3 by rustls and *ring*: whom to trust, and who the client says it is.

mod connector;
mod identity;
mod roots;

pub(crate) use connector::Tls;

use rustls::client::Resumption;
use rustls::{ClientConfig, crypto::ring};
use std::sync::Arc;
use yubiotp::ask::Question;

/// What is needed for https, and the words for where the certificate authorities come from.
pub(crate) struct Trust {
    /// For every connection: that to an https proxy too.
    pub config: Arc<ClientConfig>,
    /// The file or folder of the certificate authorities.
    pub from: String,
}

/// Reads all the files that https needs, as root.
pub(crate) fn prepare(question: &Question) -> Result<Trust, String> {
    let (roots, from) = roots::read(question.ca.as_deref())?;
    let provider = Arc::new(ring::default_provider());
    let client = identity::read(question, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("no TLS: {error}"))?
        .with_root_certificates(roots);
    let mut config = match client {
        Some(client) => builder.with_client_cert_resolver(Arc::new(client)),
        None => builder.with_no_client_auth(),
    };
    // One connection a server: there is nothing to resume.
    config.resumption = Resumption::disabled();
    Ok(Trust { config: Arc::new(config), from })
}
