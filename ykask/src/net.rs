//! One request by ureq, put together so that it does exactly one request.
//!
//! GET, HTTP/1.1, one connection, no redirect, no cookie, no compression, no second try: a request that is sent again
//! is a REPLAYED_REQUEST. The parts of ureq that it is put together from may change in its minor versions.

mod port;
mod race;
mod resolve;
mod strict_eof;
mod tcp;

use crate::failure::{Failure, Unable};
use crate::progress::{Phase, Progress};
use crate::text::{self, ClientSetup, ProxySetup};
use crate::tls;
use port::port;
pub(crate) use race::{Attempt, Attempts};
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;
use ureq::config::Config;
use ureq::http::{StatusCode, Uri};
use ureq::unversioned::transport::{ConnectProxyConnector, Connector, SocksConnector};
use ureq::{Agent, Proxy, ProxyProtocol};
use yubiotp::ask::{FailureKind, MAX_REPLY, Obstacle, Question};
use zeroize::Zeroizing;

/// The longest header of a reply that is read, in bytes.
const MAX_HEADER: usize = 8 << 10;

/// A connection's buffers, in bytes: more than a header, a record of TLS fits.
const BUFFER: usize = 16 << 10;

/// The client that asks servers.
pub(crate) struct Client {
    config: Config,
    trust: Option<tls::Configs>,
    setup: ClientSetup,
    ports: Vec<u16>,
}

impl Client {
    /// Reads all that is needed. Nothing is read, resolved or connected to that the question does not call for.
    pub(crate) fn prepare(question: &Question) -> Result<Self, Unable> {
        let uris: Vec<Uri> = question.urls.iter().filter_map(|url| url.parse().ok()).collect();
        let proxy = question.proxy.as_deref().map(|url| proxy(url)).transpose()?;
        let over_tls = |proxy: &Proxy| proxy.protocol() == ProxyProtocol::Https;
        let https = uris.iter().any(|uri| uri.scheme_str() == Some("https"));
        if !https && (question.client_cert.is_some() || question.client_key.is_some()) {
            return Err(Unable::new(
                Obstacle::File,
                "client_cert and client_key are set, and no server's URL is https",
            ));
        }
        let trust =
            if https || proxy.as_ref().is_some_and(over_tls) { Some(tls::prepare(question)?) } else { None };
        let ports = match &proxy {
            Some(proxy) => vec![proxy.port()],
            None => uris.iter().filter_map(port).collect(),
        };
        let setup = ClientSetup {
            ca: trust.as_ref().map(|trust| trust.from.clone()).unwrap_or_default(),
            has_certificate: question.client_cert.is_some(),
            proxy: proxy.as_ref().map(|proxy| ProxySetup {
                scheme: if over_tls(proxy) { "https" } else { "http" },
                place: format!("{}:{}", proxy.host(), proxy.port()),
                has_user: proxy.username().is_some(),
            }),
        };
        // The whole is bounded by the round's deadline and the watchdog. This one ends the race of a host's addresses.
        let connect = Duration::from_millis(u64::from(question.deadline.get()));
        let config = Agent::config_builder()
            .proxy(proxy)
            .timeout_connect(Some(connect))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_response_header_size(MAX_HEADER)
            .input_buffer_size(BUFFER)
            .output_buffer_size(BUFFER)
            .max_idle_connections(0)
            .max_idle_connections_per_host(0)
            .user_agent(concat!("yubiotp-ask/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { config, trust: trust.map(|trust| trust.configs), setup, ports })
    }

    /// The ports that are connected to.
    pub(crate) fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// The progress of a request that has not begun.
    pub(crate) fn progress(&self) -> Arc<Progress> {
        Progress::new(self.setup.proxy.is_some())
    }

    /// Why there was no answer from a server in time.
    pub(crate) fn no_answer(&self, progress: &Progress) -> (FailureKind, String) {
        // A reply that has begun is an answer, and not a whole one.
        let kind = if progress.phase() == Phase::Reply { FailureKind::Http } else { FailureKind::Silence };
        (kind, text::no_answer(progress, &self.setup))
    }

    /// An agent of ureq's whose parts note how far a request has come.
    fn agent(&self, progress: &Arc<Progress>) -> Agent {
        let progress = || Arc::clone(progress);
        let connector =
            ().chain(SocksConnector::default())
                .chain(ConnectProxyConnector::default())
                .chain(tcp::Tcp(progress()))
                .chain(tls::Tls { configs: self.trust.clone(), progress: progress() })
                .chain(strict_eof::StrictEof(progress()));
        Agent::with_parts(self.config.clone(), connector, resolve::Names(progress()))
    }

    /// Asks one server; the body of its reply, or why there is none. Name resolution may take longer than the limit.
    pub(crate) fn fetch(
        &self,
        url: &str,
        progress: &Arc<Progress>,
        limit: Option<Duration>,
    ) -> Result<Vec<u8>, Failure> {
        let other = |why: &str| Failure::Theirs(FailureKind::Other, why.into());
        let http = |why: &str| Failure::Theirs(FailureKind::Http, why.into());
        let uri: Uri = url.parse().map_err(|_| other("this is not a URL"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || port(&uri).is_none() {
            return Err(other("this is not a URL of the form http://host[:port]/… or https://host[:port]/…"));
        }
        let told = |error: ureq::Error| match error {
            ureq::Error::Timeout(_) if limit.is_some() => {
                let (kind, why) = self.no_answer(progress);
                Failure::Theirs(kind, why)
            }
            error => text::why(&error, &uri, progress, &self.setup),
        };
        let request = self.agent(progress).get(&uri).header("connection", "close");
        let mut response = request.config().timeout_global(limit).build().call().map_err(told)?;
        if response.status() != StatusCode::OK {
            return Err(http(&text::status(response.status(), uri.scheme_str() == Some("https"))));
        }
        let mut body = Vec::new();
        // One byte more than is handed on. The end is read too: ureq then knows whether the reply is whole.
        let most = u64::try_from(MAX_REPLY).unwrap_or(u64::MAX).saturating_add(1);
        let read = response.body_mut().as_reader().take(most).read_to_end(&mut body);
        read.map_err(|error| told(error.into()))?;
        if body.len() > MAX_REPLY {
            return Err(http(&format!("the reply is longer than {MAX_REPLY} bytes")));
        }
        Ok(body)
    }
}

/// Through socks5 the proxy resolves the names (socks5h): this host may know none of them. Through http and https all
/// requests go by CONNECT, to http servers too.
fn proxy(url: &str) -> Result<Proxy, String> {
    let why = || {
        "proxy is not a URL of the form http://, https:// or socks5://[user:password@]host:port".to_string()
    };
    let socks = url.strip_prefix("socks5://").map(|rest| Zeroizing::new(format!("socks5h://{rest}")));
    let proxy = Proxy::new(socks.as_deref().map_or(url, |url| url)).map_err(|_| why())?;
    let known =
        matches!(proxy.protocol(), ProxyProtocol::Http | ProxyProtocol::Https | ProxyProtocol::Socks5h);
    if known && url.contains("://") && port(proxy.uri()).is_some() { Ok(proxy) } else { Err(why()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies() {
        for (url, port) in [
            ("http://proxy", Some(80)),
            ("https://user:p%40ss@proxy/", Some(443)),
            ("socks5://[::1]:9050", Some(9050)),
            ("socks5h://proxy", Some(1080)),
            ("socks4://proxy", None),
            ("ftp://proxy", None),
            ("proxy:3128", None),
            ("http://proxy:99999", None),
            ("", None),
        ] {
            assert_eq!(proxy(url).ok().map(|proxy| proxy.port()), port, "{url}");
        }
        assert!(!proxy("socks5://proxy").unwrap().resolve_target());
    }
}
