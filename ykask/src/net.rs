//! One request by ureq, put together so that it does what it is told and nothing else.
//!
//! GET, HTTP/1.1, one connection, no redirect, no cookie, no compression, no second try: a request that is sent again
//! is a REPLAYED_REQUEST. The parts of ureq that it is put together from may change in its minor versions.

mod resolve;
mod whole;

pub(crate) use resolve::Unresolved;

use crate::text::{self, About};
use crate::tls;
use std::io::Read;
use std::time::Duration;
use ureq::http::{StatusCode, Uri};
use ureq::unversioned::transport::{ConnectProxyConnector, Connector, SocksConnector, TcpConnector};
use ureq::{Agent, Proxy, ProxyProtocol};
use yubiotp::ask::{MAX_REPLY, Question};
use zeroize::Zeroizing;

/// The longest header of a reply that is read, in bytes.
const MAX_HEADER: usize = 8 << 10;

/// A connection's buffers, in bytes: more than a header, a record of TLS fits.
const BUFFER: usize = 16 << 10;

/// Whoever asks servers.
pub(crate) struct Client {
    agent: Agent,
    about: About,
    ports: Vec<u16>,
}

impl Client {
    /// Reads all that is needed. Nothing is read, resolved or connected to that the question does not call for.
    pub(crate) fn prepare(question: &Question) -> Result<Self, String> {
        let uris: Vec<Uri> = question.urls.iter().filter_map(|url| url.parse().ok()).collect();
        let proxy = question.proxy.as_deref().map(|url| proxy(url)).transpose()?;
        let over_tls = |proxy: &Proxy| proxy.protocol() == ProxyProtocol::Https;
        let trust = if uris.iter().any(|uri| uri.scheme_str() == Some("https"))
            || proxy.as_ref().is_some_and(over_tls)
        {
            Some(tls::prepare(question)?)
        } else if question.client_cert.is_some() || question.client_key.is_some() {
            return Err("client_cert and client_key are set, and no server's URL is https".into());
        } else {
            None
        };
        let ports = match &proxy {
            Some(proxy) => vec![proxy.port()],
            None => uris.iter().filter_map(text::port).collect(),
        };
        let about = About {
            ca: trust.as_ref().map(|trust| trust.from.clone()).unwrap_or_default(),
            has_certificate: question.client_cert.is_some(),
            proxy: proxy.as_ref().map(|proxy| format!("{}:{}", proxy.host(), proxy.port())),
        };
        // The whole is bounded by the round's deadline and the watchdog. This one makes that a host whose first
        // address is dead is asked at its second.
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
        let connector =
            ().chain(SocksConnector::default())
                .chain(ConnectProxyConnector::default())
                .chain(TcpConnector::default())
                .chain(tls::Tls(trust.map(|trust| trust.config)))
                .chain(whole::Whole);
        Ok(Self { agent: Agent::with_parts(config, connector, resolve::Names), about, ports })
    }

    /// The ports that are connected to.
    pub(crate) fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// Asks one server; the body of its reply, or why there is none.
    pub(crate) fn fetch(&self, url: &str) -> Result<Vec<u8>, String> {
        let uri: Uri = url.parse().map_err(|_| "this is not a URL".to_string())?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || text::port(&uri).is_none() {
            return Err("this is not a URL of the form http://host[:port]/… or https://host[:port]/…".into());
        }
        let told = |error: ureq::Error| text::why(&error, &uri, &self.about);
        let mut response = self.agent.get(&uri).header("connection", "close").call().map_err(told)?;
        if response.status() != StatusCode::OK {
            return Err(text::status(response.status(), uri.scheme_str() == Some("https")));
        }
        let mut body = Vec::new();
        // One byte more than is handed on. The end is read too: ureq then knows whether the reply is whole.
        let most = u64::try_from(MAX_REPLY).unwrap_or(u64::MAX).saturating_add(1);
        let read = response.body_mut().as_reader().take(most).read_to_end(&mut body);
        read.map_err(|error| told(error.into()))?;
        if body.len() > MAX_REPLY {
            return Err(format!("the reply is longer than {MAX_REPLY} bytes"));
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
    if known && url.contains("://") && text::port(proxy.uri()).is_some() { Ok(proxy) } else { Err(why()) }
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
