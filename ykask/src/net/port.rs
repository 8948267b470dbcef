//! Which port a URL leads to.

use ureq::http::Uri;

/// The port of a URL; `None` if it has a bad one, or no host.
pub(super) fn port(uri: &Uri) -> Option<u16> {
    let authority = uri.authority()?;
    let behind = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, host)| host);
    match behind.strip_prefix(authority.host())? {
        _ if authority.host().is_empty() => None,
        "" => match uri.scheme_str()? {
            "http" => Some(80),
            "https" => Some(443),
            "socks5" | "socks5h" => Some(1080),
            _ => None,
        },
        port => port.strip_prefix(':')?.parse().ok().filter(|port| *port > 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        for (url, expected) in [
            ("http://host", Some(80)),
            ("https://host/x?y", Some(443)),
            ("http://user:1234@host:8080/", Some(8080)),
            ("http://[::1]/", Some(80)),
            ("http://[::1]:81/", Some(81)),
            ("http://host:0/", None),
            ("http://host:99999/", None),
            ("http://host:/", None),
            ("ftp://host/", None),
            ("/path", None),
        ] {
            assert_eq!(url.parse().ok().as_ref().and_then(port), expected, "{url}");
        }
    }
}
