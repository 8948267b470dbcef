//! Where a validation server is: an address as administrators write it.

use super::{ClientKey, Request};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv6Addr};
use zeroize::Zeroizing;

/// The path of a URL that has none.
const PATH: &str = "/wsapi/2.0/verify";

/// A validation server. Displays as `https://host:port`, as far as the URL gave them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    origin: String,
    path: String,
    /// Parameters of the URL's own, which are sent along and signed.
    further: Vec<(String, String)>,
}

/// A text that is no URL of a validation server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// Another scheme, or none.
    #[error("begins with neither https:// nor http://")]
    Scheme,
    /// No host, or one that cannot be.
    #[error("has no host, or one that cannot be read (https://HOST, https://HOST:PORT, https://[IPv6]:PORT)")]
    Host,
    /// A user or password before the host.
    #[error("has a user before the host: validation servers know clients by client_id and api_key")]
    User,
    /// Blanks, control characters, a fragment.
    #[error("holds a character that a URL does not have")]
    Character,
    /// Something in the query that cannot be sent along.
    #[error(
        "has a query that cannot be sent along: write id=%d&otp=%s, or plain name=value, or leave it out"
    )]
    Query,
}

impl Server {
    /// Reads a URL. Without a path it gets `/wsapi/2.0/verify`; of pam_yubico's templates, `id=%d` and `otp=%s` are
    /// left out, for every question has these.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, BadUrl> {
        let rest =
            text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or(BadUrl::Scheme)?;
        let scheme = text.strip_suffix(rest).unwrap_or_default();
        if !text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'"' | b'<' | b'>' | b'\\'))
        {
            return Err(BadUrl::Character);
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        if authority.contains('@') {
            return Err(BadUrl::User);
        }
        host_and_port(authority).ok_or(BadUrl::Host)?;
        let path = if matches!(path, "" | "/") { PATH } else { path };
        let further =
            query.split('&').filter(|part| !matches!(*part, "" | "id=%d" | "otp=%s")).map(parameter);
        Ok(Self {
            origin: format!("{scheme}{authority}"),
            path: path.to_string(),
            further: further.collect::<Option<_>>().ok_or(BadUrl::Query)?,
        })
    }

    /// Its URL without the query: servers may differ only in the path.
    #[must_use]
    pub fn address(&self) -> String {
        [self.origin.as_str(), self.path.as_str()].concat()
    }

    /// Whether TLS protects the connection.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.origin.starts_with("https:")
    }

    /// Whether it is on this host, so that the connection never leaves the host.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let authority = self.origin.split_once("://").map_or("", |(_, authority)| authority);
        let Some((host, _)) = host_and_port(authority) else { return false };
        match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(v6) => v6.parse() == Ok(Ipv6Addr::LOCALHOST),
            None => host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()),
        }
    }

    /// Whether only root may listen on its port, if it is on this host.
    #[must_use]
    pub fn has_root_port(&self) -> bool {
        let authority = self.origin.split_once("://").map_or("", |(_, authority)| authority);
        host_and_port(authority).is_some_and(|(_, port)| port.is_none_or(|port| port < 1024))
    }

    /// The complete URL of a question. Wiped on drop: it holds the OTP.
    #[must_use]
    pub fn url(&self, request: &Request<'_>, key: Option<&ClientKey>) -> Zeroizing<String> {
        let query = request.query(&self.further, key);
        let length = self.origin.len().saturating_add(self.path.len()).saturating_add(query.len());
        let mut url = Zeroizing::new(String::with_capacity(length.saturating_add(1)));
        for part in [&self.origin, &self.path, "?", &query] {
            url.push_str(part);
        }
        url
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)
    }
}

fn host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            (host, Some(port.parse().ok().filter(|port| *port > 0)?))
        }
        _ => (authority, None),
    };
    let plain = |host: &str| {
        host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
    };
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let good = v6.map_or(!host.is_empty() && plain(host), |v6| v6.parse::<Ipv6Addr>().is_ok());
    good.then_some((host, port))
}

/// A parameter that can be signed without escaping, and that neither questions nor answers have by themselves: both are
/// signed with one key, so a question must not be able to pass for its answer.
fn parameter(part: &str) -> Option<(String, String)> {
    let (name, value) = part.split_once('=')?;
    let plain = |text: &str| !text.contains(['%', '+']);
    let ours = matches!(name, "" | "id" | "otp" | "nonce" | "h" | "timestamp" | "sl" | "timeout");
    let ours = ours || matches!(name, "t" | "status" | "sessioncounter" | "sessionuse");
    (!ours && plain(name) && plain(value)).then(|| (name.to_string(), value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{ClientId, Nonce};

    fn url(text: &str) -> String {
        let nonce = Nonce::of_vector("N");
        let request = Request {
            client_id: ClientId::new(7).unwrap(),
            otp: "O",
            nonce: &nonce,
            sync_level: None,
            timeout: None,
        };
        Server::parse(text).unwrap().url(&request, None).to_string()
    }

    #[test]
    fn urls_as_administrators_write_them() {
        let query = "id=7&nonce=N&otp=O&timestamp=1";
        for (text, base) in [
            ("https://val.example", "https://val.example/wsapi/2.0/verify"),
            ("https://val.example:8443/", "https://val.example:8443/wsapi/2.0/verify"),
            ("http://127.0.0.1:80/verify", "http://127.0.0.1:80/verify"),
            ("http://[::1]:8080", "http://[::1]:8080/wsapi/2.0/verify"),
            (
                "https://api.yubico.com/wsapi/2.0/verify?id=%d&otp=%s",
                "https://api.yubico.com/wsapi/2.0/verify",
            ),
            ("https://val.example/v?", "https://val.example/v"),
        ] {
            assert_eq!(url(text), format!("{base}?{query}"));
        }
        assert_eq!(url("https://a/v?app=x&id=%d&otp=%s"), "https://a/v?app=x&id=7&nonce=N&otp=O&timestamp=1");
    }

    #[test]
    fn the_address_tells_servers_apart() {
        for (text, address) in [
            ("https://val.example", "https://val.example/wsapi/2.0/verify"),
            ("https://val.example/?id=%d&otp=%s", "https://val.example/wsapi/2.0/verify"),
            ("http://[::1]:81/v?app=x&id=%d", "http://[::1]:81/v"),
        ] {
            assert_eq!(Server::parse(text).unwrap().address(), address);
        }
    }

    #[test]
    fn what_is_no_url_is_named() {
        for (text, why) in [
            ("val.example", BadUrl::Scheme),
            ("ftp://val.example", BadUrl::Scheme),
            ("HTTPS://val.example", BadUrl::Scheme),
            ("https://", BadUrl::Host),
            ("https:///verify", BadUrl::Host),
            ("https://a:b", BadUrl::Host),
            ("https://a:0", BadUrl::Host),
            ("https://a:70000", BadUrl::Host),
            ("https://::1", BadUrl::Host),
            ("https://[::1", BadUrl::Host),
            ("https://user:pw@a", BadUrl::User),
            ("https://a b", BadUrl::Character),
            ("https://a/\u{e9}", BadUrl::Character),
            ("https://a/#x", BadUrl::Character),
            ("https://a/?id=7", BadUrl::Query),
            ("https://a/?status=OK", BadUrl::Query),
            ("https://a/?x=%20", BadUrl::Query),
            ("https://a/?x", BadUrl::Query),
        ] {
            assert_eq!(Server::parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn loopback_is_this_host() {
        for (text, loopback) in [
            ("http://127.0.0.1", true),
            ("http://127.9.9.9:80/x", true),
            ("http://[::1]:80", true),
            ("http://localhost:1", true),
            ("http://localhost.evil.example", false),
            ("http://127.0.0.1.evil.example", false),
            ("http://10.0.0.1", false),
            ("http://[::2]", false),
        ] {
            assert_eq!(Server::parse(text).unwrap().is_loopback(), loopback, "{text}");
        }
        assert!(
            Server::parse("https://a").unwrap().is_https() && !Server::parse("http://a").unwrap().is_https()
        );
    }
}
