//! Scheme, host and port of a URL.

use std::fmt;
use std::net::IpAddr;

/// Scheme, host and port of a URL as browsers write them: in lower case, without the usual port. Displayed as
/// `https://wiki.example.com`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    is_https: bool,
    /// As in the header `Host`.
    host: String,
}

/// A text that is no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadOrigin {
    /// Neither `https://HOST` nor `https://HOST:PORT`.
    #[error("is not https://HOST or https://HOST:PORT, without a path")]
    Shape,
    /// Without TLS, browsers would send cookies in the clear.
    #[error(
        "begins with http://, which is for localhost only: browsers would send passwords and cookies in the clear"
    )]
    Plain,
}

impl Origin {
    /// Reads `https://HOST` or `https://HOST:PORT`; `http://` for this host only.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, BadOrigin> {
        let lower = text.to_ascii_lowercase();
        let (is_https, rest) = match (lower.strip_prefix("https://"), lower.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(BadOrigin::Shape),
        };
        let host =
            Self::host_as_sent(rest.strip_suffix('/').unwrap_or(rest), is_https).ok_or(BadOrigin::Shape)?;
        let it = Self { is_https, host };
        if is_https || it.is_localhost() { Ok(it) } else { Err(BadOrigin::Plain) }
    }

    /// The host of a header `Host` or `X-Forwarded-Host`, in lower case and without the usual port; `None`: it is none.
    #[must_use]
    pub fn host_as_sent(text: &str, is_https: bool) -> Option<String> {
        let lower = text.to_ascii_lowercase();
        let (name, port) = match lower.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                address.parse::<std::net::Ipv6Addr>().ok()?;
                (
                    lower.get(..address.len().saturating_add(2))?,
                    port.strip_prefix(':').or(port.is_empty().then_some(""))?,
                )
            }
            None => {
                let (name, port) = lower.split_once(':').unwrap_or((&lower, ""));
                let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
                if name.is_empty() || name.starts_with('.') || !name.bytes().all(is_name) {
                    return None;
                }
                (name, port)
            }
        };
        if port.is_empty() {
            return Some(name.to_owned());
        }
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse::<u16>().ok().filter(|port| is_number && *port != 0)?;
        let usual = if is_https { 443 } else { 80 };
        Some(if port == usual { name.to_owned() } else { format!("{name}:{port}") })
    }

    /// Whether it is https.
    #[must_use]
    pub const fn is_https(&self) -> bool {
        self.is_https
    }

    /// Host, and port unless it is the usual one.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Host without the port, and without the brackets of an IPv6 address. Cookies belong to it, whatever the port (RFC 6265,
    /// section 8.5).
    pub(super) fn name(&self) -> &str {
        match self.host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => self.host.split(':').next().unwrap_or_default(),
        }
    }

    /// Whether only this host can be meant, to which browsers send cookies without TLS as if there were TLS.
    fn is_localhost(&self) -> bool {
        let name = self.name();
        name == "localhost"
            || name.ends_with(".localhost")
            || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.is_https { "https" } else { "http" }, self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        for (text, read) in [
            ("https://Login.Example.com", Ok("https://login.example.com")),
            ("https://login.example.com/", Ok("https://login.example.com")),
            ("https://login.example.com:443", Ok("https://login.example.com")),
            ("https://login.example.com:8443", Ok("https://login.example.com:8443")),
            ("https://[2001:db8::1]:8443", Ok("https://[2001:db8::1]:8443")),
            ("http://localhost:8490", Ok("http://localhost:8490")),
            ("http://app.localhost", Ok("http://app.localhost")),
            ("http://[::1]:80", Ok("http://[::1]")),
            ("http://login.example.com", Err(BadOrigin::Plain)),
            ("http://localhost.example.com", Err(BadOrigin::Plain)),
            ("login.example.com", Err(BadOrigin::Shape)),
            ("https://", Err(BadOrigin::Shape)),
            ("https://a/b", Err(BadOrigin::Shape)),
            ("https://a@b", Err(BadOrigin::Shape)),
            ("https://a:", Ok("https://a")),
            ("https://a:0", Err(BadOrigin::Shape)),
            ("https://a:+1", Err(BadOrigin::Shape)),
            ("https://a b", Err(BadOrigin::Shape)),
            ("https://a\\b", Err(BadOrigin::Shape)),
            ("https://[::1", Err(BadOrigin::Shape)),
            ("https://[x]", Err(BadOrigin::Shape)),
            ("https://[::1]x", Err(BadOrigin::Shape)),
        ] {
            assert_eq!(
                Origin::parse(text).map(|origin| origin.to_string()),
                read.map(str::to_owned),
                "{text}"
            );
        }
    }
}
